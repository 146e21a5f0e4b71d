"""Sound as spectrograms and back: the short-time Fourier transform; and from one rate to another."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

_SECONDS = 0.023
"""Length of a stretch that is transformed: short enough for a bird's trill, long enough for a whale's pitch."""
_SHORTEST = 32
_BLOCK = 2048
"""Stretches transformed at a time."""


def usual_fft(rate: int) -> int:
    """The power of two that is nearest to 23 ms, at least 32.

    >>> [usual_fft(rate) for rate in (8_000, 16_000, 22_050, 48_000)]
    [256, 512, 512, 1024]
    """
    return max(_SHORTEST, 1 << round(math.log2(_SECONDS * max(rate, 100))))


@dataclass(frozen=True)
class Transform:
    """The short-time Fourier transform with a periodic Hann window, and its inverse by weighted overlap-add.

    Frame t is centred at sample t * hop. White noise of unit root mean square has unit power in every bin.
    """

    fft: int
    """Samples of a stretch, a multiple of `hop`."""
    hop: int

    @cached_property
    def window(self) -> np.ndarray:
        """float32 (fft,); the sum of its squares is 1."""
        hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(self.fft) / self.fft)
        return np.asarray((hann / np.sqrt(np.sum(hann**2))).astype(np.float32))

    def frames(self, length: int) -> int:
        """How many frames a signal of so many samples has."""
        return length // self.hop + 1

    def forward(self, signal: np.ndarray) -> np.ndarray:
        """The spectrogram, complex64 (fft / 2 + 1, frames), of a signal (n,), with silence before and after it."""
        return self.spectra(np.pad(np.asarray(signal, dtype=np.float32), self.fft // 2))

    def spectra(self, stretch: np.ndarray) -> np.ndarray:
        """The frames, complex64 (fft / 2 + 1, k), that lie wholly in a stretch (fft + (k - 1) * hop or a little more,).

        Nothing is put before or after it: `forward` of a signal is `spectra` of the signal between fft / 2 zeros.
        """
        from scipy import fft as fourier  # here, since it takes a fifth of a second, and a table needs none

        views = sliding_window_view(stretch, self.fft)[:: self.hop]
        spectrogram = np.empty((self.fft // 2 + 1, len(views)), dtype=np.complex64)
        for part in _blocks(len(views)):
            spectrogram[:, part] = fourier.rfft(views[part] * self.window, axis=1).T
        return spectrogram

    def inverse(self, spectrogram: np.ndarray, length: int) -> np.ndarray:
        """The signal (length,) of a spectrogram (bins, frames), float32; bins that are left out at the top are 0."""
        sums, weights = self.overlapped(spectrogram)
        kept = slice(self.fft // 2, self.fft // 2 + length)
        return np.asarray(sums[kept] / weights[kept])

    def overlapped(self, spectrogram: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The windowed stretches of frames, added where they lie, and the sum of the squared windows there.

        Both float32 (fft + (frames - 1) * hop,), from fft / 2 samples before the first frame's centre on. Stretches
        that are transformed one after another are added to one another first, and divided by their weights then.
        """
        from scipy import fft as fourier

        frames, parts = spectrogram.shape[1], self.fft // self.hop
        sums = np.zeros((frames + parts - 1, self.hop), dtype=np.float32)
        for block in _blocks(frames):
            stretches = fourier.irfft(spectrogram[:, block].T, self.fft, axis=1) * self.window
            pieces = stretches.reshape(-1, parts, self.hop)
            for part in range(parts):
                sums[block.start + part : block.stop + part] += pieces[:, part]
        squares = (self.window**2).reshape(parts, self.hop)
        weights = np.zeros_like(sums)
        for part in range(parts):
            weights[part : part + frames] += squares[part]
        return sums.reshape(-1), weights.reshape(-1)


def usual_transform(rate: int) -> Transform:
    """The transform of about 23 ms at a rate, one every quarter of that."""
    return Transform(usual_fft(rate), usual_fft(rate) // 4)


def _blocks(count: int) -> Iterator[slice]:
    return (slice(start, min(start + _BLOCK, count)) for start in range(0, count, _BLOCK))


def resampled(signal: np.ndarray, rate: int, wanted: int) -> np.ndarray:
    """A recording (frames, channels) of `rate` frames a second at the `wanted` rate, float32, `length_at` frames long.

    What lies above half the lower of both rates is lost.
    """
    if rate == wanted:
        return signal
    import soxr

    found = soxr.resample(np.ascontiguousarray(signal, dtype=np.float32), rate, wanted, quality="HQ")
    return of_length(np.asarray(found), length_at(len(signal), rate, wanted))


def length_at(length: int, rate: int, wanted: int) -> int:
    """How many frames a recording has at another rate: enough for all of it, so that it can come back as long."""
    return -(-length * wanted // rate)


def of_length(signal: np.ndarray, length: int) -> np.ndarray:
    """The first `length` samples of a signal (n, ...), with silence after it where it has fewer."""
    missing = length - len(signal)
    return signal[:length] if missing <= 0 else np.pad(signal, ((0, missing), *[(0, 0)] * (signal.ndim - 1)))
