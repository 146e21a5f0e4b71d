"""Every kind of autoencoder on every form of data: each verb gives finite results of the right shape, and so it does
once saved."""

import datetime as dt
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from hourglass import FittedModel, load_model
from hourglass.core.checkpoints import save_model
from hourglass.core.fitting import fit_model
from hourglass.core.kinds import KINDS, experiment
from hourglass.data.formats import Data, FormatSettings
from hourglass.data.samples import Frame
from hourglass.errors import UsageError
from hourglass.settings import Training

ROWS = 90


def table_with_missing() -> np.ndarray:
    random = np.random.default_rng(0)
    x = random.normal(size=(ROWS, 2)) @ random.normal(size=(2, 6))
    return np.where(random.random(x.shape) < 0.1, np.nan, x)


def mixed_table() -> Frame:
    random = np.random.default_rng(1)
    size = random.gamma(4, 10, ROWS)
    columns = {
        "amount": pa.array(size * 3, mask=random.random(ROWS) < 0.1),
        "weight": size + random.normal(size=ROWS),
        "paid": size > 35,
        "town": np.array(["Ghent", "Oslo", "Turin"])[np.digitize(size, [25, 45])],
        "opened": [dt.date(2024, 1, 1) + dt.timedelta(days=int(days)) for days in size],
    }
    return Frame(pa.table(columns))


def one_channel() -> np.ndarray:
    return np.sin(np.arange(ROWS * 5) / 3) + np.random.default_rng(2).normal(scale=0.1, size=ROWS * 5)


def channels_with_times() -> Frame:
    hours = np.arange(24 * 15)
    noise = np.random.default_rng(3).normal(scale=0.1, size=(2, len(hours)))
    times = [dt.datetime(2024, 3, 1) + dt.timedelta(hours=int(hour)) for hour in hours]
    angle = hours * 2 * np.pi / 24
    return Frame(pa.table({"time": times, "load": np.sin(angle) + noise[0], "heat": np.cos(angle) + noise[1]}))


def windows_as_rows() -> np.ndarray:
    return one_channel()[: 45 * 10].reshape(45, 10)


def pictures() -> np.ndarray:
    """A bright disc somewhere on a dark ground, as bytes."""
    row, column = np.random.default_rng(4).uniform(2, 6, size=(2, 45, 1, 1))
    distance = np.hypot(np.arange(9)[:, None] - row, np.arange(8) - column)
    return np.clip(255 * (3 - distance), 0, 255).astype(np.uint8)


def recordings() -> np.ndarray:
    """Short beeps of any pitch, with an offset."""
    pitch, phase = np.random.default_rng(5).uniform(0.2, 2, size=(2, 14, 1))
    return 0.1 + np.sin(pitch * np.arange(60) + phase)


SOUND = {"rate": 8_000, "fft": 32, "bins": 16, "frames": 32}
DATA: dict[str, tuple[str, Data]] = {
    "table with missing": ("table", table_with_missing()),
    "mixed table": ("table", mixed_table()),
    "one channel": ("series", one_channel()),
    "channels with times": ("series", channels_with_times()),
    "windows as rows": ("series", windows_as_rows()),
    "pictures": ("image", pictures()),
    "recordings": ("audio", recordings()),
}
Fitted = tuple[FittedModel, Data]
DIMENSIONS = {"table": 1, "series": 2, "image": 3, "audio": 3}
"""Of a packed sample: what a network can take goes by them."""


def takes(kind: str, name: str) -> bool:
    """Whether the kind's network can take the data called `name`."""
    modality = DATA[name][0]
    return DIMENSIONS[modality] in experiment(modality, kind).network.takes


def is_for(kind: str, name: str) -> bool:
    """Whether the kind is for the modality of the data called `name`, as one that names its format is for one alone."""
    return KINDS[kind].get("format", FormatSettings()).name in ("", DATA[name][0])


PAIRS = [(kind, name) for name in DATA for kind in KINDS if is_for(kind, name)]


@pytest.mark.parametrize(("kind", "name"), [pair for pair in PAIRS if not takes(*pair)])
def test_data_that_a_network_cannot_take_are_refused_by_name(kind: str, name: str) -> None:
    modality, data = DATA[name]
    plan = experiment(modality, kind)
    with pytest.raises(UsageError, match=f"{plan.network.name}.*takes.*the data are.*{modality}"):
        fit_model(data, plan, calibrate=False)


