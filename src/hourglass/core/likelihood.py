"""How likely samples are under a variational model: an estimate in nats, and a score of oddness made of it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from hourglass.core.model import Autoencoder, split_missing
from hourglass.core.posterior import Posterior
from hourglass.core.scores import Scorer
from hourglass.errors import UsageError

_SCORE_DRAWS = 16


@torch.no_grad()
def log_likelihood(
    network: Autoencoder, x: Tensor, draws: int = 1_000, generator: torch.Generator | None = None
) -> Tensor:
    """Log p(x) of each sample in nats, estimated by importance sampling (Burda et al. 2016). Shape (n,), float64.

    log p(x) ~ log(mean over z drawn from q(z | x) of p(x | z) p(z) / q(z | x)): too low on average, and less so with
    more draws. Missing cells are left out: it is then the likelihood of the others. `UsageError` where codes are not
    drawn from a normal distribution, or the loss is no log-density (bernoulli on numbers between 0 and 1 is none).
    """
    _check_density(network, x)
    posterior = posterior_of(network, x, "likelihood")
    mean = posterior.mean
    noises = (torch.randn(mean.shape, generator=generator, dtype=mean.dtype, device=mean.device) for _ in range(draws))
    there = _cells_there(network, x)
    constant = network.loss.constant()
    normaliser = 0.0 if constant is None else (there * constant).sum(1)
    return _log_evidence(network, x, posterior, noises) - normaliser


class ReconstructionProbability(Scorer):
    """How improbable the sample is under a variational model, in nats a cell (An and Cho 2015).

    -log of the mean over 16 codes of p(x | z) p(z) / q(z | x), importance sampling as in `log_likelihood`; without the
    constant of the loss, which is the same for all samples and keeps the score from going below 0. The codes' noise is
    drawn once for the model, so that a sample's score is its own.
    """

    name = "reconstruction-probability"
    decodes = True

    @classmethod
    def learn(cls, network: Autoencoder, samples: Tensor, seed: int) -> dict[str, Tensor]:
        """The noise (draws, latent)."""
        with torch.inference_mode():
            latent = posterior_of(network, samples[:1], "detection.scorers").mean.shape[1]
        return {"noise": torch.randn(_SCORE_DRAWS, latent, generator=torch.Generator().manual_seed(seed))}

    def __call__(self, network: Autoencoder, x: Tensor) -> Tensor:
        posterior = posterior_of(network, x, "detection.scorers")
        evidence = _log_evidence(network, x, posterior, self.state["noise"].to(x.device).unsqueeze(1))
        score = -evidence / _cells_there(network, x).sum(1).clamp(min=1.0)
        # no density is above exp(-constant), but its estimate from a few draws may be
        return score.clamp(min=0.0).float()


def check_random_codes(scorers: Sequence[str], bottleneck: Any) -> None:
    """Refuse the reconstruction probability where codes are not drawn from a distribution."""
    if ReconstructionProbability.name in scorers and bottleneck.gives != "posterior":
        what = f"the scorer reconstruction-probability is not for the codes of the bottleneck {bottleneck.name}"
        raise UsageError(what, where="detection.scorers", how="leave it out, or fit with --kind variational")


def posterior_of(network: Autoencoder, x: Tensor, where: str) -> Posterior:
    """The normal distribution that the encoder gives each sample's code; `UsageError` where it gives none."""
    posterior = network.code_of(x).posterior
    if posterior is None:
        what = "the codes of this model are not drawn from a distribution, so samples have no likelihood"
        raise UsageError(what, where=where, how="fit with --kind variational")
    return posterior


def _log_evidence(network: Autoencoder, x: Tensor, posterior: Posterior, noises: Iterable[Tensor]) -> Tensor:
    """Log of the mean over noises of exp(-error) p(z) / q(z | x) of each sample, the errors summed over cells."""
    known, there = split_missing(x)[0], _cells_there(network, x)
    log_weights = []
    for noise in noises:
        code = posterior.draw(noise)
        errors = network.loss.cells(network.output_of(code), known) * there
        log_weights.append(-errors.sum(1).double() - posterior.log_ratio(code).double())
    return torch.stack(log_weights).logsumexp(0) - math.log(len(log_weights))


def _cells_there(network: Autoencoder, x: Tensor) -> Tensor:
    """1 where a cell is not missing. Shape (n, cells), or (1, cells) where none is missing."""
    there: Tensor | None = network.loss.counting(split_missing(x)[1], None)
    return torch.ones(1, network.loss.count, device=x.device) if there is None else there


def _check_density(network: Autoencoder, x: Tensor) -> None:
    settings = network.loss.settings
    if not settings.density:
        how = "fit with --set loss=normal, or with --set loss=bernoulli on data of 0 and 1"
        raise UsageError(f"the {settings.name} loss is no log-density", where="likelihood", how=how)
    known = split_missing(x)[0]
    if settings.unit_interval and not bool(((known == 0) | (known == 1)).all()):
        how = "draw 0 and 1 from them first, as the corruption `binarise` does"
        raise UsageError("the bernoulli loss has a likelihood of 0 and 1 only, got others", where="likelihood", how=how)
