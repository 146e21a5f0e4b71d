"""Flagged rows of a series as events: runs with a start, an end and a peak."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hourglass.data.grid import runs
from hourglass.data.times import time_word


@dataclass(frozen=True)
class Event:
    """Flagged rows that touch in time. Positions are input rows, counted from 0; `end` is the last flagged row."""

    start: int
    end: int
    peak: int
    """The row with the highest score."""
    peak_score: float
    start_label: str
    end_label: str
    peak_label: str


def find_events(flagged: np.ndarray, score: np.ndarray, index: pa.Array) -> list[Event]:
    """Events among `flagged` rows (n,), in time order. `index` holds each row's time or number, in any order."""
    order = pc.array_sort_indices(index).to_numpy()
    starts, ends = runs(np.asarray(flagged, dtype=bool)[order])
    return [_event(order[start:end], score, index) for start, end in zip(starts, ends, strict=True)]


def _event(rows: np.ndarray, score: np.ndarray, index: pa.Array) -> Event:
    peak = rows[np.argmax(np.nan_to_num(score[rows], nan=-np.inf))]
    start, end, peak = (int(row) for row in (rows[0], rows[-1], peak))
    return Event(start, end, peak, float(score[peak]), *(row_label(index, row) for row in (start, end, peak)))


def row_label(index: pa.Array, row: int) -> str:
    """A row's time, or its number, as a person writes it."""
    value = index[row]
    if pa.types.is_timestamp(index.type):
        return time_word(value.value, index.type.unit)
    number = value.as_py()
    return str(number) if isinstance(number, int) else time_word(number, "")
