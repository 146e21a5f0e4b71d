"""Running a network in chunks: the same numbers whatever comes with a row, nothing of the caller's changed."""

import numpy as np
import pytest
import torch
from torch import nn

from hourglass.core.chunks import chunk_rows, in_chunks, single_precision

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("size", "rows"), [(1, 8192), (32, 8192), (33, 4096), (65, 2048), (784, 256), (5_000, 64), (2**14, 64)]
)
def test_chunks_hold_about_a_quarter_of_a_million_numbers(size: int, rows: int) -> None:
    assert chunk_rows(size) == rows


@pytest.mark.parametrize(("size", "rows"), [(2**14 + 1, 32), (3 * 256 * 256, 4), (10**9, 1)])
def test_large_pictures_come_in_chunks_that_fit_the_memory(size: int, rows: int) -> None:
    assert chunk_rows(size) == rows


@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 8192, 8193, 20_000])
def test_every_row_comes_back_once_in_order(count: int) -> None:
    samples = np.arange(count * 3, dtype=np.float32).reshape(count, 3)
    np.testing.assert_array_equal(in_chunks(lambda x: 2 * x, samples, CPU), 2 * samples)


def test_the_function_sees_full_chunks_only() -> None:
    seen = []
    in_chunks(lambda x: seen.append(len(x)) or x, np.ones((8192 + 70, 3), dtype=np.float32), CPU)
    assert seen == [8192, 128]


def test_few_large_rows_fill_a_chunk() -> None:
    seen = []
    in_chunks(lambda x: seen.append(len(x)) or x[:, :1], np.ones((5, 2**18), dtype=np.float32), CPU)
    assert seen == [4, 4]


@pytest.mark.parametrize("width", [6, 140])
def test_a_row_alone_gives_the_bits_it_gives_among_others(width: int) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(width, 64), nn.Tanh(), nn.Linear(64, width))
    samples = np.random.default_rng(0).normal(size=(600, width)).astype(np.float32)
    whole = in_chunks(network, samples, CPU)
    for start, stop in ((0, 1), (5, 12), (88, 600), (599, 600)):
        np.testing.assert_allclose(in_chunks(network, samples[start:stop], CPU), whole[start:stop], rtol=1e-7)


def test_where_the_samples_lie_in_memory_does_not_matter() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(30, 16), nn.ReLU(), nn.Linear(16, 30))
    room = np.random.default_rng(0).normal(size=30 * 5_000 + 16).astype(np.float32)
    results = []
    for shift in range(4):
        room[shift : shift + 30 * 5_000] = samples = np.arange(30 * 5_000, dtype=np.float32) % 977 / 977
        shifted = room[shift : shift + 30 * 5_000].reshape(5_000, 30)
        results.append(in_chunks(network, shifted, CPU))
        np.testing.assert_array_equal(shifted.ravel(), samples)
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])


def test_read_only_samples_are_taken() -> None:
    samples = np.ones((70, 2), dtype=np.float32)
    samples.setflags(write=False)
    np.testing.assert_array_equal(in_chunks(lambda x: x, samples, CPU), samples)


def test_no_gradient_is_kept() -> None:
    network = nn.Linear(2, 2)
    in_chunks(lambda x: network(x) if not torch.is_grad_enabled() else pytest.fail("kept"), np.ones((2, 2)), CPU)
    assert torch.is_grad_enabled()


def test_the_callers_default_precision_is_put_back() -> None:
    def fail() -> None:
        with single_precision():
            assert torch.zeros(1).dtype == torch.float32
            raise ZeroDivisionError

    torch.set_default_dtype(torch.float64)
    try:
        with pytest.raises(ZeroDivisionError):
            fail()
        assert torch.zeros(1).dtype == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
