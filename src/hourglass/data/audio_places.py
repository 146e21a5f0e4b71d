"""Where tiles of sound come from: recordings, how loud each was, and what stretch of it a tile stands for."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np

from hourglass.data.audio_forms import Origin
from hourglass.data.times import counted
from hourglass.errors import DataError


@dataclass(frozen=True)
class Level:
    """What is taken off a recording before it is transformed, and put back in the end."""

    offset: np.ndarray
    """The mean of each channel, float64 (channels,)."""
    scale: float
    """Root mean square of what is left, over all channels; 1 for silence."""
    peak: float = 1.0
    """Its loudest magnitude, once scaled; 1 for silence."""

    @classmethod
    def of(cls, array: np.ndarray) -> Self:
        """The level of a recording (frames, channels)."""
        offset = array.mean(axis=0, dtype=np.float64)
        squares = np.mean(np.square(array - offset.astype(array.dtype)), dtype=np.float64)
        scale, rounding = float(np.sqrt(squares)), float(np.abs(offset).max()) * np.finfo(np.float32).eps
        return cls(offset, scale if scale > rounding else 1.0)

    def with_peak(self, spectra: Sequence[np.ndarray]) -> Self:
        """The level with the loudest magnitude of the spectrograms, unless another take of the recording has set it."""
        if self.peak != 1.0:
            return self
        return dataclasses.replace(self, peak=max(float(np.abs(each).max()) for each in spectra) or 1.0)

    def taken_off(self, array: np.ndarray) -> np.ndarray:
        """The recording without its offset, and divided by its scale, float32."""
        return np.asarray((array - self.offset.astype(array.dtype)) / np.asarray(self.scale, array.dtype), np.float32)

    def put_back(self, array: np.ndarray) -> np.ndarray:
        """The inverse of `taken_off`, float32."""
        return np.asarray(array * np.float32(self.scale) + self.offset.astype(np.float32))


@dataclass(frozen=True)
class Span:
    """The stretch of sound that a tile stands for."""

    name: str
    channel: int
    """From 1."""
    start: float
    """Seconds."""
    end: float
    low: float
    """Hz."""
    high: float


@dataclass(frozen=True)
class Placed:
    """Where samples came from: recordings, their levels, and their spectrograms where these hold the phase.

    Tiles follow one another by recording, then in time, then by channel, then by band of frequency.
    """

    origin: Origin
    levels: list[Level]
    frames: list[int]
    """Of each recording's spectrograms."""
    spectra: list[list[np.ndarray]] = field(default_factory=list)
    """For each recording the spectrogram of each channel; none where samples hold the phase themselves."""


def check_alike(got: Origin, wanted: Origin) -> None:
    """Refuse recordings that are no other takes of the same things: as many, as long, of as many channels."""
    if len(got) != len(wanted):
        what = f"got {counted(len(got), 'recording')} for {len(wanted):,}, wanted one take for each"
        raise DataError(what, where=got.source, how="give both in the same order")
    pairs = zip(got.lengths, wanted.lengths, got.channels, wanted.channels, strict=True)
    odd = [place for place, (ours, theirs, one, other) in enumerate(pairs) if ours != theirs or one != other]
    if odd:
        shapes = (
            f"{each.lengths[odd[0]]:,} frames of {counted(each.channels[odd[0]], 'channel')}" for each in (got, wanted)
        )
        what = f"got {' and '.join(shapes)} in its other take"
        raise DataError(what, where=got.names[odd[0]], how="cut both takes to the same stretch")
