from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hourglass.data.formats import Data
from hourglass.data.samples import Frame, Layout
from hourglass.data.series import SeriesFormat, SeriesSettings
from hourglass.errors import DataError, ModelFileError, SchemaError, UsageError

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"
NAN = float("nan")


def shared(path: str) -> Path:
    found = SHARED / path
    if not found.exists():
        pytest.skip(f"needs the data set {path}")
    return found


def round_trip(settings: SeriesSettings, data: Data) -> np.ndarray | pa.Table:
    made = settings.fit(data)
    packed = made.pack(data)
    assert packed.samples.dtype == np.float32
    assert packed.samples.shape[1:] == made.layout.shape
    return made.unpack(packed.samples, packed.places)


def test_rows_of_a_2d_array_are_windows() -> None:
    data = np.random.default_rng(0).normal(size=(7, 12)).astype(np.float32)
    made = SeriesSettings().fit(data)
    packed = made.pack(data)
    assert made.layout == Layout((12, 1))
    assert packed.places is None
    np.testing.assert_allclose(made.unpack(packed.samples), data, atol=1e-6)
    rows = made.rows(np.arange(7.0), None)
    assert rows.index.to_pylist() == list(range(7))
    assert rows.score.tolist() == list(range(7))
    assert rows.covered.all()
    assert made.window_label(None, 5) == "row 5"
    assert made.window_rows(None, 5).tolist() == [5]
    assert made.cell_names()[:2] == ["value[0]", "value[1]"]


def test_rows_are_packed_the_same_in_any_company() -> None:
    data = np.random.default_rng(0).normal(size=(7, 12))
    made = SeriesSettings().fit(data)
    np.testing.assert_array_equal(made.pack(data[2:3]).samples, made.pack(data).samples[2:3])


def test_an_unnamed_frame_is_as_an_array() -> None:
    data = np.random.default_rng(0).normal(size=(5, 6))
    frame = Frame(pa.table({str(i): column for i, column in enumerate(data.T)}), unnamed=True)
    made = SeriesSettings().fit(frame)
    np.testing.assert_array_equal(made.pack(frame).samples, SeriesSettings().fit(data).pack(data).samples)
    np.testing.assert_allclose(made.unpack(made.pack(data).samples), data, atol=1e-6)
    assert SeriesSettings(window="2").fit(frame).layout.shape == (2, 6)
    column = Frame(pa.table({"0": np.arange(40.0)}), unnamed=True)
    np.testing.assert_allclose(round_trip(SeriesSettings(window="4"), column), np.arange(40.0), atol=1e-5)


def test_series_of_a_3d_array_are_windows_unless_cut() -> None:
    data = np.random.default_rng(0).normal(size=(3, 10, 2))
    made = SeriesSettings().fit(data)
    assert made.pack(data).samples.shape == (3, 10, 2)
    np.testing.assert_allclose(round_trip(SeriesSettings(), data), data, atol=1e-6)
    assert made.cell_names()[:3] == ["channel_0[0]", "channel_1[0]", "channel_0[1]"]
    cut = SeriesSettings(window="4", stride=4).fit(data).pack(data)
    assert cut.places.starts.tolist() == [0, 4, 6, 10, 14, 16, 20, 24, 26]
    assert cut.places.series.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    np.testing.assert_allclose(round_trip(SeriesSettings(window="4"), data), data, atol=1e-6)


def test_a_2d_array_with_a_window_has_steps_for_rows() -> None:
    data = np.random.default_rng(0).normal(size=(50, 3))
    made = SeriesSettings(window="8").fit(data)
    assert made.layout.shape == (8, 3)
    np.testing.assert_allclose(round_trip(SeriesSettings(window="8"), data), data, atol=1e-6)


def test_arrays_that_cannot_be_series_are_refused_with_the_way_out() -> None:
    with pytest.raises(DataError, match="n_features = 1") as caught:
        SeriesSettings().fit(np.zeros((9, 1)))
    assert "values[:, 0]" in caught.value.how
    with pytest.raises(UsageError, match="1-d array is one series"):
        SeriesSettings(window="row").fit(np.zeros(9))
    with pytest.raises(UsageError, match="an array has none"):
        SeriesSettings(time="t").fit(np.zeros(9))
    with pytest.raises(DataError, match="4 dimensions"):
        SeriesSettings().fit(np.zeros((2, 2, 2, 2)))
    with pytest.raises(DataError, match="wanted numbers"):
        SeriesSettings().fit(np.array(["a", "b"]))
    with pytest.raises(DataError, match="every value is missing"):
        SeriesSettings().fit(np.full(9, NAN))


