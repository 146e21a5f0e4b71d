"""What denoising gained, in dB: every recording before and after, by the model and by the spectral gate."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from hourglass.data.listing import twins_of
from hourglass.data.quality import noise_floor, own_snr, segmental_snr, si_sdr
from hourglass.data.sound import form_words, sound_info
from hourglass.errors import DataError
from hourglass.interfaces.sounds import SoundFiles, first_minute, sound_files
from hourglass.interfaces.spectral_gate import gated
from hourglass.interfaces.words import counted

NO_GATE = (
    "The spectral gate, which a model must beat to be worth its training, is not installed: "
    "pip install 'hourglass-autoencoder[gate]' puts it beside the model."
)


@dataclass(frozen=True)
class Pair:
    """A recording in its files: as it was, without its noise, and recorded without noise where that is known."""

    name: str
    before: str
    after: str
    clean: str | None = None


@dataclass(frozen=True)
class Measure:
    """A figure in dB of a sound (frames, channels): of it and its clean twin, or of it alone."""

    name: str
    words: str
    better: int
    """1 where more is better, -1 where less is."""
    of: Callable[[np.ndarray, np.ndarray, int], float]
    """Takes the sound, its twin, and the rate."""

    def gain(self, before: float, after: float) -> float:
        return self.better * (after - before)

    def moved(self, gain: float) -> str:
        """A gain as the end of a sentence.

        >>> WITH_TRUTH[0].moved(-1.26), ALONE[0].moved(3.0)
        ('falls by 1.3 dB', 'falls by 3.0 dB')
        """
        return f"{'rises' if self.better * gain >= 0 else 'falls'} by {abs(gain):.1f} dB"


def _of_channels(measure: Callable[[np.ndarray, int], float]) -> Callable[[np.ndarray, np.ndarray, int], float]:
    """The mean over channels of what a measure makes of a signal alone."""
    return lambda sound, _, rate: float(np.mean([measure(channel, rate) for channel in sound.T]))


WITH_TRUTH = (
    Measure("SI-SDR", "the signal-to-distortion ratio (SI-SDR)", 1, lambda sound, clean, _: si_sdr(sound, clean)),
    Measure("segmental SNR", "the signal-to-noise ratio of 30-ms frames", 1, segmental_snr),
)
"""What is measured where clean twins are given."""
ALONE = (
    Measure("noise floor", "the noise floor", -1, _of_channels(noise_floor)),
    Measure("own SNR", "the estimated signal-to-noise ratio", 1, _of_channels(own_snr)),
)
"""What is measured where nothing but the recordings is known."""


@dataclass(frozen=True)
class Sounds:
    """The first minute of a recording in all its versions, each (frames, channels)."""

    rate: int
    before: np.ndarray
    after: np.ndarray
    gate: np.ndarray | None
    clean: np.ndarray | None

    @classmethod
    def of(cls, pair: Pair) -> Sounds:
        """Read from their files; a lossy file may have come out a little longer than it went in."""
        paths = [path for path in (pair.before, pair.after, pair.clean) if path is not None]
        arrays, rates = zip(*map(first_minute, paths), strict=True)
        before, after, *clean = [array[: min(map(len, arrays))] for array in arrays]
        return cls(rates[0], before, after, gated(before, rates[0]), clean[0] if clean else None)


@dataclass(frozen=True)
class Measured:
    """One recording's figures, in dB, in the order of the measures: before, after, and by the gate."""

    pair: Pair
    seconds: float
    before: Sequence[float]
    after: Sequence[float]
    gate: Sequence[float] | None
    clean_snr: float | None
    """The clean twin's own signal-to-noise ratio."""


