"""What is done to samples before the encoder sees them: `(x, generator) -> (seen, hidden)`.

`hidden` is a mask only where the loss is on the hidden numbers alone; a part that `tells` also shows it to the network.
Plain noise returns None, and the loss is on the whole clean sample (Vincent et al. 2010, denoising autoencoders).
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import ClassVar

import torch
from torch import Tensor

from hourglass.core.model import Corrupt
from hourglass.core.networks.grids import channels_first
from hourglass.core.networks.patches import patch_of, patch_side
from hourglass.data.samples import Layout
from hourglass.errors import UsageError
from hourglass.settings import Part, option


@dataclass(frozen=True)
class Corruption(Part):
    """How samples are corrupted while training."""

    slot = "corruption"
    tells: ClassVar[bool] = False
    """Whether the network is told what was hidden (its encoder then takes the mask as further inputs)."""
    pull: ClassVar[float] = 0.0
    """What must be given back is the sample plus so much of what was changed in it: 0 is the sample as it was."""
    unit_interval: ClassVar[bool] = False
    """Whether it takes numbers from 0 to 1 only."""

    @abstractmethod
    def build(self, layout: Layout) -> Corrupt:
        """The function that corrupts a batch of samples of this layout."""


@dataclass(frozen=True)
class NoCorruption(Corruption):
    """Samples are seen as they are."""

    name = "none"

    def build(self, layout: Layout) -> Corrupt:
        return lambda x, generator: (x, None)


@dataclass(frozen=True)
class Binarise(Corruption):
    """Each number in [0, 1] is drawn anew as 0 or 1, with itself as the chance of 1 (dynamic binarisation).

    The network must give back what was drawn: the likelihoods of binary pictures in the literature are counted so
    (Burda et al. 2016). Once trained, it sees the numbers as they are.
    """

    name = "binarise"
    pull = 1.0
    unit_interval = True

    def build(self, layout: Layout) -> Corrupt:
        return lambda x, generator: ((_uniform(x, generator) < x).to(x.dtype), None)


@dataclass(frozen=True)
class GaussianNoise(Corruption):
    """Normal noise is added to every number."""

    name = "gaussian"
    scale: float = option(0.3, "standard deviation of the noise, on the scaled data", low=0)
    low: float | None = option(None, "smallest number there is: noise does not go below it (default: no limit)")
    high: float | None = option(None, "largest number there is: noise does not go above it (default: no limit)")

    def build(self, layout: Layout) -> Corrupt:
        low = -math.inf if self.low is None else self.low
        high = math.inf if self.high is None else self.high
        check_ascending(self, low, high)
        return lambda x, generator: ((x + self.scale * normal_like(x, generator)).clamp(low, high), None)


@dataclass(frozen=True)
class SaltAndPepper(Corruption):
    """Numbers jump at random to the smallest or the largest value."""

    name = "salt-and-pepper"
    rate: float = option(0.1, "share of numbers that jump", low=0, high=1)
    low: float | None = option(None, "value of pepper (default: the sample's own smallest)")
    high: float | None = option(None, "value of salt (default: the sample's own largest)")

    def build(self, layout: Layout) -> Corrupt:
        def corrupt(x: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Tensor | None]:
            flat, draw = x.flatten(1), _uniform(x, generator)
            low = flat.amin(1) if self.low is None else flat.new_full((len(x),), self.low)
            high = flat.amax(1) if self.high is None else flat.new_full((len(x),), self.high)
            peppered = torch.where(draw < self.rate / 2, per_sample(low, x), x)
            return torch.where(draw > 1 - self.rate / 2, per_sample(high, x), peppered), None

        return corrupt


@dataclass(frozen=True)
class Masking(Corruption):
    """Cells are set to zero at random; the network is not told which."""

    name = "masking"
    rate: float = option(0.3, "share of cells set to zero", low=0, high=1)

    def build(self, layout: Layout) -> Corrupt:
        chosen = _cell_chooser(layout)
        return lambda x, generator: (x.masked_fill(chosen(x, self.rate, generator), 0.0), None)


@dataclass(frozen=True)
class ToldMasking(Corruption):
    """Cells are hidden at a random rate and the network, told which, must fill them in from the rest.

    A share of the samples hides nothing and is scored whole, so that the same weights also give the plain pass.
    """

    name = "told-masking"
    tells = True
    low: float = option(0.1, "smallest share of cells hidden", low=0, high=1)
    high: float = option(0.9, "largest share of cells hidden", low=0, high=1)
    plain: float = option(0.2, "share of samples that hide nothing", low=0, high=1)

    def build(self, layout: Layout) -> Corrupt:
        chosen = _cell_chooser(layout)

        def corrupt(x: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Tensor | None]:
            draws = torch.rand(2, len(x), generator=generator, device=x.device)
            rate = (self.low + (self.high - self.low) * draws[0]) * (draws[1] >= self.plain)
            hidden = chosen(x, per_sample(rate, x.flatten(1)), generator)
            return x.masked_fill(hidden, 0.0), hidden

        return corrupt


@dataclass(frozen=True)
class HiddenPatches(Corruption):
    """A share of the patches of each sample is hidden whole, and the network, told which, must fill them in.

    A share of the samples hides nothing and is scored whole, so that the same weights also give the plain pass. A
    sample of one patch is never hidden.
    """

    name = "hidden-patches"
    tells = True
    patch: int | None = option(
        None, "steps, or pixels a side, of a patch (default: 16 patches a series, 64 a picture)", low=1
    )
    rate: float = option(0.5, "share of a sample's patches that is hidden", low=0, high=1)
    plain: float = option(0.2, "share of samples that hide nothing", low=0, high=1)

    def build(self, layout: Layout) -> Corrupt:
        _refuse_tables(self, layout)
        side = patch_side(layout, self.patch, "corruption.patch")
        return _PatchHider(torch.from_numpy(patch_of(layout, side)), self.rate, self.plain)


class _PatchHider:
    """Hides as many patches in each sample, drawn anew."""

    def __init__(self, units: Tensor, rate: float, plain: float) -> None:
        self.units = units
        """Which patch each number of the flattened sample is in: those are hidden together."""
        self.patches, self.plain = int(units.max()) + 1, plain
        self.hidden = min(round(rate * self.patches), self.patches - 1)

    def __call__(self, x: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Tensor | None]:
        order = torch.rand(len(x), self.patches, generator=generator, device=x.device).argsort(1).argsort(1)
        whole = torch.rand(len(x), 1, generator=generator, device=x.device) < self.plain
        chosen = (order < self.hidden) & ~whole
        hidden = chosen[:, self.units.to(x.device)].reshape(x.shape)
        return x.masked_fill(hidden, 0.0), hidden


@dataclass(frozen=True)
class BlindSpots(Corruption):
    """A few pixels or steps take the value of a neighbour, and only there must the network give back what was.

    It is not told where, so it must guess every number from those around. Noise that is independent from one pixel or
    step to the next cannot be guessed: a network learns to leave it out from noisy samples alone (Noise2Void, Krull et
    al. 2019; Noise2Self, Batson and Royer 2019). All channels of a pixel or step go together.
    """

    name = "blind-spots"
    rate: float = option(0.03, "share of the pixels or steps that are replaced; at least one is", low=0, high=1)
    radius: int = option(2, "pixels or steps, each way, within which the neighbour is", low=1)

    def build(self, layout: Layout) -> Corrupt:
        _refuse_tables(self, layout)
        return _SpotHider(layout.shape[:1] if len(layout.shape) == 2 else layout.shape[1:], self.rate, self.radius)


class _SpotHider:
    """Replaces as many places in each sample, drawn anew, by neighbours."""

    def __init__(self, sides: tuple[int, ...], rate: float, radius: int) -> None:
        self.sides, self.places = sides, math.prod(sides)
        self.count = max(1, round(rate * self.places))
        # within half a side a neighbour is there one way or the other
        window = product(*(range(-reach, reach + 1) for reach in (min(radius, side // 2) for side in sides)))
        self.ways = torch.tensor([way for way in window if any(way)] or [(0,) * len(sides)])
        """Offsets of all neighbours, without the place itself. Shape (ways, dimensions)."""

    def __call__(self, x: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Tensor | None]:
        maps = channels_first(x)
        flat = maps.flatten(2)
        draws = torch.rand(len(x), self.places, generator=generator, device=x.device)
        spots = draws.topk(self.count, dim=1).indices
        each = spots[:, None].expand(-1, flat.shape[1], -1)
        taken = flat.gather(2, self.neighbours(spots, generator)[:, None].expand_as(each))
        seen = flat.scatter(2, each, taken).reshape(maps.shape)
        hidden = torch.zeros_like(flat, dtype=torch.bool).scatter(2, each, True).reshape(maps.shape)
        return channels_first(seen), channels_first(hidden)

    def neighbours(self, spots: Tensor, generator: torch.Generator | None) -> Tensor:
        """A place beside each of `spots` (n, k), as that is counted along the flattened sides."""
        drawn = torch.randint(len(self.ways), spots.shape, generator=generator, device=spots.device)
        place = torch.zeros_like(spots)
        ways = self.ways.to(spots.device)[drawn].unbind(-1)
        for side, start, way in zip(self.sides, torch.unravel_index(spots, self.sides), ways, strict=True):
            end = start + way
            place = place * side + torch.where((end < 0) | (end >= side), start - way, end)
        return place


@dataclass(frozen=True)
class Recorruption(Corruption):
    """Noisy samples get half as much normal noise again, and twice that noise is taken off what must be given back.

    Of seen = y + sigma z / 2 and wanted = y - 2 sigma z, two takes of what was measured as y, the errors are
    independent where y's own are normal with deviation sigma: noisy samples alone then teach what clean ones would, and
    the network need not be blind to any pixel (Recorrupted-to-Recorrupted, Pang et al. 2021). Without `scale`, sigma is
    estimated in each batch (see `noise_deviation`).
    """

    name = "recorruption"
    pull = -4.0
    scale: float | None = option(
        None, "standard deviation of the noise that samples have, on the scaled data (default: estimated)", low=0
    )

    def build(self, layout: Layout) -> Corrupt:
        _refuse_tables(self, layout)

        def corrupt(x: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Tensor | None]:
            scale = noise_deviation(x) if self.scale is None else self.scale
            return x + scale / 2 * normal_like(x, generator), None

        return corrupt


def noise_deviation(x: Tensor) -> Tensor:
    """Standard deviation of the noise in series (n, steps, channels) or pictures (n, channels, height, width).

    Of differences that cancel what is smooth, a - b along both sides or a - 2 b + c along the only one, the median size
    over .6745 (Donoho and Johnstone 1994), for each sample; of these the lower quartile, since texture adds to
    differences and noise is in all samples.
    """
    maps = channels_first(x)
    order, size = (2, math.sqrt(6)) if maps.dim() == 3 else (1, math.sqrt(2))
    for side in range(2, maps.dim()):
        if maps.shape[side] > order:
            maps = maps.diff(order, dim=side) / size
    return maps.flatten(1).abs().median(dim=1).values.quantile(0.25) / 0.6745


@dataclass(frozen=True)
class Blocks(Corruption):
    """A stretch of steps, or a rectangle of the picture's own shape, is set to zero; the network is not told where."""

    name = "blocks"
    share: float = option(0.25, "share of the sample that the block covers", low=0, high=1)

    def build(self, layout: Layout) -> Corrupt:
        _refuse_tables(self, layout)
        sides = layout.shape[:1] if len(layout.shape) == 2 else layout.shape[1:]
        lengths = [max(1, round(side * self.share ** (1 / len(sides)))) for side in sides]

        def corrupt(x: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Tensor | None]:
            spans = [_span(x, side, length, generator) for side, length in zip(sides, lengths, strict=True)]
            if len(spans) == 1:
                return x.masked_fill(spans[0][:, :, None], 0.0), None
            return x.masked_fill((spans[0][:, :, None] & spans[1][:, None, :])[:, None], 0.0), None

        return corrupt


