"""A scorer that follows a sample and its reconstruction through the encoder."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from hourglass.core.model import Autoencoder
from hourglass.core.scores import Scorer, drawn
from hourglass.core.whitening import MOST_NUMBERS, moments, whitening

_MOST_SAMPLES = 5_000


class ActivationScorer(Scorer):
    """How unlike a normal sample's reconstruction error a sample's is, in the sample and on every layer of the encoder.

    The difference that reconstruction makes to the sample and to the encoder's outputs layer by layer, d, has with
    normal samples its usual directions and sizes: the score is Mahalanobis' distance, (d - mean)' covariance^-1
    (d - mean) (RaPP, Kim et al. 2020). Each number is divided by its deviation first, and more than 128 are turned at
    random and cut to 128. With few rows for so many directions, those in which training rows happen to agree would make
    all new rows odd: the covariance of k numbers is shrunk towards the identity by k / (k + rows).
    """

    name = "activations"

    @classmethod
    @torch.inference_mode()
    def learn(cls, network: Autoencoder, samples: Tensor, seed: int) -> dict[str, Tensor]:
        """Mean difference (numbers,), and what whitens differences (numbers, at most 128). Of at most 5,000 samples."""
        generator = torch.Generator().manual_seed(seed)
        chosen = drawn(samples, _MOST_SAMPLES, generator)
        mean, covariance = moments(partial(_differences, network), chosen)
        numbers = min(len(mean), MOST_NUMBERS)
        whiten = whitening(covariance, generator, numbers / (numbers + len(chosen)))
        return {"mean": mean.float(), "whitening": whiten.float()}

    def __call__(self, network: Autoencoder, x: Tensor) -> Tensor:
        mean, whiten = (self.state[name].to(x.device) for name in ("mean", "whitening"))
        return ((_differences(network, x) - mean) @ whiten).square().mean(1)


def _differences(network: Autoencoder, x: Tensor) -> Tensor:
    """What reconstruction changes in samples and in all that the encoder makes of them; shape (n, numbers)."""
    trace = network(x)
    back = network.loss.expectation(trace.output)
    back = back if trace.missing is None else back.masked_fill(trace.missing, 0.0)
    before, after = ([seen, *_outputs(network, seen, trace.missing)] for seen in (trace.x, back))
    return torch.cat([(a - b).flatten(1) for a, b in zip(before, after, strict=True)], dim=1)


def _outputs(network: Autoencoder, seen: Tensor, missing: Tensor | None) -> list[Tensor]:
    """Of the encoder's layers one by one where it tells of them, or else what it ends with."""
    by_layer = getattr(network.encoder, "by_layer", None)
    return list(by_layer(seen, missing)) if by_layer else [network.encoder(seen, missing)]
