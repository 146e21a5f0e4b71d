"""The training step of everything that has terms: their gradient by autograd."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from hourglass.core.flat_adamw import FlatAdamW, Rate
from hourglass.core.model import Player, total
from hourglass.core.parallel import ALONE, Team
from hourglass.settings import Training


@dataclass(frozen=True)
class _Group:
    """Parameters that learn at a share of the learning rate, once a share of training is over."""

    optimizer: FlatAdamW
    rate: float = 1.0
    start: float = 0.0

    def step(self, share: float, rate: Rate) -> None:
        self.optimizer.step(rate * self.rate if share > self.start else 0.0)


class AutogradStep:
    """Every player in turn: its terms, their gradient, and its own optimizer."""

    name = "autograd"

    def __init__(self, players: list[Player], settings: Training, team: Team = ALONE) -> None:
        self.turns = [(player, _groups(player, settings, team)) for player in players]

    def __call__(
        self, batch: Any, share: float, rate: Rate, generator: torch.Generator
    ) -> Mapping[str, Tensor | float]:
        shown: dict[str, Tensor] = {}
        for player, groups in self.turns:
            terms = player.terms(batch, generator)
            for group in groups:
                group.optimizer.gradient.zero_()
            total(terms).backward()  # type: ignore[no-untyped-call]
            for group in groups:
                group.step(share, rate)
            shown.update({name: term.detach() for name, term in terms.items()})
        return shown

    @property
    def moments(self) -> list[Tensor]:
        """What the optimizers remember of past gradients."""
        return [each for _, groups in self.turns for group in groups for each in group.optimizer.moments]

    def release(self) -> None:
        """Let the model have its parameters back."""
        for _, groups in self.turns:
            for group in groups:
                group.optimizer.release()


def _groups(player: Player, settings: Training, team: Team) -> list[_Group]:
    slower = [(_that_learn(group.parameters), group.rate, group.start) for group in player.slower]
    given = [(_that_learn(player.parameters), 1.0, 0.0), *slower]
    return [_Group(FlatAdamW(those, settings, team), rate, start) for those, rate, start in given if those]


def _that_learn(parameters: list[nn.Parameter]) -> list[nn.Parameter]:
    """Those not frozen: the others have no gradient, and would yet be pulled towards zero."""
    return [parameter for parameter in parameters if parameter.requires_grad]
