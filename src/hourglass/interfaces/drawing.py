"""Pictures as PNG bytes: sheets of thumbnails, and errors drawn over what they belong to."""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import cache

import numpy as np
from PIL import Image

from hourglass.data.pixels import recoloured

_GAP = 4
_COOL, _HOT = np.array([1.0, 0.86, 0.15]), np.array([0.78, 0.0, 0.12])
"""What errors look like: yellow where they begin, red where they are largest."""
_STRONGEST = 0.85
_LUMA = np.array([0.299, 0.587, 0.114])


def sheet(rows: Sequence[Sequence[np.ndarray]], side: int) -> bytes:
    """Rows of pictures (height, width, 3), from 0 to 1, as one PNG: each in a cell of `side` pixels a side.

    What a picture leaves of its cell is transparent.
    """
    width = max(map(len, rows))
    image = Image.new("RGBA", (width * (side + _GAP) - _GAP, len(rows) * (side + _GAP) - _GAP))
    for line, row in enumerate(rows):
        for place, picture in enumerate(row):
            small = thumbnail(picture, side)
            corner = (
                place * (side + _GAP) + (side - small.width) // 2,
                line * (side + _GAP) + (side - small.height) // 2,
            )
            image.paste(small, corner)
    return _png(image)


def thumbnail(picture: np.ndarray, side: int) -> Image.Image:
    """A picture as large as fits into a square: very small ones by whole factors, so that their pixels stay square."""
    image = _image(picture)
    longest = max(image.size)
    if side >= 2 * longest:
        factor = side // longest
        return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    width, height = (max(1, round(length * side / longest)) for length in image.size)
    return image.resize((width, height), Image.Resampling.LANCZOS)


def with_heat(picture: np.ndarray, errors: np.ndarray, largest: float) -> np.ndarray:
    """A picture (height, width, 3) in grey, with errors (height, width) over it: none to `largest` is clear to red."""
    strength = np.clip(np.nan_to_num(errors) / max(largest, 1e-30), 0, 1)[..., None]
    grey = np.repeat((0.15 + 0.7 * (picture @ _LUMA))[..., None], 3, axis=2)
    cover = _STRONGEST * np.sqrt(strength)
    return np.asarray(grey * (1 - cover) + (_COOL * (1 - strength) + _HOT * strength) * cover)


def coloured(pixels: np.ndarray, low: float, high: float) -> np.ndarray:
    """Pixels (height, width, channels) as colours (height, width, 3) from 0, at `low`, to 1, at `high`.

    Of numbers of channels that are no colours the mean is shown; what is missing is grey.
    """
    share = np.clip(np.nan_to_num((pixels - low) / max(high - low, 1e-30), nan=0.5), 0, 1)
    known = share if share.shape[2] in (1, 2, 3, 4) else share.mean(axis=2, keepdims=True)
    return np.asarray(np.clip(recoloured(known, 3), 0, 1))


def heat_map(values: np.ndarray, width: int, height: int) -> bytes:
    """Values (h, w) from 0, black, to 1, pale yellow, as a PNG of a size: in magma, in which equal steps look equal."""
    grey = np.rint(255 * np.clip(values, 0, 1)).astype(np.uint8)
    image = Image.fromarray(grey).resize((width, height), Image.Resampling.LANCZOS)
    image.putpalette(np.rint(255 * _magma()).astype(np.uint8).tobytes())
    return _png(image)


def in_heat(values: np.ndarray) -> np.ndarray:
    """Values (h, w) from 0 to 1 as the colours (h, w, 3) of `heat_map`."""
    return np.asarray(_magma()[np.rint(255 * np.clip(values, 0, 1)).astype(int)])


@cache
def _magma() -> np.ndarray:
    """256 colours (256, 3), from 0 to 1."""
    from plotly.colors import sequential

    named = np.array([[int(word[place : place + 2], 16) for place in (1, 3, 5)] for word in sequential.Magma]) / 255
    places = np.linspace(0, 1, len(named))
    return np.stack([np.interp(np.linspace(0, 1, 256), places, channel) for channel in named.T], axis=1)


def png_of(picture: np.ndarray) -> bytes:
    """A picture (height, width, 3), from 0 to 1, as a PNG file's content."""
    return _png(_image(picture))


def _image(picture: np.ndarray) -> Image.Image:
    return Image.fromarray(np.rint(255 * np.clip(picture, 0, 1)).astype(np.uint8))


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
