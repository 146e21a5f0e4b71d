"""Affiliation: how near flags are to labelled ranges, compared with a flag at random."""

from __future__ import annotations

import numpy as np

from hourglass.data.grid import runs
from hourglass.estimators.metrics.ranges import harmonic_mean

_FINE = 4
"""Parts of a step: all distances below are linear within a quarter, so that its middle stands for it exactly."""


def affiliation(labels: np.ndarray, flagged: np.ndarray) -> dict[str, float | None]:
    """Affiliation precision, recall and F1 (Huet et al. 2022, KDD), for steps (steps,) of one series in time order.

    Step i is the interval [i, i + 1). Each range J has the zone I of the times nearest to it, and within it:
    precision, the mean over flagged times x of P(dist(X, J) >= dist(x, J)), X uniform in I; recall, the mean over times
    y of J of P(|X - y| >= dist(y, flags in I)). The result is the mean over zones; precision, over those with flags.

    >>> labels, flagged = np.zeros(10, dtype=bool), np.zeros(10, dtype=bool)
    >>> labels[4], flagged[5] = True, True
    >>> affiliation(labels, flagged)["affiliation_precision"]
    0.8
    """
    starts, ends = runs(labels)
    names = ("affiliation_precision", "affiliation_recall", "affiliation_f1")
    if not len(starts):
        return dict.fromkeys(names)
    edges = np.concatenate([[0.0], (ends[:-1] + starts[1:]) / 2, [float(len(labels))]])
    alarm = np.repeat(flagged, _FINE)
    pairs = [_zone(alarm, *zone) for zone in zip(edges[:-1], edges[1:], starts, ends, strict=True)]
    precisions = [precision for precision, _ in pairs if precision is not None]
    precision = float(np.mean(precisions)) if precisions else None
    recall = float(np.mean([recall for _, recall in pairs]))
    return dict(zip(names, (precision, recall, harmonic_mean(precision, recall)), strict=True))


def _zone(alarm: np.ndarray, left: float, right: float, start: int, end: int) -> tuple[float | None, float]:
    """Precision and recall in the zone from `left` to `right` of the range from `start` to `end`."""
    alarm = alarm[int(left * _FINE) : int(right * _FINE)]
    if not alarm.any():
        return None, 0.0
    flagged = left + (np.flatnonzero(alarm) + 0.5) / _FINE
    inside = start + (np.arange((end - start) * _FINE) + 0.5) / _FINE
    near = _distance(inside, *(left + edge / _FINE for edge in runs(alarm)))
    recall = np.maximum(inside - near - left, 0) + np.maximum(right - inside - near, 0)
    return _precision(flagged, left, right, start, end), float(recall.mean() / (right - left))


def _precision(flagged: np.ndarray, left: float, right: float, start: int, end: int) -> float:
    distance = np.maximum(np.maximum(start - flagged, flagged - end), 0)
    farther = np.maximum(start - left - distance, 0) + np.maximum(right - end - distance, 0)
    return float(np.where(distance > 0, farther / (right - left), 1).mean())


def _distance(times: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """From each time to the nearest of the intervals, 0 inside one."""
    after = np.searchsorted(starts, times)
    to_next = np.append(starts, np.inf)[after] - times
    to_last = times - np.concatenate([[-np.inf], ends])[after]
    return np.asarray(np.maximum(np.minimum(to_next, to_last), 0))
