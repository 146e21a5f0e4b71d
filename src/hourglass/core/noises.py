"""Noise that is mixed in: recorded, or made up, at a random signal-to-noise ratio."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from hourglass.core.corruptions import Corruption, check_ascending, normal_like, per_sample
from hourglass.core.model import Corrupt
from hourglass.data.samples import Layout
from hourglass.settings import option

_QUIETEST = 0.01
"""Power that a quieter piece of recorded noise is taken to have, so that its pauses are not blown up."""
_TWO = 0.3
"""Share of recorded noises that are a sum of two."""
_SOMETIMES = 0.3
"""Share of made noises that come and go, that hum, or that patter."""
_WAVES = 4
_EQUALISER, _SWELL = 5.0, 5.0
"""Standard deviation, in dB, of a random gain over frequency, and of one over time."""
_STEEPEST = 2.0
"""Made noise falls with at most this power of the frequency, as that of wind in a microphone does (40 dB a decade)."""
_FASTEST = 6
"""Noise swells once in a tile to 2 ** this many times, and anything between."""
_HARMONICS = 6
_DROPS = 0.05


@dataclass(frozen=True)
class Noise(Corruption):
    """Recorded noise, or some that is made up, is added at a random signal-to-noise ratio.

    The ratio is against a power of 1, that of scaled data as a whole, so that silent samples get as much noise as loud
    ones. Recorded noise is what `fit` was given; on complex spectrograms its spectrum and its time are varied. Made
    noise is normal; on complex spectrograms it is white to brown, in any band, and may swell, hum, or patter like rain.
    """

    name = "noise"
    low: float = option(-5.0, "smallest signal-to-noise ratio, in dB")
    high: float = option(20.0, "largest signal-to-noise ratio, in dB")
    made: float = option(0.5, "share of samples with made noise (all, where no recorded noise is given)", low=0, high=1)
    plain: float = option(0.1, "share of samples left as they are", low=0, high=1)

    def build(self, layout: Layout) -> Corrupt:
        check_ascending(self, self.low, self.high)
        return _Mixer(self, layout)


class _Mixer:
    """Adds noise. The recorded one is given after building, and is not part of a saved model."""

    def __init__(self, settings: Noise, layout: Layout) -> None:
        self.settings, self.complex = settings, layout.complex
        self.recorded: Tensor | None = None

    def take_noise(self, noise: Tensor) -> None:
        """Samples of noise alone, (m, ...), packed as the data are; NaN where there is none."""
        noise = torch.nan_to_num(noise)
        self.recorded = noise if self.complex else centred(noise)

    def __call__(self, x: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Tensor | None]:
        settings = self.settings
        ratio, whole, made = torch.rand(3, len(x), generator=generator, device=x.device)
        decibels = settings.low + (settings.high - settings.low) * ratio
        gain = 10 ** (-decibels / 20) * (whole >= settings.plain)
        noise = self._noise(x, made < settings.made, generator)
        return x + noise * per_sample(gain, x), None

    def _noise(self, x: Tensor, made: Tensor, generator: torch.Generator | None) -> Tensor:
        """Noise of power 1 in the shape of `x`; a recorded one has less in its pauses."""
        if self.recorded is None:
            return self._made(x, generator)
        noise = torch.empty_like(x)
        noise[made], noise[~made] = self._made(x[made], generator), self._drawn(self.recorded, x[~made], generator)
        return noise

    def _made(self, x: Tensor, generator: torch.Generator | None) -> Tensor:
        return self._levelled(spectral_noise(x, generator) if self.complex else normal_like(x, generator), 1e-12)

    def _drawn(self, recorded: Tensor, x: Tensor, generator: torch.Generator | None) -> Tensor:
        """Pieces of the recorded noise, some of them on top of another."""
        first, second = (self._piece(recorded, x, generator) for _ in range(2))
        share, both = torch.rand(2, len(x), generator=generator, device=x.device)
        return self._levelled(first + second * per_sample(share * (both < _TWO), x))

    def _piece(self, recorded: Tensor, x: Tensor, generator: torch.Generator | None) -> Tensor:
        chosen = torch.randint(len(recorded), (len(x),), generator=generator, device=x.device)
        piece = recorded[chosen]
        return rolled(piece, generator) * equaliser(x, generator) if self.complex else piece

    def _levelled(self, noise: Tensor, least: float = _QUIETEST) -> Tensor:
        """Noise of power 1: the mean of |X|^2 over the bins of a spectrogram, of squares elsewhere."""
        power = noise.square().flatten(1).mean(1) * (2 if self.complex else 1)
        return noise * per_sample(power.clamp(min=least).rsqrt(), noise)


def centred(noise: Tensor) -> Tensor:
    """Noise (m, ...) around 0 in each channel, or column: scaling it as the data are has moved it."""
    channel = noise.dim() - 1 if noise.dim() < 4 else 1
    return noise - noise.mean([each for each in range(noise.dim()) if each != channel], keepdim=True)


def spectral_noise(x: Tensor, generator: torch.Generator | None) -> Tensor:
    """Made noise for complex spectrograms (n, 2, bins, frames), in their shape, of any power.

    Its power falls with frequency by a random exponent from 0 (white) over 1 (pink) and 2 (brown) to 4, within a random
    band in half of them. Some swell and fade, as a whole or in a band, some hum at multiples of a low frequency, some
    patter like drops of rain.
    """
    noise = normal_like(x, generator) * spectrum(x, generator)
    noise = noise * torch.where(_some(x, generator), swell(x, generator), 1.0)
    noise = noise * torch.where(_some(x, generator), swell(x, generator) ** band(x, generator), 1.0)
    noise = noise + hum(x, generator) * _some(x, generator)
    return noise + normal_like(x, generator) * patter(x, generator) * _some(x, generator)


def spectrum(x: Tensor, generator: torch.Generator | None) -> Tensor:
    """Gains over frequency of a coloured noise, about 1. Shape (n, 1, bins, 1)."""
    exponent, width, start, limited = _uniform(4, x, generator)
    place = _places(x, 2) + 1 / x.shape[2]
    gain: Tensor = place ** (-_STEEPEST * exponent)
    gain = gain * gain.square().mean(2, keepdim=True).rsqrt()
    low = start * (1 - width)
    outside = (limited < 0.5) & ((place < low) | (place > low + width + 2 / x.shape[2]))
    return gain.masked_fill(outside, 0.0) * equaliser(x, generator)


def equaliser(x: Tensor, generator: torch.Generator | None) -> Tensor:
    """Gains that change smoothly over frequency, mostly within 10 dB. Shape (n, 1, bins, 1)."""
    return _wave(x, 2, _EQUALISER, generator)


def swell(x: Tensor, generator: torch.Generator | None) -> Tensor:
    """Gains over time, mostly within 10 dB: slow in some samples, as fast as gusts and splashes in others.

    Shape (n, 1, 1, frames).
    """
    frames = torch.arange(x.shape[3], device=x.device)
    speed = 2 ** (_FASTEST * _uniform(1, x, generator)[0])
    place = frames * speed / x.shape[3]
    heights = torch.randn(len(x), 1, 1, 2**_FASTEST + 2, generator=generator, device=x.device)
    before = place.long()
    height, following = heights.gather(3, before), heights.gather(3, before + 1)
    turn = (1 - (math.pi * (place - before)).cos()) / 2
    gains: Tensor = 10 ** (_SWELL / 20 * (height + turn * (following - height)))
    return gains


def band(x: Tensor, generator: torch.Generator | None) -> Tensor:
    """How much each frequency is part of a random band, 0 to 1 with soft edges. Shape (n, 1, bins, 1)."""
    middle, width = _uniform(2, x, generator)
    distance: Tensor = (_places(x, 2) - middle) / (0.05 + 0.3 * width)
    return (-distance.square()).exp()


def hum(x: Tensor, generator: torch.Generator | None) -> Tensor:
    """Steady tones at multiples of a low frequency, the higher the weaker. Shape (n, 2, bins, frames)."""
    first, loudness, turn, phase = _uniform(4, x, generator)
    bins, frames = (torch.arange(side, device=x.device) for side in x.shape[2:])
    base = 1 + first * x.shape[2] / 16
    order = (bins[:, None] / base).round().clamp(1, _HARMONICS)
    tone = ((bins[:, None] - order * base).abs() < 0.5) / order
    angle = 2 * math.pi * order * (phase + turn * frames)
    parts: Tensor = 10 * loudness * tone * torch.cat([angle.cos(), angle.sin()], dim=1)
    return parts


def patter(x: Tensor, generator: torch.Generator | None) -> Tensor:
    """Gains that are above 0 where a drop falls: a few frames each, as a click has. Shape (n, 1, 1, frames)."""
    falls, force = torch.rand(2, len(x), 1, x.shape[3], generator=generator, device=x.device)
    drops = force.square() * (falls < _DROPS)
    spread = torch.tensor([[[0.3, 1.0, 1.0, 0.3]]], device=x.device)
    return 6 * functional.conv1d(drops, spread, padding=2)[:, :, None, : x.shape[3]]


def rolled(noise: Tensor, generator: torch.Generator | None) -> Tensor:
    """The same noise (n, 2, bins, frames) begun at another time, the end before the beginning."""
    frames = noise.shape[3]
    start = torch.randint(frames, (len(noise), 1), generator=generator, device=noise.device)
    order = (start + torch.arange(frames, device=noise.device)) % frames
    return noise.gather(3, order[:, None, None].expand_as(noise))


def _wave(x: Tensor, side: int, deviation: float, generator: torch.Generator | None) -> Tensor:
    """Gains along one side of the spectrogram, in dB a sum of cosines with normal weights."""
    weights = torch.randn(_WAVES, len(x), 1, 1, 1, generator=generator, device=x.device)
    order = torch.arange(1, _WAVES + 1, device=x.device).reshape(-1, 1, 1, 1, 1)
    waves = weights * (math.pi * order * _places(x, side)).cos()
    return 10 ** (deviation / 20 * math.sqrt(2 / _WAVES) * waves.sum(0))


def _places(x: Tensor, side: int) -> Tensor:
    """From 0 to nearly 1 along one side of the spectrogram."""
    shape = [-1 if each == side else 1 for each in range(4)]
    return (torch.arange(x.shape[side], device=x.device) / x.shape[side]).reshape(shape)


def _uniform(count: int, x: Tensor, generator: torch.Generator | None) -> Tensor:
    """Numbers from 0 to 1, so many a sample. Shape (count, n, 1, 1, 1)."""
    return torch.rand(count, len(x), 1, 1, 1, generator=generator, device=x.device)


def _some(x: Tensor, generator: torch.Generator | None) -> Tensor:
    return _uniform(1, x, generator)[0] < _SOMETIMES
