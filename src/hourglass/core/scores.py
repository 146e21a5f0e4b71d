"""How odd a sample is: scorers over one trained network, and their combination into one anomaly score (high = odd).

A scorer is fitted on training samples and gives one number a sample; those that score cell by cell also say which
cells.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar, final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from hourglass.core.chunks import in_chunks
from hourglass.core.losses import weighted_mean
from hourglass.core.model import Autoencoder, split_missing
from hourglass.core.trimming import SHARE
from hourglass.data.samples import Layout
from hourglass.errors import UsageError
from hourglass.settings import did_you_mean

_PARTITIONS = (3, 4)
_MOST_STORED = 2_000
_NEIGHBOURS = 5
_TOGETHER = 1_024
"""Samples whose distances to all stored ones are in memory at a time."""
_RESOLVED = 1e-6
"""Squared distances that float32 tells from 0, as a share of the squared lengths they are made of."""
_GROUPED = 16
"""Stored samples in a group, of which the nearest is found first."""


SCORERS: dict[str, type[Scorer]] = {}
"""Every scorer by its name."""


class Scorer(ABC):
    """One way to measure oddness with a trained network. Naming a class registers it."""

    name: ClassVar[str] = ""
    takes: ClassVar[tuple[int, ...]] = (1, 2, 3)
    """Dimensions of the samples it can take: 1 for rows of a table, 2 for windows of a series, 3 for pictures."""
    decodes: ClassVar[bool] = False
    """Whether it asks what the decoder makes of codes alone."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.name:
            SCORERS[cls.name] = cls

    def __init__(self, state: dict[str, Tensor]) -> None:
        self.state = state

    @classmethod
    @abstractmethod
    def learn(cls, network: Autoencoder, samples: Tensor, seed: int) -> dict[str, Tensor]:
        """What must be remembered of the training samples (n, ...)."""

    @abstractmethod
    def __call__(self, network: Autoencoder, x: Tensor) -> Tensor:
        """Oddness of each sample, not negative. Shape (n,)."""


class CellScorer(Scorer):
    """A scorer that measures each cell, and so can give reasons."""

    @abstractmethod
    def cells(self, network: Autoencoder, x: Tensor) -> tuple[Tensor, Tensor]:
        """Error of each cell (n, cells), 0 where missing, and the expected sample on the packed scale (x's shape)."""


class ErrorScorer(CellScorer):
    """How badly the sample is given back: the loss of its plain reconstruction."""

    name = "error"

    @classmethod
    def learn(cls, network: Autoencoder, samples: Tensor, seed: int) -> dict[str, Tensor]:
        return {}

    def __call__(self, network: Autoencoder, x: Tensor) -> Tensor:
        errors: Tensor = network.loss.errors(network(x))
        return errors

    def cells(self, network: Autoencoder, x: Tensor) -> tuple[Tensor, Tensor]:
        trace = network(x)
        errors = network.loss.cells(trace.output, trace.x)
        there = network.loss.counting(trace.missing, None)
        return errors if there is None else errors * there, network.loss.expectation(trace.output)


class MaskedCellScorer(CellScorer):
    """How badly each cell is guessed from the others: groups of cells are hidden in turn, once a partition.

    Where the network learned to fill in whole patches, a group is made of patches.
    """

    name = "masked-cell"

    def __init__(self, state: dict[str, Tensor]) -> None:
        super().__init__(state)
        self.partitions = _partitions(state["masks"])

    @classmethod
    def learn(cls, network: Autoencoder, samples: Tensor, seed: int) -> dict[str, Tensor]:
        """Masks (passes, numbers): random partitions of the cells into 3 and 4 groups, as far as there are cells."""
        generator = torch.Generator().manual_seed(seed)
        unit_of: Tensor = getattr(network.corruption, "units", network.loss.cell_of).cpu()
        count = int(unit_of.max()) + 1
        masks = []
        for groups in _PARTITIONS:
            owner = torch.arange(count).remainder(min(groups, count))[torch.randperm(count, generator=generator)]
            masks += [owner[unit_of] == group for group in range(min(groups, count))]
        return {"masks": torch.stack(masks)}

    def __call__(self, network: Autoencoder, x: Tensor) -> Tensor:
        return weighted_mean(self.cells(network, x)[0], network.loss.counting(split_missing(x)[1], None))

    def cells(self, network: Autoencoder, x: Tensor) -> tuple[Tensor, Tensor]:
        known, missing = split_missing(x)
        # not len(x), which would fix a graph's number of samples
        errors = torch.zeros(x.shape[0], network.loss.count, device=x.device)
        expected = torch.zeros_like(x)
        for masks in self.partitions:
            guesses = _guesses(network, known, missing, masks.to(x.device).reshape(-1, *x.shape[1:]))
            errors += network.loss.cells(guesses, known)
            expected += network.loss.expectation(guesses)
        there = network.loss.counting(missing, None)
        errors = errors if there is None else errors * there
        return errors / len(self.partitions), expected / len(self.partitions)


