"""Spectrograms as tiles of one size, which overlap, and back: cross-faded where they do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hourglass.data.grid_names import GridNames


@dataclass(frozen=True)
class Tiling:
    """How spectrograms (bins, frames) are cut: at even steps in time; in frequency, from the lowest bin to the highest.

    Whether a tile is the last one changes nothing before it, so that a stream can be cut and joined as it comes.
    """

    bins: int
    """Of the whole spectrogram."""
    height: int
    """Bins of a tile."""
    width: int
    """Frames of a tile."""
    overlap: float
    """The share that neighbours have in common, at least."""

    @property
    def stride(self) -> int:
        """Frames from one tile to the next."""
        return max(1, round(self.width * (1 - self.overlap)))

    @property
    def reach(self) -> int:
        """How many of the tiles after a tile share frames with it."""
        return -(-self.width // self.stride) - 1

    @cached_property
    def lows(self) -> list[int]:
        """The lowest bin of each band, evenly spread."""
        room, step = self.bins - self.height, max(1.0, self.height * (1 - self.overlap))
        lows: list[int] = np.rint(np.linspace(0, room, 1 + int(np.ceil(room / step)))).astype(int).tolist()
        return lows

    def count(self, frames: int) -> int:
        """How many tiles one after the other cover so many frames."""
        return 1 + -(-max(0, frames - self.width) // self.stride)

    def starts(self, frames: int) -> range:
        """The first frame of each."""
        return range(0, self.count(frames) * self.stride, self.stride)

    def piece(self, spectrogram: np.ndarray, start: int) -> np.ndarray:
        """The stretch (bins, width) from frame `start` on; where it ends too early, it is continued as in a mirror.

        Silence there would make a short call look louder beside it, and would have none of the noise before it.
        """
        piece = spectrogram[:, start : start + self.width]
        missing = self.width - piece.shape[1]
        return np.pad(piece, ((0, 0), (0, missing)), mode="symmetric") if missing else piece

    def bands(self, values: np.ndarray) -> np.ndarray:
        """The tiles (bands, channels, height, width) of a stretch (channels, bins, width)."""
        return np.stack([values[:, low : low + self.height] for low in self.lows])

    def unbanded(self, tiles: np.ndarray) -> np.ndarray:
        """The stretch (channels, bins, width) of its tiles (bands, channels, height, width)."""
        if len(self.lows) == 1:
            return np.asarray(tiles[0])
        fade = _fade(self.height, self.height - int(min(np.diff(self.lows))))[:, None]
        total = np.zeros((tiles.shape[1], self.bins, self.width), dtype=tiles.dtype)
        weight = np.zeros((self.bins, 1), dtype=np.float32)
        for low, tile in zip(self.lows, tiles, strict=True):
            total[:, low : low + self.height] += tile * fade
            weight[low : low + self.height] += fade
        return np.asarray(total / weight)

    @cached_property
    def fade(self) -> np.ndarray:
        """How much each frame of a tile counts where tiles overlap, float32 (width,): up, level, and down."""
        return _fade(self.width, self.width - self.stride)

    def joined(self, pieces: Iterable[np.ndarray], frames: int) -> np.ndarray:
        """The spectrogram, complex64 (bins, frames), of its stretches (bins, width) one after the other."""
        whole = (self.count(frames) - 1) * self.stride + self.width
        total = np.zeros((self.bins, whole), dtype=np.complex64)
        weight = np.zeros(whole, dtype=np.float32)
        for start, piece in zip(self.starts(frames), pieces, strict=True):
            total[:, start : start + self.width] += piece * self.fade
            weight[start : start + self.width] += self.fade
        return np.asarray(total[:, :frames] / weight[:frames])


def _fade(length: int, overlap: int) -> np.ndarray:
    """Weights (length,) that rise over the overlap at the start and fall over that at the end; never 0.

    >>> _fade(5, 2).tolist()
    [0.25, 0.75, 1.0, 0.75, 0.25]
    """
    ramp = (np.minimum(np.arange(length), np.arange(length)[::-1]) + 0.5) / max(overlap, 0.5)
    return np.asarray(np.minimum(ramp, 1.0).astype(np.float32))


class BinNames(GridNames):
    """The names of a tile's numbers: frequency and time.

    >>> BinNames(("",), 2, 3, 125.0, 0.01)[5]
    '125 Hz at 0.020 s'
    """

    def __init__(
        self, parts: tuple[str, ...], bins: int, frames: int, hertz: float, second: float, above: str = ""
    ) -> None:
        super().__init__(parts, bins, frames)
        self.hertz, self.second, self.above = hertz, second, above

    def name(self, part: str, row: int, column: int) -> str:
        return f"{part}{row * self.hertz:,.0f} Hz{self.above} at {column * self.second:.3f} s"
