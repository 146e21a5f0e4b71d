"""Thresholds against brute force, and the false-alarm promise by simulation."""

from statistics import NormalDist

import numpy as np
import pytest

from hourglass.core.thresholds import (
    conformal,
    conformal_p_values,
    mad,
    quantile,
    rows_needed,
    threshold,
)
from hourglass.errors import DataError, UsageError


def scores(count: int, seed: int = 0) -> np.ndarray:
    """Scores with many ties."""
    return np.random.default_rng(seed).integers(0, 30, count) / 10


@pytest.mark.parametrize("count", [1, 2, 7, 150])
def test_p_values_are_the_counted_ones(count: int) -> None:
    calibration, new = scores(count), np.concatenate([scores(40, 1), [-1.0, 99.0, np.inf]])
    counted = [(1 + sum(old >= each for old in calibration)) / (count + 1) for each in new]
    np.testing.assert_array_equal(conformal_p_values(calibration, new), counted)


@pytest.mark.parametrize("count", [1, 9, 10, 99, 100, 250])
@pytest.mark.parametrize("rate", [0.01, 0.05, 0.1, 0.3, 0.5])
def test_above_the_threshold_is_a_p_value_of_at_most_the_rate(count: int, rate: float) -> None:
    calibration, new = scores(count), np.concatenate([scores(60, 1), [99.0]])
    limit = conformal(calibration, rate)
    p_values = conformal_p_values(calibration, new)
    np.testing.assert_array_equal(new > limit.value, p_values <= limit.reachable_rate + 1e-12)


@pytest.mark.parametrize("rate", [0.02, 0.1])
def test_normal_rows_are_flagged_no_more_often_than_promised(rate: float) -> None:
    """Over 2,000 draws of 60 calibration rows and 1 new one: at most `rate`, within five binomial deviations."""
    random = np.random.default_rng(4)
    draws = random.lognormal(size=(2_000, 61))
    alarms = sum(row[-1] > conformal(row[:-1], rate).value for row in draws)
    exact = np.floor(rate * 61) / 61  # continuous scores: the promise is kept with equality
    bound = 5 * (2_000 * exact * (1 - exact)) ** 0.5
    assert exact <= rate
    assert abs(alarms - 2_000 * exact) <= bound


def test_too_few_rows_say_what_they_can_reach() -> None:
    limit = conformal(scores(58), 0.01)
    assert limit.value == scores(58).max()
    assert limit.reachable_rate == 1 / 59
    assert "58 calibration rows" in limit.notice
    assert "0.017" in limit.notice
    assert not conformal(scores(99), 0.01).notice


@pytest.mark.parametrize("rate", [0.5, 0.3, 0.1, 0.05, 0.02, 0.01, 0.007, 0.001])
def test_rows_needed_is_the_fewest_that_reach_the_rate(rate: float) -> None:
    needed = rows_needed(rate)
    assert not conformal(np.arange(needed, dtype=float), rate).notice
    assert needed == 1 or conformal(np.arange(needed - 1, dtype=float), rate).notice


def test_quantile_flags_its_share_of_the_calibration_rows() -> None:
    calibration = np.random.default_rng(0).normal(size=1_000)
    assert (calibration > quantile(calibration, 0.05).value).mean() == pytest.approx(0.05)


def test_mad_is_the_normal_quantile_and_ignores_outliers() -> None:
    calibration = np.random.default_rng(0).normal(3, 2, 20_000)
    wanted = 3 + 2 * NormalDist().inv_cdf(0.99)
    assert mad(calibration, 0.01).value == pytest.approx(wanted, rel=0.02)
    assert mad(np.append(calibration, [1e9] * 50), 0.01).value == pytest.approx(wanted, rel=0.02)


def test_mad_of_mostly_equal_scores_does_not_flag_every_other_row() -> None:
    calibration = np.concatenate([np.full(60, 1.0), np.linspace(1, 2, 40)])
    assert (calibration > mad(calibration, 0.01).value).mean() < 0.15


@pytest.mark.parametrize("rule", ["conformal", "quantile", "mad"])
def test_rates_outside_0_to_1_are_refused(rule: str) -> None:
    assert np.isfinite(threshold(scores(50), 0.1, rule).value)
    for rate in (0.0, 1.0, -0.1, float("nan")):
        with pytest.raises(UsageError, match="false_alarm_rate"):
            threshold(scores(50), rate, rule)


@pytest.mark.parametrize("rule", ["conformal", "quantile", "mad"])
@pytest.mark.parametrize("bad", [[], [1.0, np.nan], [np.inf, 2.0]], ids=["none", "NaN", "infinite"])
def test_scores_that_cannot_calibrate_are_refused(rule: str, bad: list[float]) -> None:
    with pytest.raises(DataError, match="calibration"):
        threshold(np.array(bad), 0.1, rule)


def test_an_unknown_rule_gets_the_nearest_known_one() -> None:
    with pytest.raises(UsageError, match="did you mean 'conformal'"):
        threshold(scores(50), 0.1, "conformall")
