"""Tables: rows of mixed columns (numbers, flags, dates, words) to one row of floats each, and back.

An array is all numbers, called x0, x1, ...; of a frame every column is looked at once, on `fit`, and some are left out
(ids, free text, empty ones), each with a notice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import pyarrow as pa
import torch

from hourglass.data.column_kinds import (
    Choice,
    Column,
    Number,
    choose,
    column_from_json,
    infinite,
    read_columns,
    read_numbers,
)
from hourglass.data.columns import checked_names
from hourglass.data.formats import Data, Format, FormatSettings, Rows, plain_values
from hourglass.data.samples import Cell, Frame, Layout, Packed, Pictures, Recordings
from hourglass.data.scaling import OVER, SCALERS, Identity, Scaler, extremes, make_scaler, moments
from hourglass.errors import DataError, ModelFileError, SchemaError, UsageError
from hourglass.settings import did_you_mean, option

_LEAST_VARIANCE, _LEAST_ENTROPY = 1e-3, 0.05
"""Baselines divide losses: with smaller ones, a cell that hardly varies would drown all others."""

_NOWHERE = Frame(pa.table({}), unnamed=True)
"""Names the places of an array's cells in errors."""


@dataclass(frozen=True)
class TableSettings(FormatSettings):
    """Options of tables."""

    name: ClassVar[str] = "table"

    scaling: str = option("standard", "how numbers are brought to one size", choices=tuple(SCALERS))
    over: str = option("column", "whether each column has its own scale, or all share one", choices=OVER)
    columns: tuple[str, ...] | None = option(None, "use only these columns (default: all that can be used)")
    ignore: tuple[str, ...] | None = option(None, "leave these columns out, such as a label")
    max_categories: int = option(50, "words of a column that are told apart; rarer ones count as 'other'", low=1)
    low: float | None = option(None, "what min-max scaling makes 0: 0 for pictures (default: the smallest value)")
    high: float | None = option(None, "what min-max scaling makes 1: 255 for pictures (default: the largest value)")

    def fit(self, data: Data) -> TableFormat:
        """Learn columns, words and scales from `data`: an array (rows, columns), NaN = missing, or a frame.

        A frame without names of its own that is all numbers is taken as an array.
        """
        if isinstance(data, Frame):
            array = _array_in(data)
            return self._fit_frame(data) if array is None else self._fit_array(array)
        return self._fit_array(checked_array(data))

    def _fit_frame(self, frame: Frame) -> TableFormat:
        if not frame.table.num_rows:
            raise DataError("got no rows to learn from", where=frame.source, how="give at least two")
        choices = choices_of(frame, self)
        columns = tuple(choice.column for choice in choices if choice.column is not None)
        notices = [choice.notice for choice in choices if choice.notice]
        if not columns:
            reasons = "; ".join(f"{choice.name}: {choice.left_out}" for choice in choices)
            raise DataError("no column is left to learn from", where=frame.source, how=reasons)
        numbers, places = read_columns(frame, columns, [])
        return self.learned(columns, numbers, places, frame.table.column_names, True, notices)

    def _fit_array(self, numbers: np.ndarray) -> TableFormat:
        if not len(numbers):
            raise DataError("got no rows to learn from", how="give at least two")
        offered = [f"x{place}" for place in range(numbers.shape[1])]
        used = self.used(offered, _NOWHERE.source)
        numbers = numbers[:, np.isin(offered, used)] if used != offered else numbers
        low, high = extremes(numbers)
        constant = [name for name, same in zip(used, low == high, strict=True) if same]
        notices = [f"{len(constant)} of {len(used)} columns never change: {_listed(constant)}"] if constant else []
        return self.learned(tuple(map(Number, used)), numbers, np.empty((len(numbers), 0)), offered, False, notices)

    def learned(
        self,
        columns: tuple[Column, ...],
        numbers: np.ndarray,
        places: np.ndarray,
        offered: Sequence[str],
        named: bool,
        notices: list[str],
    ) -> TableFormat:
        """The format of these columns, its scaling learned from `numbers` and its baselines from both."""
        scaler = make_scaler(self.scaling, numbers, self.over, self.low, self.high) if numbers.shape[1] else Identity()
        layout = _layout(columns, _assembled(columns, scaler.scale(numbers), places))
        return TableFormat(self, columns, scaler, layout, tuple(offered), named, notices)

    def used(self, names: Sequence[str], source: str) -> list[str]:
        """Those of the names that the options leave; `UsageError` where an option names a column that is not there."""
        for option_name, named in (("columns", self.columns), ("ignore", self.ignore)):
            for name in named or ():
                if name not in names:
                    what = f"{option_name} names {name!r}, which is not a column"
                    raise UsageError(what, where=source, how=did_you_mean(name, names))
        left = set(self.columns or names).difference(self.ignore or ())  # a set, for a million names
        used = [name for name in names if name in left]
        if not used:
            raise DataError("no column is left to learn from", where=source, how="see the options columns and ignore")
        return used


