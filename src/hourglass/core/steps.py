"""One step of training: what moves the weights on a batch. `step_for` chooses; all steps agree to rounding.

The autograd step trains everything. Plain dense stacks on a CPU take the written-out one (`core/dense_steps.py`): the
same gradient without a graph, in buffers that every step uses again. On a CUDA device the autograd step is captured
once and replayed, where that can be (`core/graph_steps.py`). Where a team trains, each step averages its gradient.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor

from hourglass.core.autograd_steps import AutogradStep
from hourglass.core.dense_steps import WrittenOutStep, dense_plan
from hourglass.core.graph_steps import GraphStep, can_be_captured
from hourglass.core.model import Autoencoder, Player
from hourglass.core.parallel import ALONE, Team
from hourglass.settings import Training


class Step(Protocol):
    """Moves the weights once and gives the terms, by name, as they were before."""

    name: str
    """What it is called in the history."""

    def __call__(
        self, batch: Any, share: float, rate: float, generator: torch.Generator
    ) -> Mapping[str, Tensor | float]:
        """Learn from a batch at a learning rate, when `share` of the training is over."""

    @property
    def moments(self) -> list[Tensor]:
        """What the optimizers remember of past gradients, to be read and to be written in place."""

    def release(self) -> None:
        """Let the model have its parameters back, each with a storage of its own."""


@contextmanager
def step_for(
    model: object,
    players: list[Player],
    samples: Tensor | tuple[Tensor, ...],
    settings: Training,
    team: Team = ALONE,
) -> Iterator[Step]:
    """The fastest step there is for this model and these samples. Once left, weights stand by themselves again."""
    step = _fastest(model, players, samples, settings, team)
    try:
        yield step
    finally:
        step.release()


def _fastest(
    model: object, players: list[Player], samples: Tensor | tuple[Tensor, ...], settings: Training, team: Team
) -> Step:
    plan = dense_plan(model, players, samples)
    if plan is not None:
        return WrittenOutStep(plan, settings, team)
    step = AutogradStep(players, settings, team)
    if team.size == 1 and isinstance(model, Autoencoder) and can_be_captured(model, players, samples):
        return GraphStep(model, step)
    return step


@contextmanager
def denormals_flushed() -> Iterator[None]:
    """Numbers below 1e-38 count as 0 here, on this thread; the caller's setting is put back.

    Each costs some hundred cycles, and outputs of pixels that are always black, and dead units, are full of them.
    """
    before = _flushes_denormals()
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


def _flushes_denormals() -> bool:
    """There is no getter: make a denormal and look whether it is 0."""
    return not bool(torch.tensor(1e-30, dtype=torch.float32) * 1e-10)
