"""A stream gives what the whole recording gives, in any blocks, at any rate, of any channels, and holds little."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pytest

from hourglass.core.fitted import FittedModel
from hourglass.core.fitting import fit_model
from hourglass.core.kinds import experiment
from hourglass.core.networks.unet import UNet
from hourglass.core.streams import Stream, level_of
from hourglass.data.samples import Recordings
from hourglass.errors import DataError, UsageError
from hourglass.settings import Training

RATE = 8_000
VIEWS = ("complex", "magnitude")


def sound(frames: int, channels: int = 1, seed: int = 0) -> np.ndarray:
    """Swelling noise, a constant beside it."""
    noise = np.random.default_rng(seed).normal(size=(frames, channels)) * 0.1
    return (noise * np.sin(np.arange(frames) / 900)[:, None] + 0.05).astype(np.float32)


def recordings(*arrays: np.ndarray, rate: int = RATE) -> Recordings:
    return Recordings(arrays, [rate] * len(arrays), pa.table({"name": [f"{n}.wav" for n in range(len(arrays))]}))


@functools.cache
def model(view: str) -> FittedModel:
    """One that was trained for a moment, with tiles of a quarter of a second."""
    plan = experiment("audio", "mask" if view == "complex" else "denoising")
    network = UNet(channels=(4, 8), head="mask" if view == "complex" else "residual")
    form = plan.format.replace(view=view, frames=16)
    training = Training(epochs=1, batch_size=16, device="cpu")
    plan = plan.replace(network=network, format=form, training=training)
    return fit_model(recordings(sound(8_000)), plan, calibrate=False)


def blocks(array: np.ndarray, lengths: tuple[int, ...] = (1, 700, 0, 5_000, 33)) -> Iterator[np.ndarray]:
    start = turn = 0
    while start < len(array):
        yield array[start : start + lengths[turn % len(lengths)]]
        start, turn = start + lengths[turn % len(lengths)], turn + 1


def streamed(array: np.ndarray, rate: int, view: str = "complex") -> np.ndarray:
    level = level_of(model(view), rate, array.shape[1], lambda: blocks(array, (999,)))
    stream = Stream(model(view), rate, array.shape[1], level)
    return np.concatenate([*(stream.feed(block) for block in blocks(array)), stream.flush()])


def whole(array: np.ndarray, rate: int, view: str = "complex") -> np.ndarray:
    found = model(view).reconstruct(recordings(array, rate=rate))
    assert isinstance(found, Recordings)
    return found.arrays[0]


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize(("rate", "channels"), [(RATE, 1), (RATE, 2), (11_025, 2), (4_000, 1)])
def test_a_stream_gives_what_the_whole_gives(rate: int, channels: int, view: str) -> None:
    array = sound(9_001, channels)
    found = streamed(array, rate, view)
    assert found.shape == array.shape
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, whole(array, rate, view), atol=2e-6)


@pytest.mark.parametrize("frames", [1, 2, 63, 64, 1_023, 1_024, 1_025, 1_200, 2_048])
def test_a_stream_of_any_length_gives_what_the_whole_gives(frames: int) -> None:
    array = sound(frames)
    np.testing.assert_allclose(streamed(array, RATE), whole(array, RATE), atol=2e-6)


def test_channels_do_not_hear_each_other() -> None:
    both = np.concatenate([sound(5_000, seed=1), sound(5_000, seed=2)], axis=1)
    level = level_of(model("complex"), RATE, 2, lambda: [both])
    quiet = both * np.array([1, 0], dtype=np.float32)
    streams = [Stream(model("complex"), RATE, 2, level) for _ in range(2)]
    found = [
        np.concatenate([each.feed(array), each.flush()]) for each, array in zip(streams, (both, quiet), strict=True)
    ]
    np.testing.assert_allclose(found[0][:, 0], found[1][:, 0], atol=2e-6)


@pytest.mark.parametrize("value", [0.0, 0.25])
def test_silence_and_a_constant_come_back_as_they_are(value: float) -> None:
    array = np.full((3_000, 1), value, dtype=np.float32)
    np.testing.assert_allclose(streamed(array, RATE), array, atol=1e-5)


@pytest.mark.parametrize("view", VIEWS)
def test_without_a_level_a_stream_takes_the_level_so_far(view: str) -> None:
    array = sound(20_000)
    stream = Stream(model(view), RATE, 1)
    found = np.concatenate([*(stream.feed(block) for block in blocks(array)), stream.flush()])
    assert found.shape == array.shape
    assert np.isfinite(found).all()
    assert np.corrcoef(found[:, 0], whole(array, RATE, view)[:, 0])[0, 1] > 0.9


@pytest.mark.parametrize("rate", [RATE, 11_025])
def test_nothing_comes_later_than_the_latency_says(rate: int) -> None:
    stream = Stream(model("complex"), rate, 1)
    given = made = 0
    lags = []
    for block in blocks(sound(3 * rate), (rate // 100,)):
        given += len(block)
        made += len(stream.feed(block))
        lags.append((given - made) / rate)
    assert 0.75 * stream.latency < max(lags) <= stream.latency + 0.011


def test_an_endless_stream_is_held_in_bounded_memory() -> None:
    stream = Stream(model("complex"), RATE, 1)
    for _ in range(20):
        stream.feed(sound(RATE))
    tiles = stream._tiles
    assert tiles._pending.shape[2] < tiles._tiling.width
    assert tiles._total.shape[2] < tiles._tiling.width


def test_what_is_no_sound_is_refused() -> None:
    stream = Stream(model("complex"), RATE, 2)
    with pytest.raises(UsageError, match=r"shape \(3,\), wanted \(frames, 2\)"):
        stream.feed(np.zeros(3, dtype=np.float32))
    stream.feed(np.zeros((RATE, 2), dtype=np.float32))
    with pytest.raises(DataError, match=r"second 1\.250"):
        stream.feed(np.where(np.arange(4_000)[:, None] == 2_000, np.nan, np.zeros((4_000, 2))))


def test_a_model_of_something_else_is_refused() -> None:
    plan = experiment("table", "plain").replace(training=Training(epochs=1))
    tables = fit_model(np.random.default_rng(0).normal(size=(40, 3)), plan, calibrate=False)
    with pytest.raises(UsageError, match="modality table"):
        Stream(tables, RATE, 1)
