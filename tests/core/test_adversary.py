"""The penalty with an opponent of its own: the one loop trains both, and knows nothing of either."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from hourglass.core.bottlenecks import Gaussian, Plain
from hourglass.core.kinds import Experiment, build, experiment
from hourglass.core.matching import Adversary
from hourglass.core.model import Autoencoder
from hourglass.core.networks.dense import Dense
from hourglass.core.penalties import Penalty
from hourglass.core.training import History, train
from hourglass.data.samples import Layout
from hourglass.settings import Training


def samples(rows: int = 600) -> Tensor:
    """Four far clusters on a plane in eight dimensions: what an autoencoder would give far clusters of codes."""
    generator = torch.Generator().manual_seed(3)
    corners = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    plane = corners[torch.randint(4, (rows,), generator=generator)] + 0.2 * torch.randn(rows, 2, generator=generator)
    x = plane @ torch.randn(2, 8, generator=generator) + 0.05 * torch.randn(rows, 8, generator=generator)
    return (x - x.mean(0)) / x.std(0)


def plan(*penalties: Penalty) -> Experiment:
    return experiment(kind="deep").replace(
        network=Dense(layers=(32, 32)), bottleneck=Plain(size=2), penalties=penalties
    )


SETTINGS = Training(epochs=60, batch_size=50, learning_rate=3e-3, patience=0)


def trained(*penalties: Penalty, settings: Training = SETTINGS) -> tuple[Autoencoder, History]:
    torch.manual_seed(0)
    model = build(plan(*penalties), Layout((8,)))
    return model, train(model, samples()[:500], settings)


def mmd(codes: Tensor) -> float:
    """Squared maximum mean discrepancy between codes and N(0, I), with a Gaussian kernel of width 1."""
    drawn = torch.randn(2_000, codes.shape[1], generator=torch.Generator().manual_seed(8))

    def likeness(a: Tensor, b: Tensor) -> float:
        return (-torch.cdist(a, b).square() / 2).exp().mean().item()

    return likeness(codes, codes) + likeness(drawn, drawn) - 2 * likeness(codes, drawn)


@pytest.fixture(scope="module")
def adversarial() -> tuple[Autoencoder, History]:
    return trained(Adversary())


def test_the_loop_makes_codes_normal_and_keeps_the_data(adversarial: tuple[Autoencoder, History]) -> None:
    plain, _ = trained()
    model, _ = adversarial
    x = samples()[500:]
    assert mmd(model.encode(x)) < 0.3 * mmd(plain.encode(x))
    assert (model.reconstruct(x) - x).square().mean() < 0.1  # of a variance of 1


def test_an_opponent_that_gets_better_does_not_end_the_training_early() -> None:
    """The price of being found out rises as the judge learns, which is no sign of a worse autoencoder."""
    torch.manual_seed(0)
    model = build(plan(Adversary(weight=0.3)), Layout((8,)))
    history = train(model, samples()[:500], SETTINGS.replace(patience=10), samples()[500:])
    assert history.best_epoch > 30
    assert history.validation[history.best_epoch - 1]["reconstruction"] < 0.02


def test_the_history_logs_both_sides(adversarial: tuple[Autoencoder, History]) -> None:
    _, history = adversarial
    assert all(list(epoch) == ["reconstruction", "adversary", "judge"] for epoch in history.training)


def test_each_player_owns_its_own_weights_and_moves_no_other() -> None:
    model = build(plan(Adversary()), Layout((8,)))
    network, judge = model.players()
    its = {id(weight) for weight in judge.parameters}
    assert its == {id(weight) for weight in model.penalties[0].parameters()}
    assert its.isdisjoint(id(weight) for weight in network.parameters)
    assert len(its) + len(network.parameters) == len(list(model.parameters()))

    sum(judge.terms(samples()[:20], torch.Generator()).values()).backward()  # type: ignore[union-attr]
    assert all(weight.grad is None for weight in network.parameters)
    assert all(weight.grad is not None for weight in judge.parameters)


def test_the_judge_learns_by_its_own_objective_only() -> None:
    """Where nothing is paid for fooling it, the judge learns all the same."""
    idle, history = trained(Adversary(weight=0.0), settings=SETTINGS.replace(epochs=8))
    torch.manual_seed(0)
    fresh = build(plan(Adversary(weight=0.0)), Layout((8,)))
    assert history.training[-1]["judge"] < history.training[0]["judge"]
    assert not torch.equal(idle.penalties[0].judge[-1].weight, fresh.penalties[0].judge[-1].weight)


def test_the_best_weights_hold_both_players() -> None:
    """Held-out rows choose the epoch: what was the judge then is the judge after."""
    torch.manual_seed(0)
    model = build(plan(Adversary()), Layout((8,)))
    seen: list[Tensor] = []

    def remember(epoch: int, epochs: int, terms: dict[str, float]) -> None:
        seen.append(model.penalties[0].judge[-1].weight.detach().clone())

    history = train(model, samples()[:500], replace(SETTINGS, epochs=10), samples()[500:], remember)
    assert torch.equal(model.penalties[0].judge[-1].weight, seen[history.best_epoch - 1])
    assert len({each.sum().item() for each in seen}) == 10


def test_the_judge_sees_codes_as_the_encoder_is_judged_by() -> None:
    """Drawn, not their means: else it would learn to tell how narrow means lie, which the encoder is not paid for."""
    torch.manual_seed(0)
    model = build(plan(Adversary(layers=(8,))).replace(bottleneck=Gaussian(size=2)), Layout((8,)))
    x, judge = samples()[:20], model.penalties[0].judge
    generator = torch.Generator().manual_seed(5)
    codes = model(x, corrupt=True, generator=generator).code.value
    drawn = torch.randn(codes.shape, generator=generator)
    odds = torch.cat([judge(drawn), judge(codes)])
    truth = torch.cat([torch.ones(20, 1), torch.zeros(20, 1)])
    expected = 2 * binary_cross_entropy_with_logits(odds, truth)
    (term,) = model.players()[1].terms(x, torch.Generator().manual_seed(5)).values()
    torch.testing.assert_close(term, expected)
