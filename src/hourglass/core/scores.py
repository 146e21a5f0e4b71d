"""How odd a sample is: scorers over one trained network, and their combination into one anomaly score (high = odd).

A scorer is fitted on training samples and gives one number a sample; those that score cell by cell also say which
cells.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from hourglass.core.chunks import in_chunks
from hourglass.core.losses import weighted_mean
from hourglass.core.model import Autoencoder, split_missing
from hourglass.data.samples import Layout
from hourglass.errors import UsageError
from hourglass.settings import did_you_mean

_PARTITIONS = (2, 2, 4, 4, 8, 8)
_MOST_CODES = 2_000
_NEIGHBOURS = 5


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

    @classmethod
    def learn(cls, network: Autoencoder, samples: Tensor, seed: int) -> dict[str, Tensor]:
        """Masks (passes, numbers): random partitions of the cells into 2, 4 and 8 groups, as far as there are cells."""
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
        errors, expected = torch.zeros(len(x), network.loss.count, device=x.device), torch.zeros_like(x)
        passes = torch.zeros_like(x[:1])
        for mask in self.state["masks"].to(x.device):
            hidden = mask.reshape(x.shape[1:]).expand(x.shape)
            trace = network.pass_through(known, missing, known.masked_fill(hidden, 0.0), hidden, None)
            here = hidden if missing is None else hidden & ~missing
            errors = errors + network.loss.cells(trace.output, known) * network.loss.per_cell(here)
            expected = expected + network.loss.expectation(trace.output) * hidden
            passes = passes + hidden[:1].float()
        times = passes.clamp(min=1.0)
        return errors / network.loss.per_cell(times), expected / times


class NeighbourScorer(Scorer):
    """How far the sample's code is from the codes of training samples: the distance to the fifth nearest."""

    name = "neighbours"

    @classmethod
    def learn(cls, network: Autoencoder, samples: Tensor, seed: int) -> dict[str, Tensor]:
        """At most 2,000 codes drawn from the training samples, each number centred and divided by its deviation."""
        generator = torch.Generator().manual_seed(seed)
        chosen = torch.randperm(len(samples), generator=generator)[:_MOST_CODES]
        with torch.inference_mode():
            codes = network.encode(samples[chosen.to(samples.device)])
        centre, scale = codes.mean(0), codes.std(0, correction=0).clamp(min=1e-6)
        # cdist multiplies codes out, which loses small distances between codes far from 0
        state = {"codes": (codes - centre) / scale, "centre": centre, "scale": scale}
        return {name: tensor.cpu().clone() for name, tensor in state.items()}

    def __call__(self, network: Autoencoder, x: Tensor) -> Tensor:
        stored, centre, scale = (self.state[name].to(x.device) for name in ("codes", "centre", "scale"))
        distance = torch.cdist((network.encode(x) - centre) / scale, stored)
        nearest = distance.topk(min(_NEIGHBOURS, len(stored)), dim=1, largest=False).values
        return nearest[:, -1]  # `kthvalue` is the same, and takes seven times as long


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
    return bounded(
        np.stack([in_chunks(partial(scorer, network), samples, network.device) for scorer in scorers], axis=1)
    )


def bounded(errors: np.ndarray) -> np.ndarray:
    """Errors beyond float32, of numbers like 1e30 that were not scaled, as its largest number: odd without end."""
    largest = float(np.finfo(np.float32).max)
    return np.asarray(np.nan_to_num(errors, nan=largest, posinf=largest))


class Combination:
    """Several scorers as one: the mean of the robust z of each log score; one scorer alone stays as it is.

    z = (log score - centre) / spread, centre and spread the median and 1.4826 MAD over held-out samples.
    """

    def __init__(self, centre: np.ndarray, spread: np.ndarray) -> None:
        self.centre, self.spread = centre, spread

    @classmethod
    def fit(cls, raw: np.ndarray) -> Combination:
        """Learn centre and spread from raw scores (n, scorers) of samples not trained on."""
        logs = _logs(raw)
        centre = np.median(logs, axis=0)
        spread = 1.4826 * np.median(np.abs(logs - centre), axis=0)
        deviation = logs.std(axis=0)
        # more than half of the scores alike: the MAD is 0 and says nothing
        return cls(centre, np.where(spread > 1e-6, spread, np.where(deviation > 1e-6, deviation, 1.0)))

    def __call__(self, raw: np.ndarray) -> np.ndarray:
        """One anomaly score a sample from raw scores (n, scorers)."""
        if raw.shape[1] == 1:
            return raw[:, 0].astype(np.float64)
        return np.asarray(((_logs(raw) - self.centre) / self.spread).mean(axis=1))


def _logs(raw: np.ndarray) -> np.ndarray:
    return np.log(raw.astype(np.float64) + 1e-12)
