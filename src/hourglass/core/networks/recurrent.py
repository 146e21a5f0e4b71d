"""Recurrent networks: a series read step by step into its code, and written out step by step from it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hourglass.core.networks.network import Network
from hourglass.data.samples import Layout
from hourglass.settings import option

_CELLS: dict[str, type[nn.GRU] | type[nn.LSTM]] = {"gru": nn.GRU, "lstm": nn.LSTM}


@dataclass(frozen=True)
class Recurrent(Network):
    """Steps of a series (rows of a picture, from the top) are read in turn; the last state becomes the code.

    The decoder is fed the code at every step, with what it learned of that step (Srivastava et al. 2015, without
    feeding outputs back).
    """

    name = "recurrent"
    takes = (2, 3)
    cell: str = option("gru", "what is carried from step to step", choices=tuple(_CELLS))
    width: int = option(64, "numbers carried from step to step", low=1)
    layers: int = option(1, "recurrent layers, one upon the other", low=1)
    bidirectional: bool = option(True, "whether the encoder also reads from the last step to the first")

    def build(self, layout: Layout, hidden: int, code: int, told: bool) -> tuple[nn.Module, nn.Module]:
        self.check(layout)
        return _Encoder(self, layout, hidden, told), _Decoder(self, layout, code)

    def code_size(self, layout: Layout) -> int | None:
        return None

    def recurrence(self, inputs: int, bidirectional: bool) -> nn.GRU | nn.LSTM:
        return _CELLS[self.cell](inputs, self.width, self.layers, batch_first=True, bidirectional=bidirectional)


class _Encoder(nn.Module):
    def __init__(self, settings: Recurrent, layout: Layout, hidden: int, told: bool) -> None:
        super().__init__()
        self.told, self.width = told, settings.width
        _, numbers = _steps(layout)
        self.read = settings.recurrence(numbers * (2 if told else 1), settings.bidirectional)
        self.head = nn.Linear(settings.width * (2 if settings.bidirectional else 1), hidden)

    def forward(self, seen: Tensor, mask: Tensor | None) -> Tensor:
        steps = _as_steps(seen)
        if self.told:
            told = torch.zeros_like(steps) if mask is None else _as_steps(mask).to(steps.dtype)
            steps = torch.cat([steps, told], dim=2)
        states = self.read(steps)[0]
        # each direction's state after its own last step
        last = torch.cat([states[:, -1, : self.width], states[:, 0, self.width :]], dim=1)
        return self.head(last)  # type: ignore[no-any-return]


class _Decoder(nn.Module):
    def __init__(self, settings: Recurrent, layout: Layout, code: int) -> None:
        super().__init__()
        self.shape = layout.shape
        count, numbers = _steps(layout)
        self.steps = nn.Parameter(0.02 * torch.randn(count, settings.width))
        self.spread = nn.Linear(code, settings.width)
        self.write = settings.recurrence(settings.width, False)
        self.head = nn.Linear(settings.width, numbers)

    def forward(self, code: Tensor) -> Tensor:
        written = self.head(self.write(self.spread(code)[:, None] + self.steps)[0])
        if len(self.shape) == 2:
            return written  # type: ignore[no-any-return]
        channels, rows, columns = self.shape
        return written.reshape(-1, rows, channels, columns).transpose(1, 2)  # type: ignore[no-any-return]


def _steps(layout: Layout) -> tuple[int, int]:
    """How many steps a sample has, and how many numbers a step."""
    steps = layout.shape[0] if len(layout.shape) == 2 else layout.shape[1]
    return steps, layout.size // steps


def _as_steps(x: Tensor) -> Tensor:
    """Series as they are, (n, steps, channels); the rows of pictures as steps of channels x columns numbers."""
    return x if x.dim() == 3 else x.transpose(1, 2).flatten(2)
