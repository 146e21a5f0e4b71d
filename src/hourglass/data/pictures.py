"""Picture files, and folders of them, as arrays: grey, RGB, or either with transparency; 8 or 16 bits, or floats.

The size is taken from the header and checked before a pixel is decoded: a few kilobytes can claim a million megapixels.
"""

from __future__ import annotations

import io
import os
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
from PIL import Image, ImageOps

from hourglass.data.limits import check_memory, check_pixels, too_many_pixels
from hourglass.data.samples import Pictures, unique_notices
from hourglass.data.times import counted
from hourglass.errors import DataError, HourglassError, UnreadableError, UsageError

FORMATS = {
    ".png": "a PNG picture",
    ".jpg": "a JPEG picture",
    ".jpeg": "a JPEG picture",
    ".webp": "a WebP picture",
    ".tif": "a TIFF picture",
    ".tiff": "a TIFF picture",
    ".bmp": "a BMP picture",
    ".gif": "a GIF picture",
}
"""What each suffix promises."""
MANIFEST = "_manifest.json"
"""The list of files in a folder that Hourglass wrote."""
_KNOWN = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF")
_BROKEN = (
    *(OSError, SyntaxError, ValueError, EOFError, TypeError, LookupError, ArithmeticError, RuntimeError),
    *(AttributeError, struct.error, zlib.error),
)
"""What Pillow raises for damaged or hostile bytes, whatever part of them it was reading."""
_MOST_NAMED = 5


def read_picture(handle: BinaryIO, source: str) -> tuple[np.ndarray, list[str]]:
    """A picture's pixels, (height, width) or (height, width, channels), and what was accepted although odd.

    Channels: grey with transparency, RGB, or RGB with transparency. `UnreadableError` where the file is damaged, cut
    short, or too large to be a picture.
    """
    notices: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what Pillow has to say of metadata, and of sizes that are checked below
        try:
            with Image.open(handle, formats=_KNOWN) as image:
                check_pixels(image.width, image.height, source)
                _note(image, notices)
                pixels = _pixels(_upright(image), notices)
        except Image.DecompressionBombError as error:
            raise too_many_pixels("more", source) from error
        except _BROKEN as error:
            if isinstance(error, HourglassError):
                raise
            what = f"is damaged or cut short: {str(error) or type(error).__name__}"
            raise UnreadableError(what, where=source, how="save it again, or take it from a copy") from error
    if pixels.shape[:2] == (1, 1):
        notices.append("is a single pixel")
    return pixels, notices


def _note(image: Image.Image, notices: list[str]) -> None:
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":  # a camera's preview is no second picture
        notices.append(f"has {frames} frames, of which the first is taken")
    if image.mode in ("RGB", "RGBA", "LA") and any(";16" in str(tile) for tile in getattr(image, "tile", ())):
        notices.append("has 16 bits a colour, of which 8 are read")


def _upright(image: Image.Image) -> Image.Image:
    """The picture decoded and turned as its camera was held."""
    image.load()
    try:
        return ImageOps.exif_transpose(image)
    except _BROKEN:  # the pixels are well, what is written beside them is not
        return image


def _pixels(image: Image.Image, notices: list[str]) -> np.ndarray:
    mode = image.mode
    clear = "transparency" in image.info
    if mode.startswith("I;16"):
        return np.asarray(image).astype(np.uint16)
    if mode == "I":
        numbers = np.asarray(image)
        return numbers.astype(np.uint16 if numbers.min() >= 0 and numbers.max() < 1 << 16 else np.float64)
    if mode == "F":
        return np.asarray(image, dtype=np.float32)
    if mode in ("CMYK", "YCbCr", "LAB", "HSV"):
        notices.append(f"has the colours {mode}, which are turned into RGB")
    wanted = _MODES.get(mode, "RGB")
    if clear and wanted in ("L", "RGB") and mode != "1":
        wanted = "LA" if wanted == "L" else "RGBA"
    return np.asarray(image.convert(wanted) if wanted != mode else image)


_MODES = {"1": "L", "L": "L", "LA": "LA", "La": "LA", "RGB": "RGB", "RGBA": "RGBA", "RGBa": "RGBA", "PA": "RGBA"}
"""What each way of holding pixels is read as; all others (palettes, CMYK) as RGB."""


def one_picture(pixels: np.ndarray, notices: list[str], path: str) -> Pictures:
    """A single file as `Pictures`, under its own name."""
    name = os.path.basename(path)
    table = pa.table({"name": [name], "folder": ["."]})
    return Pictures([pixels], table, path, tuple(f"{name} {notice}" for notice in notices))


