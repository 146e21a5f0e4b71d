"""Areas and volumes under the ROC and PR curves of ranges, which forgive flags just beside a range."""

from __future__ import annotations

import numpy as np

from hourglass.data.grid import runs


def volumes(labels: np.ndarray, score: np.ndarray, longest: int) -> dict[str, float | None]:
    """VUS-ROC and VUS-PR (Paparrizos et al. 2022, PVLDB 15(11)): the mean of the areas over buffers of 0 to `longest`.

    `labels` and `score`, high = odd, are of the steps (steps,) of one series in the order of time. None where all steps
    are labelled alike. Every score is a threshold. Time grows with steps x `longest`.

    >>> labels = np.array([0, 0, 0, 1, 1, 0, 0, 0], dtype=bool)
    >>> volumes(labels, labels.astype(float), 0)
    {'vus_roc': 1.0, 'vus_pr': 1.0}
    """
    if labels.all() or not labels.any():
        return {"vus_roc": None, "vus_pr": None}
    order = np.argsort(-score, kind="stable")
    areas = [_areas(labels, order, _lowest_of_ties(score[order]), length) for length in range(longest + 1)]
    roc, precision_recall = np.mean(areas, axis=0)
    return {"vus_roc": float(roc), "vus_pr": float(precision_recall)}


def _areas(labels: np.ndarray, order: np.ndarray, last: np.ndarray, length: int) -> tuple[float, float]:
    """Areas under the ROC and PR curves for one length of buffer.

    With soft labels s, flags f, positives P = (sum labels + sum s) / 2 and n steps, at each threshold
    recall = min(sum s f / P, 1) x share of ranges, buffer included, in which a step is flagged,
    false-alarm rate = sum (1 - s) f / (n - P), precision = sum s f / sum f.
    """
    soft = soft_labels(labels, length)
    hits, flagged = np.cumsum(soft[order])[last], last + 1
    positives = (labels.sum() + soft.sum()) / 2
    recall = np.minimum(hits / positives, 1) * _found(labels, order, last, length // 2)
    rate = (flagged - hits) / (len(labels) - positives)
    heights = (np.append(recall, 1) + np.append(0, recall)) / 2
    roc = np.diff(rate, prepend=0, append=1) @ heights
    # steps, as in average precision: straight lines between few points of a PR curve flatter
    return float(roc), float(np.diff(recall, prepend=0) @ (hits / flagged))


def soft_labels(labels: np.ndarray, length: int) -> np.ndarray:
    """1 in a range; sqrt(1 - d / length) at distance d beside it, up to length / 2. Where buffers meet, their sum.

    >>> soft_labels(np.array([False, False, False, True]), 4).round(3)
    array([0.   , 0.707, 0.866, 1.   ])
    """
    half = length // 2
    if not half:
        return labels.astype(float)
    starts, ends = runs(labels)
    distance = np.arange(1, half + 1)
    places = np.concatenate([starts[:, None] - distance, ends[:, None] - 1 + distance]) + half
    fall = np.broadcast_to(np.sqrt(1 - distance / length), places.shape)
    beside = np.bincount(places.ravel(), fall.ravel(), len(labels) + 2 * half)
    return np.minimum(labels + beside[half:-half], 1)


def _found(labels: np.ndarray, order: np.ndarray, last: np.ndarray, half: int) -> np.ndarray:
    """At each threshold, the share of ranges of which a step, or one of the `half` steps beside them, is flagged."""
    starts, ends = runs(labels)
    rank = np.empty(len(order) + 1, dtype=np.int64)
    rank[order], rank[-1] = np.arange(len(order)), len(order)
    reach = np.column_stack([np.maximum(starts - half, 0), np.minimum(ends + half, len(labels))])
    first = np.sort(np.minimum.reduceat(rank, reach.ravel())[::2])
    return np.searchsorted(first, last, side="right") / len(starts)


def _lowest_of_ties(descending: np.ndarray) -> np.ndarray:
    """Positions of the last of equal scores: a threshold lies below all of them."""
    return np.flatnonzero(np.append(descending[1:] != descending[:-1], True))
