"""What a variational encoder says of each sample: a normal distribution of its code, the code's numbers independent."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Posterior:
    """q(z | x) = N(mean, exp(log_variance)) of each sample. Both tensors have shape (n, latent)."""

    mean: Tensor
    log_variance: Tensor

    def draw(self, noise: Tensor) -> Tensor:
        """Codes made of standard normal `noise`, so that gradients pass (reparameterised)."""
        return self.mean + noise * (0.5 * self.log_variance).exp()

    def log_density(self, code: Tensor) -> Tensor:
        """log q(z | x) of each number of `code`, in nats."""
        return log_normal(code, self.mean, self.log_variance)

    def log_ratio(self, code: Tensor) -> Tensor:
        """log q(z | x) - log p(z) of each code under the prior N(0, I), in nats; its mean over draws is the KL."""
        return (self.log_density(code) - log_standard_normal(code)).sum(1)

    def kl(self) -> Tensor:
        """KL(q || N(0, 1)) of each number, in nats: (mean^2 + var - 1 - log var) / 2."""
        return 0.5 * (self.mean.square() + self.log_variance.exp() - 1.0 - self.log_variance)


def log_normal(value: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """Log-density of each number under N(mean, exp(log_variance)), in nats."""
    return -0.5 * ((value - mean).square() * (-log_variance).exp() + log_variance + math.log(2 * math.pi))


def log_standard_normal(value: Tensor) -> Tensor:
    """Log-density of each number under N(0, 1), in nats."""
    return -0.5 * (value.square() + math.log(2 * math.pi))