@pytest.fixture(scope="module", params=[pair for pair in PAIRS if takes(*pair)], ids=" on ".join)
def fitted(request: pytest.FixtureRequest) -> Fitted:
    kind, name = request.param
    modality, data = DATA[name]
    plan = experiment(modality, kind).replace(training=Training(epochs=3, batch_size=16))
    if modality == "audio":
        plan = plan.replace(format=plan.format.replace(**SOUND))
    return fit_model(data, plan, calibrate=False), data


def rows_of(data: Data) -> int:
    return len(data) if isinstance(data, np.ndarray) else data.table.num_rows


def test_codes_are_finite_and_come_back_as_samples(fitted: Fitted) -> None:
    model, data = fitted
    samples = model.format.pack(data).samples
    codes = model.encode(data)
    assert codes.shape == (len(samples), model.latent_size)
    assert codes.dtype == np.float32
    assert np.isfinite(codes).all()
    if model.network.has_skips:
        with pytest.raises(UsageError, match="makes nothing of a code alone"):
            model.decode(codes)
    else:
        assert len(model.decode(codes)) == len(samples)


def test_the_reconstruction_has_the_form_of_the_data_and_no_holes(fitted: Fitted) -> None:
    model, data = fitted
    result = model.reconstruct(data)
    if isinstance(data, np.ndarray):
        assert result.shape == data.shape
        assert np.isfinite(result).all()
    else:
        assert set(result.column_names) == set(data.table.column_names)
        assert result.num_rows == data.table.num_rows
        assert not any(column.null_count for column in result.columns)


def test_every_row_gets_a_score_a_p_value_and_every_sample_its_reasons(fitted: Fitted) -> None:
    model, data = fitted
    found = model.detect(data, rate=0.2, reasons="all")
    assert found.rows.score.shape == found.p_value.shape == found.is_anomaly.shape == (rows_of(data),)
    assert np.isfinite(found.rows.score).all()
    assert ((found.p_value > 0) & (found.p_value <= 1)).all()
    names = model.format.cell_names()
    for reasons in model.explain(model.format.pack(data).samples[:20]):
        assert {reason.cell for reason in reasons} <= set(names)
        assert all(0 <= reason.share <= 1 and reason.expected is not None for reason in reasons)
        assert sum(reason.share for reason in reasons) <= 1 + 1e-6


def test_new_samples_and_ways_between_old_ones_have_the_form_of_the_data(fitted: Fitted) -> None:
    model, data = fitted
    if model.network.has_skips:
        for verb in (lambda: model.generate(3), lambda: model.interpolate(data), model.latent_plane):
            with pytest.raises(UsageError, match="makes nothing of a code alone"):
                verb()
        return
    way = model.interpolate(data, steps=2)
    for made, count in ((model.generate(12, seed=1), 12), (way, 2 * len(model.encode(data)) - 2)):
        assert len(made) == count
        if isinstance(made, pa.Table):
            assert not any(column.null_count for column in made.columns)
        else:
            assert np.isfinite(made).all()


def test_a_saved_model_gives_the_same_bits(fitted: Fitted, tmp_path: Path) -> None:
    model, data = fitted
    loaded = load_model(save_model(model, tmp_path / "model.safetensors"))
    before, after = model.detect(data, reasons="all"), loaded.detect(data, reasons="all")
    np.testing.assert_array_equal(after.rows.score, before.rows.score)
    np.testing.assert_array_equal(after.p_value, before.p_value)
    assert after.threshold == before.threshold
    assert repr(after.reasons) == repr(before.reasons)
    np.testing.assert_array_equal(loaded.encode(data), model.encode(data))
    same = loaded.reconstruct(data), model.reconstruct(data)
    assert same[0].equals(same[1]) if isinstance(same[0], pa.Table) else np.array_equal(*same)
    assert loaded.experiment == model.experiment
    assert loaded.history == model.history
    if model.network.has_skips:
        return
    made = loaded.generate(9, seed=2), model.generate(9, seed=2)
    assert made[0].equals(made[1]) if isinstance(made[0], pa.Table) else np.array_equal(*made)
