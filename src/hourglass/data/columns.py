"""Columns of one of five plain types, whatever they arrived as; anything else is refused by name.

Plain: whole numbers (int64), numbers (float32, float64), true/false (bool), times (timestamp, in UTC where a zone is
known) and words (string). A null is a missing cell, so NaN becomes null.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hourglass.data.limits import check_columns
from hourglass.errors import DataError

_is = pa.types
_RULES: tuple[tuple[Callable[[pa.DataType], bool], Callable[[pa.DataType], pa.DataType]], ...] = (
    (_is.is_integer, lambda kind: pa.int64()),
    (_is.is_float32, lambda kind: kind),
    (_is.is_floating, lambda kind: pa.float64()),
    (_is.is_decimal, lambda kind: pa.float64()),
    (_is.is_boolean, lambda kind: kind),
    (_is.is_timestamp, lambda kind: pa.timestamp(kind.unit, "UTC" if kind.tz else None)),
    (_is.is_date, lambda kind: pa.timestamp("s")),
    (_is.is_string, lambda kind: kind),
    (_is.is_large_string, lambda kind: pa.string()),
    (_is.is_string_view, lambda kind: pa.string()),
    (_is.is_time, lambda kind: pa.string()),
    (_is.is_null, lambda kind: pa.float64()),
)


def plain_table(table: pa.Table, source: str) -> pa.Table:
    """The same columns in plain types. `DataError` where a column has none, without rows, and for names used twice."""
    names = checked_names(table.column_names, source)
    if not names or not table.num_rows:
        raise DataError(
            f"there are no {'rows' if names else 'columns'}", where=source, how="at least one row is needed"
        )
    columns = [plain_column(table.column(place), name, source) for place, name in enumerate(names)]
    return pa.table(columns, names=names)


def plain_column(column: pa.ChunkedArray, name: str, source: str) -> pa.ChunkedArray:
    """One column in its plain type."""
    if _is.is_dictionary(column.type):
        column = _decoded(column)
    wanted = next((plain(column.type) for fits, plain in _RULES if fits(column.type)), None)
    if wanted is None:
        raise DataError(
            f"column {name!r} holds {column.type}, wanted numbers, words, true/false or times",
            where=source,
            how="leave the column out, or spread it over plain columns",
        )
    return _nan_to_null(_cast(column, wanted, name, source))


def _decoded(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A dictionary column row by row. Arrow cannot cast every dictionary, but can pick from plain words."""
    kind = column.type.value_type
    words = pa.string() if _is.is_string_view(kind) or _is.is_large_string(kind) else kind
    return pa.chunked_array([chunk.dictionary.cast(words).take(chunk.indices) for chunk in column.chunks], words)


def _cast(column: pa.ChunkedArray, wanted: pa.DataType, name: str, source: str) -> pa.ChunkedArray:
    if column.type == wanted:
        return column
    try:
        # uint64 does not fit int64 above 2**63: such numbers keep their size and lose their last digits.
        large = _is.is_uint64(column.type) and (pc.max(column).as_py() or 0) >= 2**63
        return column.cast(pa.float64(), safe=False) if large else column.cast(wanted)
    except pa.ArrowException as error:
        how = "save the column as plain numbers or words, or leave it out"
        raise DataError(f"column {name!r} cannot be read as {wanted}: {error}", where=source, how=how) from error


def _nan_to_null(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """NaN as null: the one way in which a frame says that a cell is missing."""
    if not _is.is_floating(column.type):
        return column
    absent = pc.is_nan(column)
    if not pc.any(absent).as_py():
        return column
    return pc.if_else(pc.fill_null(absent, True), pa.scalar(None, column.type), column)


def checked_names(names: Sequence[str], source: str, line: int | None = None) -> list[str]:
    """Column names, an empty one called `column 3` by its place (from 1). A name used twice is refused."""
    where = source if line is None else f"{source}, line {line}"
    check_columns(len(names), where)
    seen: dict[str, int] = {}
    for place, name in enumerate((name or f"column {place}" for place, name in enumerate(names, 1)), 1):
        if name in seen:
            raise DataError(
                f"two columns are called {name!r}: column {seen[name]} and column {place}",
                where=where,
                how="rename one of them",
            )
        seen[name] = place
    return list(seen)


def table_of(array: np.ndarray, names: Sequence[str] | None = None) -> pa.Table:
    """A 2-d array of numbers as a table, one column a column; names are x0, x1, ... unless given."""
    # One transposed copy makes every column contiguous, and Arrow then takes it as it is.
    columns = np.ascontiguousarray(array.T)
    return pa.table([pa.array(column) for column in columns], names=names or [f"x{i}" for i in range(len(columns))])
