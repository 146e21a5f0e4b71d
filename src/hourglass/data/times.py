"""Time columns: found by type or name, read as numbers that can be subtracted exactly, and put into words."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hourglass.data.samples import Frame
from hourglass.errors import SchemaError, TimeError
from hourglass.settings import did_you_mean

TIME_NAMES = ("time", "timestamp", "date", "datetime", "ds")
TICKS_A_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_GIVE_TIME = "give every row a time, or drop the row"
_LENGTHS = (("w", 604800), ("d", 86400), ("h", 3600), ("min", 60), ("s", 1))


@dataclass(frozen=True)
class Times:
    """A time column, row by row in the user's order."""

    column: pa.Array
    """The times as given (text parsed)."""
    ticks: np.ndarray
    """The same as counts of `unit`: int64, or float64 where plain numbers have fractions. Never null."""
    unit: str
    """s, ms, us or ns of a clock; empty where times are plain numbers."""

    def word(self, tick: float) -> str:
        """One time as a person writes it."""
        return time_word(tick, self.unit)


def is_clock(kind: pa.DataType) -> bool:
    """Whether a column type holds moments: timestamps or dates."""
    return bool(pa.types.is_timestamp(kind) or pa.types.is_date(kind))


def is_number(kind: pa.DataType) -> bool:
    """Whether a column type can be a channel: numbers, true/false as 1/0, or nothing but nulls."""
    is_kind = pa.types
    tests = (is_kind.is_integer, is_kind.is_floating, is_kind.is_decimal, is_kind.is_boolean, is_kind.is_null)
    return any(test(kind) for test in tests)


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def find_time(frame: Frame, named: str | None, ignore: Collection[str], notices: list[str]) -> str | None:
    """The time column: the one `named`, else the one whose type is a time, else the one called like a time."""
    schema = frame.table.schema
    if named is not None:
        if named not in schema.names:
            how = did_you_mean(named, schema.names)
            raise SchemaError(f"there is no time column {named!r}", where=frame.source, how=how)
        return named
    candidates = [field for field in schema if field.name not in ignore]
    called = [field.name for field in candidates if field.name.lower() in TIME_NAMES]
    typed = [field.name for field in candidates if is_clock(field.type)]
    found = [name for name in typed if name in called] + typed + called
    if len(typed) > 1:
        notices.append(f"of the time columns {', '.join(map(repr, typed))}, {found[0]!r} is taken as the time")
    return found[0] if found else None


def read_times(frame: Frame, name: str) -> Times:
    """The times of column `name`; a null, or text that is no ISO time, raises `TimeError` with its row."""
    column = frame.table.column(name).combine_chunks()
    if column.null_count:
        row = int(np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))[0])
        raise TimeError("the time is missing", where=frame.where(row, name), how=_GIVE_TIME)
    if _is_text(column.type):
        column = _parsed(frame, name, column)
    elif pa.types.is_date(column.type):
        column = column.cast(pa.timestamp("s" if pa.types.is_date32(column.type) else "ms"))
    if pa.types.is_timestamp(column.type):
        return Times(column, column.cast(pa.int64()).to_numpy(), column.type.unit)
    return Times(column, _plain_numbers(frame, name, column), "")


def _parsed(frame: Frame, name: str, column: pa.Array) -> pa.Array:
    for kind in (pa.timestamp("us"), pa.timestamp("us", "UTC")):
        try:
            return column.cast(kind)
        except pa.ArrowInvalid:
            continue
    row = next((row for row, text in enumerate(column) if not _is_iso(text)), 0)
    raise TimeError(
        f"{column[row].as_py()!r} is not a time",
        where=frame.where(row, name),
        how="write times like 2024-01-31 14:30:00, either all with a zone or all without",
    )


def _is_iso(text: pa.Scalar) -> bool:
    try:
        text.cast(pa.timestamp("us"))
    except pa.ArrowInvalid:
        return False
    return True


def _plain_numbers(frame: Frame, name: str, column: pa.Array) -> np.ndarray:
    if pa.types.is_integer(column.type):
        return np.asarray(column.cast(pa.int64()).to_numpy())
    if not pa.types.is_floating(column.type):
        how = "give times as timestamps, dates, ISO text or numbers"
        raise TimeError(f"a column of type {column.type} cannot be the time", where=frame.where(column=name), how=how)
    ticks: np.ndarray = pc.cast(column, pa.float64()).to_numpy()
    if not np.isfinite(ticks).all():
        row = int(np.flatnonzero(~np.isfinite(ticks))[0])
        raise TimeError(f"{ticks[row]} is not a time", where=frame.where(row, name), how=_GIVE_TIME)
    return ticks


def time_word(tick: float, unit: str) -> str:
    """A tick as a person writes it: no seconds where there are none.

    >>> time_word(1417046400, "s"), time_word(1417048200500, "ms"), time_word(2.5, "")
    ('2014-11-27 00:00', '2014-11-27 00:30:00.5', '2.5')
    """
    if not unit:
        return f"{tick:.12g}"
    text = str(np.array(int(tick)).view(f"M8[{unit}]")).replace("T", " ")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return text.removesuffix(":00") if text.count(":") == 2 else text


def length_word(seconds: float) -> str:
    """A length of time in its largest whole unit.

    >>> length_word(1800), length_word(86400), length_word(5400), length_word(0.02)
    ('30min', '1d', '90min', '0.02s')
    """
    for unit, length in _LENGTHS:
        if seconds >= length and seconds % length == 0:
            return f"{seconds // length:.0f}{unit}"
    return f"{seconds:.6g}s"


def counted(count: int, noun: str) -> str:
    """A count with its noun.

    >>> counted(1, "step"), counted(10320, "step")
    ('1 step', '10,320 steps')
    """
    return f"{count:,} {noun}" + ("" if count == 1 else "s")
