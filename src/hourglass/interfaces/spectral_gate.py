"""The spectral gate of the package `noisereduce`: what a model must beat to be worth its training."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np

_TRANSFORM = 1024
"""Samples of its Fourier transform; a stationary gate fails on less."""
_SMOOTH = 50
"""Its default smoothing over time, in ms; below 5,120 samples a second it refuses so little."""


def gated(signal: np.ndarray, rate: int, **settings: Any) -> np.ndarray | None:
    """The signal, (samples,) or (samples, channels), through `noisereduce.reduce_noise`; None where not installed.

    `settings` are that function's own; without any, its defaults. Each channel is gated by itself.
    """
    try:
        from noisereduce import reduce_noise
    except ImportError:
        return None
    cleaned = [_channel(reduce_noise, channel, rate, settings) for channel in signal.reshape(len(signal), -1).T]
    return np.stack(cleaned, axis=1).reshape(signal.shape).astype(signal.dtype)


def _channel(reduce_noise: Any, channel: np.ndarray, rate: int, settings: dict[str, Any]) -> np.ndarray:
    """One channel gated; where it divides 0 by 0, in silence, stands 0."""
    whole = np.pad(channel, (0, max(0, _TRANSFORM - len(channel))))
    smooth = {"time_mask_smooth_ms": max(_SMOOTH, math.ceil(1000 * _TRANSFORM / 4 / rate))}
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        cleaned = reduce_noise(y=whole, sr=rate, **{**smooth, **settings})
    return np.asarray(np.nan_to_num(cleaned[: len(channel)]))
