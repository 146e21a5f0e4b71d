"""Uneven rows on an even grid: steps of equal length, short gaps filled, long ones left as they are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hourglass.data.times import TICKS_A_SECOND, Times, counted, length_word, time_word
from hourglass.errors import TimeError

MOST_UNEVEN = 0.2
"""Share of steps that may be off the grid."""
OFF_GRID = 0.1
"""A step is off the grid where its length is further than this, in steps, from a whole number of steps."""
MOST_SPARSE = 20
"""Steps a row may stand for; beyond it, a stray time (1970, 2099) is far likelier than a gap."""
DAY = 86400
MONDAY = 4 * DAY
"""Seconds from 1970-01-01, a Thursday, to the Monday that weeks are counted from."""


@dataclass(frozen=True)
class Grid:
    """Equally spaced times: step `k` is at `origin + k * step`, in ticks of `unit`."""

    origin: float
    step: float
    unit: str

    @property
    def step_length(self) -> float:
        """Length of a step in seconds; in their own unit where times are plain numbers."""
        return self.step / TICKS_A_SECOND.get(self.unit, 1)

    @property
    def step_word(self) -> str:
        return length_word(self.step_length) if self.unit else f"{self.step:.6g}"

    def word(self, position: int) -> str:
        """The time of a step as a person writes it: its day alone where steps are whole days."""
        word = time_word(self._tick(position), self.unit)
        return word.removesuffix(" 00:00") if self.unit and self.step_length % DAY == 0 else word

    def time_of_day(self, position: int) -> float:
        """Seconds from midnight to a step."""
        ticks = TICKS_A_SECOND[self.unit]
        return (self._tick(position) % (DAY * ticks)) / ticks

    def first_aligned(self, seconds: float) -> int:
        """The first step that starts a calendar length: a midnight for days, a Monday for weeks.

        On a grid that runs beside the calendar (00:03, 00:08, ...) it is the first step after; a tenth of a step is
        forgiven.
        """
        ticks = TICKS_A_SECOND[self.unit]
        into = (int(self.origin) - MONDAY * ticks) % round(seconds * ticks)
        steps_into = into / self.step
        length = seconds * ticks / self.step
        return 0 if steps_into <= OFF_GRID else int(np.ceil(length - steps_into - OFF_GRID))

    def _tick(self, position: int) -> float:
        offset = position * self.step
        return self.origin + (round(offset) if self.unit else offset)


def runs(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Starts and ends (one past the last) of the runs of True.

    >>> runs(np.array([True, True, False, True]))
    (array([0, 3]), array([2, 4]))
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8)))
    return edges[::2], edges[1::2]


def mean_at(places: np.ndarray, values: np.ndarray, count: int) -> np.ndarray:
    """Mean of the `values` that share a place, shape (count,): missing ones are passed over, a place with none is NaN.

    >>> mean_at(np.array([0, 2, 2]), np.array([1.0, 2.0, 4.0]), 3)
    array([ 1., nan,  3.])
    """
    known = ~np.isnan(values)
    total = np.bincount(places[known], weights=values[known], minlength=count)
    weight = np.bincount(places[known], minlength=count)
    mean: np.ndarray = np.divide(total, weight, out=np.full(count, np.nan), where=weight > 0)
    return mean


def mean_columns_at(places: np.ndarray, values: np.ndarray, count: int) -> np.ndarray:
    """`mean_at` for each column of `values` (n, columns); shape (count, columns)."""
    return np.stack([mean_at(places, column, count) for column in values.T], axis=-1)


def place_on_grid(times: Times, where: str, notices: list[str]) -> tuple[Grid, np.ndarray]:
    """The even grid that the times follow, and the step of it that each row is nearest to.

    Unsorted and repeated times are accepted and noted. `TimeError` where over a fifth of the steps are uneven.
    """
    distinct, repeats = np.unique(times.ticks, return_counts=True)
    _note_order(times, distinct, repeats, notices)
    if len(distinct) < 2:
        how = "mend the times, or ignore the time column to take each row as one step"
        raise TimeError(f"got {counted(len(distinct), 'distinct time')}, wanted at least 2", where=where, how=how)
    elapsed = (distinct - distinct[0]).astype(np.float64)
    step = _step_length(elapsed)
    _check_even(elapsed, step, times, distinct, where, notices)
    exact = elapsed / step
    phase = float(np.median(exact - _nearest(exact)))
    slots = _nearest(exact - phase).astype(np.int64)
    origin = distinct[0].item() + (round(phase * step) if times.unit else phase * step)
    grid = Grid(origin + (round(slots[0] * step) if times.unit else slots[0] * step), step, times.unit)
    slots -= slots[0]
    shared = len(slots) - len(np.unique(slots))
    if shared:
        notices.append(
            f"{counted(shared, 'row')} nearest to the same {grid.step_word} step as another: averaged with it"
        )
    return grid, slots[np.searchsorted(distinct, times.ticks)]


def _nearest(exact: np.ndarray) -> np.ndarray:
    # np.rint sends 0.5 and 1.5 to 0 and 2: a grid half a step out of phase would pile up in every other slot.
    return np.floor(exact + 0.5)


def _note_order(times: Times, distinct: np.ndarray, repeats: np.ndarray, notices: list[str]) -> None:
    late = int((times.ticks < np.maximum.accumulate(times.ticks)).sum())
    if late:
        notices.append(f"{counted(late, 'row')} came after a later time: the series was sorted by time")
    if (repeats > 1).any():
        first = times.word(distinct[repeats > 1][0])
        extra = int((repeats - 1).sum())
        notices.append(f"{counted(extra, 'row')} repeated a time (the first {first}): rows of one time were averaged")


def _step_length(elapsed: np.ndarray) -> float:
    """The usual difference, or the mean one where it fits clearly better (months, thirds of a second in ms)."""
    gaps = np.diff(elapsed)
    usual = float(np.quantile(gaps, 0.5, method="lower"))
    mean = float(elapsed[-1] / max(_nearest(gaps / usual).sum(), 1))
    close = abs(mean / usual - 1) < OFF_GRID
    return mean if close and _misfit(elapsed, mean) < _misfit(elapsed, usual) / 2 else usual


def _misfit(elapsed: np.ndarray, step: float) -> float:
    exact = elapsed / step
    return float(np.abs(exact - _nearest(exact)).mean())


def _check_even(
    elapsed: np.ndarray, step: float, times: Times, distinct: np.ndarray, where: str, notices: list[str]
) -> None:
    gaps = np.diff(elapsed) / step
    uneven = np.abs(gaps - np.maximum(_nearest(gaps), 1)) > OFF_GRID
    word = Grid(0, step, times.unit).step_word
    if uneven.mean() > MOST_UNEVEN:
        first = times.word(distinct[1:][uneven][0])
        raise TimeError(
            f"{uneven.mean():.0%} of the steps are not a multiple of the usual {word}, the first at {first}"
            f" (wanted at most {MOST_UNEVEN:.0%})",
            where=where,
            how="resample the series to a regular step, or ignore the time column to take each row as one step",
        )
    if elapsed[-1] / step > MOST_SPARSE * len(distinct) + 1000:
        widest = int(np.argmax(gaps))
        raise TimeError(
            f"{len(distinct):,} rows are spread over {elapsed[-1] / step:,.0f} steps of {word}",
            where=where,
            how=f"check the times around {times.word(distinct[widest])} and {times.word(distinct[widest + 1])}",
        )
    if uneven.any():
        notices.append(
            f"{counted(int(uneven.sum()), 'step')} off the {word} grid: rows there are put on the nearest step"
        )


def fill_short_gaps(values: np.ndarray, longest: int) -> np.ndarray:
    """A copy of `values` (steps, columns) with up to `longest` missing steps in a row bridged by a straight line.

    Longer gaps, and gaps at either end, stay NaN.

    >>> fill_short_gaps(np.array([[1.0], [np.nan], [3.0], [np.nan]]), 2).ravel()
    array([ 1.,  2.,  3., nan])
    """
    steps = len(values)
    filled = values.T.copy(order="C")  # the copy matters: .T of one column is contiguous as it is
    # One step that is never missing between the columns, so that no run reaches from one into the next.
    starts, ends = runs(np.pad(np.isnan(filled), ((0, 0), (0, 1))).ravel())
    column, first = np.divmod(starts, steps + 1)
    length = ends - starts
    short = (length <= longest) & (first > 0) & (first + length < steps)
    column, first, length = column[short], first[short], length[short]
    left, right = filled[column, first - 1], filled[column, first + length]
    run = np.repeat(np.arange(len(length)), length)
    into = np.arange(len(run)) - (np.cumsum(length) - length)[run]
    share = (into + 1) / (length[run] + 1)
    filled[column[run], first[run] + into] = left[run] * (1 - share) + right[run] * share
    return filled.T
