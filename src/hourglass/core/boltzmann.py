"""A restricted Boltzmann machine: visible and hidden units, joined by weights, learned by contrastive divergence.

With binary (Bernoulli) visible units the energy is E(v, h) = -b.v - c.h - h.Wv, and with Gaussian ones of unit
variance |v - b|^2 / 2 - c.h - h.Wv; hidden units are binary. The model's p(v) is proportional to exp(-F(v)), F the free
energy. Hinton 2002, Training products of experts by minimizing contrastive divergence; Hinton 2010, A practical guide.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from hourglass.core.model import Player, split_missing

_FIRST_DEVIATION = 0.01
"""Of the first weights (Hinton 2010, section 8, as is `start`)."""


class BoltzmannMachine(nn.Module):
    """`visible` units that see a sample, `hidden` ones that explain it.

    `gaussian`: visible units are any numbers, scaled to unit variance; else they are between 0 and 1. `steps`: how
    often the chain goes up and down before its end is taken for what the model itself would see (the k of CD-k).
    """

    def __init__(self, visible: int, hidden: int, *, gaussian: bool = False, steps: int = 1) -> None:
        super().__init__()
        self.weight = nn.Parameter(_FIRST_DEVIATION * torch.randn(hidden, visible))
        self.visible_bias, self.hidden_bias = nn.Parameter(torch.zeros(visible)), nn.Parameter(torch.zeros(hidden))
        self.gaussian, self.steps = gaussian, steps

    def encode(self, x: Tensor) -> Tensor:
        """Probability that each hidden unit is on, shape (n, hidden); missing numbers count as 0."""
        return self._upwards(_flat(x))

    @torch.no_grad()
    def start(self, x: Tensor) -> None:
        """Let each visible unit be on as often as it is in `x`, so that no hidden unit need learn that (section 8)."""
        mean = _flat(x).mean(0)
        self.visible_bias.copy_(mean if self.gaussian else mean.clamp(0.01, 0.99).logit())

    def free_energy(self, v: Tensor) -> Tensor:
        """F(v) = -log of the sum over all h of exp(-E(v, h)), for each row; shape (n,). Low where v is likely."""
        explained = softplus(v @ self.weight.T + self.hidden_bias).sum(1)
        held = 0.5 * (v - self.visible_bias).square().sum(1) if self.gaussian else -(v @ self.visible_bias)
        return held - explained

    def terms(self, batch: Tensor, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """`contrastive`, F(data) - F(end of the chain), whose gradient is that of CD-k; `reconstruction`, to watch.

        The chain's end is a constant. So is the reconstruction error, which tells one epoch from another, since the
        contrast does not.
        """
        v = _flat(batch)
        with torch.no_grad():
            end = self.chain(v, generator)
            error = (self._downwards(self._upwards(v)) - v).square().mean()
        return {"contrastive": (self.free_energy(v) - self.free_energy(end)).mean(), "reconstruction": error}

    @torch.no_grad()
    def chain(self, v: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Visible units after `steps` rounds of drawing the hidden ones and then the visible ones, from `v` on."""
        for _ in range(self.steps):
            hidden = torch.bernoulli(self._upwards(v), generator=generator)
            mean = self._downwards(hidden)
            v = mean + _noise(mean, generator) if self.gaussian else torch.bernoulli(mean, generator=generator)
        return v

    def players(self) -> list[Player]:
        """One, that learns by the contrast alone."""
        return [Player(list(self.parameters()), self.terms, contested=frozenset({"contrastive"}))]

    def set_progress(self, share: float) -> None:
        """Nothing in a machine changes over training."""

    def _upwards(self, v: Tensor) -> Tensor:
        return torch.sigmoid(v @ self.weight.T + self.hidden_bias)

    def _downwards(self, hidden: Tensor) -> Tensor:
        mean = hidden @ self.weight + self.visible_bias
        return mean if self.gaussian else torch.sigmoid(mean)


def _flat(x: Tensor) -> Tensor:
    return split_missing(x)[0].flatten(1)


def _noise(mean: Tensor, generator: torch.Generator | None) -> Tensor:
    return torch.randn(mean.shape, generator=generator, device=mean.device, dtype=mean.dtype)
