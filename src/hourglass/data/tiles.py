"""Pictures of any size as square tiles of one size, which cover them wholly, and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view


@dataclass(frozen=True)
class Tiles:
    """Where the tiles of each picture lie, picture after picture."""

    side: int
    sizes: Sequence[tuple[int, int]]
    """Height and width of each picture."""
    overlap: int = 0
    """Pixels that neighbouring tiles have in common, at least."""
    corners: list[np.ndarray] = field(init=False)
    """For each picture the top left corners of its tiles, (tiles, 2): row and column."""

    def __post_init__(self) -> None:
        known = {size: corners(*size, self.side, self.overlap) for size in set(self.sizes)}
        object.__setattr__(self, "corners", [known[size] for size in self.sizes])

    @property
    def groups(self) -> np.ndarray:
        """The picture of each tile."""
        return np.repeat(np.arange(len(self.sizes)), [len(each) for each in self.corners])

    @property
    def starts(self) -> np.ndarray:
        """The first tile of each picture, and the number of tiles at the end."""
        return np.concatenate([[0], np.cumsum([len(each) for each in self.corners])])

    def cut(self, pixels: np.ndarray, picture: int) -> np.ndarray:
        """The tiles (tiles, side, side, channels) of a picture (height, width, channels).

        A picture smaller than a tile is filled up at its end by repeating its edge.
        """
        height, width = pixels.shape[:2]
        room = ((0, max(0, self.side - height)), (0, max(0, self.side - width)), (0, 0))
        views = sliding_window_view(np.pad(pixels, room, mode="edge"), (self.side, self.side), axis=(0, 1))
        rows, columns = self.corners[picture].T
        return np.moveaxis(views[rows, columns], 1, -1)

    def stitched(self, tiles: np.ndarray, picture: int) -> np.ndarray:
        """A picture (height, width, channels) from its tiles; where they overlap, one fades into the other."""
        height, width = self.sizes[picture]
        shape = (max(height, self.side), max(width, self.side), tiles.shape[-1])
        total, weights = np.zeros(shape), np.zeros((*shape[:2], 1))
        ramp = np.minimum(np.arange(self.side), np.arange(self.side)[::-1]) + 1.0
        weight = np.outer(ramp, ramp)[:, :, None]
        for tile, (row, column) in zip(tiles, self.corners[picture], strict=True):
            place = slice(row, row + self.side), slice(column, column + self.side)
            total[place] += tile * weight
            weights[place] += weight
        return (total / weights)[:height, :width]


def corners(height: int, width: int, side: int, overlap: int = 0) -> np.ndarray:
    """Top left corners (tiles, 2) of as few tiles as cover a picture, evenly spread.

    >>> corners(4, 7, 4).tolist(), len(corners(4, 7, 4, overlap=2))
    ([[0, 0], [0, 3]], 3)
    """
    rows, columns = (_starts(length, side, overlap) for length in (height, width))
    return np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1).reshape(-1, 2)


def tiles_along(length: int, side: int, overlap: int) -> int:
    """How many tiles cover a length."""
    return max(1, -(-(length - overlap) // (side - overlap)))


def _starts(length: int, side: int, overlap: int) -> np.ndarray:
    return np.rint(np.linspace(0, max(0, length - side), tiles_along(length, side, overlap))).astype(np.int64)
