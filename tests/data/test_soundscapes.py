from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from hourglass.data.quality import own_snr, si_sdr
from hourglass.data.samples import Recordings
from hourglass.data.soundscapes import (
    activity,
    band_powers,
    noise_and_calls,
    quiet_stretches,
    speeds,
    wiener,
)
from hourglass.data.spectrogram import usual_fft, usual_transform
from hourglass.data.synthesis import CALLS, NOISES, call_clip, mixed
from hourglass.errors import UsageError

RATE = 16000
HOP = usual_transform(RATE).hop


def scene(kind: str = "whistle", noise: str = "pink", decibels: float = 10.0) -> tuple[np.ndarray, np.ndarray]:
    """Three seconds of calls, and the same in noise."""
    random = np.random.default_rng(2)
    clean = call_clip(kind, 3, RATE, random)
    return clean, mixed(clean, NOISES[noise](len(clean), RATE, random), decibels)[0]


def near(clean: np.ndarray, steps: int) -> np.ndarray:
    """Steps within half a second of a call."""
    sounding = np.convolve(clean != 0, np.ones(RATE), "same") > 0.5
    return np.asarray(np.add.reduceat(sounding, np.arange(0, len(clean), HOP))[:steps] > 0)


def recordings(*arrays: np.ndarray) -> Recordings:
    names = pa.table({"name": [f"{i}.wav" for i in range(len(arrays))]})
    return Recordings([array.astype(np.float32) for array in arrays], [RATE] * len(arrays), names)


@pytest.mark.parametrize("count", [1, 5, 511, 512, 4097])
def test_where_there_is_hardly_any_noise_the_filter_changes_nothing(count: int) -> None:
    sound = np.random.default_rng(0).standard_normal(count)
    np.testing.assert_allclose(wiener(sound, RATE, noise=np.full(1000, 1e-5)), sound, atol=1e-4)


