"""A U-net: details that a code would lose go past it, so that a noisy sample comes back whole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from hourglass.core.networks.activations import ACTIVATIONS, activation
from hourglass.core.networks.floors import NoiseFloors
from hourglass.core.networks.grids import CONVOLUTION, POOL, TRANSPOSED, Grid, channels_first, with_mask
from hourglass.core.networks.network import Network
from hourglass.core.networks.weights import initialised
from hourglass.data.samples import Layout
from hourglass.errors import UsageError
from hourglass.settings import option

_SMALL = 0.01


@dataclass(frozen=True)
class UNet(Network):
    """Stages of convolutions that each halve the sides, and as many back that also see the maps of the way down.

    Ronneberger et al. (2015), without normalisation, which would let a sample's result depend on its batch. The code is
    made of the means of the last and smallest map, and what is made of the code is added to each place of that map: it
    says what the sample is like as a whole, and is not enough to give it back.
    """

    name = "u-net"
    takes = (2, 3)
    skips = True
    channels: tuple[int, ...] | None = option(
        None, "channels of each stage; a stage halves the sides (default: 16,32,... until a side is 4 to 7)", low=1
    )
    kernel: int = option(3, "side of the kernels, an odd number", low=1)
    depth: int = option(2, "convolutions of each stage", low=1)
    fold: int = option(
        1, "side of the squares that are one place to the network: 2 is about three times as fast", low=1
    )
    activation: str = option("leaky-relu", "activation of the hidden layers", choices=tuple(sorted(ACTIVATIONS)))
    head: str = option(
        "residual",
        "what is given back: the network's values; what was seen plus them, so that noise is what is learned; or what "
        "was seen times a mask from 0 to 1 (for complex spectrograms)",
        choices=("values", "residual", "mask"),
    )

    def build(self, layout: Layout, hidden: int, code: int, told: bool) -> tuple[nn.Module, nn.Module]:
        grid = Grid.of(self, layout, self.channels, self.kernel, self.fold)
        if self.head == "mask" and not layout.complex:
            what = f"a mask is for complex spectrograms, and samples of shape {layout.shape} are none"
            how = "add --set network.head=residual, or for sound --set format.view=complex"
            raise UsageError(what, where="network.head", how=how)
        heard = NoiseFloors(self.kernel) if self.head == "mask" else None
        shown, outputs = (heard.numbers, 1) if heard else (grid.inputs, grid.inputs)
        numbers, widest = shown + grid.inputs * told, grid.channels[-1]
        folded = numbers if self.fold == 1 else grid.channels[0]
        first = nn.Identity() if self.fold == 1 else self._folding(grid, numbers, folded)
        down = nn.ModuleList(self._stage(grid, *each) for each in pairwise([folded, *grid.channels]))
        up = [self._stage(grid, below + own, own) for below, own in pairwise([widest, *reversed(grid.channels)])]
        last = TRANSPOSED[grid.dimensions](grid.channels[0], outputs, self.fold, self.fold)
        bottom, inward = self._stage(grid, widest, widest), nn.Linear(widest, hidden)
        encoder = _Encoder(heard, first, down, bottom, inward, grid, told)
        direct = heard.first_mask() if heard else None
        return encoder, _Decoder(self.head, nn.Linear(code, widest), nn.ModuleList(up), last, direct, grid)

    def code_size(self, layout: Layout) -> int | None:
        return None

    def _folding(self, grid: Grid, inputs: int, outputs: int) -> nn.Module:
        layer = CONVOLUTION[grid.dimensions](inputs, outputs, self.fold, self.fold)
        return nn.Sequential(initialised(layer, "kaiming", 0.0), activation(self.activation))

    def _stage(self, grid: Grid, inputs: int, outputs: int) -> nn.Sequential:
        layers: list[nn.Module] = []
        for before, after in pairwise([inputs, *[outputs] * self.depth]):
            layer = CONVOLUTION[grid.dimensions](before, after, self.kernel, padding=self.kernel // 2)
            # nothing normalises, so the weights must keep the size of what passes
            layers += [initialised(layer, "kaiming", 0.0), activation(self.activation)]
        return nn.Sequential(*layers)


class _Encoder(nn.Module):
    def __init__(
        self,
        heard: NoiseFloors | None,
        first: nn.Module,
        stages: nn.ModuleList,
        bottom: nn.Module,
        inward: nn.Linear,
        grid: Grid,
        told: bool,
    ) -> None:
        super().__init__()
        self.describe, self.first = heard or channels_first, first
        self.stages, self.bottom, self.inward, self.grid, self.told = stages, bottom, inward, grid, told
        self.halve = POOL[grid.dimensions](2)

    def forward(self, seen: Tensor, mask: Tensor | None) -> Tensor:
        return self.with_skips(seen, mask)[0]

    def with_skips(self, seen: Tensor, mask: Tensor | None) -> tuple[Tensor, tuple[Tensor, ...]]:
        """What the bottleneck is given, and what goes past it.

        That is each stage's map, the last one, what the network was shown of the sample, and what was seen of it.
        """
        shown = self.describe(seen)
        x = self.grid.padded(with_mask(shown, seen, mask) if self.told else shown)
        x, maps = self.first(x), []
        for stage in self.stages:
            maps.append(stage(x))
            x = self.halve(maps[-1])
        x = self.bottom(x)
        means = self.grid.cut(x, self.grid.shrinking).flatten(2).mean(2)
        return self.inward(means), (*maps, x, shown, seen)


class _Decoder(nn.Module):
    def __init__(
        self,
        head: str,
        outward: nn.Linear,
        stages: nn.ModuleList,
        last: _ConvNd,
        direct: nn.Module | None,
        grid: Grid,
    ) -> None:
        super().__init__()
        self.direct = direct
        # small: training starts without a code, and at nothing, at what was seen, or at the first mask
        self.outward, self.last = initialised(outward, "normal", _SMALL), initialised(last, "normal", _SMALL)
        self.stages, self.grid, self.give = stages, grid, _HEADS[head]
        self.enlarge = nn.Upsample(scale_factor=2)

    def forward(self, code: Tensor, *skips: Tensor) -> Tensor:
        *maps, x, shown, seen = skips
        x = x + self.outward(code)[(..., *[None] * self.grid.dimensions)]
        for stage, past in zip(self.stages, reversed(maps), strict=True):
            x = stage(torch.cat([self.enlarge(x), past], dim=1))
        values = self.grid.cut(self.last(x))
        values = values if self.direct is None else values + self.direct(shown)
        return self.give(channels_first(values), seen)


_HEADS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "values": lambda values, seen: values,
    "residual": lambda values, seen: seen + values,
    "mask": lambda values, seen: values.sigmoid() * seen,
}
