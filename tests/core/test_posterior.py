"""The normal distributions of codes against torch.distributions."""

import torch
from torch.distributions import Normal, kl_divergence

from hourglass.core.posterior import Posterior


def drawn(seed: int, rows: int = 40, size: int = 3) -> torch.Tensor:
    return torch.randn(rows, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def posterior() -> Posterior:
    return Posterior(2 * drawn(0), 2 * drawn(1))


def oracle() -> Normal:
    return Normal(2 * drawn(0), drawn(1).exp())


def test_density_and_kl_are_those_of_torch() -> None:
    torch.testing.assert_close(posterior().log_density(drawn(2)), oracle().log_prob(drawn(2)))
    torch.testing.assert_close(posterior().kl(), kl_divergence(oracle(), Normal(0.0, 1.0)))


def test_the_log_ratio_is_that_to_the_prior_summed_over_a_code() -> None:
    ratio = (oracle().log_prob(drawn(2)) - Normal(0.0, 1.0).log_prob(drawn(2))).sum(1)
    torch.testing.assert_close(posterior().log_ratio(drawn(2)), ratio)


def test_a_draw_is_noise_stretched_and_moved() -> None:
    mean, deviation = oracle().mean, oracle().stddev
    torch.testing.assert_close(posterior().draw(drawn(3)), mean + deviation * drawn(3))


def test_the_mean_log_ratio_of_draws_is_the_kl() -> None:
    wide = Posterior(torch.tensor([[1.0, -0.5]]).expand(200_000, 2), torch.tensor([[-1.0, 0.3]]).expand(200_000, 2))
    ratio = wide.log_ratio(wide.draw(drawn(4, 200_000, 2).float()))
    error = ratio.std() / 200_000**0.5
    assert abs(ratio.mean() - wide.kl()[0].sum()) < 5 * error
