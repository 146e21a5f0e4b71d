"""Likelihoods against models whose log p(x) is known: linear-Gaussian ones, and one code number on a grid."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Bernoulli, MultivariateNormal, Normal

from hourglass.core.bottlenecks import Gaussian
from hourglass.core.checkpoints import load_model, save_model
from hourglass.core.chunks import in_chunks
from hourglass.core.corruptions import Binarise
from hourglass.core.fitting import fit_model
from hourglass.core.kinds import build, experiment
from hourglass.core.likelihood import ReconstructionProbability, log_likelihood
from hourglass.core.losses import Bernoulli as BernoulliLoss
from hourglass.core.losses import Loss, NormalLikelihood, Squared
from hourglass.core.model import Autoencoder, total
from hourglass.core.networks.dense import Dense
from hourglass.data.samples import Layout
from hourglass.errors import UsageError
from hourglass.settings import Detection, Training

SIZE, LATENT = 5, 2


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def network(draws: int = 1, loss: Loss | None = None, latent: int = LATENT) -> Autoencoder:
    """One linear layer to the code and one back, in float64."""
    torch.manual_seed(0)
    bottleneck = Gaussian(size=latent, draws=draws, warm_up=0.0)
    plan = experiment(kind="plain").replace(
        network=Dense(layers=()), bottleneck=bottleneck, loss=loss or NormalLikelihood()
    )
    return build(plan, Layout((SIZE,))).double().eval()


def linear_gaussian(draws: int = 1, off: float = 0.0) -> Autoencoder:
    """p(x | z) = N(W z + b, v I) with orthogonal columns, so that the posterior has independent numbers.

    With `off` 0 the encoder gives this posterior exactly; otherwise its deviations are that much too wide (in logs).
    """
    model = network(draws)
    with torch.no_grad():
        columns = torch.linalg.qr(torch.randn(SIZE, LATENT, generator=seeded(1), dtype=torch.float64))[0]
        weight, bias = columns * torch.tensor([1.5, 0.7]), torch.linspace(-1, 1, SIZE, dtype=torch.float64)
        model.loss.slow_log_variance.fill_(-0.1)
        variance = model.loss.log_variance().exp()
        model.decoder.stack[0].weight.copy_(weight)
        model.decoder.stack[0].bias.copy_(bias)
        precision = weight.square().sum(0) / variance + 1
        model.encoder.stack[0].weight.zero_()
        model.encoder.stack[0].weight[:LATENT] = (weight / variance / precision).T
        model.encoder.stack[0].bias[:LATENT] = -(weight / variance / precision).T @ bias
        model.encoder.stack[0].bias[LATENT:] = -precision.log() + 2 * off
    return model


def samples(rows: int = 6) -> Tensor:
    return 1.5 * torch.randn(rows, SIZE, generator=seeded(2), dtype=torch.float64)


def exact(model: Autoencoder, x: Tensor) -> Tensor:
    """Log p(x) of the cells that are there: N(b, W W^T + v I) on them."""
    weight, bias = model.decoder.stack[0].weight.detach(), model.decoder.stack[0].bias.detach()
    covariance = weight @ weight.T + model.loss.log_variance().exp().detach() * torch.eye(SIZE, dtype=torch.float64)
    found = []
    for row in x:
        there = ~row.isnan()
        density = MultivariateNormal(bias[there], covariance[there][:, there])
        found.append(density.log_prob(row[there]))
    return torch.stack(found)


@pytest.mark.parametrize("draws", [1, 7])
def test_one_draw_from_the_true_posterior_is_enough(draws: int) -> None:
    model = linear_gaussian()
    torch.testing.assert_close(log_likelihood(model, samples(), draws, seeded()), exact(model, samples()))


def test_many_draws_from_another_posterior_come_near() -> None:
    model = linear_gaussian(off=0.3)
    found = log_likelihood(model, samples(), 2_000, seeded())
    torch.testing.assert_close(found, exact(model, samples()), atol=0.05, rtol=0)
    assert torch.equal(found, log_likelihood(model, samples(), 2_000, seeded()))


def test_missing_cells_are_left_out() -> None:
    model, x = linear_gaussian(off=0.3), samples()
    x[0, 0] = x[1, 1:4] = torch.nan
    torch.testing.assert_close(log_likelihood(model, x, 6_000, seeded()), exact(model, x), atol=0.2, rtol=0)


def test_a_row_without_any_value_has_likelihood_1() -> None:
    x = torch.full((1, SIZE), torch.nan, dtype=torch.float64)
    assert log_likelihood(linear_gaussian(off=1.2), x, 3_000, seeded()).item() == pytest.approx(0, abs=0.2)


def test_the_bernoulli_likelihood_is_the_integral_over_the_code() -> None:
    model = network(loss=BernoulliLoss(), latent=1)
    with torch.no_grad():
        model.decoder.stack[0].weight.mul_(3)
    x = (torch.rand(8, SIZE, generator=seeded(3)) < 0.5).double()
    grid = torch.linspace(-8, 8, 4_001, dtype=torch.float64).unsqueeze(1)
    logits = model.decoder(grid).detach()
    joint = Bernoulli(logits=logits.unsqueeze(1)).log_prob(x).sum(2) + Normal(0.0, 1.0).log_prob(grid)
    expected = joint.logsumexp(0) + np.log(16 / 4_000)
    torch.testing.assert_close(log_likelihood(model, x, 4_000, seeded()), expected, atol=0.05, rtol=0)


@pytest.mark.parametrize("draws", [1, 5])
def test_the_objective_is_the_negative_log_likelihood_where_the_posterior_is_true(draws: int) -> None:
    """Every draw then weighs the same, so one or five give log p(x); one, with its KL in closed form, on average."""
    model, x = linear_gaussian(draws), samples(3).repeat(1 if draws > 1 else 20_000, 1)
    objective = total(model.terms(x, seeded())).item() * SIZE
    assert objective == pytest.approx(-exact(model, samples(3)).mean().item(), abs=1e-9 if draws > 1 else 0.05)


def test_the_importance_weighted_objective_is_that_of_torch_distributions() -> None:
    model, x = linear_gaussian(4, off=0.5), samples()
    trace = model(x, corrupt=True, generator=seeded(9))
    code = trace.code.value.reshape(len(x), 4, LATENT)
    mean, log_variance = model.encoder(x, None).unsqueeze(1).chunk(2, 2)
    noise = (0.5 * model.loss.log_variance()).exp()
    weights = (
        Normal(model.decoder(code.flatten(0, 1)).reshape(len(x), 4, SIZE), noise).log_prob(x.unsqueeze(1)).sum(2)
        + Normal(0.0, 1.0).log_prob(code).sum(2)
        - Normal(mean, (0.5 * log_variance).exp()).log_prob(code).sum(2)
    )
    terms = model.terms(x, seeded(9))
    assert list(terms) == ["reconstruction", "kl", "importance"]
    torch.testing.assert_close(total(terms), -(weights.logsumexp(1) - np.log(4)).mean() / SIZE)
    # without the last term it is the ELBO, its KL drawn too
    torch.testing.assert_close(terms["reconstruction"] + terms["kl"], -weights.mean() / SIZE)
    assert terms["importance"] < 0


def test_the_bound_rises_with_the_draws_towards_the_likelihood() -> None:
    x = samples(4)
    objectives = []
    for draws in (1, 2, 10, 100):
        rows = x.repeat(20_000 // draws, 1)
        objectives.append(total(linear_gaussian(draws, off=0.8).terms(rows, seeded())).item() * SIZE)
    truth = -exact(linear_gaussian(), x).mean().item()
    assert objectives[0] > objectives[1] + 0.1 > objectives[2] + 0.1 > objectives[3]
    assert objectives[3] == pytest.approx(truth, abs=0.05)


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        ({"loss": Squared()}, "squared loss is no log-density"),
        ({"loss": BernoulliLoss()}, "0 and 1"),
        ({"kind": "plain", "loss": NormalLikelihood()}, "not drawn"),
    ],
)
def test_what_has_no_likelihood_is_refused(plan: dict[str, object], words: str) -> None:
    model = build(experiment(kind=plan.pop("kind", "variational")).replace(**plan), Layout((SIZE,)))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=words):
        log_likelihood(model, torch.full((2, SIZE), 0.5), 2)


def scorer(model: Autoencoder) -> ReconstructionProbability:
    return ReconstructionProbability(ReconstructionProbability.learn(model, samples(2), 0))


def test_the_score_is_the_negative_log_likelihood_a_cell_but_for_a_constant() -> None:
    model, x = linear_gaussian().eval(), samples()
    constant = model.loss.constant().sum().detach()
    expected = (-exact(model, x) - constant) / SIZE
    torch.testing.assert_close(scorer(model)(model, x), expected.float())
    x[0, 1:] = torch.nan
    x[1] = torch.nan
    score = scorer(model)(model, x)
    assert torch.isfinite(score).all()
    assert (score >= 0).all()


def test_the_scorer_is_fitted_saved_and_finds_what_is_odd(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(300, 2)) @ random.normal(size=(2, 6)) + 0.1 * random.normal(size=(300, 6))
    plan = experiment("table", "variational").replace(
        training=Training(epochs=20, batch_size=32, learning_rate=0.01),
        detection=Detection(scorers=("error", "reconstruction-probability")),
    )
    model = fit_model(x, plan, calibrate=False)
    packed = model.format.pack(np.concatenate([x[:100], x[:100] + random.normal(size=(100, 6))]))
    score = model.score(packed)
    assert np.isfinite(score).all()
    assert np.median(score[100:]) > np.quantile(score[:100], 0.9)
    loaded = load_model(save_model(model, tmp_path / "model.safetensors"))
    np.testing.assert_array_equal(loaded.score(packed), score)


def test_codes_that_are_not_drawn_have_no_reconstruction_probability() -> None:
    plan = experiment("table", "plain").replace(
        training=Training(epochs=1), detection=Detection(scorers=("reconstruction-probability",))
    )
    with pytest.raises(UsageError, match="--kind variational"):
        fit_model(np.random.default_rng(0).normal(size=(40, 6)), plan, calibrate=False)


def test_a_rows_score_does_not_depend_on_its_batch() -> None:
    torch.manual_seed(0)
    model = build(experiment(kind="variational"), Layout((140,))).eval()
    x = torch.randn(700, 140, generator=seeded()).numpy()
    state = ReconstructionProbability.learn(model, torch.from_numpy(x), 0)
    score = partial(in_chunks, partial(ReconstructionProbability(state), model), device=torch.device("cpu"))
    whole = score(x)
    order = np.random.default_rng(0).permutation(700)
    np.testing.assert_allclose(score(x[order]), whole[order], rtol=1e-7)
    for size in (1, 7, 512):
        np.testing.assert_allclose(score(x[-size:]), whole[-size:], rtol=1e-7)


def test_binary_draws_of_numbers_beyond_0_and_1_are_refused() -> None:
    plan = experiment("table", "plain").replace(corruption=Binarise())
    with pytest.raises(UsageError, match="binarise takes numbers from 0 to 1"):
        fit_model(np.random.default_rng(0).normal(size=(40, 6)), plan, calibrate=False)
