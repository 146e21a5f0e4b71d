"""Windows of a series: how long they are, where they start, and what lies in them carried back to single steps."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.lib.stride_tricks import sliding_window_view

from hourglass.data.grid import DAY, OFF_GRID, Grid, runs
from hourglass.data.signals import Signal
from hourglass.data.times import length_word
from hourglass.errors import DataError, UsageError

SECONDS = {"ms": 1e-3, "s": 1, "min": 60, "h": 3600, "d": DAY, "w": 7 * DAY}
HOW_TO_WRITE = "write a number of steps (48), a length of time (30min, 1h, 1d, 1w), or row"

FEWEST_DAYS = 14
"""Whole days that a series needs before a day is its default window."""
FEWEST_STEPS = 32
"""Steps that a series needs for a window to be chosen: four of the shortest default windows."""
LONGEST_PERIOD = 512
"""Longest period, in steps, that the default window looks for."""
PROMINENT = 0.1
"""Height and prominence that a peak of the autocorrelation needs to count as a period."""


@dataclass(frozen=True)
class WindowRule:
    """How a series is cut: windows of `steps`, one every `stride` steps."""

    steps: int
    stride: int
    calendar: float | None = None
    """Length in seconds where windows follow the calendar (days from midnight, weeks from Monday)."""

    @property
    def word(self) -> str:
        return f"{self.steps} steps" if self.calendar is None else length_word(self.calendar)

    def starts(self, complete: np.ndarray, grid: Grid | None) -> np.ndarray:
        """First steps of the windows that hold no missing step, counted through all series.

        `complete` (series, steps) is False where a step is missing. Windows by length are laid through each stretch
        without a gap and the last is moved back to its end, so that every step of it is covered.
        """
        length = complete.shape[1]
        found = [
            series * length + self._within(start, end, grid)
            for series, steps in enumerate(complete)
            for start, end in zip(*runs(steps), strict=True)
        ]
        return np.concatenate(found) if found else np.zeros(0, dtype=np.int64)

    def _within(self, start: int, end: int, grid: Grid | None) -> np.ndarray:
        last = end - self.steps
        if self.calendar is not None and grid is not None:
            return np.arange(start + (grid.first_aligned(self.calendar) - start) % self.stride, last + 1, self.stride)
        regular = np.arange(start, last + 1, self.stride)
        return np.append(regular, last) if len(regular) and regular[-1] != last else regular


@dataclass(frozen=True)
class Windows:
    """Where the windows of a series came from."""

    starts: np.ndarray
    """First step of each window, counted through all series, no two the same; int64 (n,)."""
    steps: int
    length: int
    """Steps of one series."""
    total: int
    """Steps of all series."""
    slots: np.ndarray
    """For each input row the step it stands at; several rows may share one."""
    shape: tuple[int, ...] | None
    """Shape of the array given; None for a frame with named columns."""
    grid: Grid | None
    times: pa.Array | None
    """The time of each input row."""

    @property
    def series(self) -> np.ndarray:
        """Number of the series that each window lies in."""
        return self.starts // self.length

    @property
    def index(self) -> pa.Array:
        """The time of each input row, or its number from 0."""
        return self.times if self.times is not None else pa.array(np.arange(len(self.slots)))

    def at_rows(self, values: np.ndarray) -> np.ndarray:
        """What windows say of their steps, averaged for each input row.

        `values` has shape (n, steps, columns) or (n, 1, columns), the result (rows, columns): NaN where no window is,
        and where all that is said is NaN.
        """
        values = np.broadcast_to(values, (len(self.starts), self.steps, values.shape[2]))
        total, count = np.zeros((self.total, values.shape[2])), np.zeros((self.total, values.shape[2]))
        # a step of all windows at a time: the steps of all windows at once are many times the series
        for step in reversed(range(self.steps)):  # so that a sum takes windows in their order
            known = ~np.isnan(values[:, step])
            there = _evenly(self.starts + step)
            total[there] += np.where(known, values[:, step], 0.0)
            count[there] += known
        means = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
        return np.asarray(means[self.slots])

    def rows_of(self, window: int) -> np.ndarray:
        """The input rows that lie in a window, in the order of their steps."""
        offset = self.slots - self.starts[window]
        rows = np.flatnonzero((offset >= 0) & (offset < self.steps))
        return rows[np.argsort(offset[rows], kind="stable")]

    def label(self, window: int) -> str:
        """A window in words: "2014-11-27" for a day, "2014-11-27 06:00 to 2014-11-27 08:30", "steps 96 to 143"."""
        series, first = divmod(int(self.starts[window]), self.length)
        last = first + self.steps - 1
        if self.grid is not None:
            if self._is_day(first):
                return self.grid.word(first).split()[0]
            return f"{self.grid.word(first)} to {self.grid.word(last)}"
        place = f"steps {first} to {last}"
        return place if self.total == self.length else f"series {series}, {place}"

    def _is_day(self, first: int) -> bool:
        if self.grid is None or not self.grid.unit:
            return False
        step = self.grid.step_length
        return abs(self.steps * step - DAY) < OFF_GRID * step and self.grid.time_of_day(first) < OFF_GRID * step


def cut(values: np.ndarray, starts: np.ndarray, steps: int) -> np.ndarray:
    """Windows (n, steps, channels) of `steps` from each of `starts` in all steps (total, channels), in their order.

    Evenly spaced windows are a view of the values, however many times each step lies in one of them; uneven ones (of
    several series, around gaps, or the last one moved back) are copied.

    >>> values = np.arange(10.0)[:, None]
    >>> cut(values, np.array([1, 4, 7]), 3)[2, :, 0], np.shares_memory(cut(values, np.array([1, 4, 7]), 3), values)
    (array([7., 8., 9.]), True)
    """
    views = np.moveaxis(sliding_window_view(values, steps, axis=0, writeable=True), -1, 1)
    return np.asarray(views[_evenly(starts)])


def covered(starts: np.ndarray, steps: int, total: int) -> np.ndarray:
    """Which of `total` steps lie in one of the windows of `steps` at `starts`."""
    change = np.zeros(total + 1, dtype=np.int64)
    change[starts] += 1
    change[starts + steps] -= 1
    return np.asarray(np.cumsum(change)[:-1] > 0)


def _evenly(places: np.ndarray) -> np.ndarray | slice:
    """Places as a slice where they ascend evenly, since that makes a view; else as they are."""
    gaps = np.diff(places)
    if not len(places) or (len(gaps) and (gaps[0] < 1 or bool((gaps != gaps[0]).any()))):
        return places
    return slice(int(places[0]), int(places[-1]) + 1, int(gaps[0]) if len(gaps) else 1)


def window_rule(window: str | None, stride: int | None, signal: Signal) -> WindowRule:
    """The rule that the options ask for, or the default one for this series."""
    steps, calendar = default_window(signal) if window is None else _asked_window(window, signal.grid)
    return WindowRule(steps, stride or (steps if calendar else stride_at_every_phase(steps, steps // 4)), calendar)


def stride_at_every_phase(steps: int, most: int) -> int:
    """The largest stride up to `most` without a factor in common with the window: a period is begun at every phase.

    A stride that divides the period shows a model a few phases only, and a series that begins elsewhere is all odd.
    """
    return next(stride for stride in range(max(1, most), 0, -1) if math.gcd(stride, steps) == 1)


def _asked_window(window: str, grid: Grid | None) -> tuple[int, float | None]:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", window.strip())
    if match is None or match[2] not in ("", *SECONDS):
        raise UsageError(f"got {window!r} for the window", how=HOW_TO_WRITE)
    if not match[2]:
        if not match[1].isdigit() or int(match[1]) < 2:
            raise UsageError(f"got a window of {match[1]} steps, wanted a whole number, at least 2", how=HOW_TO_WRITE)
        return int(match[1]), None
    if grid is None or not grid.unit:
        lacks = "no time column" if grid is None else "times that are plain numbers"
        how = "name a column of dates or times, or give a number of steps"
        raise UsageError(f"got the window {window!r} for data with {lacks}", how=how)
    seconds = float(match[1]) * SECONDS[match[2]]
    exact = seconds / grid.step_length
    if exact < 1.5 or not _whole(exact):
        how = f"resample to a step that divides {window}, or give a number of steps, such as {max(2, round(exact))}"
        got = f"a window of {window} is {exact:.4g} steps of {grid.step_word}"
        raise DataError(f"{got}, wanted a whole number, at least 2", how=how)
    return round(exact), seconds


def _whole(exact: float) -> bool:
    return abs(exact - round(exact)) < 0.01


def default_window(signal: Signal) -> tuple[int, float | None]:
    """The window, and its calendar length if it has one, that suits a single series nobody gave one for.

    - A day, where times are known, a whole number of steps (4 to 288) makes a day, and at least 14 days are whole.
    - Otherwise the strongest period of 4 to 512 steps, seen at least 8 times; one under 16 is repeated to reach 16.
    - Otherwise a 16th of the series, 8 to 64 steps.

    A series of fewer than 32 steps is too short to choose for. Half of a series with gaps must lie in stretches that
    hold the window; where not, the last rule is taken for them.
    """
    complete, grid = signal.complete, signal.grid
    if complete.shape[1] < FEWEST_STEPS:
        what = f"got a series of {complete.shape[1]} steps, wanted at least {FEWEST_STEPS} to choose a window by"
        raise DataError(what, how="name the window in steps: --window 4")
    if grid is not None and grid.unit:
        day = DAY / grid.step_length
        if _whole(day) and 4 <= round(day) <= 288:
            days = WindowRule(round(day), round(day), DAY).starts(complete, grid)
            if len(days) >= FEWEST_DAYS:
                return round(day), DAY
    stretch = _usual_stretch(complete)
    period = strongest_period(signal.values[0]) or stretch + 1
    window = period * (1 if period >= 16 else -(-16 // period))
    return (window if window <= stretch else min(64, max(8, stretch // 16))), None


def longest_stretch(complete: np.ndarray) -> int:
    """Most steps in a row without a missing one; `complete` has shape (series, steps)."""
    return int(np.max(_stretches(complete), initial=0))


def _usual_stretch(complete: np.ndarray) -> int:
    """The length of stretch without a gap that half of the steps lie in, or in longer ones."""
    ascending = np.sort(_stretches(complete))
    return int(ascending[np.searchsorted(ascending.cumsum(), ascending.sum() / 2)]) if len(ascending) else 0


def _stretches(complete: np.ndarray) -> np.ndarray:
    return np.concatenate([ends - starts for starts, ends in map(runs, complete)])


def strongest_period(values: np.ndarray) -> int | None:
    """The lag at which the mean of the standardised channels (steps, channels) is most like itself; None if none is."""
    steps = len(values)
    longest = min(steps // 8, LONGEST_PERIOD)
    if longest < 4:
        return None
    from scipy.signal import find_peaks  # slow to import, and only fitting needs it

    autocorrelation = _autocorrelation(_mean_channel(values))[: longest + 2]
    peaks, _ = find_peaks(autocorrelation, height=PROMINENT, prominence=PROMINENT)
    peaks = peaks[(peaks >= 4) & (peaks <= longest)]
    if not len(peaks):
        return None
    # The multiples of a period are nearly as strong as the period itself: the first of the strongest is meant.
    strong = peaks[autocorrelation[peaks] >= 0.9 * autocorrelation[peaks].max()]
    return int(strong[0])


def _mean_channel(values: np.ndarray) -> np.ndarray:
    centred = values - np.nanmean(values, axis=0)
    spread = np.nanmax(np.abs(centred), axis=0)
    centred = centred / np.where(spread > 0, spread, 1)
    spread = np.sqrt(np.nanmean(np.square(centred), axis=0))
    from scipy.signal import detrend

    return np.asarray(detrend(np.nan_to_num(centred / np.where(spread > 0, spread, 1)).mean(axis=1)))


def _autocorrelation(signal: np.ndarray) -> np.ndarray:
    size = 1 << (2 * len(signal) - 1).bit_length()
    power = np.abs(np.fft.rfft(signal, size)) ** 2
    correlation = np.fft.irfft(power, size)[: len(signal)]
    return np.asarray(correlation / max(correlation[0], np.finfo(float).tiny))
