"""Mixtures of Gaussians, held to torch.distributions, to scikit-learn and to what expectation maximisation promises."""

import math

import numpy as np
import pytest
import torch
from sklearn.mixture import GaussianMixture
from torch import Tensor
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal

from hourglass.core.densities import Mixture, fit_mixture, mixture_state, ridge_of, spread
from hourglass.errors import UsageError


def three_groups(rows: int, seed: int = 0) -> Tensor:
    """Codes (rows, 3) of three long groups that lie in different directions."""
    random = np.random.default_rng(seed)
    centres = np.array([[0.0, 0, 0], [6, 1, 0], [-2, 7, 3]])
    shapes = np.random.default_rng(5).normal(size=(3, 3, 3))
    which = random.choice(3, rows, p=[0.5, 0.3, 0.2])
    return torch.from_numpy(centres[which] + np.einsum("nij,nj->ni", shapes[which], random.normal(size=(rows, 3))))


def mixture(shape: str) -> tuple[Mixture, MixtureSameFamily]:
    """Two Gaussians with scales of a shape, and what torch calls them."""
    torch.manual_seed(0)
    weights, means = torch.tensor([0.3, 0.7]), torch.randn(2, 3) * 2
    triangles = torch.randn(2, 3, 3).tril() + 2 * torch.eye(3)
    if shape == "one for all":
        scales, full = triangles[:1], triangles[:1].expand(2, 3, 3)
    elif shape == "diagonal":
        scales = torch.rand(2, 3) + 0.5
        full = torch.diag_embed(scales)
    else:
        scales = full = triangles
    normals = MultivariateNormal(means.double(), scale_tril=full.double())
    return Mixture(mixture_state(weights, means, scales)), MixtureSameFamily(Categorical(weights.double()), normals)


SHAPES = ["each its own", "one for all", "diagonal"]


@pytest.mark.parametrize("shape", SHAPES)
def test_the_density_is_that_of_torch(shape: str) -> None:
    ours, theirs = mixture(shape)
    codes = 3 * torch.randn(200, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(ours.log_density(codes), theirs.log_prob(codes), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_draws_have_the_mean_and_the_covariance_of_the_mixture(shape: str) -> None:
    ours, theirs = mixture(shape)
    draws = ours.draw(40_000, torch.Generator().manual_seed(2))
    expected = theirs.sample(torch.Size([40_000]))
    bound = 5 * float(theirs.stddev.max()) / math.sqrt(40_000)
    torch.testing.assert_close(draws.mean(0), theirs.mean, rtol=0, atol=bound)
    torch.testing.assert_close(draws.mT.cov(), expected.mT.cov(), rtol=0.05, atol=0.2)
    assert torch.equal(draws[:7], ours.draw(40_000, torch.Generator().manual_seed(2))[:7])


def test_the_log_likelihood_never_falls() -> None:
    codes = three_groups(600)
    for seed in range(5):
        _, course = fit_mixture(codes, 5, torch.full((3,), 1e-9), torch.Generator().manual_seed(seed))
        assert len(course) > 3
        assert (np.diff(course) > -1e-9).all()


def test_the_fit_is_that_of_scikit_learn() -> None:
    codes = three_groups(900)
    (weights, means, scales), course = fit_mixture(
        codes, 3, torch.full((3,), 1e-6, dtype=torch.float64), torch.Generator().manual_seed(0)
    )
    theirs = GaussianMixture(3, tol=1e-7, max_iter=500, reg_covar=1e-6, n_init=3, random_state=0).fit(codes)
    ours, order = weights.argsort(), theirs.weights_.argsort()
    assert course[-1] == pytest.approx(theirs.score(codes), abs=1e-4)
    np.testing.assert_allclose(weights[ours], theirs.weights_[order], atol=2e-3)
    np.testing.assert_allclose(means[ours], theirs.means_[order], atol=2e-2)
    np.testing.assert_allclose((scales @ scales.mT)[ours], theirs.covariances_[order], atol=5e-2)
    density = Mixture(mixture_state(weights, means, scales)).log_density(codes)
    np.testing.assert_allclose(density, theirs.score_samples(codes), atol=2e-2)


@pytest.mark.parametrize(
    "codes",
    [torch.zeros(8, 3), torch.eye(3)[[0, 1] * 4], torch.randn(4, 3), torch.full((5, 1), 1e6)],
    ids=["all alike", "two distinct", "few", "far away"],
)
def test_codes_that_hardly_differ_still_have_a_finite_density(codes: Tensor) -> None:
    codes = codes.double()
    parts, course = fit_mixture(codes, 3, ridge_of(codes, 1e-3), torch.Generator().manual_seed(0))
    assert np.isfinite(course).all()
    fitted = Mixture(mixture_state(*parts))
    assert torch.isfinite(fitted.log_density(codes)).all()
    assert torch.isfinite(fitted.draw(20, torch.Generator().manual_seed(0))).all()


def test_a_spread_is_the_cholesky_factor_of_the_covariance_or_deviations_where_codes_are_wide() -> None:
    codes = three_groups(500)
    factor = spread(codes, 0.0)
    torch.testing.assert_close(factor @ factor.mT, codes.mT.cov(correction=0))
    wide = torch.randn(50, 600, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(spread(wide, 0.0), wide.std(0, correction=0))


def test_codes_drawn_as_they_are_have_no_density() -> None:
    state = mixture_state(torch.tensor([0.5, 0.5]), torch.eye(2), torch.zeros(1, 2))
    exact = Mixture(state)
    assert {tuple(row) for row in exact.draw(20, torch.Generator().manual_seed(0)).tolist()} == {(1, 0), (0, 1)}
    with pytest.raises(UsageError, match="no density"):
        exact.log_density(torch.eye(2))


def test_parts_that_do_not_fit_together_are_refused() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        Mixture(mixture_state(torch.ones(2), torch.zeros(3, 2), torch.ones(1, 2)))
