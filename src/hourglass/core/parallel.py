"""Training by several processes: each learns from its share of the samples, and all move by the mean gradient.

So all have the same weights at every step, and take the same decisions. Nothing here knows who started them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import torch
from torch import Tensor, distributed

_PATIENCE = timedelta(days=7)
"""How long one waits for another, who may have slower disks: to notice who is lost is the starter's work."""


class Dismissed(Exception):  # noqa: N818  no fault
    """Training is over, and what follows is the first worker's."""


@dataclass(frozen=True)
class Team:
    """The workers that train one model together, as one of them sees it. Alone, it is all of them."""

    rank: int = 0
    size: int = 1

    def part(self, before: int = 0) -> slice:
        """Which samples are its own, where so many came before them: all have equally many, or one more."""
        return slice((self.rank - before) % self.size, None, self.size)

    def share(self, samples: Tensor) -> Tensor:
        """Its own samples; all, where there are fewer than workers."""
        return samples[self.part()] if len(samples) >= self.size else samples

    def gathered(self, number: int) -> list[int]:
        """The numbers of all workers. Each waits here for the others."""
        numbers = torch.zeros(self.size, dtype=torch.int64)
        numbers[self.rank] = number
        if self.size > 1:
            distributed.all_reduce(numbers)
        return numbers.tolist()

    def average(self, tensor: Tensor) -> None:
        """Put the mean of all workers in the place of a tensor, the same bits on each."""
        if self.size > 1:
            distributed.all_reduce(tensor)
            tensor.div_(self.size)

    def averaged(self, terms: dict[str, float]) -> dict[str, float]:
        """The mean of all workers' terms."""
        means = torch.tensor([*terms.values()], dtype=torch.float64)
        self.average(means)
        return dict(zip(terms, means.tolist(), strict=True))

    def follow(self, counted: Sequence[Tensor]) -> None:
        """Take what the first worker's network counts on its way, such as a codebook's means, from its own samples."""
        for tensor in counted if self.size > 1 else ():
            distributed.broadcast(tensor, 0)

    def reseed(self, generator: torch.Generator, seed: int, epoch: int) -> None:
        """Other random numbers for each worker and epoch, so that an epoch can be begun again; alone, they go on."""
        if self.size > 1:
            state = int(np.random.SeedSequence([seed, self.rank, epoch]).generate_state(1)[0])
            generator.manual_seed(state)
            torch.manual_seed(state)

    def dismiss(self) -> None:
        """Raise `Dismissed` in all but the first."""
        if self.rank:
            raise Dismissed


ALONE = Team()


@contextmanager
def joined(store: Any, rank: int, size: int) -> Iterator[Team]:
    """Be one of the workers that meet at a store of `torch.distributed`; who leaves early is missed by the others."""
    distributed.init_process_group("gloo", store=store, rank=rank, world_size=size, timeout=_PATIENCE)
    try:
        yield Team(rank, size)
    finally:
        distributed.destroy_process_group()
