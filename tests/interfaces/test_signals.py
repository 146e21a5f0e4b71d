"""An interrupt ends a verb, even where something on the way dropped it."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from hourglass.interfaces.console import Console
from hourglass.interfaces.signals import INTERRUPTED, TERMINATED, code_of, heeded


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    heeded()
    for number, handler in before.items():
        signal.signal(number, handler)


def dropped(number: signal.Signals) -> None:
    """What compiled code does that clears whatever went wrong in Python code that it called."""
    try:
        signal.raise_signal(number)
    except KeyboardInterrupt:
        return
    raise AssertionError("the signal interrupted nothing")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, INTERRUPTED), (signal.SIGTERM, TERMINATED)])
def test_an_interrupt_that_was_dropped_comes_again_after_the_epoch(number: signal.Signals, code: int) -> None:
    def work() -> int:
        console = Console(quiet=True)
        console.epoch(1, 3, {})
        dropped(number)
        console.epoch(2, 3, {})
        return 0

    assert code_of(work) == code


def test_what_goes_on_in_spite_of_an_interrupt_is_let_be() -> None:
    def work() -> int:
        dropped(signal.SIGINT)
        heeded()
        Console(quiet=True).epoch(1, 3, {})
        return 7

    assert code_of(work) == 7


def test_an_interrupt_that_is_ignored_stays_so() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    assert code_of(lambda: 0) == 0
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
