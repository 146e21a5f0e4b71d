"""Priors: each is fitted to the codes of a model, draws codes like them, is saved with the model, and says when it
cannot be had."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from hourglass.core.bottlenecks import Gaussian
from hourglass.core.checkpoints import load_model, model_bytes, model_from_bytes, save_model
from hourglass.core.fitted import FittedModel
from hourglass.core.fitting import fit_model
from hourglass.core.kinds import experiment
from hourglass.core.losses import Squared
from hourglass.core.priors import (
    Empirical,
    Evidence,
    Flow,
    GaussianMixture,
    Normal,
    Prior,
    Vamp,
    fit_prior,
    posterior_of,
    pulled_to_normal,
)
from hourglass.data.formats import Data
from hourglass.errors import UsageError
from hourglass.settings import Training

Make = Callable[..., Data]
Fit = Callable[..., FittedModel]
EVERY: list[Prior] = [
    Normal(),
    GaussianMixture(components=3),
    Empirical(),
    Vamp(components=8, epochs=3),
    Flow(epochs=3),
]
NAMES = [prior.name for prior in EVERY]


@pytest.fixture(scope="module")
def clusters() -> np.ndarray:
    """Rows (300, 6) of three tight clusters, far from one another."""
    random = np.random.default_rng(0)
    centres = np.random.default_rng(1).normal(size=(3, 6)) * 3
    return centres[random.integers(3, size=300)] + 0.2 * random.normal(size=(300, 6))


@pytest.fixture(scope="module")
def variational(clusters: np.ndarray) -> FittedModel:
    plan = experiment("table", "deep").replace(training=Training(epochs=30))
    plan = plan.replace(bottleneck=Gaussian(size=2, beta=0.02), loss=Squared())
    return fit_model(clusters, plan, calibrate=False)


def codes_of(model: FittedModel, data: Data) -> np.ndarray:
    return model.encode(data).astype(np.float64)


# Each one's own right answer


def test_a_normal_prior_is_the_mean_and_covariance_of_the_codes(fitted: Fit, make: Make) -> None:
    model, data = fitted("plane"), make("plane", 80)
    codes = codes_of(model, data)
    prior = model.with_prior(Normal(), data).prior
    assert prior is not None
    expected = multivariate_normal(codes.mean(0), np.cov(codes.T, bias=True))
    np.testing.assert_allclose(prior.log_density(codes), expected.logpdf(codes), rtol=1e-3)
    draws = prior.draw(20_000, seed=1)
    np.testing.assert_allclose(draws.mean(0), codes.mean(0), atol=5 * codes.std(0).max() / 140)
    np.testing.assert_allclose(np.cov(draws.T), np.cov(codes.T), rtol=0.1, atol=0.05 * np.cov(codes.T).max())


def test_it_is_the_standard_one_where_training_pulled_the_codes_there(variational: FittedModel) -> None:
    prior = variational.prior
    assert prior is not None
    codes = np.random.default_rng(0).normal(size=(50, 2))
    np.testing.assert_allclose(prior.log_density(codes), multivariate_normal(np.zeros(2)).logpdf(codes), rtol=1e-6)


@pytest.mark.parametrize(
    ("kind", "pulled"),
    [
        ("plain", False),
        ("variational", True),
        ("contractive", False),
        ("denoising+variational", True),
        ("wasserstein", True),
        ("adversarial", True),
        ("info-variational", True),
        ("vector-quantised", False),
    ],
)
def test_which_codes_are_pulled_is_told_by_their_parts(kind: str, pulled: bool) -> None:
    assert experiment("table", kind).standard_codes is pulled


def test_a_weight_of_nothing_pulls_nothing() -> None:
    plan = experiment("table", "variational")
    assert not pulled_to_normal(plan.bottleneck.replace(beta=0), plan.penalties)


@pytest.mark.parametrize("prior", EVERY[1:], ids=NAMES[1:])
def test_learned_priors_give_the_codes_more_density_than_the_standard_one(
    prior: Prior, variational: FittedModel, clusters: np.ndarray
) -> None:
    codes = codes_of(variational, clusters)
    learned = variational.with_prior(prior.replace(**({"epochs": 15} if hasattr(prior, "epochs") else {})), clusters)
    standard = variational.with_prior(Normal(), clusters)
    assert learned.prior is not None
    assert standard.prior is not None
    assert learned.prior.log_density(codes).mean() > standard.prior.log_density(codes).mean() + 0.2


def test_an_empirical_prior_keeps_mean_and_covariance_and_without_noise_the_codes(fitted: Fit, make: Make) -> None:
    model, data = fitted("plane"), make("plane", 80)
    codes = codes_of(model, data)
    smooth, exact = (model.with_prior(Empirical(noise=noise), data).prior for noise in (0.5, 0.0))
    assert smooth is not None
    assert exact is not None
    draws = smooth.draw(40_000)
    np.testing.assert_allclose(draws.mean(0), codes.mean(0), atol=5 * codes.std(0).max() / 200)
    np.testing.assert_allclose(np.cov(draws.T), np.cov(codes.T), rtol=0.1, atol=0.05 * np.cov(codes.T).max())
    nearest = np.abs(exact.draw(30)[:, None] - codes).max(2).min(1)
    assert nearest.max() < 1e-5
    with pytest.raises(UsageError, match="no density"):
        exact.log_density(codes)


def test_at_most_so_many_codes_are_kept(fitted: Fit, make: Make) -> None:
    prior = fitted("plane").with_prior(Empirical(most=7), make("plane", 80)).prior
    assert prior is not None
    assert prior.state["means"].shape[0] == 7


def test_a_vamp_prior_is_the_mixture_of_what_the_encoder_makes_of_its_inputs(
    variational: FittedModel, clusters: np.ndarray
) -> None:
    """Before any step of training, its pseudo-inputs are training samples."""
    samples = torch.from_numpy(variational.format.pack(clusters).samples)
    still = Vamp(components=300, epochs=1)
    evidence = Evidence(variational.network, samples, torch.zeros(1, 2), pulled=True, seed=0)
    variational.network.zero_grad()
    state = still.fit(evidence)
    given = posterior_of(variational.network, samples)
    assert state["means"].shape == given.mean.shape
    assert (state["means"] - given.mean).abs().max() < 0.1 * given.mean.std()
    torch.testing.assert_close(state["scales"], (0.5 * given.log_variance).exp(), rtol=0.2, atol=0.02)
    assert all(weight.grad is None and weight.requires_grad for weight in variational.network.parameters())


# What all of them keep to


@pytest.mark.parametrize("prior", EVERY, ids=NAMES)
def test_the_same_seed_gives_the_same_bits_and_the_callers_draws_go_on(
    prior: Prior, variational: FittedModel, clusters: np.ndarray
) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = variational.with_prior(prior, clusters)
    second = variational.with_prior(prior, clusters)
    same = first.generate(20, seed=3), second.generate(20, seed=3), first.generate(20, seed=4)
    assert torch.equal(torch.rand(3), expected)
    np.testing.assert_array_equal(same[0], same[1])
    assert not np.array_equal(same[0], same[2])


@pytest.mark.parametrize("prior", EVERY, ids=NAMES)
def test_a_prior_is_saved_with_its_model(
    prior: Prior, variational: FittedModel, clusters: np.ndarray, tmp_path: Path
) -> None:
    model = variational.with_prior(prior, clusters)
    loaded = load_model(save_model(model, tmp_path / "model"))
    assert loaded.experiment.prior == prior
    np.testing.assert_array_equal(loaded.generate(15, seed=2), model.generate(15, seed=2))
    np.testing.assert_array_equal(loaded.latent_plane(4), model.latent_plane(4))


def test_a_model_that_was_saved_without_a_prior_still_loads(fitted: Fit, make: Make) -> None:
    model = fitted("plane")
    old = FittedModel(**{name: getattr(model, name) for name in model.__dataclass_fields__ if name != "prior"})
    loaded = model_from_bytes(model_bytes(old))
    with pytest.raises(UsageError, match="without a prior") as caught:
        loaded.generate(3)
    assert "--data" in caught.value.how
    assert loaded.with_prior(Normal(), make("plane", 80)).generate(3).shape == (3, 6)


@pytest.mark.parametrize("prior", EVERY, ids=NAMES)
def test_settings_survive_as_json(prior: Prior) -> None:
    assert Prior.from_json(json.loads(json.dumps(prior.as_json()))) == prior


def test_a_prior_is_named_like_any_part(make: Make) -> None:
    plan = experiment("table", "plain").replace(training=Training(epochs=2), prior="mixture")
    assert plan.prior == GaussianMixture()
    assert fit_model(make("plane", 60), plan, calibrate=False).generate(4).shape == (4, 6)


# What cannot be


def test_vamp_is_refused_before_training_where_codes_are_not_drawn(make: Make) -> None:
    plan = experiment("table", "plain").replace(prior=Vamp())

    def trained(*_: object) -> None:
        raise AssertionError("trained first")

    with pytest.raises(UsageError, match="prior vamp") as caught:
        fit_model(make("plane", 60), plan, report=trained)
    assert "variational" in caught.value.how


def test_a_flow_needs_two_numbers_to_couple(make: Make) -> None:
    plan = experiment("table", "plain").replace(training=Training(epochs=1))
    model = fit_model(make("plane", 60), plan.replace(bottleneck=plan.bottleneck.replace(size=1)), calibrate=False)
    with pytest.raises(UsageError, match="2 to 512"):
        fit_prior(Flow(), model.network, model.format.pack(make("plane", 60)).samples, False, 0)


@pytest.mark.parametrize("count", [0, -3])
def test_nothing_is_not_generated(fitted: Fit, count: int) -> None:
    with pytest.raises(UsageError, match="at least 1"):
        fitted("plane").generate(count)
