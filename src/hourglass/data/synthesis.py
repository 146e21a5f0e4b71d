"""Sound made from nothing: noises, calls, and mixtures at a known signal-to-noise ratio.

Noise is white noise with another spectrum, or short events strewn over time; a call is a tone whose frequency moves.
Everything is drawn from the generator that is given: the same generator state makes the same sound.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

from hourglass.errors import DataError, UsageError
from hourglass.settings import did_you_mean

Make = Callable[[int, int, np.random.Generator], np.ndarray]
"""(samples, samples a second, generator) -> (samples,), float64, root mean square 1."""

FADE = 512
"""Samples in which one piece of noise goes over into the next: 5 to 60 ms at the usual sample rates."""

_LOWEST = 20.0
"""Hz below which a spectrum is flat: 1/f would put nearly all power into the first few frequencies."""
_PEAK = 0.5
_LONGEST_CALL = 1.5
_DROP_SHAPES = 12


def white(count: int, rate: int, random: np.random.Generator) -> np.ndarray:
    """Noise with as much power in every hertz."""
    return _unit(random.standard_normal(count))


def pink(count: int, rate: int, random: np.random.Generator) -> np.ndarray:
    """Noise with as much power in every octave: its spectrum falls by 3 dB an octave."""
    return _coloured(count, rate, random, lambda frequency: np.maximum(frequency, _LOWEST) ** -0.5)


def brown(count: int, rate: int, random: np.random.Generator) -> np.ndarray:
    """Noise like that of surf and traffic: its spectrum falls by 6 dB an octave."""
    return _coloured(count, rate, random, lambda frequency: 1 / np.maximum(frequency, _LOWEST))


def hum(count: int, rate: int, random: np.random.Generator) -> np.ndarray:
    """The hum of 50 or 60 Hz mains: harmonics of random strength, all wandering slowly together by up to .1 Hz."""
    mains = float(random.choice([50.0, 60.0]))
    phase = _phase(mains + 0.1 * np.tanh(_slow(count, rate, 2.0, random)), rate)
    harmonics = np.arange(1, min(40, int(rate / 2 / (mains + 1))) + 1)
    strengths = random.lognormal(0, 0.7, len(harmonics)) / harmonics
    sound = np.zeros(count)
    for harmonic, strength in zip(harmonics, strengths, strict=True):
        sound += strength * np.sin(harmonic * phase + random.uniform(0, 2 * np.pi))
    return _unit(sound)


def rain(count: int, rate: int, random: np.random.Generator) -> np.ndarray:
    """Noise like rain: 50 to 500 drops a second, each a ringing click of 1 to 8 kHz, over a hiss."""
    drops = np.zeros(count)
    falling = random.uniform(50, 500) * count / rate / _DROP_SHAPES
    for _ in range(_DROP_SHAPES):
        hits = np.zeros(count)
        landed = random.integers(count, size=random.poisson(falling))
        np.add.at(hits, landed, random.lognormal(0, 1, len(landed)))
        drops += _ringing(hits, rate, random)
    hiss = _coloured(count, rate, random, lambda frequency: frequency / (frequency + 1000) / (1 + frequency / 6000))
    return _unit(_unit(drops) + random.uniform(0.3, 1.0) * hiss)


def _ringing(hits: np.ndarray, rate: int, random: np.random.Generator) -> np.ndarray:
    """Impulses turned into decaying sines, all of one random frequency and decay."""
    time = np.arange(max(2, round(0.03 * rate))) / rate
    frequency, decay = random.uniform(1000, 8000), random.uniform(0.001, 0.005)
    ring = np.exp(-time / decay) * np.sin(2 * np.pi * min(frequency, 0.45 * rate) * time)
    size = 1 << (len(hits) + len(ring)).bit_length()  # a power of two: other lengths can take 30 times as long
    return np.asarray(np.fft.irfft(np.fft.rfft(hits, size) * np.fft.rfft(ring, size), size)[: len(hits)])


def wind(count: int, rate: int, random: np.random.Generator) -> np.ndarray:
    """Noise like wind in a microphone: rumble below a few hundred hertz that swells and falls with gusts."""
    corner = random.uniform(80, 400)
    rumble = _coloured(count, rate, random, lambda frequency: 1 / (1 + (frequency / corner) ** 2))
    return _unit(rumble * np.exp(0.7 * _slow(count, rate, random.uniform(0.5, 3.0), random)))


NOISES: dict[str, Make] = {"white": white, "pink": pink, "brown": brown, "hum": hum, "rain": rain, "wind": wind}


def chirp(count: int, rate: int, random: np.random.Generator) -> np.ndarray:
    """A call that rises or falls steadily, by up to some octaves."""
    start, end = _frequencies(rate, random, 2)
    return _unit(_faded(np.sin(_phase(np.geomspace(start, end, count), rate)), random))


def trill(count: int, rate: int, random: np.random.Generator) -> np.ndarray:
    """A call of 8 to 30 like syllables a second, each a short sweep."""
    start, end = _frequencies(rate, random, 2)
    beat = np.arange(count) / rate * random.uniform(8, 30) % 1
    filled = random.uniform(0.4, 0.9)
    within = np.minimum(beat / filled, 1)
    frequency = start * (end / start) ** (within * random.uniform(0.2, 1.0))
    return _unit(_faded(np.sin(np.pi * within) ** 2 * np.sin(_phase(frequency, rate)), random))


def harmonic_stack(count: int, rate: int, random: np.random.Generator) -> np.ndarray:
    """A call like a bark or a moan: a gliding low tone with the harmonics above it."""
    start = random.uniform(0.006, 0.05) * rate
    frequency = np.geomspace(start, start * random.uniform(0.6, 1.7), count)
    phase, steepness = _phase(frequency, rate), random.uniform(0.5, 1.5)
    sound = np.zeros(count)
    for harmonic in range(1, int(0.45 * rate / frequency.max()) + 1):
        sound += random.uniform(0.3, 1.0) * harmonic**-steepness * np.sin(harmonic * phase)
    return _unit(_faded(sound, random))


def whistle(count: int, rate: int, random: np.random.Generator) -> np.ndarray:
    """A call of one tone that wavers: frequency-modulated 2 to 15 times a second, by up to 15 %."""
    (centre,) = _frequencies(rate, random, 1)
    swing = random.uniform(0.01, 0.15) * np.sin(2 * np.pi * random.uniform(2, 15) * np.arange(count) / rate)
    drift = np.linspace(0, random.uniform(-0.2, 0.2), count)
    return _unit(_faded(np.sin(_phase(centre * (1 + swing + drift), rate)), random))


CALLS: dict[str, Make] = {"chirp": chirp, "trill": trill, "harmonic_stack": harmonic_stack, "whistle": whistle}


def call_clip(kind: str, seconds: float, rate: int, random: np.random.Generator) -> np.ndarray:
    """One to four calls of a kind of `CALLS`, each with its own parameters and silence around it; peak at .5."""
    if kind not in CALLS:
        raise UsageError(f"there is no call {kind!r}", how=did_you_mean(kind, CALLS))
    count = round(seconds * rate)
    if count < 64:
        raise UsageError(f"got {seconds} s at {rate} Hz for a clip, wanted at least 64 samples", how="ask for more")
    clip = np.zeros(count)
    slots = np.linspace(0, count, random.integers(1, min(4, count // 64) + 1) + 1).astype(int)
    for start, end in pairwise(slots):
        length = int(min(random.uniform(0.3, 0.8) * (end - start), _LONGEST_CALL * rate))
        at = random.integers(start, end - length + 1)
        clip[at : at + length] += random.uniform(0.4, 1.0) * CALLS[kind](length, rate, random)
    return np.asarray(clip * (_PEAK / np.abs(clip).max()))


def mixed(signal: np.ndarray, noise: np.ndarray, snr_db: float) -> tuple[np.ndarray, np.ndarray]:
    """A signal with noise at a signal-to-noise ratio over the whole clip: (mixture, the noise as it was added).

    Noise (samples,) that is too long is cut at its end; what is too short goes round, cross-faded (see `joined`).
    Signal-to-noise ratio in dB = 10 log10(mean square of the signal / mean square of the added noise).
    """
    for name, sound in (("signal", signal), ("noise", noise)):
        if not np.any(sound) or not np.isfinite(sound).all():
            what = f"the {name} is silent or holds NaN or infinity: no signal-to-noise ratio can be set with it"
            raise DataError(what, how="give sound, finite and not all zero")
    fitted = around(np.asarray(noise, dtype=np.float64), len(signal))
    wanted = np.mean(np.square(signal, dtype=np.float64)) / 10 ** (snr_db / 10)
    added = fitted * np.sqrt(wanted / np.mean(np.square(fitted)))
    return signal + added, added


def around(noise: np.ndarray, count: int) -> np.ndarray:
    """Noise (samples, ...) cut to `count` samples, or repeated with cross-faded joints where it is shorter."""
    if len(noise) >= count:
        return noise[:count]
    fresh = len(noise) - _fade(noise, noise)
    return joined([noise] * (1 + -(-(count - len(noise)) // fresh)))[:count]


def joined(pieces: Sequence[np.ndarray]) -> np.ndarray:
    """Pieces of noise (samples, ...) one after another, each cross-faded into the next within `FADE` samples.

    The fades keep the power, cos^2 + sin^2 = 1, which is right where the pieces have nothing to do with each other.
    """
    parts, tail = [], np.empty(0)
    for piece, after in zip(pieces, [*pieces[1:], None], strict=True):
        end = len(piece) if after is None else len(piece) - _fade(piece, after)
        parts.append(_crossed(tail, piece[: len(tail)]))
        parts.append(piece[len(tail) : end])
        tail = piece[end:]
    return np.concatenate(parts)


def _fade(before: np.ndarray, after: np.ndarray) -> int:
    return min(FADE, len(before) // 2, len(after) // 2)


def _crossed(ending: np.ndarray, starting: np.ndarray) -> np.ndarray:
    angle = np.pi / 2 * (np.arange(len(starting)) + 0.5) / max(len(starting), 1)
    angle = angle.reshape(-1, *[1] * (starting.ndim - 1))
    return np.asarray(np.cos(angle) * ending.reshape(starting.shape) + np.sin(angle) * starting)


def _coloured(
    count: int, rate: int, random: np.random.Generator, amplitude: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """Normal noise whose spectrum has that amplitude at each frequency in Hz."""
    spectrum = np.fft.rfft(random.standard_normal(count)) * amplitude(np.fft.rfftfreq(count, 1 / rate))
    return _unit(np.fft.irfft(spectrum, count))


def _slow(count: int, rate: int, seconds: float, random: np.random.Generator) -> np.ndarray:
    """A random curve of root mean square 1 that takes about so many seconds from one bend to the next."""
    return _coloured(count, rate, random, lambda frequency: 1 / (1 + (2 * seconds * frequency) ** 4))


def _frequencies(rate: int, random: np.random.Generator, count: int) -> np.ndarray:
    """Frequencies in Hz, evenly strewn over the octaves between 3 and 35 % of the sample rate."""
    return np.asarray(rate * np.exp(random.uniform(np.log(0.03), np.log(0.35), count)))


def _phase(frequency: np.ndarray, rate: int) -> np.ndarray:
    """The angle of a tone whose frequency in Hz is given for each sample."""
    return np.asarray(2 * np.pi * np.cumsum(frequency) / rate)


def _faded(sound: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """The sound with a smooth beginning and end, each 5 to 40 % of it."""
    place = (np.arange(len(sound)) + 0.5) / len(sound)
    rise, fall = random.uniform(0.05, 0.4, 2)
    ramp = np.minimum(np.minimum(place / rise, (1 - place) / fall), 1)
    return np.asarray(sound * np.sin(np.pi / 2 * ramp) ** 2)


def _unit(sound: np.ndarray) -> np.ndarray:
    """The sound at root mean square 1; silence stays silence."""
    level = np.sqrt(np.mean(np.square(sound)))
    return np.asarray(sound / level if level > 0 else sound)
