"""The two autoencoder estimators: what they take, what they give back and in which form, and how they are kept."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import hourglass
from hourglass import AnomalyDetector, SeriesAutoencoder, TableAutoencoder
from hourglass.errors import DataError, HourglassError, ModelFileError, SchemaError

Plane = Callable[..., np.ndarray]
Shop = Callable[..., pd.DataFrame]


def table(**changes: Any) -> TableAutoencoder:
    return TableAutoencoder(**{"kind": "plain", "latent": 2, "epochs": 3} | changes)


def series(**changes: Any) -> SeriesAutoencoder:
    return SeriesAutoencoder(**{"kind": "plain", "epochs": 3} | changes)


def tide(steps: int = 360) -> np.ndarray:
    return np.sin(np.arange(steps) * np.pi / 6)


# What comes back is in the form that went in


def test_pandas_comes_back_as_pandas_with_its_index(shop: Shop) -> None:
    frame = shop(60)
    given_back = table().fit(frame).reconstruct(frame)
    assert given_back.index.equals(frame.index)
    assert given_back.columns.tolist() == frame.columns.tolist()
    assert set(given_back["town"]) <= set(frame["town"])
    assert not given_back.isna().any(axis=None)


def test_polars_comes_back_as_polars_with_the_same_numbers(shop: Shop) -> None:
    frame = shop(60)
    autoencoder = table().fit(frame)
    given_back = autoencoder.reconstruct(pl.from_pandas(frame))
    assert isinstance(given_back, pl.DataFrame)
    pd.testing.assert_frame_equal(
        given_back.to_pandas(), autoencoder.reconstruct(frame).reset_index(drop=True), check_dtype=False
    )


def test_arrow_comes_back_as_arrow(shop: Shop) -> None:
    frame = pa.Table.from_pandas(shop(60), preserve_index=False)
    given_back = table().fit(frame).reconstruct(frame)
    assert isinstance(given_back, pa.Table)
    assert given_back.column_names == frame.column_names


def test_a_frame_without_names_is_an_array(plane: Plane) -> None:
    """As scikit-learn has it: labels that are no words are no names."""
    x = plane(60)
    frame = pd.DataFrame(x, index=pd.RangeIndex(5, 65))
    for estimator in (table(), series()):
        given_back = estimator.fit(frame).reconstruct(frame)
        assert given_back.index.equals(frame.index)
        np.testing.assert_array_equal(given_back, estimator.fit(x).reconstruct(x))


@pytest.mark.parametrize("precision", [np.float32, np.float64])
def test_the_precision_of_arrays_is_kept(plane: Plane, precision: type) -> None:
    x = plane(60).astype(precision)
    for estimator in (table(), series()):
        codes = estimator.fit(x).transform(x)
        assert codes.dtype == estimator.reconstruct(x).dtype == precision
        assert estimator.inverse_transform(codes).dtype == precision


def test_whole_numbers_and_lists_are_taken(plane: Plane) -> None:
    x = (plane(60) * 10).round()
    np.testing.assert_array_equal(table().fit(x.astype(int)).transform(x.astype(int)), table().fit(x).transform(x))
    np.testing.assert_array_equal(table().fit(x.tolist()).transform(x.tolist()), table().fit(x).transform(x))


def test_codes_in_a_frame_come_back_as_a_frame(shop: Shop) -> None:
    frame = shop(60)
    autoencoder = table().set_output(transform="pandas").fit(frame)
    pd.testing.assert_frame_equal(
        autoencoder.inverse_transform(autoencoder.transform(frame)), autoencoder.reconstruct(frame)
    )


# Series


class Convertible:
    """Not an array, but makes itself one."""

    def __init__(self, values: np.ndarray) -> None:
        self.values = values

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.values, dtype=dtype)


@pytest.mark.parametrize(
    "form", [np.asarray, Convertible, lambda values: values.tolist()], ids=["array", "own", "list"]
)
@pytest.mark.parametrize("shape", [(360,), (30, 12), (15, 12, 2)])
def test_what_converts_to_an_array_is_what_the_array_is(
    form: Callable[[np.ndarray], Any], shape: tuple[int, ...]
) -> None:
    values = tide().reshape(shape)
    np.testing.assert_array_equal(
        series().fit(form(values)).transform(form(values)), series().fit(values).transform(values)
    )


def test_a_pandas_series_keeps_its_times_and_comes_back_as_one() -> None:
    times = pd.date_range("2024-01-01", periods=360, freq="h", name="hour")
    load = pd.Series(tide(), index=times, name="load")
    autoencoder = series(window="1d").fit(load)
    assert autoencoder.transform(load).shape[0] == 15
    given_back = autoencoder.reconstruct(load)
    assert isinstance(given_back, pd.Series)
    assert given_back.name == "load"
    assert given_back.index.equals(times)


def test_a_frame_indexed_by_time_comes_back_so() -> None:
    times = pd.date_range("2024-01-01", periods=360, freq="h")
    frame = pd.DataFrame({"load": tide(), "heat": -tide()}, index=times)
    given_back = series(window="1d").fit(frame).reconstruct(frame)
    assert given_back.columns.tolist() == ["load", "heat"]
    assert given_back.index.equals(times)


def test_a_time_column_comes_back_as_a_column() -> None:
    frame = pl.DataFrame({"time": pd.date_range("2024-01-01", periods=360, freq="h").to_numpy(), "load": tide()})
    given_back = series(window="1d").fit(frame).reconstruct(frame)
    assert given_back.columns == ["time", "load"]
    assert given_back["time"].equals(frame["time"])


def test_a_polars_series_is_one_channel() -> None:
    np.testing.assert_array_equal(
        series(window=12).fit(pl.Series("load", tide())).transform(pl.Series("load", tide())),
        series(window=12).fit(tide()).transform(tide()),
    )


# What cannot be


@pytest.mark.parametrize(
    ("estimator", "data", "words"),
    [
        (table(), np.ones((1, 3)), "minimum of 2"),
        (table(), np.ones((0, 3)), "0 sample"),
        (table(), np.array([[1.0, np.inf]] * 5), "row 0, column 'x1'|infinity"),
        (table(), np.array([["a", "b"]] * 5), "could not convert|dtype"),
        (table(), np.ones(5), "Reshape your data"),
        (table(), pd.DataFrame({"a": []}), "no rows"),
        (table(), pd.DataFrame({"a": [1.0]}), "at least 2"),
        (series(), np.array(["a", "b"] * 40), "not a number"),
        (series(), tide(20), "wanted at least 32"),
        (series(window=50), tide(40), "wanted at least 50"),
        (series(), pd.DataFrame({"word": list("abcd") * 20}), "no column of numbers"),
        (series(window="1d"), tide(), "no time column"),
    ],
)
def test_data_that_cannot_be_learned_from_are_refused(estimator: Any, data: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        estimator.fit(data)


def test_other_columns_than_at_fit_are_refused(plane: Plane, shop: Shop) -> None:
    with pytest.raises(ValueError, match="6 features"):
        table().fit(plane(60)).transform(plane(60)[:, :5])
    with pytest.raises(HourglassError, match="weight"):
        table().fit(pa.Table.from_pandas(shop(60))).transform(pa.table({"amount": [1.0], "town": ["Oslo"]}))
    with pytest.raises(SchemaError, match="wanted 12"):
        series().fit(tide().reshape(30, 12, 1)).transform(tide().reshape(36, 10, 1))


def test_text_where_numbers_were_is_refused_with_its_place(shop: Shop) -> None:
    autoencoder = table().fit(shop(60))
    with pytest.raises(DataError, match="amount"):
        autoencoder.transform(shop(60).assign(amount="much"))


# Kept in a file


@pytest.mark.parametrize("name", ["table", "series", "detector"])
def test_load_finds_the_class_and_gives_the_same_bits(name: str, tmp_path: Path, plane: Plane) -> None:
    estimator = {"table": table(), "series": series(), "detector": AnomalyDetector(series(), 0.2)}[name]
    x = plane(60)
    path = estimator.fit(x).save(tmp_path / "model")
    loaded = hourglass.load(path)
    assert type(loaded) is type(estimator)
    np.testing.assert_array_equal(loaded.model_.encode(x), estimator.model_.encode(x))
    assert loaded.n_features_in_ == 6
    assert type(estimator).load(path).model_.experiment == estimator.model_.experiment
    if name == "detector":
        np.testing.assert_array_equal(loaded.decision_function(x), estimator.decision_function(x))
        assert (loaded.false_alarm_rate, loaded.offset_) == (0.2, estimator.offset_)


def test_names_of_columns_are_in_the_file(tmp_path: Path, shop: Shop) -> None:
    loaded = hourglass.load(table().fit(shop(60)).save(tmp_path / "model"))
    assert loaded.feature_names_in_.tolist() == shop(60).columns.tolist()
    with pytest.raises(ValueError, match="feature names"):
        loaded.transform(shop(60)[shop(60).columns[::-1]])


def test_a_loaded_estimator_can_be_fitted_again(tmp_path: Path, plane: Plane) -> None:
    first = table(seed=3, scaling="quantile").fit(plane(60))
    loaded = hourglass.load(first.save(tmp_path / "model"))
    np.testing.assert_array_equal(loaded.fit(plane(60)).transform(plane(9)), first.transform(plane(9)))


def test_every_model_can_be_a_detector(tmp_path: Path, plane: Plane) -> None:
    path = table().fit(plane(60)).save(tmp_path / "model")
    assert set(AnomalyDetector.load(path).predict(plane(60))) <= {-1, 1}


def test_a_model_of_another_modality_is_refused_by_name(tmp_path: Path) -> None:
    path = series().fit(tide()).save(tmp_path / "model")
    with pytest.raises(ModelFileError, match=r"model\.safetensors: .*modality series\nhint: use hourglass\.load"):
        TableAutoencoder.load(path)


def test_what_was_not_fitted_cannot_be_saved(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="not fitted"):
        table().save(tmp_path / "model")
    assert not list(tmp_path.iterdir())
