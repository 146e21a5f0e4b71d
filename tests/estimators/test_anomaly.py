"""The detector: its signs, its promise about false alarms, its reasons, and data that are odd in themselves."""

import inspect
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from hourglass import AnomalyDetector, SeriesAutoencoder, TableAutoencoder
from hourglass.errors import UsageError
from hourglass.settings import Training

Plane = Callable[..., np.ndarray]
Shop = Callable[..., pd.DataFrame]


# Signs


def test_high_is_normal_and_the_offset_is_where_it_turns(detector: AnomalyDetector, plane: Plane) -> None:
    x = plane(420, 1)
    x[-20:] += np.array([4, -4, 4, -4, 4, -4])
    score, decision, flag = detector.score_samples(x), detector.decision_function(x), detector.predict(x)
    np.testing.assert_array_equal(decision, score - detector.offset_)
    np.testing.assert_array_equal(flag, np.where(decision < 0, -1, 1))
    assert (flag[-20:] == -1).all()
    assert np.median(score[:400]) > score[-20:].max()


def test_a_p_value_is_at_most_the_rate_exactly_where_a_row_is_flagged(detector: AnomalyDetector, plane: Plane) -> None:
    x = np.concatenate([plane(400, 1), 3 * plane(50, 2)])
    p = detector.p_values(x)
    assert ((p > 0) & (p <= 1)).all()
    np.testing.assert_array_equal(p <= detector.false_alarm_rate, detector.predict(x) == -1)
    assert (np.diff(p[np.argsort(detector.score_samples(x))]) >= 0).all()


def test_false_alarms_are_within_the_binomial_bounds_of_the_promise(detector: AnomalyDetector, plane: Plane) -> None:
    """300 calibration rows at 0.1: the realised rate is Beta(30, 271), deviation 0.017; 4 of them either way."""
    alarms = (detector.predict(plane(2_000, 7)) == -1).mean()
    assert abs(alarms - 0.1) < 4 * np.sqrt(0.1 * 0.9 * (1 / 300 + 1 / 2_000))


@pytest.mark.parametrize("rule", ["conformal", "quantile", "mad"])
def test_every_rule_flags_more_at_a_higher_rate(plane: Plane, rule: str) -> None:
    flagged = [
        (
            AnomalyDetector(TableAutoencoder(kind="plain", epochs=3), rate, rule).fit(plane(90)).predict(plane(90)) < 0
        ).sum()
        for rate in (0.05, 0.4)
    ]
    assert flagged[0] < flagged[1]


def test_too_few_rows_say_what_rate_they_can_promise(plane: Plane) -> None:
    detector = AnomalyDetector(TableAutoencoder(kind="plain", epochs=2), 0.001).fit(plane(40))
    limit = detector.model_.threshold()
    assert limit.reachable_rate == pytest.approx(1 / 41)
    assert "40 calibration rows" in limit.notice
    assert "0.024" in limit.notice


@pytest.mark.parametrize(
    ("detector", "words"),
    [
        (AnomalyDetector(false_alarm_rate=0), "above 0"),
        (AnomalyDetector(false_alarm_rate=0.7), "at most 0.5"),
        (AnomalyDetector(false_alarm_rate="few"), "a number"),
        (AnomalyDetector(threshold="confrmal"), "did you mean 'conformal'"),
        (AnomalyDetector(TableAutoencoder), "for example AnomalyDetector"),
        (AnomalyDetector(AnomalyDetector()), "wanted an autoencoder"),
    ],
)
def test_what_cannot_be_is_refused_before_training(detector: AnomalyDetector, words: str, plane: Plane) -> None:
    def trained(*_: object) -> None:
        raise AssertionError("trained first")

    with pytest.raises(UsageError, match=words):
        detector.fit(plane(40), report=trained)


def test_the_given_autoencoder_stays_as_it_was(plane: Plane) -> None:
    autoencoder = TableAutoencoder(kind="plain", epochs=2)
    before = autoencoder.get_params()
    AnomalyDetector(autoencoder, 0.2, "mad").fit(plane(40))
    assert autoencoder.get_params() == before
    assert not hasattr(autoencoder, "model_")


