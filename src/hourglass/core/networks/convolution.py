"""Convolutional networks, 1-d for windows of a series and 2-d for pictures, the decoder a mirror of the encoder."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from hourglass.core.networks.activations import ACTIVATIONS, activation
from hourglass.core.networks.grids import CONVOLUTION, POOL, TRANSPOSED, Enlarging, Grid, channels_first, with_mask
from hourglass.core.networks.network import Network
from hourglass.core.networks.weights import INITIALISATIONS, begun_at, initialised
from hourglass.data.samples import Layout
from hourglass.settings import option

_ACTIVATIONS = tuple(sorted(ACTIVATIONS))


@dataclass(frozen=True)
class Convolution(Network):
    """Stages of a convolution that each halve the sides, then the code, and the same stages back.

    Sides that cannot be halved as often are padded with their last number, and the output is cut back to size.
    """

    name = "convolution"
    takes = (2, 3)
    channels: tuple[int, ...] | None = option(
        None, "channels of each stage; a stage halves the sides (default: 16,32,... until a side is 4 to 7)", low=1
    )
    kernel: int = option(3, "side of the kernels, an odd number", low=1)
    down: str = option("max-pool", "how a stage halves the sides", choices=("max-pool", "stride"))
    up: str = option("upsample", "how a stage doubles them again", choices=("upsample", "transposed"))
    residual: bool = option(False, "whether each stage ends with a residual block (two further convolutions)")
    code: str = option(
        "dense",
        "what the code is: numbers that a linear layer makes of the last feature map, or that map itself",
        choices=("dense", "map"),
    )
    activation: str = option("relu", "activation of the hidden layers", choices=_ACTIVATIONS)
    output: str = option("linear", "activation of the last layer", choices=_ACTIVATIONS)
    initialisation: str = option("default", "first weights", choices=INITIALISATIONS)
    deviation: float = option(0.05, "standard deviation of the first weights, for initialisation=normal", low=0)
    last_bias: float | None = option(
        None, "first bias of the last layer: -3 where a sigmoid is to give samples that are mostly near 0"
    )

    def build(self, layout: Layout, hidden: int, code: int, told: bool) -> tuple[nn.Module, nn.Module]:
        grid = self._grid(layout)
        down = nn.ModuleList(self._down(grid, told))
        inward, outward = self._heads(grid, hidden, code)
        up = nn.Sequential(outward, *self._up(grid), *self._last())
        return _Encoder(down, inward, grid, told), _Decoder(up, grid)

    def code_size(self, layout: Layout) -> int | None:
        return math.prod(self._grid(layout).map_shape) if self.code == "map" else None

    def _grid(self, layout: Layout) -> Grid:
        return Grid.of(self, layout, self.channels, self.kernel)

    def _down(self, grid: Grid, told: bool) -> Iterator[nn.Sequential]:
        stride = 2 if self.down == "stride" else 1
        for inputs, outputs in pairwise([grid.inputs * (2 if told else 1), *grid.channels]):
            layers = [self._convolution(grid, inputs, outputs, stride), activation(self.activation)]
            layers += [POOL[grid.dimensions](2)] if self.down == "max-pool" else []
            yield nn.Sequential(*layers, *self._residual(grid, outputs))

    def _up(self, grid: Grid) -> Iterator[nn.Module]:
        """The encoder's widths back. The last transposed stage gives the sample; upsampled maps need a layer more."""
        transposed, widths = self.up == "transposed", [*reversed(grid.channels)]
        for inputs, outputs in pairwise(widths if transposed else [widths[0], *widths]):
            yield from self._doubling(grid, inputs, outputs)
            yield activation(self.activation)
            yield from self._residual(grid, outputs)
        [last] = (self._doubling if transposed else self._same)(grid, widths[-1], grid.inputs)
        yield begun_at(last, self.last_bias)

    def _last(self) -> list[nn.Module]:
        return [activation(self.output)] if self.output != "linear" else []

    def _heads(self, grid: Grid, hidden: int, code: int) -> tuple[nn.Module, nn.Module]:
        """From the last feature map to what the bottleneck wants, and from the code to the decoder's first map."""
        shape = grid.map_shape
        if self.code == "map":
            # the map as it is; a random code's means and variances, which may be negative, are a mixture of it
            further = [] if hidden == code else [self._mixture(grid, shape[0], shape[0] * hidden // code)]
            return nn.Sequential(*further, nn.Flatten()), nn.Unflatten(1, shape)
        inward = initialised(nn.Linear(math.prod(shape), hidden), self.initialisation, self.deviation)
        outward = initialised(nn.Linear(code, math.prod(shape)), self.initialisation, self.deviation)
        back = nn.Sequential(outward, activation(self.activation), nn.Unflatten(1, shape))
        return nn.Sequential(nn.Flatten(), inward), back

    def _residual(self, grid: Grid, channels: int) -> list[nn.Module]:
        if not self.residual:
            return []
        first, second = (self._convolution(grid, channels, channels) for _ in range(2))
        return [_Residual(nn.Sequential(first, activation(self.activation), second), activation(self.activation))]

    def _same(self, grid: Grid, inputs: int, outputs: int) -> list[nn.Module]:
        return [self._convolution(grid, inputs, outputs)]

    def _doubling(self, grid: Grid, inputs: int, outputs: int) -> list[nn.Module]:
        if self.up == "upsample":
            return [Enlarging(self._convolution(grid, inputs, outputs))]
        kind = TRANSPOSED[grid.dimensions]
        layer = kind(inputs, outputs, self.kernel, stride=2, padding=self.kernel // 2, output_padding=1)
        return [initialised(layer, self.initialisation, self.deviation)]

    def _convolution(self, grid: Grid, inputs: int, outputs: int, stride: int = 1) -> _ConvNd:
        layer = CONVOLUTION[grid.dimensions](inputs, outputs, self.kernel, stride, padding=self.kernel // 2)
        return initialised(layer, self.initialisation, self.deviation)

    def _mixture(self, grid: Grid, inputs: int, outputs: int) -> nn.Module:
        return initialised(CONVOLUTION[grid.dimensions](inputs, outputs, 1), self.initialisation, self.deviation)


class _Encoder(nn.Module):
    def __init__(self, stages: nn.ModuleList, head: nn.Module, grid: Grid, told: bool) -> None:
        super().__init__()
        self.stages, self.head, self.grid, self.told = stages, head, grid, told

    def forward(self, seen: Tensor, mask: Tensor | None) -> Tensor:
        return self.head(self._maps(seen, mask)[-1])  # type: ignore[no-any-return]

    def features(self, seen: Tensor, mask: Tensor | None) -> list[Tensor]:
        """What each stage finds: (n, channels, ...), every side half the one before, rounded up."""
        maps = self._maps(seen, mask)
        return [self.grid.cut(each, 2**stage) for stage, each in enumerate(maps, start=1)]

    def _maps(self, seen: Tensor, mask: Tensor | None) -> list[Tensor]:
        x = channels_first(seen)
        x = self.grid.padded(with_mask(x, seen, mask) if self.told else x)
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps


class _Decoder(nn.Module):
    def __init__(self, stages: nn.Sequential, grid: Grid) -> None:
        super().__init__()
        self.stages, self.grid = stages, grid

    def forward(self, code: Tensor) -> Tensor:
        return channels_first(self.grid.cut(self.stages(code)))


class _Residual(nn.Module):
    """What comes in plus what `change` makes of it (He et al. 2016)."""

    def __init__(self, change: nn.Module, activate: nn.Module) -> None:
        super().__init__()
        self.change, self.activate = change, activate

    def forward(self, x: Tensor) -> Tensor:
        return self.activate(x + self.change(x))  # type: ignore[no-any-return]
