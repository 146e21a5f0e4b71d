"""What is done to samples before the encoder sees them: `(x, generator) -> (seen, hidden)`.

`hidden` is a mask only where the network is told which numbers were hidden; the loss is then on those alone.
Plain noise returns None, and the loss is on the whole clean sample (Vincent et al. 2010, denoising autoencoders).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from hourglass.core.model import Corrupt
from hourglass.data.samples import Layout
from hourglass.settings import Part, option


@dataclass(frozen=True)
class Corruption(Part):
    """How samples are corrupted while training."""

    slot = "corruption"
    tells: ClassVar[bool] = False
    """Whether the network is told what was hidden (its encoder then takes the mask as further inputs)."""

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
class GaussianNoise(Corruption):
    """Normal noise is added to every number."""

    name = "gaussian"
    scale: float = option(0.3, "standard deviation of the noise, on the scaled data", low=0)

    def build(self, layout: Layout) -> Corrupt:
        return lambda x, generator: (x + self.scale * _normal(x, generator), None)


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
            peppered = torch.where(draw < self.rate / 2, _per_sample(low, x), x)
            return torch.where(draw > 1 - self.rate / 2, _per_sample(high, x), peppered), None

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
            hidden = chosen(x, _per_sample(rate, x.flatten(1)), generator)
            return x.masked_fill(hidden, 0.0), hidden

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


def _cell_chooser(layout: Layout) -> Callable[[Tensor, Tensor | float, torch.Generator | None], Tensor]:
    """A function that draws which cells to change: a category's places go together."""
    cell_of = torch.from_numpy(layout.cell_of())
    single = len(cell_of) == int(cell_of[-1]) + 1

    def chosen(x: Tensor, rate: Tensor | float, generator: torch.Generator | None) -> Tensor:
        draw = torch.rand(len(x), int(cell_of[-1]) + 1, generator=generator, device=x.device) < rate
        return (draw if single else draw[:, cell_of.to(x.device)]).reshape(x.shape)

    return chosen


def _normal(x: Tensor, generator: torch.Generator | None) -> Tensor:
    return torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)


def _uniform(x: Tensor, generator: torch.Generator | None) -> Tensor:
    return torch.rand(x.shape, generator=generator, device=x.device, dtype=x.dtype)


def _per_sample(value: Tensor, x: Tensor) -> Tensor:
    """One value a sample, shaped to broadcast over `x`."""
    return value.reshape(-1, *[1] * (x.dim() - 1))
