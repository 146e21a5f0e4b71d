"""Mahalanobis distances: what makes differences from a mean independent, and of unit size."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from hourglass.core.chunks import chunk_rows

MOST_NUMBERS = 128


def parts(samples: Tensor) -> tuple[Tensor, ...]:
    """The samples so many at a time as may be looked at together."""
    return torch.split(samples, chunk_rows(samples[0].numel()))


def moments(describe: Callable[[Tensor], Tensor], samples: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and covariance of all that `describe` makes of the samples, (..., numbers); float64."""
    count, mean, covariance = 0, torch.zeros(()).double(), torch.zeros(()).double()
    for part in parts(samples):
        count, mean, covariance = merged(count, mean, covariance, describe(part).flatten(0, -2).cpu().double())
    return mean, covariance


def merged(count: int, mean: Tensor, covariance: Tensor, rows: Tensor) -> tuple[int, Tensor, Tensor]:
    """Number, mean and covariance of the rows so far and of further ones (n, numbers) (Chan et al. 1983)."""
    further = len(rows)
    total = count + further
    centre = rows.mean(0)
    centred, shift = rows - centre, centre - mean
    scatter = covariance * count + centred.T @ centred + torch.outer(shift, shift).mul(count * further / total)
    return total, mean + shift * (further / total), scatter / total


def whitening(covariance: Tensor, generator: torch.Generator, shrinkage: float = 0.01) -> Tensor:
    """W such that |(f - mean) W| is the Mahalanobis distance of f, under a covariance shrunk towards the identity.

    More than 128 numbers, each divided by its deviation, are first turned at random and cut to 128.
    """
    variance = covariance.diagonal()
    scale = torch.where(variance > 1e-12, variance, torch.ones_like(variance)).rsqrt()
    turn = torch.eye(len(covariance), dtype=covariance.dtype)
    if len(covariance) > MOST_NUMBERS:
        turn = torch.linalg.qr(torch.randn(len(covariance), MOST_NUMBERS, generator=generator, dtype=turn.dtype)).Q
    turn = scale[:, None] * turn
    kept = turn.T @ covariance @ turn
    typical = kept.diagonal().mean().clamp(min=1e-6)
    shrunk = (1 - shrinkage) * kept + shrinkage * typical * torch.eye(len(kept), dtype=kept.dtype)
    inverse: Tensor = torch.linalg.solve_triangular(torch.linalg.cholesky(shrunk), turn.T, upper=False)
    return inverse.T.contiguous()
