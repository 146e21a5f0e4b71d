"""Samples as channels over a grid, for networks of convolutions whose stages halve its sides."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.conv import _ConvNd

from hourglass.core.networks.network import Network
from hourglass.data.samples import Layout
from hourglass.errors import UsageError

CONVOLUTION = {1: nn.Conv1d, 2: nn.Conv2d}
TRANSPOSED = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d}
POOL = {1: nn.MaxPool1d, 2: nn.MaxPool2d}
_TRANSPOSED = {1: functional.conv_transpose1d, 2: functional.conv_transpose2d}


@dataclass(frozen=True)
class Grid:
    """Samples as channels over a grid, and the stages that halve it."""

    inputs: int
    """Channels of the samples."""
    sides: tuple[int, ...]
    """Steps, or rows and columns."""
    channels: tuple[int, ...]
    """Of each stage."""
    fold: int = 1
    """Side of the squares that are one place before the first stage."""

    @classmethod
    def of(cls, network: Network, layout: Layout, channels: tuple[int, ...] | None, kernel: int, fold: int = 1) -> Grid:
        """The grid that samples of this layout are on; `UsageError` where the network cannot have it.

        `channels`: None for those by rule.
        """
        network.check(layout)
        if kernel % 2 == 0:
            how = f"an odd kernel has a middle: {kernel + 1}"
            raise UsageError(f"got {kernel}, wanted an odd number", where="network.kernel", how=how)
        series = len(layout.shape) == 2
        inputs, sides = (layout.shape[1], layout.shape[:1]) if series else (layout.shape[0], layout.shape[1:])
        channels = channels_by_rule(sides) if channels is None else channels
        most = max(1, math.ceil(math.log2(max(sides) / fold)))
        if not 1 <= len(channels) <= most:
            what = f"got {len(channels)} stages for samples of {' x '.join(map(str, sides))}, wanted 1 to {most}"
            raise UsageError(what, where="network.channels", how="each stage halves the sides: give as many as fit")
        return cls(inputs, sides, channels, fold)

    @property
    def dimensions(self) -> int:
        return len(self.sides)

    @property
    def map_shape(self) -> tuple[int, ...]:
        """Shape of the last feature map."""
        return self.channels[-1], *(math.ceil(side / self.shrinking) for side in self.sides)

    @property
    def shrinking(self) -> int:
        """How many times shorter the last feature map is."""
        return int(self.fold * 2 ** len(self.channels))

    @property
    def padding(self) -> list[int]:
        """How much is added after each side, as `functional.pad` has it: last side first."""
        ends = [small * self.shrinking for small in self.map_shape[1:]]
        added = [end - side for end, side in zip(ends, self.sides, strict=True)]
        return [amount for each in reversed(added) for amount in (0, each)]

    def padded(self, maps: Tensor) -> Tensor:
        """Maps (n, channels, ...) whose sides can be halved by every stage: their last numbers are repeated."""
        return functional.pad(maps, self.padding, mode="replicate") if any(self.padding) else maps

    def cut(self, maps: Tensor, shrinking: int = 1) -> Tensor:
        """Maps (n, channels, ...), so many times shorter than samples, without what the padding added."""
        kept = [slice(math.ceil(side / shrinking)) for side in self.sides]
        return maps[(slice(None), slice(None), *kept)]


class Enlarging(nn.Module):
    """Doubles the sides of maps by repeating every place, and then convolves: the same numbers by fewer products.

    Of two neighbours that are the same place, a kernel w adds up its weights: the two steps are one transposed
    convolution by w * [1, 1], of stride 2. On pictures and with kernels of 3 that is 16 products a place, not 36.
    """

    def __init__(self, convolution: _ConvNd) -> None:
        super().__init__()
        self.convolution = convolution
        self.transposed = _TRANSPOSED[len(convolution.kernel_size)]
        self.padding = convolution.kernel_size[0] // 2

    def forward(self, maps: Tensor) -> Tensor:
        weight = self.convolution.weight.transpose(0, 1)
        for axis in range(2, weight.dim()):
            nothing = torch.zeros_like(weight.narrow(axis, 0, 1))
            weight = torch.cat([weight, nothing], axis) + torch.cat([nothing, weight], axis)
            weight = weight.flip(axis)
        enlarged: Tensor = self.transposed(maps, weight, self.convolution.bias, stride=2, padding=self.padding)
        return enlarged


def channels_by_rule(sides: tuple[int, ...]) -> tuple[int, ...]:
    """Channels of one to four stages, so that the shorter side ends at 4 to 7 where it can: 16, 32, 64, 64."""
    stages = min(4, max(1, int(math.log2(min(sides) / 4)))) if min(sides) >= 8 else 1
    return (16, 32, 64, 64)[:stages]


def channels_first(x: Tensor) -> Tensor:
    """(n, steps, channels) as (n, channels, steps), which undoes itself; pictures have their channels first already."""
    return x.transpose(1, 2) if x.dim() == 3 else x


def with_mask(maps: Tensor, seen: Tensor, mask: Tensor | None) -> Tensor:
    """Maps (n, channels, ...) and, as further channels, 1 where a number of `seen` is masked and 0 elsewhere."""
    masked = torch.zeros_like(seen) if mask is None else mask.to(seen.dtype)
    return torch.cat([maps, channels_first(masked)], dim=1)
