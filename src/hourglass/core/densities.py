"""Where codes lie: mixtures of Gaussians, fitted by expectation maximisation, and the draws and densities they give.

A density's whole state is a dict of tensors, so that it is saved and loaded like weights.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor

from hourglass.errors import UsageError

State = dict[str, Tensor]

WIDE = 512
"""Numbers of a code above which a Gaussian keeps variances only: covariances would fill the model's file."""
_STARTS, _LLOYD_ROUNDS = 4, 10
_ROUNDS, _ENOUGH = 200, 1e-5
_PIECE = 2**22


class Density(ABC):
    """A distribution of codes: it draws new ones, and says how likely given ones are."""

    def __init__(self, state: State) -> None:
        self.state = state

    @abstractmethod
    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """New codes (count, latent), float64. `generator` is on the CPU, so that every machine draws the same."""

    @abstractmethod
    def log_density(self, codes: Tensor) -> Tensor:
        """Log density of each code (n, latent), in nats, float64, shape (n,)."""


class Mixture(Density):
    """Gaussians, each taken with its weight: p(z) = sum_k w_k N(z; m_k, S_k).

    State: `weights` (k,); `means` (k, latent); `scales`, how far each reaches: standard deviations (k, latent), or
    lower triangles (k, latent, latent) with S = scale scale^T. One scale may stand for all of them.
    """

    def __init__(self, state: State) -> None:
        super().__init__(state)
        self.weights, self.means, self.scales = (state[name].double() for name in ("weights", "means", "scales"))
        (count, size), sizes = self.means.shape, tuple(self.scales.shape)
        if self.weights.shape != (count,) or sizes[0] not in (1, count) or sizes[1:] not in ((size,), (size, size)):
            raise ValueError("weights, means and scales of a mixture do not fit together")

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        which = torch.multinomial(self.weights, count, replacement=True, generator=generator)
        noise = torch.randn(count, self.means.shape[1], generator=generator, dtype=torch.float64)
        return self.means[which] + self._stretched(noise, which)

    def _stretched(self, noise: Tensor, which: Tensor) -> Tensor:
        """Standard normal draws as far apart as the chosen Gaussians have them."""
        if self.scales.ndim == 2:
            return noise * self.scales[which if len(self.scales) > 1 else which * 0]
        if len(self.scales) == 1:
            return noise @ self.scales[0].mT
        stretched = torch.empty_like(noise)
        for component in range(len(self.means)):
            rows = which == component
            stretched[rows] = noise[rows] @ self.scales[component].mT
        return stretched

    def log_density(self, codes: Tensor) -> Tensor:
        if not bool((self.scales if self.scales.ndim == 2 else self.scales.diagonal(dim1=1, dim2=2)).all()):
            how = "take a prior with a density, such as --prior normal"
            raise UsageError("training codes that are drawn as they are have no density", where="prior", how=how)
        rows = max(1, _PIECE // self.means.numel())
        pieces = [log_normal(piece, self.means, self.scales) for piece in torch.split(codes.double(), rows)]
        return torch.logsumexp(torch.cat(pieces) + self.weights.log(), dim=1)


def log_normal(codes: Tensor, means: Tensor, scales: Tensor) -> Tensor:
    """Log density of each code (n, latent) under each Gaussian (see `Mixture`). Shape (n, k)."""
    widths = scales if scales.ndim == 2 else scales.diagonal(dim1=1, dim2=2)
    constant = widths.log().sum(1) + 0.5 * codes.shape[1] * math.log(2 * math.pi)
    return -0.5 * _squared_distances(codes, means, scales) - constant


def _squared_distances(codes: Tensor, means: Tensor, scales: Tensor) -> Tensor:
    """Squared Mahalanobis distance of each code to each Gaussian. Shape (n, k)."""
    if len(scales) == 1:
        return torch.cdist(_whitened(codes, scales[0]), _whitened(means, scales[0])).square()
    if scales.ndim == 2:
        return ((codes[:, None] - means) / scales).square().sum(2)
    away = [_whitened(codes - mean, scale) for mean, scale in zip(means, scales, strict=True)]
    return torch.stack([each.square().sum(1) for each in away], dim=1)


def _whitened(codes: Tensor, scale: Tensor) -> Tensor:
    return codes / scale if scale.ndim == 1 else torch.linalg.solve_triangular(scale, codes.mT, upper=False).mT


def mixture_state(weights: Tensor, means: Tensor, scales: Tensor) -> State:
    """A mixture as it is stored: single precision, on the CPU."""
    each = {"weights": weights, "means": means, "scales": scales}
    return {name: tensor.detach().float().cpu().contiguous() for name, tensor in each.items()}


def spread(codes: Tensor, ridge: float) -> Tensor:
    """How far codes (n, latent) reach around their mean, as a `Mixture` scale, without its first dimension.

    `ridge`: share of each number's variance that is added to it, so that codes that lie in a plane have a density too.
    """
    centred = codes - codes.mean(0)
    if codes.shape[1] > WIDE:
        return (centred.square().mean(0) + ridge_of(codes, ridge)).sqrt()
    return lower_triangle(centred.mT @ centred / len(codes), ridge_of(codes, ridge))


def ridge_of(codes: Tensor, share: float) -> Tensor:
    """What is added to the variance of each number of a code; more than nothing even where a number never changes."""
    variances = codes.var(0, correction=0)
    return share * variances.clamp(min=1e-6 * float(variances.max())) + 1e-12


def lower_triangle(covariance: Tensor, ridge: Tensor) -> Tensor:
    """The Cholesky factor of covariances (..., latent, latent) with a ridge (latent,) on their diagonals."""
    factor: Tensor = torch.linalg.cholesky(covariance + torch.diag(ridge))
    return factor


def fit_mixture(
    codes: Tensor, components: int, ridge: Tensor, generator: torch.Generator
) -> tuple[tuple[Tensor, Tensor, Tensor], list[float]]:
    """Weights, means and scales of the Gaussians under which codes (n, latent), float64, are likely; and the course.

    Expectation maximisation (Dempster, Laird and Rubin 1977) from the groups of k-means, itself started by k-means++
    (Arthur and Vassilvitskii 2007). The course is the mean log density before each round: it rises, to rounding and
    `ridge` (latent,), which is added to each Gaussian's variances so that none shrinks onto a single code.
    """
    shares = _groups(codes, components, generator)
    parts = _most_likely(codes, shares, ridge)
    course: list[float] = []
    while len(course) < _ROUNDS:
        joint = log_normal(codes, parts[1], parts[2]) + parts[0].log()
        every = torch.logsumexp(joint, dim=1)
        course.append(float(every.mean()))
        if len(course) > 1 and course[-1] - course[-2] < _ENOUGH:
            break
        parts = _most_likely(codes, (joint - every[:, None]).exp(), ridge)
    return parts, course


def _most_likely(codes: Tensor, shares: Tensor, ridge: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The maximisation: the Gaussians for codes of which each belongs to each Gaussian by a share (n, k)."""
    counts = shares.sum(0) + 1e-10  # a Gaussian that has lost all its codes must not divide by zero
    means = (shares.mT @ codes) / counts[:, None]
    covariances = []
    for share, mean, count in zip(shares.mT, means, counts, strict=True):
        centred = codes - mean
        covariances.append((share[:, None] * centred).mT @ centred / count)
    return counts / counts.sum(), means, lower_triangle(torch.stack(covariances), ridge)


def _groups(codes: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """The groups of k-means, the tightest of a few starts, as shares of 0 and 1. Shape (n, k)."""
    tried = [_k_means(codes, _far_apart(codes, count, generator)) for _ in range(_STARTS)]
    distances = min(tried, key=lambda distances: float(distances.min(1).values.square().sum()))
    return torch.nn.functional.one_hot(distances.argmin(1), count).to(codes.dtype)


def _k_means(codes: Tensor, centres: Tensor) -> Tensor:
    """Distances (n, k) to the centres after a few rounds."""
    for _ in range(_LLOYD_ROUNDS):
        mine = torch.nn.functional.one_hot(torch.cdist(codes, centres).argmin(1), len(centres)).to(codes.dtype)
        counts = mine.sum(0)[:, None]
        centres = torch.where(counts > 0, (mine.mT @ codes) / counts.clamp(min=1), centres)
    return torch.cdist(codes, centres)


def _far_apart(codes: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Codes to start from: each drawn by its squared distance from those before (k-means++)."""
    chosen = [int(torch.randint(len(codes), (1,), generator=generator))]
    nearest = torch.full((len(codes),), math.inf, dtype=codes.dtype)
    while len(chosen) < count:
        nearest = torch.minimum(nearest, (codes - codes[chosen[-1]]).square().sum(1))
        # all 0 where there are fewer distinct codes than Gaussians
        chances = nearest if bool(nearest.sum() > 0) else torch.ones_like(nearest)
        chosen.append(int(torch.multinomial(chances, 1, generator=generator)))
    return codes[chosen]
