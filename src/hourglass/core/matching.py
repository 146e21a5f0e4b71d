"""Penalties that make codes look like draws of N(0, I), or their numbers independent of each other."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from hourglass.core.model import Autoencoder, Batch, Trace
from hourglass.core.penalties import Penalty, Term
from hourglass.core.posterior import Posterior, log_normal
from hourglass.settings import option

_WIDTHS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


@dataclass(frozen=True)
class MeanDiscrepancy(Penalty):
    """The maximum mean discrepancy between codes and draws of N(0, I) (Tolstikhin et al. 2018, Wasserstein).

    With a Gaussian bottleneck of small `beta` this is InfoVAE (Zhao et al. 2019). See `squared_discrepancy`.
    """

    name = "mmd"
    weight: float = option(1.0, "what the term is multiplied by", low=0)

    def build(self, code: int, cells: int) -> nn.Module:
        return Term(self.name, self.weight, self._discrepancy)

    @staticmethod
    def _discrepancy(model: Autoencoder, trace: Trace, generator: torch.Generator | None) -> Tensor:
        return squared_discrepancy(trace.code.value, _drawn_like(trace.code.value, generator))


@dataclass(frozen=True)
class TotalCorrelation(Penalty):
    """How far code numbers are from independent, KL(q(z) || product of q(z_j)) in nats, a cell (Chen et al. 2018).

    With `weight` beta - 1 beside a Gaussian bottleneck of `beta` 1 this is beta-TCVAE. See `total_correlation`.
    """

    name = "total-correlation"
    needs = "posterior"
    weight: float = option(4.0, "what the term is multiplied by", low=0)

    def build(self, code: int, cells: int) -> nn.Module:
        return Term(self.name, self.weight / cells, self._correlation)

    @staticmethod
    def _correlation(model: Autoencoder, trace: Trace, generator: torch.Generator | None) -> Tensor:
        return total_correlation(trace.code.value, cast(Posterior, trace.code.posterior))


@dataclass(frozen=True)
class Adversary(Penalty):
    """A judge learns to tell codes from draws of N(0, I); the encoder is paid for fooling it (Makhzani et al. 2015)."""

    name = "adversary"
    weight: float = option(0.1, "what the term is multiplied by", low=0)
    layers: tuple[int, ...] = option((32, 32), "widths of the judge's hidden layers", low=1)

    def build(self, code: int, cells: int) -> nn.Module:
        return _Adversary(self, code)


class _Adversary(nn.Module):
    def __init__(self, settings: Adversary, code: int) -> None:
        super().__init__()
        self.name, self.weight = settings.name, settings.weight
        widths = [code, *settings.layers]
        hidden = [nn.Sequential(nn.Linear(*pair), nn.ReLU()) for pair in pairwise(widths)]
        self.judge = nn.Sequential(*hidden, nn.Linear(widths[-1], 1))
        """Log-odds that a code was drawn from N(0, I)."""

    def forward(self, model: Autoencoder, trace: Trace, generator: torch.Generator | None) -> Tensor:
        """The encoder's side: the judge should take its codes for drawn ones."""
        return self.weight * softplus(-self.judge(trace.code.value)).mean()

    def opponent_terms(self, model: Autoencoder, batch: Batch, generator: torch.Generator | None) -> dict[str, Tensor]:
        """The judge's side, on codes as the encoder is judged by: of corrupted samples, drawn where codes are."""
        with torch.no_grad():
            codes = model.training_trace(batch, generator).code.value
        drawn = _drawn_like(codes, generator)
        return {"judge": softplus(-self.judge(drawn)).mean() + softplus(self.judge(codes)).mean()}


def squared_discrepancy(codes: Tensor, drawn: Tensor) -> Tensor:
    """An unbiased estimate of MMD^2 between the distributions of two sets of n rows; 0 for a single row.

    MMD^2 = E k(a, a') + E k(b, b') - 2 E k(a, b), with the mean of inverse multiquadratic kernels k = c / (c + d^2), c
    from a tenth to ten times 2 latent, which is the mean squared distance d^2 of two draws of N(0, I).
    """
    if len(codes) < 2:
        return codes.sum() * 0.0
    within = _apart(_kernel(codes, codes)) + _apart(_kernel(drawn, drawn))
    return within - 2 * _kernel(codes, drawn).mean()


def total_correlation(code: Tensor, posterior: Posterior) -> Tensor:
    """An estimate of KL(q(z) || product of q(z_j)), q(z) the mixture of the batch's posteriors.

    The paper's minibatch-weighted estimate but for a constant that depends on the number of training samples.
    """
    # number by number: all at once would be (n, n, latent) numbers
    each = zip(code.T, posterior.mean.T, posterior.log_variance.T, strict=True)
    log_each = [log_normal(value.unsqueeze(1), mean, log_variance) for value, mean, log_variance in each]
    log_joint = _log_mean(torch.stack(log_each).sum(0))
    log_marginals = torch.stack([_log_mean(log_density) for log_density in log_each]).sum(0)
    return (log_joint - log_marginals).mean()


def _log_mean(log_values: Tensor) -> Tensor:
    return log_values.logsumexp(1) - math.log(log_values.shape[1])


def _kernel(a: Tensor, b: Tensor) -> Tensor:
    apart = (a.square().sum(1).unsqueeze(1) + b.square().sum(1) - 2 * a @ b.T).clamp(min=0.0)
    scales = [2.0 * a.shape[1] * width for width in _WIDTHS]
    return torch.stack([scale / (scale + apart) for scale in scales]).mean(0)


def _apart(likeness: Tensor) -> Tensor:
    """Mean over pairs of different rows."""
    count = len(likeness)
    return (likeness.sum() - likeness.diagonal().sum()) / (count * (count - 1))


def _drawn_like(codes: Tensor, generator: torch.Generator | None) -> Tensor:
    return torch.randn(codes.shape, generator=generator, device=codes.device, dtype=codes.dtype)