class TableFormat(Format):
    """Rows of a table as rows of floats: scaled numbers, flags as 0 or 1, and one place for each word of a category."""

    modality = "table"

    def __init__(
        self,
        settings: TableSettings,
        columns: tuple[Column, ...],
        scaler: Scaler,
        layout: Layout,
        offered: tuple[str, ...],
        named: bool,
        notices: list[str],
    ) -> None:
        self.settings: TableSettings = settings
        self.columns, self.scaler, self.layout, self.notices = columns, scaler, layout, notices
        self.offered = offered
        """Every column of the training data, used or not: these need no notice when they come again."""
        self.named = named
        """Whether it was fitted on a frame: data are then matched by name, and come back as a table."""

    def pack(self, data: Data) -> Packed:
        """Rows of an array or a frame as samples of shape (rows, places); columns of a frame may be in any order."""
        notices: list[str] = []
        numbers, places = self._numbers(data, notices)
        return Packed(_assembled(self.columns, self.scaler.scale(numbers), places), notices=notices)

    def pack_like(self, data: Data, places: object) -> Packed:
        return self.pack(data)

    def rescaled(self, data: Data, chosen: np.ndarray) -> TableFormat:
        """The same columns, their scales and baselines learned from the chosen rows only."""
        numbers, places = self._numbers(data, [])
        numbers, places = numbers[chosen], places[chosen]
        return self.settings.learned(self.columns, numbers, places, self.offered, self.named, self.notices)

    def scaled_by(self, scaler: Scaler, data: Data) -> TableFormat:
        """The same columns under another scaler, their baselines learned from `data`."""
        numbers, places = self._numbers(data, [])
        layout = _layout(self.columns, _assembled(self.columns, scaler.scale(numbers), places))
        return TableFormat(self.settings, self.columns, scaler, layout, self.offered, self.named, self.notices)

    def _numbers(self, data: Data, notices: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """What is scaled, and the places of what is not: flags and categories."""
        if self.named:
            return read_columns(self._frame(data, notices), self.columns, notices)
        numbers = self._array(data, notices)
        return numbers, np.empty((len(numbers), 0))

    def unpack(self, samples: np.ndarray, places: Any = None) -> np.ndarray | pa.Table:
        """Samples in units: an array (rows, columns) if fitted on one, otherwise a table of the used columns.

        A flag is true from 0.5 on; a category is its most likely word. NaN is a missing cell.
        """
        if not self.named:
            return self.scaler.unscale(samples)
        scaled = _scaled(self.columns)
        units = samples.astype(np.float64)
        units[:, scaled] = self.scaler.unscale(samples[:, scaled])
        parts = np.split(units, np.cumsum([column.width for column in self.columns])[:-1], axis=1)
        cells = [column.write(part) for column, part in zip(self.columns, parts, strict=True)]
        return pa.table(cells, names=self.cell_names())

    def rows(self, scores: np.ndarray, places: Any) -> Rows:
        """Each sample is a row, so each score is its row's."""
        return Rows(
            pa.array(np.arange(len(scores))), np.asarray(scores, dtype=np.float64), np.ones(len(scores), dtype=bool)
        )

    def rows_in_units(self, samples: np.ndarray) -> list[list[Any]]:
        """Each sample's cells as plain values: numbers, words, true or false, times in ISO form; None where missing."""
        rows = self.unpack(samples)
        if isinstance(rows, np.ndarray):
            return plain_values(rows)
        columns = [column.to_pylist() for column in rows.columns]
        return [
            [each.isoformat() if hasattr(each, "isoformat") else each for each in row]
            for row in zip(*columns, strict=True)
        ]

    def cell_names(self) -> list[str]:
        return [column.name for column in self.columns]

    def document(self) -> dict[str, Any]:
        return {
            "settings": self.settings.as_json(),
            "columns": [column.as_json() for column in self.columns],
            "layout": self.layout.as_json(),
            "scaler": next(name for name, kind in SCALERS.items() if kind is type(self.scaler)),
            "offered": list(self.offered),
            "named": self.named,
            "notices": list(self.notices),
        }

    def tensors(self) -> dict[str, torch.Tensor]:
        return self.scaler.tensors()

    @classmethod
    def restore(cls, document: dict[str, Any], tensors: dict[str, torch.Tensor]) -> Self:
        """The format that `document` and `tensors` describe; `ModelFileError` where they do not fit together."""
        try:
            settings = FormatSettings.from_json(document["settings"])
            columns = tuple(column_from_json(column) for column in document["columns"])
            layout = Layout.from_json(document["layout"])
            scaler = SCALERS[document["scaler"]].from_tensors(tensors)
            offered, named = tuple(document["offered"]), bool(document["named"])
            notices = [str(notice) for notice in document["notices"]]
            if not isinstance(settings, TableSettings) or not _consistent(columns, layout, scaler, offered):
                raise ValueError("columns, layout and scales do not fit together")
        except (KeyError, TypeError, ValueError, NotImplementedError) as error:
            raise ModelFileError(
                f"the description of the table's format is damaged: {type(error).__name__} {error}"
            ) from error
        return cls(settings, columns, scaler, layout, offered, named, notices)

    def _frame(self, data: Data, notices: list[str]) -> Frame:
        """The data as a frame that has all used columns."""
        if not isinstance(data, Frame):
            return self._named_by_position(checked_array(data))
        given = checked_names(data.table.column_names, data.source)
        missing = [name for name in self.cell_names() if name not in given]
        if missing:
            what = f"{_counted(missing)} missing: {', '.join(missing)}"
            raise SchemaError(what, where=data.source, how=did_you_mean(missing[0], given))
        extra = [name for name in given if name not in self.offered]
        if extra:
            notices.append(f"{_counted(extra)} unknown to the model and ignored: {_listed(extra)}")
        return data

    def _named_by_position(self, numbers: np.ndarray) -> Frame:
        names = self.cell_names()
        if numbers.shape[1] != len(names) or any(column.kind not in ("number", "flag") for column in self.columns):
            what = f"got {numbers.shape[1]} columns of numbers without names, wanted the columns {_listed(names, 10)}"
            raise SchemaError(what, how="give a frame or a file with these names, as when the model was fitted")
        return Frame(pa.table([pa.array(column) for column in numbers.T.copy()], names=names))

    def _array(self, data: Data, notices: list[str]) -> np.ndarray:
        """The data as an array of the used columns."""
        numbers = self._taken_by_position(data, notices) if isinstance(data, Frame) else checked_array(data)
        if numbers.shape[1] != len(self.offered):
            raise SchemaError(
                f"got {numbers.shape[1]} columns, wanted {len(self.offered)}", how="as the model was fitted"
            )
        if len(self.columns) == len(self.offered):
            return numbers
        return numbers[:, [self.offered.index(name) for name in self.cell_names()]]

    def _taken_by_position(self, frame: Frame, notices: list[str]) -> np.ndarray:
        names = checked_names(frame.table.column_names, frame.source)
        if set(self.offered) <= set(names):
            names = list(self.offered)
        elif not frame.unnamed:
            names = [name for name in names if _is_numeric(frame.table.schema.field(name).type)]
            notices.append(f"the model knows no names: {_listed(names)} taken by position")
        if len(names) != len(self.offered):
            what = f"got {len(names)} columns of numbers, wanted {len(self.offered)}"
            raise SchemaError(what, where=frame.source, how="the model was fitted on an array without names")
        return np.column_stack([read_numbers(frame, name) for name in names])


def choices_of(frame: Frame, settings: TableSettings) -> list[Choice]:
    """What becomes of each column that the options leave."""
    names = settings.used(checked_names(frame.table.column_names, frame.source), frame.source)
    return [choose(frame, name, settings.max_categories, wanted=settings.columns is not None) for name in names]


def _array_in(frame: Frame) -> np.ndarray | None:
    """The array that a frame without names of its own is, if it is all numbers."""
    names = checked_names(frame.table.column_names, frame.source)
    if not frame.unnamed or not names or not all(_is_numeric(kind) for kind in frame.table.schema.types):
        return None
    return np.column_stack([read_numbers(frame, name) for name in names])


def _is_numeric(kind: pa.DataType) -> bool:
    tests = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_boolean, pa.types.is_null)
    return any(test(kind) for test in tests)


