from __future__ import annotations

import numpy as np
import pytest

from hourglass.data.quality import noise_floor, own_snr, segmental_snr, si_sdr, snr
from hourglass.data.synthesis import CALLS, NOISES, call_clip, mixed
from hourglass.errors import DataError

RATE = 16000
TIME = np.arange(RATE) / RATE
TONE = np.sin(2 * np.pi * 440 * TIME)
OTHER = np.cos(2 * np.pi * 440 * TIME)
"""Orthogonal to `TONE` over whole periods, and of the same power."""


@pytest.mark.parametrize("loudness", [-3.0, 0.01, 1.0, 50.0])
@pytest.mark.parametrize("decibels", [-20.0, 0.0, 13.0])
def test_si_sdr_is_the_ratio_of_orthogonal_parts_at_any_loudness(loudness: float, decibels: float) -> None:
    estimate = loudness * (TONE + OTHER * 10 ** (-decibels / 20)) + 7
    assert si_sdr(estimate, TONE - 2) == pytest.approx(decibels, abs=1e-6)


def test_snr_counts_a_wrong_loudness() -> None:
    assert snr(0.9 * TONE, TONE) == pytest.approx(20)
    assert si_sdr(0.9 * TONE, TONE) == 100


@pytest.mark.parametrize("measure", [si_sdr, snr])
def test_silence_has_a_finite_answer(measure: object) -> None:
    assert callable(measure)
    silence = np.zeros(RATE)
    assert measure(TONE, TONE) == 100
    assert measure(silence, silence) == 100
    assert measure(TONE, silence) == -100
    assert measure(silence, TONE) == {si_sdr: -100, snr: 0}[measure]


def test_sound_of_several_channels_is_one_sound() -> None:
    both = np.stack([TONE, 0.5 * OTHER], axis=1)
    error = np.stack([OTHER, 0.5 * TONE], axis=1)
    assert si_sdr(both + 0.1 * error, both) == pytest.approx(20)
    assert segmental_snr(both + 0.1 * error, both, RATE) == pytest.approx(20, abs=0.5)


def test_segments_are_clamped_and_those_without_signal_left_out() -> None:
    target = np.concatenate([TONE, np.zeros(RATE)])
    noisy = target + 0.1 * np.concatenate([OTHER, OTHER])
    assert segmental_snr(noisy, target, RATE) == pytest.approx(20, abs=0.5)
    assert segmental_snr(target, target, RATE) == 35
    assert segmental_snr(target * 100, target, RATE) == -10
    half = np.concatenate([TONE, TONE + 100 * OTHER])
    assert segmental_snr(half, np.concatenate([TONE, TONE]), RATE) == pytest.approx((35 - 10) / 2, abs=1)
    assert segmental_snr(np.zeros(9), np.zeros(9), RATE) == 0


@pytest.mark.parametrize("broken", [np.array([np.nan, 1.0]), np.array([np.inf, 1.0]), np.zeros(3), np.zeros(0)])
def test_what_cannot_be_compared_is_refused(broken: np.ndarray) -> None:
    with pytest.raises(DataError, match=r"NaN|shape"):
        si_sdr(broken, np.zeros(2) if broken.size else broken)


@pytest.mark.parametrize("level", [-20.0, -60.0])
def test_the_floor_of_white_noise_is_its_level(level: float) -> None:
    noise = NOISES["white"](3 * RATE, RATE, np.random.default_rng(0)) * 10 ** (level / 20)
    assert noise_floor(noise, RATE) == pytest.approx(level, abs=4)
    assert noise_floor(noise / 10 + 0.3, RATE) == pytest.approx(noise_floor(noise, RATE) - 20, abs=0.1)
    loud = noise.copy()
    loud[:RATE] += TONE
    assert noise_floor(loud, RATE) == pytest.approx(noise_floor(noise, RATE), abs=1)
    assert noise_floor(np.zeros(RATE), RATE) == -120


@pytest.mark.parametrize("noise", ["white", "pink"])
@pytest.mark.parametrize("kind", CALLS)
def test_a_clip_tells_its_own_signal_to_noise_ratio(kind: str, noise: str) -> None:
    random = np.random.default_rng(1)
    clean = call_clip(kind, 3, RATE, random)
    sound = NOISES[noise](len(clean), RATE, random)
    known = np.array([0.0, 10.0, 20.0, 30.0, 40.0])
    found = np.array([own_snr(mixed(clean, sound, float(level))[0] + 0.1, RATE) for level in known])
    assert (np.diff(found) > 5).all()
    np.testing.assert_allclose(found, known, atol=3)


def test_noise_alone_has_little_signal() -> None:
    assert own_snr(NOISES["white"](3 * RATE, RATE, np.random.default_rng(0)), RATE) < -6
    assert own_snr(np.zeros(RATE), RATE) == -100
