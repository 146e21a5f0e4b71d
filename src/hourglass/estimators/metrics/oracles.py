"""Figures at thresholds that only the labels could have told: never what a detector gets, and always named so."""

from __future__ import annotations

import numpy as np


def oracle_f1(labels: np.ndarray, score: np.ndarray) -> float | None:
    """The best F1 of all thresholds on scores, high = odd; None without an anomaly.

    >>> oracle_f1(np.array([False, True, False, True]), np.array([1.0, 2.0, 3.0, 4.0]))
    0.8
    """
    if not labels.any():
        return None
    order = np.argsort(-score, kind="stable")
    below_ties = np.flatnonzero(np.append(np.diff(score[order]) < 0, True))
    hits = np.cumsum(labels[order])[below_ties]
    return float((2 * hits / (below_ties + 1 + labels.sum())).max())