def _partitions(masks: Tensor) -> list[Tensor]:
    """The masks (passes, numbers) of each partition: as many as together hide every number once."""
    times = masks.cumsum(0)
    complete = (times.amin(1) == times.amax(1)).nonzero().flatten() + 1
    return list(masks.tensor_split(complete[:-1].tolist()))


def _guesses(network: Autoencoder, known: Tensor, missing: Tensor | None, masks: Tensor) -> Tensor:
    """What the network says of each number while it is hidden, with all others of its group: (n, ...)."""
    output = torch.zeros_like(known)
    for mask in masks:
        hidden = mask.expand(known.shape)
        trace = network.pass_through(known, missing, known.masked_fill(hidden, 0.0), hidden, None)
        output = torch.where(hidden, trace.output, output)
    return output


class _NearnessScorer(Scorer):
    """How far the sample is from training samples, as its own network sees them. Final classes say: from which.

    Seen by the first hidden layer, which still tells samples apart that the narrow code does not; where the encoder
    does not tell of its layers, by the code.
    """

    share: ClassVar[float]
    """The share of the stored samples that are nearer than the one whose distance counts, which is at least the fifth.
    """

    @classmethod
    def learn(cls, network: Autoencoder, samples: Tensor, seed: int) -> dict[str, Tensor]:
        """At most 2,000 training samples as the layer sees them, each number centred and divided by its deviation."""
        generator = torch.Generator().manual_seed(seed)
        with torch.inference_mode():
            seen = _seen_by(network, drawn(samples, _MOST_STORED, generator))
        centre, scale = seen.mean(0), seen.std(0, correction=0).clamp(min=1e-6)
        # distances are multiplied out, which loses small distances between samples far from 0
        state = {"stored": (seen - centre) / scale, "centre": centre, "scale": scale}
        return {name: tensor.cpu().clone() for name, tensor in state.items()}

    def __call__(self, network: Autoencoder, x: Tensor) -> Tensor:
        stored, centre, scale = (self.state[name].to(x.device) for name in ("stored", "centre", "scale"))
        seen = (_seen_by(network, x) - centre) / scale
        # points that are never near fill the last group up
        more, rank = -len(stored) % _GROUPED, min(max(_NEIGHBOURS, round(self.share * len(stored))), len(stored))
        halves = functional.pad(stored.square().sum(1) / 2, (0, more), value=math.inf)
        stored = functional.pad(stored, (0, 0, 0, more))
        together = (seen,) if torch.compiler.is_compiling() else torch.split(seen, _TOGETHER)  # a graph cannot count
        nearest = [_distance(some, stored, halves, rank) for some in together]
        return torch.cat(nearest)


@final
class NeighbourScorer(_NearnessScorer):
    """How far the sample is from training samples, as its own network sees them: the distance to the fifth nearest."""

    name = "neighbours"
    share = 0.0


@final
class FarNeighbourScorer(_NearnessScorer):
    """How far the sample is from a tenth of the training samples: anomalies among these are too few to be near."""

    name = "far-neighbours"
    share = SHARE


