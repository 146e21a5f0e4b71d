"""One fit in a process of its own: told what to do on stdin, it tells on stdout what happens, a JSON object a line.

Started by the service as `python -P -m hourglass.interfaces.service.fitting`. When stdin ends, so does the process:
whoever started it is gone. SIGINT ends training early and keeps the best weights. SIGTERM, which a service manager may
send to all processes at once, is left to the service.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Mapping
from typing import Any, TextIO

from hourglass.errors import HourglassError
from hourglass.interfaces.options import Fit
from hourglass.interfaces.service.faults import renamed
from hourglass.interfaces.signals import code_of, insist

OUTCOME = "outcome"
"""The event that says how it ended, for the service, which tells clients once it has done its part."""
_PATHS = ("model", "output", "report", "resume")


class Teller:
    """Writes events, with the client's words in the place of our paths."""

    def __init__(self, out: TextIO, places: Mapping[str, str]) -> None:
        self._out, self._places = out, places

    def tell(self, event: str, **facts: Any) -> None:
        """One event, at once."""
        text = json.dumps({"event": event, **facts}, allow_nan=False, default=str)
        for path, name in self._places.items():
            text = renamed(text, {json.dumps(path)[1:-1]: json.dumps(name)[1:-1]})
        self._out.write(text + "\n")
        self._out.flush()

    def note(self, notice: str) -> None:
        self.tell("note", notice=notice)

    def epoch(self, epoch: int, epochs: int, terms: dict[str, float]) -> None:
        self.tell("epoch", epoch=epoch, epochs=epochs, terms=terms)
        insist()

    def progress(self, what: str, done: int, total: int) -> None:
        self.tell("progress", what=what, done=done, total=total)


def fit(request: Fit, teller: Teller) -> None:
    """Fit, and tell how it ended."""
    from hourglass.interfaces import operations

    try:
        document = operations.fit(request, teller).document
        facts = {name: fact for name, fact in document.items() if name not in _PATHS}
        teller.tell(OUTCOME, state="done", document=facts)
    except KeyboardInterrupt:
        teller.tell(OUTCOME, state="cancelled")
    except HourglassError as error:
        teller.tell(OUTCOME, state="failed", error={"what": error.what, "where": error.where, "how": error.how})


def _end_with_stdin() -> None:
    while os.read(0, 1):
        pass
    os._exit(1)


def main() -> None:
    """Read the request, and do it."""
    with contextlib.suppress(OSError):
        os.nice(5)  # who waits for scores goes first
    os._exit(code_of(_work))


def _work() -> int:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    asked = json.loads(sys.stdin.readline())
    out, sys.stdout = sys.stdout, sys.stderr
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    teller = Teller(out, asked["places"])
    try:
        fit(Fit(**asked["request"]), teller)
    except Exception:  # the process's log has it, and its exit code says so
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    main()
