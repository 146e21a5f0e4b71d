"""Codes as features: a fitted autoencoder before a classifier or a clustering, in a pipeline of scikit-learn's."""

import numpy as np
import pytest
from sklearn.base import BaseEstimator, clone
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import adjusted_rand_score
from sklearn.pipeline import make_pipeline

from hourglass import TableAutoencoder
from hourglass.estimators.base import BaseAutoencoder


def clusters(rows: int = 200, noise: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Four groups on a plane, each number of which is read ten times with noise, among numbers that say nothing."""
    random = np.random.default_rng(0)
    group = random.integers(0, 4, rows)
    place = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]])[group] + 0.35 * random.normal(size=(rows, 2))
    told = np.repeat(place, 10, axis=1) + 0.7 * random.normal(size=(rows, 20))
    return np.hstack([told, 1.1 * random.normal(size=(rows, noise))]), group


def agreement(pipeline: BaseEstimator, x: np.ndarray, group: np.ndarray) -> float:
    return float(adjusted_rand_score(group, pipeline.fit(x).predict(x)))


def test_groups_are_found_in_codes_that_drown_in_the_raw_numbers() -> None:
    x, group = clusters()
    means = KMeans(4, n_init=1, random_state=1)
    encoder = TableAutoencoder(kind="plain", latent=2, epochs=40, learning_rate=0.01)
    raw, codes = agreement(clone(means), x, group), agreement(make_pipeline(encoder, means), x, group)
    assert codes > raw + 0.05
    assert codes > 0.8


@pytest.mark.parametrize("kind", ["stacked", "variational", "top-k"])
def test_codes_of_any_kind_tell_digits_apart(kind: str) -> None:
    x, y = load_digits(n_class=4, return_X_y=True)
    encoder = TableAutoencoder(kind=kind, latent=12, layers=(40,), epochs=20, batch_size=32)
    pipeline = make_pipeline(encoder, LogisticRegression(max_iter=500)).fit(x[:400], y[:400])
    assert pipeline.score(x[400:], y[400:]) > 0.8


def test_a_fitted_autoencoder_serves_a_classifier_without_being_fitted_again() -> None:
    x, y = load_digits(n_class=4, return_X_y=True)
    fitted: BaseAutoencoder = TableAutoencoder(kind="denoising", latent=12, epochs=20, batch_size=32).fit(x)
    classifier = LogisticRegression(max_iter=500).fit(fitted.transform(x[:200]), y[:200])
    assert classifier.score(fitted.transform(x[200:]), y[200:]) > 0.85
