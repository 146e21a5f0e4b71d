"""What a mask for spectrograms is made from: how far each bin is above its noise, which the network finds itself."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from hourglass.core.networks.weights import initialised

_SILENT = 1e-4
"""Power of a bin that counts as silence: 40 dB below a recording's own level, which is 1."""
_SPREAD = 3.0
"""About the standard deviation of a recording's log-powers, in nats."""
_FLOORS, _HIDDEN = 3, 8
_SMOOTH = 4
"""Spectra that a power is a mean over before floors are sought, since single ones of noise vary by 5 dB."""
_SLOPE, _OPEN = 6.0, -2.0
"""The first mask's logit: so much for each `_SPREAD` above the floors, and on the floors."""


class NoiseFloors(nn.Module):
    """Complex spectrograms (n, 2, bins, frames) as levels above noise floors: (n, numbers, bins, frames).

    A floor is a mean over time of a frequency's log-power; how much each moment counts is learned, from how it stands
    out of that frequency and what is around it. Levels above floors are the same for a noise of any loudness and any
    colour, so that one that was never heard is like another that was. Beside them stand the level above the sample's
    mean, which tells what matters most, and the frequency, from -1 to 1.
    """

    numbers = _FLOORS + 2

    def __init__(self, kernel: int) -> None:
        super().__init__()
        first = nn.Conv2d(2, _HIDDEN, kernel, padding=kernel // 2)
        # small: training starts with floors that are means over time
        last = initialised(nn.Conv2d(_HIDDEN, _FLOORS, kernel, padding=kernel // 2), "normal", 0.01)
        self.counting = nn.Sequential(initialised(first, "kaiming", 0.0), nn.LeakyReLU(0.1), last)

    def first_mask(self) -> nn.Module:
        """Weights of these numbers in the logits of a mask that opens for what is above the floors."""
        layer = nn.Conv2d(self.numbers, 1, 1)
        weight = torch.zeros_like(layer.weight)
        weight[:, :_FLOORS] = _SLOPE / weight[:, :_FLOORS].numel()
        layer.weight, layer.bias = nn.Parameter(weight), nn.Parameter(torch.tensor([_OPEN]))
        return layer

    def forward(self, spectrogram: Tensor) -> Tensor:
        power = spectrogram.square().sum(1, keepdim=True)
        place = torch.linspace(-1, 1, power.shape[2], device=power.device)[:, None]
        smooth = functional.avg_pool2d(power, (1, _SMOOTH), ceil_mode=True)
        # silence is no part of a floor, or what is around a gap would look louder for it
        level, heard = _level(smooth), smooth / (smooth + _SILENT) + 1e-6
        told = torch.cat([level - _mean(level, heard.log()), place.expand_as(level)], dim=1)
        floors = _mean(level, self.counting(told * heard) + heard.log())
        mean = (heard * level).mean((2, 3), keepdim=True) / heard.mean((2, 3), keepdim=True)
        shown = _level(power)
        return torch.cat([shown - floors, shown - mean, place.expand_as(power)], dim=1)


def _level(power: Tensor) -> Tensor:
    return (power + _SILENT).log() / _SPREAD


def _mean(level: Tensor, scores: Tensor) -> Tensor:
    """The mean over time of levels (n, 1, bins, frames), each weighted by e^score: (n, scores, bins, 1)."""
    return (scores.softmax(3) * level).sum(3, keepdim=True)
