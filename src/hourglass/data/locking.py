"""One writer at a time: a lock beside a file, which the system holds for as long as its process lives."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from hourglass.data.opening import not_written
from hourglass.errors import DataError

try:
    import fcntl
except ImportError:  # a system without such locks: two writers still replace whole files by whole files
    fcntl = None  # type: ignore[assignment]


@contextlib.contextmanager
def alone(path: Path, how: str = "wait until it is done, or write to another file") -> Iterator[None]:
    """Be the only process that works on `path`; `DataError` names the one that does already and `how` to mend it.

    What a killed process leaves behind is a file that nobody holds: it is taken over.
    """
    lock = path.with_name(f".{path.name[:200]}.lock")
    handle = _taken(lock, path, how)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            lock.unlink()
        handle.close()


def _taken(lock: Path, path: Path, how: str) -> TextIO:
    """The lock's file, held."""
    while True:
        try:
            handle = open(lock, "a+", encoding="ascii")  # noqa: SIM115 (held until the work is done)
        except OSError as error:
            raise not_written(path, error) from error
        _hold(handle, path, how)
        if _is_still_there(lock, handle):
            handle.truncate(0)
            handle.write(str(os.getpid()))
            handle.flush()
            return handle
        handle.close()  # whoever held it has removed it in between


def _hold(handle: TextIO, path: Path, how: str) -> None:
    if fcntl is None:
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        handle.seek(0)
        holder = f"process {handle.read(20)}".strip()
        handle.close()
        raise DataError(f"{holder} is at work on it", where=str(path), how=how) from None
    except OSError:  # a file system that knows no locks
        return


def _is_still_there(lock: Path, handle: TextIO) -> bool:
    with contextlib.suppress(OSError):
        return os.path.samestat(os.stat(lock), os.fstat(handle.fileno()))
    return False
