from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hourglass.data.grid import Grid, fill_short_gaps, mean_at, place_on_grid, runs
from hourglass.data.samples import Frame
from hourglass.data.times import Times, find_time, length_word, read_times, time_word
from hourglass.errors import SchemaError, TimeError

DAY = 86400
NAN = float("nan")


def seconds(ticks: list[int]) -> Times:
    return Times(pa.array(ticks, pa.timestamp("s")), np.array(ticks, dtype=np.int64), "s")


def placed(times: Times) -> tuple[Grid, list[int], list[str]]:
    notices: list[str] = []
    grid, slots = place_on_grid(times, "here", notices)
    return grid, slots.tolist(), notices


def test_even_times_are_their_own_grid() -> None:
    grid, slots, notices = placed(seconds([600, 900, 1200, 1500]))
    assert (grid, slots, notices) == (Grid(600, 300.0, "s"), [0, 1, 2, 3], [])


def test_gaps_keep_their_place() -> None:
    assert placed(seconds([0, 10, 20, 50, 60]))[1] == [0, 1, 2, 5, 6]


def test_unsorted_rows_are_placed_by_time_and_noted() -> None:
    _, slots, notices = placed(seconds([20, 0, 10, 30]))
    assert slots == [2, 0, 1, 3]
    assert notices == ["2 rows came after a later time: the series was sorted by time"]


def test_repeated_times_share_a_step_and_the_first_is_named() -> None:
    _, slots, notices = placed(seconds([0, 60, 60, 120, 180, 180]))
    assert slots == [0, 1, 1, 2, 3, 3]
    assert notices == ["2 rows repeated a time (the first 1970-01-01 00:01): rows of one time were averaged"]


def test_jitter_under_a_tenth_is_on_the_grid_without_a_word() -> None:
    jitter = np.random.default_rng(0).integers(-4, 5, 200)
    _, slots, notices = placed(seconds((np.arange(200) * 100 + jitter).tolist()))
    assert slots == list(range(200))
    assert notices == []


def test_a_few_uneven_steps_are_moved_and_noted() -> None:
    _, slots, notices = placed(seconds([0, 10, 20, 33, 40, 50, 60, 70, 80, 90, 100, 110]))
    assert slots == list(range(12))
    assert notices == ["2 steps off the 10s grid: rows there are put on the nearest step"]


def test_uneven_series_are_refused_with_the_way_out() -> None:
    times = np.cumsum(np.random.default_rng(0).integers(1, 100, 300)).tolist()
    with pytest.raises(TimeError, match="not a multiple of the usual") as caught:
        placed(seconds(times))
    assert caught.value.where == "here"
    assert "resample" in caught.value.how


def test_a_stray_time_is_named_and_not_a_gap_of_a_billion_steps() -> None:
    with pytest.raises(TimeError, match="rows are spread over") as caught:
        placed(seconds([0, *range(1_400_000_000, 1_400_000_100)]))
    assert "1970-01-01 00:00" in caught.value.how


def test_thirds_of_a_second_in_milliseconds_do_not_drift() -> None:
    ticks = np.round(np.arange(3000) * 1000 / 3).astype(np.int64)
    grid, slots, notices = placed(Times(pa.array(ticks, pa.timestamp("ms")), ticks, "ms"))
    assert slots == list(range(3000))
    assert grid.step == pytest.approx(1000 / 3, rel=1e-4)
    assert notices == []


def test_months_are_even_steps() -> None:
    months = np.arange("2010-01", "2020-01", dtype="M8[M]").astype("M8[s]")
    assert placed(seconds(months.astype(np.int64).tolist()))[1] == list(range(120))


def test_rows_half_a_step_beside_the_first_do_not_pile_up() -> None:
    _, slots, _ = placed(seconds([0, *range(15, 215, 10)]))
    assert np.diff(slots[1:]).tolist() == [1] * 19


def test_nanoseconds_keep_all_their_digits() -> None:
    start = 1_700_000_000_000_000_001
    ticks = start + np.arange(5) * 100
    grid, slots, _ = placed(Times(pa.array(ticks, pa.timestamp("ns")), ticks, "ns"))
    assert (grid.origin, grid.step, slots) == (start, 100.0, [0, 1, 2, 3, 4])


def test_one_time_is_not_a_series() -> None:
    with pytest.raises(TimeError, match="1 distinct time, wanted at least 2"):
        placed(seconds([5, 5]))


@pytest.mark.parametrize(
    ("start", "length", "first"),
    [
        ("1970-01-02T00:00", DAY, 0),
        ("1970-01-02T01:00", DAY, 23),
        ("1970-01-02T23:00", DAY, 1),
        ("1970-01-05T00:00", 7 * DAY, 0),  # a Monday
        ("1970-01-04T00:00", 7 * DAY, 24),
        ("1969-12-31T22:00", DAY, 2),
    ],
)
def test_calendar_lengths_start_at_midnight_and_on_monday(start: str, length: int, first: int) -> None:
    grid = Grid(int(np.datetime64(start, "s").astype(np.int64)), 3600, "s")
    assert grid.first_aligned(length) == first


