"""A fitted model's verbs: codes and back, scores of rows, reasons, steps of a series."""

import datetime as dt
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from hourglass.core.checkpoints import save_model
from hourglass.core.fitted import FittedModel
from hourglass.core.fitting import fit_model
from hourglass.core.kinds import experiment
from hourglass.data.formats import Data
from hourglass.data.samples import Frame, Packed
from hourglass.errors import DataError, SchemaError, UsageError
from hourglass.settings import Detection, Training

Fit = Callable[..., FittedModel]
Make = Callable[..., Data]


# Codes


@pytest.mark.parametrize("kind", ["plain", "masked-cell", "variational", "top-k", "denoising"])
@pytest.mark.parametrize("name", ["plane", "shop", "beats"])
def test_codes_decoded_are_the_reconstruction(fitted: Fit, make: Make, name: str, kind: str) -> None:
    model, data = fitted(name, kind), make(name, 30, 1)
    decoded, given_back = model.decode(model.encode(data)), model.reconstruct(data)
    same = decoded.equals(given_back) if isinstance(decoded, pa.Table) else np.array_equal(decoded, given_back)
    assert same


@pytest.mark.parametrize("kind", ["variational", "denoising", "masked-cell"])
def test_encoding_and_scoring_draw_nothing_at_random(fitted: Fit, make: Make, kind: str) -> None:
    model, data = fitted("plane", kind), make("plane", 30, 1)
    np.testing.assert_array_equal(model.encode(data), model.encode(data))
    np.testing.assert_array_equal(model.detect(data).rows.score, model.detect(data).rows.score)


def test_decoding_checks_the_codes(fitted: Fit) -> None:
    model = fitted("plane")
    width = model.latent_size
    for codes in (np.ones(width), np.ones((3, width + 1)), np.ones((1, 1, width))):
        with pytest.raises(SchemaError, match=rf"shape .*wanted \(rows, {width}\)"):
            model.decode(codes)
    with pytest.raises(SchemaError, match="finite"):
        model.decode(np.full((2, width), np.nan))
    assert model.decode(np.empty((0, width))).shape == (0, 6)


# Scores of rows


@pytest.mark.parametrize("name", ["plane", "shop", "tide", "beats"])
def test_the_flag_is_whether_the_p_value_is_small_enough(fitted: Fit, make: Make, name: str) -> None:
    model = fitted(name, "plain", calibrate=True)
    for rate in (0.05, 0.1, 0.3):
        found = model.detect(make(name, 200, 1), rate=rate)
        fewest = 6 / 67 if name == "tide" else 0  # of 61 windows, each 6 in a row share steps
        limit = found.threshold.reachable_rate
        assert limit == pytest.approx(max(rate, fewest))
        np.testing.assert_array_equal(found.is_anomaly, found.p_value <= limit + 1e-12)
        np.testing.assert_array_equal(found.is_anomaly, found.rows.score > found.threshold.value)


def test_too_few_calibration_rows_say_what_rate_they_can_promise(fitted: Fit, make: Make) -> None:
    model = fitted("plane")  # 8 rows held out
    found = model.detect(make("plane", 50, 1), rate=0.01)
    assert found.threshold.reachable_rate == pytest.approx(1 / 9)
    assert "0.11" in found.threshold.notice
    assert found.threshold.value == model.calibration.scores.max()


def test_other_rates_and_rules_need_no_other_fit(fitted: Fit, make: Make) -> None:
    model, data = fitted("plane", "plain", calibrate=True), make("plane", 300, 1)
    flagged = [model.detect(data, rate=rate).is_anomaly.sum() for rate in (0.02, 0.1, 0.4)]
    assert flagged == sorted(flagged)
    assert flagged[0] < flagged[-1]
    assert model.detect(data, rule="mad").threshold != model.detect(data, rule="quantile").threshold
    for rate in (0.0, 1.0, -0.1, np.nan):
        with pytest.raises(UsageError, match="false_alarm_rate"):
            model.detect(data, rate=rate)


@pytest.mark.parametrize("kind", ["plain", "masked-cell", "variational"])
@pytest.mark.parametrize("name", ["plane", "shop", "beats"])
def test_a_rows_score_does_not_depend_on_its_company(fitted: Fit, make: Make, name: str, kind: str) -> None:
    model = fitted(name, kind)
    packed = model.format.pack(make(name, 1_100, 1))
    whole = model.score(packed)
    for start, size in [(0, 1), (63, 1), (64, 1), (1_099, 1), (7, 7), (1_093, 7), (500, 512)]:
        part = model.score(Packed(packed.samples[start : start + size]))
        np.testing.assert_allclose(part, whole[start : start + size], rtol=1e-6)  # a rounding is 1.2e-7


