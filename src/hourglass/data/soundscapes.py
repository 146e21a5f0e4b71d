"""What noisy recordings alone can teach: where they are quiet, their noise, and targets that are nearly clean.

The recipe is that of Biodenoising (Miron et al. 2024): noise is cut from stretches without calls, each recording is
cleaned by a classical filter, and a model then learns from random mixtures of these pseudo-clean calls and that noise.
It hears far more mixtures than there are recordings, and may end up better than the filter it learned from.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import pyarrow as pa

from hourglass.data.grid import runs
from hourglass.data.samples import Recordings
from hourglass.data.spectrogram import Transform, usual_transform
from hourglass.data.synthesis import joined
from hourglass.data.times import counted
from hourglass.errors import UsageError

_BAND = 4
"""Frequencies of the transform that make a band."""
_ADAPTS = 10.0
"""Seconds, about, after which noise may be another."""
_FLOOR = 0.2
"""The share of time in which a band is taken to hold nothing but noise."""
SILENCE = 1e-12
"""Power (-120 dB of full scale) below which there is nothing: keeps silence out of logarithms and denominators."""
_STARTS, _STAYS = 8.0, 5.0
"""dB by which a band must rise above its floor, beyond what most bands do, for activity to start and to go on."""
_STEADY = 1.7
"""dB by which the median of steady noise is above its floor; bands of unsteady noise must rise up to twice as far."""
_BEFORE, _AFTER = 0.03, 0.1
"""Seconds before and after activity that count as active too: soft beginnings, and echoes."""
_AT_LEAST = 0.25
"""Seconds of quiet that are worth cutting out."""
_QUIETEST = 0.1

_REMEMBERS = 0.98
_LEAST = 10**-2.5
"""Least a-priori signal-to-noise ratio (-25 dB): below it, noise is turned down evenly instead of warbling."""


def spectra(signal: np.ndarray, transform: Transform) -> np.ndarray:
    """The spectrum of every window of a signal (samples,): complex64 (windows, bins), the signal's ends mirrored.

    Window i is centred on sample (i - 1) hop.
    """
    room = _room(transform)
    padded = np.pad(signal, (room, room + -len(signal) % transform.hop), mode="symmetric")
    return transform.spectra(np.asarray(padded, dtype=np.float32)).T


def sounding(spectra: np.ndarray, transform: Transform, count: int) -> np.ndarray:
    """The signal (count,) whose `spectra` these are."""
    sums, weights = transform.overlapped(spectra.T)
    kept = slice(_room(transform), _room(transform) + count)
    return np.asarray(sums[kept] / weights[kept])


def _room(transform: Transform) -> int:
    return transform.fft - transform.hop


def band_powers(signal: np.ndarray, rate: int) -> np.ndarray:
    """Mean square of a signal (samples,) in each band of frequencies, every quarter of a window: (steps, bands).

    Step i speaks for samples i hop to (i + 1) hop, hop = `usual_fft(rate)` / 4, and is a mean over about 40 ms. The
    bands of a step add up to the mean square of the signal there.
    """
    transform = usual_transform(rate)
    bands = np.arange(0, transform.fft // 2, _BAND)
    squares = np.square(np.abs(spectra(signal, transform)[:, :-1]))
    powers = np.add.reduceat(squares, bands, axis=1, dtype=np.float64) * 2 / transform.fft
    return np.asarray((powers[:-3] + powers[1:-2] + powers[2:-1] + powers[3:]) / 4)


def parts(signal: np.ndarray, rate: int) -> Iterator[np.ndarray]:
    """The `band_powers` of a signal (samples,) in parts of about ten seconds, so that each part's noise is one."""
    hop = usual_transform(rate).hop
    count = max(1, round(len(signal) / rate / _ADAPTS))
    for start, end in pairwise(np.linspace(0, -(-len(signal) // hop), count + 1).astype(int) * hop):
        yield band_powers(signal[start:end], rate)


def excess(powers: np.ndarray) -> np.ndarray:
    """How far each band of each step is above its floor, in dB, from powers (steps, bands).

    The floor is what a band stays below for a fifth of the time.
    """
    floor = np.quantile(powers, _FLOOR, axis=0)
    return np.asarray(10 * np.log10(np.maximum(powers, SILENCE) / np.maximum(floor, SILENCE)))


def loudness(powers: np.ndarray) -> np.ndarray:
    """How far a step is above the floor in its bands' mean, in dB: ranks steps by what they hold beside noise."""
    return np.asarray(excess(powers).mean(axis=1))


def activity(signal: np.ndarray, rate: int) -> np.ndarray:
    """Where something other than steady noise sounds: one bool a step of `usual_fft(rate)` / 4 samples.

    A step is active where one band of frequencies rises far above its own floor, beyond what most bands do (a gust
    raises all), or where it rises less but without a break from such a step; and a little before and after.
    Takes (samples,) or (samples, channels), where one active channel is enough.
    """
    return np.asarray(np.any([_channel_activity(channel, rate) for channel in _channels(signal)], axis=0))


def _channels(signal: np.ndarray) -> np.ndarray:
    return signal.reshape(len(signal), -1).T


def _channel_activity(channel: np.ndarray, rate: int) -> np.ndarray:
    rise = np.concatenate([_rise(excess(powers)) for powers in parts(channel, rate)])
    starts, ends = runs(rise > _STAYS)
    step = usual_transform(rate).hop / rate
    active = np.zeros(len(rise), dtype=bool)
    for start, end in zip(starts, ends, strict=True):
        if rise[start:end].max() > _STARTS:
            active[max(0, start - round(_BEFORE / step)) : end + round(_AFTER / step)] = True
    return active


def _rise(above: np.ndarray) -> np.ndarray:
    """By how many dB a step's loudest band stands out of what its bands do together."""
    unsteady = np.clip(np.median(above, axis=0) / _STEADY, 1, 2)
    return np.asarray((above / unsteady).max(axis=1) - np.maximum(np.median(above, axis=1), 0))


def quiet_stretches(signal: np.ndarray, rate: int, at_least: float = _AT_LEAST) -> list[tuple[int, int]]:
    """Where a recording holds nothing but noise: first sample, and one past the last, of stretches in order.

    Each is `at_least` so many seconds long. A recording that is nowhere quiet for so long gives its quietest tenth.
    Takes (samples,) or (samples, channels), where every channel must be quiet.
    """
    return _silent(signal, rate, at_least) or _quietest(signal, rate, at_least)


def _silent(signal: np.ndarray, rate: int, at_least: float) -> list[tuple[int, int]]:
    hop = usual_transform(rate).hop
    edges = zip(*runs(~activity(signal, rate)), strict=True)
    found = [(int(start) * hop, min(int(end) * hop, len(signal))) for start, end in edges]
    return [(start, end) for start, end in found if end - start >= at_least * rate]


def _quietest(signal: np.ndarray, rate: int, at_least: float) -> list[tuple[int, int]]:
    """The tenth of a recording, in pieces of so many seconds, whose bands are the least above their floors."""
    hop = usual_transform(rate).hop
    levels = [np.concatenate([*map(loudness, parts(channel, rate))]) for channel in _channels(signal)]
    level = np.max(levels, axis=0)
    count = max(1, min(len(level), int(len(signal) / (at_least * rate))))
    edges = np.linspace(0, len(level), count + 1).astype(int)
    means = np.add.reduceat(level, edges[:-1]) / np.diff(edges)
    chosen = np.sort(np.argsort(means)[: max(1, round(_QUIETEST * count))])
    return [(int(edges[piece]) * hop, min(int(edges[piece + 1]) * hop, len(signal))) for piece in chosen]


def wiener(signal: np.ndarray, rate: int, noise: np.ndarray | None = None) -> np.ndarray:
    """The signal with its steady noise turned down, by the decision-directed Wiener filter (Ephraim and Malah 1984).

    Every frequency k of every window i is multiplied by a gain from its estimated signal-to-noise ratio,

        gain = prior / (1 + prior),  prior = .98 |gain' Y'|^2 / N + .02 max(|Y|^2 / N - 1, 0),

    where Y is the spectrum, gain' and Y' are those of window i - 1, and N is the power of `noise` at k, or, without
    it, of the signal's own `quiet_stretches`. Takes and gives (samples,) or (samples, channels), each channel by
    itself; noise may have one channel for all.
    """
    if noise is None:
        noise = _cut(signal, quiet_stretches(signal, rate))
    channels = _channels(signal)
    heard = np.broadcast_to(_channels(noise), (len(channels), len(noise)))
    cleaned = [_filtered(*pair, usual_transform(rate)) for pair in zip(channels, heard, strict=True)]
    return np.stack(cleaned, axis=1).reshape(signal.shape)


def _cut(signal: np.ndarray, stretches: Sequence[tuple[int, int]]) -> np.ndarray:
    """Stretches of a recording, joined to one piece."""
    return joined([signal[start:end] for start, end in stretches])


def _filtered(signal: np.ndarray, noise: np.ndarray, transform: Transform) -> np.ndarray:
    power = np.maximum(np.square(np.abs(spectra(noise, transform))).mean(axis=0, dtype=np.float64), SILENCE)
    seen = spectra(signal, transform)
    cleaned = sounding(seen * _wiener_gains(seen, power), transform, len(signal))
    return np.asarray(cleaned, dtype=np.result_type(signal, np.float32))


def _wiener_gains(spectra: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """The gain of every bin (windows, bins), against noise of so much power in each bin."""
    gains = np.asarray(np.square(np.abs(spectra)) / noise, dtype=np.float32)
    estimate = np.zeros_like(noise)
    for frame in gains:
        prior = np.maximum(_REMEMBERS * estimate + (1 - _REMEMBERS) * np.maximum(frame - 1, 0), _LEAST)
        gain = prior / (1 + prior)
        estimate = np.square(gain) * frame
        frame[:] = gain
    return gains


def noise_and_calls(recordings: Recordings) -> tuple[Recordings, Recordings, list[str]]:
    """What to train on where nothing is clean: (calls, noise, notices), a recording of each for every one given.

    Noise is the recording's quiet stretches, joined. Calls are the recording itself through `wiener` with that noise:
    pseudo-clean, since what the filter leaves in or takes away stays so.
    """
    calls, noises, loud = [], [], []
    for row, (sound, rate) in enumerate(zip(recordings.arrays, recordings.rates, strict=True)):
        stretches = _silent(sound, rate, _AT_LEAST)
        loud += [] if stretches else [recordings.where(row)]
        noise = _cut(sound, stretches or _quietest(sound, rate, _AT_LEAST))
        noises.append(noise.astype(np.float32))
        calls.append(wiener(sound, rate, noise))
    seconds = sum(len(noise) / rate for noise, rate in zip(noises, recordings.rates, strict=True))
    notices = [f"{seconds:,.1f} s of noise found in {counted(len(noises), 'recording')}; calls are pseudo-clean"]
    if loud:
        where = f"{counted(len(loud), 'recording')} (the first: {loud[0]})"
        notices.append(f"nowhere quiet for {_AT_LEAST} s: {where}; the quietest tenth is taken as noise")
    return dataclasses.replace(recordings, arrays=calls), dataclasses.replace(recordings, arrays=noises), notices


def speeds(recordings: Recordings, factors: Sequence[float]) -> Recordings:
    """Each recording, and each played faster or slower by each factor: calls at other pitches and paces.

    A factor of 2 halves the length and doubles all frequencies; the sample rate stays. The table's column `speed`
    tells them apart.
    """
    import soxr

    for factor in factors:
        if not 0.1 <= factor <= 10:
            raise UsageError(f"got {factor} as a speed, wanted 0.1 to 10", how="1.2 is a fifth faster")
    played = [
        np.asarray(soxr.resample(sound, rate * factor, rate), dtype=np.float32)
        for factor in factors
        for sound, rate in zip(recordings.arrays, recordings.rates, strict=True)
    ]
    table = recordings.table
    tables = [table.append_column("speed", pa.array([float(f)] * len(table))) for f in (1.0, *factors)]
    rates = [*recordings.rates] * (1 + len(factors))
    arrays = [*recordings.arrays, *played]
    return dataclasses.replace(recordings, arrays=arrays, rates=rates, table=pa.concat_tables(tables))
