from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hourglass.data.grid import Grid, mean_columns_at
from hourglass.data.signals import Signal
from hourglass.data.windows import WindowRule, Windows, covered, cut, default_window, strongest_period, window_rule
from hourglass.errors import DataError, UsageError

DAY = 86400


def signal(values: np.ndarray, step: float | None = None, unit: str = "s") -> Signal:
    values = np.asarray(values, dtype=np.float64).reshape(1, len(values), -1)
    grid = None if step is None else Grid(0, step, unit)
    return Signal(values, np.arange(values.shape[1]), grid=grid)


def wave(steps: int, period: float) -> np.ndarray:
    noise = np.random.default_rng(0).normal(size=steps)
    return np.sin(2 * np.pi * np.arange(steps) / period) + 0.3 * noise


@given(st.lists(st.booleans(), min_size=1, max_size=60), st.integers(2, 8), st.integers(1, 8))
def test_windows_by_length_cover_every_stretch_that_holds_one(mask: list[bool], steps: int, stride: int) -> None:
    complete = np.array([mask])
    starts = WindowRule(steps, min(stride, steps)).starts(complete, None)
    covered = np.zeros(len(mask), dtype=bool)
    for start in starts:
        assert complete[0, start : start + steps].all()
        assert start + steps <= len(mask)
        covered[start : start + steps] = True
    reachable = np.zeros(len(mask), dtype=bool)
    for start in range(len(mask) - steps + 1):
        if complete[0, start : start + steps].all():
            reachable[start : start + steps] = True
    np.testing.assert_array_equal(covered, reachable)
    assert len(set(starts.tolist())) == len(starts)


def test_strides_are_kept_and_the_last_window_ends_at_the_end() -> None:
    assert WindowRule(4, 3).starts(np.ones((1, 12), bool), None).tolist() == [0, 3, 6, 8]
    assert WindowRule(4, 4).starts(np.ones((1, 12), bool), None).tolist() == [0, 4, 8]


def test_windows_never_cross_from_one_series_into_the_next() -> None:
    starts = WindowRule(3, 2).starts(np.ones((3, 6), bool), None)
    assert starts.tolist() == [0, 2, 3, 6, 8, 9, 12, 14, 15]


places = st.lists(st.integers(0, 20), unique=True, min_size=1).map(lambda each: np.array(sorted(each)))


@given(places, st.integers(1, 5))
def test_cut_windows_are_those_that_are_copied_one_by_one(starts: np.ndarray, steps: int) -> None:
    values = np.random.default_rng(0).normal(size=(25, 2)).astype(np.float32)
    windows = cut(values, starts, steps)
    np.testing.assert_array_equal(windows, np.stack([values[start : start + steps] for start in starts]))
    assert np.shares_memory(windows, values) == (len(set(np.diff(starts).tolist())) < 2)


@given(places, st.integers(1, 5))
def test_a_step_is_covered_where_some_window_holds_it(starts: np.ndarray, steps: int) -> None:
    held = {int(start) + step for start in starts for step in range(steps)}
    assert np.flatnonzero(covered(starts, steps, 26)).tolist() == sorted(held)


@given(places, st.integers(1, 5), st.booleans())
def test_rows_get_the_mean_of_their_windows_to_the_bit(starts: np.ndarray, steps: int, by_window: bool) -> None:
    random = np.random.default_rng(1)
    said = random.lognormal(sigma=9, size=(len(starts), 1 if by_window else steps, 2))
    said[random.random(said.shape) < 0.1] = np.nan
    windows = Windows(starts, steps, 26, 26, np.arange(26), None, None, None)
    each = (starts[:, None] + np.arange(steps)).ravel()
    values = np.broadcast_to(said, (len(starts), steps, 2)).reshape(len(each), 2)
    np.testing.assert_array_equal(windows.at_rows(said), mean_columns_at(each, values, 26))


def test_days_that_are_not_whole_are_not_windows() -> None:
    grid = Grid(22 * 3600, 3600, "s")
    complete = np.ones((1, 2 + 24 * 3 + 5), bool)
    rule = WindowRule(24, 24, DAY)
    assert rule.starts(complete, grid).tolist() == [2, 26, 50]
    complete[0, 30] = False
    assert rule.starts(complete, grid).tolist() == [2, 50]


def test_a_calendar_window_with_a_stride_keeps_its_phase() -> None:
    starts = WindowRule(24, 12, DAY).starts(np.ones((1, 60), bool), Grid(3600, 3600, "s"))
    assert starts.tolist() == [11, 23, 35]


@pytest.mark.parametrize(
    ("window", "step", "wanted"),
    [
        ("48", None, WindowRule(48, 11)),
        ("3", None, WindowRule(3, 1)),
        ("1d", 1800, WindowRule(48, 48, DAY)),
        ("1w", 3600, WindowRule(168, 168, 7 * DAY)),
        ("7d", 3600, WindowRule(168, 168, 7 * DAY)),
        ("30min", 60, WindowRule(30, 30, 1800)),
        ("1.5 h", 60, WindowRule(90, 90, 5400)),
        ("500ms", 0.1, WindowRule(5, 5, 0.5)),
    ],
)
def test_windows_as_asked(window: str, step: float | None, wanted: WindowRule) -> None:
    unit, scale = ("ms", 1000) if step == 0.1 else ("s", 1)
    assert window_rule(window, None, signal(np.zeros(9), step and step * scale, unit)) == wanted
    assert window_rule(window, 7, signal(np.zeros(9), step and step * scale, unit)).stride == 7


