"""Block by block, sound gives what the whole of it gives, whatever the blocks' lengths."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from hourglass.data.audio_places import Level
from hourglass.data.spectrogram import Transform, resampled
from hourglass.data.streaming import Analysis, Resampling, Synthesis, measured

TRANSFORM = Transform(64, 16)


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


Feed = Callable[[np.ndarray, bool], np.ndarray]


def fed(feed: Feed, sound: np.ndarray, lengths: tuple[int, ...] = (1, 7, 0, 400, 33)) -> Iterator[np.ndarray]:
    """What comes back for the sound in pieces of these lengths, round and round, and an empty one at the end."""
    start = turn = 0
    while start < len(sound):
        yield feed(sound[start : start + lengths[turn % len(lengths)]], False)
        start, turn = start + lengths[turn % len(lengths)], turn + 1
    yield feed(sound[:0], True)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(("rate", "wanted"), [(48_000, 22_050), (8_000, 22_050), (16_000, 16_000)])
def test_resampling_by_blocks_is_resampling_at_once(rate: int, wanted: int, channels: int) -> None:
    sound = noise(9_001, channels)
    found = np.concatenate(list(fed(Resampling(rate, wanted, channels).feed, sound)))
    np.testing.assert_array_equal(found, resampled(sound, rate, wanted))


@pytest.mark.parametrize("length", [1, 15, 16, 64, 1_000, 1_039])
def test_frames_by_blocks_are_frames_at_once(length: int) -> None:
    signal = noise(length)
    found = np.concatenate(list(fed(Analysis(TRANSFORM).feed, signal)), axis=1)
    np.testing.assert_allclose(found, TRANSFORM.forward(signal), atol=1e-6)


@pytest.mark.parametrize("length", [1, 15, 16, 64, 1_000, 1_039])
def test_overlap_add_by_blocks_gives_the_signal_back(length: int) -> None:
    signal = noise(length)
    stream = Synthesis(TRANSFORM)
    found = fed(lambda frames, last: stream.feed(frames.T, last), TRANSFORM.forward(signal).T, (3, 0, 1, 20))
    np.testing.assert_allclose(np.concatenate(list(found))[:length], signal, atol=1e-5)


def test_a_frame_is_given_as_soon_as_it_is_complete() -> None:
    stream = Analysis(TRANSFORM)
    assert stream.feed(noise(31)).shape == (33, 0)
    assert stream.feed(noise(1)).shape == (33, 1)
    assert stream.feed(noise(16)).shape == (33, 1)


def test_only_what_the_next_frames_need_is_kept() -> None:
    analysis, synthesis = Analysis(TRANSFORM), Synthesis(TRANSFORM)
    given = [len(synthesis.feed(analysis.feed(noise(1_000)))) for _ in range(5)]
    assert sum(given) > 5_000 - 2 * 64
    assert len(analysis._pending) < 2 * 64
    assert len(synthesis._sums) < 2 * 64


@pytest.mark.parametrize(
    "sound", [noise(5_000, 2) + 0.5, np.zeros((10, 1)), np.full((10, 1), 0.3)], ids=["sound", "silence", "constant"]
)
def test_the_level_of_blocks_is_the_level_of_the_whole(sound: np.ndarray) -> None:
    sound = sound.astype(np.float32)
    found, wanted = measured(np.array_split(sound, 7), sound.shape[1]), Level.of(sound)
    np.testing.assert_allclose(found.offset, wanted.offset, rtol=1e-6)
    np.testing.assert_allclose(found.scale, wanted.scale, rtol=1e-6)
