"""One row at a time: the verdicts are those of all rows at once, of a series those of the window that ends there."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from hourglass import AnomalyDetector, ImageAutoencoder, SeriesAutoencoder, TableAutoencoder
from hourglass.core.watching import Watch
from hourglass.errors import DataError, HourglassError, SchemaError, TimeError, UsageError

QUICK = {"kind": "plain", "epochs": 3}
WINDOW = 8


def shop(rows: int, seed: int) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    size = random.normal(size=rows)
    return pd.DataFrame(
        {
            "price": 10 + size,
            "weight": 3 * size + random.normal(scale=0.1, size=rows),
            "kind": np.where(size > 0, "large", "small"),
            "paid": size > 1,
        }
    )


def waves(steps: int) -> np.ndarray:
    phase = np.arange(steps)[:, None] * 2 * np.pi / 12 + [0, 1]
    return np.sin(phase) + np.random.default_rng(0).normal(scale=0.1, size=(steps, 2))


def timed(numbers: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame({"time": pd.date_range("2024-01-01", periods=len(numbers), freq="h"), **frame(numbers)})


def frame(numbers: np.ndarray) -> dict[str, np.ndarray]:
    return dict(zip(["left", "right"], numbers.T, strict=True))


@pytest.fixture(scope="module")
def table() -> AnomalyDetector:
    return AnomalyDetector(TableAutoencoder(**QUICK), 0.1).fit(shop(300, 0))


@pytest.fixture(scope="module")
def series() -> AnomalyDetector:
    autoencoder = SeriesAutoencoder(**QUICK, window=str(WINDOW)).set_params(format__stride=3)
    return AnomalyDetector(autoencoder, 0.1).fit(timed(waves(400)))


def test_a_row_of_a_table_is_judged_as_among_all(table: AnomalyDetector) -> None:
    rows = shop(40, 1)
    rows.loc[5, "weight"], rows.loc[6, "kind"], rows.loc[7, "price"] = 50.0, None, np.nan
    stream = table.stream()
    found = [stream.score_one(row) for row in rows.to_dict("records")]
    np.testing.assert_allclose([verdict.anomaly_score for verdict in found], -table.score_samples(rows), rtol=1e-6)
    np.testing.assert_allclose([verdict.p_value for verdict in found], table.p_values(rows))
    np.testing.assert_array_equal([verdict.is_anomaly for verdict in found], table.predict(rows) == -1)
    assert found[5].is_anomaly


def test_a_row_may_be_a_pandas_series_or_plain_numbers() -> None:
    numbers = np.random.default_rng(0).normal(size=(100, 3))
    detector = AnomalyDetector(TableAutoencoder(**QUICK), 0.1).fit(numbers)
    wanted = -detector.score_samples(numbers[:1])[0]
    stream = detector.stream()
    for row in (numbers[0], numbers[0].tolist(), pd.Series(numbers[0], ["x0", "x1", "x2"])):
        assert stream.score_one(row).anomaly_score == pytest.approx(wanted, rel=1e-6)


def test_a_step_of_a_series_is_judged_by_the_window_that_ends_there(series: AnomalyDetector) -> None:
    later = timed(waves(500)).iloc[400:430]
    stream = series.stream()
    found = [stream.score_one(row) for row in later.to_dict("records")]
    assert found[: WINDOW - 1] == [(None, None, False)] * (WINDOW - 1)
    for row in (WINDOW - 1, 12, 29):
        window = later.iloc[row + 1 - WINDOW : row + 1]
        alone = series.detect(window)
        assert found[row].anomaly_score == pytest.approx(alone.samples[0], rel=1e-6)
        assert found[row].p_value == series.model_.p_values(alone.samples)[0]
        assert found[row].is_anomaly == (alone.samples[0] > -series.offset_)


@pytest.mark.parametrize("adapt", [False, True])
def test_rows_in_blocks_are_judged_as_one_by_one(series: AnomalyDetector, adapt: bool) -> None:
    numbers = waves(200) * np.linspace(1, 1.5, 200)[:, None]
    one_by_one, blocks = series.stream(adapt), Watch(series.model_, adapt=adapt)
    found = [one_by_one.score_one(row) for row in numbers]
    seen = [blocks.see(numbers[start : start + 70]) for start in range(0, 200, 70)]
    judged = found[WINDOW - 1 :]
    np.testing.assert_array_equal(
        np.concatenate([each.score for each in seen]), [verdict.anomaly_score for verdict in judged]
    )
    np.testing.assert_array_equal(
        np.concatenate([each.p_value for each in seen]), [verdict.p_value for verdict in judged]
    )
    np.testing.assert_array_equal(
        np.concatenate([each.is_anomaly for each in seen]), [verdict.is_anomaly for verdict in judged]
    )


def test_about_the_rate_of_normal_steps_is_flagged() -> None:
    """The windows of the fit start 5 steps apart, so at every place of the period of 12; the stream's at every step."""
    numbers = waves(6_000)
    autoencoder = SeriesAutoencoder(kind="plain", epochs=15, window=str(WINDOW)).set_params(format__stride=5)
    detector = AnomalyDetector(autoencoder, 0.1).fit(numbers[:4_000, 0])
    seen = Watch(detector.model_).see(numbers[4_000:, 0])
    assert len(seen.rows) == 2_000 - WINDOW + 1
    assert 0.02 < seen.is_anomaly.mean() < 0.15


def test_no_window_reaches_over_a_gap(series: AnomalyDetector) -> None:
    rows = timed(waves(40)).to_dict("records")
    stream = series.stream()
    found = [stream.score_one(row) for row in [*rows[:20], *rows[30:]]]
    assert [verdict.anomaly_score is None for verdict in found] == [
        *([True] * (WINDOW - 1) + [False] * (21 - WINDOW)),
        *([True] * (WINDOW - 1) + [False] * (11 - WINDOW)),
    ]


@pytest.mark.parametrize(
    ("row", "error", "complaint"),
    [
        ({"left": 1.0}, SchemaError, "right"),
        ({"left": 1.0, "right": np.inf}, DataError, "infinity"),
        ({"left": 1.0, "right": "much"}, SchemaError, "wanted numbers"),
        ({"time": "2023-01-01", "left": 1.0, "right": 1.0}, TimeError, "wanted a later time"),
        ({"left": 1.0, "right": object()}, DataError, "no column can"),
        ([1.0, 2.0, 3.0], SchemaError, "3 channels"),
    ],
)
def test_a_row_that_cannot_be_is_refused_and_the_stream_goes_on(
    series: AnomalyDetector, row: object, error: type[HourglassError], complaint: str
) -> None:
    rows = timed(waves(12)).to_dict("records")
    disturbed, calm = series.stream(), series.stream()
    for each in rows[:10]:
        assert disturbed.score_one(each) == calm.score_one(each)
    with pytest.raises(error, match=complaint):
        disturbed.score_one(row)
    for each in rows[10:]:
        assert disturbed.score_one(each) == calm.score_one(each)


def test_streams_are_apart(series: AnomalyDetector) -> None:
    first, second = series.stream(), series.stream()
    for number in waves(WINDOW):
        assert first.score_one(number) == second.score_one(number)


def test_pictures_do_not_come_in_rows() -> None:
    pictures = np.random.default_rng(0).uniform(size=(30, 8, 8))
    detector = AnomalyDetector(ImageAutoencoder(kind="plain", epochs=1), 0.2).fit(pictures)
    with pytest.raises(UsageError, match="modality image"):
        detector.stream()
