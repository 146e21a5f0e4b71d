"""The one loop: what it keeps, when it stops, and that nothing but the seed decides."""

import math
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from hourglass.core.bottlenecks import Gaussian, Plain
from hourglass.core.corruptions import Corruption, GaussianNoise, NoCorruption
from hourglass.core.fitting import fit_model
from hourglass.core.kinds import build, experiment
from hourglass.core.model import Autoencoder, Trace, total
from hourglass.core.networks.dense import Dense
from hourglass.core.pace import default_batch_size, rate_at
from hourglass.core.training import Terms, train
from hourglass.data.samples import Layout
from hourglass.errors import TrainingError
from hourglass.settings import Training

SIZE = 6
SETTINGS = Training(epochs=12, batch_size=20, learning_rate=0.02)


def network(corruption: Corruption | None = None, layers: tuple[int, ...] = (8,), seed: int = 0) -> Autoencoder:
    torch.manual_seed(seed)
    plan = experiment(kind="deep").replace(
        network=Dense(layers=layers), bottleneck=Plain(size=3), corruption=corruption or NoCorruption()
    )
    return build(plan, Layout((SIZE,)))


def samples(rows: int = 100, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(3, SIZE, generator=torch.Generator().manual_seed(7))
    return torch.randn(rows, 3, generator=generator) @ mixing + 0.1 * torch.randn(rows, SIZE, generator=generator)


def held_out() -> Tensor:
    return samples(40, seed=2)


def weights(model: nn.Module) -> Tensor:
    return torch.cat([weight.detach().flatten() for weight in model.parameters()])


def error(model: Autoencoder, x: Tensor) -> float:
    with torch.no_grad():
        return float(total(model.terms(x, torch.Generator().manual_seed(0))))


class Spoiler(nn.Module):
    """A penalty that is 0 for so many training steps, and then what is asked."""

    name = "spoiler"

    def __init__(self, steps: int, then: Callable[[Autoencoder], Tensor]) -> None:
        super().__init__()
        self.left, self.then = steps, then

    def forward(self, model: Autoencoder, trace: Trace, generator: torch.Generator | None) -> Tensor:
        self.left -= self.training
        return self.then(model) if self.left < 0 else torch.zeros(())


def spoiled(steps: int, then: Callable[[Autoencoder], Tensor]) -> Autoencoder:
    model = network()
    model.penalties.append(Spoiler(steps, then))
    return model


def not_a_number(model: Autoencoder) -> Tensor:
    return torch.tensor(torch.nan)


def test_it_lowers_the_error_of_training_and_held_out_rows() -> None:
    model = network()
    history = train(model, samples(), SETTINGS, held_out())
    assert history.stopped == "finished"
    assert history.training[-1]["reconstruction"] < 0.5 * history.training[0]["reconstruction"]
    assert history.validation[-1]["reconstruction"] < 0.5 * history.validation[0]["reconstruction"]
    assert len(history.training) == len(history.validation) == history.epochs == 12


def test_the_weights_kept_are_the_best_on_the_held_out_rows() -> None:
    model = network()
    history = train(model, samples(15), Training(epochs=60, batch_size=5, learning_rate=0.05, patience=0), held_out())
    losses = [sum(terms.values()) for terms in history.validation]
    assert error(model, held_out()) == pytest.approx(min(losses), rel=1e-5)
    assert history.best_epoch == losses.index(min(losses)) + 1
    assert history.best_epoch < 60  # 15 rows: it overfits
    assert not model.training


def test_without_held_out_rows_the_last_weights_stay() -> None:
    seen: list[Tensor] = []
    model = network()
    history = train(model, samples(), SETTINGS, report=lambda *_: seen.append(weights(model)))
    assert history.best_epoch == 12
    assert not history.validation
    assert torch.equal(weights(model), seen[-1])


def frozen(patience: int | None, epochs: int = 30) -> int:
    """Epochs trained when nothing ever improves."""
    settings = Training(epochs=epochs, batch_size=50, learning_rate=0.0, patience=patience)
    history = train(network(), samples(), settings, held_out())
    assert history.stopped == ("finished" if len(history.training) == epochs else "early")
    assert history.best_epoch == 1
    return len(history.training)


@pytest.mark.parametrize(("patience", "epochs"), [(1, 2), (3, 4), (0, 30), (None, 11), (100, 30)])
def test_patience_counts_epochs_without_improvement(patience: int | None, epochs: int) -> None:
    assert frozen(patience) == epochs


def test_patience_waits_for_the_end_of_a_warm_up() -> None:
    torch.manual_seed(0)
    plan = experiment(kind="variational").replace(network=Dense(layers=(8,)), bottleneck=Gaussian(size=3, warm_up=0.4))
    settings = Training(epochs=30, batch_size=50, learning_rate=0.0, patience=3)
    history = train(build(plan, Layout((SIZE,))), samples(), settings, held_out())
    assert (history.stopped, len(history.training)) == ("early", 12 + 3)


@pytest.mark.parametrize("kind", ["denoising+variational", "contractive+sparse", "masked-cell"])
def test_validation_of_frozen_weights_is_the_same_every_epoch(kind: str) -> None:
    torch.manual_seed(0)
    model = build(experiment(kind=kind), Layout((SIZE,)))
    settings = Training(epochs=4, batch_size=20, learning_rate=0.0)
    history = train(model, samples(), settings, held_out())
    assert all(terms == history.validation[0] for terms in history.validation)
    assert history.training[0]["reconstruction"] != history.training[1]["reconstruction"]


def test_validation_of_a_denoiser_is_corrupted_so_that_the_identity_does_not_win() -> None:
    model = network(GaussianNoise(scale=0.5), layers=())
    with torch.no_grad():
        model.encoder = _Identity()
        model.decoder = nn.Linear(SIZE, SIZE)
        model.decoder.weight.copy_(torch.eye(SIZE))
        model.decoder.bias.zero_()
    history = train(model, samples(), Training(epochs=1, learning_rate=0.0), held_out())
    assert history.validation[0]["reconstruction"] == pytest.approx(0.25, rel=0.3)  # the noise's variance


class _Identity(nn.Module):
    def forward(self, seen: Tensor, mask: Tensor | None) -> Tensor:
        return seen


def interrupt_at(stop: int) -> Callable[[int, int, Terms], None]:
    def report(epoch: int, epochs: int, terms: Terms) -> None:
        if epoch == stop:
            raise KeyboardInterrupt

    return report


def test_an_interrupt_keeps_the_best_so_far_and_says_so() -> None:
    model = network()
    history = train(model, samples(), SETTINGS, held_out(), interrupt_at(4))
    assert history.stopped == "interrupted"
    assert "interrupted" in history.notices[0]
    losses = [sum(terms.values()) for terms in history.validation]
    assert len(losses) == 4
    assert error(model, held_out()) == pytest.approx(min(losses), rel=1e-5)


def test_an_interrupt_before_the_first_epoch_ends_is_an_interrupt() -> None:
    """There is nothing trained to keep."""

    def interrupt(model: Autoencoder) -> Tensor:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(spoiled(2, interrupt), samples(), SETTINGS, held_out())


@pytest.mark.parametrize("held", [True, False], ids=["held out", "no held out"])
def test_a_loss_that_stops_being_finite_goes_back(held: bool) -> None:
    """5 batches an epoch: the 4th epoch meets NaN."""
    model, seen = spoiled(5 * 3 + 2, not_a_number), []
    history = train(model, samples(), SETTINGS, held_out() if held else None, lambda *_: seen.append(weights(model)))
    assert history.stopped == "diverged"
    assert len(history.training) == 3
    assert "epoch 4" in history.notices[0]
    assert f"epoch {history.best_epoch}" in history.notices[0]
    assert torch.equal(weights(model), seen[history.best_epoch - 1])
    assert torch.isfinite(weights(model)).all()


def test_a_first_epoch_that_is_not_finite_is_an_error_with_a_remedy() -> None:
    with pytest.raises(TrainingError, match="first epoch") as caught:
        train(spoiled(0, not_a_number), samples(), SETTINGS, held_out())
    assert "--learning-rate" in caught.value.how


@pytest.mark.parametrize("held", [True, False], ids=["held out", "no held out"])
@pytest.mark.parametrize("rate", [1e6, 1e12, 1e25, 1e38])
def test_no_learning_rate_leaves_a_model_that_is_not_finite(rate: float, held: bool) -> None:
    model = network()
    settings = Training(epochs=5, batch_size=100, learning_rate=rate, schedule="constant", gradient_clip=None)
    try:
        history = train(model, samples(), settings, held_out() if held else None)
    except TrainingError:
        return
    assert torch.isfinite(weights(model)).all()
    assert math.isfinite(error(model, samples()))
    assert all(math.isfinite(value) for terms in history.training for value in terms.values())


def test_a_gradient_that_is_not_finite_in_the_last_step_leaves_no_broken_model() -> None:
    """sqrt at 0 has a finite value and an infinite slope: the loss says nothing, the weights are gone."""
    model = spoiled(5 * 12 - 1, lambda model: (0 * next(model.parameters())).sum().square().sqrt())
    train(model, samples(), SETTINGS)
    assert torch.isfinite(weights(model)).all()


def test_the_same_seed_gives_the_same_bits_and_another_does_not() -> None:
    def fitted(seed: int) -> Tensor:
        model = network(GaussianNoise())
        train(model, samples(), SETTINGS.replace(seed=seed), held_out())
        return weights(model)

    assert torch.equal(fitted(3), fitted(3))
    assert not torch.equal(fitted(3), fitted(4))


def test_training_leaves_the_callers_random_state_alone() -> None:
    model = network(GaussianNoise())
    state = torch.get_rng_state()
    train(model, samples(), SETTINGS, held_out())
    assert torch.equal(torch.get_rng_state(), state)


def test_fitting_leaves_the_callers_random_state_alone_and_repeats_with_dropout_too() -> None:
    plan = experiment(kind="denoising").replace(
        network=Dense(layers=(16,), dropout=0.3), training=Training(epochs=3, seed=5)
    )
    state = torch.get_rng_state()
    first = fit_model(samples().numpy(), plan, calibrate=False)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(99)
    second = fit_model(samples().numpy(), plan, calibrate=False)
    assert torch.equal(weights(first.network), weights(second.network))


@pytest.mark.parametrize("schedule", ["one-cycle", "cosine", "constant"])
def test_schedules_stay_within_0_and_1(schedule: str) -> None:
    rates = [rate_at(share / 1_000, schedule) for share in range(1, 1_001)]
    assert all(0 < rate <= 1 for rate in rates)
    assert max(rates) == pytest.approx(1, abs=1e-4)
    assert schedule == "constant" or rates[-1] < 0.01


def test_one_cycle_goes_up_and_then_down() -> None:
    rates = [rate_at(share / 1_000, "one-cycle") for share in range(1, 1_001)]
    peak = rates.index(max(rates))
    assert peak == pytest.approx(150, abs=1)
    assert all(a < b for a, b in pairwise(rates[: peak + 1]))
    assert all(a > b for a, b in pairwise(rates[peak:]))


@pytest.mark.parametrize(("steps", "ends"), [(10, 0.79), (750, 0.4), (1_219, 0.15), (100_000, 0.15)])
def test_the_fewer_steps_the_longer_one_cycle_stays_up(steps: int, ends: float) -> None:
    rates = [rate_at(share / 1_000, "one-cycle", steps) for share in range(1, 1_001)]
    assert sum(rate == 1.0 for rate in rates) == pytest.approx(1_000 * (ends - 0.15), abs=10)
    assert rates[-1] < 0.01


def test_cosine_only_goes_down() -> None:
    assert all(a > b for a, b in pairwise(rate_at(share / 100, "cosine") for share in range(101)))


def test_gradient_clipping_bounds_what_a_huge_row_can_do() -> None:
    """Adam divides a step by the gradient's size, so the clip shows in how long a huge gradient is remembered."""
    x = samples()
    x[0] *= 1e6

    def final_error(clip: float | None) -> float:
        model = network()
        train(model, x, Training(epochs=40, batch_size=10, learning_rate=0.01, gradient_clip=clip))
        return error(model, x[1:])

    assert final_error(1.0) < 0.5 * final_error(None)


@pytest.mark.parametrize("rows", [1, 2, 16, 321, 6_000, 10**6])
def test_the_default_batch_is_a_power_of_two_from_16_to_256(rows: int) -> None:
    size = default_batch_size(rows)
    assert 16 <= size <= 256
    assert size & (size - 1) == 0


def test_the_epochs_report_their_number_and_terms() -> None:
    calls: list[tuple[int, int, Terms]] = []
    history = train(network(), samples(), SETTINGS, held_out(), lambda *call: calls.append(call))
    assert [call[0] for call in calls] == list(range(1, 13))
    assert {call[1] for call in calls} == {12}
    assert [call[2] for call in calls] == history.validation


@pytest.mark.parametrize("rows", [1, 2, 21])
def test_few_rows_and_a_last_batch_of_one_train(rows: int) -> None:
    history = train(network(GaussianNoise()), samples(rows), SETTINGS)
    assert len(history.training) == 12
    assert history.batch_size == min(20, rows)
