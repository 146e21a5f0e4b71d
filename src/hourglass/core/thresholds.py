"""From held-out scores of normal rows to a new score's p-value, and to the score above which a row is an anomaly."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from hourglass.data.times import counted
from hourglass.errors import DataError, UsageError
from hourglass.settings import did_you_mean


@dataclass(frozen=True)
class Threshold:
    """A row is an anomaly where its score is above `value`."""

    value: float
    reachable_rate: float
    """The false-alarm rate that this calibration can promise: as asked, or the smallest possible with few rows."""
    notice: str = ""


def conformal_p_values(calibration: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """p = (1 + number of calibration scores >= score) / (n + 1), for each score.

    For a new normal row, P(p <= rate) <= rate whatever the scores are (Vovk et al. 2005, split conformal).

    >>> conformal_p_values(np.array([1.0, 2.0, 3.0]), np.array([0.0, 2.5, 9.0]))
    array([1.  , 0.5 , 0.25])
    """
    ordered = np.sort(calibration)
    at_least = len(ordered) - np.searchsorted(ordered, scores, side="left")
    return np.asarray((1 + at_least) / (len(ordered) + 1))


def conformal(calibration: np.ndarray, rate: float) -> Threshold:
    """The score above which the conformal p-value is at most `rate`.

    With fewer than 1/rate - 1 calibration rows no p-value is that small: then the largest calibration score.
    """
    count = len(calibration)
    rank = min(int(np.floor(rate * (count + 1) + 1e-9)), count)
    value = float(np.sort(calibration)[-max(rank, 1)])
    if rank >= 1:
        return Threshold(value, rate)
    reachable = 1 / (count + 1)
    cannot = f"{counted(count, 'calibration row')} cannot promise a false-alarm rate of {rate:g}"
    notice = f"{cannot}; the smallest they can is {reachable:.2g}"
    return Threshold(value, reachable, notice)


def quantile(calibration: np.ndarray, rate: float) -> Threshold:
    """The score that a share `rate` of the calibration rows exceeds."""
    return Threshold(float(np.quantile(calibration, 1 - rate)), rate)


def mad(calibration: np.ndarray, rate: float) -> Threshold:
    """Median plus as many robust standard deviations (1.4826 MAD) as a normal tail of `rate` needs."""
    median = np.median(calibration)
    spread = 1.4826 * np.median(np.abs(calibration - median))
    # more than half of the scores alike: the MAD is 0 and says nothing
    spread = spread or np.std(calibration)
    return Threshold(float(median + NormalDist().inv_cdf(1 - rate) * spread), rate)


RULES = {"conformal": conformal, "quantile": quantile, "mad": mad}


def threshold(calibration: np.ndarray, rate: float, rule: str) -> Threshold:
    """The threshold of a rule for a false-alarm rate strictly between 0 and 1."""
    if not 0 < rate < 1:
        raise UsageError(
            f"got {rate}, wanted a share above 0 and below 1",
            where="false_alarm_rate",
            how="0.01 flags about 1 normal row in 100",
        )
    if rule not in RULES:
        raise UsageError(f"there is no threshold rule called {rule!r}", how=did_you_mean(rule, RULES))
    finite = int(np.isfinite(calibration).sum())
    if not finite or finite < len(calibration):
        what = f"got {finite} finite calibration scores of {len(calibration)}, wanted all of them, and at least 1"
        raise DataError(what, where="threshold", how="fit again, on normal rows")
    return RULES[rule](calibration, rate)


def rows_needed(rate: float) -> int:
    """The fewest calibration rows whose conformal p-values can reach `rate`."""
    return int(np.ceil(1 / rate - 1e-9)) - 1
