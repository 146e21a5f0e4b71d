"""A scorer that looks at a sample patch by patch, through the eyes of its own network."""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from hourglass.core.model import Autoencoder, split_missing
from hourglass.core.networks.grids import channels_first
from hourglass.core.scores import CellScorer, drawn
from hourglass.core.whitening import moments, parts, whitening

_STAGES = 3
_STEP, _SIDE = 2, 4
"""Patches begin every second step or pixel, and what is left of the sample is read four wide."""
_MOST_SAMPLES = 2_000
_PRIOR = 10
"""The typical distance of all places counts as so many samples of each."""
_SHARE = 0.01
"""A sample is as odd as this share of its patches, the most distant ones."""


class PatchScorer(CellScorer):
    """How unlike the patches of training samples a sample's patches are.

    A patch is described by what the reconstruction left of it and, where the network is convolutional, by the feature
    maps of its first three stages there. Its distance is Mahalanobis', sqrt((f - mean)' covariance^-1 (f - mean)), with
    one Gaussian for all places, divided by the typical distance of training patches in the same place (PaDiM, Defard
    et al. 2021, has a Gaussian for each place, thousands of numbers a pixel). A sample's score is the mean of the
    hundredth of its patches that are most distant.
    """

    name = "patches"
    takes = (2, 3)

    @classmethod
    @torch.inference_mode()
    def learn(cls, network: Autoencoder, samples: Tensor, seed: int) -> dict[str, Tensor]:
        """The mean description, what makes differences from it independent, and the typical distance at each place.

        Of at most 2,000 samples. Shapes (numbers,), (numbers, at most 128), (...).
        """
        generator = torch.Generator().manual_seed(seed)
        chosen = drawn(samples, _MOST_SAMPLES, generator)
        centre, covariance = moments(partial(_patches, network), chosen)
        mean, whiten = centre.float(), whitening(covariance, generator).float()
        far = [_distances(_patches(network, part), mean, whiten).square().sum(0) for part in parts(chosen)]
        squares = torch.stack(far).sum(0).cpu()
        typical = (squares + _PRIOR * squares.mean() / len(chosen)) / (len(chosen) + _PRIOR)
        return {"mean": mean, "whitening": whiten, "typical": typical.sqrt().clamp(min=1e-6)}

    def __call__(self, network: Autoencoder, x: Tensor) -> Tensor:
        distances = self.distances(network, x).flatten(1)
        return distances.topk(max(1, round(_SHARE * distances.shape[1])), dim=1).values.mean(1)

    def cells(self, network: Autoencoder, x: Tensor) -> tuple[Tensor, Tensor]:
        trace = network(x)
        sides = x.shape[1:2] if x.dim() == 3 else x.shape[2:]
        # every channel of a place gets its distance
        cells = channels_first(_enlarged(self.distances(network, x)[:, None], _STEP, sides)).expand(x.shape).flatten(1)
        there = network.loss.counting(trace.missing, None)
        return cells if there is None else cells * there, network.loss.expectation(trace.output)

    def distances(self, network: Autoencoder, x: Tensor) -> Tensor:
        """Of each patch, in typical distances: (n, ...), half as long each way as the sample, rounded up."""
        mean, whiten, typical = (self.state[name].to(x.device) for name in ("mean", "whitening", "typical"))
        return _distances(_patches(network, x), mean, whiten) / typical


def _distances(patches: Tensor, mean: Tensor, whiten: Tensor) -> Tensor:
    return ((patches - mean.to(patches.device)) @ whiten.to(patches.device)).square().sum(-1).sqrt()


def _patches(network: Autoencoder, x: Tensor) -> Tensor:
    """Descriptions of the patches: (n, ..., numbers)."""
    left = _left_over(network, x)
    sides = left.shape[1:-1]
    features = getattr(network.encoder, "features", None)
    maps = features(*split_missing(x))[:_STAGES] if features else []
    same = [_enlarged(each, 2**stage, sides).movedim(1, -1) for stage, each in enumerate(maps)]
    return torch.cat([left, *same], dim=-1)


def _left_over(network: Autoencoder, x: Tensor) -> Tensor:
    """What the reconstruction left of each patch, 0 where missing: (n, ..., numbers)."""
    trace = network(x)
    left = trace.x - network.loss.expectation(trace.output)
    left = channels_first(left if trace.missing is None else left.masked_fill(trace.missing, 0.0))
    before = (_SIDE - _STEP) // 2
    ends = [_STEP * math.ceil(side / _STEP) - side + before for side in left.shape[2:]]
    left = functional.pad(left, [each for end in reversed(ends) for each in (before, end)])
    dimensions = left.dim() - 2
    for side in range(2, 2 + dimensions):
        left = left.unfold(side, _SIDE, _STEP)
    return left.movedim(1, -1).flatten(1 + dimensions)


def _enlarged(maps: Tensor, times: int, sides: torch.Size) -> Tensor:
    """Maps (n, channels, ...) so many times larger, in between linear, cut to the sides."""
    mode = "linear" if len(sides) == 1 else "bilinear"
    larger = functional.interpolate(maps, scale_factor=float(times), mode=mode) if times > 1 else maps
    return larger[(slice(None), slice(None), *(slice(side) for side in sides))]