@dataclass(frozen=True)
class Swap(Corruption):
    """Cells take the value that another sample of the batch has there, so that columns keep their own distribution."""

    name = "swap"
    rate: float = option(0.15, "share of cells swapped", low=0, high=1)

    def build(self, layout: Layout) -> Corrupt:
        chosen = _cell_chooser(layout)

        def corrupt(x: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Tensor | None]:
            other = x[torch.randperm(len(x), generator=generator, device=x.device)]
            return torch.where(chosen(x, self.rate, generator), other, x), None

        return corrupt


def _refuse_tables(settings: Corruption, layout: Layout) -> None:
    if len(layout.shape) == 1:
        what = f"the corruption {settings.name!r} takes series or pictures; a table's columns have no order"
        raise UsageError(what, where="corruption", how="for tables there is --set corruption=told-masking")


def _span(x: Tensor, side: int, length: int, generator: torch.Generator | None) -> Tensor:
    """A stretch of `length` places somewhere along a side, one a sample. Shape (n, side)."""
    start = torch.randint(side - length + 1, (len(x), 1), generator=generator, device=x.device)
    places = torch.arange(side, device=x.device)
    return (places >= start) & (places < start + length)


def _cell_chooser(layout: Layout) -> Callable[[Tensor, Tensor | float, torch.Generator | None], Tensor]:
    """A function that draws which cells to change: a category's places go together."""
    cell_of = torch.from_numpy(layout.cell_of())
    single = len(cell_of) == int(cell_of[-1]) + 1

    def chosen(x: Tensor, rate: Tensor | float, generator: torch.Generator | None) -> Tensor:
        draw = torch.rand(len(x), int(cell_of[-1]) + 1, generator=generator, device=x.device) < rate
        return (draw if single else draw[:, cell_of.to(x.device)]).reshape(x.shape)

    return chosen


def check_ascending(settings: Corruption, low: float, high: float) -> None:
    """Refuse options `low` and `high` of a corruption that are the wrong way round."""
    if low > high:
        what = f"got low {low:g} and high {high:g}: no number is between them"
        raise UsageError(what, where=f"corruption {settings.name}", how="give the smaller number as low")


def normal_like(x: Tensor, generator: torch.Generator | None) -> Tensor:
    """Standard normal numbers in the shape of `x`."""
    return torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)


def _uniform(x: Tensor, generator: torch.Generator | None) -> Tensor:
    return torch.rand(x.shape, generator=generator, device=x.device, dtype=x.dtype)


def per_sample(value: Tensor, x: Tensor) -> Tensor:
    """One value a sample, shaped to broadcast over `x`."""
    return value.reshape(-1, *[1] * (x.dim() - 1))
