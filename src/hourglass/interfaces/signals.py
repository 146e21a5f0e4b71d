"""Ends a verb early where the system asks for it, and what was learned is kept: SIGTERM does what Ctrl-C does."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable

INTERRUPTED, TERMINATED = 130, 143


def code_of(work: Callable[[], int]) -> int:
    """The exit code of some work, during which SIGTERM is an interrupt too."""
    terminated = threading.Event()

    def terminate(number: int, frame: object) -> None:
        terminated.set()
        raise KeyboardInterrupt

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, terminate)
    try:
        code = work()
    except KeyboardInterrupt:  # it came before the verb began
        code = INTERRUPTED
    return TERMINATED if code == INTERRUPTED and terminated.is_set() else code
