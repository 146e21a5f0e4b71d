"""From data to a fitted model: what is held out, where the calibration comes from, what is left as it was."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view
from torch import nn

from hourglass.core.checkpoints import model_bytes, model_from_bytes
from hourglass.core.fitted import HELD_OUT, OUT_OF_FOLD, TRAINING, FittedModel
from hourglass.core.fitting import _digest, _folds, _Material, _Trained, apart_from, fit_model, picked, split
from hourglass.core.kinds import Experiment, experiment
from hourglass.core.noises import Noise
from hourglass.core.penalties import Penalty
from hourglass.data.formats import Data
from hourglass.data.samples import Packed
from hourglass.errors import DataError, UsageError
from hourglass.settings import Detection, Training

Make = Callable[..., Data]
QUICK = Training(epochs=3, batch_size=16)


def planned(modality: str = "table", kind: str = "plain", **changes: object) -> Experiment:
    return experiment(modality, kind).replace(training=QUICK).replace(**changes)


# What is held out


def samples(count: int, ordered: bool = False, overlap: int = 0) -> Packed:
    return Packed(np.zeros((count, 1), dtype=np.float32), overlap=overlap, ordered=ordered)


@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize(
    ("count", "share", "held"), [(100, 0.1, 10), (2, 0.5, 1), (3, 0.01, 1), (7, 0.5, 4), (5, 0.0, 0)]
)
def test_each_sample_is_kept_or_held_out_once(count: int, share: float, held: int, ordered: bool) -> None:
    kept, out = split(samples(count, ordered), share, 0)
    assert len(out) == held
    assert sorted([*kept, *out]) == list(range(count))


def test_samples_in_time_are_held_out_from_the_end_and_others_at_random() -> None:
    assert split(samples(10, ordered=True), 0.3, 0)[1].tolist() == [7, 8, 9]
    drawn = [split(samples(1_000), 0.3, seed)[1] for seed in (0, 0, 1)]
    assert np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])
    assert 350 < drawn[0].mean() < 650


def test_samples_that_follow_one_another_are_picked_as_a_view() -> None:
    given = np.arange(20.0).reshape(10, 2)
    for chosen, shared in (([3, 4, 5], True), ([7], True), ([3, 5, 6], False), ([2, 1], False), ([], False)):
        some = picked(given, np.array(chosen, dtype=np.int64))
        np.testing.assert_array_equal(some, given[chosen])
        assert np.shares_memory(some, given) == shared
    given.flags.writeable = False
    assert picked(given, np.arange(10)).flags.writeable


def test_samples_have_one_hash_whether_they_are_a_view_or_a_copy() -> None:
    windows = sliding_window_view(np.arange(3_000, dtype=np.float32), 4)
    assert _digest(windows) == hashlib.sha256(windows.tobytes()).hexdigest() == _digest(windows.copy())


@pytest.mark.parametrize("kind", ["plain", "denoising", "masked-cell", "variational", "convolutional"])
def test_windows_that_overlap_are_trained_on_where_they_lie_and_left_as_they_were(kind: str) -> None:
    plan = planned("series", kind)
    plan = plan.replace(format=plan.format.replace(window="8", stride=1), training=QUICK.replace(epochs=1))
    series = waves(1)[0]
    form = plan.format.fit(series)
    packed = form.pack(series)
    before, (kept, out) = packed.samples.copy(), split(packed, 0.2, 0)
    material = _Material(packed)
    x = material.at(kept, torch.device("cpu"))
    assert isinstance(x, torch.Tensor)
    assert np.shares_memory(x.numpy(), packed.samples)
    trained = _Trained.on(material, x, material.at(out, torch.device("cpu")), plan, form.layout)
    np.testing.assert_array_equal(packed.samples, before)
    np.testing.assert_array_equal(trained.scores(packed.samples), trained.scores(before))


def test_windows_that_share_steps_with_held_out_ones_are_not_trained_on() -> None:
    kept, out = split(samples(20, ordered=True, overlap=3), 0.2, 0)
    assert (kept.tolist(), out.tolist()) == (list(range(13)), [16, 17, 18, 19])
    assert apart_from(np.array([5, 6]), samples(12, True, 2)).tolist() == [0, 1, 2, 9, 10, 11]
    assert split(samples(4, ordered=True, overlap=9), 0.25, 0)[0].tolist() == [0, 1, 2]


def test_folds_share_no_sample_and_neighbours_stay_together_where_samples_overlap() -> None:
    for overlap in (0, 2):
        folds = list(_folds(samples(23, overlap=overlap), 5, 0))
        assert sorted(np.concatenate(folds).tolist()) == list(range(23))
        assert {len(fold) for fold in folds} == {4, 5}
    assert all((np.diff(fold) == 1).all() for fold in folds)
    assert any((np.diff(fold) > 1).any() for fold in _folds(samples(23), 5, 0))


# Rows that are made of several samples


def tiles(*counts: int) -> Packed:
    groups = np.repeat(np.arange(len(counts)), counts)
    return Packed(np.zeros((len(groups), 1), dtype=np.float32), groups=groups)


@pytest.mark.parametrize("seed", range(5))
def test_the_tiles_of_a_picture_are_held_out_together(seed: int) -> None:
    packed = tiles(*range(1, 21))
    kept, out = split(packed, 0.2, seed)
    groups = packed.groups
    assert groups is not None
    assert len(np.unique(groups[out])) == 4
    assert not set(groups[out]) & set(groups[kept])
    assert sorted([*kept, *out]) == list(range(210))


def test_the_tiles_of_a_picture_are_of_one_fold() -> None:
    packed = tiles(3, 1, 4, 1, 5, 9, 2)
    folds = list(_folds(packed, 3, 0))
    assert packed.groups is not None
    owners = [set(packed.groups[fold]) for fold in folds]
    assert sorted(len(each) for each in owners) == [2, 2, 3]
    assert sorted(np.concatenate(folds).tolist()) == list(range(25))


def bright(pictures: int, seed: int = 0) -> np.ndarray:
    """Grey pictures of 6 x 9 pixels, each a ramp of its own steepness."""
    steepness = np.random.default_rng(seed).uniform(5, 25, (pictures, 1, 1))
    return (np.broadcast_to(np.arange(9), (pictures, 6, 9)) * steepness).astype(np.uint8)


@pytest.mark.parametrize(("pictures", "source", "scores"), [(250, HELD_OUT, 100), (20, OUT_OF_FOLD, 20)])
def test_a_picture_is_calibrated_by_its_oddest_tile(pictures: int, source: str, scores: int) -> None:
    training = QUICK.replace(validation=0.4)
    plan = planned("image", training=training, detection=Detection(0.05, folds=4))
    model = fit_model(bright(pictures), plan.replace(format=plan.format.replace(tile=3)))
    assert model.calibration.source == source
    assert model.calibration.scores.shape == (scores,)
    packed = model.format.pack(bright(pictures))
    by_tile = model.score(packed).reshape(pictures, 6)
    found = model.detect(bright(pictures))
    np.testing.assert_array_equal(found.rows.score, by_tile.max(axis=1))
    assert found.samples.shape == (6 * pictures,)
    own = model.detect(bright(pictures), own=True)
    if source == OUT_OF_FOLD:
        np.testing.assert_array_equal(own.rows.score, model.calibration.scores)
    else:
        out = split(packed, 0.4, 0)[1]
        own_scores = by_tile[np.unique(out // 6)].max(axis=1)
        np.testing.assert_allclose(np.sort(model.calibration.scores), np.sort(own_scores), rtol=1e-6)


def test_one_picture_is_too_few_however_many_tiles_it_has() -> None:
    plan = planned("image")
    with pytest.raises(DataError, match="got 1 sample"):
        fit_model(bright(1), plan.replace(format=plan.format.replace(tile=3)))


# Where the calibration comes from


@pytest.mark.parametrize(
    ("rows", "rate", "validation", "calibrate", "source", "scores"),
    [
        (500, 0.2, 0.2, True, HELD_OUT, 100),
        (490, 0.2, 0.2, True, OUT_OF_FOLD, 490),
        (80, 0.01, 0.1, True, OUT_OF_FOLD, 80),
        (80, 0.01, 0.1, False, HELD_OUT, 8),
        (80, 0.01, 0.0, True, OUT_OF_FOLD, 80),
        (80, 0.01, 0.0, False, TRAINING, 80),
        (7, 0.01, 0.0, True, OUT_OF_FOLD, 7),
        (3, 0.01, 0.0, True, TRAINING, 3),
    ],
)
def test_scores_come_from_samples_not_trained_on_wherever_that_is_possible(
    make: Make, rows: int, rate: float, validation: float, calibrate: bool, source: str, scores: int
) -> None:
    plan = planned(detection=Detection(false_alarm_rate=rate, folds=4), training=QUICK.replace(validation=validation))
    model = fit_model(make("plane", rows), plan, calibrate=calibrate)
    assert model.calibration.source == source
    assert model.calibration.scores.shape == (scores,)


def test_out_of_fold_scores_are_those_of_networks_that_did_not_see_the_row(make: Make) -> None:
    """One row unlike all others: a network that trained on it gives it back, one that did not cannot."""
    x = np.concatenate([make("plane", 60), [[9.0, -9.0, 9.0, -9.0, 9.0, -9.0]]])
    training = Training(epochs=50, batch_size=16, validation=0.0, learning_rate=0.02)
    model = fit_model(x, planned(training=training, detection=Detection(folds=2)))
    own = model.detect(x, own=True, reasons="none").rows.score
    np.testing.assert_array_equal(own, model.calibration.scores)
    assert own[-1] > 3 * model.score(model.format.pack(x))[-1]


def test_own_scores_are_not_taken_for_other_data(make: Make) -> None:
    model = fit_model(make("plane", 60), planned(detection=Detection(folds=4)))
    assert model.calibration.source == OUT_OF_FOLD
    other = make("plane", 30, 1)
    np.testing.assert_array_equal(model.detect(other, own=True).rows.score, model.detect(other, own=False).rows.score)


@pytest.mark.parametrize("folds", [0, 4])
def test_false_alarms_on_new_normal_rows_are_as_rare_as_asked(make: Make, folds: int) -> None:
    """2,000 new rows: within 4 standard deviations of the draw of calibration rows and of new ones."""
    rate, rows = 0.1, 300
    training = Training(epochs=10, batch_size=32, validation=0.0 if folds else 0.5)
    model = fit_model(make("plane", rows), planned(training=training, detection=Detection(rate, folds=folds or 10)))
    assert model.calibration.source == (OUT_OF_FOLD if folds else HELD_OUT)
    flagged = model.detect(make("plane", 2_000, 5), reasons="none").is_anomaly.mean()
    deviation = np.sqrt(rate * (1 - rate) * (1 / len(model.calibration.scores) + 1 / 2_000))
    assert abs(flagged - rate) < 4 * deviation


# Ctrl-C


def test_an_interrupted_fit_still_serves_and_can_be_written(make: Make) -> None:
    def press(epoch: int, epochs: int, terms: dict[str, float]) -> None:
        if epoch == 2:
            raise KeyboardInterrupt

    x = make("plane", 80)
    model = fit_model(x, planned(), report=press)
    assert model.history.stopped == "interrupted"
    assert model.calibration.source == HELD_OUT  # ten more fits are not what someone in a hurry wants
    loaded = model_from_bytes(model_bytes(model))
    np.testing.assert_array_equal(loaded.detect(x).rows.score, model.detect(x).rows.score)


def test_a_fit_interrupted_before_anything_was_learned_is_given_up(make: Make) -> None:
    CtrlC.left = 0
    with pytest.raises(KeyboardInterrupt):
        fit_model(make("plane", 80), planned(penalties=(CtrlC(),)))


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize(("validation", "source"), [(0.1, HELD_OUT), (0.0, TRAINING)])
def test_ctrl_c_among_the_folds_keeps_the_model(make: Make, steps: int, validation: float, source: str) -> None:
    training = Training(epochs=2, batch_size=80, validation=validation)
    CtrlC.left = 2 * 2 + steps  # each epoch takes a step and a validation
    model = fit_model(make("plane", 80), planned(training=training, penalties=(CtrlC(),)))
    assert model.calibration.source == source
    assert any("interrupted" in notice for notice in model.history.notices)


@dataclass(frozen=True)
class CtrlC(Penalty):
    """A part of a test's own: a term of 0, interrupted when it was computed so many times over all networks."""

    left: ClassVar[int]

    def build(self, code: int, cells: int) -> nn.Module:
        return _Interrupted()


