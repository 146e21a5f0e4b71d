"""Filters that learn nothing, tuned as well as they can be: what a denoising model is compared with.

Sound: the spectral gate of `noisereduce`, one setting for all training mixtures. Pictures: Gaussian, median and
total-variation filters, each tuned on the very picture that it filters, its truth known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from scipy.ndimage import median_filter
from skimage.filters import gaussian
from skimage.restoration import denoise_tv_chambolle

from hourglass.data.quality import si_sdr
from hourglass.interfaces.spectral_gate import gated

DECREASES = (0.6, 0.8, 0.9, 1.0)
GATES: list[dict[str, Any]] = [
    *(
        {"stationary": True, "prop_decrease": decrease, "n_std_thresh_stationary": deviations}
        for decrease, deviations in product(DECREASES, (0.5, 1.5, 2.5))
    ),
    *(
        {"stationary": False, "prop_decrease": decrease, "time_constant_s": seconds}
        for decrease, seconds in product(DECREASES, (0.2, 0.5, 2.0))
    ),
]

Filter = Callable[[np.ndarray, float], np.ndarray]


def gain(cleaned: np.ndarray, mixture: np.ndarray, target: np.ndarray) -> float:
    """Decibels of SI-SDR that cleaning gained."""
    return si_sdr(cleaned, target) - si_sdr(mixture, target)


def median_gain(
    clean: Callable[[np.ndarray], np.ndarray], mixtures: Sequence[np.ndarray], targets: Sequence[np.ndarray]
) -> float:
    """The median over clips of what a filter gains."""
    pairs = zip(mixtures, targets, strict=True)
    return float(np.median([gain(clean(mixture), mixture, target) for mixture, target in pairs]))


def tuned_gate(mixtures: Sequence[np.ndarray], targets: Sequence[np.ndarray], rate: int) -> dict[str, Any]:
    """The settings of `gated` with the best median gain on these mixtures: give training ones, never test ones."""
    return max(GATES, key=lambda settings: median_gain(gate(rate, settings), mixtures, targets))


def gate(rate: int, settings: dict[str, Any]) -> Callable[[np.ndarray], np.ndarray]:
    """The gate with these settings, as a function of the signal alone."""

    def clean(signal: np.ndarray) -> np.ndarray:
        cleaned = gated(signal, rate, **settings)
        if cleaned is None:
            raise SystemExit("the spectral gate is not installed: pip install 'hourglass-autoencoder[gate]'")
        return cleaned

    return clean


@dataclass(frozen=True)
class Filtered:
    """A picture through a filter at its best strength."""

    filter: str
    strength: float
    psnr: float
    picture: np.ndarray


def _gaussian(picture: np.ndarray, sigma: float) -> np.ndarray:
    return np.asarray(gaussian(picture, sigma, channel_axis=_channel_axis(picture)))


def _median(picture: np.ndarray, size: float) -> np.ndarray:
    return np.asarray(median_filter(picture, (int(size), int(size), 1)[: picture.ndim]))


def _total_variation(picture: np.ndarray, weight: float) -> np.ndarray:
    return np.asarray(denoise_tv_chambolle(picture, weight, channel_axis=_channel_axis(picture)))


def _channel_axis(picture: np.ndarray) -> int | None:
    return -1 if picture.ndim == 3 else None


FILTERS: dict[str, tuple[Filter, Iterable[float]]] = {
    "gaussian": (_gaussian, np.geomspace(0.3, 4, 14)),
    "median": (_median, (1, 3, 5, 7, 9)),
    "total variation": (_total_variation, np.geomspace(0.01, 1, 14)),
}


def strongest_filters(noisy: np.ndarray, clean: np.ndarray) -> dict[str, Filtered]:
    """Each filter at the strength with the best peak signal-to-noise ratio (PSNR) against the truth.

    Pictures (height, width) or (height, width, channels), floats, 0 to 1 (PSNR takes 1 as the peak).
    """
    found = {}
    for name, (smooth, strengths) in FILTERS.items():
        tried = [(strength, smooth(noisy, strength)) for strength in strengths]
        rated = [Filtered(name, float(s), _psnr(clean, picture), picture) for s, picture in tried]
        found[name] = max(rated, key=lambda each: each.psnr)
    return found


def strongest_filter(noisy: np.ndarray, clean: np.ndarray) -> Filtered:
    """The best of `strongest_filters`."""
    return max(strongest_filters(noisy, clean).values(), key=lambda each: each.psnr)


def _psnr(clean: np.ndarray, picture: np.ndarray) -> float:
    return float(-10 * np.log10(max(np.mean(np.square(clean - picture, dtype=np.float64)), 1e-10)))