def test_progress_is_reported_once_an_epoch(plane: Plane) -> None:
    seen: list[tuple[int, int]] = []
    AnomalyDetector(TableAutoencoder(kind="plain", epochs=3), 0.2).fit(
        plane(1_000), report=lambda epoch, epochs, terms: seen.append((epoch, epochs))
    )
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_another_fit_replaces_the_first(plane: Plane, shop: Shop) -> None:
    detector = AnomalyDetector(TableAutoencoder(kind="plain", epochs=2), 0.2).fit(plane(60))
    detector.fit(shop(60))
    assert detector.feature_names_in_.tolist() == shop(60).columns.tolist()
    assert len(detector.predict(shop(9))) == 9


# Reasons


@pytest.mark.parametrize("library", [pd.DataFrame, pl.DataFrame], ids=["pandas", "polars"])
@pytest.mark.parametrize(
    ("column", "value", "low", "high"), [("amount", 14_000.0, 600, 1_800), ("weight", 1.0, 20, 60)]
)
def test_the_planted_cell_is_named_in_its_units(
    shop_detector: AnomalyDetector, library: Any, column: str, value: float, low: float, high: float
) -> None:
    row = {"amount": 1_200.0, "weight": 40.0, "boxes": 20.0, "hours": 80.0, "town": "Oslo"} | {column: value}
    frame = library({name: [cell] for name, cell in row.items()})
    assert shop_detector.predict(frame).tolist() == [-1]
    first, second, *_ = shop_detector.explain(frame)[0]
    assert first.cell == column
    assert first.value == pytest.approx(value)
    assert low < first.expected < high
    assert first.share > 1.5 * second.share  # the others are guessed from it, too


def test_a_town_that_does_not_fit_is_named(shop_detector: AnomalyDetector) -> None:
    frame = pd.DataFrame(
        {"amount": [1_920.0], "weight": [64.0], "boxes": [32.0], "hours": [128.0], "town": ["Ghent"]}
    )  # so large ones are in Turin
    first, *_ = shop_detector.explain(frame)[0]
    assert (first.cell, first.value, first.expected) == ("town", "Ghent", "Turin")


# Data that are odd in themselves


@pytest.mark.parametrize("kind", ["plain", "masked-cell"])
def test_missing_cells_are_taken_and_a_row_of_nothing_has_a_score(kind: str, plane: Plane) -> None:
    x = plane(120)
    x[np.random.default_rng(1).random(x.shape) < 0.15] = np.nan
    detector = AnomalyDetector(TableAutoencoder(kind=kind, epochs=3), 0.1).fit(x)
    score = detector.score_samples(np.concatenate([x, np.full((1, 6), np.nan)]))
    assert np.isfinite(score).all()
    assert np.isfinite(detector.model_.reconstruct(x)).all()
    assert detector.explain(np.full((1, 6), np.nan))[0][0].value is None


@pytest.mark.parametrize("scaling", ["standard", "min-max", "quantile", "none"])
@pytest.mark.parametrize("kind", ["plain", "masked-cell", "variational"])
def test_a_huge_number_is_the_oddest_of_all_and_finite(kind: str, scaling: str, plane: Plane) -> None:
    detector = AnomalyDetector(TableAutoencoder(kind=kind, epochs=10, scaling=scaling), 0.1).fit(plane(120))
    x = plane(60, 1)
    x[17, 3] = 1e30
    score = detector.score_samples(x)
    assert np.isfinite(score).all()
    assert score.argmin() == 17
    reasons = detector.explain(x[17:18])[0]
    assert all(0 <= reason.share <= 1 for reason in reasons)
    if scaling != "none":  # everything that the network says is then as huge
        assert reasons[0].cell == "x3"