class _Interrupted(nn.Module):
    name = "ctrl-c"

    def forward(self, model: nn.Module, trace: object, generator: torch.Generator | None = None) -> torch.Tensor:
        CtrlC.left -= 1
        if CtrlC.left < 0:
            raise KeyboardInterrupt
        return torch.zeros(())


# What cannot be fitted


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"detection": Detection(scorers=("guess",))}, "scorer called 'guess'"),
        ({"loss": "bernoulli"}, "from 0 to 1"),
        ({"training": Training(device="abacus")}, "abacus"),
    ],
)
def test_what_cannot_be_is_refused_before_training(make: Make, changes: dict[str, object], words: str) -> None:
    def trained(*_: object) -> None:
        raise AssertionError("trained first")

    with pytest.raises(UsageError, match=words):
        fit_model(make("plane", 40), planned(**changes), report=trained)


def test_a_single_sample_cannot_be_learned_from(make: Make) -> None:
    with pytest.raises(DataError, match="wanted at least 2"):
        fit_model(make("plane", 1), planned())


# What is left as it was, and what repeats


def test_the_callers_state_is_left_as_it_was(make: Make) -> None:
    def state() -> list[object]:
        numpy_state = np.random.get_state()
        return [
            torch.get_rng_state().tolist(),
            numpy_state[1].tolist(),
            torch.get_num_threads(),
            torch.is_grad_enabled(),
        ]

    torch.set_default_dtype(torch.float64)
    try:
        before = state()
        in_double = fit_model(make("plane", 60), planned(kind="masked-cell"))
        in_double.detect(make("plane", 60))
        assert state() == before
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    in_single = fit_model(make("plane", 60), planned(kind="masked-cell"))
    np.testing.assert_array_equal(in_double.calibration.scores, in_single.calibration.scores)


