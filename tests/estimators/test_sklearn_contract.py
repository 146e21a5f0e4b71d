"""scikit-learn's own checks, none excepted, and what people do with estimators: pipelines, searches, copies, frames."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from hourglass import AnomalyDetector, AudioAutoencoder, ImageAutoencoder, SeriesAutoencoder, TableAutoencoder

Plane = Callable[..., np.ndarray]
Shop = Callable[..., pd.DataFrame]


FEW_FOLDS = {"folds": 2}
"""Detectors of few rows are calibrated out of fold; two folds cost less than the usual ten."""


@parametrize_with_checks(
    [
        TableAutoencoder(epochs=2),
        TableAutoencoder(kind="plain", epochs=2),
        SeriesAutoencoder(epochs=2),
        ImageAutoencoder(epochs=2),
        # its default kind has skips, so that codes alone go back to nothing, as one of the checks wants
        AudioAutoencoder("denoising+convolutional", epochs=2, format={"fft": 16, "bins": 8, "frames": 8}),
        AnomalyDetector(TableAutoencoder(kind="plain", epochs=2, detection=FEW_FOLDS)),
        # one of the checks wants a row of its 300 flagged, which at a rate of .01 not every seed does
        AnomalyDetector(SeriesAutoencoder(epochs=2, detection=FEW_FOLDS), false_alarm_rate=0.05),
        AnomalyDetector(ImageAutoencoder(epochs=2)),
        AnomalyDetector(TableAutoencoder(epochs=2)),
    ]
)
def test_scikit_learns_checks(estimator: Any, check: Callable[[Any], None]) -> None:
    check(estimator)


# Pipelines and searches


def test_codes_feed_a_classifier_in_a_pipeline(plane: Plane) -> None:
    x = plane(200)
    y = x[:, 0] > 0
    autoencoder = TableAutoencoder(kind="plain", latent=2, epochs=40)
    pipeline = make_pipeline(StandardScaler(), autoencoder, LogisticRegression()).fit(x, y)
    assert pipeline.score(plane(200, 1), plane(200, 1)[:, 0] > 0) > 0.9


def test_a_search_tries_options_of_parts_by_name(plane: Plane) -> None:
    x = plane(90)
    grid = {
        "autoencoder__corruption__rate": [0.0, 0.9],
        "autoencoder__latent": [1, 2],
        "autoencoder__bottleneck__activation": ["linear", "tanh"],
    }
    autoencoder = TableAutoencoder(kind="denoising-masking", epochs=2)
    pipeline = Pipeline([("autoencoder", autoencoder), ("classifier", LogisticRegression())])
    search = GridSearchCV(pipeline, grid, cv=2).fit(x, x[:, 0] > 0)
    assert len(search.cv_results_["params"]) == 8
    chosen, plan = search.best_params_, search.best_estimator_[0].plan()
    assert plan.corruption.rate == chosen["autoencoder__corruption__rate"]
    assert plan.bottleneck.size == chosen["autoencoder__latent"]
    assert plan.bottleneck.activation == chosen["autoencoder__bottleneck__activation"]


def test_a_search_over_a_detector_reaches_its_autoencoder(plane: Plane) -> None:
    grid = {"autoencoder__latent": [1, 2], "false_alarm_rate": [0.2, 0.4]}
    detector = AnomalyDetector(TableAutoencoder(kind="plain", epochs=2))
    search = GridSearchCV(detector, grid, cv=2, scoring=lambda fitted, x, y=None: (fitted.predict(x) > 0).mean())
    best = search.fit(plane(80)).best_estimator_
    assert best.model_.latent_size == search.best_params_["autoencoder__latent"]
    assert best.model_.experiment.detection.false_alarm_rate == search.best_params_["false_alarm_rate"]


# Copies


@pytest.mark.parametrize(
    "estimator",
    [
        TableAutoencoder(kind="denoising", corruption={"scale": 0.2}, layers=(8,), penalties=["l1"]),
        SeriesAutoencoder(window=24, scaling="min-max"),
        AnomalyDetector(TableAutoencoder(kind="plain"), 0.05, "mad"),
        AnomalyDetector(),
    ],
    ids=repr,
)
def test_a_clone_has_the_parameters_and_nothing_else(estimator: Any) -> None:
    twin = clone(estimator)
    assert twin is not estimator
    assert repr(twin) == repr(estimator)
    assert {name: repr(value) for name, value in twin.get_params().items()} == {
        name: repr(value) for name, value in estimator.get_params().items()
    }
    assert not [name for name in vars(twin) if name.endswith("_")]


@pytest.mark.parametrize(
    "twin", [copy.deepcopy, lambda fitted: pickle.loads(pickle.dumps(fitted))], ids=["copy", "pickle"]
)
def test_a_fitted_estimator_in_another_place_gives_the_same_bits(
    twin: Callable[[Any], Any], detector: AnomalyDetector, plane: Plane
) -> None:
    x = plane(50, 1)
    other = twin(detector)
    np.testing.assert_array_equal(other.score_samples(x), detector.score_samples(x))
    assert other.offset_ == detector.offset_
    assert other.explain(x) == detector.explain(x)
    assert other.get_params(deep=False).keys() == detector.get_params(deep=False).keys()
    autoencoder = SeriesAutoencoder(kind="plain", epochs=2).fit(x)
    np.testing.assert_array_equal(twin(autoencoder).transform(x), autoencoder.transform(x))


def test_an_unfitted_estimator_can_be_pickled() -> None:
    assert (
        repr(pickle.loads(pickle.dumps(AnomalyDetector(SeriesAutoencoder()))))
        == "AnomalyDetector(autoencoder=SeriesAutoencoder())"
    )


# Frames


def test_codes_come_as_a_frame_where_that_is_asked(shop: Shop) -> None:
    frame = shop(60)
    codes = (
        TableAutoencoder(kind="plain", latent=2, epochs=2).set_output(transform="pandas").fit(frame).transform(frame)
    )
    assert codes.columns.tolist() == ["tableautoencoder0", "tableautoencoder1"]
    assert codes.index.equals(frame.index)


def test_names_of_columns_are_kept_and_must_come_again(shop: Shop) -> None:
    frame = shop(60)
    autoencoder = TableAutoencoder(kind="plain", epochs=2).fit(frame)
    assert autoencoder.feature_names_in_.tolist() == frame.columns.tolist()
    with pytest.raises(ValueError, match="feature names"):
        autoencoder.transform(frame.rename(columns={"weight": "mass"}))


def test_another_fit_forgets_what_the_first_saw(shop: Shop, plane: Plane) -> None:
    autoencoder = SeriesAutoencoder(kind="plain", epochs=2)
    autoencoder.fit(shop(90)[["amount", "weight"]])
    assert autoencoder.n_features_in_ == 2
    autoencoder.fit(plane(20).ravel())
    assert not hasattr(autoencoder, "n_features_in_")
    assert not hasattr(autoencoder, "feature_names_in_")
    autoencoder.fit(plane(60))
    assert autoencoder.n_features_in_ == 6
