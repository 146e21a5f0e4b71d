"""Calls to learn from that carry noise of their own, made clearer first: a model gives back what it was told is clean."""

from __future__ import annotations

import dataclasses

from hourglass.data.quality import own_snr
from hourglass.data.samples import Recordings
from hourglass.data.soundscapes import wiener
from hourglass.data.times import counted

CLEAR = 20.0
"""Decibels of its own signal-to-noise ratio from which a recording counts as clear."""


def cleared(recordings: Recordings, least: float = CLEAR) -> tuple[Recordings, list[str]]:
    """Recordings as targets, and what is to be said of them: those with noise of their own go through `wiener`.

    A recording of several channels is as clear as its noisiest. Silence, and what is too short to tell, is left as is.
    """
    arrays, noisy = list(recordings.arrays), []
    for row, (sound, rate) in enumerate(zip(recordings.arrays, recordings.rates, strict=True)):
        if min(own_snr(channel, rate) for channel in sound.T) < least:
            arrays[row] = wiener(sound, rate)
            noisy.append(recordings.where(row))
    if not noisy:
        return recordings, []
    which = f"{len(noisy):,} of {counted(len(arrays), 'recording')} (the first: {noisy[0]})"
    notice = (
        f"{which} carry noise of their own, less than {least:g} dB below the calls: filtered before they are learned"
    )
    return dataclasses.replace(recordings, arrays=arrays), [notice]
