"""What simpler methods make of the same samples: PCA of the model's own size, and an isolation forest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import spearmanr
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest

from hourglass.core.chunks import in_chunks
from hourglass.core.fitted import FittedModel

TREES = 200
_ROUNDING = 1e-6
"""Directions with less than this part of the largest one's spread are what rounding to float32 leaves."""


@dataclass(frozen=True)
class Baselines:
    """PCA and an isolation forest, fitted on packed samples of any shape; a missing number (NaN) counts as 0.

    >>> line = np.outer(np.linspace(-1, 1, 50), [1.0, 2.0])
    >>> fitted = Baselines.fit(line, latent=1, seed=0)
    >>> fitted.scores(np.array([[1.0, 2.0], [1.0, -2.0]]))["pca"].round(2)
    array([0. , 1.6])
    """

    mean: np.ndarray
    axes: np.ndarray
    """Principal axes as rows, orthonormal, shape (components, size)."""
    forest: IsolationForest

    @classmethod
    def fit(cls, samples: np.ndarray, latent: int, seed: int) -> Baselines:
        """Fit both on samples (n, ...); PCA with `latent` components, or as many as the samples have directions."""
        flat = _flat(samples)
        forest = IsolationForest(n_estimators=TREES, random_state=seed).fit(flat)
        return cls(flat.mean(axis=0), _axes(flat, latent, seed), forest)

    @property
    def components(self) -> int:
        """Numbers in PCA's code."""
        return len(self.axes)

    def scores(self, samples: np.ndarray) -> dict[str, np.ndarray]:
        """Anomaly scores (n,) by method, high = odd: PCA's mean squared residual, and the forest's isolation."""
        squares, there = self._residuals(samples)
        residual = squares.sum(axis=1) / np.maximum(there.sum(axis=1), 1)
        return {"pca": residual, "isolation forest": -self.forest.score_samples(_flat(samples))}

    def reconstruction_error(self, samples: np.ndarray) -> float:
        """PCA's mean squared error over the numbers that are not missing, on the packed scale."""
        squares, there = self._residuals(samples)
        return float(squares.sum() / max(there.sum(), 1))

    def _residuals(self, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Squared residual of each number, 0 where it is missing, and where it is not. Both (n, size)."""
        there = ~np.isnan(samples.reshape(len(samples), -1))
        centred = _flat(samples) - self.mean
        return np.square(centred - centred @ self.axes.T @ self.axes) * there, there


def pca_error(train: np.ndarray, samples: np.ndarray, latent: int, seed: int) -> float:
    """`Baselines.reconstruction_error` where nothing but PCA is asked: growing a forest takes longer."""
    flat = _flat(train)
    return Baselines(flat.mean(axis=0), _axes(flat, latent, seed), IsolationForest()).reconstruction_error(samples)


def reconstruction_error(model: FittedModel, samples: np.ndarray) -> float:
    """Mean squared error of the model over the numbers that are not missing, on the packed scale."""
    given_back = in_chunks(model.network.reconstruct, samples, model.network.device)
    squares = np.square(samples.astype(np.float64) - given_back)
    return float(np.nanmean(squares)) if np.isfinite(squares).any() else 0.0


def rank_correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Spearman's rank correlation; 0 where either is constant.

    >>> rank_correlation(np.array([1.0, 2.0, 30.0]), np.array([0.1, 0.2, 0.3]))
    1.0
    """
    if not (np.ptp(one) and np.ptp(other)):
        return 0.0
    return float(spearmanr(one, other).statistic)


def _axes(flat: np.ndarray, latent: int, seed: int) -> np.ndarray:
    most = min(latent, len(flat) - 1, flat.shape[1])
    if most < 1 or not np.ptp(flat, axis=0).any():  # scikit-learn divides by the variance
        return np.empty((0, flat.shape[1]))
    pca = PCA(most, random_state=seed).fit(flat)
    real = pca.singular_values_ > _ROUNDING * pca.singular_values_[0]
    return np.asarray(pca.components_[real])


def _flat(samples: np.ndarray) -> np.ndarray:
    return np.nan_to_num(samples.reshape(len(samples), -1).astype(np.float64))
