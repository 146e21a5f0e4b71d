from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from hourglass.data.samples import Frame
from hourglass.data.series import SeriesSettings
from hourglass.errors import DataError, SchemaError, TimeError


def hourly(steps: int, start: str = "2024-01-01", **channels: np.ndarray) -> Frame:
    times = np.datetime64(start, "s") + np.arange(steps) * np.timedelta64(3600, "s")
    values = channels or {"value": np.arange(steps) % 24 + np.arange(steps) / 100}
    return Frame(pa.table({"time": times} | values), source="data.csv", first_line=2)


def taken(frame: Frame, rows: np.ndarray) -> Frame:
    return Frame(frame.table.take(pa.array(rows)), frame.source, frame.first_line)


def test_a_named_frame_can_have_windows_for_rows() -> None:
    table = pa.table({"label": ["a", "b"], "first": [1.0, 2.0], "second": [3.0, 4.0], "third": [5.0, 7.0]})
    made = SeriesSettings(window="row").fit(Frame(table))
    assert made.layout.shape == (3, 1)
    assert made.cell_names() == ["first", "second", "third"]
    assert made.notices == ["column 'label' holds string, not numbers, and is left out"]
    again = made.unpack(made.pack(Frame(table)).samples)
    assert again.column_names == ["first", "second", "third"]
    np.testing.assert_allclose(again["third"].to_numpy(), [5, 7], atol=1e-6)
    with pytest.raises(SchemaError, match="columns are missing: 'first', 'third'"):
        made.pack(Frame(table.select(["label", "second"])))


def test_a_table_comes_back_in_its_own_row_order_with_its_times() -> None:
    frame = hourly(24 * 20)
    mixed = taken(frame, np.random.default_rng(0).permutation(24 * 20))
    made = SeriesSettings().fit(mixed)
    packed = made.pack(mixed)
    again = made.unpack(packed.samples, packed.places)
    assert again.column_names == ["time", "value"]
    assert again["time"].to_pylist() == mixed.table["time"].to_pylist()
    np.testing.assert_allclose(again["value"].to_numpy(), mixed.table["value"].to_numpy(), atol=1e-5)


def test_days_are_the_default_for_hours_and_are_named() -> None:
    frame = hourly(24 * 20)
    made = SeriesSettings().fit(frame)
    packed = made.pack(frame)
    assert packed.samples.shape == (20, 24, 1)
    assert made.window_label(packed.places, 1) == "2024-01-02"
    assert made.cell_names()[7] == "value at 07:00"
    assert SeriesSettings(window="1w").fit(frame).cell_names()[31] == "value on Tue at 07:00"
    assert SeriesSettings(window="6h").fit(frame).cell_names()[5] == "value[5]"


def test_short_gaps_are_filled_and_windows_across_long_ones_left_out() -> None:
    frame = hourly(24 * 16)
    kept = np.setdiff1d(np.arange(24 * 16), [30, 31, 60, 61, 62])
    made = SeriesSettings().fit(taken(frame, kept))
    packed = made.pack(taken(frame, kept))
    assert len(packed.samples) == 15
    assert packed.notices == [
        "2 missing steps filled by straight lines between neighbours",
        "3 missing steps in 1 gap longer than 2 or at an end (the first at 2024-01-03 12:00) are not bridged,"
        " and windows there are left out",
        "21 steps in no whole window of 1d: not scored by themselves",
    ]
    rows = made.rows(np.arange(15.0), packed.places)
    assert len(rows.score) == len(kept)
    assert (~rows.covered).sum() == 21
    assert set(rows.score[~rows.covered]) == {7.0}
    again = made.unpack(packed.samples, packed.places)["value"].to_numpy()
    np.testing.assert_array_equal(np.isnan(again), ~rows.covered)


def test_repeated_times_are_averaged() -> None:
    frame = hourly(24 * 15)
    double = taken(frame, np.r_[0, np.arange(24 * 15)])
    values = double.table["value"].to_numpy().copy()
    values[0] += 10
    double = Frame(double.table.set_column(1, "value", pa.array(values)), "data.csv")
    made = SeriesSettings(scaling="none").fit(double)
    packed = made.pack(double)
    assert packed.samples[0, 0, 0] == pytest.approx(5)
    assert packed.notices == ["1 row repeated a time (the first 2024-01-01 00:00): rows of one time were averaged"]
    assert len(made.rows(np.zeros(15), packed.places).score) == 361


def test_days_of_23_and_25_hours_are_days() -> None:
    # Local clock time of Berlin in 2024: 02:00 is missing on 31 March and comes twice on 27 October.
    utc = pa.array(np.arange("2024-03-01", "2024-11-10", dtype="M8[h]").astype("M8[s]"), pa.timestamp("s", "UTC"))
    local = pc.local_timestamp(utc.cast(pa.timestamp("s", "Europe/Berlin")))
    frame = Frame(pa.table({"time": local, "value": np.random.default_rng(0).normal(size=len(local))}))
    made = SeriesSettings().fit(frame)
    packed = made.pack(frame)
    labels = [made.window_label(packed.places, i) for i in range(len(packed.samples))]
    assert labels == [str(day) for day in np.arange("2024-03-02", "2024-11-10", dtype="M8[D]")]
    assert len(made.window_rows(packed.places, labels.index("2024-03-31"))) == 23
    assert len(made.window_rows(packed.places, labels.index("2024-10-27"))) == 25


