"""Restricted Boltzmann machines against machines so small that every state can be counted."""

import itertools

import pytest
import torch
from torch import Tensor

from hourglass.core.boltzmann import BoltzmannMachine
from hourglass.core.training import train
from hourglass.settings import Training

VISIBLE, HIDDEN = 6, 4


def states(units: int) -> Tensor:
    """Every state of binary units, one a row."""
    return torch.tensor(list(itertools.product([0.0, 1.0], repeat=units)))


def machine(steps: int = 1, gaussian: bool = False, scale: float = 0.7) -> BoltzmannMachine:
    torch.manual_seed(0)
    made = BoltzmannMachine(VISIBLE, HIDDEN, gaussian=gaussian, steps=steps)
    for weight in made.parameters():
        torch.nn.init.normal_(weight, std=scale)
    return made


def energy(made: BoltzmannMachine, v: Tensor, h: Tensor) -> Tensor:
    """E(v, h) of every pair, as the formula has it. Shape (len(v), len(h))."""
    held = (v - made.visible_bias).square().sum(1) / 2 if made.gaussian else -(v @ made.visible_bias)
    return held[:, None] - (h @ made.hidden_bias)[None] - v @ made.weight.T @ h.T


def data() -> Tensor:
    return states(VISIBLE)[torch.randint(2**VISIBLE, (8,), generator=torch.Generator().manual_seed(1))]


def gradient(made: BoltzmannMachine, value: Tensor) -> Tensor:
    return torch.cat([each.flatten() for each in torch.autograd.grad(value, list(made.parameters()))])


def sampled_gradient(made: BoltzmannMachine, v: Tensor, repeats: int) -> Tensor:
    """The gradient that the loop would follow, averaged over `repeats` chains from each row."""
    terms = made.terms(v.repeat(repeats, 1), torch.Generator().manual_seed(2))
    return gradient(made, terms["contrastive"])


@pytest.mark.parametrize("gaussian", [False, True], ids=["bernoulli", "gaussian"])
def test_the_free_energy_sums_over_every_hidden_state(gaussian: bool) -> None:
    made = machine(gaussian=gaussian)
    v = torch.randn(20, VISIBLE) if gaussian else states(VISIBLE)
    counted = -torch.logsumexp(-energy(made, v, states(HIDDEN)), 1)
    torch.testing.assert_close(made.free_energy(v), counted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("gaussian", [False, True], ids=["bernoulli", "gaussian"])
def test_codes_are_the_probabilities_of_the_hidden_units(gaussian: bool) -> None:
    made, h = machine(gaussian=gaussian), states(HIDDEN)
    v = torch.randn(20, VISIBLE)
    counted = torch.softmax(-energy(made, v, h), 1) @ h
    torch.testing.assert_close(made.encode(v), counted, rtol=1e-5, atol=1e-5)


def test_one_step_of_the_chain_gives_the_gradient_that_counting_gives() -> None:
    """CD-1: the chain's end is averaged over all states, by the probabilities of going up and coming down."""
    made, v = machine(), data()
    upwards = torch.softmax(-energy(made, v, states(HIDDEN)), 1)
    downwards = torch.softmax(-energy(made, states(VISIBLE), states(HIDDEN)), 0).T
    ends = (upwards @ downwards).mean(0).detach()
    exact = gradient(made, made.free_energy(v).mean() - ends @ made.free_energy(states(VISIBLE)))
    torch.testing.assert_close(sampled_gradient(made, v, 60_000), exact, rtol=0, atol=4e-3)


def test_a_long_chain_gives_the_gradient_of_the_likelihood() -> None:
    made, v = machine(steps=60), data()
    log_z = torch.logsumexp(-made.free_energy(states(VISIBLE)), 0)
    exact = gradient(made, made.free_energy(v).mean() + log_z)
    torch.testing.assert_close(sampled_gradient(made, v, 12_000), exact, rtol=0, atol=8e-3)
    short = sampled_gradient(machine(), v, 12_000)
    assert (short - exact).abs().max() > 0.05  # which CD-1 does not


def test_the_chain_of_gaussian_units_draws_around_their_mean() -> None:
    made = machine(gaussian=True)
    with torch.no_grad():
        made.weight.zero_()
    ends = made.chain(torch.zeros(40_000, VISIBLE), torch.Generator().manual_seed(0))
    torch.testing.assert_close(ends.mean(0), made.visible_bias.detach(), rtol=0, atol=0.02)
    torch.testing.assert_close(ends.std(0), torch.ones(VISIBLE), rtol=0, atol=0.02)


def patterns(rows: int, gaussian: bool) -> Tensor:
    """Two patterns of twelve units, a twentieth of which is wrong; or the same with normal noise and mean 0."""
    generator = torch.Generator().manual_seed(5)
    pattern = torch.tensor([[1.0, 0.0] * 6, [1.0] * 6 + [0.0] * 6])[torch.randint(2, (rows,), generator=generator)]
    if gaussian:
        return 2 * pattern - 1 + 0.3 * torch.randn(rows, 12, generator=generator)
    wrong = torch.rand(rows, 12, generator=generator) < 0.05
    return (pattern - wrong.float()).abs()


@pytest.mark.parametrize("gaussian", [False, True], ids=["bernoulli", "gaussian"])
def test_training_makes_data_likelier_than_noise(gaussian: bool) -> None:
    torch.manual_seed(0)
    made, x = BoltzmannMachine(12, 8, gaussian=gaussian), patterns(400, gaussian)
    columns = [column[torch.randperm(len(column))] for column in x[300:].T]
    noise = torch.stack(columns, 1)  # each unit as often on as in the data, but none knows of another
    assert made.free_energy(x[300:]).mean() > made.free_energy(noise).mean() - 0.1
    history = train(made, x[:300], Training(epochs=60, batch_size=20, learning_rate=0.02), x[300:])
    assert (made.free_energy(x[300:]).mean() < made.free_energy(noise).mean() - 2.0).item()
    assert history.validation[history.best_epoch - 1]["reconstruction"] < 0.5 * history.validation[0]["reconstruction"]


def test_missing_numbers_count_as_0() -> None:
    made = machine()
    v = data()
    holes = v.clone()
    holes[:, 2] = torch.nan
    v[:, 2] = 0.0
    torch.testing.assert_close(made.encode(holes), made.encode(v))
    assert all(torch.isfinite(term) for term in made.terms(holes, torch.Generator()).values())
