"""What people call a series, in its many forms, read into one: equally long series of steps with channels."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hourglass.data.formats import Data
from hourglass.data.grid import Grid, fill_short_gaps, mean_columns_at, place_on_grid, runs
from hourglass.data.samples import Frame, Pictures, Recordings
from hourglass.data.times import counted, find_time, is_clock, is_number, read_times
from hourglass.errors import DataError, SchemaError, UsageError
from hourglass.settings import did_you_mean

ROW = "row"
"""The window that means: each row of the data is one."""


@dataclass(frozen=True)
class Schema:
    """How series were given at fit, so that later ones are read the same way."""

    channels: tuple[str, ...]
    columns: tuple[str, ...] = ()
    """Columns read from a frame: one a channel, or one a step where each row is a window. Empty: taken by position."""
    whole: bool = False
    """Whether each row, or each series of a 3-d array, is one window."""
    dimensions: int = 0
    """Dimensions of the array given; 0 for a frame with named columns."""
    time: str | None = None
    left_out: tuple[str, ...] = ()
    """Columns seen at fit and not used."""
    empty: tuple[int, ...] = ()
    """Channels of an array, by position, that held no number at fit and are passed over."""

    def replace(self, **changes: Any) -> Self:
        return dataclasses.replace(self, **changes)

    def widened(self, values: np.ndarray) -> np.ndarray:
        """Values (..., channels) with the passed-over channels back in their places, as NaN."""
        if not self.empty:
            return values
        width = len(self.channels) + len(self.empty)
        wide = np.full((*values.shape[:-1], width), np.nan)
        wide[..., np.setdiff1d(np.arange(width), self.empty)] = values
        return wide

    def as_json(self) -> dict[str, Any]:
        return {key: list(value) if isinstance(value, tuple) else value for key, value in vars(self).items()}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Self:
        values: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in document.items()}
        return cls(**values)


@dataclass(frozen=True)
class Signal:
    """Series on an even grid, and the place of each input row on it."""

    values: np.ndarray
    """Shape (series, steps, channels), float64 in units, NaN = missing."""
    slots: np.ndarray
    """For each input row the step it stands at, counted through all series. Where each row is a window: its number."""
    shape: tuple[int, ...] | None = None
    """Shape of the array given; None for a frame with named columns."""
    grid: Grid | None = None
    times: pa.Array | None = None
    """The time of each input row."""

    @property
    def complete(self) -> np.ndarray:
        """Where no channel is missing, (series, steps)."""
        return np.asarray(~np.isnan(self.values).any(axis=2))

    def step_word(self, slot: int) -> str:
        """A step, counted through all series, in words."""
        series, step = divmod(slot, self.values.shape[1])
        if self.grid is not None:
            return self.grid.word(step)
        return f"step {step}" if len(self.values) == 1 else f"series {series}, step {step}"


def learn_schema(
    data: Data,
    *,
    window: str | None,
    time: str | None,
    columns: tuple[str, ...] | None,
    ignore: tuple[str, ...] | None,
    notices: list[str],
) -> Schema:
    """How `data` are given: which columns are channels, which is the time, and whether rows are windows."""
    if isinstance(data, Pictures | Recordings):
        raise _no_series(data)
    if isinstance(data, Frame):
        return _frame_schema(data, window, time, columns, ignore or (), notices)
    if time or columns or ignore:
        how = "leave them out, or give a table"
        raise UsageError("time, columns and ignore name columns, and an array has none", how=how)
    return _array_schema(np.ndim(data), np.shape(data), window)


def _array_schema(dimensions: int, shape: tuple[int, ...], window: str | None) -> Schema:
    if dimensions not in (1, 2, 3):
        raise DataError(f"got an array of {dimensions} dimensions, wanted 1 to 3", how="series, steps, channels")
    whole = window == ROW or (window is None and dimensions > 1)
    if whole and dimensions == 1:
        how = "leave window out, or give a number of steps"
        raise UsageError("a 1-d array is one series: its rows cannot be windows", how=how)
    if whole and shape[1] == 1:
        how = "give one series as a 1-d array (values[:, 0]), or windows of at least 2 steps as rows"
        raise DataError(f"got an array with n_features = 1 (shape={shape}): windows of a single step", how=how)
    count = 1 if dimensions == 1 or (whole and dimensions == 2) else shape[-1]
    return Schema(_channel_names(count), whole=whole, dimensions=dimensions)


def _channel_names(count: int) -> tuple[str, ...]:
    return ("value",) if count == 1 else tuple(f"channel_{channel}" for channel in range(count))


def _frame_schema(
    frame: Frame,
    window: str | None,
    time: str | None,
    columns: tuple[str, ...] | None,
    ignore: tuple[str, ...],
    notices: list[str],
) -> Schema:
    names = frame.table.column_names
    for name in (*(columns or ()), *ignore):
        if name not in names:
            raise SchemaError(f"there is no column {name!r}", where=frame.source, how=did_you_mean(name, names))
    ignore = (*ignore, time) if time and window == ROW else ignore
    time = None if window == ROW else find_time(frame, time, ignore, notices)
    used = columns or _number_columns(frame, {*ignore, time}, notices)
    used = tuple(name for name in used if name != time)
    if not used:
        how = f"the columns are {', '.join(names)}"
        raise DataError("got no column of numbers, wanted at least 1", where=frame.source, how=how)
    left_out = tuple(name for name in names if name not in used and name != time)
    if frame.unnamed and time is None:
        shape = (frame.table.num_rows, len(used))
        schema = _array_schema(1 if len(used) == 1 else 2, shape, window)
        return schema.replace(left_out=left_out)
    if window == ROW and len(used) == 1:
        how = "with window 'row', each column of numbers is a step: give at least 2"
        raise DataError("got windows of a single step", where=frame.where(column=used[0]), how=how)
    whole = window == ROW
    return Schema(("value",) if whole else used, used, whole, 0, time, left_out)


def _refuse_repeated(frame: Frame) -> None:
    repeated = [repr(name) for name, count in Counter(frame.table.column_names).items() if count > 1]
    if repeated:
        raise SchemaError(f"columns share a name: {', '.join(repeated)}", where=frame.source, how="rename one")


def _number_columns(frame: Frame, skip: Iterable[str | None], notices: list[str]) -> tuple[str, ...]:
    skip = set(skip)
    fields = [field for field in frame.table.schema if field.name not in skip]
    for field in fields:
        if not is_number(field.type):
            holds = "times" if is_clock(field.type) else f"{field.type}, not numbers,"
            notices.append(f"column {field.name!r} holds {holds} and is left out")
    return tuple(field.name for field in fields if is_number(field.type))


def read(data: Data, schema: Schema, notices: list[str]) -> Signal:
    """The series of `data`, on an even grid. `SchemaError` where they are not given as `schema` says."""
    if isinstance(data, Pictures | Recordings):
        raise _no_series(data)
    if isinstance(data, Frame):
        _refuse_repeated(data)
    if isinstance(data, Frame) and not _by_position(data, schema):
        return _read_frame(data, schema, notices)
    return _read_array(data, schema)


def _no_series(data: Pictures | Recordings) -> SchemaError:
    words, modality = ("pictures", "image") if isinstance(data, Pictures) else ("recordings", "audio")
    return SchemaError(f"got {words}, wanted a series", where=data.source, how=f"{words} need the modality {modality}")


def _by_position(frame: Frame, schema: Schema) -> bool:
    return not schema.columns or (frame.unnamed and schema.time is None)


def _read_array(data: Frame | np.ndarray, schema: Schema) -> Signal:
    if schema.time is not None:
        what = f"got an array, wanted a table with the time column {schema.time!r}"
        raise SchemaError(what, how="give a frame or a file with the columns that the model was fitted on")
    values, where = _frame_array(data, schema) if isinstance(data, Frame) else _array(data)
    _refuse_infinity(values, where)
    shape = values.shape
    if values.ndim == 1 and schema.whole:
        raise SchemaError(
            "got a 1-d array, wanted one window a row",
            how="Reshape your data: values.reshape(1, -1) is a single window",
        )
    if schema.whole and values.ndim == 2:
        values = values[:, :, None]
    elif values.ndim < 3:
        values = values.reshape(1, len(values), -1)
    given = len(schema.channels) + len(schema.empty)
    if values.shape[2] != given:
        got = f"got {counted(values.shape[2], 'channel')} (shape={shape})"
        raise SchemaError(
            f"{got}, wanted {counted(given, 'channel')}", how="give the channels that the model was fitted on"
        )
    if schema.empty:
        values = np.delete(values, schema.empty, axis=2)
    return Signal(values, np.arange(len(values) if schema.whole else values.shape[0] * values.shape[1]), shape)


def _array(data: np.ndarray) -> tuple[np.ndarray, Callable[..., str]]:
    given = np.asarray(data)
    try:
        values = given.astype(np.float64, casting="unsafe" if given.dtype == object else "same_kind")
    except (TypeError, ValueError) as error:
        raise DataError(f"got an array of {given.dtype}, wanted numbers", how=str(error)) from error
    if values.ndim not in (1, 2, 3) or not values.size:
        what = f"got an array of shape={values.shape}, wanted 1 to 3 dimensions and at least one number"
        raise DataError(what, how="give values (steps,), windows as rows, or (series, step, channel)")
    axes = {1: ("row",), 2: ("row", "column"), 3: ("series", "step", "channel")}[values.ndim]
    return values, lambda *cell: ", ".join(["the data", *(f"{axis} {at}" for axis, at in zip(axes, cell, strict=True))])


def _frame_array(frame: Frame, schema: Schema) -> tuple[np.ndarray, Callable[..., str]]:
    names = [name for name in frame.table.column_names if name not in schema.left_out]
    values = _numbers(frame, names)
    if schema.dimensions == 1 and len(names) == 1:
        return values[:, 0], lambda row: frame.where(row, names[0])
    return values, lambda row, column: frame.where(row, names[column])


def _read_frame(frame: Frame, schema: Schema, notices: list[str]) -> Signal:
    wanted = (*([schema.time] if schema.time else []), *schema.columns)
    names = frame.table.column_names
    missing = [name for name in wanted if name not in names]
    if missing:
        how = f"the columns are {', '.join(names)}"
        raise SchemaError(f"columns are missing: {', '.join(map(repr, missing))}", where=frame.source, how=how)
    extra = [name for name in names if name not in wanted and name not in schema.left_out]
    if extra:
        notices.append(f"columns that the model does not know are ignored: {', '.join(map(repr, extra))}")
    values = _numbers(frame, schema.columns)
    _refuse_infinity(values, lambda row, column: frame.where(row, schema.columns[column]))
    if schema.whole:
        return Signal(values[:, :, None], np.arange(len(values)))
    if schema.time is None:
        return Signal(values[None], np.arange(len(values)))
    times = read_times(frame, schema.time)
    if str(getattr(times.column.type, "tz", None) or "UTC") != "UTC":
        notices.append(f"times of zone {times.column.type.tz} are taken as UTC: days start at midnight UTC")
    grid, slots = place_on_grid(times, frame.where(column=schema.time), notices)
    return Signal(mean_columns_at(slots, values, int(slots.max()) + 1)[None], slots, None, grid, times.column)


def _numbers(frame: Frame, names: Iterable[str]) -> np.ndarray:
    if not frame.table.num_rows:
        raise DataError("got no rows", where=frame.source, how="give a row for each step")
    return np.stack([_column(frame, name) for name in names], axis=-1)


def _column(frame: Frame, name: str) -> np.ndarray:
    column = frame.table.column(name)
    if not is_number(column.type):
        how = "correct the column's values, or ignore it"
        raise SchemaError(f"got {column.type}, wanted numbers", where=frame.where(column=name), how=how)
    return np.asarray(pc.cast(column, pa.float64(), safe=False).to_numpy())


def _refuse_infinity(values: np.ndarray, where: Callable[..., str]) -> None:
    infinite = np.argwhere(np.isinf(values))
    if len(infinite):
        place = where(*(int(at) for at in infinite[0]))
        raise DataError("the value is infinity", where=place, how="give a finite number, or leave the value out")


def bridge_gaps(signal: Signal, whole: bool, max_gap: int, notices: list[str]) -> Signal:
    """The series with up to `max_gap` missing steps in a row filled; what is filled, and what is not, is noted."""
    if not np.isnan(signal.values).any():
        return signal
    series, steps, channels = signal.values.shape
    columns = np.moveaxis(signal.values, 1, 0).reshape(steps, series * channels)
    values = np.moveaxis(fill_short_gaps(columns, max_gap).reshape(steps, series, channels), 0, 1)
    before, after = (np.isnan(array).any(axis=2).ravel() for array in (signal.values, values))
    bridged = before & ~after
    if bridged.any():
        notices.append(f"{counted(int(bridged.sum()), 'missing step')} filled by straight lines between neighbours")
    starts, _ = runs(after)
    if len(starts):
        fate = "stay missing" if whole else "are not bridged, and windows there are left out"
        first = f"row {starts[0] // steps}" if whole else signal.step_word(int(starts[0]))
        gaps = f"{counted(int(after.sum()), 'missing step')} in {counted(len(starts), 'gap')}"
        notices.append(f"{gaps} longer than {max_gap} or at an end (the first at {first}) {fate}")
    return dataclasses.replace(signal, values=np.ascontiguousarray(values))


def without_empty_channels(signal: Signal, schema: Schema, notices: list[str]) -> tuple[Signal, Schema]:
    """The series and schema without channels that hold no number; such, and constant ones, are noted."""
    known = ~np.isnan(signal.values).all(axis=(0, 1))
    if not known.any():
        how = "leave the empty columns out, or see what was to fill them"
        raise DataError("every value is missing, wanted at least one number", how=how)
    names = np.array(schema.channels, dtype=object)
    notices.extend(f"channel {name!r} holds no number and is left out" for name in names[~known])
    values = signal.values[:, :, known]
    constant = np.nanmax(values, axis=(0, 1)) == np.nanmin(values, axis=(0, 1))
    notices.extend(f"channel {name!r} never changes" for name in names[known][constant])
    if known.all():
        return signal, schema
    schema = schema.replace(channels=tuple(names[known]))
    if schema.columns:
        schema = schema.replace(columns=schema.channels, left_out=(*schema.left_out, *names[~known]))
    else:
        schema = schema.replace(empty=tuple(np.flatnonzero(~known).tolist()))
    return dataclasses.replace(signal, values=values), schema