# Reasons


@pytest.mark.parametrize("kind", ["plain", "masked-cell"])
@pytest.mark.parametrize("name", ["plane", "shop", "beats"])
def test_reasons_are_sorted_shares_of_one_whole(fitted: Fit, make: Make, name: str, kind: str) -> None:
    model = fitted(name, kind)
    samples = model.format.pack(make(name, 20, 1)).samples
    everything = len(model.format.cell_names())
    for reasons in model.explain(samples, most=everything):
        shares = [reason.share for reason in reasons]
        assert shares == sorted(shares, reverse=True)
        assert sum(shares) == pytest.approx(1, abs=1e-5)
        assert sorted(reason.cell for reason in reasons) == sorted(model.format.cell_names())
    assert [len(reasons) for reasons in model.explain(samples, most=2)] == [2] * 20
    assert model.explain(samples[:0]) == []


def test_reasons_give_values_as_they_were_written_and_missing_ones_no_share(fitted: Fit) -> None:
    model = fitted("shop", "masked-cell")
    row = Frame(pa.table({"amount": pa.array([None], pa.float64()), "weight": [41.5], "town": ["Oslo"]}))
    (reasons,) = model.explain(model.format.pack(row).samples)
    by_cell = {reason.cell: reason for reason in reasons}
    assert by_cell["weight"].value == pytest.approx(41.5)
    assert by_cell["town"].value == "Oslo"
    assert by_cell["town"].expected in ("Ghent", "Oslo", "Turin")
    assert by_cell["amount"].value is None
    assert by_cell["amount"].share == 0
    assert 0 < by_cell["amount"].expected < 1_000  # what the other cells make of it


def test_reasons_are_given_for_the_rows_they_were_asked_for(fitted: Fit, make: Make) -> None:
    model, data = fitted("plane", "plain", calibrate=True), make("plane", 100, 1)
    flagged = np.flatnonzero(model.detect(data, rate=0.2).is_anomaly).tolist()
    assert flagged
    assert sorted(model.detect(data, rate=0.2).reasons) == flagged
    assert sorted(model.detect(data, rate=0.2, reasons="all").reasons) == list(range(100))
    assert model.detect(data, rate=0.2, reasons="none").reasons == {}


# Tables block by block


def frames(data: np.ndarray, size: int) -> list[Frame]:
    """The rows as frames of so many rows each."""
    names = [f"x{place}" for place in range(data.shape[1])]
    parts = (data[start : start + size] for start in range(0, len(data), size))
    return [Frame(pa.table(list(part.T.copy()), names=names)) for part in parts]