def read_folder(folder: str, read_file: Callable[[str], tuple[np.ndarray, list[str]]], skip_bad: bool) -> Pictures:
    """Every picture in a folder and those below it, in the order of their names; hidden files are passed over.

    The table has `name`, the path below the folder, and `folder`, that of its own folder ("." at the top). Other files
    are left out with a notice. A picture that cannot be read is refused by name, or skipped and listed where
    `skip_bad`.
    """
    names, others = _listed(folder)
    arrays: list[np.ndarray] = []
    read: list[str] = []
    failed: list[str] = []
    odd: dict[str, list[str]] = {}
    memory = 0
    for name in names:
        try:
            pixels, notices = read_file(os.path.join(folder, name))
        except DataError as error:
            failed.append(f"{name}: {error.what}")
            continue
        memory += pixels.nbytes
        check_memory(memory, folder)
        arrays.append(pixels)
        read.append(name)
        for notice in notices:
            odd.setdefault(notice, []).append(name)
    _refuse(folder, names, others, failed, skip_bad)
    folders = [str(PurePosixPath(name).parent) for name in read]
    table = pa.table({"name": pa.array(read, pa.string()), "folder": pa.array(folders, pa.string())})
    notices = [f"{_several(which)} {notice}" for notice, which in odd.items()]
    return Pictures(arrays, table, folder, tuple(unique_notices([*_said(others, failed), *notices])), tuple(failed))


def _listed(folder: str) -> tuple[list[str], list[str]]:
    """Names of the pictures in a folder, and of the other files; both sorted, with / between folders."""
    found = sorted(_walked(Path(folder)))
    pictures = [name for name in found if PurePosixPath(name).suffix.lower() in FORMATS]
    return pictures, [name for name in found if name not in set(pictures) and PurePosixPath(name).name != MANIFEST]


def _walked(folder: Path) -> Iterator[str]:
    def refuse(error: OSError) -> None:
        raise DataError(f"cannot be read: {error.strerror or error}", where=str(error.filename or folder)) from error

    for here, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        below = Path(here).relative_to(folder)
        yield from ((below / name).as_posix() for name in files if not name.startswith("."))


def _refuse(folder: str, names: list[str], others: list[str], failed: list[str], skip_bad: bool) -> None:
    if not names:
        there = f"; it has {_several(others)}" if others else ""
        how = f"give one of the files in it, or a folder of pictures: {', '.join(FORMATS)}"
        raise DataError(f"is a folder without pictures{there}", where=folder, how=how)
    if len(failed) == len(names):
        raise UnreadableError(f"none of its {counted(len(names), 'picture')} can be read; {failed[0]}", where=folder)
    if failed and not skip_bad:
        first, _, what = failed[0].partition(": ")
        rest = [each.partition(": ")[0] for each in failed[1:]]
        more = f"; {len(rest):,} more cannot be read: {_several(rest)}" if rest else ""
        how = "mend or remove them, or leave them out with --skip-bad (skip_bad=True)"
        raise UnreadableError(f"{what}{more}", where=f"{folder}/{first}", how=how)


def _said(others: list[str], failed: list[str]) -> list[str]:
    notices = []
    if failed:
        notices.append(f"skipped {counted(len(failed), 'picture')} that cannot be read: {'; '.join(failed)}")
    if others:
        notices.append(f"left out {counted(len(others), 'file')} that {_is(others)} by name: {_several(others)}")
    return notices


def _is(names: list[str]) -> str:
    return "is no picture" if len(names) == 1 else "are no pictures"


def _several(names: list[str]) -> str:
    """Names in a row, the first few where there are many.

    >>> _several(["a", "b"]), _several(list("abcdefg"))
    ('a, b', 'a, b, c, d, e and 2 more')
    """
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more:,} more" if more > 0 else "")


def picture_bytes(pixels: np.ndarray, suffix: str) -> bytes:
    """A picture (height, width) or (height, width, channels) of uint8 or uint16 as the content of a file.

    A file of colours has 8 bits: those of 16 lose the lower half. JPEG and BMP have no transparency.
    """
    if pixels.ndim == 3 and pixels.dtype == np.uint16:
        pixels = np.rint(pixels / 257).astype(np.uint8)
    if pixels.dtype not in (np.uint8, np.uint16) or (pixels.ndim == 3 and not 2 <= pixels.shape[2] <= 4):
        what = f"got a picture of {pixels.dtype} and shape {pixels.shape}, and {suffix} holds 1 to 4 channels of bytes"
        raise UsageError(what, how="write .npy, which holds any numbers")
    image: Any = Image.fromarray(np.ascontiguousarray(pixels))
    content, form = io.BytesIO(), Image.registered_extensions()[suffix.lower()]
    if form in ("JPEG", "WEBP", "BMP") and image.mode not in ("L", "RGB"):
        image = image.convert("RGB")
    image.save(content, form)
    return content.getvalue()