def test_bands_add_up_to_the_power_and_know_their_place() -> None:
    time = np.arange(RATE) / RATE
    tone = np.where(time < 0.5, 0.3, 0.0) * np.sin(2 * np.pi * 3000 * time)
    powers = band_powers(tone, RATE)
    assert len(powers) == -(-RATE // HOP)
    middle = RATE // 4 // HOP
    assert powers[middle].sum() == pytest.approx(0.3**2 / 2, rel=0.01)
    assert powers[middle].argmax() == 3000 // (4 * RATE // usual_fft(RATE))
    half = np.flatnonzero(powers.sum(axis=1) > 0.3**2 / 4)[-1]
    assert abs((half + 1) * HOP - RATE / 2) <= HOP


@pytest.mark.parametrize("kind", CALLS)
@pytest.mark.parametrize("noise", ["white", "pink", "hum"])
def test_calls_are_active_and_steady_noise_is_not(kind: str, noise: str) -> None:
    clean, noisy = scene(kind, noise, 5.0)
    active = activity(noisy, RATE)
    assert len(active) == -(-len(noisy) // HOP)
    power = np.add.reduceat(clean**2, np.arange(0, len(clean), HOP))
    assert active[power > 0.05 * power.max()].mean() > 0.85
    assert active[~near(clean, len(active))].sum() <= 0.2 * len(active)
    alone = NOISES[noise](3 * RATE, RATE, np.random.default_rng(5))
    assert activity(alone, RATE).mean() < 0.2


def test_one_active_channel_is_enough() -> None:
    _, noisy = scene()
    quiet = NOISES["white"](len(noisy), RATE, np.random.default_rng(0))
    both = activity(np.stack([quiet, noisy], axis=1), RATE)
    np.testing.assert_array_equal(both, activity(noisy, RATE) | activity(quiet, RATE))


def test_quiet_stretches_hold_noise_alone() -> None:
    clean, noisy = scene(decibels=5.0)
    stretches = quiet_stretches(noisy, RATE)
    assert stretches
    assert all(end - start >= 0.25 * RATE for start, end in stretches)
    assert all(0 <= start < end <= len(noisy) for start, end in stretches)
    left = sum(np.sum(clean[start:end] ** 2) for start, end in stretches)
    assert left < 1e-3 * np.sum(clean**2)


@pytest.mark.parametrize("count", [1, 7, 300, 50_000])
def test_where_nothing_is_quiet_the_quietest_tenth_is_taken(count: int) -> None:
    rise = np.cumsum(np.random.default_rng(0).random(count))
    crowded = np.sin(rise * 2) * (1 + np.sin(np.arange(count) / 90))
    ((start, end), *_) = quiet_stretches(crowded, RATE, at_least=10.0)
    assert (start, end) == (0, count)
    found = quiet_stretches(crowded[:50_000], RATE, at_least=0.001)
    assert sum(end - start for start, end in found) >= min(HOP, count)


def test_silence_is_quiet_and_stays_silent() -> None:
    silence = np.zeros(RATE, dtype=np.float32)
    assert quiet_stretches(silence, RATE) == [(0, RATE)]
    cleaned = wiener(silence, RATE)
    assert cleaned.dtype == np.float32
    assert not cleaned.any()


@pytest.mark.parametrize("kind", CALLS)
def test_the_filter_lowers_steady_noise(kind: str) -> None:
    clean, noisy = scene(kind, "white", 5.0)
    assert si_sdr(wiener(noisy, RATE), clean) > si_sdr(noisy, clean) + 6
    assert si_sdr(wiener(noisy, RATE, noise=noisy - clean), clean) > si_sdr(noisy, clean) + 6


def test_the_filter_leaves_a_clean_signal_as_it_is() -> None:
    clean, _ = scene()
    assert si_sdr(wiener(clean, RATE, noise=np.zeros(RATE)), clean) > 90


def test_channels_are_filtered_by_themselves() -> None:
    noisy = np.stack([scene("chirp")[1], scene("trill")[1]], axis=1)
    noise = NOISES["pink"](RATE, RATE, np.random.default_rng(0))
    both = wiener(noisy, RATE, noise)
    np.testing.assert_array_equal(both[:, 1], wiener(noisy[:, 1], RATE, noise))
    assert both.shape == noisy.shape


def test_noise_and_pseudo_clean_calls_come_from_noisy_recordings() -> None:
    clean, noisy = scene("chirp", "white", 10.0)
    stereo = np.stack([noisy, noisy[::-1]], axis=1)
    dense = np.sin(np.cumsum(np.linspace(0.1, 3.0, RATE)))
    given = recordings(noisy[:, None], stereo, dense[:, None])
    calls, noise, notices = noise_and_calls(given)
    assert [array.shape for array in calls.arrays] == [array.shape for array in given.arrays]
    assert [array.shape[1] for array in noise.arrays] == [1, 2, 1]
    assert {array.dtype for array in (*calls.arrays, *noise.arrays)} == {np.dtype(np.float32)}
    assert si_sdr(calls.arrays[0][:, 0], clean) > si_sdr(noisy, clean) + 6
    assert own_snr(noise.arrays[0][:, 0], RATE) < -3
    assert "noise found in 3 recordings" in notices[0]
    assert "2.wav" in notices[1]
    assert "quietest tenth" in notices[1]
    assert len(noise_and_calls(recordings(noisy[:, None]))[2]) == 1


def test_played_faster_a_tone_is_higher_and_shorter() -> None:
    tone = np.sin(2 * np.pi * 1000 * np.arange(RATE) / RATE)[:, None]
    played = speeds(recordings(tone, tone), (2.0, 0.8))
    assert [len(array) for array in played.arrays] == [RATE, RATE, RATE // 2, RATE // 2, RATE * 5 // 4, RATE * 5 // 4]
    assert played.table.column("speed").to_pylist() == [1.0, 1.0, 2.0, 2.0, 0.8, 0.8]
    assert played.table.column("name").to_pylist() == ["0.wav", "1.wav"] * 3
    for array, rate, hertz in zip(played.arrays, played.rates, [1000] * 2 + [2000] * 2 + [800] * 2, strict=True):
        spectrum = np.abs(np.fft.rfft(array[:, 0] * np.hanning(len(array))))
        assert spectrum.argmax() * rate / len(array) == pytest.approx(hertz, abs=2)
        assert array.dtype == np.float32


@pytest.mark.parametrize("factor", [0.0, -1.0, float("nan"), 100.0])
def test_no_sound_is_played_backwards_or_absurdly_fast(factor: float) -> None:
    with pytest.raises(UsageError, match="as a speed, wanted"):
        speeds(recordings(np.zeros((10, 1))), (factor,))


def test_a_field_recorder_is_quiet_between_its_birds(shared_data: Path, need: Callable[[Path], Path]) -> None:
    soundfile = pytest.importorskip("soundfile")
    path = need(shared_data / "audio" / "soundscape" / "S4A03895_20190522_120000.flac")
    sound, rate = soundfile.read(path, always_2d=True, dtype="float32")
    stretches = quiet_stretches(sound, rate)
    assert 0.3 * len(sound) < sum(end - start for start, end in stretches) < 0.95 * len(sound)
    cleaned = wiener(sound, rate)
    start, end = max(stretches, key=lambda stretch: stretch[1] - stretch[0])
    assert np.square(cleaned[start:end]).mean() < 0.1 * np.square(sound[start:end]).mean()
