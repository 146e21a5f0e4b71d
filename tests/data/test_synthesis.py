from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import find_peaks, welch

from hourglass.data.synthesis import CALLS, FADE, NOISES, Make, around, call_clip, joined, mixed
from hourglass.errors import DataError, UsageError

RATE = 16000


@pytest.mark.parametrize("make", [*NOISES.values(), *CALLS.values()], ids=[*NOISES, *CALLS])
@pytest.mark.parametrize("count", [1, 2, 50, 8001])
def test_all_sounds_are_finite_of_unit_power_and_known_by_their_seed(make: Make, count: int) -> None:
    sound = make(count, RATE, np.random.default_rng(3))
    assert sound.shape == (count,)
    assert sound.dtype == np.float64
    assert np.isfinite(sound).all()
    np.testing.assert_array_equal(sound, make(count, RATE, np.random.default_rng(3)))
    if count > 2:
        assert np.sqrt(np.mean(sound**2)) == pytest.approx(1)
        assert np.abs(sound - make(count, RATE, np.random.default_rng(4))).max() > 0.1


@pytest.mark.parametrize(("name", "slope"), [("white", 0.0), ("pink", -3.0), ("brown", -6.0)])
def test_spectra_fall_as_their_names_say(name: str, slope: float) -> None:
    frequencies, power = welch(NOISES[name](RATE * 20, RATE, np.random.default_rng(0)), RATE, nperseg=4096)
    octaves = 100 * 2.0 ** np.arange(7)
    levels = [
        10 * np.log10(power[(frequencies >= low) & (frequencies < 2 * low)].mean()) for low in octaves[:-1].tolist()
    ]
    np.testing.assert_allclose(np.diff(levels), slope, atol=1)


@pytest.mark.parametrize("seed", range(4))
def test_hum_is_harmonics_of_the_mains(seed: int) -> None:
    frequencies, power = welch(NOISES["hum"](RATE * 10, RATE, np.random.default_rng(seed)), RATE, nperseg=2 * RATE)
    peaks = frequencies[find_peaks(power, height=1e-4 * power.max(), distance=20)[0]]
    off = [np.abs(peaks / mains - np.round(peaks / mains)).max() for mains in (50, 60)]
    assert len(peaks) > 5
    assert min(off) < 0.08  # the tenth of a hertz that they wander by, 40 times
    assert power[frequencies > 2500].max() < 1e-6 * power.max()


def test_rain_is_drops_and_wind_swells_slowly() -> None:
    random = np.random.default_rng(0)
    rain, wind, white = (NOISES[name](RATE * 10, RATE, random) for name in ("rain", "wind", "white"))
    peaked = [float(np.mean(sound**4)) for sound in (rain, white)]
    assert peaked[0] > 1.5 * peaked[1]
    loud = [np.sqrt(np.mean(sound.reshape(40, -1) ** 2, axis=1)) for sound in (wind, white)]
    assert loud[0].std() > 5 * loud[1].std()
    frequencies, power = welch(wind, RATE, nperseg=4096)
    assert power[frequencies > 2000].sum() < 0.01 * power.sum()


@pytest.mark.parametrize("kind", CALLS)
def test_a_clip_of_calls_has_silence_between_and_begins_softly(kind: str) -> None:
    clips = [call_clip(kind, 2, RATE, np.random.default_rng(seed)) for seed in range(8)]
    assert all(np.abs(clip).max() == pytest.approx(0.5) for clip in clips)
    silent = [np.mean(clip == 0) for clip in clips]
    assert min(silent) > 0.15
    assert max(silent) < 0.95
    for clip in clips:
        first = np.flatnonzero(clip)[0]
        assert np.abs(clip[first : first + 8]).max() < 0.02
        spectrum = np.abs(np.fft.rfft(clip)) ** 2
        assert spectrum[len(spectrum) // 200 : -len(spectrum) // 20].sum() > 0.99 * spectrum.sum()


def test_calls_that_cannot_be_made_are_refused() -> None:
    with pytest.raises(UsageError, match="there is no call 'wisle'") as caught:
        call_clip("wisle", 1, RATE, np.random.default_rng(0))
    assert "whistle" in str(caught.value)
    with pytest.raises(UsageError, match="64 samples"):
        call_clip("chirp", 0.001, RATE, np.random.default_rng(0))


@pytest.mark.parametrize("decibels", [-5.0, 0.0, 17.5])
@pytest.mark.parametrize("length", [1, 3, 900, 16000, 40000])
def test_mixtures_have_their_signal_to_noise_ratio(decibels: float, length: int) -> None:
    random = np.random.default_rng(0)
    signal, noise = 0.1 * random.standard_normal(16000), random.standard_normal(length)
    mixture, added = mixed(signal, noise, decibels)
    np.testing.assert_allclose(mixture - added, signal, atol=1e-12)
    assert 10 * np.log10(np.sum(signal**2) / np.sum(added**2)) == pytest.approx(decibels)


@pytest.mark.parametrize("broken", [np.zeros(10), np.array([1.0, np.nan]), np.zeros(0)])
def test_no_ratio_is_set_with_silence(broken: np.ndarray) -> None:
    with pytest.raises(DataError, match="the noise is silent"):
        mixed(np.ones(10), broken, 0.0)
    with pytest.raises(DataError, match="the signal is silent"):
        mixed(broken, np.ones(10), 0.0)


def test_joints_keep_the_power_and_make_no_clicks() -> None:
    random = np.random.default_rng(0)
    pieces = [random.standard_normal((2000, 2)) for _ in range(400)]
    whole = joined(pieces)
    assert whole.shape == (400 * 2000 - 399 * FADE, 2)
    joints = np.arange(1, 399)[:, None] * (2000 - FADE) + np.arange(FADE)
    assert np.mean(whole[joints] ** 2) == pytest.approx(1, abs=0.02)
    np.testing.assert_array_equal(whole[: 2000 - FADE], pieces[0][: 2000 - FADE])
    slow = np.sin(np.arange(1000) / 200)
    assert np.abs(np.diff(joined([slow, slow + 1, slow[:30]]))).max() < 0.1


def test_noise_goes_round_without_a_seam() -> None:
    noise = np.random.default_rng(0).standard_normal(5000)
    np.testing.assert_array_equal(around(noise, 3000), noise[:3000])
    long = around(noise, 23456)
    assert len(long) == 23456
    np.testing.assert_array_equal(long[5000 - FADE + FADE : 2 * (5000 - FADE)], noise[FADE : 5000 - FADE])
