"""Targets with noise of their own: which are filtered, what that gains, and what is said of it."""

import numpy as np
import pyarrow as pa
import pytest

from hourglass.data.clearing import cleared
from hourglass.data.quality import si_sdr
from hourglass.data.samples import Recordings
from hourglass.data.synthesis import call_clip, mixed, white

RATE = 16_000


def recordings(*arrays: np.ndarray) -> Recordings:
    names = pa.table({"name": [f"{place}.wav" for place in range(len(arrays))]})
    return Recordings([array.astype(np.float32) for array in arrays], [RATE] * len(arrays), names, "calls")


@pytest.fixture
def call() -> np.ndarray:
    return np.pad(call_clip("chirp", 2.0, RATE, np.random.default_rng(3)), 8_000)


def test_only_what_has_noise_of_its_own_is_filtered(call: np.ndarray) -> None:
    noisy = mixed(call, white(len(call), RATE, np.random.default_rng(0)), 5.0)[0]
    given = recordings(call[:, None], noisy[:, None], np.zeros((4_000, 1)), np.column_stack([call, noisy]))
    found, [notice] = cleared(given)
    for place in (0, 2):
        assert found.arrays[place] is given.arrays[place]
    assert si_sdr(found.arrays[1][:, 0], call) > si_sdr(noisy, call) + 6
    assert si_sdr(found.arrays[3][:, 1], call) > si_sdr(noisy, call) + 6
    assert "2 of 4 recordings" in notice
    assert "1.wav" in notice
    assert [array.shape for array in found.arrays] == [array.shape for array in given.arrays]
    assert all(array.dtype == np.float32 for array in found.arrays)


def test_clear_calls_stay_as_they_are_and_nothing_is_said(call: np.ndarray) -> None:
    given = recordings(call[:, None])
    assert cleared(given) == (given, [])


def test_the_shortest_recordings_work() -> None:
    found, _ = cleared(recordings(np.ones((1, 1)), np.array([[0.5], [-0.5]]), np.ones((9, 2))))
    assert all(np.isfinite(array).all() for array in found.arrays)
