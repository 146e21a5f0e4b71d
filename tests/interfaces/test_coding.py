"""The entropy coder: whole numbers come back as they were, in about as many bytes as their entropy."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest

from hourglass.errors import MissingExtraError, UnreadableError, UsageError
from hourglass.interfaces.coding import (
    Reader,
    decode_codes,
    decode_symbols,
    encode_codes,
    encode_symbols,
    number_bytes,
)


def normal(count: int, columns: int, deviation: float) -> np.ndarray:
    return np.rint(np.random.default_rng(0).normal(scale=deviation, size=(count, columns))).astype(np.int64)


@pytest.mark.parametrize(
    "numbers",
    [
        normal(1_000, 5, 2),
        normal(1, 3, 5),
        normal(0, 3, 1),
        normal(40, 0, 1),
        normal(500, 2, 40_000),
        np.full((100, 2), -7),
        np.array([[0], [2**31 - 1], [-(2**31)]]),
    ],
    ids=["usual", "one row", "no rows", "no columns", "wide", "constant", "far apart"],
)
def test_numbers_come_back(numbers: np.ndarray) -> None:
    decoded = decode_symbols(encode_symbols(numbers))
    assert decoded.dtype == np.int64
    assert np.array_equal(decoded, numbers)


@pytest.mark.parametrize(("count", "deviation", "over"), [(300, 2, 1.09), (10_000, 0.5, 1.02), (5_000, 3_000, 1.02)])
def test_bytes_come_near_the_entropy(count: int, deviation: float, over: float) -> None:
    numbers = normal(count, 4, deviation)
    edges = (np.arange(-8 * np.ceil(deviation), 8 * np.ceil(deviation) + 1) - 0.5) / deviation
    shares = np.diff([math.erf(edge / math.sqrt(2)) / 2 for edge in edges])
    shares = shares[shares > 0]
    entropy = -4 * count * (shares * np.log2(shares)).sum() / 8
    assert len(encode_symbols(numbers)) <= over * entropy + 30


def test_a_constant_column_takes_three_bytes() -> None:
    one = normal(1_000, 1, 2)
    both = np.column_stack([one, np.full(1_000, 5)])
    assert len(encode_symbols(both)) == len(encode_symbols(one)) + 3


def test_the_bytes_are_the_same_on_every_machine() -> None:
    numbers = np.array([[3, -1], [4, 0], [3, 5], [2, 0], [3, 0], [9, 0], [3, 0], [3, 0], [3, 0], [2, 0]])
    assert encode_symbols(numbers).hex() == GOLDEN


GOLDEN = "0a0202040101070009af3010654643cf"


def test_codes_come_back_within_a_step() -> None:
    codes = np.random.default_rng(0).normal(size=(200, 3)) * [1, 5, 20]
    for step in (0.1, np.array([0.1, 0.5, 2.0])):
        given_back = decode_codes(encode_codes(codes, step))
        assert (np.abs(given_back - codes) <= 0.58 * np.broadcast_to(step, 3) + 1e-12).all()
    assert len(encode_codes(codes, 0.2)) < len(encode_codes(codes, 0.1))


@pytest.mark.parametrize("step", [0.0, -1.0, np.nan, np.inf])
def test_a_step_that_is_none_is_refused(step: float) -> None:
    with pytest.raises(UsageError, match="wanted one above 0"):
        encode_codes(np.ones((2, 2)), step)


def test_bytes_that_end_too_early_are_refused() -> None:
    content = encode_symbols(normal(5, 3, 2))
    for length in range(11):  # two sizes and three columns
        with pytest.raises(UnreadableError):
            decode_symbols(content[:length])


@pytest.mark.parametrize(
    "head",
    [
        [2**60, 1, 0, 1, 0],  # a constant column of 2^60 rows
        [2**20, 2**40],  # columns without end
        [5, 1, 0, 10**6, 0],  # more symbols than are ever written
        [5, 1, 0, 0, 0],  # none
        [5, 1, 0, 2, 60],  # too many low bits
    ],
)
def test_absurd_sizes_are_refused_before_any_room_is_taken(head: list[int]) -> None:
    with pytest.raises(UnreadableError):
        decode_symbols(number_bytes(head))


def test_random_bytes_are_refused_or_decoded_but_never_crash() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        content = rng.integers(0, 40, size=rng.integers(0, 30), dtype=np.uint8).tobytes()
        try:
            decode_codes(content)
        except UnreadableError:
            continue


def test_numbers_of_bytes_come_back() -> None:
    numbers = [0, 1, 127, 128, 300, 2**62]
    assert Reader(number_bytes(numbers), "here").numbers(len(numbers)) == numbers
    with pytest.raises(UnreadableError, match="here: is cut short"):
        Reader(b"\xff", "here").numbers(1)
    with pytest.raises(UnreadableError, match="here: the coded numbers are damaged"):
        Reader(b"\xff" * 20, "here").numbers(1)


def test_a_missing_coder_is_named_with_its_pip_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "constriction", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'hourglass-autoencoder\[compress\]'"):
        encode_symbols(normal(3, 1, 1))
