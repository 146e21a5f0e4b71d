"""Groups of samples whose codes are alike, found without labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.cluster import KMeans


@dataclass(frozen=True)
class Clustering:
    """Which group each sample is in."""

    groups: np.ndarray
    """Numbers from 0, int64, shape (n,); 0 is the largest group."""
    separation: float
    """How far apart the groups are: 1 where each is a single point, near 0 where they run into one another."""

    @property
    def sizes(self) -> list[int]:
        """Samples in each group."""
        return [int(count) for count in np.bincount(self.groups)]


def k_means(points: np.ndarray, count: int, seed: int = 0) -> Clustering:
    """Group `points` (n, d) around `count` centres, so that the squared distances to them are small.

    Of five starts the best is kept. The separation is the mean of (b - a) / b, with a and b the distances to the
    nearest centre and to the next one (simplified silhouette, Hruschka et al. 2004).
    """
    found = KMeans(count, n_init=5, random_state=seed).fit(points)
    rank = np.argsort(np.argsort(-np.bincount(found.labels_, minlength=count), kind="stable"))
    distances = np.sort(found.transform(points), axis=1)
    nearest, next_one = distances[:, 0], distances[:, min(1, count - 1)]
    apart = 1 - nearest / np.maximum(next_one, np.finfo(float).tiny)
    return Clustering(rank[found.labels_], float(apart.mean()))