def test_a_grid_beside_the_calendar_starts_its_day_at_the_first_step_after_midnight() -> None:
    assert Grid(3 * 60, 300, "s").first_aligned(DAY) == 288
    assert Grid(2, 300, "s").first_aligned(DAY) == 0  # two seconds late is on time
    assert Grid(-2, 300, "s").first_aligned(DAY) == 0  # and so is two seconds early


@given(st.lists(st.booleans(), max_size=40))
def test_runs_are_where_a_loop_finds_them(mask: list[bool]) -> None:
    starts, ends = runs(np.array(mask, dtype=bool))
    rebuilt = np.zeros(len(mask), dtype=bool)
    for start, end in zip(starts, ends, strict=True):
        assert start < end
        assert start == 0 or not mask[start - 1]
        rebuilt[start:end] = True
    assert rebuilt.tolist() == mask


def test_short_gaps_are_bridged_and_long_or_outer_ones_are_not() -> None:
    column = np.array([NAN, 1, NAN, 3, NAN, NAN, 6, NAN, NAN, NAN, 10, NAN])
    filled = fill_short_gaps(column[:, None], 2)[:, 0]
    np.testing.assert_allclose(filled, [NAN, 1, 2, 3, 4, 5, 6, NAN, NAN, NAN, 10, NAN])
    np.testing.assert_array_equal(fill_short_gaps(column[:, None], 0)[:, 0], column)


@given(arrays(np.float64, (12, 3), elements=st.one_of(st.just(NAN), st.floats(-9, 9))), st.integers(0, 4))
def test_bridges_are_those_of_numpys_interpolation(values: np.ndarray, longest: int) -> None:
    filled = fill_short_gaps(values, longest)
    for before, after in zip(values.T, filled.T, strict=True):
        known = np.flatnonzero(~np.isnan(before))
        for start, end in zip(*runs(np.isnan(before)), strict=True):
            inside = start > 0 and end < 12 and end - start <= longest
            line = np.interp(np.arange(start, end), known, before[known]) if inside else before[start:end]
            np.testing.assert_allclose(after[start:end], line, atol=1e-12)
        np.testing.assert_array_equal(after[known], before[known])


def test_mean_at_passes_over_missing_values() -> None:
    result = mean_at(np.array([0, 0, 1, 3]), np.array([1.0, 3.0, NAN, 5.0]), 4)
    np.testing.assert_array_equal(result, [2.0, NAN, NAN, 5.0])


def frame(**columns: pa.Array) -> Frame:
    return Frame(pa.table(columns), source="data.csv", first_line=2)


def test_the_time_is_found_by_type_before_name() -> None:
    moments = pa.array([1, 2], pa.timestamp("s"))
    numbers = pa.array([1, 2])
    notices: list[str] = []
    assert find_time(frame(time=numbers, at=moments), None, (), notices) == "at"
    assert find_time(frame(at=moments, Date=moments), None, (), notices) == "Date"
    assert notices == ["of the time columns 'at', 'Date', 'Date' is taken as the time"]
    assert find_time(frame(ds=numbers, value=numbers), None, (), notices) == "ds"
    assert find_time(frame(ds=numbers, value=numbers), None, ("ds",), notices) is None
    with pytest.raises(SchemaError, match="no time column 'tiem'") as caught:
        find_time(frame(time=numbers), "tiem", (), notices)
    assert caught.value.how == "did you mean 'time'?"


def test_iso_text_is_a_time_and_other_text_is_named_by_line() -> None:
    times = read_times(frame(t=pa.array(["2024-01-01", "2024-01-01 12:30:00"])), "t")
    assert [times.word(tick) for tick in times.ticks] == ["2024-01-01 00:00", "2024-01-01 12:30"]
    with pytest.raises(TimeError, match=r"data.csv, line 3, column 't': '13/1/24' is not a time"):
        read_times(frame(t=pa.array(["2024-01-01", "13/1/24"])), "t")


def test_a_missing_time_is_named_by_line() -> None:
    with pytest.raises(TimeError, match=r"line 3, column 't': the time is missing"):
        read_times(frame(t=pa.array([1, None], pa.timestamp("s"))), "t")
    with pytest.raises(TimeError, match=r"line 2, column 't': nan is not a time"):
        read_times(frame(t=pa.array([NAN, 1.0])), "t")


def test_times_with_a_zone_are_read_as_utc() -> None:
    column = pa.array([0, 3600], pa.timestamp("s", "Europe/Berlin"))
    times = read_times(frame(t=column), "t")
    assert times.ticks.tolist() == [0, 3600]
    assert times.column.type == column.type


def test_words_leave_out_what_is_zero() -> None:
    assert time_word(61, "s") == "1970-01-01 00:01:01"
    assert time_word(1_500_000, "us") == "1970-01-01 00:00:01.5"
    assert [length_word(length) for length in (60, 7200, 604800, 0.25)] == ["1min", "2h", "1w", "0.25s"]
