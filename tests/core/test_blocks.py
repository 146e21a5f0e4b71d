"""Windows that share steps calibrate as blocks: what a fit makes of it, and what a file keeps."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hourglass.core.checkpoints import load_model, save_model
from hourglass.core.fitted import OUT_OF_FOLD, FittedModel
from hourglass.data.formats import Data

Fit = Callable[..., FittedModel]
Make = Callable[..., Data]


def test_a_block_is_the_windows_that_share_steps_with_one(fitted: Fit, make: Make) -> None:
    model = fitted("tide", calibrate=True)
    starts = model.format.pack(make("tide", 80)).places.starts
    sharing = max(np.sum((starts > start - model.format.layout.shape[0]) & (starts <= start)) for start in starts)
    assert model.calibration.block == sharing > 1
    assert fitted("plane", calibrate=True).calibration.block == fitted("beats", calibrate=True).calibration.block == 1


def test_a_fit_scores_out_of_fold_where_blocks_are_too_few_for_the_rate(fitted: Fit) -> None:
    """Of 61 windows, 6 in a row share steps: 12 are held out, and one alarm in a hundred needs 594."""
    assert fitted("tide", calibrate=True).calibration.source == OUT_OF_FOLD
    assert "blocks of 6" in fitted("tide", calibrate=True).threshold(0.01).notice


def test_p_values_and_thresholds_of_a_loaded_model_are_those_of_the_saved_one(
    fitted: Fit, make: Make, tmp_path: Path
) -> None:
    model = fitted("tide", calibrate=True)
    loaded = load_model(save_model(model, tmp_path / "tide"))
    assert loaded.calibration.block == model.calibration.block
    new = model.detect(make("tide", 50, 1), rate=0.2)
    known, block = model.calibration.scores, model.calibration.block
    at_least = (known[None] >= new.rows.score[:, None]).sum(axis=1)
    np.testing.assert_allclose(new.p_value, (block + at_least) / (len(known) + block))
    np.testing.assert_array_equal(loaded.detect(make("tide", 50, 1), rate=0.2).p_value, new.p_value)
    assert loaded.threshold(0.2) == model.threshold(0.2)


@pytest.mark.parametrize("rate", [0.05, 0.2])
def test_rows_of_the_fit_itself_are_ranked_one_by_one(fitted: Fit, make: Make, rate: float) -> None:
    model, data = fitted("tide", calibrate=True), make("tide", 80)
    alone = dataclasses.replace(model, calibration=dataclasses.replace(model.calibration, block=1))
    wanted, found = alone.detect(data, rate=rate, own=True), model.detect(data, rate=rate, own=True)
    np.testing.assert_array_equal(found.is_anomaly, wanted.is_anomaly)
    np.testing.assert_array_equal(found.p_value, wanted.p_value)
    assert found.is_anomaly.any()
