"""How well flags find the labelled ranges of a series: whole ranges count, not single steps.

All take steps of one series in the order of time, as booleans (steps,). A range is a run of labelled steps. None
stands for a figure that the labels or the flags leave undefined.
"""

from __future__ import annotations

import numpy as np

from hourglass.data.grid import runs


def range_figures(labels: np.ndarray, flagged: np.ndarray) -> dict[str, float | None]:
    """Precision, recall and F1 of ranges (Tatbul et al. 2018, NeurIPS), and recall and F1 of events.

    A labelled range R earns |flagged part of R| / |R|, divided by the number of pieces it was found in: recall is the
    mean over ranges. Precision is the same with labels and flags exchanged. (Existence weight 0, flat bias,
    reciprocal cardinality.)

    >>> flagged = np.array([0, 1, 1, 0, 0, 1], dtype=bool)
    >>> range_figures(np.array([0, 0, 1, 1, 1, 1], dtype=bool), flagged)["range_recall"]  # half, in two pieces
    0.25
    """
    recall, precision = _overlap_reward(labels, flagged), _overlap_reward(flagged, labels)
    return {
        "range_precision": precision,
        "range_recall": recall,
        "range_f1": harmonic_mean(precision, recall),
        "event_recall": event_recall(labels, flagged),
        "event_f1": event_f1(labels, flagged),
    }


def _overlap_reward(wanted: np.ndarray, given: np.ndarray) -> float | None:
    """Mean over the runs of `wanted` of the share that `given` covers, over the number of pieces that it comes in."""
    starts, ends = runs(wanted)
    if not len(starts):
        return None
    covered = np.concatenate([[0], np.cumsum(wanted & given)])
    pieces, _ = runs(wanted & given)
    count = np.searchsorted(pieces, ends) - np.searchsorted(pieces, starts)
    return float(np.mean((covered[ends] - covered[starts]) / (ends - starts) / np.maximum(count, 1)))


def event_recall(labels: np.ndarray, flagged: np.ndarray) -> float | None:
    """The share of labelled ranges in which some step is flagged."""
    starts, ends = runs(labels)
    return float(np.mean(_any_within(flagged, starts, ends))) if len(starts) else None


def event_f1(labels: np.ndarray, flagged: np.ndarray) -> float | None:
    """Harmonic mean of the precision of steps and the recall of ranges (composite F1, Garg et al. 2021, IEEE TNNLS).

    Precision is that of steps, since one flag over the whole series would be a single event, and right.
    """
    precision = float((labels & flagged).sum() / flagged.sum()) if flagged.any() else None
    return harmonic_mean(precision, event_recall(labels, flagged))


def point_adjusted_f1(labels: np.ndarray, flagged: np.ndarray) -> float | None:
    """F1 of steps after every step of a range counts as found where one is (Xu et al. 2018): too kind by far.

    Flags at random win it where ranges are long (Kim et al. 2022, AAAI): for comparison with old tables only.
    """
    starts, ends = runs(labels)
    found = np.repeat(_any_within(flagged, starts, ends), ends - starts).sum()
    together = labels.sum() + found + (flagged & ~labels).sum()
    return float(2 * found / together) if together else None


def _any_within(flagged: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """For each stretch from start to end, whether a step of it is flagged."""
    before = np.concatenate([[0], np.cumsum(flagged)])
    return np.asarray(before[ends] > before[starts])


def harmonic_mean(precision: float | None, recall: float | None) -> float | None:
    """F1; 0 where both are 0, and where no step is flagged although there are ranges to find."""
    if recall is None:
        return None
    together = (precision or 0.0) + recall
    return 2 * (precision or 0.0) * recall / together if together else 0.0
