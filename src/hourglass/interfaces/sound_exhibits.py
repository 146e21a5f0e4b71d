"""The parts of a report that are about recordings: their tiles, given and given back, and what the recordings are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from hourglass.core.chunks import in_chunks
from hourglass.data.audio import RANGE, AudioFormat
from hourglass.data.audio_places import Placed
from hourglass.interfaces.drawing import in_heat, sheet
from hourglass.interfaces.exhibits import folders, listing
from hourglass.interfaces.page import Block, Part, Picture, Text
from hourglass.interfaces.subject import Subject
from hourglass.interfaces.words import counted, number_words

_SHOWN = 8
_SIDE = 112


def sound_exhibits(subject: Subject, form: AudioFormat) -> Sequence[Part]:
    """What a report shows of recordings, after what was found."""
    return [_given_back_part(subject, form), _oddest_part(subject, form)]


def _given_back_part(subject: Subject, form: AudioFormat) -> Part:
    count = len(subject.score)
    chosen = np.unique(np.linspace(0, count - 1, min(_SHOWN, count)).astype(int)).tolist()
    words = f"Each tile passes through a code of {counted(subject.model.latent_size, 'number')}."
    if subject.model.network.has_skips:
        words += " Beside it, finer views of the tile pass it by, so that its code need not hold all there is."
    caption = f"{counted(len(chosen), 'tile')}, evenly apart: as given above, as the model gives them back below."
    return Part("Given and given back", [Text(words), _sheet(subject, form, chosen, caption)])


def _oddest_part(subject: Subject, form: AudioFormat) -> Part:
    chosen = subject.order[:_SHOWN].tolist()
    names = "; ".join(f"{subject.name(each)} ({number_words(float(subject.score[each]), 3)})" for each in chosen)
    caption = f"As given above, as the model gives them back below. Scores: {names}."
    return Part("The oddest tiles", [_sheet(subject, form, chosen, caption)])


def _sheet(subject: Subject, form: AudioFormat, chosen: list[int], caption: str) -> Picture:
    samples, network = subject.packed.samples[chosen], subject.model.network
    back = in_chunks(network.reconstruct, samples, network.device)
    rows = [
        [_drawn(form, each, given) for each, given in zip(tiles, samples, strict=True)] for tiles in (samples, back)
    ]
    scale = f"Time to the right, frequency upwards; from pale to black are {RANGE:.0f} dB."
    return Picture(sheet(rows, _SIDE), f"{caption} {scale}")


def _drawn(form: AudioFormat, tile: np.ndarray, given: np.ndarray) -> np.ndarray:
    """A tile as colours (bins, frames, 3), its lowest bin below; a complex one on the scale of the `given` one."""
    if not form.layout.complex:
        return in_heat(tile[0, ::-1])
    power, loudest = (np.square(each).sum(axis=0) for each in (tile, given))
    decibels = 10 * np.log10(np.maximum(power / max(float(loudest.max()), 1e-30), 10 ** (-RANGE / 10)))
    return in_heat(1 + decibels[::-1] / RANGE)


def sounds_profile(subject: Subject, form: AudioFormat) -> list[Block]:
    """How many recordings there are, how long, of what rates and channels, and how the model hears them."""
    place: Placed = subject.packed.places
    origin = place.origin
    seconds = [origin.seconds(recording) for recording in range(len(origin))]
    extent = f", {min(seconds):,.1f} to {max(seconds):,.1f} s each" if len(seconds) > 1 else ""
    rates = listing(Counter(f"{rate:,} Hz" for rate in origin.rates))
    channels = listing(Counter(counted(each, "channel") for each in origin.channels))
    words = f"{counted(len(origin), 'recording')}, {sum(seconds):,.1f} s{extent}; {rates}; {channels}."
    height, width = form.layout.shape[1:]
    second, band = width * form.transform.hop / form.rate, height * form.rate / form.transform.fft
    size = f"{second:.2f} s and {band:,.0f} Hz ({height} bins x {width} spectra)"
    heard = f"The model hears {form.rate:,} frames a second, in {counted(len(subject.score), 'tile')} of {size}."
    return [Text(f"{words} {heard}"), *folders(subject)]
