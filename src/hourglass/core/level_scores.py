"""A scorer that also sees what a network gives back well although it is odd: the level of a window."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor

from hourglass.core.model import Autoencoder, split_missing
from hourglass.core.networks.grids import channels_first
from hourglass.core.scores import ErrorScorer, Scorer
from hourglass.core.whitening import parts

_WITHIN = 0.99
"""The share of the training windows that keep to a limit."""
_STEADY = 0.1
"""Deviation of packed numbers below which a channel's level counts as moving by so much."""


@final
class ShapeAndLevelScorer(Scorer):
    """How badly a window's shape is given back, and how far its level is from the usual ones, one added to the other.

    The error of the plain reconstruction says what is odd in a window's shape. Its level, the mean of a channel, is a
    single number of the code, which a network passes on wherever it lies. So the score is the combined index of process
    monitoring (Yue and Qin 2001): error / its limit + level / its limit, where `level` is the mean square over channels
    of the level's deviation from the training windows' mean, in their standard deviations, and a limit is what 99 % of
    the training windows keep to. In means of the training windows, what has the longer tail would drown the other.
    """

    name = "shape-and-level"
    takes = (2, 3)

    @classmethod
    @torch.inference_mode()
    def learn(cls, network: Autoencoder, samples: Tensor, seed: int) -> dict[str, Tensor]:
        """Limits of errors and of squared levels, each (1,); mean and deviation of levels, each (channels,)."""
        error = _limit(torch.cat([ErrorScorer({})(network, part) for part in parts(samples)])).clamp(min=1e-12)
        levels, known = _levels(samples)
        count = known.sum(0).clamp(min=1)
        mean = (levels * known).sum(0) / count
        scale = (((levels - mean).square() * known).sum(0) / count).sqrt().clamp(min=_STEADY)
        # at least what one channel alone would add: levels that never move are no scale for those that do
        level = _limit(_squares(levels, known, mean, scale)).clamp(min=1 / len(mean))
        state = {"error": error[None], "mean": mean, "scale": scale, "level": level[None]}
        return {name: tensor.cpu().clone() for name, tensor in state.items()}

    def __call__(self, network: Autoencoder, x: Tensor) -> Tensor:
        error, mean, scale, level = (self.state[name].to(x.device) for name in ("error", "mean", "scale", "level"))
        return ErrorScorer({})(network, x) / error + _squares(*_levels(x), mean, scale) / level


def _limit(values: Tensor) -> Tensor:
    """What 99 % of the values keep to; torch's own quantile refuses more than 2^24 of them."""
    rank = max(1, math.ceil(_WITHIN * len(values)))
    return values.kthvalue(rank).values


def _squares(levels: Tensor, known: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    return ((levels - mean) / scale * known).square().mean(1)


def _levels(x: Tensor) -> tuple[Tensor, Tensor]:
    """Means of channels over their known steps or pixels, and whether there is such a one: each (n, channels)."""
    known, missing = split_missing(x)
    there = torch.ones_like(known) if missing is None else 1.0 - missing.to(known.dtype)
    total, count = (channels_first(each).flatten(2).sum(2) for each in (known * there, there))
    return total / count.clamp(min=1), (count > 0).to(known.dtype)