@given(
    arrays(np.float64, st.tuples(st.integers(6, 40), st.integers(1, 3)), elements=st.floats(-1e6, 1e6)),
    st.integers(2, 6),
    st.integers(1, 6),
    st.sampled_from(["standard", "min-max", "none"]),
    st.sampled_from(["channel", "all"]),
)
def test_unpacking_undoes_packing(data: np.ndarray, window: int, stride: int, scaling: str, over: str) -> None:
    settings = SeriesSettings(window=str(window), stride=min(stride, window), scaling=scaling, over=over)
    again = round_trip(settings, data)
    assert again.shape == data.shape
    np.testing.assert_allclose(again, data, rtol=1e-6, atol=1e-6 * max(1, np.abs(data).max()))


def test_an_offset_of_a_billion_keeps_the_signal() -> None:
    signal = np.sin(np.arange(100) / 5)
    np.testing.assert_allclose(round_trip(SeriesSettings(window="10"), signal + 1e9), signal + 1e9, rtol=0, atol=2e-6)


def test_windows_hold_the_steps_they_say() -> None:
    data = np.random.default_rng(0).normal(size=(30, 2))
    made = SeriesSettings(window="7", stride=3, scaling="none").fit(data)
    packed = made.pack(data)
    for i, start in enumerate(packed.places.starts):
        np.testing.assert_allclose(packed.samples[i], data[start : start + 7], rtol=1e-6)
        assert made.window_rows(packed.places, i).tolist() == list(range(start, start + 7))


def test_without_places_windows_stay_windows_in_units() -> None:
    data = np.arange(40.0) * 100
    made = SeriesSettings(window="8", stride=8).fit(data)
    units = made.unpack(made.pack(data).samples)
    assert units.shape == (5, 8, 1)
    np.testing.assert_allclose(units.ravel(), data, atol=1e-3)
    np.testing.assert_allclose(made.cells_in_units(made.pack(data).samples[1]), data[8:16], atol=1e-3)


def test_missing_cells_are_filled_channel_by_channel() -> None:
    left, right = np.arange(40.0), np.arange(40.0) * 2
    left[5], right[6:8] = NAN, NAN
    data = np.stack([left, right], axis=1)
    made = SeriesSettings(window="10", stride=10).fit(data)
    packed = made.pack(data)
    straight = np.stack([np.arange(40), np.arange(40) * 2], axis=1)
    np.testing.assert_allclose(made.unpack(packed.samples, packed.places), straight, atol=1e-5)


def test_an_empty_channel_of_an_array_keeps_its_place() -> None:
    data = np.random.default_rng(0).normal(size=(40, 3))
    data[:, 1] = NAN
    made = SeriesSettings(window="5").fit(data)
    assert made.layout.shape == (5, 2)
    packed = made.pack(data)
    np.testing.assert_allclose(made.unpack(packed.samples, packed.places), data, atol=1e-6)
    with pytest.raises(SchemaError, match=r"got 2 channels \(shape=\(40, 2\)\), wanted 3 channels"):
        made.pack(data[:, :2])


def test_a_scale_of_its_own_for_each_channel_or_one_for_all() -> None:
    data = np.random.default_rng(0).normal(size=(200, 2)) * [1, 100]
    apart = SeriesSettings(window="10", stride=10).fit(data)
    together = SeriesSettings(window="10", stride=10, over="all").fit(data)
    np.testing.assert_allclose(apart.pack(data).samples.std(axis=(0, 1)), [1, 1], atol=1e-3)
    assert together.pack(data).samples.std() == pytest.approx(1, abs=1e-3)
    assert together.pack(data).samples[..., 0].std() < 0.1


def test_a_series_shorter_than_a_window_says_both_lengths() -> None:
    made = SeriesSettings(window="48").fit(np.arange(100.0))
    with pytest.raises(DataError, match="got 20 steps, wanted at least 48"):
        made.pack(np.arange(20.0))
    gappy = np.arange(80.0)
    gappy[40:44] = NAN
    with pytest.raises(DataError, match="got 40 steps without a gap, wanted at least 48"):
        made.pack(gappy)