def checked_array(data: Any) -> np.ndarray:
    """An array of numbers of shape (rows, columns), without infinities: float32 as it is, all else as float64."""
    if isinstance(data, Pictures):
        raise SchemaError("got pictures, wanted rows and columns", how="pictures need the modality image")
    if isinstance(data, Recordings):
        raise SchemaError("got recordings, wanted rows and columns", how="recordings need the modality audio")
    array = np.asarray(data)
    if array.ndim != 2 or not array.shape[1]:
        how = "give rows and columns: array.reshape(-1, 1) makes one column, array.reshape(1, -1) one row"
        raise DataError(f"got an array of shape {array.shape}, wanted (rows, columns)", how=how)
    if array.dtype.kind in "OUS":
        array = _parsed(array)
    elif array.dtype.kind not in "buif":
        raise DataError(f"got an array of {array.dtype}, wanted numbers", how="convert it to float64 first")
    numbers: np.ndarray = array if array.dtype == np.float32 else array.astype(np.float64, copy=False)
    infinity = np.isinf(numbers)
    if infinity.any():
        row, column = np.argwhere(infinity)[0]
        raise infinite(_NOWHERE.where(int(row), f"x{column}"))
    return numbers


def _parsed(array: np.ndarray) -> np.ndarray:
    """An array of objects or text as float64; None is NaN, and the first cell that is no number is refused."""
    numbers: np.ndarray = np.empty(array.shape)
    for place, value in np.ndenumerate(array):
        try:
            numbers[place] = np.nan if value is None else float(value)
        except (TypeError, ValueError) as error:
            where = _NOWHERE.where(place[0], f"x{place[1]}")
            raise DataError(
                f"got {value!r}, wanted a number", where=where, how="NaN or None is a missing cell"
            ) from error
    return numbers


