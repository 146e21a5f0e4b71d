"""From held-out scores of normal rows to a new score's p-value, and to the score above which a row is an anomaly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np

from hourglass.data.times import counted
from hourglass.errors import DataError, UsageError
from hourglass.settings import did_you_mean

_FEWEST_PEAKS, _ENOUGH_FOR_A_TAIL = 20, 1_000
"""Scores that a tail can be fitted to at all, and calibration rows that fit one well."""
_FEWEST_FOR_DRIFT, _CHANCE, _SLIGHT = 10, 1e-3, 0.1
"""Scores (that share nothing), chance and distance below which nothing is said of drift."""


@dataclass(frozen=True)
class Threshold:
    """A row is an anomaly where its score is above `value`."""

    value: float
    reachable_rate: float
    """The false-alarm rate that this calibration can promise: as asked, or the smallest possible with few rows."""
    notice: str = ""


def conformal_p_values(calibration: np.ndarray, scores: np.ndarray, block: int = 1) -> np.ndarray:
    """p = (b + number of calibration scores >= score) / (n + b), for each score; b is the `block`, 1 for plain rows.

    For a new normal row, P(p <= rate) <= rate whatever the scores are (Vovk et al. 2005, split conformal). Scores of a
    series come in blocks of b neighbours that say the same: whole blocks may change places (Chernozhukov et al. 2018),
    so a new score counts as b, and the p-value is that of its block among n / b others.

    >>> conformal_p_values(np.array([1.0, 2.0, 3.0]), np.array([0.0, 2.5, 9.0]))
    array([1.  , 0.5 , 0.25])
    """
    ordered = np.sort(calibration)
    at_least = len(ordered) - np.searchsorted(ordered, scores, side="left")
    return np.asarray((block + at_least) / (len(ordered) + block))


def conformal(calibration: np.ndarray, rate: float, block: int = 1) -> Threshold:
    """The score above which the conformal p-value is at most `rate`.

    With fewer than block / rate - block calibration rows no p-value is that small: then the largest calibration score.
    """
    count = len(calibration)
    rank = min(int(np.floor(rate * (count + block) + 1e-9)) - block + 1, count)
    value = float(np.sort(calibration)[-max(rank, 1)])
    if rank >= 1:
        return Threshold(value, rate)
    reachable = block / (count + block)
    blocks = f" in blocks of {block:,} that say nearly the same" if block > 1 else ""
    cannot = f"{counted(count, 'calibration row')}{blocks} cannot promise a false-alarm rate of {rate:g}"
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


def peaks_over_threshold(calibration: np.ndarray, rate: float, block: int = 1) -> Threshold:
    """The score that a share `rate` of normal rows exceeds, by the tail that the largest scores follow.

    A generalised Pareto law is fitted to the excesses over a high score (Siffer et al. 2017, KDD), so that a rate may
    lie below 1 / (rows + 1): value = u + scale / shape ((rate n / k)^-shape - 1), of n rows the k largest above u.
    Rates that the rows reach by themselves, and fewer than 200 rows, are left to `conformal`.
    """
    count = len(calibration)
    ordered = np.sort(calibration)
    peaks = min(count // 10, round(5 * count**0.5))
    excesses = ordered[count - peaks :] - ordered[count - peaks - 1]
    excesses = excesses[excesses > 0]  # fewer than `peaks` where scores are tied with u
    if rate * count >= len(excesses) > 0:
        return conformal(calibration, rate, block)
    if len(excesses) < _FEWEST_PEAKS:
        few = f"{len(excesses)} of {counted(count, 'calibration row')} are too few to fit a tail to"
        fallback = conformal(calibration, rate, block)
        notice = f"{few}: the threshold is conformal"
        return replace(fallback, notice="; ".join(filter(None, [notice, fallback.notice])))
    shape, scale = pareto_tail(excesses)
    steps = -np.log(rate * count / len(excesses))
    excess = scale * (np.expm1(shape * steps) / shape if shape else steps)
    return Threshold(float(ordered[count - peaks - 1] + excess), rate)


def pareto_tail(excesses: np.ndarray) -> tuple[float, float]:
    """Shape and scale of the generalised Pareto law, P(excess > x) = (1 + shape x / scale)^(-1 / shape).

    Zhang and Stephens 2009 (Technometrics 51(3)): the mean of theta = -shape / scale, weighted by its profile
    likelihood over a grid; nothing is iterated, and bounded tails (shape < 0) are as good as heavy ones.
    """
    x = np.sort(excesses)
    count, size = len(x), 30 + int(len(x) ** 0.5)
    prior = 1 - np.sqrt(size / (np.arange(size) + 0.5))
    theta = 1 / x[-1] + prior / (3 * x[int(count / 4 + 0.5) - 1])
    shapes = np.log1p(-theta[:, None] * x).mean(axis=1)
    likelihood = count * (np.log(-theta / shapes) - shapes - 1)
    weight = np.exp(likelihood - likelihood.max())
    best = float(theta @ weight / weight.sum())
    shape = float(np.log1p(-best * x).mean())
    return shape, -shape / best


RULES: dict[str, Callable[[np.ndarray, float, int], Threshold]] = {
    "conformal": conformal,
    "quantile": lambda calibration, rate, block: quantile(calibration, rate),
    "mad": lambda calibration, rate, block: mad(calibration, rate),
    "peaks-over-threshold": peaks_over_threshold,
}
"""By name; only what rests on ranks asks how many neighbouring scores say the same."""


def threshold(calibration: np.ndarray, rate: float, rule: str, block: int = 1) -> Threshold:
    """The threshold of a rule for a false-alarm rate strictly between 0 and 1."""
    _check_share(rate, "false_alarm_rate", "0.01 flags about 1 normal row in 100")
    if rule not in RULES:
        raise UsageError(f"there is no threshold rule called {rule!r}", how=did_you_mean(rule, RULES))
    finite = int(np.isfinite(calibration).sum())
    if not finite or finite < len(calibration):
        what = f"got {finite} finite calibration scores of {len(calibration)}, wanted all of them, and at least 1"
        raise DataError(what, where="threshold", how="fit again, on normal rows")
    return RULES[rule](calibration, rate, block)


def check_discovery_rate(rate: float) -> None:
    """Refuse a false discovery rate that is not strictly between 0 and 1."""
    _check_share(rate, "false_discovery_rate", "0.1 lets 1 flag in 10 be a false alarm")


def _check_share(share: float, where: str, how: str) -> None:
    if not 0 < share < 1:
        raise UsageError(f"got {share}, wanted a share above 0 and below 1", where=where, how=how)


def rows_needed(rate: float, rule: str = "conformal", block: int = 1) -> int:
    """The fewest calibration rows whose conformal p-values can reach `rate`, or enough to fit a tail to."""
    needed = int(np.ceil(block / rate - 1e-9)) - block
    return min(needed, _ENOUGH_FOR_A_TAIL) if rule == "peaks-over-threshold" else needed


def discoveries(
    calibration: np.ndarray, scores: np.ndarray, p_values: np.ndarray, rate: float, block: int = 1
) -> Threshold:
    """The threshold at which, of the rows that are flagged, a share of at most `rate` is expected to be normal.

    Benjamini-Hochberg on conformal p-values (Bates et al. 2023, Annals of Statistics 51(1)): of m rows, those with
    p <= c = k rate / m, for the largest k such that k rows are. `reachable_rate` is that c, or 0 where no row is odd
    enough.
    """
    check_discovery_rate(rate)
    count, rows = len(calibration), len(p_values)
    allowed = rate * np.arange(1, rows + 1) / max(rows, 1)
    passing = np.flatnonzero(np.sort(p_values) <= allowed + 1e-12)
    if len(passing):
        cut = float(allowed[passing[-1]])
        return replace(conformal(calibration, cut, block), reachable_rate=cut)
    value = float(np.max(scores, initial=calibration.max()))
    fewest = int(np.ceil(rows / rate * block / (count + block) - 1e-9))
    cannot = f"{counted(count, 'calibration row')} cannot flag fewer than {fewest:,} of {counted(rows, 'row')}"
    return Threshold(value, 0.0, f"{cannot} at a false discovery rate of {rate:g}" if fewest > 1 else "")


def drift(calibration: np.ndarray, scores: np.ndarray, shared: int = 1) -> str:
    """One sentence where new scores are higher than the calibration's altogether, not in a few odd rows; else "".

    Rows beyond the 90 % quantile of the calibration are left out on both sides, so that anomalies are no drift. The
    others must be alike: told is a one-sided two-sample Kolmogorov-Smirnov distance above .1 that chance exceeds once
    in 1,000 times, exp(-2 d^2 n m / (n + m)); or that more than half of the rows lie beyond. `shared`: how many
    neighbours' scores say nearly the same, as those of windows that overlap do.
    """
    if min(len(scores), len(calibration)) < _FEWEST_FOR_DRIFT * shared:
        return ""
    usual = np.quantile(calibration, 0.9)
    old, new = np.sort(calibration[calibration <= usual]), np.sort(scores[scores <= usual])
    if 2 * len(new) >= len(scores):
        distance = np.arange(1, len(old) + 1) / len(old) - np.searchsorted(new, old, side="right") / len(new)
        bound = np.sqrt(-np.log(_CHANCE) / 2 * shared * (1 / len(old) + 1 / len(new)))
        if distance.max() <= max(bound, _SLIGHT):
            return ""
    above = np.mean(scores > np.median(calibration))
    return (
        f"the rows differ from those that set the threshold: {above:.0%} of them score above the calibration's median,"
        " where half would; if they are normal, fit again on newer rows"
    )
