"""How good sound is, in dB: beside its truth where that is known, and by itself where it is not.

Every figure is finite: ratios end at -100 and 100 dB, levels at -120 dB of full scale.
"""

from __future__ import annotations

import numpy as np

from hourglass.data.soundscapes import SILENCE, loudness, parts
from hourglass.errors import DataError

_MOST = 100.0
_FRAME = 0.03
_LOWEST, _HIGHEST = -10.0, 35.0
_NO_SIGNAL = 1e-4
"""A frame with less power than this share of the loudest frame's (-40 dB) holds no signal."""
_QUIET = 0.1


def si_sdr(estimate: np.ndarray, target: np.ndarray) -> float:
    """How much of an estimate is the target, at any loudness: scale-invariant signal-to-distortion ratio, in dB.

    Le Roux et al. 2019. With the means of estimate e and target s removed,

        SI-SDR = 10 log10(|a s|^2 / |a s - e|^2),  a = <e, s> / |s|^2.

    Takes (samples,) or (samples, channels). An estimate without anything of the target gives -100 dB, a perfect one
    100 dB; against a silent target, silence is perfect and all else is not.

    >>> target = np.sin(np.arange(1000.0))
    >>> round(si_sdr(5 * target + 0.5 * np.cos(np.arange(1000.0)), target))
    20
    """
    estimate, target = map(_centred, _pair(estimate, target))
    power = np.sum(target * target)
    scaled = target * (np.sum(estimate * target) / power if power > 0 else 0.0)
    return _decibels(np.sum(np.square(scaled)), np.sum(np.square(scaled - estimate)), perfect=not power)


def snr(estimate: np.ndarray, target: np.ndarray) -> float:
    """Signal-to-noise ratio in dB, 10 log10(|s|^2 / |s - e|^2): unlike SI-SDR, a wrong loudness counts as noise."""
    estimate, target = _pair(estimate, target)
    return _decibels(np.sum(np.square(target)), np.sum(np.square(target - estimate)), perfect=True)


def segmental_snr(estimate: np.ndarray, target: np.ndarray, rate: int) -> float:
    """Mean over frames of 30 ms of the signal-to-noise ratio, each between -10 and 35 dB.

    Frames without signal (40 dB below the loudest) are left out. Takes (samples,) or (samples, channels).
    """
    estimate, target = _pair(estimate, target)
    starts = np.arange(0, len(target), max(1, round(_FRAME * rate)))
    signal, noise = (
        np.add.reduceat(np.square(sound).reshape(len(target), -1).sum(axis=1), starts)
        for sound in (target, target - estimate)
    )
    heard = signal >= _NO_SIGNAL * signal.max()
    ratios = 10 * np.log10(np.maximum(signal, SILENCE) / np.maximum(noise, SILENCE))
    return float(np.clip(ratios, _LOWEST, _HIGHEST)[heard].mean())


def noise_floor(signal: np.ndarray, rate: int) -> float:
    """How loud a recording (samples,) is where it is quiet, in dB of full scale: what is left when nothing calls.

    Each band of frequencies stays below its floor for a tenth of every ten seconds; the middle one of these floors is
    given as the level of white noise that would have it. White noise reads 2 to 4 dB below its level (0 dB = mean
    square 1). Take the difference before and after for how much a filter lowers the floor.
    """
    each = [np.quantile(powers, _QUIET, axis=0) for powers in parts(_centred(_checked(signal)), rate)]
    floor = np.mean(each, axis=0)
    return float(10 * np.log10(max(float(np.median(floor)) * len(floor), SILENCE)))


def own_snr(signal: np.ndarray, rate: int) -> float:
    """A recording's signal-to-noise ratio in dB, estimated from itself: (samples,), truth unknown.

    The tenth of every ten seconds that is the quietest in all bands tells the noise of each band; what the bands hold
    beyond that, over the whole recording, is signal. Right within 3 dB where the noise is steady and the calls leave
    gaps; noise that swells and falls counts as signal in part.
    """
    whole, quiet = zip(*map(_mean_and_quiet, parts(_centred(_checked(signal)), rate)), strict=True)
    mean, noise = np.mean(whole, axis=0), np.mean(quiet, axis=0)
    return _decibels(float(np.maximum(mean - noise, 0).sum()), float(noise.sum()), perfect=False)


def _mean_and_quiet(powers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean powers of the bands, over all steps and over the quietest ones."""
    level = loudness(powers)
    return powers.mean(axis=0), powers[level <= np.quantile(level, _QUIET)].mean(axis=0)


def _pair(estimate: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if estimate.shape != target.shape:
        what = f"got an estimate of shape {estimate.shape} for a target of shape {target.shape}"
        raise DataError(what, how="compare sounds of one length, rate and number of channels")
    return _checked(estimate), _checked(target)


def _checked(sound: np.ndarray) -> np.ndarray:
    if not sound.size or not np.isfinite(sound).all():
        raise DataError("the sound is empty or holds NaN or infinity", how="give at least one sample, all finite")
    return np.asarray(sound, dtype=np.float64)


def _centred(sound: np.ndarray) -> np.ndarray:
    return np.asarray(sound - sound.mean(axis=0))


def _decibels(signal: float, noise: float, perfect: bool) -> float:
    """A ratio in dB within +-100; `perfect` tells whether nothing beside no noise is good."""
    if signal <= 0:
        return _MOST if perfect and noise <= 0 else -_MOST
    return float(np.clip(10 * np.log10(signal / noise), -_MOST, _MOST)) if noise > 0 else _MOST