def _assembled(columns: Sequence[Column], scaled: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Samples, float32, from scaled numbers and the places of the other columns."""
    if not places.shape[1]:
        return scaled
    among = _scaled(columns)
    samples: np.ndarray = np.empty((len(scaled), len(among)), dtype=np.float32)
    samples[:, among], samples[:, ~among] = scaled, places
    return samples


def _scaled(columns: Sequence[Column]) -> np.ndarray:
    """Which places of a sample go through the scaler."""
    return np.repeat([column.scaled for column in columns], [column.width for column in columns])


def _layout(columns: Sequence[Column], samples: np.ndarray) -> Layout:
    """The cells of a sample, with the loss of always predicting the training mean, or shares, for their baselines."""
    mean, deviation = moments(samples)
    cells, start = [], 0
    for column in columns:
        place = slice(start, start + column.width)
        baseline = _variance(deviation[start]) if column.cell == "number" else _entropy(mean[place])
        cells.append(Cell(column.name, column.cell, column.width, baseline))
        start += column.width
    return Layout((start,), tuple(cells))


def _variance(deviation: float) -> float:
    return max(float(deviation) ** 2, _LEAST_VARIANCE) if deviation else 1.0


def _entropy(shares: np.ndarray) -> float:
    """Entropy in nats of words' shares, or of a flag's one share and the rest."""
    shares = np.append(shares, 1 - shares.sum()) if len(shares) == 1 else shares
    shares = shares[shares > 0]
    return max(float(-(shares * np.log(shares)).sum()), _LEAST_ENTROPY)


def _consistent(columns: Sequence[Column], layout: Layout, scaler: Scaler, offered: Sequence[str]) -> bool:
    described = [(cell.name, cell.kind, cell.width) for cell in layout.cells]
    names = [column.name for column in columns]
    numbers = sum(column.scaled for column in columns)
    return (
        bool(columns)
        and described == [(column.name, column.cell, column.width) for column in columns]
        and layout.shape == (sum(column.width for column in columns),)
        and all(0 < cell.baseline < np.inf for cell in layout.cells)
        and all(len(tensor) in (1, numbers) for tensor in scaler.tensors().values())
        and len(set(names)) == len(names)
        and set(names) <= set(offered)
    )


def _listed(names: Sequence[str], most: int = 5) -> str:
    """Names as words, the first few where there are many.

    >>> _listed(["a", "b", "c"], most=2)
    'a, b, ...'
    """
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def _counted(names: Sequence[str]) -> str:
    """Name their number as a sentence's subject.

    >>> _counted(["a"]), _counted(["a", "b"])
    ('1 column is', '2 columns are')
    """
    return f"{len(names)} column is" if len(names) == 1 else f"{len(names)} columns are"
