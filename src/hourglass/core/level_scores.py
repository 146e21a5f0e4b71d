"""A scorer for what a network gives back well although it is odd: the level of a window, or of a picture."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from hourglass.core.model import Autoencoder, split_missing
from hourglass.core.networks.grids import channels_first
from hourglass.core.scores import Scorer

_STEADY = 0.1
"""Deviation of packed numbers below which a channel's level counts as moving by so much."""


@final
class LevelScorer(Scorer):
    """How far a window's level is from the usual ones, as a multiple of the training windows' mean.

    Reconstruction errors say what is odd in a window's shape. Its level, the mean of a channel, is a single number of
    the code, which a network passes on wherever it lies. The score is the mean square over channels of the level's
    deviation from the mean level of training windows, in their standard deviations. Error / usual error + this is the
    combined index of process monitoring (Yue and Qin 2001).
    """

    name = "level"
    takes = (2, 3)
    relative = True

    @classmethod
    @torch.inference_mode()
    def learn(cls, network: Autoencoder, samples: Tensor, seed: int) -> dict[str, Tensor]:
        """Mean and standard deviation of levels, each (channels,), and their usual score (1,)."""
        levels, known = _levels(samples)
        count = known.sum(0).clamp(min=1)
        mean = (levels * known).sum(0) / count
        scale = (((levels - mean).square() * known).sum(0) / count).sqrt().clamp(min=_STEADY)
        # levels that never move have no part in the usual score, so that those that do are not thinned by them
        usual = _squares(levels, known, mean, scale).mean().clamp(min=1 / len(mean))
        state = {"mean": mean, "scale": scale, "usual": usual[None]}
        return {name: tensor.cpu().clone() for name, tensor in state.items()}

    def __call__(self, network: Autoencoder, x: Tensor) -> Tensor:
        mean, scale, usual = (self.state[name].to(x.device) for name in ("mean", "scale", "usual"))
        return _squares(*_levels(x), mean, scale) / usual


def _squares(levels: Tensor, known: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    return ((levels - mean) / scale * known).square().mean(1)


def _levels(x: Tensor) -> tuple[Tensor, Tensor]:
    """Means of channels over their known steps or pixels, and whether there is such a one: each (n, channels)."""
    known, missing = split_missing(x)
    there = torch.ones_like(known) if missing is None else 1.0 - missing.to(known.dtype)
    total, count = (channels_first(each).flatten(2).sum(2) for each in (known * there, there))
    return total / count.clamp(min=1), (count > 0).to(known.dtype)
