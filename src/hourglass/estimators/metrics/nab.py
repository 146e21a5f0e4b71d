"""The score of the Numenta Anomaly Benchmark: early flags in a window earn most, false alarms cost a little each."""

from __future__ import annotations

import numpy as np

from hourglass.data.grid import runs

_FALSE_ALARM = 0.11
"""What a false alarm far from any window costs in the standard profile; a window found at its start earns 1, a missed
one costs 1."""
_PROBATION, _LONGEST_PROBATION = 0.15, 750
"""The share of a series, and the most steps, in which a detector may learn: nothing there counts."""


def nab_score(labels: np.ndarray, flagged: np.ndarray) -> float | None:
    """Standard score from 0 (no flag at all) to 100 (each window at its first step), below 0 where flags do harm.

    Lavin and Ahmad 2015 (arXiv 1510.03336): 100 (points + W) / 2 W, W the number of windows. None without a window.
    """
    points, windows = nab_points(labels, flagged)
    return 50 * (points + windows) / windows if windows else None


def nab_points(labels: np.ndarray, flagged: np.ndarray) -> tuple[float, int]:
    """Points of flags in one series, and its number of windows (runs of labelled steps): add both over several series.

    Of each window the earliest flag counts, or -1 where there is none; of all other steps, every flag.
    """
    starts, ends = _windows(labels)
    if not len(starts):
        return -_FALSE_ALARM * int(flagged[_probation(labels) :].sum()), 0
    counted = flagged & (np.arange(len(labels)) >= _probation(labels))
    worth = step_worth(labels)
    in_window = np.append(np.where(counted, worth, -1.0), -1.0)
    earned = np.maximum.reduceat(in_window, np.column_stack([starts, ends]).ravel())[::2]
    return float(worth[counted & ~labels].sum() + earned.sum()), len(starts)


def oracle_nab_score(labels: np.ndarray, score: np.ndarray) -> float | None:
    """The score at the threshold that the labels like best: no detector knows it, though published tables use it."""
    starts, ends = _windows(labels)
    if not len(starts):
        return None
    gains = np.where(np.arange(len(labels)) < _probation(labels), 0, step_worth(labels))
    for start, end in zip(np.maximum(starts, _probation(labels)), ends, strict=True):
        order = start + np.argsort(-score[start:end], kind="stable")
        gains[order] = np.diff(np.maximum.accumulate(gains[order]), prepend=-1.0)
    order = np.argsort(-score, kind="stable")
    above = score[order][:-1] > score[order][1:]
    total = np.cumsum(gains[order])[np.append(above, True)]
    return float(50 * max(total.max(), 0) / len(starts))


def step_worth(labels: np.ndarray) -> np.ndarray:
    """What a flag at each step is worth (steps,): sigmoid s(y) = 2 / (1 + exp(5 y)) - 1 of its place y at a window.

    In a window y rises from -1 at its first step to -1 / width at its last one, and the worth is s(y) / s(-1); after
    it y is the distance from its last step over width - 1, and the worth .11 s(y), from y = 3 on, and before the first
    window, -.11.
    """
    starts, ends = runs(labels)
    steps = np.arange(len(labels))
    window = np.searchsorted(starts, steps, side="right") - 1
    last, width = ends[window] - 1, (ends - starts)[window]
    within = (steps - last - 1) / width
    after = np.where(window < 0, 3.0, (steps - last) / np.maximum(width - 1, 1))
    after = np.where(after >= 3, np.inf, after)
    worth = np.where(labels, _sigmoid(within) / _sigmoid(np.array(-1.0)), _FALSE_ALARM * _sigmoid(after))
    return np.asarray(worth)


def _sigmoid(place: np.ndarray) -> np.ndarray:
    return np.asarray(-np.tanh(2.5 * place))


def _windows(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Starts and ends of the windows that do not end within the probation."""
    starts, ends = runs(labels)
    kept = ends > _probation(labels)
    return starts[kept], ends[kept]


def _probation(labels: np.ndarray) -> int:
    return min(int(_PROBATION * len(labels)), _LONGEST_PROBATION)
