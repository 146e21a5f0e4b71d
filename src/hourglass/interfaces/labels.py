"""Label columns: which rows are normal, which are anomalies, and which a model may learn from."""

from __future__ import annotations

import dataclasses

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hourglass.data.formats import Data
from hourglass.data.samples import Frame, Pictures, Recordings
from hourglass.errors import DataError, UsageError
from hourglass.settings import did_you_mean

_NORMAL, _ODD = ("0", "false", "normal"), ("1", "true", "anomaly")


def check_normal(label: str | None, normal: str | None) -> None:
    """Refuse a normal value of which nobody says in what column it is."""
    if label is None and normal is not None:
        raise UsageError("--normal needs the column that it is a value of", how="add --label COLUMN")


def label_column(data: Data, name: str) -> pa.ChunkedArray:
    """The column of labels called `name`."""
    if isinstance(data, np.ndarray):
        how = "put the labels beside it in an .npz file and name both: FILE.npz:X+LABELS"
        raise UsageError(f"an array of {data.ndim} dimensions has no column {name!r}", where="--label", how=how)
    if name not in data.table.column_names:
        how = did_you_mean(name, data.table.column_names)
        raise UsageError(f"there is no column {name!r} in {data.source}", where="--label", how=how)
    return data.table.column(name)


def equal_to(column: pa.ChunkedArray, value: str) -> np.ndarray:
    """Where a column equals a value as typed: as numbers where both are numbers. A missing cell equals nothing.

    >>> equal_to(pa.chunked_array([[0.0, 1.0, None]]), "1")
    array([False,  True, False])
    """
    encoded = column.cast(_readable(column.type)).combine_chunks().dictionary_encode()
    same = [_key(each) == _key(value) for each in encoded.dictionary.to_pylist()]
    return np.asarray(pc.fill_null(pc.take(pa.array(same, pa.bool_()), encoded.indices), False))


def _readable(kind: pa.DataType) -> pa.DataType:
    return kind if pa.types.is_integer(kind) or pa.types.is_floating(kind) else pa.string()


def _key(value: object) -> float | str:
    """What a label is compared by: its number, or else its text in small letters."""
    text = {"true": "1", "false": "0"}.get(str(value).strip().lower(), str(value).strip())
    try:
        return float(text)
    except ValueError:
        return text


def normal_rows(data: Data, label: str, normal: str) -> np.ndarray:
    """Which rows have the normal label; `DataError` where none has."""
    column = label_column(data, label)
    mask = equal_to(column, normal)
    if not mask.any():
        how = f"its values are {_values(column)}"
        raise DataError(f"no row of column {label!r} equals {normal!r}", where=_source(data), how=how)
    return mask


def anomaly_labels(data: Data, label: str, normal: str | None) -> np.ndarray:
    """Which rows are anomalies: those not labelled `normal`; without it labels must be 0 and 1, or false and true."""
    column = label_column(data, label)
    if column.null_count:
        row = int(np.flatnonzero(np.asarray(column.is_null()))[0])
        where = "" if isinstance(data, np.ndarray) else data.where(row, label)
        raise DataError("the label is missing", where=where, how="leave out rows whose label is not known")
    if normal is not None:
        return ~normal_rows(data, label, normal)
    known = {_key(word): word in _ODD for word in (*_NORMAL, *_ODD)}
    words = [str(value).strip().lower() for value in column.unique().to_pylist()]
    if any(_key(word) not in known for word in words):
        what = f"column {label!r} holds {_values(column)}: which of them is normal?"
        raise UsageError(what, where=_source(data), how="name it with --normal VALUE")
    lower = pc.utf8_lower(column.cast(pa.string()))
    return np.asarray(np.logical_or.reduce([equal_to(lower, word) for word in _ODD]))


Rows = Frame | Pictures | Recordings
"""Data that have a table of what is known of each row."""


def only(data: Rows, mask: np.ndarray, words: str) -> Rows:
    """The rows where `mask` is true. Their places are then counted among these rows, and the source says so."""
    table, source = data.table.filter(pa.array(mask)), f"{data.source} ({words})"
    if isinstance(data, Frame):
        return dataclasses.replace(data, table=table, source=source, first_line=None)
    chosen = np.flatnonzero(mask).tolist()
    kept = dataclasses.replace(data, arrays=[data.arrays[row] for row in chosen], table=table, source=source)
    if isinstance(kept, Recordings):
        return dataclasses.replace(kept, rates=[kept.rates[row] for row in chosen])
    return kept


def blanked(frame: Frame, mask: np.ndarray, keep: str | None) -> Frame:
    """All rows, with nothing known where `mask` is false: a series keeps its steps. Column `keep` (the time) stays."""
    here = pa.array(mask)
    columns = [
        column if name == keep else pc.if_else(here, column, pa.scalar(None, column.type))
        for name, column in zip(frame.table.column_names, frame.table.columns, strict=True)
    ]
    return dataclasses.replace(frame, table=pa.table(columns, names=frame.table.column_names))


def _values(column: pa.ChunkedArray) -> str:
    values = [str(value) for value in column.unique().to_pylist()]
    return ", ".join(values[:8]) + (", ..." if len(values) > 8 else "")


def _source(data: Data) -> str:
    return "the data" if isinstance(data, np.ndarray) else data.source