@pytest.mark.parametrize("kind", ["masked-cell", "variational", "contractive"])
def test_a_seed_gives_one_model_and_another_seed_another(make: Make, kind: str) -> None:
    def weights(seed: int) -> np.ndarray:
        torch.rand(seed + 1)  # the caller's draws do not matter
        model = fit_model(make("plane", 60), planned(kind=kind, training=QUICK.replace(seed=seed)), calibrate=False)
        return model.encode(make("plane", 60))

    first, again, other = weights(0), weights(0), weights(1)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_the_card_says_what_a_result_depends_on(fitted: Callable[..., FittedModel]) -> None:
    card = fitted("plane").card
    assert card["samples"] == 80
    assert len(card["sha256"]) == 64
    assert card["sha256"] != fitted("shop").card["sha256"]
    assert {"hourglass", "python", "torch", "numpy"} <= set(card["versions"])


def test_scaling_is_learned_on_training_rows_only() -> None:
    X = np.random.default_rng(0).normal(size=(100, 3))
    plan = planned().replace(training=QUICK.replace(validation=0.2))
    kept, _ = split(samples(100), 0.2, plan.training.seed)
    packed = fit_model(X, plan, calibrate=False).format.pack(X).samples
    assert packed[kept].mean(axis=0) == pytest.approx(np.zeros(3), abs=1e-6)
    assert packed[kept].std(axis=0) == pytest.approx(np.ones(3), abs=1e-6)


