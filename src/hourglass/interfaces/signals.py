"""Ends a verb early where the system asks for it, and what was learned is kept: SIGTERM does what Ctrl-C does."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable

INTERRUPTED, TERMINATED = 130, 143
_asked = threading.Event()


def code_of(work: Callable[[], int]) -> int:
    """The exit code of some work, during which SIGTERM is an interrupt too."""
    terminated = threading.Event()

    def interrupt(number: int, frame: object) -> None:
        _asked.set()
        if number == signal.SIGTERM:
            terminated.set()
        raise KeyboardInterrupt

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, interrupt)
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # and is not ignored, as behind nohup
            signal.signal(signal.SIGINT, interrupt)
    try:
        code = work()
    except KeyboardInterrupt:  # it came before the verb began
        code = INTERRUPTED
    return TERMINATED if code == INTERRUPTED and terminated.is_set() else code


def insist() -> None:
    """Interrupt again what goes on although it was interrupted: compiled code drops exceptions now and then."""
    if _asked.is_set():
        raise KeyboardInterrupt


def heeded() -> None:
    """What goes on from here does so in spite of the interrupt."""
    _asked.clear()
