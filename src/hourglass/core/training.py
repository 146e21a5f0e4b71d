"""The one training loop: every kind of autoencoder, every opponent and every head is trained by `train`."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from hourglass.core.chunks import chunk_rows
from hourglass.core.model import Player
from hourglass.core.steps import Step, denormals_flushed, step_for
from hourglass.errors import TrainingError
from hourglass.settings import Training

Terms = dict[str, float]
Report = Callable[[int, int, Terms], None]
"""Called after each epoch with its number (from 1), the number of epochs, and the terms to show."""

Samples = Tensor | tuple[Tensor, ...]
"""What is trained on: a tensor (n, ...), or several of equal length that go together, such as inputs and targets."""

_VALIDATION_SEED = 20_240_229
_BLOCK = 2**18
"""Numbers shuffled at a time: they stay in the cache until their steps are done."""
_SMALL_STEP = 2**22
"""Products (batch size times weights) below which a step runs on one thread."""
_FEW_STEPS = 1_500
"""Below, how far the weights go in all counts for more than how small the last steps are."""


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


def train(
    model: Trainable,
    samples: Samples,
    settings: Training,
    held_out: Samples | None = None,
    report: Report | None = None,
) -> History:
    """Train `model` on `samples` and leave it with the weights that were best on `held_out`.

    Without held-out samples the last epoch's weights stay. Ctrl-C keeps the best so far; a loss that is no longer
    finite goes back to the last finite weights. Both are said in the history. Random draws come from `settings.seed`.
    """
    run = _Run(model, samples, settings, held_out)
    start = time.perf_counter()
    try:
        step_by = step_for(model, run.players, samples, settings)
        with _threads_for(model, run.history.batch_size), denormals_flushed(), step_by as step:
            for epoch in range(1, run.history.epochs + 1):
                goes_on = run.epoch(epoch, step)
                run.history.step = step.name  # what could not be captured has another by now
                if not goes_on:
                    break
                if report:
                    report(epoch, run.history.epochs, run.latest())
    except KeyboardInterrupt:
        if not run.history.best_epoch:
            raise  # nothing trained to keep
        run.stop("interrupted", "training was interrupted; the best weights so far are kept")
    run.finish()
    run.history.seconds = time.perf_counter() - start
    return run.history


@contextmanager
def _threads_for(model: Trainable, batch_size: int) -> Iterator[None]:
    """One thread for small steps, where waking the others costs more than they do; the caller's number is put back."""
    before, weights = torch.get_num_threads(), list(model.parameters())
    small = batch_size * sum(weight.numel() for weight in weights) < _SMALL_STEP
    convolves = any(weight.dim() > 2 for weight in weights)  # each weight at every place: never a small step
    torch.set_num_threads(1 if small and not convolves else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _Run:
    """The state of one training run."""

    def __init__(self, model: Trainable, samples: Samples, settings: Training, held_out: Samples | None) -> None:
        self.model, self.samples, self.settings = model, samples, settings
        self.rows, self.device = len(_columns(samples)[0]), _columns(samples)[0].device
        self.held_out = held_out if held_out is not None and len(_columns(held_out)[0]) else None
        batch_size = min(settings.batch_size or default_batch_size(self.rows), self.rows)
        self.batches = math.ceil(self.rows / batch_size)
        epochs = settings.epochs or max(10, math.ceil(settings.steps / self.batches))
        self.history = History(epochs=epochs, batch_size=batch_size)
        self.patience = settings.patience if settings.patience is not None else max(10, epochs // 5)
        self.generator = torch.Generator(self.device).manual_seed(settings.seed)
        self.players = model.players()
        self.done, self.steps = 0, epochs * self.batches
        self.best, self.best_loss = _weights(model), math.inf
        self.contested = frozenset().union(*(player.contested for player in self.players))
        self.settled = math.ceil(epochs * max((player.settled for player in self.players), default=0.0))

    def epoch(self, number: int, step: Step) -> bool:
        """Train for one epoch; False when training should stop after it."""
        self.model.train()
        self.model.set_progress((number - 1) / self.history.epochs)
        means = self._mean_terms(self._one_epoch(step))
        judged = self.validate()
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
        """The terms of each batch and its size. Rows are shuffled block by block; batches are views of a block."""
        size = self.history.batch_size
        order = torch.randperm(self.rows, generator=self.generator, device=self.device)
        numbers = _columns(self.samples)[0][0].numel()
        for block in torch.split(order, size * max(1, _BLOCK // (size * max(numbers, 1)))):
            for batch, count in _batches(_picked(self.samples, block), size):
                self.done += 1
                share = self.done / self.steps
                rate = self.settings.learning_rate * rate_at(share, self.settings.schedule, self.steps)
                yield step(batch, share, rate, self.generator), count

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
        remedy = f"a smaller learning rate than {self.settings.learning_rate:g} may help"
        if not self.history.training:
            raise TrainingError(
                "the loss stopped being finite in the first epoch", where="training", how=f"{remedy}: --learning-rate"
            )
        self.stop(
            "diverged",
            f"the loss stopped being finite in epoch {number}; went back to epoch {self.history.best_epoch} ({remedy})",
        )

    def finish(self) -> None:
        """Put the best weights back."""
        self.model.load_state_dict(self.best)
        self.model.set_progress(1.0)
        self.model.eval()


def rate_at(share: float, schedule: str, steps: int = _FEW_STEPS) -> float:
    """The step size, as a share of the largest, when `share` of a training of so many steps is over.

    One cycle goes up and then down; the fewer steps there are, the longer it stays up.
    """
    if schedule == "constant":
        return 1.0
    warm_up, top = (0.15, max(0.15, 0.8 * (1 - steps / _FEW_STEPS))) if schedule == "one-cycle" else (0.0, 0.0)
    if share < warm_up:
        return 0.04 + 0.96 * share / warm_up
    down = max(0.0, share - top) / (1 - top)
    return 0.002 + 0.998 * 0.5 * (1 + math.cos(math.pi * down))


def default_batch_size(rows: int) -> int:
    """A power of two, about a 25th of the rows, 16 to 256."""
    return int(2 ** min(8, max(4, round(math.log2(max(rows, 1) / 25)))))


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


def _weights(model: Trainable) -> dict[str, Tensor]:
    return copy.deepcopy(model.state_dict())
