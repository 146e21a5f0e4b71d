"""One step of training: what moves the weights on a batch. `step_for` chooses; all steps agree to rounding.

The autograd step trains everything. Plain dense stacks on a CPU take the written-out one (`core/dense_steps.py`): the
same gradient and the same optimizer without a graph, in buffers that every step uses again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor

from hourglass.core.dense_steps import WrittenOutStep, dense_plan
from hourglass.core.model import Player, total
from hourglass.settings import Training


class Step(Protocol):
    """Moves the weights once and gives the terms, by name, as they were before."""

    name: str
    """What it is called in the history."""

    def __call__(
        self, batch: Any, share: float, rate: float, generator: torch.Generator
    ) -> Mapping[str, Tensor | float]:
        """Learn from a batch at a learning rate, when `share` of the training is over."""


@contextmanager
def step_for(
    model: object, players: list[Player], samples: Tensor | tuple[Tensor, ...], settings: Training
) -> Iterator[Step]:
    """The fastest step there is for this model and these samples. Once left, weights stand by themselves again."""
    plan = dense_plan(model, players, samples)
    if plan is None:
        yield AutogradStep(players, settings)
        return
    step = WrittenOutStep(plan, settings)
    try:
        yield step
    finally:
        step.release()


class AutogradStep:
    """Every player in turn: its terms, their gradient by autograd, and its own optimizer."""

    name = "autograd"

    def __init__(self, players: list[Player], settings: Training) -> None:
        self.clip = settings.gradient_clip
        self.turns = [(player, _optimizer(player, settings)) for player in players]

    def __call__(
        self, batch: Any, share: float, rate: float, generator: torch.Generator
    ) -> Mapping[str, Tensor | float]:
        shown: dict[str, Tensor] = {}
        for player, optimizer in self.turns:
            terms = player.terms(batch, generator)
            optimizer.zero_grad(set_to_none=True)
            total(terms).backward()  # type: ignore[no-untyped-call]
            for group in optimizer.param_groups:
                if self.clip:
                    torch.nn.utils.clip_grad_norm_(group["params"], self.clip)
                group["lr"] = rate * group["rate"] if share > group["start"] else 0.0
            optimizer.step()
            shown.update({name: term.detach() for name, term in terms.items()})
        return shown


def _optimizer(player: Player, settings: Training) -> torch.optim.Optimizer:
    groups = [{"params": player.parameters, "rate": 1.0, "start": 0.0}] if player.parameters else []
    groups += [{"params": group.parameters, "rate": group.rate, "start": group.start} for group in player.slower]
    return torch.optim.AdamW(groups, lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True)


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
