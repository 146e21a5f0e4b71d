"""The one training loop: every kind of autoencoder, every opponent and every head is trained by `train`."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import islice
from typing import Any, Protocol

import torch
from torch import Tensor

from hourglass.core.chunks import chunk_rows, on_threads
from hourglass.core.model import Player
from hourglass.core.pace import default_batch_size, default_rate, rate_at
from hourglass.core.parallel import ALONE, Team
from hourglass.core.steps import Step, denormals_flushed, step_for
from hourglass.errors import TrainingError
from hourglass.settings import Training

Terms = dict[str, float]
Report = Callable[[int, int, Terms], None]
"""Called after each epoch with its number (from 1), the number of epochs, and the terms to show."""

Samples = Tensor | tuple[Tensor, ...]
"""What is trained on: a tensor (n, ...), or several of equal length that go together, such as inputs and targets."""


class Stream(Protocol):
    """Samples that do not fit in memory together."""

    rows: int
    """How many there are."""
    example: Tensor
    """Some of them, where the network is; where numbers are missing from any, some are missing from these."""

    def windows(self, multiple: int, generator: torch.Generator) -> Iterator[Tensor]:
        """Every sample once, each time in another order, as many at a time as fit in memory.

        All windows but the last hold a multiple of so many. A window is good until the next one is asked for.
        """


_VALIDATION_SEED = 20_240_229
_BLOCK = 2**18
"""Numbers shuffled at a time: they stay in the cache until their steps are done."""
_SMALL_STEP = 2**22
"""Products (batch size times weights) below which a step runs on one thread."""


class Trainable(Protocol):
    """What the loop can train: any `nn.Module` that says who moves (`players`) and how good it is (`terms`).

    A batch is cut from the samples: a tensor where those are one, a tuple of tensors where they are several.
    """

    def terms(self, batch: Any, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Every term of the objective, as scalars by name; their sum on held-out samples chooses the best epoch."""

    def players(self) -> list[Player]:
        """Who is trained, in turns, each on its own terms."""

    def set_progress(self, share: float) -> None:
        """How far training is, from 0 to 1; 1 while held-out samples are judged."""

    def parameters(self) -> Iterator[torch.nn.Parameter]: ...

    def train(self, mode: bool = True) -> Any: ...

    def eval(self) -> Any: ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: dict[str, Any]) -> Any: ...


@dataclass
class History:
    """What happened while training, epoch by epoch: each term's mean over the training and the held-out rows."""

    training: list[Terms] = field(default_factory=list)
    validation: list[Terms] = field(default_factory=list)
    epochs: int = 0
    batch_size: int = 0
    step: str = "autograd"
    """How the weights were moved: by autograd, as a CUDA graph of it, or by a step that is written out."""
    best_epoch: int = 0
    """The epoch (from 1) whose weights were kept."""
    stopped: str = "finished"
    """Why it ended: finished, early (no improvement), interrupted, or diverged."""
    seconds: float = 0.0
    notices: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Snapshot:
    """A training between two epochs: with it, and the same samples and settings, training goes on to the same bits."""

    facts: dict[str, Any]
    """The epoch that is over, the loss of the best one, and the history, as JSON values."""
    tensors: dict[str, Tensor]
    """Weights, the best ones, what the optimizers remember, and the states of the random generators."""


class Keeper(Protocol):
    """Keeps snapshots of a training, so that it can go on where it was cut off."""

    found: Snapshot | None
    """Where to go on; None where training starts from the beginning."""

    def keep(self, snapshot: Callable[[], Snapshot]) -> list[str]:
        """Called after each epoch: takes a snapshot where one is due. Gives what is to be said of it."""


