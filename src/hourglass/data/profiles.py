"""What a table holds, column by column, for the report."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from hourglass.data.column_kinds import Choice, Date, Number, read_numbers, word_counts
from hourglass.data.columns import plain_column
from hourglass.data.formats import Data
from hourglass.data.samples import Frame
from hourglass.data.scaling import moments
from hourglass.data.tables import TableSettings, checked_array, choices_of
from hourglass.errors import DataError

MOST_COMMON = 5
"""Words named for each column."""


def profile(data: Data, settings: TableSettings | None = None) -> list[dict[str, Any]]:
    """One plain dictionary for each column: how a model would use it, what is missing, and its usual values.

    Keys, None where they do not apply: `name`, `kind` (number, date, flag, category, or "unused"), `rows`, `missing`,
    `distinct`, `mean`, `sd`, `min`, `median`, `max` (dates in ISO form), `common` (pairs of a word and how often it
    occurs), `left_out` (the reason why a model would not use it). Columns that the settings ignore are not described.
    """
    if isinstance(data, Frame):
        return [_described(data, choice) for choice in choices_of(data, settings or TableSettings())]
    columns = checked_array(data).T.copy()
    names = [f"x{place}" for place in range(len(columns))]
    frame = Frame(pa.table([pa.array(column, from_pandas=True) for column in columns], names=names))
    return [_described(frame, Choice(name, Number(name))) for name in names]


def _described(frame: Frame, choice: Choice) -> dict[str, Any]:
    column = choice.column
    known: dict[str, Any] = {
        "name": choice.name,
        "kind": column.kind if column is not None else "unused",
        "rows": frame.table.num_rows,
        "missing": None,
        **dict.fromkeys(("distinct", "mean", "sd", "min", "median", "max", "common")),
        "left_out": choice.left_out or None,
    }
    try:
        values = plain_column(frame.table.column(choice.name), choice.name, frame.source)
    except DataError:  # a type that cannot be used, and so cannot be described either
        return known
    known["missing"] = values.null_count
    if pa.types.is_string(values.type):
        return known | _words(values)
    if isinstance(column, Date):
        return known | _dates(column, frame)
    if values.null_count < len(values):
        return known | _numbers(read_numbers(frame, choice.name))
    return known


def _words(values: pa.ChunkedArray) -> dict[str, Any]:
    counts = word_counts(values)
    return {"distinct": len(counts), "common": [list(pair) for pair in counts.items()][:MOST_COMMON]}


def _dates(column: Date, frame: Frame) -> dict[str, Any]:
    order = _order(column.read(frame, [])[:, 0])
    times = [time.as_py().isoformat() for time in column.write(order[:, None])]
    return dict(zip(("min", "median", "max"), times, strict=True))


def _numbers(numbers: np.ndarray) -> dict[str, Any]:
    (mean,), (deviation,) = moments(numbers[:, None])
    spread = dict(zip(("min", "median", "max"), _order(numbers).tolist(), strict=True))
    distinct = len(np.unique(numbers[~np.isnan(numbers)]))
    return {"distinct": distinct, "mean": float(mean), "sd": float(deviation), **spread}


def _order(numbers: np.ndarray) -> np.ndarray:
    """Smallest, middle and largest; the middle of halves, since the sum of two numbers may overflow."""
    known = numbers[~np.isnan(numbers)] / 2
    return np.array([known.min(), np.median(known), known.max()]) * 2
