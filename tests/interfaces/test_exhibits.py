"""What a report shows of pictures, and anomaly maps as files, on pictures with one odd spot."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from torch import nn

from hourglass.core.kinds import build, experiment
from hourglass.data.formats import Data
from hourglass.data.samples import Layout, Pictures
from hourglass.errors import DataError, UsageError
from hourglass.estimators.anomaly import AnomalyDetector
from hourglass.estimators.modalities import ImageAutoencoder, TableAutoencoder
from hourglass.interfaces import operations
from hourglass.interfaces.cli import run
from hourglass.interfaces.drawing import coloured, sheet, thumbnail, with_heat
from hourglass.interfaces.exhibits import first_weights, units_words
from hourglass.interfaces.gallery import Gallery
from hourglass.interfaces.options import Detect, Fit
from hourglass.interfaces.page import Part, Picture, Section, Table, Text, render
from hourglass.interfaces.pictures import write_pictures
from hourglass.interfaces.report import build_section, subject_of
from hourglass.interfaces.subject import Subject

ODD, SPOT = 23, (slice(2, 5), slice(9, 12))


def ramps(count: int = 40, height: int = 16, width: int = 16) -> Pictures:
    """Ramps of different light in two folders; number 23 has a black spot at rows 2 to 4, columns 9 to 11."""
    light = np.linspace(60, 120, count).astype(np.uint8)
    ramp = np.linspace(0, 120, width).astype(np.uint8)
    arrays = [np.repeat((ramp + each)[None], height, axis=0) for each in light]
    arrays[ODD][SPOT] = 0
    names = [f"{'left' if i % 2 else 'right'}/{i:02d}.png" for i in range(count)]
    table = pa.table({"name": names, "folder": [name.split("/")[0] for name in names]})
    return Pictures(arrays, table, "ramps")


def subject(data: Data, **options: Any) -> Subject:
    estimator = ImageAutoencoder(kind="plain", latent=2, epochs=40, learning_rate=0.01).set_params(**options)
    model = AnomalyDetector(estimator, 0.1).fit(data).model_
    return subject_of(model, data, model.detect(data, reasons="none"))


@pytest.fixture(scope="module")
def whole() -> Subject:
    return subject(ramps())


@pytest.fixture(scope="module")
def tiled() -> Subject:
    return subject(ramps(height=20, width=24), format__tile=12)


def gallery_of(subject: Subject) -> Gallery:
    gallery = Gallery.of(subject.model, subject.packed)
    assert gallery is not None
    return gallery


def blocks(section: Section, title: str, kind: type) -> list[Any]:
    (part,) = (each for each in section.parts if each.title == title)
    return [block for block in part.blocks if isinstance(block, kind)]


def test_the_error_map_is_largest_on_the_spot(whole: Subject, tiled: Subject) -> None:
    for each in (whole, tiled):
        errors = gallery_of(each).errors(ODD)
        assert errors.shape == each.packed.places.origin.sizes[ODD]
        row, column = np.unravel_index(np.argmax(errors), errors.shape)
        assert SPOT[0].start <= row < SPOT[0].stop
        assert SPOT[1].start <= column < SPOT[1].stop
        elsewhere = errors.copy()
        elsewhere[SPOT] = 0
        assert errors[SPOT].mean() > 10 * elsewhere.mean()


def test_pictures_are_shown_as_they_were_given(whole: Subject, tiled: Subject) -> None:
    for each in (whole, tiled):
        shown = gallery_of(each).given(ODD)
        assert isinstance(each.data, Pictures)
        expected = np.repeat(each.data.arrays[ODD][..., None], 3, axis=2) / 255
        low, high = each.images.span if each.images else (0, 1)
        assert shown == pytest.approx((255 * expected - low) / (high - low), abs=1e-3)


def test_the_headline_names_the_odd_picture_and_gives_no_pixels(whole: Subject, tiled: Subject) -> None:
    for each in (whole, tiled):
        section = build_section("Ramps", each)
        assert "of 40 pictures look" in section.headline
        assert "The oddest is left/23.png" in section.headline
        assert "pixel" not in section.headline
        table = blocks(section, "What was found", Table)[0]
        assert table.header == ["picture", "score", "p-value", "flagged"]
        assert table.rows[0][0] == "left/23.png"
        assert table.rows[0][3] == "yes"
        assert "Why" not in [part.title for part in section.parts]
        assert "left/23.png" in render("Ramps", [section])


def test_two_rows_of_ten_and_three_rows_of_the_oddest_are_drawn(whole: Subject) -> None:
    section = build_section("Ramps", whole)
    given = Image.open(io.BytesIO(blocks(section, "Given and given back", Picture)[0].png))
    assert given.size == (10 * 84 + 9 * 4, 2 * 84 + 4)
    odd = blocks(section, "The oddest pictures", Picture)[0]
    assert Image.open(io.BytesIO(odd.png)).size == (8 * 112 + 7 * 4, 3 * 112 + 2 * 4)
    assert "left/23.png (" in odd.caption


def test_the_profile_counts_sizes_and_folders() -> None:
    data = ramps()
    arrays = [*data.arrays[:-1], np.zeros((4, 6, 3), np.uint16)]
    section = build_section("Ramps", subject(Pictures(arrays, data.table), epochs=2))
    words = blocks(section, "The data", Text)[0].words
    assert words.startswith("40 pictures: 16 x 16 (39), 4 x 6 (1); grey (39), colour (1); 8 bits (39), 16 bits (1).")
    rows = {row[0]: row[1] for row in blocks(section, "The data", Table)[0].rows}
    assert rows == {"left": "20", "right": "20"}


def test_tiles_are_told_from_pictures(tiled: Subject) -> None:
    assert (tiled.noun, tiled.judged_noun) == ("tile", "picture")
    words = blocks(build_section("Tiles", tiled), "The data", Text)[0].words
    assert words.endswith("The model sees 12 x 12 pixels, in 160 tiles.")


@pytest.mark.parametrize("kind", ["plain", "deep", "masked-cell", "convolutional"])
@pytest.mark.parametrize("channels", [1, 3])
def test_filters_are_the_weights_of_the_first_layer(kind: str, channels: int) -> None:
    layout = Layout((channels, 8, 8))
    encoder = build(experiment("image", kind), layout).encoder
    weights = first_weights(encoder, layout)
    layer = next(module for module in encoder.modules() if isinstance(module, nn.Linear | nn.Conv2d))
    assert weights is not None
    assert weights.shape[1] == channels
    first = layer.weight.detach().numpy().reshape(len(weights), -1)
    assert weights.reshape(len(weights), -1) == pytest.approx(first[:, : weights[0].size])
    assert weights.shape[2:] == ((3, 3) if kind == "convolutional" else (8, 8))


def test_other_networks_have_no_filters_to_show() -> None:
    assert first_weights(nn.Sequential(nn.Linear(7, 2)), Layout((1, 2, 4))) is None
    assert first_weights(nn.Sequential(nn.GRU(8, 2)), Layout((1, 1, 8))) is None
    assert first_weights(nn.Sequential(nn.Linear(4, 2)), Layout((4,))) is None
    assert first_weights(nn.Sequential(nn.ReLU()), Layout((1, 2, 4))) is None


def test_filters_are_drawn_where_the_first_layer_sees_pixels(whole: Subject) -> None:
    section = build_section("Ramps", whole)
    (drawn,) = blocks(section, "What the network looks for", Picture)
    assert drawn.caption.startswith("All 2 units of the first layer")


def test_code_numbers_that_never_vary_are_counted() -> None:
    data = np.random.default_rng(0).normal(size=(60, 4))
    model = AnomalyDetector(TableAutoencoder(kind="sparse", latent=8, epochs=1)).fit(data).model_
    assert units_words(subject_of(model, data, model.detect(data))).startswith("0 of 8 code numbers (0 %) never vary")
    plain = AnomalyDetector(TableAutoencoder(kind="plain", latent=2, epochs=1)).fit(data).model_
    found = subject_of(plain, data, plain.detect(data))
    assert units_words(found) == ""
    layer = next(module for module in plain.network.encoder.modules() if isinstance(module, nn.Linear))
    layer.weight.data[1] = 0
    assert units_words(found) == "1 of 2 code numbers (50 %) never varies over these data."


# Drawing


def test_small_pictures_grow_by_whole_factors_and_large_ones_shrink() -> None:
    assert thumbnail(np.zeros((8, 10, 3)), 84).size == (80, 64)
    assert thumbnail(np.zeros((64, 48, 3)), 84).size == (63, 84)
    assert thumbnail(np.zeros((300, 600, 3)), 84).size == (84, 42)
    assert thumbnail(np.zeros((1, 500, 3)), 84).size == (84, 1)


def test_a_sheet_leaves_what_is_not_drawn_transparent() -> None:
    image = np.asarray(Image.open(io.BytesIO(sheet([[np.ones((2, 2, 3))], [np.zeros((1, 2, 3))] * 2], 10))))
    assert image.shape == (24, 24, 4)
    assert (image[:10, :10] == 255).all()
    assert (image[:10, 14:, 3] == 0).all()
    assert image[19, 2].tolist() == [0, 0, 0, 255]


def test_heat_is_clear_without_error_and_red_with_the_largest() -> None:
    drawn = with_heat(np.full((1, 3, 3), 0.5), np.array([[0.0, 1.0, 9.0]]), 1.0)
    assert np.ptp(drawn[0, 0]) < 1e-9
    assert drawn[0, 1, 0] > 3 * drawn[0, 1, 1]
    assert (drawn[0, 2] == drawn[0, 1]).all()
    assert np.isfinite(with_heat(np.ones((1, 1, 3)), np.array([[np.nan]]), 0.0)).all()


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5])
def test_any_number_of_channels_becomes_colours(channels: int) -> None:
    pixels = np.full((2, 2, channels), 10.0)
    pixels[0, 0] = np.nan
    shown = coloured(pixels, 0, 10)
    assert shown.shape == (2, 2, 3)
    assert shown[1, 1] == pytest.approx(1)


# Files


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("maps") / "ramps"
    write_pictures(ramps(), str(place))
    return place


@pytest.fixture(scope="module")
def model(folder: Path) -> str:
    path = str(folder.with_suffix(".safetensors"))
    options: dict[str, Any] = {"epochs": 40, "learning_rate": 0.01, "false_alarm_rate": 0.1}
    operations.fit(Fit(data=str(folder), output=path, kind="plain", latent=2, **options))
    return path


def test_flagged_pictures_get_a_map_each(folder: Path, model: str, tmp_path: Path) -> None:
    maps, scores = tmp_path / "maps", tmp_path / "scores.csv"
    operations.detect(Detect(model=model, data=str(folder), output=str(scores), map=str(maps)))
    with open(scores, newline="") as file:
        flagged = {row["name"] for row in csv.DictReader(file) if row["is_anomaly"] == "true"}
    assert "left/23.png" in flagged
    assert {path.relative_to(maps).as_posix() for path in maps.rglob("*.png")} == flagged
    manifest = json.loads((maps / "_manifest.json").read_text())
    assert {each["name"] for each in manifest["files"]} == flagged
    drawn = np.asarray(Image.open(maps / "left/23.png")).astype(int)
    assert drawn.shape == (16, 16, 3)
    redness = drawn[..., 0] - drawn[..., 2]
    assert redness[SPOT].min() > 60
    assert np.median(redness) < 40


def test_all_pictures_get_a_map_where_reasons_are_asked_for_all(folder: Path, model: str, tmp_path: Path) -> None:
    request = Detect(
        model=model, data=str(folder), output=str(tmp_path / "s.csv"), map=str(tmp_path / "m"), reasons="all"
    )
    operations.detect(request)
    assert len(list((tmp_path / "m").rglob("*.png"))) == 40
    operations.detect(request)  # a folder of ours is replaced


def test_a_folder_that_is_not_ours_is_left_alone(folder: Path, model: str, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    request = Detect(model=model, data=str(folder), output=str(tmp_path.parent / "s.csv"), map=str(tmp_path))
    with pytest.raises(DataError, match=r"mine\.txt"):
        operations.detect(request)
    with pytest.raises(DataError, match="does not exist"):
        operations.detect(Detect(model=model, data=str(folder), map=str(tmp_path / "a" / "b")))


def test_a_table_has_no_maps(tmp_path: Path) -> None:
    data = tmp_path / "table.csv"
    data.write_text("a,b\n" + "\n".join(f"{i},{i % 7}" for i in range(30)))
    operations.fit(Fit(data=str(data), output=str(tmp_path / "m"), kind="plain", epochs=1))
    request = Detect(
        model=str(tmp_path / "m"), data=str(data), output=str(tmp_path / "s.csv"), map=str(tmp_path / "maps")
    )
    with pytest.raises(UsageError, match="drawn over pictures"):
        operations.detect(request)
    assert not (tmp_path / "s.csv").exists()


def test_the_report_of_a_folder_is_written_from_the_command_line(folder: Path, model: str, tmp_path: Path) -> None:
    report = tmp_path / "report.html"
    words = ["detect", model, str(folder), "-o", str(tmp_path / "s.csv"), "--report", str(report), "-q"]
    assert run([*words[:-1], "--quiet"]) == 0
    text = report.read_text(encoding="utf-8")
    assert "The oddest pictures" in text
    assert text.count("data:image/png;base64,") >= 3


def test_parts_say_what_they_are(whole: Subject) -> None:
    parts: list[Part] = list(build_section("Ramps", whole).parts)
    titles = ["What was found", "Given and given back", "The oddest pictures", "Scores", "Map of the codes"]
    assert [part.title for part in parts][:5] == titles