@pytest.mark.parametrize("kind", ["plain", "masked-cell"])
def test_a_constant_column_is_no_trouble_and_a_change_in_it_is_seen(kind: str, plane: Plane) -> None:
    x = np.column_stack([plane(120), np.full(120, 7.0)])
    detector = AnomalyDetector(TableAutoencoder(kind=kind, epochs=20), 0.1).fit(x)
    assert np.isfinite(detector.score_samples(x)).all()
    changed = x[:1].copy()
    changed[0, 6] = 9.0
    assert detector.predict(changed).tolist() == [-1]
    assert detector.explain(changed)[0][0].cell == "x6"


@pytest.mark.parametrize("kind", ["plain", "masked-cell", "variational", "sparse"])
def test_one_column_is_enough(kind: str) -> None:
    x = np.random.default_rng(0).normal(size=(90, 1))
    detector = AnomalyDetector(TableAutoencoder(kind=kind, epochs=3), 0.1).fit(x)
    assert np.isfinite(detector.score_samples(x)).all()


def test_one_row_is_too_few_to_fit_and_enough_to_score(detector: AnomalyDetector, plane: Plane) -> None:
    with pytest.raises(ValueError, match="minimum of 2"):
        AnomalyDetector().fit(plane(1))
    assert detector.predict(plane(1)).shape == (1,)


def test_each_step_of_a_series_has_a_score() -> None:
    x = np.sin(np.arange(300) / 3)
    detector = AnomalyDetector(SeriesAutoencoder(kind="plain", window=20, epochs=20), 0.1).fit(x)
    odd = x.copy()
    odd[150:155] += 3
    score = detector.score_samples(odd)
    assert score.shape == (300,)
    assert 135 <= score.argmin() < 170
    assert detector.predict(odd)[152] == -1
    assert detector.predict(x.reshape(1, 300, 1)).shape == (300,)


# What repeats, and what is left alone


@pytest.mark.parametrize("size", [1, 7, 512])
@pytest.mark.parametrize("which", ["detector", "shop_detector"])
def test_a_score_does_not_depend_on_the_batch(
    which: str, size: int, request: pytest.FixtureRequest, plane: Plane, shop: Shop
) -> None:
    fitted = request.getfixturevalue(which)
    data: Any = shop(600, 3) if which == "shop_detector" else plane(600, 3)
    whole = fitted.score_samples(data)
    for start in (0, 64, 80):
        np.testing.assert_allclose(
            fitted.score_samples(data[start : start + size]), whole[start : start + size], rtol=1e-7
        )


def digest_of_scores() -> str:
    """Imports all that it needs: its source also runs in another process."""
    import hashlib

    import numpy as np

    from hourglass import AnomalyDetector, TableAutoencoder

    random = np.random.default_rng(0)
    x = random.normal(size=(80, 2)) @ random.normal(size=(2, 5))
    detector = AnomalyDetector(TableAutoencoder(epochs=2, detection={"folds": 2})).fit(x)
    return hashlib.sha256(detector.score_samples(x).tobytes()).hexdigest()


def test_a_seed_gives_the_same_bits_in_another_process() -> None:
    command = [sys.executable, "-c", f"{inspect.getsource(digest_of_scores)}\nprint(digest_of_scores())"]
    environment = os.environ | {"PYTHONPATH": "src", "PYTHONHASHSEED": "17"}
    there = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert there.stdout.strip() == digest_of_scores(), there.stderr


def test_estimators_print_nothing(plane: Plane, capsys: pytest.CaptureFixture[str]) -> None:
    AnomalyDetector(TableAutoencoder(kind="plain", epochs=2)).fit(plane(60)).predict(plane(60))
    assert capsys.readouterr() == ("", "")


def test_validation_rows_and_training_are_as_the_settings_say(plane: Plane) -> None:
    training = Training(epochs=2, validation=0.5)
    detector = AnomalyDetector(TableAutoencoder(kind="plain", training=training), 0.1).fit(plane(200))
    assert detector.model_.calibration.scores.shape == (100,)