@pytest.mark.parametrize("steps", [2, 7, 12, 24, 48, 144, 210])
def test_windows_of_one_period_begin_at_every_phase(steps: int) -> None:
    stride = window_rule(str(steps), None, signal(np.zeros(9), None, "s")).stride
    assert {start * stride % steps for start in range(steps)} == set(range(steps))
    assert stride <= max(1, steps // 4)


@pytest.mark.parametrize("window", ["1", "0", "2.5", "1 month", "1m", "-3", "", "day"])
def test_windows_that_cannot_be_say_how_to_write_one(window: str) -> None:
    with pytest.raises(UsageError) as caught:
        window_rule(window, None, signal(np.zeros(9), 60))
    assert "30min" in caught.value.how


def test_a_length_of_time_needs_times() -> None:
    with pytest.raises(UsageError, match="no time column"):
        window_rule("1d", None, signal(np.zeros(9)))
    with pytest.raises(UsageError, match="plain numbers"):
        window_rule("1d", None, signal(np.zeros(9), 60, ""))


def test_a_length_of_time_is_a_whole_number_of_steps() -> None:
    with pytest.raises(DataError, match=r"a window of 1d is 205.7 steps of 7min") as caught:
        window_rule("1d", None, signal(np.zeros(9), 420))
    assert "such as 206" in caught.value.how
    with pytest.raises(DataError, match="at least 2"):
        window_rule("1d", None, signal(np.zeros(9), DAY))


def test_the_default_is_a_day_from_fourteen_whole_days_on() -> None:
    assert default_window(signal(wave(14 * 24, 24), 3600)) == (24, DAY)
    assert default_window(signal(wave(14 * 24 - 1, 24), 3600))[1] is None
    assert default_window(signal(wave(20 * 1440, 1440), 60))[1] is None  # more than 288 steps a day


def test_the_default_is_otherwise_the_period() -> None:
    assert default_window(signal(np.tile(wave(100, 100), 20))) == (100, None)
    steps, _ = default_window(signal(np.tile(wave(7, 7), 200)))
    assert steps == 21  # the smallest multiple of 7 from 16 on


@pytest.mark.parametrize("period", [12, 50, 101, 250])
def test_the_period_is_the_one_put_in_and_not_a_multiple(period: int) -> None:
    trend = np.linspace(0, 5, 4000)
    assert strongest_period((wave(4000, period) + trend)[:, None]) == pytest.approx(period, abs=1)


def test_the_period_is_found_through_gaps_and_beside_flat_channels() -> None:
    values = np.stack([wave(2000, 40), np.full(2000, 3.0)], axis=1)
    values[500:520] = np.nan
    assert strongest_period(values) == pytest.approx(40, abs=1)


def test_without_a_period_the_default_is_a_sixteenth() -> None:
    noise = np.random.default_rng(0).normal(size=10_000)
    for steps, wanted in ((10_000, 64), (480, 30), (60, 8), (32, 8)):
        assert default_window(signal(noise[:steps])) == (wanted, None)


def test_a_series_too_short_to_choose_a_window_for_is_refused() -> None:
    with pytest.raises(DataError, match="got a series of 31 steps, wanted at least 32"):
        default_window(signal(np.zeros(31)))


def test_the_default_fits_between_gaps() -> None:
    values = wave(2000, 100)
    values[::60] = np.nan
    assert default_window(signal(values)) == (8, None)


def windows(starts: list[int], steps: int, slots: np.ndarray, **changes: object) -> Windows:
    values: dict = {"length": 200, "total": 200, "shape": None, "grid": None, "times": None} | changes
    return Windows(np.array(starts), steps, slots=slots, **values)


def test_windows_are_called_by_their_day_their_times_or_their_steps() -> None:
    rows = np.arange(200)
    grid = Grid(int(np.datetime64("2014-11-27", "s").astype(np.int64)), 1800, "s")
    assert windows([0, 3], 48, rows, grid=grid).label(0) == "2014-11-27"
    assert windows([0, 3], 48, rows, grid=grid).label(1) == "2014-11-27 01:30 to 2014-11-28 01:00"
    assert windows([96], 48, rows).label(0) == "steps 96 to 143"
    assert windows([250], 10, rows, total=400).label(0) == "series 1, steps 50 to 59"
    assert windows([5], 10, rows, grid=Grid(0.5, 0.25, "")).label(0) == "1.75 to 4"


def test_rows_of_a_window_are_in_the_order_of_time() -> None:
    assert windows([2], 3, np.array([4, 0, 3, 2, 2, 9])).rows_of(0).tolist() == [3, 4, 2, 0]


@given(st.data())
def test_values_are_carried_back_as_a_loop_would(data: st.DataObject) -> None:
    steps = data.draw(st.integers(1, 5))
    starts = data.draw(st.lists(st.integers(0, 20 - steps), min_size=1, max_size=8, unique=True))
    slots = np.array(data.draw(st.lists(st.integers(0, 19), min_size=1, max_size=25)))
    values = np.random.default_rng(0).normal(size=(len(starts), steps, 2))
    result = windows(starts, steps, slots, length=20, total=20).at_rows(values)
    for row, slot in enumerate(slots):
        seen = [values[i, slot - start] for i, start in enumerate(starts) if start <= slot < start + steps]
        np.testing.assert_allclose(result[row], np.mean(seen, axis=0) if seen else [np.nan, np.nan])
