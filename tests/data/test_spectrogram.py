"""The short-time Fourier transform beside SciPy's, its inverse to the last sample, and sines at other rates."""

import numpy as np
import pytest
from scipy import signal as reference

from hourglass.data.spectrogram import Transform, length_at, of_length, resampled, usual_fft

LENGTHS = (1, 2, 63, 64, 65, 127, 500, 1_000, 1_023)


def noise(length: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=length).astype(np.float32)


@pytest.mark.parametrize("length", LENGTHS)
def test_a_spectrogram_goes_back_to_the_last_sample(length: int) -> None:
    transform = Transform(64, 16)
    given = noise(length)
    spectrogram = transform.forward(given)
    assert spectrogram.dtype == np.complex64
    assert spectrogram.shape == (33, transform.frames(length))
    back = transform.inverse(spectrogram, length)
    assert back.dtype == np.float32
    np.testing.assert_allclose(back, given, atol=1e-6)


def test_more_frames_than_are_transformed_at_a_time() -> None:
    transform, given = Transform(32, 8), noise(40_000)
    np.testing.assert_allclose(transform.inverse(transform.forward(given), len(given)), given, atol=2e-6)


def test_the_frames_are_those_of_scipy() -> None:
    transform, given = Transform(64, 16), noise(640)
    window = reference.windows.hann(64, sym=False)
    theirs = reference.ShortTimeFFT(window / np.sqrt(np.sum(window**2)), hop=16, fs=1.0, phase_shift=None)
    ours = transform.forward(given)
    np.testing.assert_allclose(ours, theirs.stft(given, p0=0, p1=ours.shape[1]), atol=1e-5)


def test_white_noise_of_unit_level_has_unit_power_in_every_bin() -> None:
    power = np.mean(np.abs(Transform(64, 16).forward(noise(200_000))) ** 2, axis=1)
    np.testing.assert_allclose(power[1:-1], 1, atol=0.05)


def test_a_sine_stands_in_its_bin() -> None:
    sine = np.sin(2 * np.pi * 1_000 * np.arange(8_000) / 8_000)
    assert int(np.abs(Transform(256, 64).forward(sine)).mean(axis=1).argmax()) == 1_000 * 256 // 8_000


def test_parts_that_are_added_up_are_the_whole() -> None:
    transform, given = Transform(64, 16), noise(1_000)
    spectrogram = transform.forward(given)
    sums, weights = transform.overlapped(spectrogram)
    added, weighed = np.zeros_like(sums), np.zeros_like(weights)
    for first in range(0, spectrogram.shape[1], 10):
        part, weight = transform.overlapped(spectrogram[:, first : first + 10])
        added[first * 16 : first * 16 + len(part)] += part
        weighed[first * 16 : first * 16 + len(part)] += weight
    np.testing.assert_allclose(added, sums, atol=1e-6)
    np.testing.assert_allclose(weighed, weights, rtol=1e-6)


def test_bins_that_are_left_out_are_silent() -> None:
    transform, given = Transform(64, 16), noise(500)
    spectrogram = transform.forward(given)
    without = spectrogram.copy()
    without[-1] = 0
    np.testing.assert_array_equal(transform.inverse(spectrogram[:-1], 500), transform.inverse(without, 500))


@pytest.mark.parametrize(("rate", "wanted"), [(8_000, 16_000), (48_000, 22_050), (44_100, 8_000)])
def test_a_sine_is_the_same_sine_at_another_rate(rate: int, wanted: int) -> None:
    seconds = 0.5
    made = [np.sin(2 * np.pi * 500 * np.arange(int(seconds * each)) / each) for each in (rate, wanted)]
    given, expected = made
    found = resampled(np.column_stack([given, -given]).astype(np.float32), rate, wanted)
    assert found.dtype == np.float32
    assert len(found) == length_at(len(given), rate, wanted)
    assert 0 <= len(found) - len(expected) <= 1
    inner = slice(wanted // 20, -wanted // 20)
    np.testing.assert_allclose(of_length(found, len(expected))[inner, 0], expected[inner], atol=1e-3)
    np.testing.assert_allclose(found[:, 1], -found[:, 0], atol=1e-6)


def test_an_equal_rate_changes_nothing() -> None:
    given = noise(10)[:, None]
    assert resampled(given, 8_000, 8_000) is given


@pytest.mark.parametrize("length", [1, 2, 99, 1_000, 1_001])
@pytest.mark.parametrize(("rate", "wanted"), [(8_000, 16_000), (48_000, 22_050), (22_050, 16_000)])
def test_a_length_comes_back(length: int, rate: int, wanted: int) -> None:
    there = length_at(length, rate, wanted)
    assert length <= length_at(there, wanted, rate) <= length + -(-rate // wanted)
    assert len(resampled(noise(length)[:, None], rate, wanted)) == there


def test_a_length_is_made() -> None:
    assert of_length(np.arange(3), 5).tolist() == [0, 1, 2, 0, 0]
    assert of_length(np.ones((4, 2)), 3).shape == (3, 2)


@pytest.mark.parametrize(("rate", "fft"), [(100, 32), (44_100, 1_024), (96_000, 2_048), (250_000, 4_096)])
def test_the_usual_stretch_is_about_23_ms(rate: int, fft: int) -> None:
    assert usual_fft(rate) == fft
