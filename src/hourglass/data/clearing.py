"""Calls with noise of their own, made clearer before they are learned: a model keeps what it was told is clean."""

from __future__ import annotations

import dataclasses

import numpy as np

from hourglass.data.quality import own_snr
from hourglass.data.samples import Recordings
from hourglass.data.soundscapes import wiener
from hourglass.data.times import counted

CLEAR = 20.0
"""Decibels of its own signal-to-noise ratio from which a recording counts as clear."""


def cleared(recordings: Recordings, least: float = CLEAR) -> tuple[Recordings, list[str]]:
    """Recordings as targets, and what is to be said of them: those with noise of their own go through `wiener`.

    A recording of several channels is as clear as its noisiest; silence is left as it is.
    """
    arrays, noisy = list(recordings.arrays), []
    for row, (sound, rate) in enumerate(zip(recordings.arrays, recordings.rates, strict=True)):
        if _is_noisy(sound, rate, least):
            arrays[row] = wiener(sound, rate)
            noisy.append(recordings.where(row))
    if not noisy:
        return recordings, []
    which = f"{len(noisy):,} of {counted(len(arrays), 'recording')} (the first: {noisy[0]})"
    notice = f"filtered first, since their own noise is less than {least:g} dB below the calls: {which}"
    return dataclasses.replace(recordings, arrays=arrays), [notice]


def _is_noisy(sound: np.ndarray, rate: int, least: float) -> bool:
    return any(np.ptp(channel) > 0 and own_snr(channel, rate) < least for channel in sound.T)
