"""Pictures to samples and back: whatever they came in, whole or as tiles, with the known answer beside."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from hourglass.data.formats import Data
from hourglass.data.image_forms import numbered
from hourglass.data.images import LONGEST_SIDE, ImageFormat, ImageSettings
from hourglass.data.pixels import as_type, recoloured, resized
from hourglass.data.samples import Frame, Layout, Pictures, oddest_parts
from hourglass.data.tiles import Tiles, corners
from hourglass.errors import DataError, ModelFileError, SchemaError, UsageError

RANDOM = np.random.default_rng(0)
GREY = RANDOM.integers(0, 256, (6, 5, 7), dtype=np.uint8)
RGB = RANDOM.integers(0, 256, (6, 5, 7, 3), dtype=np.uint8)
FLOATS = RANDOM.normal(size=(6, 5, 7))


def of(*arrays: np.ndarray, **columns: Any) -> Pictures:
    table = pa.table({"name": [f"{place}.png" for place in range(len(arrays))], **columns})
    return Pictures(list(arrays), table, "the folder")


def there_and_back(settings: ImageSettings, data: Data) -> Any:
    made = settings.fit(data)
    packed = made.pack(data)
    assert packed.samples.dtype == np.float32
    assert packed.samples.shape[1:] == made.layout.shape
    return made.unpack(packed.samples, packed.places)


# What comes in comes back


@pytest.mark.parametrize("tile", [None, 3, 5, 6])
@pytest.mark.parametrize("scaling", ["unit", "standard", "none"])
@pytest.mark.parametrize(
    "data",
    [
        GREY,
        RGB,
        GREY.astype(np.uint16) * 200,
        FLOATS,
        FLOATS.astype(np.float32),
        np.stack([FLOATS] * 3, axis=1),
        RANDOM.normal(size=(6, 5, 7, 5)),
        RANDOM.integers(0, 256, (9, 36)),
        RANDOM.normal(size=(9, 10)),
    ],
    ids=lambda data: f"{data.dtype} {data.shape}",
)
def test_arrays_come_back_as_they_were(data: np.ndarray, scaling: str, tile: int | None) -> None:
    result = there_and_back(ImageSettings(scaling=scaling, tile=tile), data)
    assert result.dtype == np.float64
    np.testing.assert_allclose(result, data, rtol=1e-5, atol=1e-5 * np.abs(data).max())


@pytest.mark.parametrize("tile", [None, 4])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_pictures_come_back_in_their_type_to_the_bit(kind: type, tile: int | None) -> None:
    for pixels in (GREY, RGB):
        given = of(*pixels.astype(kind))
        result = there_and_back(ImageSettings(tile=tile), given)
        assert isinstance(result, Pictures)
        assert {each.dtype for each in result.arrays} == {np.dtype(kind)}
        np.testing.assert_array_equal(np.stack(list(result.arrays)), pixels)
        assert result.table.equals(given.table)


def test_tables_come_back_as_tables_without_their_label() -> None:
    names = [f"p{place}" for place in range(9)]
    table = pa.table({"label": [1, 2, 3, 4], **{name: RANDOM.integers(0, 256, 4) for name in names}})
    settings = ImageSettings(ignore=("label",))
    result = there_and_back(settings, Frame(table))
    assert result.column_names == names
    for name in names:
        np.testing.assert_allclose(result[name].to_numpy(), table[name].to_numpy(), atol=1e-4)
    made = settings.fit(Frame(table))
    assert made.layout == Layout((1, 3, 3))
    shuffled = Frame(table.select(["p3", "label", *[name for name in names if name != "p3"]]))
    np.testing.assert_array_equal(made.pack(shuffled).samples, made.pack(Frame(table)).samples)
    array = np.column_stack([table[name].to_numpy() for name in names])
    np.testing.assert_array_equal(made.pack(array).samples, made.pack(Frame(table)).samples)


def test_a_frame_without_names_is_as_an_array() -> None:
    frame = Frame(pa.table({f"x{place}": column for place, column in enumerate(FLOATS.reshape(6, 35).T)}), unnamed=True)
    assert isinstance(there_and_back(ImageSettings(), frame), np.ndarray)


def test_missing_pixels_stay_missing_and_learn_nothing() -> None:
    holes = np.where(RANDOM.random(FLOATS.shape) < 0.2, np.nan, FLOATS)
    for settings in (ImageSettings(), ImageSettings(scaling="standard"), ImageSettings(tile=4)):
        np.testing.assert_allclose(there_and_back(settings, holes), holes, atol=1e-5)
    assert ImageSettings().fit(holes).span == (np.nanmin(holes), np.nanmax(holes))


def test_a_model_of_one_form_takes_the_others() -> None:
    made = ImageSettings().fit(of(*GREY))
    wanted = made.pack(of(*GREY)).samples
    for data in (GREY, GREY[..., None], GREY.reshape(6, 35), GREY.astype(np.float64)):
        np.testing.assert_array_equal(made.pack(data).samples, wanted)
    result = made.unpack(wanted, made.pack(GREY.reshape(6, 35)).places)
    np.testing.assert_allclose(result, GREY.reshape(6, 35), atol=1e-4)


# Scales


def test_unit_scaling_goes_by_the_type() -> None:
    assert ImageSettings().fit(GREY).pack(np.full((1, 5, 7), 255, np.uint8)).samples.max() == 1
    assert ImageSettings().fit(GREY // 3).pack(np.full((1, 5, 7), 51, np.uint8)).samples.max() == pytest.approx(0.2)
    deep = ImageSettings().fit(GREY.astype(np.uint16) * 257)
    assert deep.pack(np.full((1, 5, 7), 65535, np.uint16)).samples.max() == 1
    np.testing.assert_allclose(deep.pack(GREY).samples, deep.pack(GREY.astype(np.uint16) * 257).samples, atol=1e-7)
    whole = ImageSettings().fit(GREY.astype(np.int64))  # bytes that went through a CSV file
    np.testing.assert_array_equal(whole.pack(GREY).samples, ImageSettings().fit(GREY).pack(GREY).samples)
    sixteen = ImageSettings().fit(GREY.astype(np.int64) % 17)
    assert sixteen.pack(np.full((1, 5, 7), 16.0)).samples.max() == 1
    flags = ImageSettings().fit(GREY > 99)
    assert set(np.unique(flags.pack(GREY > 99).samples)) == {0.0, 1.0}
    assert flags.notices == ["the largest value is 1: black is taken as 0, and white as 1"]


def test_an_offset_of_a_billion_does_not_drown_the_signal() -> None:
    result = there_and_back(ImageSettings(), FLOATS + 1e9)
    np.testing.assert_allclose(result - 1e9, FLOATS, atol=1e-5)


def test_the_scale_can_be_learned_anew_from_some_pictures() -> None:
    data = FLOATS * np.arange(1, 7)[:, None, None]
    for settings in (ImageSettings(), ImageSettings(tile=3)):
        made = settings.fit(data)
        groups = made.pack(data).groups
        chosen = np.array([0, 2]) if groups is None else np.flatnonzero(np.isin(groups, [0, 2]))
        again = made.rescaled(data, chosen).pack(data[[0, 2]]).samples
        assert (again.min(), again.max()) == (0, 1)
    channels = ImageSettings(scaling="standard").fit(np.stack([FLOATS, 5 * FLOATS + 3], axis=-1))
    packed = channels.pack(np.stack([FLOATS, 5 * FLOATS + 3], axis=-1)).samples
    np.testing.assert_allclose(packed.mean(axis=(0, 2, 3)), 0, atol=1e-6)
    np.testing.assert_allclose(packed.std(axis=(0, 2, 3)), 1, atol=1e-6)
    fixed = ImageSettings().fit(GREY)
    assert fixed.rescaled(GREY, np.array([0])) is fixed


# Sizes and colours


def test_pictures_of_mixed_sizes_are_brought_to_their_median_aloud() -> None:
    data = of(*[GREY[0, :height, :width] for height, width in [(4, 6), (4, 6), (4, 6), (5, 7), (2, 6)]])
    made = ImageSettings().fit(data)
    assert made.size == (4, 6)
    assert made.notices == ["2 of 5 pictures (the first: 3.png) resized to 4 x 6 pixels"]
    packed = made.pack(data)
    assert packed.notices == made.notices
    result = made.unpack(packed.samples, packed.places)
    assert isinstance(result, Pictures)
    assert [each.shape for each in result.arrays] == [each.shape for each in data.arrays]
    np.testing.assert_array_equal(result.arrays[0], data.arrays[0])
    assert ImageSettings(size=8).fit(data).layout.shape == (1, 8, 8)
    assert ImageSettings(size=(8, 3)).fit(data).notices == ["all 5 pictures resized to 8 x 3 pixels"]
    with pytest.raises(UsageError, match="wanted height,width"):
        ImageSettings(size=(1, 2, 3)).fit(data)


def test_large_pictures_are_learned_small_unless_a_size_or_a_tile_is_asked_for() -> None:
    large = np.zeros((2, 300, 2 * LONGEST_SIDE), dtype=np.uint8)
    large[0, 0, 0] = 9
    made = ImageSettings().fit(large)
    assert made.size == (150, LONGEST_SIDE)
    assert made.notices[0].startswith("pictures of 300 x 512 are learned at 150 x 256: --size 300,512 keeps the size")
    assert made.unpack(made.pack(large).samples, made.pack(large).places).shape == large.shape
    assert ImageSettings(size=(300, 512)).fit(large).notices == []
    assert ImageSettings(tile=64).fit(large).notices == []
    assert ImageSettings().fit(RANDOM.normal(size=(3, 301))).size == (1, 301)


def test_rows_are_squares_or_lines_or_of_the_size_asked_for() -> None:
    assert ImageSettings().fit(np.zeros((3, 784)) + np.arange(784)).layout == Layout((1, 28, 28))
    assert ImageSettings().fit(RANDOM.normal(size=(3, 10))).layout == Layout((1, 1, 10))
    made = ImageSettings(size=(2, 5)).fit(RANDOM.normal(size=(3, 10)))
    assert made.layout == Layout((1, 2, 5))
    small = ImageSettings(size=(3, 3)).fit(RANDOM.normal(size=(4, 36)))
    assert small.layout == Layout((1, 3, 3))
    assert small.unpack(small.pack(RANDOM.normal(size=(4, 36))).samples).shape == (4, 36)
    with pytest.raises(SchemaError, match="got rows of 12 pixels, wanted 10"):
        made.pack(RANDOM.normal(size=(3, 12)))


def test_channels_first_are_seen_where_only_that_fits() -> None:
    first = np.moveaxis(RGB, -1, 1)
    made = ImageSettings().fit(first)
    assert made.notices == ["an array of shape (6, 3, 5, 7) is read with its channels first"]
    np.testing.assert_array_equal(made.pack(first).samples, ImageSettings().fit(RGB).pack(RGB).samples)
    assert made.unpack(made.pack(first).samples, made.pack(first).places).shape == first.shape


def test_a_folder_is_grey_unless_some_picture_has_colour() -> None:
    clear = np.dstack([RGB[0], GREY[0]])
    faint = np.dstack([GREY[0], GREY[1]])
    assert ImageSettings().fit(of(GREY[0], faint)).channels == 1
    mixed = ImageSettings().fit(of(GREY[0], RGB[0], clear))
    assert mixed.channel_names == ("red", "green", "blue")
    assert mixed.notices == [
        "1 of 3 pictures (the first: 2.png) with transparency laid over white; --set format.colour=rgba keeps it",
        "1 of 3 pictures (the first: 0.png) grey, and read as colour since others have some",
    ]
    assert ImageSettings(colour="grey").fit(of(GREY[0], RGB[0])).channels == 1
    kept = ImageSettings(colour="rgba").fit(of(GREY[0], clear))
    result = kept.unpack(kept.pack(of(clear)).samples, kept.pack(of(clear)).places)
    assert isinstance(result, Pictures)
    np.testing.assert_array_equal(result.arrays[0], clear)
    with pytest.raises(DataError, match=r"channels, wanted equally many"):
        ImageSettings().fit(of(GREY[0], np.zeros((5, 7, 6), dtype=np.uint8)))


def test_grey_from_colour_is_as_pillow_has_it_and_transparency_lies_over_white() -> None:
    pillow = np.asarray(Image.fromarray(RGB[0]).convert("L"))
    assert np.abs(recoloured(RGB[0], 1)[..., 0] - pillow).max() <= 0.51
    clear = np.dstack([RGB[0], GREY[0]])
    ground = Image.new("RGBA", (7, 5), "white")
    ground.alpha_composite(Image.fromarray(clear))
    assert np.abs(recoloured(clear, 3) - np.asarray(ground)[..., :3]).max() <= 1.01
    assert recoloured(GREY[0][..., None], 4)[0, 0, 3] == 255
    np.testing.assert_array_equal(recoloured(np.dstack([GREY[0], GREY[1]]), 4)[..., 3], GREY[1])
    with pytest.raises(SchemaError, match="got pictures of 5 channels, wanted 3"):
        recoloured(np.zeros((2, 2, 5)), 3)


@pytest.mark.parametrize("size", [(5, 7), (3, 2), (12, 9), (1, 1), (5, 14)])
def test_resizing_is_as_pillow_has_it(size: tuple[int, int]) -> None:
    planes = [Image.fromarray(GREY[0].astype(np.float32)).resize(size[::-1], Image.Resampling.BILINEAR)]
    np.testing.assert_allclose(resized(GREY[:1, :, :, None], *size)[0, :, :, 0], np.asarray(planes[0]), atol=1e-3)


def test_a_missing_pixel_has_no_weight_in_resizing() -> None:
    pixels = np.full((1, 4, 4, 1), 5.0)
    pixels[0, 0, 0] = np.nan
    assert (resized(pixels, 2, 2) == 5).all()
    assert np.isnan(resized(np.full((1, 2, 2, 1), np.nan), 1, 1)).all()


def test_rounding_stays_inside_the_type() -> None:
    assert as_type(np.array([-3.0, 1.5, 2.5, 300.0, np.nan]), np.dtype(np.uint8)).tolist() == [0, 2, 2, 255, 0]


# Tiles


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 20))
def test_tiles_cover_a_picture_and_join_again(height: int, width: int, side: int) -> None:
    pixels = np.arange(height * width, dtype=float).reshape(height, width, 1)
    tiles = Tiles(side, [(height, width)])
    cut = tiles.cut(pixels, 0)
    assert cut.shape == (-(-height // side) * -(-width // side), side, side, 1)
    np.testing.assert_allclose(tiles.stitched(cut, 0), pixels)


@given(st.integers(1, 40), st.integers(2, 20), st.integers(0, 19))
def test_neighbouring_tiles_overlap_as_asked(length: int, side: int, overlap: int) -> None:
    overlap = min(overlap, side - 1)
    starts = corners(1, length, side, overlap)[:, 1]
    assert starts[0] == 0
    assert starts[-1] == max(0, length - side)
    assert (np.diff(starts) <= side - overlap).all()


def test_tiles_that_overlap_fade_into_each_other() -> None:
    tiles = Tiles(4, [(4, 6)])
    joined = tiles.stitched(np.stack([np.full((4, 4, 1), 1.0), np.full((4, 4, 1), 5.0)]), 0)
    assert joined[0, :, 0].tolist() == [1, 1, pytest.approx(7 / 3), pytest.approx(11 / 3), 5, 5]


def test_tiles_cannot_overlap_wholly() -> None:
    with pytest.raises(UsageError, match="got 4, and a tile has 4"):
        ImageSettings(tile=4, overlap=4).fit(np.zeros((2, 8, 8)))


def test_each_tile_knows_its_picture_and_a_picture_is_as_odd_as_its_oddest_tile() -> None:
    data = of(GREY[0], GREY[1, :3, :3], GREY[2, :2, :2])
    made = ImageSettings(tile=3).fit(data)
    packed = made.pack(data)
    assert packed.groups is not None
    assert packed.groups.tolist() == [0, 0, 0, 0, 0, 0, 1, 2]
    assert not packed.rows_are_samples
    assert packed.row_count == 3
    rows = made.rows(np.array([1, 9, 2, 3, 4, 5, 7, 6.0]), packed.places)
    assert rows.score.tolist() == [9, 7, 6]
    assert rows.index.to_pylist() == ["0.png", "1.png", "2.png"]
    assert made.labels(packed.places)[5:7] == ["0.png, tile at (2, 4)", "1.png, tile at (0, 0)"]
    assert packed.notices == [
        "1 of 3 pictures (the first: 2.png) smaller than a tile of 3: filled up by repeating the edge, "
        "and cropped again"
    ]


def test_a_size_and_a_tile_are_taken_one_after_the_other() -> None:
    made = ImageSettings(size=(8, 12), tile=4).fit(of(*GREY))
    packed = made.pack(of(*GREY))
    assert packed.samples.shape == (36, 1, 4, 4)
    result = made.unpack(packed.samples, packed.places)
    assert isinstance(result, Pictures)
    assert {each.shape for each in result.arrays} == {(5, 7)}


def test_oddest_parts_of_some_rows() -> None:
    assert oddest_parts(np.array([3.0, 1, 2, 5]), np.array([1, 1, 4, 4])).tolist() == [3, 5]
    assert oddest_parts(np.array([3.0, 1]), None).tolist() == [3, 1]


# What samples without a place become


def test_samples_without_a_place_have_the_form_fitted_on() -> None:
    for data in (GREY, RGB, np.moveaxis(RGB, -1, 1), GREY.reshape(6, 35)):
        made = ImageSettings().fit(data)
        result = made.unpack(made.pack(data).samples[:2])
        assert isinstance(result, np.ndarray)
        np.testing.assert_allclose(result, data[:2], atol=1e-4)
    made = ImageSettings().fit(of(*GREY))
    result = made.unpack(made.pack(of(*GREY)).samples[:2])
    assert isinstance(result, Pictures)
    assert result.table.column("name").to_pylist() == ["0000", "0001"]
    np.testing.assert_array_equal(np.stack(list(result.arrays)), GREY[:2])
    tiles = ImageSettings(tile=2).fit(GREY.reshape(6, 35))
    assert len(tiles.unpack(tiles.pack(GREY.reshape(6, 35)).samples)) == 6 * 18


def test_results_become_pictures_from_black_to_white() -> None:
    made = ImageSettings().fit(FLOATS)
    shown = np.stack(list(made.as_pictures(FLOATS).arrays))
    low, high = FLOATS.min(), FLOATS.max()
    np.testing.assert_array_equal(shown, np.rint((FLOATS - low) / (high - low) * 255))
    assert made.as_pictures(FLOATS).table.equals(numbered(6))
    bytes_ = ImageSettings().fit(RGB)
    np.testing.assert_array_equal(np.stack(list(bytes_.as_pictures(RGB + 0.3).arrays)), RGB)
    assert bytes_.as_pictures(of(*RGB)).arrays[0] is RGB[0] or (bytes_.as_pictures(of(*RGB)).arrays[0] == RGB[0]).all()
    rows = pa.table({f"p{place}": column for place, column in enumerate(FLOATS.reshape(6, 35).T)})
    table = ImageSettings(size=(5, 7)).fit(Frame(rows))
    np.testing.assert_array_equal(np.stack(list(table.as_pictures(rows).arrays)), shown)


# Names


def test_pixels_have_names_that_are_made_when_asked_for() -> None:
    names = ImageSettings().fit(RGB).cell_names()
    assert len(names) == 105
    assert names[0] == "pixel (0, 0) red"
    assert names[35 + 7 + 2] == "pixel (1, 2) green"
    assert names[-1] == "pixel (4, 6) blue"
    assert names[1:3] == ["pixel (0, 1) red", "pixel (0, 2) red"]
    assert list(names)[34] == "pixel (4, 6) red"
    with pytest.raises(IndexError):
        names[105]
    made = ImageSettings().fit(RGB)
    cells = made.cells_in_units(made.pack(RGB).samples[2])
    np.testing.assert_allclose(cells, np.moveaxis(RGB[2], -1, 0).ravel(), atol=1e-4)
    holes = ImageSettings().fit(np.where(GREY > 200, np.nan, GREY))
    assert None in holes.cells_in_units(holes.pack(np.where(GREY > 200, np.nan, GREY)).samples[0])


# What cannot be


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (np.zeros((2, 3, 0)), "wanted pictures"),
        (np.zeros(5), "Reshape your data"),
        (np.zeros((1, 2, 3, 4, 5)), "wanted pictures"),
        (np.zeros((20, 20, 3)), "looks like one picture with colours"),
        (np.full((2, 3, 3), np.nan), "every pixel is missing"),
        (np.array([[["a"]]]), "wanted numbers"),
        (np.array([[[None, "x"]]], dtype=object), "not a number"),
        (of(), "got no pictures"),
        (of(np.zeros((0, 3), dtype=np.uint8)), "got a picture of shape"),
        (of(np.zeros(3)), "wanted .height, width."),
        (Pictures([GREY[0]], pa.table({"file": ["a"]})), "a row with a name for each"),
        (Frame(pa.table({"word": ["a"]})), "no column of numbers"),
    ],
    ids=str,
)
def test_what_are_no_pictures_is_refused(data: Data, what: str) -> None:
    with pytest.raises(DataError, match=what):
        ImageSettings().fit(data)


def test_an_infinite_pixel_is_refused_by_its_place() -> None:
    pixels = FLOATS.copy()
    pixels[2, 3, 4] = np.inf
    with pytest.raises(DataError, match="infinity") as caught:
        ImageSettings().fit(pixels)
    assert caught.value.where == "picture 2, pixel (3, 4)"


def test_a_column_that_is_not_there_cannot_be_left_out() -> None:
    with pytest.raises(UsageError, match="ignore names 'labl'"):
        ImageSettings(ignore=("labl",)).fit(Frame(pa.table({"label": [1], "x": [2]})))
    with pytest.raises(SchemaError, match="there is no column 'y'"):
        ImageSettings(columns=("y",)).fit(Frame(pa.table({"label": [1], "x": [2]})))


# Saved and restored


@pytest.mark.parametrize(
    ("settings", "data"),
    [
        (ImageSettings(), of(*GREY)),
        (ImageSettings(scaling="standard", size=(3, 4)), RGB),
        (ImageSettings(tile=3, scaling="none"), FLOATS),
        (ImageSettings(), FLOATS.reshape(6, 35)),
    ],
)
def test_a_format_survives_its_document(settings: ImageSettings, data: Data) -> None:
    made = settings.fit(data)
    again = ImageFormat.restore(json.loads(json.dumps(made.document())), made.tensors())
    np.testing.assert_array_equal(again.pack(data).samples, made.pack(data).samples)
    assert again.document() == made.document()


@pytest.mark.parametrize(
    "change",
    [
        {"size": [5]},
        {"size": [0, 7]},
        {"size": [5.0, 7]},
        {"channels": "1"},
        {"channels": 0},
        {"span": [0]},
        {"units": "words"},
        {"settings": {"is": "series"}},
        {"settings": {"is": "image", "tile": 4}},
        {"form": {"kind": "heap"}},
        {"form": {"kind": "rows"}},
        {"form": {"colour": 3}},
        {"notices": 3},
    ],
    ids=str,
)
def test_a_document_that_does_not_fit_is_refused(change: dict[str, Any]) -> None:
    made = ImageSettings().fit(GREY)
    with pytest.raises(ModelFileError):
        ImageFormat.restore(made.document() | change, made.tensors())
    missing = {key: value for key, value in made.document().items() if key not in change}
    with pytest.raises(ModelFileError):
        ImageFormat.restore(missing, made.tensors())


def test_tensors_that_do_not_fit_are_refused() -> None:
    made, other = ImageSettings().fit(GREY), ImageSettings(scaling="standard").fit(RGB)
    with pytest.raises(ModelFileError, match="does not fit 1 channel"):
        ImageFormat.restore(made.document(), other.tensors())
    with pytest.raises(ModelFileError):
        ImageFormat.restore(made.document(), {})
