"""Sound for a page: players and spectrograms of one stretch, small enough to lie in the file itself."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hourglass.data.sound_writing import as_integers
from hourglass.data.spectrogram import resampled, usual_transform
from hourglass.interfaces.drawing import heat_map
from hourglass.interfaces.page import Take

MOST_SECONDS = 10
"""That are played of a recording."""
LOWEST_RATE, HIGHEST_RATE = 8_000, 22_050
"""Frames a second of a player: what every browser plays, and no more than keeps the page small."""
RANGE = 80.0
"""Decibels from the brightest of a spectrogram to black."""
_WIDTH, _HEIGHT = 480, 192
_PEAK = 0.9
_MOST_MARKS = 5


@dataclass(frozen=True)
class Version:
    """What was made of a stretch of sound."""

    name: str
    words: str
    signal: np.ndarray
    """(samples,)."""
    rate: int

    @cached_property
    def magnitudes(self) -> np.ndarray:
        """Its spectrogram (bins, frames)."""
        return np.asarray(np.abs(usual_transform(self.rate).forward(self.signal)))


def loudest_stretch(signal: np.ndarray, rate: int) -> slice:
    """The ten seconds of a recording (frames, channels) that hold the most power; all of a shorter one."""
    length = MOST_SECONDS * rate
    if len(signal) <= length:
        return slice(0, len(signal))
    power = np.append(0.0, np.cumsum(np.square(signal, dtype=np.float64).sum(axis=1)))
    start = int(np.argmax(power[length:] - power[:-length]))
    return slice(start, start + length)


def takes_of(versions: Sequence[Version]) -> list[Take]:
    """Players and pictures of one stretch's versions, on one scale, so that they compare as they are.

    The loudest sample of all is played at nearly full scale; the loudest bin of the first one is the brightest.
    """
    peak = max(float(np.abs(each.signal).max()) for each in versions)
    loudest = float(versions[0].magnitudes.max())
    return [_take(each, _PEAK / peak if peak else 1.0, loudest or 1.0) for each in versions]


def _take(version: Version, gain: float, loudest: float) -> Take:
    quietest = 10 ** (-RANGE / 20)
    decibels = 20 * np.log10(np.maximum(version.magnitudes / loudest, quietest))
    picture = heat_map(1 + decibels[::-1] / RANGE, _WIDTH, _HEIGHT)
    seconds = marks(len(version.signal) / version.rate, "s")
    band = version.rate / 2
    hertz = marks(band / 1000, "kHz") if band > 1000 else marks(band, "Hz")
    return Take(version.name, version.words, flac(gain * version.signal, version.rate), picture, seconds, hertz)


def flac(signal: np.ndarray, rate: int) -> bytes:
    """A signal (samples,) as the bytes of a FLAC file of 16 bits, at a rate that a page can hold and browsers play."""
    import soundfile

    played = min(max(rate, LOWEST_RATE), HIGHEST_RATE)
    buffer = io.BytesIO()
    samples = as_integers(resampled(signal[:, None], rate, played), "PCM_16")
    soundfile.write(buffer, samples, played, subtype="PCM_16", format="FLAC")
    return buffer.getvalue()


def marks(end: float, unit: str) -> list[tuple[float, str]]:
    """Round numbers along an axis from 0 to `end`: each its place, as a percentage, and its words.

    >>> marks(10.0, "s")
    [(0.0, '0'), (20.0, '2'), (40.0, '4'), (60.0, '6'), (80.0, '8'), (100.0, '10 s')]
    """
    scale = 10 ** math.floor(math.log10(end / _MOST_MARKS))
    step = next(factor * scale for factor in (1, 2, 5, 10) if end <= (_MOST_MARKS + 1e-9) * factor * scale)
    places = [place * step for place in range(int(end / step + 1e-9) + 1)]
    words = [f"{place:.6g}" for place in places]
    words[-1] += f" {unit}"
    return [(round(100 * place / end, 2), word) for place, word in zip(places, words, strict=True)]
