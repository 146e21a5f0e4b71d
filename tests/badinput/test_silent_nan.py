"""No estimator gives NaN silently: sixteen arrays that break numbers, with every method of every estimator."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.base import clone

from hourglass import (
    AnomalyDetector,
    AudioAutoencoder,
    AutoencoderClassifier,
    AutoencoderRegressor,
    Generator,
    ImageAutoencoder,
    SeriesAutoencoder,
    TableAutoencoder,
)
from hourglass.errors import HourglassError

pytestmark = pytest.mark.reliability(1)

ROWS, COLUMNS = 40, 8
HUGE = 17
"""The row that is far from all others, where there is one."""


def plane() -> np.ndarray:
    random = np.random.default_rng(0)
    x = random.normal(size=(ROWS, 2)) @ random.normal(size=(2, COLUMNS))
    return np.round(x + 0.05 * random.normal(size=x.shape), 3)


def changed(place: Any, value: float) -> np.ndarray:
    x = plane()
    x[place] = value
    return x


ARRAYS: dict[str, np.ndarray] = {
    "constant": np.full((ROWS, COLUMNS), 7.0),
    "all zero": np.zeros((ROWS, COLUMNS)),
    "a constant column": changed((slice(None), 3), 7.0),
    "all rows alike": np.tile(plane()[:1], (ROWS, 1)),
    "some missing": changed(np.random.default_rng(1).random((ROWS, COLUMNS)) < 0.2, np.nan),
    "a missing column": changed((slice(None), 3), np.nan),
    "a missing row": changed(HUGE, np.nan),
    "all missing": np.full((ROWS, COLUMNS), np.nan),
    "infinite": changed((HUGE, 3), np.inf),
    "1e30": changed((HUGE, 3), 1e30),
    "1e308": changed(HUGE, [1e308, -1e308] * (COLUMNS // 2)),
    "subnormal": plane() * 1e-310,
    "an offset of a billion": plane() + 1e9,
    "scales from 1e-300 to 1e300": plane() * np.logspace(-300, 300, COLUMNS),
    "the ends of float32": (np.sign(plane()) * np.finfo(np.float32).max).astype(np.float32),
    "two rows": plane()[:2],
}
assert len(ARRAYS) == 16

QUICK: dict[str, Any] = {"epochs": 2, "detection": {"folds": 2}}
AUDIO = {"fft": 8, "bins": 4, "frames": 4}
AUTOENCODERS = {
    "table": TableAutoencoder("plain", latent=2, **QUICK),
    "table by default": TableAutoencoder(layers=(8,), **QUICK),
    "series": SeriesAutoencoder("plain", latent=2, **QUICK),
    "image": ImageAutoencoder("plain", latent=2, format={"size": (2, 4)}, **QUICK),
    "audio": AudioAutoencoder("denoising+convolutional", format=AUDIO, **QUICK),
    "variational": TableAutoencoder("variational", latent=2, **QUICK),
}
ESTIMATORS: dict[str, Any] = {
    **AUTOENCODERS,
    **{f"detector, {name}": AnomalyDetector(AUTOENCODERS[name], 0.1) for name in ("table", "series", "image", "audio")},
    "generator": Generator(AUTOENCODERS["table"]),
    "classifier": AutoencoderClassifier(AUTOENCODERS["table"], epochs=2),
    "regressor": AutoencoderRegressor(AUTOENCODERS["table"], epochs=2),
}
METHODS: dict[str, Callable[[Any, np.ndarray], Any]] = {
    "transform": lambda model, x: model.transform(x),
    "reconstruct": lambda model, x: model.reconstruct(x),
    "denoise": lambda model, x: model.denoise(x),
    "fill_missing": lambda model, x: model.fill_missing(x),
    "inverse_transform": lambda model, x: model.inverse_transform(model.transform(x) * 1e30),
    "score_samples": lambda model, x: model.score_samples(x),
    "decision_function": lambda model, x: model.decision_function(x),
    "predict": lambda model, x: model.predict(x),
    "predict_proba": lambda model, x: model.predict_proba(x),
    "p_values": lambda model, x: model.p_values(x),
    "detect": lambda model, x: [
        (found.rows.score, found.p_value, found.threshold.value) for found in [model.detect(x)]
    ],
    "explain": lambda model, x: [reason.share for row in model.explain(x) for reason in row],
    "stream": lambda model, x: [model.stream().score_one(row) for row in x[:3]],
    "sample": lambda model, x: model.sample(5),
    "interpolate": lambda model, x: model.interpolate(x[:3], 3),
    "plane": lambda model, x: model.plane(3),
    "code_log_density": lambda model, x: model.code_log_density(x),
}


def numbers_in(result: Any) -> Iterator[np.ndarray]:
    """Every number of a result, whatever it comes in."""
    if isinstance(result, pa.Table):
        yield from (column.to_numpy().astype(np.float64) for column in result.columns)
    elif isinstance(result, (list, tuple)):
        for each in result:
            yield from numbers_in(each)
    elif result is not None:
        yield np.asarray(result, dtype=np.float64)


def silent_nan(model: Any, x: np.ndarray, named: str) -> list[str]:
    """The methods that give NaN for `x` and no error. A channel of a series that was empty at fit stays empty."""
    empty = np.isnan(x).all(axis=0) if "series" in named else np.zeros(x.shape[1], dtype=bool)
    found = []
    for method, call in METHODS.items():
        if not hasattr(model, method):
            continue
        try:
            result = call(model, x)
        except (HourglassError, ValueError):  # refused by us or by scikit-learn's own checks
            continue
        for numbers in numbers_in(result):
            known = numbers[..., ~empty] if numbers.ndim and numbers.shape[-1] == len(empty) else numbers
            if np.isnan(known).any():
                found.append(method)
    return found


def fitted(named: str, x: np.ndarray) -> Any:
    model, labels = (
        clone(ESTIMATORS[named]),
        {"classifier": np.arange(len(x)) % 2, "regressor": np.arange(len(x)) * 1.0},
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return model.fit(x, labels[named]) if named in labels else model.fit(x)


def may_refuse(named: str, array: str) -> bool:
    """Whether there is nothing to learn in an array, or nothing that this estimator could."""
    loud = ("1e30", "1e308", "scales from 1e-300 to 1e300", "the ends of float32")
    return array in ("all missing", "infinite") or ("audio" in named and ("missing" in array or array in loud))


@pytest.fixture(scope="module")
def healthy() -> dict[str, Any]:
    """Every estimator, fitted on an array that nothing is wrong with."""
    return {named: fitted(named, plane()) for named in ESTIMATORS}


@pytest.mark.parametrize("array", ARRAYS)
@pytest.mark.parametrize("named", ESTIMATORS)
def test_no_method_gives_nan_for_what_it_was_fitted_on(named: str, array: str) -> None:
    x = ARRAYS[array]
    try:
        model = fitted(named, x)
    except (HourglassError, ValueError) as refusal:
        found = str(refusal)
    else:
        found = silent_nan(model, x, named)
    assert not found or (isinstance(found, str) and may_refuse(named, array)), found


@pytest.mark.parametrize("array", ARRAYS)
@pytest.mark.parametrize("named", ESTIMATORS)
def test_no_method_gives_nan_for_what_comes_later(named: str, array: str, healthy: dict[str, Any]) -> None:
    model, x = healthy[named], ARRAYS[array]
    assert silent_nan(model, x, "table") == []
    usual = plane()
    if hasattr(model, "score_samples"):
        assert np.isfinite(model.score_samples(usual)).all()


DETECTORS = [named for named in ESTIMATORS if named.startswith("detector")]


@pytest.mark.parametrize("number", [1e30, -1e30, 1e308])
@pytest.mark.parametrize("named", [named for named in DETECTORS if "audio" not in named])
def test_the_row_of_a_huge_number_ranks_first(named: str, number: float, healthy: dict[str, Any]) -> None:
    x = changed((HUGE, 3), number)
    assert healthy[named].score_samples(x).argmin() == HUGE
    assert healthy[named].predict(x)[HUGE] == -1


@pytest.mark.parametrize("named", [named for named in DETECTORS if "audio" not in named])
def test_an_offset_of_a_billion_changes_no_rank(named: str) -> None:
    x = np.round(plane() * 1024) / 1024  # so that adding the offset loses nothing
    scores, moved = (fitted(named, each).score_samples(each) for each in (x, x + 2.0**30))
    np.testing.assert_array_equal(np.argsort(moved), np.argsort(scores))