# Pairs, recorded noise, and noisy samples alone


def waves(rows: int, steps: int = 64, seed: int = 0) -> np.ndarray:
    """Smooth series (rows, steps), each a sum of two sines."""
    random = np.random.default_rng(seed)
    phase, rate = random.uniform(0, 6.28, (2, rows, 1)), random.uniform(2, 5, (2, rows, 1))
    time = np.linspace(0, 6.28, steps)
    return np.sin(rate[0] * time + phase[0]) + np.sin(rate[1] * time + phase[1])


def noise_like(x: np.ndarray, seed: int, scale: float = 0.8) -> np.ndarray:
    return scale * np.random.default_rng(seed).normal(size=x.shape)


def denoising(kind: str, **changes: object) -> Experiment:
    """A plan for noise with an error of .64, before."""
    plan = planned("series", kind, training=Training(epochs=20, batch_size=32, learning_rate=0.005))
    return plan.replace(network=plan.network.replace(channels=(8, 16), depth=1), **changes)


def error_of(model: FittedModel, noisy: np.ndarray, clean: np.ndarray) -> float:
    return float(np.square(model.reconstruct(noisy) - clean).mean())


def test_pairs_teach_what_is_noise() -> None:
    clean, new = waves(200), waves(60, seed=1)
    model = fit_model(clean, denoising("u-net"), seen=clean + noise_like(clean, 2), calibrate=False)
    assert error_of(model, new + noise_like(new, 3), new) < 0.2


