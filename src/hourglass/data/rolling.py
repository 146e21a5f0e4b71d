"""A series as it comes: the window that ends at each new step, from a ring of the last steps."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from hourglass.data.formats import Data
from hourglass.data.grid import MONDAY, OFF_GRID, fill_short_gaps
from hourglass.data.samples import Frame
from hourglass.data.series import Sampling, SeriesFormat
from hourglass.data.signals import read
from hourglass.data.times import TICKS_A_SECOND, Times, counted, length_word, read_times, time_word
from hourglass.data.windows import cut, stride_at_every_phase
from hourglass.errors import TimeError

_SECOND = 10**9
"""Times are counted in nanoseconds, as Python's integers: rows that come one by one may differ in their unit."""


@dataclass(frozen=True)
class Ended:
    """The windows that ended at new rows."""

    samples: np.ndarray
    """Packed windows (n, steps, channels), float32."""
    rows: np.ndarray
    """For each window the new row that is its last step, ascending."""


@final
class Rolling:
    """The last steps of a series, in units. Rows may come in blocks of any length: the windows are the same.

    A window ends at a row where all of its steps are known, those bridged that `pack` would bridge: gaps of at most
    `max_gap` steps, as soon as a row comes after them. Windows that follow the calendar end when it says so.
    """

    def __init__(self, form: SeriesFormat) -> None:
        self.form = form
        # with so many steps before the window, what a short gap at its start is bridged from is still known
        self._kept = np.full((form.rule.steps + form.settings.max_gap, len(form.schema.channels)), np.nan)
        self._last: Any = None

    @property
    def notices(self) -> list[str]:
        """When windows end, and whether the model knows windows that start at any step."""
        rule = self.form.rule
        if rule.calendar is not None:
            return [f"steps are judged where a window of {rule.word} ends, {counted(rule.steps, 'step')}"]
        said = [f"each step is judged by the {rule.steps:,} steps that end there, from the {rule.steps:,}th on"]
        if (shared := math.gcd(rule.steps, rule.stride)) > 1:
            said.append(
                f"the model was fitted on windows that start {rule.stride} steps apart: where the series repeats itself"
                f" every {rule.steps}, it knows 1 start in {shared}, and may flag the others; fit with"
                f" --set format.stride={stride_at_every_phase(rule.steps, rule.stride)}"
            )
        return said

    def feed(self, data: Data) -> Ended:
        """The windows that end at these next rows; nothing is taken in where the data are refused.

        `TimeError` for a row that is not a step or more after the one before. Where the time is left out of the data,
        each row is the next step.
        """
        schema, rule, longest = self.form.schema, self.form.rule, self.form.settings.max_gap
        timeless = schema.replace(time=None, left_out=(*schema.left_out, *filter(None, [schema.time])))
        values = read(data, timeless, []).values[0]
        since, times = self._since(data, len(values))
        before = len(self._kept)
        # a gap that is too long to be bridged is as good as any longer one
        ends = before - 1 + np.cumsum(np.minimum(since, longest + 2))
        stretch = np.full((ends[-1] + 1, values.shape[1]), np.nan)
        stretch[:before], stretch[ends] = self._kept, values
        filled = fill_short_gaps(stretch, longest)
        known = np.cumsum(np.append(0, ~np.isnan(filled).any(axis=1)))
        whole = known[ends + 1] - known[ends + 1 - rule.steps] == rule.steps
        rows = np.flatnonzero(whole & ~np.isnan(values).any(axis=1) & self._in_calendar(times, len(values)))
        self._kept, self._last = stretch[-before:].copy(), self._last if times is None else times[-1]
        return Ended(cut(self.form.scaler.scale(filled), ends[rows] + 1 - rule.steps, rule.steps), rows)

    def _since(self, data: Data, rows: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Steps from each row to the one before, and the rows' times, or None where no time is known."""
        sampling, name = self.form.sampling, self.form.schema.time
        if sampling is None or name is None:
            return np.ones(rows, dtype=np.int64), None
        length = round(sampling.step * _SECOND) if sampling.clock else sampling.step
        if not isinstance(data, Frame) or name not in data.table.column_names:
            count = np.arange(1, rows + 1)
            return np.ones(rows, dtype=np.int64), None if self._last is None else self._last + count * length
        times = read_times(data, name)
        ticks = _ticks(times, sampling, data.where(column=name))
        before = np.append(ticks[0] - length if self._last is None else self._last, ticks[:-1])
        exact = ((ticks - before) / length).astype(np.float64)
        if (early := np.flatnonzero(exact < 0.5)).size:
            row = int(early[0])
            raise self._too_early(times.word(times.ticks[row]), before[row], sampling, data.where(row, name))
        return np.floor(np.minimum(exact, 1e9) + 0.5).astype(np.int64), ticks

    def _too_early(self, got: str, before: Any, sampling: Sampling, where: str) -> TimeError:
        last = time_word(before, "ns" if sampling.clock else "")
        return TimeError(
            f"got {got} after {last}, wanted a later time, by a step of {sampling.word}",
            where=where,
            how="give rows in the order of their times, each once, as often as at fit",
        )

    def _in_calendar(self, times: np.ndarray | None, rows: int) -> np.ndarray:
        """The rows at which a window may end: all, or the last step of one that starts where the calendar says."""
        rule, sampling = self.form.rule, self.form.sampling
        if rule.calendar is None or sampling is None:
            return np.ones(rows, dtype=bool)
        if times is None:
            what = f"the windows of {length_word(rule.calendar)} follow the calendar, and the row has no time"
            raise TimeError(what, where="the stream", how=f"give the column {self.form.schema.time!r}")
        into = (times - MONDAY * _SECOND) % round(rule.calendar * _SECOND) / _SECOND
        start = into.astype(np.float64) / sampling.step - (rule.steps - 1)
        return np.asarray((start + OFF_GRID) % rule.stride < 1)  # as Grid.first_aligned has it


def _ticks(times: Times, sampling: Sampling, where: str) -> np.ndarray:
    """Times as nanoseconds, or as the plain numbers that they are; an array of Python's own numbers."""
    if bool(times.unit) != sampling.clock:
        got, wanted = ("moments", "plain numbers") if times.unit else ("plain numbers", "moments")
        how = "write times as they were when the model was fitted"
        raise TimeError(f"got times that are {got}, wanted {wanted}, as at fit", where=where, how=how)
    scale = _SECOND // TICKS_A_SECOND[times.unit] if times.unit else 1
    return np.asarray(times.ticks.astype(object) * scale)
