"""Memory, threads and file handles, of many fits and of many rows."""

from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.reliability(8)
Turns = Callable[[int, int], int]
Counted = Callable[[int], None]

ROWS = 10_000


@pytest.fixture(scope="module")
def measured(played: Callable[..., list[dict[str, Any]]], turns: Turns) -> list[dict[str, Any]]:
    """Two loops of fits, the second of which leaks, and the peaks of fits to some rows and to ten times as many."""
    count = turns(24, 500)
    return played([["loop", count, False], ["loop", 16, True], ["peak", ROWS], ["peak", 10 * ROWS]])


def growth(figures: list[list[int]]) -> tuple[float, int, int]:
    """Bytes a fit, threads and handles in all, by which the second half of a loop has grown."""
    start, end = figures[len(figures) // 2], figures[-1]
    fits = len(figures) - 1 - len(figures) // 2
    return (end[0] - start[0]) / fits, end[1] - start[1], end[2] - start[2]


def test_many_fits_take_no_more_than_a_few(measured: list[dict[str, Any]], counted: Counted) -> None:
    figures = measured[0]["figures"]
    counted(len(figures))
    memory, threads, handles = growth(figures)
    assert memory < 100_000  # of about 400 MB
    assert (threads, handles) == (0, 0)


def test_a_leak_is_told(measured: list[dict[str, Any]]) -> None:
    """The control: 400 kB, a thread and a handle are kept of each fit."""
    memory, threads, handles = growth(measured[1]["figures"])
    assert memory > 200_000
    assert min(threads, handles) >= 5


def test_memory_grows_as_the_rows_do(measured: list[dict[str, Any]]) -> None:
    """Beside doubles stand samples of single precision, those that are trained on, and what scaling them takes."""
    few, many = measured[2:]
    more = many["data"] - few["data"]
    assert many["fit"] - few["fit"] < 3 * more
    assert many["all"] - few["all"] < 3 * more