def test_two_noisy_takes_teach_nearly_as_much_as_clean_ones() -> None:
    """Noise2Noise (Lehtinen et al. 2018)."""
    clean, new = waves(200), waves(60, seed=1)
    takes = [clean + noise_like(clean, seed) for seed in (2, 4)]
    model = fit_model(takes[0], denoising("u-net"), seen=takes[1], calibrate=False)
    assert error_of(model, new + noise_like(new, 3), new) < 0.25


def test_noisy_samples_alone_teach_what_is_noise() -> None:
    clean = waves(200)
    noisy = clean + noise_like(clean, 2)
    model = fit_model(noisy, denoising("noise2void"), calibrate=False)
    assert error_of(model, noisy, clean) < 0.3


def test_recorded_noise_is_mixed_in() -> None:
    """A steady disturbance that is no normal noise: only who has heard it can tell it from a wave."""
    clean, new, time = waves(150), waves(60, seed=1), np.arange(64)
    random = np.random.default_rng(0)

    def buzz(rows: int) -> np.ndarray:
        return np.sign(np.sin(time * 1.3 + random.uniform(0, 6.28, (rows, 1))))

    plan = denoising("u-net", corruption=Noise(low=-3, high=3, made=0.0))
    heard = fit_model(clean, plan, noise=buzz(100), calibrate=False)
    never = fit_model(clean, plan, calibrate=False)
    errors = [error_of(model, new + buzz(60), new) for model in (heard, never)]
    assert errors[0] < 0.3 * errors[1]
    assert errors[0] < 0.3


def test_the_recorded_noise_is_no_part_of_the_saved_model() -> None:
    clean = waves(40)
    model = fit_model(
        clean, planned("series", "u-net", corruption=Noise()), noise=noise_like(clean, 1), calibrate=False
    )
    content = model_bytes(model)
    assert not any("noise" in name or "recorded" in name for name in model.network.state_dict())
    loaded = model_from_bytes(content)
    assert np.array_equal(loaded.reconstruct(clean), model.reconstruct(clean))


@pytest.mark.parametrize(
    ("given", "fault", "words"),
    [
        ({"seen": waves(39)}, DataError, "got 39 noisy samples for 40 clean ones"),
        ({"noise": waves(5)}, UsageError, "corruption 'none' mixes no recorded noise in"),
    ],
)
def test_twins_and_noise_that_cannot_be_used_are_refused(
    given: dict[str, np.ndarray], fault: type[Exception], words: str
) -> None:
    with pytest.raises(fault, match=words):
        fit_model(waves(40), planned("series", "u-net"), **given)


def test_each_fold_has_its_own_twins() -> None:
    clean = waves(30)
    training = QUICK.replace(validation=0.0)
    plan = planned("series", "u-net", training=training, detection=Detection(folds=3))
    model = fit_model(clean, plan, seen=clean + noise_like(clean, 1))
    assert model.calibration.source == OUT_OF_FOLD
    assert len(model.calibration.scores) == 30
