"""Codes are judged by what a linear classifier and a clustering make of them."""

import numpy as np
import pytest

from hourglass import TableAutoencoder
from hourglass.core.fitted import FittedModel
from hourglass.errors import DataError, SchemaError
from hourglass.estimators.probing import probe


def classes(rows: int = 240, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Three classes of rows, each about its own centre."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, rows)
    centres = np.random.default_rng(1).normal(scale=5, size=(3, 8))
    return centres[labels] + random.normal(size=(rows, 8)), labels


@pytest.fixture(scope="module")
def model() -> FittedModel:
    return TableAutoencoder(kind="plain", latent=2, epochs=40).fit(classes()[0]).model_


def test_classes_that_lie_apart_are_found_in_the_codes(model: FittedModel) -> None:
    result = probe(model, *classes())
    assert (result["rows"], result["test_rows"], result["classes"], result["latent"]) == (180, 60, 3, 2)
    assert list(result["features"]) == ["codes", "pca", "raw"]
    for scores in result["features"].values():
        assert scores["accuracy"] > 0.95
        assert scores["nmi"] > 0.9


def test_shuffled_labels_are_found_nowhere(model: FittedModel) -> None:
    x, labels = classes()
    result = probe(model, x, np.random.default_rng(2).permutation(labels))
    for scores in result["features"].values():
        assert scores["accuracy"] < 0.6
        assert scores["nmi"] < 0.1


def test_other_rows_can_be_judged_and_labels_may_be_words(model: FittedModel) -> None:
    x, labels = classes(seed=3)
    words = np.array(["a", "b", "c"], dtype=object)
    result = probe(model, classes()[0], words[classes()[1]], test=(x, words[labels]))
    assert (result["rows"], result["test_rows"]) == (240, 240)
    assert result["features"]["codes"]["accuracy"] > 0.95


def test_labels_that_cannot_be_are_refused(model: FittedModel) -> None:
    x, labels = classes()
    with pytest.raises(DataError, match="1 different labels, wanted 2"):
        probe(model, x, np.zeros(len(x)))
    with pytest.raises(SchemaError, match="239 labels for 240 samples"):
        probe(model, x, labels[1:])
