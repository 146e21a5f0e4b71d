"""Pictures as arrays (..., height, width, channels): from one colouring, size or range of values to another.

One channel is grey, two are grey with transparency, three are RGB, four are RGB with transparency.
"""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional

from hourglass.data.grid_names import GridNames
from hourglass.errors import SchemaError

_LUMA = np.array([0.299, 0.587, 0.114])
"""What red, green and blue give to grey (ITU-R BT.601, as JPEG has it)."""
_BLOCK = 1 << 20
_RANGES = {"uint8": 255.0, "uint16": 65535.0}


def full_scale(kind: str | np.dtype) -> float | None:
    """The value of white in a type of picture; None where the type does not say (floats, other whole numbers)."""
    return _RANGES.get(str(kind))


def with_channels(pixels: np.ndarray) -> np.ndarray:
    """A picture (height, width) or (height, width, channels) as (height, width, channels)."""
    return pixels[:, :, None] if pixels.ndim == 2 else pixels


def recoloured(pixels: np.ndarray, channels: int) -> np.ndarray:
    """Pictures (..., c) with `channels` channels. Transparency is laid over white; colours become grey by their luma.

    >>> recoloured(np.array([[[200, 100, 50]]], dtype=np.uint8), 1)
    array([[[124.2]]])
    >>> recoloured(np.array([[[0, 51]]], dtype=np.uint8), 1)
    array([[[204.]]])
    """
    given = pixels.shape[-1]
    if given == channels:
        return pixels
    if given > 4 or channels not in (1, 3, 4):
        raise SchemaError(f"got pictures of {given} channels, wanted {channels}", how="give them as at fit")
    white = full_scale(pixels.dtype) or 1.0
    if given in (2, 4) and channels < 4:
        share = pixels[..., -1:] / white
        return recoloured(pixels[..., :-1] * share + white * (1 - share), channels)
    if channels == 1:
        return np.asarray(pixels @ _LUMA)[..., None]
    colour = pixels if given == 3 else np.repeat(pixels[..., :1], 3, axis=-1)
    opacity = pixels[..., 1:] if given == 2 else np.full_like(pixels[..., :1], white)
    return colour if channels == 3 else np.concatenate([colour, opacity], axis=-1)


def resized(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Pictures (n, h, w, c) as (n, height, width, c), float64: linear between pixels, averaged where they shrink.

    A missing pixel (NaN) has no weight; where all that make a pixel are missing, it is missing.
    """
    if pixels.shape[1:3] == (height, width):
        return pixels
    missing = np.isnan(pixels) if pixels.dtype.kind == "f" else None
    if missing is None or not missing.any():
        return _interpolated(pixels, height, width)
    weight = _interpolated(~missing, height, width)
    values = _interpolated(np.where(missing, 0.0, pixels), height, width)
    return np.asarray(np.where(weight > 1e-6, values / np.maximum(weight, 1e-6), np.nan))


@torch.inference_mode()
def _interpolated(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    planes = torch.tensor(np.moveaxis(pixels, -1, 1).astype(np.float64))
    given = functional.interpolate(planes, (height, width), mode="bilinear", antialias=True)
    return np.asarray(np.moveaxis(given.numpy(), 1, -1))


def as_type(pixels: np.ndarray, kind: np.dtype, times: float = 1.0) -> np.ndarray:
    """Float pixels, multiplied, as a type: rounded and held inside its range where it holds whole numbers."""
    if kind.kind == "f":
        return np.asarray((pixels * times).astype(kind))
    span, result = np.iinfo(kind), np.empty(pixels.shape, dtype=kind)
    flat, given = result.reshape(-1), np.ascontiguousarray(pixels).reshape(-1)
    for start in range(0, given.size, _BLOCK):
        whole = np.rint(np.nan_to_num(given[start : start + _BLOCK] * times))
        flat[start : start + _BLOCK] = np.clip(whole, span.min, span.max, out=whole)
    return result


class PixelNames(GridNames):
    """The names of a picture's pixels: row, column, and channel where there are several.

    >>> PixelNames(("grey",), 2, 3)[4], PixelNames(("red", "green"), 1, 1)[-1]
    ('pixel (1, 1)', 'pixel (0, 0) green')
    """

    def name(self, part: str, row: int, column: int) -> str:
        return f"pixel ({row}, {column})" + (f" {part}" if len(self.parts) > 1 else "")
