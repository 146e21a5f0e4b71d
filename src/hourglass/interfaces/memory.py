"""How much memory a verb may use, as people write it, and how much it did."""

from __future__ import annotations

import contextlib
import re
import sys
from pathlib import Path

from hourglass.errors import UsageError

DEFAULT = "1GB"
_LEAST = 64_000_000
_UNITS = {"": 1, "k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}


def bytes_of(words: str | None) -> int:
    """Bytes of a size in words; `UsageError` where it is none, or below 64 MB.

    >>> bytes_of("512MB"), bytes_of("1.5 GiB"), bytes_of(None)
    (512000000, 1610612736, 1000000000)
    """
    found = re.fullmatch(r"([\d.]+) *([kmgt]i?)?b?", (words or DEFAULT).strip().lower())
    try:
        size = int(float(found[1]) * _UNITS[found[2] or ""]) if found else 0
    except ValueError:  # 1.2.3
        size = 0
    if size < _LEAST:
        raise UsageError(f"got {words!r}, wanted a size of at least 64MB", where="--memory", how="such as 512MB or 4GB")
    return size


def peak_memory() -> int | None:
    """The most bytes that this process has held so far; None where the system does not say."""
    if sys.platform == "win32":
        return None
    with contextlib.suppress(OSError, StopIteration):  # what the system call says counts the process it came from too
        lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith("VmHWM"))) * 1024
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
