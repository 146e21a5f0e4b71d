"""The drift-aware threshold: a slow drift is no flood of alarms, and anomalies stay some."""

from __future__ import annotations

import numpy as np
import pytest

from hourglass.core.adaptation import Adaptation
from hourglass.core.thresholds import conformal

RATES = [0.01, 0.1]


def usual(count: int, seed: int) -> np.ndarray:
    """Scores that are no bell: squared errors."""
    return np.random.default_rng(seed).gamma(4.0, size=count)


def flagged(scores: np.ndarray, rate: float, adapt: bool = True) -> np.ndarray:
    limit = conformal(usual(2_000, 0), rate).value
    corrected = Adaptation(usual(2_000, 0), limit, 1_000)(scores) if adapt else scores
    return np.asarray(corrected > limit)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("drift", ["level", "scale"])
def test_a_slow_drift_is_a_flood_of_alarms_only_without_it(rate: float, drift: str) -> None:
    way = np.linspace(0, 1, 20_000)
    scores = usual(20_000, 1) + 10 * way if drift == "level" else usual(20_000, 1) * (1 + 3 * way)
    assert flagged(scores, rate, adapt=False).mean() > 0.3
    assert flagged(scores, rate).mean() <= 2 * rate


@pytest.mark.parametrize("rate", RATES)
def test_without_drift_it_promises_the_same(rate: float) -> None:
    scores = usual(20_000, 2)
    assert 0.6 * rate < flagged(scores, rate).mean() <= flagged(scores, rate, adapt=False).mean() < 1.3 * rate


def test_a_burst_of_anomalies_stays_flagged_however_long() -> None:
    scores = np.concatenate([usual(500, 3), np.full(5_000, 30.0), usual(500, 4), np.full(50, 30.0)])
    found = flagged(scores, 0.01)
    assert found[500:5_500].all()
    assert found[-50:].all()
    assert found[5_500:6_000].mean() < 0.05


def test_it_flags_nothing_that_would_not_be_flagged_without_it() -> None:
    """Not even where scores fall and hardly vary, as those of a sensor that hangs."""
    scores = np.concatenate([np.full(3_000, 0.1), usual(500, 5)])
    assert not (flagged(scores, 0.05) & ~flagged(scores, 0.05, adapt=False)).any()


def test_rows_one_by_one_are_judged_as_together() -> None:
    limit, scores = conformal(usual(300, 0), 0.05).value, usual(3_000, 6) + np.linspace(0, 5, 3_000)
    together = Adaptation(usual(300, 0), limit, 200)
    alone = Adaptation(usual(300, 0), limit, 200)
    one_by_one = np.concatenate([alone(scores[row : row + 1]) for row in range(3_000)])
    np.testing.assert_array_equal(together(scores), one_by_one)
    assert len(alone._sorted) == len(alone._recent) == 200
    assert sorted(alone._recent) == alone._sorted


@pytest.mark.parametrize("calibration", [[1.0], [2.0, 2.0, 2.0]])
def test_a_calibration_that_says_hardly_anything_is_left_as_it_is(calibration: list[float]) -> None:
    known = np.array(calibration)
    limit = conformal(known, 0.1).value
    found = Adaptation(known, limit, 10)(np.array([known[0], 9.0, 0.5]))
    np.testing.assert_array_equal(found > limit, [False, True, False])
