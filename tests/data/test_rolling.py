"""Windows of a series that comes bit by bit: they are those of the whole, and the memory of it does not grow."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from hourglass.data.rolling import Rolling
from hourglass.data.samples import Frame
from hourglass.data.series import SeriesFormat, SeriesSettings
from hourglass.errors import SchemaError, TimeError

STEPS = 5
HOUR = np.timedelta64(3600, "s")
START = np.datetime64("2024-03-04T00:00:00", "s")


def values(rows: int, channels: int = 2) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(rows, channels))


def timed(numbers: np.ndarray, steps: np.ndarray | None = None) -> Frame:
    """Rows with an hour between them, or so many from the start."""
    hours = np.arange(len(numbers)) if steps is None else steps
    names = [f"c{place}" for place in range(numbers.shape[1])]
    columns = {name: pa.array(column, from_pandas=True) for name, column in zip(names, numbers.T, strict=True)}
    return Frame(pa.table({"time": START + hours * HOUR, **columns}))


def learned(window: str = "5", channels: int = 2, **options: int) -> SeriesFormat:
    return SeriesSettings(window=window, stride=1, **options).fit(timed(values(200, channels)))


def fed(form: SeriesFormat, frame: Frame, block: int) -> tuple[np.ndarray, np.ndarray]:
    """Windows and the rows at which they end, the rows given so many at a time."""
    rolling, samples, rows = Rolling(form), [], []
    for start in range(0, frame.table.num_rows, block):
        ended = rolling.feed(Frame(frame.table.slice(start, block)))
        samples.append(ended.samples)
        rows.append(ended.rows + start)
    return np.concatenate(samples), np.concatenate(rows)


@pytest.mark.parametrize("block", [1, 3, 40])
def test_the_windows_are_those_of_the_whole_series(block: int) -> None:
    form, frame = learned(), timed(values(40))
    samples, rows = fed(form, frame, block)
    np.testing.assert_array_equal(rows, np.arange(STEPS - 1, 40))
    np.testing.assert_array_equal(samples, form.pack(frame).samples)


@pytest.mark.parametrize("block", [1, 7, 60])
def test_short_gaps_are_bridged_as_in_the_whole_and_no_window_lies_over_a_long_one(block: int) -> None:
    """Gaps of rows that are not there, and of cells that are empty; `max_gap` is 2."""
    numbers = values(60)
    numbers[10, 0] = numbers[20:22, 1] = numbers[30:33] = numbers[41, 1] = np.nan
    steps = np.arange(60) + 1 * (np.arange(60) >= 15) + 2 * (np.arange(60) >= 25) + 4 * (np.arange(60) >= 50)
    form, frame = learned(), timed(numbers, steps)
    samples, rows = fed(form, frame, block)
    whole = form.pack(frame)
    last = {int(start) + STEPS - 1: sample for start, sample in zip(whole.places.starts, whole.samples, strict=True)}
    known = ~np.isnan(numbers).any(axis=1)
    assert rows.tolist() == [row for row in range(60) if known[row] and int(steps[row]) in last]
    assert {15, 22, 25, 42} <= set(rows.tolist())
    assert not {33, 34, 35, 36, 50, 51, 52, 53} & set(rows.tolist())
    np.testing.assert_array_equal(samples, [last[int(steps[row])] for row in rows])


def test_windows_of_a_day_end_at_midnight_wherever_the_stream_begins() -> None:
    form = SeriesSettings(window="1d").fit(timed(values(480)))
    frame = timed(values(100), np.arange(7, 107))
    samples, rows = fed(form, frame, 9)
    np.testing.assert_array_equal(rows + 7, [47, 71, 95])
    np.testing.assert_array_equal(samples, form.pack(frame).samples)
    with pytest.raises(TimeError, match="follow the calendar"):
        Rolling(form).feed(np.zeros((1, 2)))


@pytest.mark.parametrize(("steps", "complaint"), [([3, 4, 4], "wanted a later time"), ([3, 4, 2], "wanted a later")])
def test_rows_that_come_again_or_late_are_refused_by_their_time_and_change_nothing(
    steps: list[int], complaint: str
) -> None:
    rolling = Rolling(learned())
    rolling.feed(timed(values(3)))
    with pytest.raises(TimeError, match=complaint) as fault:
        rolling.feed(timed(values(3), np.array(steps)))
    assert "2024-03-04 04:00" in str(fault.value)
    assert len(rolling.feed(timed(values(2), np.array([3, 4]))).rows) == 1


def test_rows_that_come_too_often_are_refused() -> None:
    rolling = Rolling(learned())
    with pytest.raises(TimeError, match="by a step of 1h"):
        rolling.feed(Frame(pa.table({"time": START + np.arange(2) * HOUR // 6, "c0": [1.0, 2.0], "c1": [1.0, 2.0]})))


def test_times_of_another_sort_are_refused() -> None:
    numbered = Frame(pa.table({"time": [1, 2], "c0": [1.0, 2.0], "c1": [1.0, 2.0]}))
    with pytest.raises(TimeError, match="plain numbers, wanted moments"):
        Rolling(learned()).feed(numbered)
    with pytest.raises(SchemaError, match="c1"):
        Rolling(learned()).feed(Frame(timed(values(3)).table.drop_columns(["c1"])))


def test_a_time_that_is_left_out_is_the_next_step() -> None:
    form, frame = learned(), timed(values(12))
    rolling = Rolling(form)
    rolling.feed(Frame(frame.table.slice(0, 6)))
    rolling.feed(Frame(frame.table.slice(6, 3).drop_columns(["time"])))
    last = rolling.feed(Frame(frame.table.slice(9, 3)))
    np.testing.assert_array_equal(last.samples, form.pack(frame).samples[-3:])


def test_the_unit_of_times_may_change_from_row_to_row() -> None:
    form, frame = learned(), timed(values(8))
    rolling, found = Rolling(form), []
    for row, unit in enumerate(["s", "ms", "us", "ns"] * 2):
        table = frame.table.slice(row, 1)
        times = table.column("time").cast(pa.timestamp(unit))
        found.append(rolling.feed(Frame(table.set_column(0, "time", times))).samples)
    np.testing.assert_array_equal(np.concatenate(found), form.pack(frame).samples)


def test_what_is_remembered_does_not_grow() -> None:
    form = SeriesSettings(window="5", stride=1).fit(np.arange(100.0))
    rolling = Rolling(form)
    for value in range(10_000):
        rolling.feed(np.array([[float(value)]]))
    assert rolling._kept.shape == (STEPS + 2, 1)
    assert rolling._kept.base is None  # a view would keep what it was cut from
    np.testing.assert_array_equal(rolling._kept[:, 0], np.arange(10_000)[-STEPS - 2 :])


def test_a_model_that_knows_few_starts_says_so() -> None:
    def said(stride: int) -> str:
        return " ".join(Rolling(SeriesSettings(window="8", stride=stride).fit(np.arange(100.0))).notices)

    assert "1 start in 4" in said(4)
    assert "--set format.stride=3" in said(4)
    assert "start" not in said(3)
