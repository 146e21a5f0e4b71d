"""Picture files as they should be and as they should not, alone and in folders."""

from __future__ import annotations

import contextlib
import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hourglass.data import limits
from hourglass.data.files import read
from hourglass.data.pictures import picture_bytes
from hourglass.data.samples import Frame, Pictures
from hourglass.errors import DataError, UnreadableError, UsageError

GREY = np.arange(48, dtype=np.uint8).reshape(6, 8) * 5
RGB = np.stack([GREY, GREY[::-1], 255 - GREY], axis=-1)


def put(folder: Path, name: str, pixels: Any, mode: str | None = None, **options: Any) -> Path:
    image = Image.fromarray(pixels) if isinstance(pixels, np.ndarray) else pixels
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    (image.convert(mode) if mode else image).save(path, **options)
    return path


def pictures(path: Path, **options: Any) -> Pictures:
    data = read(path, **options)
    assert isinstance(data, Pictures)
    return data


def names(data: Pictures) -> list[str]:
    return data.table.column("name").to_pylist()


# One file


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".tiff", ".gif", ".PNG"])
def test_pixels_are_read_as_they_are(tmp_path: Path, suffix: str) -> None:
    found = pictures(put(tmp_path, f"a{suffix}", GREY))
    assert names(found) == [f"a{suffix}"]
    assert found.table.column("folder").to_pylist() == ["."]
    expected = np.dstack([GREY] * 3) if suffix == ".gif" else GREY  # a palette is read as colours
    np.testing.assert_array_equal(found.arrays[0], expected)
    assert found.arrays[0].dtype == np.uint8


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".webp"])
def test_colours_are_read_as_they_are(tmp_path: Path, suffix: str) -> None:
    options = {"lossless": True} if suffix == ".webp" else {}
    np.testing.assert_array_equal(pictures(put(tmp_path, f"a{suffix}", RGB, **options)).arrays[0], RGB)


def test_a_jpeg_is_close_and_grey_stays_grey(tmp_path: Path) -> None:
    found = pictures(put(tmp_path, "a.jpg", GREY, quality=95)).arrays[0]
    assert found.shape == (6, 8)
    assert np.abs(found.astype(int) - GREY).max() < 12
    assert pictures(put(tmp_path, "b.jpeg", GREY, "RGB")).arrays[0].shape == (6, 8, 3)


DEEP = GREY.astype(np.uint16) * 257


@pytest.mark.parametrize(
    ("name", "image", "wanted", "notice"),
    [
        ("deep.png", Image.fromarray(DEEP), DEEP, ""),
        ("deep.tif", Image.fromarray(DEEP), DEEP, ""),
        ("long.tif", Image.fromarray(DEEP.astype(np.int32)), DEEP, ""),
        ("below.tif", Image.fromarray(DEEP.astype(np.int32) - 9), DEEP.astype(np.float64) - 9, ""),
        ("float.tif", Image.fromarray(GREY / np.float32(7)), GREY / np.float32(7), ""),
        ("flags.png", Image.fromarray(GREY > 100), np.where(GREY > 100, 255, 0), ""),
        ("palette.png", Image.fromarray(RGB).quantize(256), RGB, ""),
        ("cmyk.tif", Image.fromarray(RGB).convert("CMYK"), RGB, "has the colours CMYK, which are turned into RGB"),
        ("clear.png", Image.fromarray(np.dstack([RGB, GREY])), np.dstack([RGB, GREY]), ""),
        ("faint.png", Image.fromarray(np.dstack([GREY, GREY])), np.dstack([GREY, GREY]), ""),
        ("one.png", Image.fromarray(GREY[:1, 3:4]), GREY[:1, 3:4], "is a single pixel"),
    ],
)
def test_each_way_of_holding_pixels(tmp_path: Path, name: str, image: Any, wanted: np.ndarray, notice: str) -> None:
    found = pictures(put(tmp_path, name, image))
    np.testing.assert_allclose(found.arrays[0], wanted, atol=1e-6)
    assert found.arrays[0].dtype.kind == wanted.dtype.kind or wanted.dtype.kind == "i"
    assert found.notices == ((f"{name} {notice}",) if notice else ())


def test_16_bits_stay_16_bits(tmp_path: Path) -> None:
    assert pictures(put(tmp_path, "a.png", DEEP)).arrays[0].dtype == np.uint16


