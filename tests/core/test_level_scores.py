"""The level of windows: its deviation by definition, and the anomalies that reconstruction errors leave out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from hourglass.core.fitting import fit_model
from hourglass.core.kinds import build, experiment
from hourglass.core.level_scores import ShapeAndLevelScorer, _levels
from hourglass.core.model import Autoencoder
from hourglass.data.samples import Layout
from hourglass.data.series import SeriesSettings
from hourglass.errors import UsageError
from hourglass.settings import Detection, Training

LAYOUT = Layout((6, 3))


def network() -> Autoencoder:
    return build(experiment("series", "plain"), LAYOUT)


def windows(count: int, seed: int) -> Tensor:
    x = torch.randn(count, *LAYOUT.shape, generator=torch.Generator().manual_seed(seed)) * 2 + 1
    x[:, :, 2] = 4.0  # a channel that never moves
    return x


def scores(train: Tensor, new: Tensor, model: Autoencoder | None = None) -> np.ndarray:
    model = (model or network()).eval()
    with torch.no_grad():
        return ShapeAndLevelScorer(ShapeAndLevelScorer.learn(model, train, 0))(model, new).numpy()


def error(model: Autoencoder, x: Tensor) -> np.ndarray:
    with torch.no_grad():
        return (x - model.reconstruct(x)).square().mean((1, 2)).numpy()


def limit(values: np.ndarray) -> float:
    return float(np.quantile(values, 0.99, method="inverted_cdf"))


def test_the_score_is_error_and_level_in_units_of_their_limits() -> None:
    model, train, new = network().eval(), windows(200, 0), windows(9, 1)

    def squares(x: Tensor) -> np.ndarray:
        levels = train.double().numpy().mean(axis=1)
        scale = np.maximum(levels.std(axis=0), 0.1)
        return np.square((x.double().numpy().mean(axis=1) - levels.mean(axis=0)) / scale).mean(axis=1)

    assert squares(train).mean() == pytest.approx(2 / 3)  # of three channels, two move
    wanted = error(model, new) / limit(error(model, train)) + squares(new) / limit(squares(train))
    np.testing.assert_allclose(scores(train, new, model), wanted, rtol=1e-4)


def test_a_channel_that_never_moved_does_not_decide_by_rounding() -> None:
    new = windows(5, 1)
    moved = new.clone()
    moved[:, :, 2] += 1e-4
    model = network()
    at_rest = scores(windows(200, 0), new, model)
    np.testing.assert_allclose(scores(windows(200, 0), moved, model), at_rest, rtol=1e-3)


def test_levels_that_all_never_moved_are_no_division_by_nothing() -> None:
    train = windows(100, 0)
    train -= train.mean(dim=1, keepdim=True)
    model = network()
    wanted = error(model, train) / limit(error(model, train))
    np.testing.assert_allclose(scores(train, train, model), wanted, rtol=1e-3)


def test_missing_steps_have_no_part_in_a_level_and_missing_channels_none_in_the_score() -> None:
    whole = windows(4, 1)
    half = whole.clone()
    half[:, 3:] = torch.nan
    levels, known = _levels(half)
    np.testing.assert_allclose(levels, whole[:, :3].mean(1), rtol=1e-6)
    assert known.all()
    half[:, :, 1] = torch.nan
    assert _levels(half)[1].tolist() == [[1.0, 0.0, 1.0]] * 4
    assert np.isfinite(scores(half, half)).all()


def test_windows_of_usual_shape_at_another_level_are_the_oddest() -> None:
    train, new = windows(200, 0), windows(20, 1)
    new[7] += torch.tensor([3.0, 0.0, 0.0])
    assert scores(train, new).argmax() == 7


def test_a_pictures_level_is_its_brightness() -> None:
    x = windows(5, 0)
    pictures = x.transpose(1, 2).reshape(5, 3, 2, 3)
    np.testing.assert_allclose(_levels(pictures)[0], _levels(x)[0], rtol=1e-6)


def test_a_series_is_judged_by_shape_and_level() -> None:
    series = np.sin(np.arange(1_500) * np.pi / 6) + 0.1 * np.random.default_rng(0).normal(size=1_500)
    plan = experiment("series", "plain").replace(
        training=Training(epochs=3, batch_size=32, validation=0.3), format=SeriesSettings(window="12", stride=5)
    )
    model = fit_model(series, plan, calibrate=False)
    assert [scorer.name for scorer in model.scorers] == ["shape-and-level"]
    odd = series[:600].copy()
    odd[200:250] += 2.0
    odd[400:450] = -odd[400:450] * 2
    found = model.detect(odd, 0.1).is_anomaly
    assert found[205:245].all()
    assert found[405:445].all()
    assert found[np.r_[:180, 270:380, 470:600]].mean() < 0.2


def test_rows_of_a_table_have_no_level() -> None:
    plan = experiment("table", "denoising").replace(detection=Detection(scorers=("shape-and-level",)))
    with pytest.raises(UsageError, match=r"detection\.scorers.*'shape-and-level'"):
        build(plan, Layout((4,)))