def _distance(points: Tensor, stored: Tensor, halves: Tensor, rank: int) -> Tensor:
    """Distance of each point (n, numbers) to its `rank`-th nearest among those stored. Shape (n,).

    |p - s|^2 / 2 = |p|^2 / 2 + (|s|^2 / 2 - p s), of which the part in brackets ranks. The nearest are in the groups
    whose own nearest are the nearest: to look there alone is the same as `topk` of all, and takes a tenth of the time.
    """
    groups = torch.addmm(halves, points, stored.T, alpha=-1).reshape(-1, _GROUPED, len(stored) // _GROUPED)
    chosen = groups.amin(1).topk(min(rank, groups.shape[2]), dim=1, largest=False).indices
    ranked = groups.gather(2, chosen[:, None].expand(-1, _GROUPED, -1)).flatten(1)
    # `kthvalue` is the same as the last of `topk`, and takes seven times as long
    kth = ranked.topk(rank, dim=1, largest=False).indices[:, -1:]
    group = chosen.gather(1, kth % chosen.shape[1])
    nearest = stored[(kth // chosen.shape[1] * groups.shape[2] + group).squeeze(1)]
    # multiplied out, small distances would be noise; from 0 those are not told that rounding may have made
    squares: Tensor = (points - nearest).square().sum(1).maximum(_RESOLVED * points.square().sum(1))
    return squares.sqrt()


def _seen_by(network: Autoencoder, x: Tensor) -> Tensor:
    """What the encoder's first hidden layer makes of samples, or else their codes. Shape (n, numbers)."""
    by_layer = getattr(network.encoder, "by_layer", None)
    seen: Tensor = next(by_layer(*split_missing(x))) if by_layer else network.encode(x)
    return seen


def drawn(samples: Tensor, most: int, generator: torch.Generator) -> Tensor:
    """At most so many of the samples, drawn at random."""
    return samples[torch.randperm(len(samples), generator=generator)[:most].to(samples.device)]


def scorer_named(name: str) -> type[Scorer]:
    """The scorer called `name`."""
    if name not in SCORERS:
        raise UsageError(
            f"there is no scorer called {name!r}", where="detection.scorers", how=did_you_mean(name, SCORERS)
        )
    return SCORERS[name]


def check_scorers(names: Sequence[str], layout: Layout) -> None:
    """Refuse a scorer that is not known, or that cannot take such samples."""
    for name in names:
        if len(layout.shape) not in scorer_named(name).takes:
            what = f"the scorer {name!r} takes series or pictures; a table's columns have no order for it to use"
            raise UsageError(what, where="detection.scorers", how="leave it out")


def raw_scores(network: Autoencoder, scorers: Sequence[Scorer], samples: np.ndarray) -> np.ndarray:
    """Each scorer's own score of each packed sample. Shape (n, scorers), float32."""
    raw = np.stack([in_chunks(partial(scorer, network), samples, network.device) for scorer in scorers], axis=1)
    return bounded(torch.from_numpy(raw)).numpy()


def bounded(errors: Tensor) -> Tensor:
    """Errors beyond float32, of numbers like 1e30 that were not scaled, as its largest number: odd without end."""
    largest = torch.finfo(torch.float32).max
    return errors.nan_to_num(nan=largest, posinf=largest)


class Combination:
    """Several scorers as one: the mean of the robust z of each log score; one scorer alone stays as it is.

    z = (log score - centre) / spread, centre and spread the median and 1.4826 MAD over held-out samples.
    """

    def __init__(self, centre: np.ndarray, spread: np.ndarray) -> None:
        self.centre, self.spread = centre, spread

    @classmethod
    def fit(cls, raw: np.ndarray) -> Combination:
        """Learn centre and spread from raw scores (n, scorers) of samples not trained on."""
        logs = _logs(torch.from_numpy(raw)).numpy()
        centre = np.median(logs, axis=0)
        spread = 1.4826 * np.median(np.abs(logs - centre), axis=0)
        deviation = logs.std(axis=0)
        # more than half of the scores alike: the MAD is 0 and says nothing
        return cls(centre, np.where(spread > 1e-6, spread, np.where(deviation > 1e-6, deviation, 1.0)))

    def __call__(self, raw: np.ndarray) -> np.ndarray:
        """One anomaly score a sample from raw scores (n, scorers)."""
        return self.joined(torch.from_numpy(raw)).numpy()

    def joined(self, raw: Tensor) -> Tensor:
        """The same of tensors, which a graph can hold: (n, scorers) to float64 (n,)."""
        if raw.shape[1] == 1:
            return raw[:, 0].double()
        centre, spread = torch.from_numpy(self.centre), torch.from_numpy(self.spread)
        return ((_logs(raw) - centre) / spread).mean(1)


def _logs(raw: Tensor) -> Tensor:
    return (raw.double() + 1e-12).log()
