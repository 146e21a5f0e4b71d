"""Thresholds against brute force, and the false-alarm promise by simulation."""

from collections.abc import Iterator
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from hourglass.core.thresholds import (
    conformal,
    conformal_p_values,
    discoveries,
    drift,
    mad,
    pareto_tail,
    peaks_over_threshold,
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


@pytest.mark.parametrize("rule", ["conformal", "quantile", "mad", "peaks-over-threshold"])
def test_rates_outside_0_to_1_are_refused(rule: str) -> None:
    assert np.isfinite(threshold(scores(50), 0.1, rule).value)
    for rate in (0.0, 1.0, -0.1, float("nan")):
        with pytest.raises(UsageError, match="false_alarm_rate"):
            threshold(scores(50), rate, rule)


@pytest.mark.parametrize("rule", ["conformal", "quantile", "mad", "peaks-over-threshold"])
@pytest.mark.parametrize("bad", [[], [1.0, np.nan], [np.inf, 2.0]], ids=["none", "NaN", "infinite"])
def test_scores_that_cannot_calibrate_are_refused(rule: str, bad: list[float]) -> None:
    with pytest.raises(DataError, match="calibration"):
        threshold(np.array(bad), 0.1, rule)


def test_an_unknown_rule_gets_the_nearest_known_one() -> None:
    with pytest.raises(UsageError, match="did you mean 'conformal'"):
        threshold(scores(50), 0.1, "conformall")


# Tails

TAILS = {
    "normal": stats.norm(),
    "exponential": stats.expon(),
    "lognormal": stats.lognorm(1),
    "Pareto": stats.pareto(3),
    "uniform": stats.uniform(),
    "gamma": stats.gamma(2),
    "Weibull": stats.weibull_min(1.5),
    "t5": stats.t(5),
    "logistic": stats.logistic(),
    "beta": stats.beta(2, 5),
}


def realised(rows: int, rate: float, seed: int) -> dict[str, float]:
    """The share of each law above the threshold that a sample of it sets."""
    random = np.random.default_rng(seed)
    samples = {name: tail.rvs(rows, random_state=random) for name, tail in TAILS.items()}
    return {name: float(TAILS[name].sf(peaks_over_threshold(x, rate).value)) for name, x in samples.items()}


@pytest.mark.parametrize(("rows", "tails"), [(2_000, 7), (5_000, 8), (10_000, 9)])
def test_one_alarm_in_a_thousand_is_about_kept_on_most_tails(rows: int, tails: int) -> None:
    """Within a factor of 2 on at least so many of ten tails, in the median of nine draws: 2,000 rows are few for it."""
    counts = [sum(0.0005 <= share <= 0.002 for share in realised(rows, 0.001, seed).values()) for seed in range(9)]
    assert np.median(counts) >= tails


def test_a_rate_below_what_the_rows_reach_still_has_a_threshold() -> None:
    calibration = np.random.default_rng(0).exponential(size=2_000)
    limit = peaks_over_threshold(calibration, 1e-5)
    assert limit.value > calibration.max()
    assert stats.expon().sf(limit.value) == pytest.approx(1e-5, rel=2)
    assert limit.reachable_rate == 1e-5
    assert not limit.notice
    assert conformal(calibration, 1e-5).notice


@pytest.mark.parametrize("shape", [-1.0, -0.3, 0.0, 0.4])
def test_the_fitted_tail_is_the_drawn_one(shape: float) -> None:
    excesses = stats.genpareto(shape, scale=2).rvs(20_000, random_state=np.random.default_rng(1))
    assert pareto_tail(excesses) == (pytest.approx(shape, abs=0.05), pytest.approx(2, rel=0.05))


def test_the_tail_moves_and_stretches_with_the_scores() -> None:
    calibration = np.random.default_rng(0).gamma(2, size=1_000)
    plain, moved = (peaks_over_threshold(x, 1e-4).value for x in (calibration, 5 + 1e-6 * calibration))
    assert moved == pytest.approx(5 + 1e-6 * plain, abs=1e-12)


def test_rates_within_reach_are_conformal_and_few_rows_say_so() -> None:
    calibration = scores(1_000)
    assert peaks_over_threshold(calibration, 0.2) == conformal(calibration, 0.2)
    few = np.random.default_rng(0).normal(size=150)
    limit = peaks_over_threshold(few, 0.001)
    assert limit.value == few.max()
    assert "too few to fit a tail" in limit.notice
    assert "cannot promise" in limit.notice
    tied = peaks_over_threshold(np.repeat(scores(3), 200), 0.001)
    assert "too few" in tied.notice


def test_a_tail_needs_no_more_rows_than_fit_it() -> None:
    assert rows_needed(1e-5, "peaks-over-threshold") == 1_000
    assert rows_needed(0.01, "peaks-over-threshold") == rows_needed(0.01) == 99


# False discoveries


@given(
    st.lists(st.integers(0, 40), min_size=1, max_size=60),
    st.lists(st.integers(0, 60), min_size=1, max_size=40),
    st.sampled_from([0.05, 0.1, 0.3, 0.7]),
)
def test_discoveries_are_those_of_the_stepwise_procedure(known: list[int], new: list[int], rate: float) -> None:
    calibration, fresh = np.array(known) / 2, np.array(new) / 2
    p_values = conformal_p_values(calibration, fresh)
    limit = discoveries(calibration, fresh, p_values, rate)
    ordered = sorted(p_values.tolist())
    most = max((k for k in range(1, len(new) + 1) if ordered[k - 1] <= rate * k / len(new) + 1e-12), default=0)
    flagged = fresh > limit.value
    assert flagged.sum() == most
    np.testing.assert_array_equal(flagged, p_values <= limit.reachable_rate + 1e-12)


def test_the_share_of_false_discoveries_is_kept() -> None:
    """Mean over 300 draws of 400 calibration rows and 200 new ones, 30 of them odd: at most .1 (5 deviations more)."""
    random, shares, found = np.random.default_rng(0), [], []
    for _ in range(300):
        calibration = random.normal(size=400)
        fresh = np.concatenate([random.normal(size=170), random.normal(4, 1, size=30)])
        flagged = fresh > discoveries(calibration, fresh, conformal_p_values(calibration, fresh), 0.1).value
        shares.append(flagged[:170].sum() / max(flagged.sum(), 1))
        found.append(flagged[170:].mean())
    assert 0.04 < np.mean(shares) <= 0.1 + 5 * np.std(shares) / 300**0.5
    assert np.mean(found) > 0.7


def test_where_nothing_can_be_discovered_it_is_said() -> None:
    calibration, fresh = np.arange(50.0), np.append(np.zeros(999), 1e6)
    limit = discoveries(calibration, fresh, conformal_p_values(calibration, fresh), 0.1)
    assert not (fresh > limit.value).any()
    assert np.isfinite(limit.value)
    assert "cannot flag fewer than 197 of 1,000 rows" in limit.notice
    assert not discoveries(calibration, fresh[:3], conformal_p_values(calibration, fresh[:3]), 0.1).notice


@pytest.mark.parametrize("rate", [0.0, 1.0, -1.0, float("nan")])
def test_no_other_share_can_be_discovered_at(rate: float) -> None:
    with pytest.raises(UsageError, match="false_discovery_rate"):
        discoveries(scores(9), scores(9), np.ones(9), rate)


# Drift


@pytest.mark.parametrize(("known", "new"), [(40, 200), (100, 5_000), (1_000, 200), (1_000, 1_000)])
def test_clean_batches_are_no_drift(known: int, new: int) -> None:
    """1,000 batches a case: at most 1 in 100 is told, with a tenth of the rows far off in every other batch."""
    random = np.random.default_rng(7)
    told = 0
    for draw in range(1_000):
        fresh = random.lognormal(size=new)
        fresh[: new // 10 * (draw % 2)] += 50
        told += bool(drift(random.lognormal(size=known), fresh))
    assert told <= 10


def test_windows_that_overlap_are_not_counted_as_so_many() -> None:
    """Running means of noise, four alike each: half as many would be told again if each were counted."""
    random = np.random.default_rng(3)
    told = {1: 0, 4: 0}
    for _ in range(300):
        known, new = (np.convolve(random.normal(size=count), np.ones(4), "valid") for count in (403, 303))
        told = {shared: count + bool(drift(known, new, shared)) for shared, count in told.items()}
    assert told[4] <= 3 < told[1]


def test_a_shift_is_told_and_anomalies_are_not() -> None:
    random = np.random.default_rng(0)
    known, clean = random.normal(size=1_000), random.normal(size=1_000)
    assert "score above the calibration's median" in drift(known, clean + 0.5)
    assert "100%" in drift(known, clean + 9)
    assert not drift(known, clean - 2)  # safer than they were
    assert not drift(known, np.where(np.arange(1_000) < 300, 9, clean))
    assert not drift(known, clean[:9] + 9)  # too few to say


# Series


def test_windows_calibrate_rows_of_a_series_on_the_safe_side() -> None:
    """A row's score is the mean over the windows that cover it, which varies less than theirs: fewer alarms."""
    random = np.random.default_rng(0)
    rates = (0.01, 0.05, 0.1)
    alarms: list[list[float]] = []
    for _ in range(40):
        noise = random.standard_t(5, size=4_200)
        walk = np.array(list(_autoregressive(noise)))
        windows = np.square(walk).reshape(-1, 6).mean(axis=1)
        windows = np.convolve(windows, np.ones(4) / 4, "valid")  # 24 steps, every 6
        known, new = windows[: len(windows) // 2], windows[len(windows) // 2 + 4 :]
        rows = np.convolve(new, np.ones(4) / 4, "valid")
        alarms.append([float((rows > conformal(known, rate).value).mean()) for rate in rates])
    assert (np.mean(alarms, axis=0) <= np.array(rates) + 0.005).all()


def _autoregressive(noise: np.ndarray, memory: float = 0.7) -> Iterator[float]:
    value = 0.0
    for each in noise.tolist():
        value = memory * value + each
        yield value


# Blocks


@pytest.mark.parametrize("count", [3, 40, 249, 250])
@pytest.mark.parametrize("block", [1, 5, 12])
def test_with_blocks_too_a_flag_is_a_p_value_of_at_most_the_rate(count: int, block: int) -> None:
    calibration, new = scores(count), np.concatenate([scores(60, 1), [99.0]])
    p_values = conformal_p_values(calibration, new, block)
    for rate in (0.01, 0.05, 0.3):
        limit = conformal(calibration, rate, block)
        np.testing.assert_array_equal(new > limit.value, p_values <= limit.reachable_rate + 1e-12)


def test_scores_that_repeat_one_another_have_the_p_values_of_as_many_as_differ() -> None:
    """60 scores, each 7 times: those of the 60, exactly."""
    calibration, new = np.random.default_rng(0).normal(size=60), np.random.default_rng(1).normal(size=200)
    repeated = conformal_p_values(np.repeat(calibration, 7), new, 7)
    np.testing.assert_allclose(repeated, conformal_p_values(calibration, new))
    for rate in (0.01, 0.05, 0.2):
        there, here = conformal(calibration, rate), conformal(np.repeat(calibration, 7), rate, 7)
        assert (here.value, here.reachable_rate) == (there.value, pytest.approx(there.reachable_rate))


@pytest.mark.parametrize("rate", [0.02, 0.1])
def test_windows_that_share_steps_alarm_no_more_often_than_promised(rate: float) -> None:
    """Means of 8 neighbours in white noise, 300 of them: without blocks the rarer alarms are too many."""
    random, block = np.random.default_rng(0), 8
    draws = np.stack([np.convolve(random.exponential(size=300 + block), np.ones(block), "valid") for _ in range(2_000)])
    new = random.exponential(size=(2_000, block)).sum(axis=1)
    alarms = np.mean([each > conformal(known, rate, block).value for known, each in zip(draws, new, strict=True)])
    promised = max(rate, block / (300 + block))
    assert alarms <= promised


@pytest.mark.parametrize("rate", [0.3, 0.05, 0.01])
@pytest.mark.parametrize("block", [2, 9])
def test_rows_needed_in_blocks_are_the_fewest_that_reach_the_rate(rate: float, block: int) -> None:
    needed = rows_needed(rate, block=block)
    assert not conformal(np.arange(needed, dtype=float), rate, block).notice
    assert f"blocks of {block}" in conformal(np.arange(needed - 1, dtype=float), rate, block).notice


def test_a_tail_is_not_asked_of_scores_too_few_and_alike() -> None:
    assert "blocks of 30" in peaks_over_threshold(scores(100), 1e-3, 30).notice
