"""Penalties against torch.distributions and against Jacobians by torch.func."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Bernoulli, kl_divergence
from torch.func import jacrev

from hourglass.core.bottlenecks import Bottleneck, Gaussian, Plain, TopK
from hourglass.core.corruptions import NoCorruption, ToldMasking
from hourglass.core.kinds import build, experiment
from hourglass.core.model import Autoencoder, Code, Trace, union
from hourglass.core.networks.dense import Dense
from hourglass.core.penalties import Contraction, DeadUnits, KLSparsity, L1Activity, L2Activity, Penalty, kl_sparsity
from hourglass.core.training import train
from hourglass.core.units import dead_units
from hourglass.data.samples import Layout
from hourglass.settings import Training

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


def sparse(penalty: Penalty) -> Autoencoder:
    """Two of eight units stay."""
    return network(penalty, code=TopK(size=8, k=2)).train()


def dead_term(model: Autoencoder) -> tuple[Tensor, Trace]:
    trace = model(samples(), corrupt=True, generator=torch.Generator())
    return model.penalties[0](model, trace, None), trace


def test_units_that_do_not_fire_are_counted_while_training() -> None:
    model = sparse(DeadUnits(steps=3))
    with torch.no_grad():
        model.encoder.stack[0].bias[:] = torch.tensor([9.0, 9, 0, 0, 0, 0, 0, 0])
        model.encoder.stack[0].weight.mul_(0.01)
    for step in (1, 2, 3):
        dead_term(model)
        assert model.penalties[0].quiet.tolist() == [0, 0, *[step] * 6]
    dead_term(model.eval())
    with torch.no_grad():
        dead_term(model.train())
    assert model.penalties[0].quiet.tolist() == [0, 0, *[3] * 6]


def test_dead_units_reconstruct_what_the_others_leave_over() -> None:
    """For a linear decoder W z + b: W of the k largest dead numbers against x - output, and no other column learns."""
    model = sparse(DeadUnits(steps=5, k=2, weight=0.5)).eval()
    dead = torch.tensor([False, True, False, True, True, False, False, False])
    model.penalties[0].quiet.copy_(torch.where(dead, 5, 4))
    term, trace = dead_term(model)
    weight = model.decoder.stack[0].weight
    errors = []
    for row in range(len(trace.x)):
        offered = trace.code.offered[row].detach()  # type: ignore[index]
        chosen = sorted((1, 3, 4), key=lambda unit: -float(offered[unit]))[:2]
        given = sum(weight[:, unit] * offered[unit] for unit in chosen)
        there = ~trace.missing[row]  # type: ignore[index]
        errors.append((trace.x[row] - trace.output[row] - given).square() * there)
    torch.testing.assert_close(term, 0.5 * torch.stack(errors).mean())
    (gradient,) = torch.autograd.grad(term, weight)
    assert (gradient[:, ~dead] == 0).all()
    assert (gradient[:, dead] != 0).any()


def test_without_dead_units_there_is_nothing_to_pay() -> None:
    term, _ = dead_term(sparse(DeadUnits(steps=5)).eval())
    assert term.item() == 0


def test_dead_units_come_back() -> None:
    """Two units can serve all samples, so the others die; paid for the rest, they fire."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(400, 8, generator=generator) @ torch.randn(8, SIZE, generator=generator)

    def fired(seed: int, *penalties: Penalty) -> int:
        torch.manual_seed(seed)
        plan = experiment(kind="top-k").replace(
            network=Dense(layers=()), bottleneck=TopK(size=40, k=2), penalties=penalties
        )
        model = build(plan, Layout((SIZE,)))
        with torch.no_grad():
            model.encoder.stack[0].bias[20:] = -20.0
        train(model, x, Training(epochs=15, batch_size=40, learning_rate=0.003, validation=0))
        return int((~dead_units(model, x)).sum())

    revived = [fired(seed, DeadUnits(steps=5, weight=1.0)) - fired(seed) for seed in range(4)]
    assert sum(revived) > 4 * 3


def test_dead_units_do_not_choose_the_best_epoch() -> None:
    (player,) = sparse(DeadUnits()).players()
    assert player.contested == {"dead-units"}
    (player,) = network(L1Activity()).players()
    assert not player.contested
