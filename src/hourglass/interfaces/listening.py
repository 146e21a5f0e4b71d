"""The report of `denoise` for ears and eyes: recordings before and after, beside a spectral gate, with what was gained.

gains.measured -> build_section   a headline, the table of all, and players with spectrograms of a few (takes.py)
               -> page.write_page
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hourglass.interfaces.gains import ALONE, Gains, Measured, Pair, Sounds, measured
from hourglass.interfaces.page import Block, Facts, Part, Section, Table, Takes, Text, write_page
from hourglass.interfaces.sounds import HEARD
from hourglass.interfaces.takes import MOST_SECONDS, RANGE, Version, loudest_stretch, takes_of
from hourglass.interfaces.words import counted

MOST_SHOWN = 6


def write_listening(path: str | Path, title: str, pairs: Sequence[Pair]) -> Gains:
    """Measure recordings before and after, and write the report on them as one HTML file that needs no network."""
    heard = measured(pairs)
    write_page(path, title, [build_section(title, heard)])
    return heard


def build_section(title: str, heard: Gains) -> Section:
    """What was gained, and a few recordings to hear and to look at."""
    shown = [_recording_part(heard, place) for place in chosen(heard.gains[:, 0])]
    return Section(title, headline(heard), [gained_part(heard, len(shown)), *shown])


def chosen(gains: np.ndarray) -> list[int]:
    """The recordings to show: those with the two largest, the two middle and the two smallest gains, in that order.

    >>> chosen(np.arange(9.0))
    [8, 7, 5, 4, 1, 0]
    """
    order: list[int] = np.argsort(-gains, kind="stable").tolist()
    middle = len(order) // 2
    return order if len(order) <= MOST_SHOWN else [*order[:2], *order[middle - 1 : middle + 1], *order[-2:]]


def headline(heard: Gains) -> str:
    """What was gained, in two sentences."""
    measure, gain = heard.measures[0], float(np.median(heard.gains[:, 0]))
    where = "" if len(heard.found) == 1 else f"In the median of {counted(len(heard.found), 'recording')}, "
    first = f"{where}{measure.words} {measure.moved(gain)}"
    if heard.gate:
        first += f"; with the spectral gate it {measure.moved(float(np.median(heard.gate_gains[:, 0])))}"
    last = " A lower floor is no proof of quality: listen." if heard.measures is ALONE else ""
    return f"{first[0].upper()}{first[1:]}.{last}"


def gained_part(heard: Gains, shown: int) -> Part:
    """The medians, what is to be said of the gate, and the figures of every recording."""
    number, noun = counted(len(heard.found), "recording").split()
    pairs = [(number, noun), *_medians(heard)]
    said = [Text(f"Note: {notice}.".replace("..", ".")) for notice in heard.notices]
    most = f", those with the largest, the middle and the smallest gain among {len(heard.found):,}"
    below = f"Below, {counted(shown, 'recording')} can be heard{most if shown < len(heard.found) else ''}."
    return Part("What was gained", [Facts(pairs), *said, Text(below), _table(heard)])


def _medians(heard: Gains) -> list[tuple[str, str]]:
    what, middle = {1: "gain in", -1: "drop of the"}, "median " if len(heard.found) > 1 else ""
    facts = []
    for place, measure in enumerate(heard.measures):
        words = f"{middle}{what[measure.better]} {measure.name}"
        facts.append((f"{np.median(heard.gains[:, place]):.1f} dB", words))
        if heard.gate:
            facts.append((f"{np.median(heard.gate_gains[:, place]):.1f} dB", f"{words}, spectral gate"))
    return facts


def _table(heard: Gains) -> Table:
    names = ["before", "denoised", *(["gate"] if heard.gate else [])]
    header = ["recording", "seconds", *(f"{measure.name}, {name}" for measure in heard.measures for name in names)]
    order = np.argsort(-heard.gains[:, 0], kind="stable").tolist()
    rows = [[each.pair.name, f"{each.seconds:,.1f}", *_cells(each)] for each in (heard.found[place] for place in order)]
    return Table(header, rows, frozenset(range(1, len(header))), _caption(heard), frozenset({0}))


def _cells(each: Measured) -> list[str]:
    """Before, after and gate of the first measure, then of the next."""
    columns = zip(each.before, each.after, *([] if each.gate is None else [each.gate]), strict=True)
    return [f"{value:.1f}" for values in columns for value in values]


def _caption(heard: Gains) -> str:
    first = f"In dB, over the first {HEARD} seconds of each recording, the largest gain first."
    if heard.measures is ALONE:
        return (
            f"{first} Noise floor: how loud it is where nothing calls, -120 dB being silence; own SNR: signal to "
            "noise, as the recording itself tells. Neither says whether calls were harmed: a lower floor is no proof "
            "of quality."
        )
    snr = np.median([each.clean_snr for each in heard.found if each.clean_snr is not None])
    return (
        f"{first} SI-SDR: the clean twin against all else, at any loudness; segmental SNR: the mean over frames of 30 "
        f"ms. Clean twins have noise of their own, which counts against every method: their own SNR is {snr:.1f} dB."
    )


def _recording_part(heard: Gains, place: int) -> Part:
    """One recording: its ten loudest seconds in every version."""
    each = heard.found[place]
    sounds = Sounds.of(each.pair)
    stretch = loudest_stretch(sounds.after, sounds.rate)
    channel = int(np.argmax(np.square(sounds.after[stretch], dtype=np.float64).sum(axis=0)))
    versions = [
        Version(name, _figures(heard, values), sound[stretch, channel], sounds.rate)
        for name, values, sound in (
            ("Before", each.before, sounds.before),
            ("Clean twin", [], sounds.clean),
            ("Denoised", each.after, sounds.after),
            ("Spectral gate", each.gate or [], sounds.gate),
        )
        if sound is not None
    ]
    blocks: list[Block] = [Takes(takes_of(versions), _stretch_words(sounds, stretch, channel))]
    return Part(each.pair.name, blocks)


def _figures(heard: Gains, values: Sequence[float]) -> str:
    return ", ".join(f"{measure.name} {value:.1f} dB" for measure, value in zip(heard.measures, values, strict=False))


def _stretch_words(sounds: Sounds, stretch: slice, channel: int) -> str:
    start, end = stretch.start / sounds.rate, stretch.stop / sounds.rate
    which = f"the loudest {MOST_SECONDS} seconds of what is left, " if end - start >= MOST_SECONDS else ""
    several = f", channel {channel + 1} of {sounds.before.shape[1]}" if sounds.before.shape[1] > 1 else ""
    return (
        f"Heard and seen: {which}{start:.1f} s to {end:.1f} s{several}. All are played equally amplified. Brightness "
        f"is in dB: pale is as loud as the loudest before, black at least {RANGE:.0f} dB below."
    )
