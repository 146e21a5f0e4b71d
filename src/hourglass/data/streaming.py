"""Sound block by block: resampling, spectrograms and overlap-add that remember what the next block needs.

Blocks may have any length, also none. Joined, what comes out is what the whole signal gives in one go: each `feed`
returns what no later block can change, and with `last`, all of the rest.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import Any

import numpy as np

from hourglass.data.audio_places import Level
from hourglass.data.spectrogram import Transform, length_at, of_length


class Resampling:
    """Recordings (frames, channels) brought from one rate to another, like `spectrogram.resampled`."""

    def __init__(self, rate: int, wanted: int, channels: int) -> None:
        self.rate, self.wanted, self.channels = rate, wanted, channels
        self._given = self._made = 0
        self._stream: Any = None
        if rate != wanted:
            import soxr

            self._stream = soxr.ResampleStream(rate, wanted, channels, dtype="float32", quality="HQ")

    def feed(self, block: np.ndarray, last: bool = False) -> np.ndarray:
        """The next frames (k, channels), float32, at the wanted rate."""
        self._given += len(block)
        if self._stream is not None:
            given = np.ascontiguousarray(block) if self.channels > 1 else block[:, 0].copy()
            block = np.asarray(self._stream.resample_chunk(given, last=last)).reshape(-1, self.channels)
        if last:
            block = of_length(block, length_at(self._given, self.rate, self.wanted) - self._made)
        self._made += len(block)
        return block

    @cached_property
    def latency(self) -> float:
        """Seconds by which what comes out lags behind what went in, at most: found by trying."""
        if self.rate == self.wanted:
            return 0.0
        trial, step = Resampling(self.rate, self.wanted, 1), max(1, self.rate // 200)
        lags = []
        for _ in range(200):
            trial.feed(np.zeros((step, 1), dtype=np.float32))
            lags.append(trial._given / self.rate - trial._made / self.wanted)
        return max(lags)


class Analysis:
    """A signal (samples,) as the frames of its spectrogram (bins, frames), like `Transform.forward`."""

    def __init__(self, transform: Transform) -> None:
        self.transform = transform
        self._pending = np.zeros(transform.fft // 2, dtype=np.float32)

    def feed(self, signal: np.ndarray, last: bool = False) -> np.ndarray:
        """The next frames, those that lie within the signal so far."""
        fft, hop = self.transform.fft, self.transform.hop
        after = np.zeros(fft // 2 if last else 0, dtype=np.float32)
        stretch = np.concatenate([self._pending, signal, after])
        count = max(0, (len(stretch) - fft) // hop + 1)
        self._pending = stretch[count * hop :]
        if not count:
            return np.empty((fft // 2 + 1, 0), dtype=np.complex64)
        return self.transform.spectra(stretch[: fft + (count - 1) * hop])


class Synthesis:
    """Frames of a spectrogram (bins, frames) as the signal (samples,), like `Transform.inverse`.

    In the end it has more samples than the signal had: its length must be cut.
    """

    def __init__(self, transform: Transform) -> None:
        self.transform = transform
        self._sums = self._weights = np.empty(0, dtype=np.float32)
        self._before = transform.fft // 2

    def feed(self, spectrogram: np.ndarray, last: bool = False) -> np.ndarray:
        """The next samples, those to which no later frame adds."""
        sums, weights = self._sums, self._weights
        count = spectrogram.shape[1]
        if count:
            sums, weights = self.transform.overlapped(spectrogram)
            sums[: len(self._sums)] += self._sums
            weights[: len(self._weights)] += self._weights
        ready = len(sums) if last else count * self.transform.hop
        self._sums, self._weights = sums[ready:], weights[ready:]
        skipped = min(self._before, ready)  # the silence that was put before the signal
        self._before -= skipped
        return np.asarray(sums[skipped:ready] / weights[skipped:ready])


class Spectra:
    """Recordings (frames, channels) as spectrograms (channels, bins, frames) at another rate; no highest bin."""

    def __init__(self, rate: int, wanted: int, channels: int, transform: Transform) -> None:
        self.resampling = Resampling(rate, wanted, channels)
        self._analyses = [Analysis(transform) for _ in range(channels)]

    def feed(self, block: np.ndarray, last: bool = False) -> np.ndarray:
        """The next frames of all channels."""
        signals = self.resampling.feed(block, last).T
        return np.stack([each.feed(signal, last)[:-1] for each, signal in zip(self._analyses, signals, strict=True)])


def measured(blocks: Iterable[np.ndarray], channels: int) -> Level:
    """The level of a recording that comes in blocks (frames, channels), as `Level.of` has it for the whole."""
    gauge = Gauge(channels)
    for block in blocks:
        gauge.hear(block)
    return gauge.level()


class Gauge:
    """The level of what was heard so far of a recording."""

    def __init__(self, channels: int) -> None:
        self._count = 0
        self._sums, self._squares = np.zeros(channels), np.zeros(channels)

    def hear(self, block: np.ndarray) -> None:
        """Take one more block (frames, channels) into account."""
        self._count += len(block)
        self._sums += block.sum(axis=0, dtype=np.float64)
        self._squares += np.square(block, dtype=np.float64).sum(axis=0)

    def level(self) -> Level:
        """Offsets and scale; silence has scale 1."""
        offset = self._sums / max(self._count, 1)
        variance = float(np.mean(self._squares / max(self._count, 1) - offset**2))
        rounding = float(np.abs(offset).max()) * np.finfo(np.float32).eps
        scale = float(np.sqrt(max(variance, 0.0)))
        return Level(offset, scale if scale > rounding else 1.0)
