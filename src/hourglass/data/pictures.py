"""Picture files as arrays: grey, RGB, or either with transparency; 8 or 16 bits, or floats.

The size is taken from the header and checked before a pixel is decoded: a few kilobytes can claim a million megapixels.
"""

from __future__ import annotations

import io
import os
import struct
import warnings
import zlib
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
from PIL import Image, ImageOps

from hourglass.data.limits import check_pixels, too_many_pixels
from hourglass.data.samples import Pictures
from hourglass.errors import HourglassError, UnreadableError, UsageError

PICTURES = {
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
_KNOWN = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF")
_BROKEN = (
    *(OSError, SyntaxError, ValueError, EOFError, TypeError, LookupError, ArithmeticError, RuntimeError),
    *(AttributeError, struct.error, zlib.error),
)
"""What Pillow raises for damaged or hostile bytes, whatever part of them it was reading."""


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