def test_times_with_a_zone_have_their_days_in_utc() -> None:
    frame = hourly(24 * 20)
    column = frame.table["time"].cast(pa.timestamp("s", "UTC")).cast(pa.timestamp("s", "America/New_York"))
    frame = Frame(frame.table.set_column(0, "time", column))
    made = SeriesSettings().fit(frame)
    packed = made.pack(frame)
    assert len(packed.samples) == 20
    assert "times of zone America/New_York are taken as UTC" in packed.notices[0]
    assert made.rows(np.zeros(20), packed.places).index.type == column.type


def test_plain_numbers_can_be_the_time() -> None:
    frame = Frame(pa.table({"depth": np.arange(100) * 0.5, "value": np.random.default_rng(0).normal(size=100)}))
    made = SeriesSettings(time="depth", window="10").fit(frame)
    packed = made.pack(frame)
    assert made.window_label(packed.places, 1) == "0.5 to 5"
    with pytest.raises(SchemaError, match=r"got a step of 1 .*, wanted 0.5"):
        made.pack(taken(frame, np.arange(0, 100, 2)))


def test_the_step_at_score_time_is_that_of_fit() -> None:
    frame = hourly(24 * 20)
    made = SeriesSettings().fit(frame)
    with pytest.raises(SchemaError, match=r"data.csv: got a step of 2h, wanted 1h, as at fit"):
        made.pack(taken(frame, np.arange(0, 480, 2)))


def test_uneven_times_are_refused() -> None:
    times = np.datetime64("2024-01-01", "s") + np.cumsum(np.random.default_rng(0).integers(1, 999, 100))
    with pytest.raises(TimeError, match="resample"):
        SeriesSettings().fit(Frame(pa.table({"time": times, "value": np.arange(100.0)})))


def test_channels_are_found_by_name() -> None:
    rng = np.random.default_rng(0)
    frame = hourly(400, left=rng.normal(size=400), right=rng.normal(size=400) + 50)
    made = SeriesSettings().fit(frame)
    packed = made.pack(frame)
    swapped = Frame(frame.table.select(["right", "time", "left"]).append_column("more", frame.table["left"]))
    again = made.pack(swapped)
    np.testing.assert_array_equal(packed.samples, again.samples)
    assert again.notices == ["columns that the model does not know are ignored: 'more'", *packed.notices]
    with pytest.raises(SchemaError, match="columns are missing: 'time', 'left', 'right'"):
        made.pack(Frame(pa.table({"other": [1.0]})))
    with pytest.raises(SchemaError, match="wanted a table with the time column 'time'"):
        made.pack(np.zeros((400, 2)))


def test_columns_that_are_no_channels_are_left_out_and_said() -> None:
    values = np.random.default_rng(0).normal(size=400)
    text, empty = np.full(400, "a"), pa.nulls(400, pa.float64())
    frame = hourly(400, value=values, on=values > 0, same=np.ones(400), empty=empty, place=text)
    made = SeriesSettings().fit(frame)
    assert made.schema.channels == ("value", "on", "same")
    assert made.notices == [
        "column 'place' holds string, not numbers, and is left out",
        "channel 'empty' holds no number and is left out",
        "channel 'same' never changes",
    ]
    assert not any("ignored" in notice for notice in made.pack(frame).notices)
    chosen = SeriesSettings(columns=("on",)).fit(frame)
    assert chosen.schema.channels == ("on",)
    assert SeriesSettings(ignore=("on", "same")).fit(frame).schema.channels == ("value",)
    with pytest.raises(SchemaError, match=r"column 'place': got string, wanted numbers"):
        SeriesSettings(columns=("value", "place")).fit(frame)
    with pytest.raises(SchemaError, match="there is no column 'vlaue'"):
        SeriesSettings(columns=("vlaue",)).fit(frame)


def test_infinity_is_named_by_its_place() -> None:
    frame = hourly(400)
    values = frame.table["value"].to_numpy().copy()
    values[7] = np.inf
    with pytest.raises(DataError, match=r"data.csv, line 9, column 'value': the value is infinity"):
        SeriesSettings().fit(Frame(frame.table.set_column(1, "value", pa.array(values)), "data.csv", 2))
    with pytest.raises(DataError, match=r"row 1, column 2: the value is infinity"):
        SeriesSettings().fit(np.array([[1.0, 2, 3], [4, 5, -np.inf]]))


def test_a_stretch_without_a_whole_day_is_refused() -> None:
    made = SeriesSettings().fit(hourly(24 * 20))
    with pytest.raises(DataError, match="got no whole window of 1d in 30 steps"):
        made.pack(hourly(30, "2024-01-01T12:00"))


def test_columns_that_share_a_name_are_refused() -> None:
    twice = pa.Table.from_arrays([pa.array(range(50)), pa.array(range(50))], names=["a", "a"])
    with pytest.raises(SchemaError, match=r"data.csv: columns share a name: 'a'"):
        SeriesSettings().fit(Frame(twice, "data.csv"))


def test_steps_of_whole_days_are_called_by_their_day() -> None:
    days = np.arange("2024-01-01", "2024-07-01", dtype="M8[D]")
    frame = Frame(pa.table({"ds": days, "sales": np.random.default_rng(0).normal(size=len(days))}))
    made = SeriesSettings(window="1w").fit(frame)
    packed = made.pack(frame)
    assert made.window_label(packed.places, 0) == "2024-01-01 to 2024-01-07"
    assert made.cell_names()[1] == "sales on Tue"