@dataclass(frozen=True)
class Gains:
    """All recordings with their figures."""

    measures: Sequence[Measure]
    found: Sequence[Measured]

    @property
    def gate(self) -> bool:
        """Whether the spectral gate is there to be compared with."""
        return all(each.gate is not None for each in self.found)

    @cached_property
    def gains(self) -> np.ndarray:
        """By how many dB each measure of each recording is better after the model (recordings, measures)."""
        return self._gains([each.after for each in self.found])

    @cached_property
    def gate_gains(self) -> np.ndarray:
        """The same after the gate; where that is not installed, no rows."""
        return self._gains([each.gate for each in self.found if each.gate is not None])

    def _gains(self, after: Sequence[Sequence[float]]) -> np.ndarray:
        rows = [
            [measure.gain(*pair) for measure, *pair in zip(self.measures, each.before, values, strict=True)]
            for each, values in zip(self.found, after, strict=False)
        ]
        return np.array(rows).reshape(len(rows), len(self.measures))

    @property
    def notices(self) -> list[str]:
        """Where the gate is better, or that it is missing; one sentence each."""
        if not self.gate:
            return [NO_GATE]
        worse = int((self.gate_gains[:, 0] > self.gains[:, 0]).sum())
        ours, its = float(np.median(self.gains[:, 0])), float(np.median(self.gate_gains[:, 0]))
        if self.measures is WITH_TRUTH and worse:
            where = f"on {worse:,} of {counted(len(self.found), 'recording')}, by SI-SDR"
            medians = f"median gain {its:.1f} dB, of the model {ours:.1f} dB"
            return [f"the spectral gate of noisereduce is better than the model {where} ({medians})"]
        if self.measures is ALONE and its > ours:
            figures = f"by {its:.1f} dB, the model by {ours:.1f} dB (medians)"
            return [
                f"the spectral gate lowers the noise floor more, {figures}; which one harms calls less, only ears tell"
            ]
        return []

    def document(self) -> dict[str, Any]:
        """Medians as JSON values, in dB."""
        columns = {"gain": self.gains, "gate_gain": self.gate_gains}
        return {
            measure.name.lower().replace(" ", "_").replace("-", "_"): {
                name: round(float(np.median(values[:, place])), 2) for name, values in columns.items() if len(values)
            }
            for place, measure in enumerate(self.measures)
        }


def clean_twins(files: SoundFiles, clean: str | None) -> dict[str, str]:
    """The file that holds the clean twin of each recording, by name: the same with any suffix; of one and one, that.

    `DataError` where one has no twin, or one of another length, rate or number of channels.
    """
    if clean is None:
        return {}
    twins = sound_files(clean)
    if twins is None:
        raise DataError("is no recording and no folder of recordings", where=clean, how="give clean twins with --clean")
    found = zip(files.names, twins_of(files.names, twins.names, clean), strict=True)
    paths = {name: twins.path(twins.names[place]) for name, place in found}
    for name, path in paths.items():
        _check_alike(files.path(name), path)
    return paths


def pairs_of(files: SoundFiles, names: Sequence[str], output: str, twins: dict[str, str]) -> list[Pair]:
    """The recordings of these names before and after, `output` being the file or the folder that holds the latter."""
    single = bool(PurePosixPath(output).suffix)
    return [
        Pair(name, files.path(name), output if single else os.path.join(output, name), twins.get(name))
        for name in names
    ]


def _check_alike(noisy: str, clean: str) -> None:
    """Refuse twins that cannot be compared sample by sample; a noisy one that cannot be read is said elsewhere."""
    try:
        given = sound_info(noisy)
    except DataError:
        return
    twin = sound_info(clean)
    if (given.frames, given.rate, given.channels) != (twin.frames, twin.rate, twin.channels):
        ours, theirs = (form_words(each.frames, each.channels, each.rate) for each in (twin, given))
        what = f"has {ours}, and its noisy twin {theirs}"
        raise DataError(what, where=clean, how="cut or convert them so that they match to the sample")


def measured(pairs: Sequence[Pair]) -> Gains:
    """The figures of recordings, by the measures that they allow: against clean twins where all have one."""
    measures = WITH_TRUTH if all(pair.clean for pair in pairs) else ALONE
    return Gains(measures, [_measured(pair, measures) for pair in pairs])


def _measured(pair: Pair, measures: Sequence[Measure]) -> Measured:
    sounds = Sounds.of(pair)
    truth = sounds.before if sounds.clean is None else sounds.clean
    before, after, gate = (
        [] if sound is None else [measure.of(sound, truth, sounds.rate) for measure in measures]
        for sound in (sounds.before, sounds.after, sounds.gate)
    )
    clean_snr = None if sounds.clean is None else ALONE[1].of(sounds.clean, sounds.clean, sounds.rate)
    return Measured(pair, sound_info(pair.before).seconds, before, after, gate or None, clean_snr)
