"""Recordings in every form that people have them (files, rows, a signal), so that results come back alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from hourglass.data.formats import Data, Result
from hourglass.data.image_forms import numbered
from hourglass.data.samples import Frame, Pictures, Recordings
from hourglass.data.times import is_number
from hourglass.errors import DataError, SchemaError, UsageError
from hourglass.settings import did_you_mean

RECORDINGS, ROWS, SIGNAL = "recordings", "rows", "signal"


@dataclass(frozen=True)
class Origin:
    """What recordings were like when they were given."""

    kind: str
    """`Recordings`; rows of samples, each a recording; or the samples of a single one."""
    rates: Sequence[int]
    lengths: Sequence[int]
    channels: Sequence[int]
    table: pa.Table | None = None
    """What is known of each, where they came as `Recordings`."""
    source: str = "the recordings"
    columns: tuple[str, ...] = ()
    """The samples' columns in a table with names."""

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def names(self) -> list[str]:
        """What each recording is called."""
        if self.table is None:
            return [f"recording {recording}" for recording in range(len(self))]
        return [str(name) for name in self.table.column("name").to_pylist()]

    def seconds(self, recording: int) -> float:
        """How long a recording is."""
        return self.lengths[recording] / self.rates[recording]

    def back(self, arrays: Sequence[np.ndarray]) -> Result:
        """Recordings (frames, channels) of the given rates and lengths, in the form in which they were given."""
        if self.kind == RECORDINGS:
            table = numbered(len(self)) if self.table is None else self.table
            return Recordings(arrays, self.rates, table, self.source)
        signals = np.stack([array[:, 0] for array in arrays])
        if self.kind == SIGNAL:
            return pa.table({self.columns[0]: signals[0]}) if self.columns else signals[0]
        return pa.table(dict(zip(self.columns, signals.T.copy(), strict=True))) if self.columns else signals


_LOUDEST = 1e15
"""Full scale is 1; what is louder than this has no square in float32."""


@dataclass(frozen=True)
class Given:
    """Recordings as they were given, seen as arrays."""

    arrays: list[np.ndarray]
    """Each (frames, channels), finite."""
    origin: Origin

    @classmethod
    def of(cls, arrays: list[np.ndarray], rates: Sequence[int], kind: str, **known: object) -> Given:
        """Recordings with what is `known` of their origin; `DataError` where one has no sample or no finite one."""
        lengths, channels = [len(array) for array in arrays], [array.shape[1] for array in arrays]
        given = cls(arrays, Origin(kind, list(rates), lengths, channels, **known))  # type: ignore[arg-type]
        if not arrays:
            raise DataError("got no recordings", where=given.origin.source, how="give at least one")
        for recording, array in enumerate(arrays):
            if not array.size:
                how = "give recordings of at least one sample"
                raise DataError("holds no sound", where=given.origin.names[recording], how=how)
            if not max(array.max(), -array.min()) <= _LOUDEST:  # nor where one is NaN
                raise _not_finite(array, rates[recording], given.origin.names[recording])
        return given


def _not_finite(array: np.ndarray, rate: int, name: str) -> DataError:
    places = np.argwhere(~np.isfinite(array))
    if not len(places):
        return DataError("holds numbers too large to be sound", where=name, how="scale it so that it reaches 1 at most")
    frame, channel = places[0].tolist()
    what = f"the value is {array[frame, channel]} (NaN or infinity) at second {frame / rate:,.3f} of channel "
    return DataError(f"{what}{channel + 1}", where=name, how="cut the stretch out, or put silence there")


def given(
    data: Data, *, rate: int, columns: tuple[str, ...] | None, ignore: tuple[str, ...], notices: list[str]
) -> Given:
    """Recordings from any form of data; `rate` is that of those which do not say theirs."""
    if isinstance(data, Pictures):
        how = "pictures need the modality image"
        raise SchemaError("got pictures, wanted recordings", where=data.source, how=how)
    if isinstance(data, Recordings):
        return _from_recordings(data, rate)
    if isinstance(data, Frame):
        return _from_frame(data, rate, columns, ignore, notices)
    return _from_array(_numbers(data), rate)


def _from_recordings(data: Recordings, rate: int) -> Given:
    rates = list(data.rates) or [rate] * len(data)
    if not len(data) == len(rates) == data.table.num_rows or "name" not in data.table.column_names:
        counts = f"{len(data)} recordings, {len(rates)} rates and a table of {data.table.num_rows} rows"
        how = "Recordings(arrays, rates, table, source), the table with a column `name`"
        raise DataError(f"got {counts}, wanted a rate and a row with a name for each", where=data.source, how=how)
    arrays = [_numbers(array) for array in data.arrays]
    for recording, array in enumerate(arrays):
        if array.ndim not in (1, 2):
            what = f"got an array of shape {array.shape}, wanted (frames, channels)"
            raise DataError(what, where=data.where(recording), how="mono is array[:, None]; of many, give a list")
    arrays = [array if array.ndim == 2 else array[:, None] for array in arrays]
    return Given.of(arrays, rates, RECORDINGS, table=data.table, source=data.source)


def _from_array(array: np.ndarray, rate: int, columns: tuple[str, ...] = (), source: str = "the array") -> Given:
    if array.ndim not in (1, 2):
        how = "give (recordings, samples), one signal (samples,), or a list of signals of any lengths"
        raise DataError(f"got an array of shape {array.shape}, wanted recordings", where=source, how=how)
    rows = array[None] if array.ndim == 1 else array
    kind = SIGNAL if array.ndim == 1 else ROWS
    return Given.of([row[:, None] for row in rows], [rate] * len(rows), kind, source=source, columns=columns)


def _from_frame(
    frame: Frame, rate: int, columns: tuple[str, ...] | None, ignore: tuple[str, ...], notices: list[str]
) -> Given:
    """Each row of a table is a recording; a single column is one."""
    names = frame.table.column_names
    for name in (*(columns or ()), *ignore):
        if name not in names:
            raise UsageError(f"there is no column {name!r}", where=frame.source, how=did_you_mean(name, names))
    wanted = [name for name in columns or names if name not in ignore]
    used = [name for name in wanted if is_number(frame.table.schema.field(name).type)]
    notices.extend(f"column {name!r} holds no numbers and is left out" for name in wanted if name not in used)
    if not used or not frame.table.num_rows:
        what = "got no column of numbers, wanted one for each sample of a recording" if not used else "got no rows"
        raise DataError(what, where=frame.source, how="sound files are given as they are: hourglass fit FOLDER")
    array = np.column_stack([frame.table.column(name).cast(pa.float64()).to_numpy() for name in used])
    known = () if frame.unnamed else tuple(used)
    return _from_array(array[:, 0] if len(used) == 1 else array, rate, known, frame.source)


def _numbers(data: object) -> np.ndarray:
    """An array of floats: in its own precision where it has one."""
    array = np.asarray(data)
    if array.dtype in (np.float32, np.float64):
        return array
    try:
        return array.astype(np.float64, casting="unsafe" if array.dtype == object else "same_kind")
    except (TypeError, ValueError) as error:
        raise DataError(f"got an array of {array.dtype}, wanted numbers", how=str(error)) from error
