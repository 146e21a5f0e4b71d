"""Samples cut into patches: stretches of steps of a series, squares of pixels of a picture."""

from __future__ import annotations

import math

import numpy as np

from hourglass.data.samples import Layout
from hourglass.errors import UsageError

_STRETCHES, _SQUARES = 16, 64
"""At most about so many patches a sample, by rule."""


def patch_side(layout: Layout, asked: int | None, where: str) -> int:
    """Steps, or pixels a side, of a patch: as asked, or so that a series has 16 patches and a picture 64 at most."""
    if asked is None:
        series, steps = len(layout.shape) == 2, layout.shape[0]
        return math.ceil(steps / _STRETCHES if series else math.sqrt(math.prod(layout.shape[1:]) / _SQUARES))
    rows, columns, _ = _grid(layout).shape
    if asked > max(rows, columns):
        size = f"{rows} x {columns}" if len(layout.shape) == 3 else f"{rows} steps"
        raise UsageError(f"got {asked}, and samples have {size}", where=where, how="give a smaller patch")
    return asked


def patch_places(layout: Layout, side: int) -> np.ndarray:
    """For each patch, the places of its numbers in the flattened sample. Shape (patches, numbers), int64.

    Patches that reach beyond the sample have the place `layout.size` there.

    >>> patch_places(Layout((5, 1)), 2).tolist()
    [[0, 1], [2, 3], [4, 5]]
    """
    grid = _grid(layout)
    sides = (side, side if len(layout.shape) == 3 else 1)
    beyond = [(0, -length % step) for length, step in zip(grid.shape, sides, strict=False)]
    grid = np.pad(grid, [*beyond, (0, 0)], constant_values=layout.size)
    rows, columns, channels = grid.shape
    cut = grid.reshape(rows // sides[0], sides[0], columns // sides[1], sides[1], channels)
    return np.asarray(cut.transpose(0, 2, 1, 3, 4).reshape(-1, sides[0] * sides[1] * channels))


def place_in_patches(places: np.ndarray, size: int) -> np.ndarray:
    """For each number of the flattened sample, where it is in its flattened patches. Shape (size,), int64."""
    return np.argsort(places.reshape(-1), kind="stable")[:size]


def patch_of(layout: Layout, side: int) -> np.ndarray:
    """For each number of the flattened sample, the index of its patch. Shape (size,), int64."""
    places = patch_places(layout, side)
    return np.asarray(place_in_patches(places, layout.size) // places.shape[1])


def _grid(layout: Layout) -> np.ndarray:
    """The places of a sample as (rows, columns, channels); a series has one column."""
    numbers = np.arange(layout.size).reshape(layout.shape)
    return numbers[:, None] if numbers.ndim == 2 else np.moveaxis(numbers, 0, -1)
