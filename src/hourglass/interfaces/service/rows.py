"""Rows sent as JSON: parsed once, checked column by column, never cell by cell."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import pyarrow as pa

from hourglass.core.fitted import FittedModel
from hourglass.data.column_kinds import Flag, Number
from hourglass.data.columns import plain_table, table_of
from hourglass.data.images import ImageFormat
from hourglass.data.samples import Frame
from hourglass.data.series import SeriesFormat
from hourglass.data.tables import TableFormat
from hourglass.errors import DataError
from hourglass.interfaces.service.faults import Refusal
from hourglass.settings import did_you_mean

SOURCE = "rows"
_KEYS = ("rows", "columns")
_DEEPEST = 8
"""Lists within lists: pictures of several channels need 5."""


@dataclass(frozen=True)
class Rows:
    """Rows as columns of plain values, not yet looked at."""

    columns: dict[str, Sequence[Any]]
    count: int
    numeric: bool = False
    """Whether the model takes every column for numbers."""

    def data(self) -> Frame:
        """The rows as the reader gives a file's."""
        table = _numbers(self.columns) if self.numeric else None
        if table is None:
            table = plain_table(pa.table({name: _column(name, cells) for name, cells in self.columns.items()}), SOURCE)
        return Frame(table, SOURCE)

    @classmethod
    def joined(cls, several: Sequence[Rows]) -> Rows:
        """The rows of all of them, which have the same columns."""
        names = several[0].columns
        columns: dict[str, Sequence[Any]] = {
            name: list(itertools.chain.from_iterable(each.columns[name] for each in several)) for name in names
        }
        return cls(columns, sum(each.count for each in several), several[0].numeric)


@dataclass(frozen=True)
class Known:
    """What a model says of rows before any is seen."""

    names: list[str] | None = None
    """The columns that rows without names are taken to have; None where they are an array."""
    numeric: bool = False


def parsed(content: bytes, how: str = 'send {"rows": [...]}') -> Any:
    """A JSON value; `Refusal` where it is none, or one that only an attack would send, with `how` to mend it."""
    try:
        return json.loads(content, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        words = "it is nested too deep" if isinstance(error, RecursionError) else str(error)[:200]
        raise Refusal(f"the body is no JSON: {words}", where="body", how=how) from None


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number of JSON's; null stands for a missing cell")


def rows_of(content: bytes, known: Known) -> Rows | np.ndarray:
    """The rows that a body holds, as columns or as an array."""
    document = parsed(content)
    rows, names = _fields(document)
    first = rows[0]
    if isinstance(first, dict):
        return _from_objects(rows, known.numeric)
    names = known.names if names is None else names
    if names is None or (isinstance(first, list) and first and isinstance(first[0], list)):
        return _array(rows)
    if not isinstance(first, list):
        rows = [[value] for value in rows]
    return _from_lists(rows, names, known.numeric)


def _fields(document: Any) -> tuple[list[Any], list[str] | None]:
    how = 'send {"rows": [{"column": value, ...}, ...]} or {"columns": [...], "rows": [[...], ...]}'
    if not isinstance(document, dict) or not isinstance(document.get("rows"), list):
        raise Refusal("the body has no rows", where="body", how=how)
    unknown = [key for key in document if key not in _KEYS]
    if unknown:
        raise Refusal(f"got {unknown[0][:64]!a}", where="body", how=did_you_mean(unknown[0][:64], _KEYS))
    names = document.get("columns")
    if names is not None and not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        raise Refusal("columns are no list of names", where="columns", how=how)
    if not document["rows"]:
        raise DataError("there are no rows", where=SOURCE, how="at least one row is needed")
    return document["rows"], names


def known(model: FittedModel) -> Known:
    """What a model says of rows before any is seen."""
    form = model.format
    if isinstance(form, TableFormat) and form.named:
        return Known(form.cell_names(), all(isinstance(column, Number | Flag) for column in form.columns))
    if isinstance(form, SeriesFormat) and form.schema.columns:
        return Known([*([form.schema.time] if form.schema.time else []), *form.schema.columns])
    if isinstance(form, ImageFormat) and form.form.columns:
        return Known(list(form.form.columns), numeric=True)
    return Known()


def _from_objects(rows: list[Any], numeric: bool) -> Rows:
    names = dict.fromkeys(itertools.chain.from_iterable(row for row in rows if isinstance(row, dict)))
    try:
        return Rows({name: [row.get(name) for row in rows] for name in names}, len(rows), numeric)
    except AttributeError:
        _refuse(rows, dict, "an object like the first")


def _from_lists(rows: list[Any], names: list[str], numeric: bool) -> Rows:
    if len(set(names)) < len(names):
        raise DataError("two columns have the same name", where="columns", how="rename one of them")
    try:
        columns = list(zip(*rows, strict=True))
    except (ValueError, TypeError):
        columns = []
    if len(columns) != len(names) or any(not isinstance(row, list) for row in rows):
        width = f"a list of {len(names)} values, one a column"
        wrong = next(
            (place for place, row in enumerate(rows) if not isinstance(row, list) or len(row) != len(names)), 0
        )
        raise DataError(f"got no such row, wanted {width}", where=f"{SOURCE}, row {wrong}", how=_shown(names))
    return Rows(dict(zip(names, columns, strict=True)), len(rows), numeric)


def _refuse(rows: list[Any], kind: type, wanted: str) -> NoReturn:
    wrong = next((place for place, row in enumerate(rows) if not isinstance(row, kind)), 0)
    what = f"got {ascii(rows[wrong])[:40]}, wanted {wanted}"
    raise DataError(what, where=f"{SOURCE}, row {wrong}", how="write every row in the same form")


def _shown(names: list[str]) -> str:
    listed = ", ".join(names[:12])
    return f"columns: {listed}{' ...' if len(names) > 12 else ''}"


def _array(rows: list[Any]) -> np.ndarray:
    _check_depth(rows)
    try:
        array = np.array(rows, dtype=np.float64)
    except (ValueError, TypeError, OverflowError):
        how = "give every row equally many numbers; null for a missing one"
        raise DataError("the rows are no array of numbers", where=SOURCE, how=how) from None
    return array


def _check_depth(rows: Any) -> None:
    depth = 0
    while isinstance(rows, list) and rows:
        rows, depth = rows[0], depth + 1
    if depth > _DEEPEST:
        what = f"the rows are lists {depth} deep, wanted at most {_DEEPEST}"
        raise DataError(what, where=SOURCE, how="give rows as lists of numbers, or as objects")


def _numbers(columns: dict[str, Sequence[Any]]) -> pa.Table | None:
    """The columns at once, where every cell is a number or missing: ten times as fast as one by one."""
    cells = list(columns.values())
    if not set(map(type, itertools.chain.from_iterable(cells))) <= {float, int, type(None)}:
        return None
    try:
        array = np.array(cells, dtype=np.float64)
    except OverflowError:
        return None
    return table_of(array.T, list(columns)) if array.size else None


def _column(name: str, values: Sequence[Any]) -> pa.Array:
    where, how = f"{SOURCE}, column {name[:64]!a}", "give a column values of one type: numbers, words, true and false"
    if {list, dict} & set(map(type, values)):  # Arrow would look at nested ones for seconds
        raise DataError("cannot be read: lists or objects", where=where, how=f"{how}; null for a missing cell")
    try:
        return pa.array(values)
    except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
        words = str(error).splitlines()[0][:120] if isinstance(error, pa.ArrowException) else "values of several types"
        raise DataError(f"cannot be read: {words}", where=where, how=f"{how}; null for a missing cell") from None
