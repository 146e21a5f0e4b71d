"""What the code must pass: each says how many inputs it wants and turns them into a `Code` with its own terms."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from hourglass.core.model import Code
from hourglass.core.networks.activations import ACTIVATIONS, activation
from hourglass.core.posterior import Posterior
from hourglass.errors import UsageError
from hourglass.settings import Part, option

_CODE_ACTIVATIONS = tuple(sorted(ACTIVATIONS))


@dataclass(frozen=True)
class Bottleneck(Part):
    """The narrow place between encoder and decoder."""

    slot = "bottleneck"
    size: int | None = option(None, "latent size: numbers in a code (default: by rule from the data's size)", low=1)

    heads: ClassVar[int] = 1
    """How many numbers the encoder must give for each number of the code."""
    sparse: ClassVar[bool] = False
    """Whether few numbers of a code are used at a time, so that a code may be as wide as the sample."""
    gives: ClassVar[str] = ""
    """Which further field of `Code` it fills, where a penalty may need it."""

    @abstractmethod
    def build(self, size: int, cells: int) -> nn.Module:
        """The module `(hidden, generator) -> Code`. `cells` is the number of cells the loss averages over."""


@dataclass(frozen=True)
class Plain(Bottleneck):
    """The code is what the encoder says, after an activation if one is asked for."""

    name = "plain"
    activation: str = option("linear", "activation of the code", choices=_CODE_ACTIVATIONS)
    dropout: float = option(0.0, "share of code numbers dropped while training", low=0, high=0.95)

    def build(self, size: int, cells: int) -> nn.Module:
        return PlainCode(activation(self.activation), nn.Dropout(self.dropout))


@dataclass(frozen=True)
class TopK(Bottleneck):
    """Only the `k` largest numbers of a code stay; the others are zero (Makhzani and Frey 2013, k-sparse).

    No ReLU before, as in the paper: in a small code, units that only ever say "less" would die.
    """

    name = "top-k"
    sparse = True
    gives = "offered"
    k: int | None = option(None, "numbers kept in each code (default: a quarter of them)", low=1)

    def build(self, size: int, cells: int) -> nn.Module:
        k = self.k or -(-size // 4)
        if k > size:
            raise UsageError(f"got {k}, wanted at most the latent size, {size}", where="bottleneck.k", how="lower k")
        return _TopKCode(k)


@dataclass(frozen=True)
class Gaussian(Bottleneck):
    """The code is drawn from a normal distribution that the encoder gives (Kingma and Welling 2014, variational).

    Term: `beta` times KL(N(mean, variance) || N(0, 1)) a cell, so that with `beta` 1 and the Bernoulli loss the
    objective is the negative ELBO divided by the number of cells. Without a generator the code is the mean.

    With `draws` above 1 each sample is given that many codes, and the objective is the importance-weighted bound
    -log(mean of p(x | z) p(z) / q(z | x)), which is nearer to -log p(x) (Burda et al. 2016).
    """

    name = "gaussian"
    heads = 2
    gives = "posterior"
    beta: float = option(1.0, "weight of the KL term", low=0)
    warm_up: float = option(0.3, "share of training over which the weight grows from 0", low=0, high=1)
    free_bits: float = option(0.0, "nats of each code number that cost nothing", low=0)
    draws: int = option(1, "codes drawn for each sample while training", low=1)

    def build(self, size: int, cells: int) -> nn.Module:
        if self.free_bits and self.draws > 1:
            what = f"got free bits and {self.draws} draws, whose bound has no KL of each number to leave free"
            raise UsageError(what, where="bottleneck", how="leave one out: free_bits=0 or draws=1")
        return _GaussianCode(self, cells)


class PlainCode(nn.Module):
    """What the encoder says, after an activation; some of it dropped while training."""

    def __init__(self, activate: nn.Module, dropout: nn.Module) -> None:
        super().__init__()
        self.activate, self.dropout = activate, dropout

    def forward(self, hidden: Tensor, generator: torch.Generator | None) -> Code:
        return Code(self.dropout(self.activate(hidden)))

    def project(self, code: Tensor) -> Tensor:
        """The nearest codes that the decoder may be given: within what the activation can say."""
        # where the known activations are lowest and highest: silu near -1.28 and gelu near -0.75, all others at an end
        reach = self.activate(code.new_tensor([-1e9, -1.2785, -0.7518, 1e9]))
        return code.clamp(reach.min(), reach.max())


class _TopKCode(nn.Module):
    def __init__(self, k: int) -> None:
        super().__init__()
        self.k = k

    def forward(self, hidden: Tensor, generator: torch.Generator | None) -> Code:
        kept = hidden.topk(self.k, dim=1)
        return Code(torch.zeros_like(hidden).scatter(1, kept.indices, kept.values), offered=hidden)

    def project(self, code: Tensor) -> Tensor:
        """The nearest codes that the decoder may be given: the largest numbers of each."""
        return self(code, None).value  # type: ignore[no-any-return]


class _GaussianCode(nn.Module):
    def __init__(self, settings: Gaussian, cells: int) -> None:
        super().__init__()
        self.settings, self.cells = settings, cells
        self.warm_up, self.progress = settings.warm_up, 1.0

    def forward(self, hidden: Tensor, generator: torch.Generator | None) -> Code:
        draws = self.settings.draws
        if generator is None:
            posterior = _posterior(hidden)
            return Code(posterior.mean, posterior=posterior)
        posterior = _posterior(hidden.repeat_interleave(draws, 0) if draws > 1 else hidden)
        mean = posterior.mean
        value = posterior.draw(torch.randn(mean.shape, generator=generator, device=mean.device, dtype=mean.dtype))
        if draws == 1:
            return Code(value, {"kl": self._weight() * self._kl(posterior)}, posterior)
        cost = self._weight() * posterior.log_ratio(value) / self.cells
        return Code(value, {"kl": cost.mean()}, posterior, draws=draws, cost=cost)

    def _kl(self, posterior: Posterior) -> Tensor:
        return posterior.kl().mean(0).clamp(min=self.settings.free_bits).sum() / self.cells

    def _weight(self) -> float:
        return self.settings.beta * (min(1.0, self.progress / self.warm_up) if self.warm_up else 1.0)


def _posterior(hidden: Tensor) -> Posterior:
    mean, log_variance = hidden.chunk(2, dim=1)
    return Posterior(mean, _bounded(log_variance))


def _bounded(log_variance: Tensor) -> Tensor:
    """Within -20 and 20: exp() of a wild one overflows. Its gradient passes, or it could never come back."""
    return log_variance + (log_variance.clamp(-20.0, 20.0) - log_variance).detach()
