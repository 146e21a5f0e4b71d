"""Scores that drift slowly, brought back to the level that the threshold was set for."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from typing import final

import numpy as np


@final
class Adaptation:
    """Takes out of anomaly scores what the scores of usual rows have risen by since the calibration.

    Of the last `size` rows that were not flagged, median m and interquartile range s stand against those of the
    calibration scores up to the threshold, M and S: score' = M + (score - m) S / max(s, S), at most the score itself.
    So a row is only flagged that would be without it, and the shape of the tail stays that of the calibration. (Where
    unflagged scores join the calibration themselves, the threshold can never rise: none is above it.)

    Flagged rows are never learned from: a burst of anomalies stays one, and so does a level that jumps beyond the
    threshold at once.
    """

    def __init__(self, calibration: np.ndarray, limit: float, size: int) -> None:
        self._limit = limit
        usual = np.quantile(calibration[calibration <= limit], (np.arange(size) + 0.5) / size)
        self._sorted: list[float] = usual.tolist()
        # in random order, so that what is forgotten first is neither low nor high
        self._recent = deque(np.random.default_rng(0).permutation(usual).tolist())
        self._median, self._spread = self._level()

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        """The scores, in the order in which the rows came, as they would be without drift; learns from them."""
        return np.array([self._one(score) for score in scores.tolist()])

    def _one(self, score: float) -> float:
        median, spread = self._level()
        narrowed = self._spread / spread if spread > self._spread else 1.0
        corrected = min(score, self._median + (score - median) * narrowed)
        if corrected <= self._limit:
            self._learn(score)
        return corrected

    def _learn(self, score: float) -> None:
        del self._sorted[bisect_left(self._sorted, self._recent.popleft())]
        insort(self._sorted, score)
        self._recent.append(score)

    def _level(self) -> tuple[float, float]:
        size = len(self._sorted)
        return self._sorted[size // 2], self._sorted[3 * size // 4] - self._sorted[size // 4]
