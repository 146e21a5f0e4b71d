"""Autoencoders taught labels: scikit-learn's own checks, few labels among many rows, copies, files, and refusals."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import hourglass
from hourglass import (
    AnomalyDetector,
    AutoencoderClassifier,
    AutoencoderRegressor,
    FittedModel,
    ImageAutoencoder,
    SeriesAutoencoder,
    TableAutoencoder,
    load_model,
)
from hourglass.core.heads import Classes
from hourglass.errors import DataError, HourglassError, ModelFileError, UsageError
from hourglass.settings import Training

Plane = Callable[..., np.ndarray]
Shop = Callable[..., pd.DataFrame]
QUICK = TableAutoencoder(kind="plain", latent=2, epochs=20)


SMALL = TableAutoencoder(kind="deep", latent=3, layers=(12,), epochs=3)


@parametrize_with_checks(
    [
        AutoencoderClassifier(SMALL, epochs=12, batch_size=64, learning_rate=0.05),
        AutoencoderRegressor(SMALL, epochs=12, batch_size=64, learning_rate=0.05),
    ]
)
def test_scikit_learns_checks(estimator: Any, check: Callable[[Any], None]) -> None:
    check(estimator)


def towns(x: np.ndarray) -> np.ndarray:
    """Three words that follow from where on the plane a row lies."""
    return np.array(["Ghent", "Oslo", "Turin"])[np.digitize(x @ [1, -1, 0.5, 1, 0, 0], [-1, 1])]


@pytest.fixture(scope="module")
def classifier(plane: Plane) -> AutoencoderClassifier:
    x = plane(400)
    return AutoencoderClassifier(QUICK, epochs=60, learning_rate=0.1, validation=0.1).fit(
        x[:80], towns(x[:80]), unlabelled=x
    )


def test_words_are_learned_from_a_few_rows_of_many(classifier: AutoencoderClassifier, plane: Plane) -> None:
    x = plane(300, 1)
    assert classifier.score(x, towns(x)) > 0.85
    assert classifier.classes_.tolist() == ["Ghent", "Oslo", "Turin"]
    shares = classifier.predict_proba(x)
    np.testing.assert_allclose(shares.sum(1), 1)
    np.testing.assert_array_equal(classifier.classes_[shares.argmax(1)], classifier.predict(x))
    assert classifier.model_.card["samples"] == 400
    assert classifier.model_.head.settings["labelled"] == 80


@pytest.mark.parametrize("labels", [[True, False], [3, 7], [0.0, 1.0], ["a", "bc"]], ids=str)
def test_labels_come_back_as_they_were_also_from_a_file(labels: list[Any], plane: Plane, tmp_path: Path) -> None:
    x = plane(60)
    y = np.array(labels)[(x[:, 0] > 0).astype(int)]
    made = AutoencoderClassifier(TableAutoencoder(kind="plain", epochs=2), epochs=3).fit(x, y)
    made.save(tmp_path / "model")
    read = hourglass.load(tmp_path / "model.safetensors")
    assert isinstance(read, AutoencoderClassifier)
    for each in (made, read, pickle.loads(pickle.dumps(made))):
        assert each.classes_.dtype == y.dtype
        assert each.predict(x).dtype == y.dtype
        np.testing.assert_array_equal(each.predict_proba(x), made.predict_proba(x))


def test_text_as_python_has_it_comes_back_as_such(plane: Plane, tmp_path: Path) -> None:
    x = plane(60)
    made = AutoencoderClassifier(QUICK, epochs=3).fit(x, towns(x).astype(object))
    read = AutoencoderClassifier.load(made.save(tmp_path / "model"))
    assert read.classes_.dtype == object
    assert read.classes_.tolist() == ["Ghent", "Oslo", "Turin"]


@pytest.mark.parametrize("columns", [None, 1, 3])
def test_numbers_come_back_in_their_units_and_shape(columns: int | None, plane: Plane, tmp_path: Path) -> None:
    x, new = plane(300), plane(200, 1)

    def labels(x: np.ndarray) -> np.ndarray:
        y = 1e6 + 500 * x[:, :3]
        return y[:, 0] if columns is None else y[:, :columns]

    made = AutoencoderRegressor(QUICK, epochs=30).fit(x, labels(x))
    assert made.predict(new).shape == labels(new).shape
    assert made.score(new, labels(new)) > 0.9
    read = hourglass.load(made.save(tmp_path / "model"))
    assert isinstance(read, AutoencoderRegressor)
    np.testing.assert_array_equal(read.predict(new), made.predict(new))


def test_a_label_that_never_changes_is_named(plane: Plane) -> None:
    x = plane(40)
    np.testing.assert_allclose(AutoencoderRegressor(QUICK, epochs=3).fit(x, np.full(40, 7.0)).predict(x), 7.0)
    assert set(AutoencoderClassifier(QUICK, epochs=2).fit(x, ["one"] * 40).predict(x)) == {"one"}


# Where the autoencoder comes from


def test_a_fitted_model_is_used_as_it_is_and_stays_as_it_was(plane: Plane, tmp_path: Path) -> None:
    x = plane(200)
    fitted = TableAutoencoder(kind="plain", latent=2, epochs=5).fit(x)
    before = fitted.transform(x)
    model = load_model(fitted.save(tmp_path / "model"))
    for given in (fitted.model_, model, clone(AutoencoderClassifier(model)).autoencoder):
        made = AutoencoderClassifier(given, epochs=5).fit(x[:50], x[:50, 0] > 0)
        np.testing.assert_array_equal(made.model_.encode(x), before)
        np.testing.assert_array_equal(made.model_.reconstruct(x), fitted.reconstruct(x))
    assert model.head is None
    copy = pickle.loads(pickle.dumps(AutoencoderClassifier(model, epochs=5)))
    np.testing.assert_array_equal(copy.autoencoder.encode(x), before)
    assert "FittedModel(table, plain, 2 numbers a code)" in repr(AutoencoderClassifier(model))


def test_the_encoder_moves_only_where_it_may(plane: Plane) -> None:
    x = plane(200)
    model = TableAutoencoder(kind="plain", latent=2, epochs=5).fit(x).model_
    frozen = AutoencoderClassifier(model, freeze=True, epochs=5).fit(x, x[:, 0] > 0).model_.head
    tuned = AutoencoderClassifier(model, epochs=5).fit(x, x[:, 0] > 0).model_.head
    still = AutoencoderClassifier(model, encoder_rate=0.0, epochs=5).fit(x, x[:, 0] > 0).model_.head
    first = model.network.encoder.stack[0].weight
    assert frozen.tuned is None
    assert not tuned.tuned.encoder.stack[0].weight.equal(first)
    assert still.tuned.encoder.stack[0].weight.equal(first)


def test_the_autoencoder_given_is_not_fitted_itself(plane: Plane) -> None:
    given = TableAutoencoder(kind="plain", epochs=2)
    AutoencoderClassifier(given, epochs=2).fit(plane(40), plane(40)[:, 0] > 0)
    assert not hasattr(given, "model_")


def test_what_it_was_made_of_can_be_told_from_a_file(classifier: AutoencoderClassifier, tmp_path: Path) -> None:
    read = hourglass.load(classifier.save(tmp_path / "model"))
    assert read.training.epochs == 60
    assert read.training.patience == 0
    assert (read.freeze, read.encoder_rate, read.warm_up) == (False, 0.1, 0.1)
    assert read.autoencoder.plan() == classifier.model_.experiment
    assert read.model_.head.judged == classifier.model_.head.judged
    assert read.model_.head.judged["rows"] == 8


def test_it_may_still_find_anomalies(classifier: AutoencoderClassifier, plane: Plane, tmp_path: Path) -> None:
    detector = AnomalyDetector.load(classifier.save(tmp_path / "model"))
    odd = plane(50, 1) + np.random.default_rng(0).normal(size=(50, 6)) * 3
    assert detector.score_samples(odd).mean() < detector.score_samples(plane(50, 1)).mean()


# Data of other forms


def test_columns_of_words_and_missing_cells(shop: Shop) -> None:
    frame = shop(200)
    frame.loc[frame.index[::5], "boxes"] = np.nan
    made = AutoencoderClassifier(TableAutoencoder(epochs=5), epochs=30).fit(frame.drop(columns="town"), frame["town"])
    new = shop(150, 1)
    assert made.score(new.drop(columns="town"), new["town"]) > 0.85


def test_windows_as_rows_and_pictures() -> None:
    random = np.random.default_rng(0)
    y = random.integers(0, 2, 120)
    windows = np.sin(np.linspace(0, 6, 24) * (1 + y[:, None])) + 0.2 * random.normal(size=(120, 24))
    series = SeriesAutoencoder(kind="plain", epochs=10)
    assert AutoencoderClassifier(series, epochs=30).fit(windows, y).score(windows, y) > 0.95
    pictures = np.where(np.arange(8) == 2 + 3 * y[:, None, None], 255, 0) * np.ones((8, 1))
    images = ImageAutoencoder(kind="plain", epochs=5)
    assert (
        AutoencoderClassifier(images, epochs=20).fit(pictures.astype(np.uint8), y).score(pictures.astype(np.uint8), y)
        > 0.95
    )


# Pipelines and searches


def test_a_search_in_a_pipeline(plane: Plane) -> None:
    x = plane(120)
    grid = {"autoencoderclassifier__autoencoder__latent": [1, 2], "autoencoderclassifier__freeze": [True, False]}
    pipeline = make_pipeline(StandardScaler(), AutoencoderClassifier(QUICK, epochs=10, learning_rate=0.1))
    search = GridSearchCV(pipeline, grid, cv=2).fit(x, x[:, 0] > 0)
    assert len(search.cv_results_["params"]) == 4
    assert search.best_score_ > 0.8


def test_an_option_of_the_default_autoencoder_can_be_set() -> None:
    assert AutoencoderRegressor().set_params(autoencoder__latent=3).autoencoder.latent == 3


def test_two_fits_agree_and_another_seed_differs(plane: Plane) -> None:
    x = plane(80)
    model = TableAutoencoder(kind="plain", latent=2, epochs=3).fit(x).model_

    def shares(seed: int) -> np.ndarray:
        return AutoencoderClassifier(model, epochs=3, seed=seed).fit(x, towns(x)).predict_proba(x)

    np.testing.assert_array_equal(shares(1), shares(1))
    assert not np.array_equal(shares(1), shares(2))


# Refusals

X, Y = np.random.default_rng(0).normal(size=(20, 4)), np.arange(20) % 2


def fitted_model() -> FittedModel:
    return TableAutoencoder(kind="plain", epochs=2).fit(X).model_


@pytest.mark.parametrize(
    ("attempt", "words"),
    [
        (lambda: AutoencoderClassifier(QUICK).fit(X, Y[:-1]), "got 19 labels for 20 rows"),
        (lambda: AutoencoderClassifier(QUICK).fit(X, None), "requires y to be passed"),
        (lambda: AutoencoderClassifier(X).fit(X, Y), "wanted an autoencoder"),  # type: ignore[arg-type]
        (lambda: AutoencoderClassifier(fitted_model()).fit(X, Y, unlabelled=X), "fitted already"),
        (lambda: AutoencoderClassifier(fitted_model()).fit(X[:, :3], Y), "3"),
        (lambda: AutoencoderClassifier(QUICK, epochs=0).fit(X, Y), "training.epochs"),
        (lambda: AutoencoderClassifier(QUICK, encoder_rate=2).fit(X, Y), "tuning.encoder_rate"),
        (lambda: AutoencoderClassifier(QUICK, freeze=True, corrupt=True).fit(X, Y), "tuning.corrupt"),
        (lambda: AutoencoderClassifier(QUICK, training={"epoch": 2}).fit(X, Y), "no option 'epoch'"),
        (
            lambda: AutoencoderClassifier(SeriesAutoencoder(kind="plain", window=5, epochs=2)).fit(X[:, 0], Y),
            "cut into windows",
        ),
    ],
)
def test_a_refusal_says_why(attempt: Callable[[], object], words: str) -> None:
    with pytest.raises(HourglassError, match=words):
        attempt()


@pytest.mark.parametrize(
    "labels", [np.array(["a", 1, 2], dtype=object), np.array([1j, 2]), np.array(["2024-01-01"], dtype="M8[D]")], ids=str
)
def test_labels_that_are_neither_words_nor_numbers_are_refused(labels: np.ndarray) -> None:
    with pytest.raises(DataError, match="labels"):
        Classes.of(labels)


def test_a_model_without_labels_or_for_another_task_is_refused(plane: Plane, tmp_path: Path) -> None:
    plain = TableAutoencoder(kind="plain", epochs=2).fit(plane(40))
    path = plain.save(tmp_path / "plain")
    with pytest.raises(ModelFileError, match="no classifier"):
        AutoencoderClassifier.load(path)
    with pytest.raises(UsageError, match="has not learned from labels"):
        plain.model_.predict(plane(3))
    taught = AutoencoderRegressor(plain.model_, epochs=2).fit(plane(40), plane(40)[:, 0]).save(tmp_path / "taught")
    with pytest.raises(ModelFileError, match="no classifier"):
        AutoencoderClassifier.load(taught)


def test_settings_may_come_as_such(plane: Plane) -> None:
    given = Training(epochs=4, validation=0.0)
    head = AutoencoderClassifier(QUICK, training=given, seed=3).fit(plane(40), towns(plane(40))).model_.head
    assert len(head.history.training) == 4
    assert head.judged == {}
    assert head.settings["training"]["seed"] == 3
