"""`ImageAutoencoder` with pictures in every form that people have them in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import hourglass
from hourglass import AnomalyDetector, ImageAutoencoder, SeriesAutoencoder, TableAutoencoder
from hourglass.data.files import read
from hourglass.data.samples import Pictures
from hourglass.errors import DataError, SchemaError, UsageError


def stripes(count: int, side: int = 8, seed: int = 0) -> np.ndarray:
    """Grey pictures of one wave each, of two directions: four numbers describe one."""
    random = np.random.default_rng(seed)
    phase, across = random.uniform(0, 2 * np.pi, (count, 1, 1)), random.random((count, 1, 1)) < 0.5
    row, column = np.mgrid[:side, :side]
    angle = np.where(across, row, column) * 2 * np.pi / side
    return np.rint(127.5 + 120 * np.sin(angle + phase)).astype(np.uint8)


@pytest.fixture(scope="module")
def fitted() -> ImageAutoencoder:
    return ImageAutoencoder(latent=4, kind="plain", epochs=60, learning_rate=0.02).fit(stripes(200))


def test_four_numbers_are_enough_for_waves(fitted: ImageAutoencoder) -> None:
    """The waves span a space of four dimensions and a constant, so that a linear code of four numbers can hold them."""
    new = stripes(50, seed=1)
    result = fitted.reconstruct(new)
    assert result.shape == new.shape
    assert np.mean((result - new) ** 2) < 0.1 * new.var()


def test_each_form_gets_its_own_back(fitted: ImageAutoencoder) -> None:
    x = stripes(6, seed=2)
    wanted = fitted.reconstruct(x)
    np.testing.assert_allclose(fitted.reconstruct(x[..., None])[..., 0], wanted)
    np.testing.assert_allclose(fitted.reconstruct(x.tolist()), wanted)
    listed = fitted.reconstruct(list(x))
    assert isinstance(listed, list)
    np.testing.assert_array_equal(np.stack(listed), np.rint(np.clip(wanted, 0, 255)))
    drawn = fitted.reconstruct([Image.fromarray(each) for each in x])
    np.testing.assert_array_equal(np.stack(drawn), np.stack(listed))
    assert fitted.reconstruct(x.astype(np.float32)).dtype == np.float32
    assert fitted.transform(x).shape == (6, 4)
    assert fitted.inverse_transform(fitted.transform(x)).shape == x.shape


def test_pictures_of_files_go_in_and_come_out(fitted: ImageAutoencoder, tmp_path: Path) -> None:
    for place, each in enumerate(stripes(3, side=12)):
        Image.fromarray(each).save(tmp_path / f"{place}.png")
    data = read(tmp_path)
    result = fitted.reconstruct(data)
    assert isinstance(result, Pictures)
    assert [each.shape for each in result.arrays] == [(12, 12)] * 3
    assert result.table.column("name").to_pylist() == ["0.png", "1.png", "2.png"]


def test_a_frame_of_pixels_goes_in_and_comes_out() -> None:
    frame = pd.DataFrame(stripes(40).reshape(40, -1), columns=[f"p{place}" for place in range(64)])
    model = ImageAutoencoder(kind="plain", epochs=2).fit(frame)
    assert model.model_.format.layout.shape == (1, 8, 8)
    result = model.reconstruct(frame)
    assert isinstance(result, pd.DataFrame)
    assert result.columns.tolist() == frame.columns.tolist()


def test_short_words_reach_the_format() -> None:
    model = ImageAutoencoder(kind="plain", size=4, epochs=1).fit(stripes(20))
    assert model.model_.format.layout.shape == (1, 4, 4)
    assert model.reconstruct(stripes(3)).shape == (3, 8, 8)
    tiled = ImageAutoencoder(kind="plain", tile=4, epochs=1, scaling="standard").fit(stripes(20))
    assert tiled.transform(stripes(3)).shape[0] == 12
    assert tiled.reconstruct(stripes(3)).shape == (3, 8, 8)
    assert tiled.set_params(format__colour="rgb").plan().format.colour == "rgb"


@pytest.mark.parametrize("tile", [None, 4])
def test_a_detector_finds_the_odd_picture_and_survives_a_file(tile: int | None, tmp_path: Path) -> None:
    training = {"epochs": 60, "validation": 0.3, "learning_rate": 0.02}
    autoencoder = ImageAutoencoder(kind="plain", latent=4, tile=tile, training=training)
    detector = AnomalyDetector(autoencoder, 0.05).fit(stripes(200))
    new = stripes(60, seed=3)
    new[7, 3:5, 2:4] = 255 - new[7, 3:5, 2:4]
    new[9] = np.random.default_rng(0).integers(0, 255, (8, 8))
    found = detector.predict(new)
    assert found.shape == (60,)
    assert found[[7, 9]].tolist() == [-1, -1]
    assert (found == -1).sum() <= 12
    again = hourglass.load(detector.save(tmp_path / "m.safetensors"))
    np.testing.assert_array_equal(again.score_samples(new), detector.score_samples(new))
    assert isinstance(again.autoencoder, ImageAutoencoder)
    if tile is None:
        top = {reason.cell for reason in detector.explain(new[7:8], most=1)[0]}
        assert top <= {f"pixel ({row}, {column})" for row in (3, 4) for column in (2, 3)}


@pytest.mark.parametrize(
    ("given", "error", "what"),
    [
        ("pictures/", UsageError, "got the path 'pictures/'"),
        (Path("pictures"), UsageError, "got the path 'pictures'"),
        (np.zeros(8), ValueError, "Reshape your data"),
        (stripes(1), DataError, "got 1 sample"),
        (np.zeros((2, 2, 2, 2, 2)), ValueError, "Found array with dim 5"),
        ([], ValueError, "Expected 2D array"),
    ],
    ids=repr,
)
def test_what_are_no_pictures_is_refused(given: Any, error: type[Exception], what: str) -> None:
    with pytest.raises(error, match=what):
        ImageAutoencoder(epochs=1).fit(given)


@pytest.mark.parametrize("other", [TableAutoencoder(epochs=1), SeriesAutoencoder(epochs=1)], ids=repr)
def test_pictures_are_no_rows_and_no_series(other: Any, tmp_path: Path) -> None:
    Image.fromarray(stripes(1)[0]).save(tmp_path / "a.png")
    with pytest.raises((SchemaError, DataError, UsageError), match="got pictures"):
        other.fit(read(tmp_path))