@pytest.mark.parametrize("size", [1, 7, 64, 100])
@pytest.mark.parametrize("kind", ["plain", "masked-cell"])
def test_blocks_of_rows_give_what_all_rows_give(
    fitted: Fit, make: Make, kind: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hourglass.core.fitted.MOST_ROWS", 64)
    model, data = fitted("plane", kind), make("plane", 200, 1)
    (all_rows,) = frames(data, 200)
    whole, found = model.detect(all_rows, rate=0.2), model.detect_blocks(frames(data, size), rate=0.2)
    np.testing.assert_array_equal(found.rows.score, whole.rows.score)
    np.testing.assert_array_equal(found.p_value, whole.p_value)
    np.testing.assert_array_equal(found.is_anomaly, whole.is_anomaly)
    assert found.rows.index.equals(whole.rows.index)
    assert whole.reasons
    assert list(found.reasons) == list(whole.reasons)
    for row, reasons in whole.reasons.items():
        assert [(each.cell, each.value) for each in found.reasons[row]] == [(r.cell, r.value) for r in reasons]
        shares = [(each.expected, each.share) for each in reasons]
        np.testing.assert_allclose([(each.expected, each.share) for each in found.reasons[row]], shares, rtol=1e-6)


def test_blocks_tell_no_reasons_unasked(fitted: Fit, make: Make) -> None:
    found = fitted("plane").detect_blocks(frames(make("plane", 50, 1), 20), rate=0.5, reasons="none")
    assert found.is_anomaly.any()
    assert found.reasons == {}


def test_a_whole_number_in_a_block_is_told_as_the_column_of_all_blocks_has_it(fitted: Fit) -> None:
    first, second = frames(np.full((2, 6), 40.0), 1)
    first = Frame(pa.table([column.cast(pa.int64()) for column in first.table.columns], names=first.table.column_names))
    found = fitted("plane").detect_blocks([first, second])
    assert found.is_anomaly.all()
    assert {type(reason.value) for reason in found.reasons[0]} == {float}


def test_blocks_with_different_notices_are_refused(fitted: Fit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hourglass.core.fitted.MOST_ROWS", 1)
    towns = [Frame(pa.table({"amount": [30.0], "weight": [10.0], "town": [town]})) for town in ("Oslo", "Rome")]
    with pytest.raises(DataError, match="different notices"):
        fitted("shop").detect_blocks(towns)
    with pytest.raises(DataError):
        fitted("shop").detect_blocks([])


def test_many_rows_are_explained_as_each_alone(fitted: Fit, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hourglass.core.fitted._EXPLAINED", 7)
    model = fitted("shop", "masked-cell")
    samples = model.format.pack(make("shop", 20, 1)).samples
    assert model.explain(samples) == [model.explain(sample[None])[0] for sample in samples]


# Steps of a series


def hourly(days: int, skip: tuple[int, ...] = ()) -> Frame:
    hours = np.setdiff1d(np.arange(24 * days), skip)
    value = np.sin(hours * 2 * np.pi / 24) + 0.05 * np.random.default_rng(0).normal(size=len(hours))
    times = [dt.datetime(2024, 5, 1) + dt.timedelta(hours=int(hour)) for hour in hours]
    return Frame(pa.table({"time": times, "load": value}))


@pytest.fixture(scope="module")
def days() -> FittedModel:
    plan = experiment("series", "plain").replace(training=Training(epochs=30), detection=Detection(0.1))
    return fit_model(hourly(30), plan)


def test_every_row_of_a_series_has_a_score_and_steps_in_no_window_say_so(days: FittedModel) -> None:
    data = hourly(21, skip=tuple(range(24 * 4 + 6, 24 * 4 + 12)))  # a gap too long to bridge, on the fifth day
    found = days.detect(data)
    day = np.array([time.day for time in data.table["time"].to_pylist()])
    assert len(found.rows.score) == data.table.num_rows
    assert np.isfinite(found.rows.score).all()
    np.testing.assert_array_equal(found.rows.covered, day != 5)
    assert not found.is_anomaly[day == 5].any()
    assert found.rows.index.to_pylist() == data.table["time"].to_pylist()
    assert len(found.samples) == 20


def test_rows_of_a_series_may_come_in_any_order(days: FittedModel) -> None:
    data = hourly(21)
    order = np.random.default_rng(1).permutation(data.table.num_rows)
    shuffled = days.detect(Frame(data.table.take(pa.array(order))))
    np.testing.assert_allclose(shuffled.rows.score, days.detect(data).rows.score[order])


def test_an_odd_day_is_found_and_only_that(days: FittedModel) -> None:
    data = hourly(21)
    value = data.table["load"].to_numpy().copy()
    value[24 * 9 : 24 * 10] = np.resize([-1.0, 1.0], 24)
    found = days.detect(Frame(data.table.set_column(1, "load", pa.array(value))), rate=0.05)
    np.testing.assert_array_equal(np.flatnonzero(found.is_anomaly) // 24, 9)
    assert found.is_anomaly.sum() == 24


def test_whole_days_decoded_lie_end_to_end(days: FittedModel) -> None:
    data = hourly(15)
    windows = days.decode(days.encode(data))
    assert windows.shape == (15, 24, 1)
    np.testing.assert_allclose(windows.ravel(), days.reconstruct(data)["load"].to_numpy())


def test_many_series_cut_into_windows_give_a_score_for_each_step() -> None:
    x = np.sin(np.arange(4 * 60) / 3).reshape(4, 60, 1)
    plan = experiment("series", "plain").replace(training=Training(epochs=3))
    model = fit_model(x, plan.replace(format=plan.format.replace(window="12")), calibrate=False)
    assert model.detect(x).rows.score.shape == (240,)
    assert model.reconstruct(x).shape == x.shape


# Without scikit-learn

SERVE = """
import sys
import numpy as np
from hourglass import load_model

model = load_model(sys.argv[1])
x = np.random.default_rng(0).normal(size=(20, 6))
found = model.detect(x, reasons="all")
assert np.isfinite(found.rows.score).all() and len(found.reasons) == 20
assert model.decode(model.encode(x)).shape == x.shape
print([name for name in ("sklearn", "polars", "plotly") if name in sys.modules])
"""


def test_a_saved_model_serves_without_scikit_learn(fitted: Fit, tmp_path: Path) -> None:
    path = save_model(fitted("plane", "masked-cell"), tmp_path / "model.safetensors")
    done = subprocess.run(
        [sys.executable, "-c", SERVE, str(path)],
        env=os.environ | {"PYTHONPATH": "src"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == "[]", done.stderr
