"""Penalties against torch.distributions and against Jacobians by torch.func."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Bernoulli, kl_divergence
from torch.func import jacrev

from hourglass.core.bottlenecks import Bottleneck, Gaussian, Plain
from hourglass.core.corruptions import NoCorruption, ToldMasking
from hourglass.core.kinds import build, experiment
from hourglass.core.model import Autoencoder, Code, Trace, union
from hourglass.core.networks.dense import Dense
from hourglass.core.penalties import Contraction, KLSparsity, L1Activity, L2Activity, Penalty, kl_sparsity
from hourglass.data.samples import Layout

SIZE = 6


def network(
    penalty: Penalty,
    layers: tuple[int, ...] = (),
    code: Bottleneck | None = None,
    told: bool = False,
    activation: str = "tanh",
) -> Autoencoder:
    """A small network in float64 with one penalty."""
    torch.manual_seed(0)
    plan = experiment().replace(
        network=Dense(layers=layers, activation=activation),
        corruption=ToldMasking(plain=0.0) if told else NoCorruption(),
        bottleneck=code or Plain(size=3, activation="sigmoid"),
        penalties=(penalty,),
    )
    return build(plan, Layout((SIZE,))).double()


def samples(rows: int = 8) -> Tensor:
    x = torch.randn(rows, SIZE, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    x[0, 1] = torch.nan
    return x


def penalised(model: Autoencoder, seed: int = 2) -> tuple[Tensor, Trace]:
    """The penalty's term on the samples, and the trace it was computed on."""
    generator = torch.Generator().manual_seed(seed)
    trace = model(samples(), corrupt=True, generator=generator)
    return model.penalties[0](model, trace, generator), trace


def frobenius(model: Autoencoder, trace: Trace) -> Tensor:
    """Mean over samples of the squared norm of the encoder's Jacobian; rows are independent, so a sum will do."""

    def codes(seen: Tensor) -> Tensor:
        value: Tensor = model.bottleneck(model.encoder(seen, union(trace.hidden, trace.missing)), None).value
        return value.sum(0)

    jacobian: Tensor = jacrev(codes)(trace.seen)
    return jacobian.square().sum() / len(trace.seen)


def gradients(model: Autoencoder, term: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(term, list(model.encoder.parameters()), materialize_grads=True))


def of_code(settings: Penalty, code: Tensor) -> Tensor:
    """The penalty of a given code."""
    x = torch.zeros(len(code), 1)
    term: Tensor = settings.build(code.shape[1], 1)(None, Trace(x, None, None, x, Code(code), x), None)
    return term


@pytest.mark.parametrize("rho", [0.05, 0.5, 0.9])
def test_kl_sparsity_is_that_of_torch_distributions(rho: float) -> None:
    code = torch.rand(20, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = kl_divergence(Bernoulli(torch.full((4,), rho, dtype=torch.float64)), Bernoulli(code.mean(0))).sum()
    torch.testing.assert_close(kl_sparsity(code, rho), expected)
    torch.testing.assert_close(of_code(KLSparsity(weight=3.0, rho=rho), code), 3.0 * expected)


def test_kl_sparsity_is_0_at_rho_and_finite_for_dead_units() -> None:
    assert kl_sparsity(torch.full((5, 3), 0.05), 0.05).item() == pytest.approx(0, abs=1e-6)
    assert torch.isfinite(kl_sparsity(torch.zeros(5, 3), 0.05))
    assert torch.isfinite(kl_sparsity(torch.ones(5, 3), 0.05))


def test_l1_and_l2_sum_over_units_and_average_over_samples() -> None:
    code = torch.tensor([[1.0, -2.0], [3.0, 4.0]])
    assert of_code(L1Activity(weight=0.5), code).item() == pytest.approx(0.5 * (3 + 7) / 2)
    assert of_code(L2Activity(weight=0.5), code).item() == pytest.approx(0.5 * (5 + 25) / 2)


ONE_LAYER: dict[str, dict[str, Any]] = {
    "sigmoid": {"code": Plain(size=3, activation="sigmoid")},
    "tanh": {"code": Plain(size=3, activation="tanh")},
    "silu": {"code": Plain(size=3, activation="silu")},
    "linear": {"code": Plain(size=3)},
    "two heads": {"code": Gaussian(size=3)},
    "told": {"told": True},
}


@pytest.mark.parametrize("options", ONE_LAYER.values(), ids=ONE_LAYER)
def test_contraction_of_one_layer_is_the_jacobians_norm(options: dict[str, Any]) -> None:
    model = network(Contraction(weight=1.0), **options)
    term, trace = penalised(model)
    expected = frobenius(model, trace) / SIZE
    torch.testing.assert_close(term, expected)
    for ours, theirs in zip(gradients(model, term), gradients(model, expected), strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("activation", ["tanh", "relu", "gelu"])
@pytest.mark.parametrize("told", [False, True])
def test_contraction_of_a_deep_encoder_is_exact_for_one_code_number(activation: str, told: bool) -> None:
    """One code number: every sign vector is +1 or -1, so that the estimate has no variance."""
    model = network(Contraction(weight=1.0), (5, 4), Plain(size=1, activation="tanh"), told, activation)
    term, trace = penalised(model)
    expected = frobenius(model, trace) / SIZE
    torch.testing.assert_close(term, expected)
    for ours, theirs in zip(gradients(model, term), gradients(model, expected), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_contraction_of_a_deep_encoder_is_unbiased() -> None:
    model = network(Contraction(weight=1.0, probes=1_000), (5,))
    term, trace = penalised(model)
    expected = frobenius(model, trace) / SIZE
    torch.testing.assert_close(term, expected, rtol=0.03, atol=0)
    ours = torch.cat([each.flatten() for each in gradients(model, term)])
    theirs = torch.cat([each.flatten() for each in gradients(model, expected)])
    assert (ours - theirs).norm() < 0.05 * theirs.norm()


@pytest.mark.parametrize("layers", [(), (5,)], ids=["exact", "estimate"])
def test_contraction_works_where_gradients_are_off(layers: tuple[int, ...]) -> None:
    model = network(Contraction(weight=1.0), layers)
    with torch.no_grad():
        quiet, _ = penalised(model)
    assert not quiet.requires_grad
    torch.testing.assert_close(quiet, penalised(model)[0].detach())


def test_contraction_repeats_with_the_generators_seed() -> None:
    model = network(Contraction(weight=1.0), (5,))
    assert torch.equal(penalised(model, 3)[0], penalised(model, 3)[0])
    assert not torch.equal(penalised(model, 3)[0], penalised(model, 4)[0])
