"""A fitted model that flags at a false discovery rate, and that tells of rows unlike those that calibrated it."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest

from hourglass.core import fitted as module
from hourglass.core.fitted import OUT_OF_FOLD, TRAINING, Calibration, FittedModel
from hourglass.data.formats import Data
from hourglass.data.samples import Frame
from hourglass.errors import UsageError

Fit = Callable[..., FittedModel]
Make = Callable[..., Data]


@pytest.fixture(scope="module")
def model(fitted: Fit, make: Make) -> FittedModel:
    """Calibrated on 400 rows that are like new ones."""
    found = fitted("plane")
    known = found.detect(make("plane", 400, 5), reasons="none").rows.score
    return dataclasses.replace(found, calibration=Calibration(known, "held-out rows"))


@pytest.fixture(scope="module")
def mixed(make: Make) -> np.ndarray:
    """200 rows, of which the last 20 are odd."""
    rows = np.array(make("plane", 200, 1))
    rows[180:] += 8 * np.random.default_rng(2).normal(size=(20, 6))
    return rows


def test_a_false_discovery_rate_flags_by_all_p_values_at_once(model: FittedModel, mixed: np.ndarray) -> None:
    found = model.detect(mixed, false_discovery_rate=0.1)
    p_values = np.sort(found.p_value)
    most = np.flatnonzero(p_values <= 0.1 * np.arange(1, 201) / 200 + 1e-12).max() + 1
    assert found.is_anomaly.sum() == most >= 10
    np.testing.assert_array_equal(found.is_anomaly, found.p_value <= p_values[most - 1])
    np.testing.assert_array_equal(found.is_anomaly, found.rows.score > found.threshold.value)
    assert set(found.reasons) == set(np.flatnonzero(found.is_anomaly).tolist())
    assert not model.detect(mixed[:100], false_discovery_rate=0.1).is_anomaly.any()


def test_blocks_are_judged_as_the_whole_table_is(
    model: FittedModel, mixed: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_ROWS", 64)
    frame = Frame(pa.table({f"x{place}": column for place, column in enumerate(mixed.T)}))
    named = dataclasses.replace(model, format=model.experiment.format.fit(frame))
    blocks = [dataclasses.replace(frame, table=frame.table.slice(start, 80)) for start in (0, 80, 160)]
    whole, parts = (
        named.detect(frame, false_discovery_rate=0.2),
        named.detect_blocks(blocks, false_discovery_rate=0.2),
    )
    assert 0 < whole.is_anomaly.sum() < 200
    np.testing.assert_array_equal(parts.is_anomaly, whole.is_anomaly)
    assert parts.reasons.keys() == whole.reasons.keys()
    assert {row: told[0].cell for row, told in parts.reasons.items()} == {
        row: told[0].cell for row, told in whole.reasons.items()
    }
    assert parts.threshold == whole.threshold


def test_rows_of_the_calibration_are_ranked_among_the_others(fitted: Fit, make: Make) -> None:
    model = fitted("plane", "plain", calibrate=True)
    assert model.calibration.source == OUT_OF_FOLD
    found = model.detect(make("plane", 80), own=True, false_discovery_rate=0.5)
    np.testing.assert_array_equal(found.is_anomaly, found.p_value <= found.threshold.reachable_rate + 1e-9)


@pytest.mark.parametrize("other", [{"rate": 0.1}, {"rule": "mad"}])
def test_a_false_discovery_rate_stands_alone(model: FittedModel, mixed: np.ndarray, other: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="false_discovery_rate: it sets the threshold by itself"):
        model.detect(mixed, false_discovery_rate=0.1, **other)
    with pytest.raises(UsageError, match="false_discovery_rate: got 1"):
        model.detect(mixed, false_discovery_rate=1.0)


def test_rows_unlike_those_of_the_calibration_are_told(model: FittedModel, mixed: np.ndarray, make: Make) -> None:
    noisy = 2 * np.array(make("plane", 300, 3))
    assert "differ from those that set the threshold" in model.detect(noisy, reasons="none").drift
    assert not model.detect(mixed, reasons="none").drift
    assert not model.detect(noisy[:199], reasons="none").drift  # too few to say
    untold = dataclasses.replace(model, calibration=Calibration(model.calibration.scores, TRAINING))
    assert not untold.detect(noisy, reasons="none").drift  # scores of training rows are too low for it


def test_a_series_is_compared_window_by_window(fitted: Fit, make: Make) -> None:
    model, tide = fitted("tide", "plain", calibrate=True), np.array(make("tide", 300, 1))
    assert not model.detect(tide, reasons="none").drift
    noise = np.random.default_rng(0).normal(size=len(tide))
    assert model.detect(tide + 2 * noise, reasons="none").drift