def png(header: bytes, pixels: bytes) -> bytes:
    """A PNG file with that header (IHDR) and those raw rows."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + check

    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")


def test_16_bits_a_colour_are_read_as_8_aloud(tmp_path: Path) -> None:
    row = np.array([[0x1234, 0x5678, 0x9ABC]] * 2, dtype=">u2").tobytes()
    path = tmp_path / "a.png"
    path.write_bytes(png(struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0), b"\0" + row))
    found = pictures(path)
    assert found.arrays[0][0, 0].tolist() == [0x12, 0x56, 0x9A]
    assert found.notices == ("a.png has 16 bits a colour, of which 8 are read",)


def test_a_picture_is_turned_as_its_camera_was_held(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # held on its right side
    found = pictures(put(tmp_path, "a.png", GREY, exif=exif))
    np.testing.assert_array_equal(found.arrays[0], np.rot90(GREY, -1))


@pytest.mark.parametrize("suffix", [".gif", ".png", ".webp", ".tif"])
def test_of_an_animation_the_first_frame_is_taken_aloud(tmp_path: Path, suffix: str) -> None:
    frames = [Image.fromarray(each) for each in (RGB, 255 - RGB, RGB // 2)]
    lossless = {"lossless": True} if suffix == ".webp" else {}
    path = put(tmp_path, f"a{suffix}", frames[0], save_all=True, append_images=frames[1:], **lossless)
    found = pictures(path)
    assert found.arrays[0].shape == (6, 8, 3)
    assert np.abs(found.arrays[0].astype(int) - RGB).max() <= (40 if suffix == ".gif" else 0)
    assert found.notices == (f"a{suffix} has 3 frames, of which the first is taken",)


def test_the_preview_in_a_photograph_is_no_second_frame(tmp_path: Path) -> None:
    frames = [Image.fromarray(RGB), Image.fromarray(RGB[:2])]
    found = pictures(put(tmp_path, "a.jpg", frames[0], format="MPO", save_all=True, append_images=frames[1:]))
    assert found.arrays[0].shape == (6, 8, 3)
    assert found.notices == ()


def test_a_file_cut_anywhere_is_refused_by_name(tmp_path: Path) -> None:
    for suffix in (".png", ".jpg", ".webp", ".tif", ".gif"):
        noise = np.random.default_rng(0).integers(0, 255, (30, 40, 3), dtype=np.uint8)
        whole = put(tmp_path, f"whole{suffix}", noise).read_bytes()
        path = tmp_path / f"cut{suffix}"
        for end in range(20, len(whole) * 4 // 5, len(whole) // 7):
            path.write_bytes(whole[:end])
            with pytest.raises(UnreadableError, match="damaged or cut short") as caught:
                read(path)
            assert caught.value.where == str(path)


def test_changed_bytes_never_show_another_error(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for suffix in (".png", ".jpg", ".webp", ".tif", ".gif", ".bmp"):
        whole = bytearray(put(tmp_path, f"whole{suffix}", RGB).read_bytes())
        path = tmp_path / f"changed{suffix}"
        for _ in range(60):
            content = bytearray(whole)
            for place in random.integers(0, len(whole), 3):
                content[place] = random.integers(0, 256)
            path.write_bytes(content)
            with contextlib.suppress(DataError):
                assert pictures(path).arrays[0].ndim in (2, 3)


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("a.png", b"", "the file is empty"),
        ("a.png", b"these are words\n", "looks like text, wanted a PNG picture"),
        ("a.jpg", b"\x89PNG\r\n\x1a\n", "looks like a PNG picture, wanted a JPEG picture"),
        ("a.csv", b"\xff\xd8\xff\xe0", "looks like a JPEG picture, wanted text"),
        ("a.webp", b"RIFF\0\0\0\0WAVE", "looks like a WAV recording, wanted a WebP picture"),
        ("a.csv", b"BM\x36\0\0\0\0\0\0\0\x36\0", "looks like a BMP picture, wanted text"),
    ],
)
def test_what_is_no_picture_is_refused_by_name(tmp_path: Path, name: str, content: bytes, what: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UnreadableError, match=what):
        read(tmp_path / name)


def test_a_table_of_bmi_is_no_bitmap(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("BMI,age\n22.5,41\n")
    assert isinstance(read(tmp_path / "a.csv"), Frame)


def test_a_bomb_is_refused_before_it_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for side in (11_000, 40_000, 2_000_000):
        path = tmp_path / "bomb.png"
        path.write_bytes(png(struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0), b""))
        with pytest.raises(UnreadableError, match=r"claims .* pixels, wanted at most 100,000,000") as caught:
            read(path)
        assert caught.value.where == str(path)
    monkeypatch.setattr(limits, "MOST_PIXELS", 47)
    with pytest.raises(UnreadableError, match="claims 8 x 6 pixels, wanted at most 47 in all"):
        read(put(tmp_path, "a.png", GREY))


# Folders


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    put(tmp_path, "good/b.png", GREY)
    put(tmp_path, "good/a.jpg", GREY)
    put(tmp_path, "bad/deep/c.png", RGB)
    put(tmp_path, "d.png", GREY)
    (tmp_path / "README.md").write_text("words")
    (tmp_path / "_manifest.json").write_text("{}")
    (tmp_path / ".hidden.png").write_text("")
    put(tmp_path, ".thumbnails/e.png", GREY)
    return tmp_path


def test_a_folder_is_read_with_those_below_it_in_order(folder: Path) -> None:
    found = pictures(folder)
    assert names(found) == ["bad/deep/c.png", "d.png", "good/a.jpg", "good/b.png"]
    assert found.table.column("folder").to_pylist() == ["bad/deep", ".", "good", "good"]
    assert found.notices == ("left out 1 file that is no picture by name: README.md",)
    assert found.failed == ()
    assert found.where(0) == f"{folder}, bad/deep/c.png"


def test_a_bad_picture_among_good_ones_is_refused_or_skipped_and_listed(folder: Path) -> None:
    (folder / "good" / "z.png").write_bytes(b"")
    (folder / "a.png").write_text("words")
    with pytest.raises(UnreadableError, match=r"looks like text.*; 1 more cannot be read: good/z.png") as caught:
        read(folder)
    assert caught.value.where == f"{folder}/a.png"
    assert "--skip-bad" in caught.value.how
    found = pictures(folder, skip_bad=True)
    assert len(found) == 4
    assert found.failed == (
        "a.png: looks like text, wanted a PNG picture by its name",
        "good/z.png: the file is empty",
    )
    assert found.notices[0] == f"skipped 2 pictures that cannot be read: {'; '.join(found.failed)}"


def test_odd_pictures_of_a_folder_share_a_notice(tmp_path: Path) -> None:
    for name in "abcdefg":
        put(tmp_path, f"{name}.tif", RGB, "CMYK")
    notice = "each of a.tif, b.tif, c.tif, d.tif, e.tif and 2 more has the colours CMYK, which are turned into RGB"
    assert pictures(tmp_path).notices == (notice,)


def test_a_folder_without_readable_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is a folder without pictures"):
        read(tmp_path)
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(UnreadableError, match=r"none of its 1 picture can be read; a.png: the file is empty"):
        read(tmp_path, skip_bad=True)
    (tmp_path / "a.png").unlink()
    (tmp_path / "a.txt").write_text("words")
    with pytest.raises(DataError, match=r"a folder without pictures or recordings; it has a\.txt"):
        read(tmp_path)
    with pytest.raises(UsageError, match="array name"):
        read(tmp_path, array="x")


def test_pictures_that_fill_the_memory_are_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MOST_BYTES", 200)
    with pytest.raises(UnreadableError, match="take more than 200 bytes when decoded"):
        read(folder)


def test_links_in_a_circle_are_not_followed(folder: Path) -> None:
    (folder / "good" / "round").symlink_to(folder)
    (folder / "gone.png").symlink_to(folder / "nowhere.png")
    found = pictures(folder, skip_bad=True)
    assert len(found) == 4
    assert found.failed[0].startswith("gone.png: is a link to")


# Real data


def test_real_pictures(shared_data: Path, need: Callable[[Path], Path]) -> None:
    masks = pictures(need(shared_data / "defects_bsdata" / "masks"))
    assert len(masks) == 60
    assert {each.ndim for each in masks.arrays} == {2}
    assert set(np.unique(masks.arrays[0])) == {0, 255}


# Writing


@pytest.mark.parametrize("pixels", [GREY, DEEP, RGB, np.dstack([RGB, GREY]), np.dstack([GREY, GREY])])
def test_a_written_picture_is_read_the_same(tmp_path: Path, pixels: np.ndarray) -> None:
    (tmp_path / "a.png").write_bytes(picture_bytes(pixels, ".png"))
    np.testing.assert_array_equal(pictures(tmp_path / "a.png").arrays[0], pixels)


def test_what_a_file_cannot_hold_is_made_to_fit_or_refused() -> None:
    colours = np.asarray(Image.open(io.BytesIO(picture_bytes(RGB.astype(np.uint16) * 257, ".png"))))
    np.testing.assert_array_equal(colours, RGB)
    assert Image.open(io.BytesIO(picture_bytes(np.dstack([RGB, GREY]), ".jpg"))).mode == "RGB"
    assert Image.open(io.BytesIO(picture_bytes(np.dstack([GREY, GREY]), ".bmp"))).mode == "RGB"
    with pytest.raises(UsageError, match="float64"):
        picture_bytes(GREY / 2, ".png")
    with pytest.raises(UsageError, match="1 to 4 channels"):
        picture_bytes(np.zeros((4, 4, 7), dtype=np.uint8), ".png")
