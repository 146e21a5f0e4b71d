"""How far data that were given back are from what they were: in units, beside their variance, and in words."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from hourglass.data.formats import Format, Result
from hourglass.errors import UsageError

_CHANNEL_AXIS = {"series": 2}
"""Where samples have their channels; elsewhere directly after the first axis."""
_NO_VARIANCE = 1e-12
"""Of the squares of numbers, what is less than this share of them is rounding."""


@dataclass(frozen=True)
class Target:
    """The largest mean squared error that is allowed."""

    value: float
    relative: bool
    """Whether it is a share of the data's variance; else it is in squared units of the data."""

    @classmethod
    def parse(cls, text: str) -> Target:
        """A target as typed.

        >>> Target.parse("5%"), Target.parse("0.004")
        (Target(value=0.05, relative=True), Target(value=0.004, relative=False))
        """
        match = re.fullmatch(r"\s*(\d*\.?\d+(?:[eE][+-]?\d+)?)\s*(%?)\s*", text)
        if match is None or not 0 < float(match[1]) < np.inf:
            how = "write 5% for a share of the variance, or a number in squared units of the data"
            raise UsageError(f"got {text!r}, wanted an error above 0", where="--error", how=how)
        return cls(float(match[1]) / (100 if match[2] else 1), bool(match[2]))

    def __str__(self) -> str:
        return f"{100 * self.value:.4g} % of the variance" if self.relative else f"{self.value:.4g}"


def relative_error(form: Format, samples: np.ndarray, given_back: np.ndarray) -> float:
    """Mean squared error of packed samples (n, ...) as a share of their variance.

    Columns of a table, and channels, are each compared with their own mean, and count by their packed scale. Data that
    do not vary give 0, or 1 where they are not given back.
    """
    axis = _CHANNEL_AXIS.get(form.modality, 1)
    values = np.moveaxis(samples.astype(np.float64), axis, -1).reshape(-1, samples.shape[axis])
    others = np.moveaxis(given_back.astype(np.float64), axis, -1).reshape(values.shape)
    known = ~np.isnan(values)
    means = np.where(known, values, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    error = np.square(np.where(known, values - others, 0)).sum()
    variance = np.square(np.where(known, values - means, 0)).sum()
    scale = np.square(np.where(known, values, 0)).sum()
    return float(error / variance) if variance > _NO_VARIANCE * scale else float(error > _NO_VARIANCE * scale)


def unit_error(original: Result, given_back: Result) -> float | None:
    """Mean squared error over all numbers, in squared units of the data; None where there are no numbers."""
    one, other = numbers_of(original), numbers_of(given_back)
    known = np.isfinite(one) & np.isfinite(other)
    return float(np.mean(np.square(one[known] - other[known]))) if known.any() else None


def numbers_of(result: Result) -> np.ndarray:
    """All numbers of a result in a row, float64, NaN where missing; words, flags and times are none."""
    if isinstance(result, np.ndarray):
        return result.astype(np.float64).ravel()
    if isinstance(result, pa.Table):
        kinds = pa.types
        numbers = [c for c in result.columns if kinds.is_integer(c.type) or kinds.is_floating(c.type)]
        parts = [column.cast(pa.float64()).to_numpy() for column in numbers]
    else:
        parts = [np.asarray(picture, dtype=np.float64).ravel() for picture in result.arrays]
    return np.concatenate(parts) if parts else np.empty(0)


def words_changed(original: Result, given_back: Result) -> float | None:
    """The share of words and flags that came back as others; None where there are none."""
    if not isinstance(original, pa.Table) or not isinstance(given_back, pa.Table):
        return None
    is_word = [pa.types.is_string(field.type) or pa.types.is_boolean(field.type) for field in original.schema]
    names = [name for name, word in zip(original.column_names, is_word, strict=True) if word]
    pairs = [
        (one, other)
        for name in names
        for one, other in zip(original.column(name).to_pylist(), given_back.column(name).to_pylist(), strict=True)
        if one is not None
    ]
    return sum(one != other for one, other in pairs) / len(pairs) if pairs else None
