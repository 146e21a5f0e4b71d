"""What users give to estimators, checked as scikit-learn wants it, as what formats take; results in the same form."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
from sklearn.utils.validation import validate_data

from hourglass.data.files import from_object
from hourglass.data.formats import Data
from hourglass.data.image_forms import numbered
from hourglass.data.samples import Frame, Pictures, Recordings
from hourglass.errors import DataError, UsageError

_LARGEST = np.finfo(np.float32).max
_LEARNED = ("n_features_in_", "feature_names_in_")


def as_data(estimator: Any, X: Any, *, fitting: bool, modality: str) -> Data:
    """`X` as an array of numbers, a frame, pictures or recordings. 2-d arrays and frames pass scikit-learn's checks.

    Series may also be arrays of 1 and 3 dimensions; pictures of 3 and 4, or a list of arrays of any sizes; recordings
    of 1, or a list of arrays (frames,) or (frames, channels) of any lengths.
    """
    if fitting:
        for name in set(_LEARNED) & set(vars(estimator)):
            delattr(estimator, name)  # an earlier fit's; a whole series has none
    if isinstance(X, Frame | Pictures | Recordings):
        return X
    if _is_frame(X):
        return _frame(estimator, X, fitting)
    if modality == "series":
        X = X if hasattr(X, "ndim") else _numbers(X)  # lists, and what converts itself to an array
        if X.ndim in (1, 3):
            return _numbers(X)
    if modality == "image":
        X = _pictures(X)
        if isinstance(X, Pictures):
            return X
        if len(getattr(X, "shape", ())) in (3, 4):
            return np.asarray(X)
    if modality == "audio":
        X = _recordings(X)
        if isinstance(X, Recordings):
            return X
        if getattr(X, "ndim", 2) == 1 and not hasattr(estimator, "n_features_in_"):  # else a row is wanted
            return _numbers(X)
    with np.errstate(invalid="ignore"):  # whether all are finite is asked of their sum, which may overflow both ways
        return np.asarray(
            validate_data(
                estimator,
                X,
                reset=fitting,
                dtype="numeric" if modality == "image" else (np.float64, np.float32),  # the type says what white is
                ensure_all_finite=True if modality == "audio" else "allow-nan",
                ensure_min_samples=2 if fitting else 1,
            )
        )


def like_input(X: Any, result: Any) -> Any:
    """A result in the container that `X` came in: pandas for pandas, polars for polars, float32 for float32."""
    library = type(X).__module__.partition(".")[0]
    if library == "pandas":
        return _like_pandas(X, result)
    if isinstance(result, Pictures) and not isinstance(X, Pictures):
        return list(result.arrays)
    if isinstance(result, Recordings) and not isinstance(X, Recordings):
        return [
            like_numbers(given, each.reshape(np.shape(given))) for given, each in zip(X, result.arrays, strict=True)
        ]
    if library == "polars" and isinstance(result, pa.Table):
        return sys.modules["polars"].from_arrow(result)
    return like_numbers(X, result)


def like_numbers(X: Any, result: Any) -> Any:
    """An array in the precision of `X`, where that has one."""
    precision = getattr(X, "dtype", None)
    if precision == np.float32 and result.dtype == np.float64:
        result = np.clip(result, -_LARGEST, _LARGEST)
    return result.astype(precision) if precision in (np.float32, np.float64) else result


def _pictures(X: Any) -> Any:
    """A list of pictures as `Pictures`; anything else as it is."""
    _refuse_path(X, "pictures")
    if not isinstance(X, list | tuple) or not X:
        return X
    if not all(hasattr(each, "__array_interface__") for each in X):
        return X if np.ndim(X[0]) < 2 else np.asarray(X)  # lists in lists
    if min(np.ndim(np.asarray(each)) for each in X) < 2:
        return X
    return Pictures([np.asarray(each) for each in X], numbered(len(X)), "the list of pictures")


def _recordings(X: Any) -> Any:
    """A list of signals as `Recordings` of the model's rate; anything else as it is."""
    _refuse_path(X, "recordings")
    if not isinstance(X, list | tuple) or not X or not all(hasattr(each, "__array_interface__") for each in X):
        return X
    if min(np.ndim(each) for each in X) < 1:
        return X
    return Recordings([np.asarray(each) for each in X], [], numbered(len(X)), "the list of recordings")


def _refuse_path(X: Any, wanted: str) -> None:
    if isinstance(X, str | Path):
        how = "from hourglass.data.files import read; fit(read(path))"
        raise UsageError(f"got the path {str(X)!r}, wanted {wanted}", where="the data", how=how)


def _is_frame(X: Any) -> bool:
    return hasattr(X, "__arrow_c_stream__") or _is_arrow(X)


def _is_arrow(X: Any) -> bool:
    return isinstance(X, pa.Table | pa.RecordBatch)


def _frame(estimator: Any, X: Any, fitting: bool) -> Frame:
    if _is_arrow(X):
        return cast(Frame, from_object(X))
    if len(X.shape) == 1:
        X = X.to_frame(X.name or "value")  # keeps the index of a pandas series, which may hold the times
    validate_data(estimator, X, reset=fitting, skip_check_array=True)
    named = any(isinstance(label, str) for label in X.columns)
    return dataclasses.replace(cast(Frame, from_object(X)), unnamed=not named)


def _numbers(X: Any) -> np.ndarray:
    try:
        return np.asarray(X, dtype=np.float64)
    except (TypeError, ValueError) as fault:
        raise DataError("holds something that is not a number", where="the data", how=str(fault)) from None


def _like_pandas(X: Any, result: Any) -> Any:
    """The result under the labels and the index of a pandas frame or series."""
    frame = X.to_frame() if X.ndim == 1 else X
    if isinstance(result, pa.Table):
        result = result.to_pandas().rename(columns={str(label): label for label in frame.columns})
        if X.index.dtype.kind == "M":  # times that were the index had become a column
            result = result.drop(columns={X.index.name or "time"} - set(frame.columns), errors="ignore")
    elif result.shape == frame.shape:
        result = type(frame)(result, columns=frame.columns)
    if len(result) != len(X) or isinstance(result, np.ndarray):
        return result
    result = result.set_axis(X.index)
    return result if X.ndim > 1 else result.iloc[:, 0].rename(X.name)
