"""What users give to estimators, checked as scikit-learn wants it, as what formats take."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pyarrow as pa
from sklearn.utils.validation import validate_data

from hourglass.data.files import from_object
from hourglass.data.formats import Data
from hourglass.data.samples import Frame


def as_data(estimator: Any, X: Any, *, fitting: bool, whole_series: bool) -> Data:
    """`X` as an array of numbers or a frame. Arrays and data frames pass scikit-learn's own checks of names and shape.

    `whole_series`: 1-d and 3-d arrays are taken too (one series, many series).
    """
    if isinstance(X, Frame):
        return X
    if _is_frame(X):
        if not isinstance(X, pa.Table):
            validate_data(estimator, X, reset=fitting, skip_check_array=True)
        return from_object(X)
    if whole_series and getattr(X, "ndim", 2) in (1, 3):
        return np.asarray(X, dtype=np.float64)
    return np.asarray(
        validate_data(
            estimator,
            X,
            reset=fitting,
            dtype=(np.float64, np.float32),
            ensure_all_finite="allow-nan",
            ensure_min_samples=2 if fitting else 1,
        )
    )


def like_input(X: Any, result: Any) -> Any:
    """A result in the container that `X` came in: pandas for pandas, polars for polars, float32 for float32."""
    if isinstance(result, pa.Table):
        library = type(X).__module__.partition(".")[0]
        if library == "pandas":
            return result.to_pandas()
        return sys.modules["polars"].from_arrow(result) if library == "polars" else result
    return result.astype(X.dtype) if getattr(X, "dtype", None) in (np.float32, np.float64) else result


def _is_frame(X: Any) -> bool:
    return hasattr(X, "__arrow_c_stream__") or isinstance(X, pa.Table)