def train(
    model: Trainable,
    samples: Samples | Stream,
    settings: Training,
    held_out: Samples | None = None,
    report: Report | None = None,
    keeper: Keeper | None = None,
    notices: Sequence[str] = (),
    team: Team = ALONE,
) -> History:
    """Train `model` on `samples` and leave it with the weights that were best on `held_out`.

    Without held-out samples the last epoch's weights stay. Ctrl-C keeps the best so far; a loss that is no longer
    finite goes back to the last finite weights. Both are said in the history, which begins with `notices`. Random draws
    come from `settings.seed`.

    In a `team`, every worker is given the same model, with the same weights, and the same samples, of which it takes
    its share; a stream is its share already, and its example that of all. Each judges all held-out samples, with the
    draws of one alone.
    """
    run = _Run(model, samples, settings, held_out, notices, team)
    try:
        step_by = step_for(model, run.players, in_memory(samples), settings, team)  # all choose by the same samples
        with _threads_for(model, run.history.batch_size), denormals_flushed(), step_by as step:
            over = run.resume(keeper.found if keeper else None, step)
            for epoch in range(over + 1, run.history.epochs + 1):
                goes_on = run.epoch(epoch, step)
                run.history.step = step.name  # what could not be captured has another by now
                if not goes_on:
                    break
                if keeper and team.rank == 0:
                    run.history.notices += keeper.keep(partial(run.snapshot, epoch, step))
                if report:
                    report(epoch, run.history.epochs, run.latest())
    except KeyboardInterrupt:
        if not run.history.best_epoch:
            raise  # nothing trained to keep
        run.stop("interrupted", "training was interrupted; the best weights so far are kept")
    run.finish()
    return run.history


def _threads_for(model: Trainable, batch_size: int) -> AbstractContextManager[None]:
    """One thread for small steps, where waking the others costs more than they do."""
    weights = list(model.parameters())
    small = batch_size * sum(weight.numel() for weight in weights) < _SMALL_STEP
    convolves = any(weight.dim() > 2 for weight in weights)  # each weight at every place: never a small step
    return on_threads(1 if small and not convolves else torch.get_num_threads())


