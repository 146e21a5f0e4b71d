"""What codes are worth to others: a linear classifier and a clustering on them, beside PCA and the raw samples."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import normalized_mutual_info_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from hourglass.core.fitted import FittedModel
from hourglass.data.formats import Data
from hourglass.errors import DataError, SchemaError
from hourglass.estimators.clustering import k_means

MOST_ROWS = 10_000
"""Rows that the classifier learns from, and rows that it is judged on; of more, so many are drawn."""
MOST_CLASSES = 100
_TEST = 0.25


def probe(
    model: FittedModel, data: Data, labels: np.ndarray, *, test: tuple[Data, np.ndarray] | None = None, seed: int = 0
) -> dict[str, Any]:
    """Accuracy of a logistic regression, and how well k-means finds the classes, on codes, PCA codes and raw samples.

    The network stays as it is (a linear probe, Alain and Bengio 2016). `labels` (rows,) may be words or numbers.
    `test`: other rows to judge on; without them a quarter of the rows is kept apart. PCA has as many numbers as a code
    and learns from the same rows as the classifier. Clusters are as many as classes, found in the rows judged on;
    `nmi` is their normalised mutual information with the classes (0 to 1).
    """
    given = [_samples_and_labels(model, data, labels)] + ([_samples_and_labels(model, *test)] if test else [])
    known, judged = (given[0], given[1]) if test else _apart(*given[0], seed)
    (x, y), (x_test, y_test) = (_at_most(*part, seed) for part in (known, judged))
    pca = PCA(min(model.latent_size, *_flat(x).shape), random_state=seed).fit(_flat(x))
    views = {"codes": model.encode_samples, "pca": lambda samples: pca.transform(_flat(samples)), "raw": _flat}
    return {
        "rows": len(x),
        "test_rows": len(x_test),
        "classes": len(np.unique(y)),
        "latent": model.latent_size,
        "features": {name: _judged(view(x), y, view(x_test), y_test, seed) for name, view in views.items()},
    }


def _judged(x: np.ndarray, y: np.ndarray, x_test: np.ndarray, y_test: np.ndarray, seed: int) -> dict[str, float]:
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1_000))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # classes that a line parts have no best line
        classifier.fit(x, y)
    groups = k_means(x_test, len(np.unique(y_test)), seed).groups
    return {
        "accuracy": float(classifier.score(x_test, y_test)),
        "nmi": float(normalized_mutual_info_score(y_test, groups)),
    }


def _samples_and_labels(model: FittedModel, data: Data, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    packed = model.format.pack(data)
    if len(packed.samples) != len(labels):
        what = f"got {len(labels):,} labels for {len(packed.samples):,} samples, wanted one for each"
        how = "series that are cut into windows, pictures or recordings into tiles, have no label each"
        raise SchemaError(what, where="labels", how=how)
    if not 2 <= (classes := len(np.unique(labels))) <= MOST_CLASSES:
        what = f"got {classes:,} different labels, wanted 2 to {MOST_CLASSES}"
        raise DataError(what, where="labels", how="name a column of classes; `hourglass finetune` predicts numbers")
    return packed.samples, labels


def _apart(x: np.ndarray, y: np.ndarray, seed: int) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    _, counts = np.unique(y, return_counts=True)
    alike = y if counts.min() >= 2 and len(y) * _TEST >= len(counts) else None
    x, x_test, y, y_test = train_test_split(x, y, test_size=_TEST, random_state=seed, stratify=alike)
    return (x, y), (x_test, y_test)


def _at_most(x: np.ndarray, y: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    chosen = np.sort(np.random.default_rng(seed).permutation(len(x))[:MOST_ROWS])
    return x[chosen], y[chosen]


def _flat(samples: np.ndarray) -> np.ndarray:
    return np.asarray(np.nan_to_num(samples).reshape(len(samples), -1))