def test_rows_of_another_length_are_refused() -> None:
    made = SeriesSettings().fit(np.random.default_rng(0).normal(size=(5, 12)))
    with pytest.raises(SchemaError, match="got rows of 11 steps, wanted 12"):
        made.pack(np.zeros((5, 11)))
    with pytest.raises(SchemaError, match="wanted one window a row"):
        made.pack(np.zeros(12))


def test_missing_numbers_in_row_windows_stay_missing() -> None:
    data = np.random.default_rng(0).normal(size=(6, 12))
    data[0, 3], data[2, 4:9] = NAN, NAN
    packed = SeriesSettings().fit(data).pack(data)
    assert len(packed.samples) == 6
    assert np.flatnonzero(np.isnan(packed.samples[2, :, 0])).tolist() == [4, 5, 6, 7, 8]
    assert not np.isnan(packed.samples[0]).any()
    assert "(the first at row 2) stay missing" in packed.notices[1]


def test_scores_and_errors_are_carried_back_as_a_loop_would() -> None:
    data = np.random.default_rng(0).normal(size=(53, 2))
    made = SeriesSettings(window="8", stride=3).fit(data)
    packed = made.pack(data)
    rng = np.random.default_rng(1)
    scores, errors = rng.random(len(packed.samples)), rng.random((len(packed.samples), 16))
    rows = made.rows(scores, packed.places)
    by_step = made.step_errors(errors, packed.places)
    for row in range(53):
        over = [(i, row - start) for i, start in enumerate(packed.places.starts) if start <= row < start + 8]
        assert rows.score[row] == pytest.approx(np.mean([scores[i] for i, _ in over]))
        assert by_step[row] == pytest.approx(np.mean([errors[i].reshape(8, 2)[step] for i, step in over]))


def test_errors_of_row_windows_are_their_means() -> None:
    made = SeriesSettings().fit(np.random.default_rng(0).normal(size=(3, 4)))
    errors = np.array([[1.0, 2, 3, 6], [0, 0, 0, NAN], [1, 1, 1, 1]])
    assert made.step_errors(errors, None).tolist() == [3, 0, 1]


@pytest.mark.parametrize("scaling", ["standard", "min-max", "quantile", "none"])
def test_a_format_survives_being_saved_to_the_bit(scaling: str) -> None:
    times = np.arange("2024-01-01", "2024-02-01", dtype="M8[h]").astype("M8[s]")
    frame = Frame(pa.table({"time": times, "value": np.random.default_rng(0).normal(size=len(times))}))
    made = SeriesSettings(scaling=scaling, window="1d", stride=6).fit(frame)
    again = SeriesFormat.restore(json.loads(json.dumps(made.document())), made.tensors())
    assert again.document() == made.document()
    assert (again.settings, again.schema, again.rule, again.layout) == (
        made.settings,
        made.schema,
        made.rule,
        made.layout,
    )
    np.testing.assert_array_equal(again.pack(frame).samples, made.pack(frame).samples)


def test_a_damaged_description_is_a_model_file_error() -> None:
    made = SeriesSettings(window="8").fit(np.random.default_rng(0).normal(size=(50, 3)))
    document, tensors = made.document(), made.tensors()
    for key in document:
        with pytest.raises(ModelFileError):
            SeriesFormat.restore({name: value for name, value in document.items() if name != key}, tensors)
    for damage in (
        {"rule": {"steps": "8"}},
        {"schema": {"channels": ["a"]}},
        {"settings": {"is": "series", "over": "x"}},
    ):
        with pytest.raises(ModelFileError):
            SeriesFormat.restore(document | damage, tensors)
    with pytest.raises(ModelFileError):
        SeriesFormat.restore(document, {})


def test_half_hours_of_taxi_rides_are_215_days() -> None:
    frame = Frame(pa.csv.read_csv(shared("nab/data/realKnownCause/nyc_taxi.csv")), "nyc_taxi.csv", 2)
    made = SeriesSettings().fit(frame)
    packed = made.pack(frame)
    assert packed.samples.shape == (215, 48, 1)
    assert made.notices == packed.notices == []
    labels = [made.window_label(packed.places, i) for i in range(215)]
    assert (labels[0], labels[149], labels[-1]) == ("2014-07-01", "2014-11-27", "2015-01-31")
    again = made.unpack(packed.samples, packed.places)
    np.testing.assert_allclose(again["value"].to_numpy(), frame.table["value"].to_numpy(), rtol=1e-5, atol=1e-2)