class _Run:
    """The state of one training run."""

    def __init__(
        self,
        model: Trainable,
        samples: Samples | Stream,
        settings: Training,
        held_out: Samples | None,
        notices: Sequence[str] = (),
        team: Team = ALONE,
    ) -> None:
        self.model, self.settings, self.team = model, settings, team
        self.stream = None if isinstance(samples, Tensor | tuple) else samples
        self.samples = _shared(in_memory(samples), team)
        counts = team.gathered(self.stream.rows if self.stream else len(_columns(self.samples)[0]))
        rows = sum(counts)
        self.device = _columns(self.samples)[0].device
        self.held_out = held_out if held_out is not None and len(_columns(held_out)[0]) else None
        batch_size = min(settings.batch_size or default_batch_size(rows), rows)
        self.batch = math.ceil(batch_size / team.size)
        self.batches = math.ceil(min(counts) / self.batch)  # as many for all, or one would wait for ever
        epochs = settings.epochs or max(10, math.ceil(settings.steps / self.batches))
        self.rate = default_rate(batch_size) if settings.learning_rate is None else settings.learning_rate
        self.history = History(epochs=epochs, batch_size=batch_size, notices=[*notices])
        self.start = time.perf_counter()
        self.patience = settings.patience if settings.patience is not None else max(10, epochs // 5)
        self.generator = torch.Generator(self.device).manual_seed(settings.seed)
        self.players = model.players()
        self.done, self.steps = 0, epochs * self.batches
        self.best, self.best_loss = _weights(model), math.inf
        self.counted = _counted(model)
        self.contested = frozenset().union(*(player.contested for player in self.players))
        self.settled = math.ceil(epochs * max((player.settled for player in self.players), default=0.0))

    def epoch(self, number: int, step: Step) -> bool:
        """Train for one epoch; False when training should stop after it."""
        self.model.train()
        self.model.set_progress((number - 1) / self.history.epochs)
        self.team.reseed(self.generator, self.settings.seed, number)
        means = self.team.averaged(self._mean_terms(self._one_epoch(step)))
        judged = self.team.averaged(self.validate())
        if not math.isfinite(sum(means.values()) + sum(judged.values())):
            self._diverged(number)
            return False
        self.history.training.append(means)
        if self.held_out is not None:
            self.history.validation.append(judged)
        loss = sum(value for name, value in judged.items() if name not in self.contested)
        if self.held_out is None or loss < self.best_loss:
            self.best, self.best_loss, self.history.best_epoch = _weights(self.model), loss, number
        waited = number - max(self.history.best_epoch, self.settled)
        if self.held_out is not None and self.patience and waited >= self.patience:
            self.stop("early")
            return False
        return True

    def _one_epoch(self, step: Step) -> Iterator[tuple[Mapping[str, Tensor | float], int]]:
        """The terms of each batch and its size."""
        for batch, count in islice(self._shuffled(self.batch), self.batches):
            self.done += 1
            share = self.done / self.steps
            rate = self.rate * rate_at(share, self.settings.schedule, self.steps)
            yield step(batch, share, rate, self.generator), count
            self.team.follow(self.counted)

    def _shuffled(self, size: int) -> Iterator[tuple[Samples, int]]:
        """Batches of all samples. Rows are shuffled block by block; batches are views of a block."""
        numbers = _columns(self.samples)[0][0].numel()
        windows = self.stream.windows(size, self.generator) if self.stream else (self.samples,)
        for window in windows:
            order = torch.randperm(len(_columns(window)[0]), generator=self.generator, device=self.device)
            for block in torch.split(order, size * max(1, _BLOCK // (size * max(numbers, 1)))):
                yield from _batches(_picked(window, block), size)

    @torch.no_grad()
    def validate(self) -> Terms:
        """The terms on the held-out samples, with the same corruption and code noise every epoch.

        Without held-out samples, on one batch: an epoch's own terms are from before its last step, which may have
        broken the weights.
        """
        one_batch = slice(self.history.batch_size)
        judged = _picked(self.samples, one_batch) if self.held_out is None else self.held_out
        self.model.eval()
        self.model.set_progress(1.0)
        generator = torch.Generator(self.device).manual_seed(_VALIDATION_SEED)
        rows = chunk_rows(_columns(judged)[0][0].numel())
        chunks = _batches(judged, max(self.history.batch_size, min(rows, 1_024)))
        return self._mean_terms((self.model.terms(chunk, generator), count) for chunk, count in chunks)

    @staticmethod
    def _mean_terms(batches: Iterator[tuple[Any, int]]) -> Terms:
        sums: dict[str, Any] = {}
        rows = 0
        for terms, count in batches:
            rows += count
            for name, term in terms.items():
                sums[name] = sums.get(name, 0.0) + term * count
        return {name: float(value) / rows for name, value in sums.items()}

    def latest(self) -> Terms:
        return (self.history.validation or self.history.training)[-1]

    def stop(self, reason: str, notice: str = "") -> None:
        self.history.stopped = reason
        self.history.notices += [notice] if notice else []

    def _diverged(self, number: int) -> None:
        remedy = f"a smaller learning rate than {self.rate:g} may help"
        if not self.history.training:
            raise TrainingError(
                "the loss stopped being finite in the first epoch", where="training", how=f"{remedy}: --learning-rate"
            )
        self.stop(
            "diverged",
            f"the loss stopped being finite in epoch {number}; went back to epoch {self.history.best_epoch} ({remedy})",
        )

    def snapshot(self, epoch: int, step: Step) -> Snapshot:
        """All that the next epoch depends on, once `epoch` is over; the tensors are the run's own, not copies."""
        history = self.history.as_json() | {"seconds": self.seconds()}
        tensors = {f"weights.{name}": tensor for name, tensor in self.model.state_dict().items()}
        tensors |= {f"best.{name}": tensor for name, tensor in self.best.items()}
        tensors |= {f"moments.{place}": tensor for place, tensor in enumerate(step.moments)}
        tensors |= {"random.batches": self.generator.get_state(), "random.cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            tensors["random.cuda"] = torch.cuda.get_rng_state(self.device)
        return Snapshot({"epoch": epoch, "best_loss": self.best_loss, "history": history}, tensors)

    def resume(self, snapshot: Snapshot | None, step: Step) -> int:
        """Go back to a snapshot, if there is one; gives the epoch that was over then."""
        over = self._resumed(snapshot, step) if snapshot else 0
        if len({*self.team.gathered(over)}) > 1:
            what = "the workers found different trainings that were cut off"
            raise TrainingError(what, where="training", how="give all machines the same folder for the model")
        return over

    def _resumed(self, snapshot: Snapshot, step: Step) -> int:
        try:
            return self._restore(snapshot.facts, snapshot.tensors, step)
        except (LookupError, TypeError, ValueError, RuntimeError) as fault:
            what = f"the training that was kept does not fit this one ({type(fault).__name__}: {fault})".splitlines()[0]
            raise TrainingError(what, where="training", how="start anew, without --resume") from None

    def _restore(self, facts: dict[str, Any], tensors: dict[str, Tensor], step: Step) -> int:
        self.model.load_state_dict(under("weights.", tensors))
        self.best = under("best.", tensors)
        for place, moment in enumerate(step.moments):
            moment.copy_(tensors[f"moments.{place}"])
        self.generator.set_state(tensors["random.batches"])
        torch.set_rng_state(tensors["random.cpu"])
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(tensors["random.cuda"], self.device)
        epoch, self.best_loss, self.history = int(facts["epoch"]), facts["best_loss"], History(**facts["history"])
        self.start = time.perf_counter() - self.history.seconds
        self.done = epoch * self.batches
        return epoch

    def seconds(self) -> float:
        """How long training has taken, what came before it was cut off included."""
        return time.perf_counter() - self.start

    def finish(self) -> None:
        """Put the best weights back."""
        self.model.load_state_dict(self.best)
        self.model.set_progress(1.0)
        self.model.eval()
        self.history.seconds = self.seconds()


def in_memory(samples: Samples | Stream) -> Samples:
    """Samples as they are; of a stream some of them."""
    return samples if isinstance(samples, Tensor | tuple) else samples.example


def _columns(samples: Samples) -> tuple[Tensor, ...]:
    return samples if isinstance(samples, tuple) else (samples,)


def _picked(samples: Samples, chosen: Tensor | slice) -> Samples:
    """The chosen samples, in the same form."""
    # four times as fast as an index where rows are short
    picked = [each[chosen] if isinstance(chosen, slice) else each.index_select(0, chosen) for each in _columns(samples)]
    return tuple(picked) if isinstance(samples, tuple) else picked[0]


def _batches(samples: Samples, size: int) -> Iterator[tuple[Samples, int]]:
    """The samples `size` at a time, in the same form, and how many they are."""
    for batch in zip(*(torch.split(each, size) for each in _columns(samples)), strict=True):
        yield batch if isinstance(samples, tuple) else batch[0], len(batch[0])


def _shared(samples: Samples, team: Team) -> Samples:
    """A worker's share of the samples, in the same form."""
    return tuple(map(team.share, samples)) if isinstance(samples, tuple) else team.share(samples)


def _counted(model: Trainable) -> list[Tensor]:
    """What a model keeps but does not learn by gradients."""
    learned = {weight.data_ptr() for weight in model.parameters()}
    return [tensor for tensor in model.state_dict().values() if tensor.data_ptr() not in learned]


def _weights(model: Trainable) -> dict[str, Tensor]:
    return copy.deepcopy(model.state_dict())


def under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names begin so, by the rest of their names."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