@pytest.mark.parametrize(
    "name",
    [
        "ambient_temperature_system_failure",
        "machine_temperature_system_failure",
        "ec2_request_latency_system_failure",
        "rogue_agent_key_hold",
    ],
)
def test_untidy_recordings_score_every_row(name: str) -> None:
    frame = Frame(pa.csv.read_csv(shared(f"nab/data/realKnownCause/{name}.csv")), name, 2)
    made = SeriesSettings().fit(frame)
    packed = made.pack(frame)
    rows = made.rows(np.arange(len(packed.samples), dtype=np.float64), packed.places)
    assert np.isfinite(rows.score).all()
    assert rows.covered.mean() > 0.7
    again = made.unpack(packed.samples, packed.places)["value"].to_numpy()
    np.testing.assert_array_equal(np.isnan(again), ~rows.covered)


def test_a_year_of_temperatures_is_364_whole_days_and_one_with_a_lost_hour() -> None:
    vega_datasets = pytest.importorskip("vega_datasets")
    frame = Frame(pa.table(vega_datasets.data.seattle_temps()).replace_schema_metadata(), "seattle_temps")
    made = SeriesSettings().fit(frame)
    packed = made.pack(frame)
    assert packed.samples.shape == (365, 24, 1)
    assert packed.notices == ["1 missing step filled by straight lines between neighbours"]
    assert made.cell_names()[7] == "temp at 07:00"


@pytest.mark.parametrize(("name", "channels"), [("asd/omi-1.npz", 19), ("smd/machine-1-2.npz", 38)])
def test_servers_are_cut_into_windows_of_all_channels(name: str, channels: int) -> None:
    data = np.load(shared(name), allow_pickle=False)["train"]
    made = SeriesSettings(window="64", stride=32).fit(data)
    packed = made.pack(data)
    assert packed.samples.shape[1:] == (64, channels)
    assert np.isfinite(packed.samples).all()
    np.testing.assert_allclose(made.unpack(packed.samples, packed.places), data, rtol=1e-4, atol=1e-4)


def test_beats_are_windows_as_they_are() -> None:
    data = np.load(shared("ecg5000/ecg5000.npz"), allow_pickle=False)["X_train"]
    np.testing.assert_allclose(round_trip(SeriesSettings(), data), data, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("gap", "shared_memory"), [(None, True), (500, False)], ids=["even", "around a gap"])
def test_windows_are_a_view_of_the_scaled_series_where_they_can_be(gap: int | None, shared_memory: bool) -> None:
    data = np.random.default_rng(0).normal(size=(1_000, 2))
    if gap is not None:
        data[gap : gap + 5] = np.nan
    made = SeriesSettings(window="16", stride=1).fit(data)
    packed = made.pack(data)
    scaled = made.scaler.scale(data)
    copied = np.stack([scaled[start : start + 16] for start in packed.places.starts])
    np.testing.assert_array_equal(packed.samples, copied)
    assert (packed.samples.strides[0] == packed.samples.strides[1]) == shared_memory


def test_a_long_series_is_cut_scored_and_scaled_anew_without_a_copy_of_its_windows() -> None:
    """200,000 steps are 1.6 MB in float64; 199,745 windows of 256 steps would be 205 MB in float32."""
    data = np.random.default_rng(0).normal(size=200_000)
    tracemalloc.start()
    try:
        made = SeriesSettings(window="256", stride=1).fit(data)
        packed = made.pack(data)
        rows = made.rows(np.arange(len(packed.samples)), packed.places)
        made.rescaled(data, np.arange(100_000))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert packed.samples.shape == (199_745, 256, 1)
    assert rows.score[[0, 1, 300]].tolist() == [0.0, 0.5, 172.5]
    assert peak < 30e6


def test_the_scale_can_be_learned_anew_from_some_windows() -> None:
    data = np.arange(60.0)
    made = SeriesSettings(window="10", stride=5).fit(data)
    again = made.rescaled(data, np.array([0, 1, 2]))
    # windows 0 to 2 cover the steps 0 to 19
    assert again.pack(data).samples[:3].ravel()[[0, -1]] == pytest.approx(
        (np.array([0, 19]) - 9.5) / np.arange(20).std()
    )
    whole = np.random.default_rng(0).normal(size=(8, 4))
    rows = SeriesSettings().fit(whole).rescaled(whole, np.array([1, 2]))
    assert rows.pack(whole).samples[1:3].mean() == pytest.approx(0, abs=1e-6)
