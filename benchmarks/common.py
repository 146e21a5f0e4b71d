"""What the benchmark scripts share: where the data are, what the machine is, and where results go."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("HOURGLASS_DATA", ROOT.parent / "shared" / "data"))
RESULTS = ROOT / "benchmarks" / "results"
HOURGLASS = str(Path(sys.executable).with_name("hourglass"))
"""The command, as users have it."""


class Cost(NamedTuple):
    """What some work took."""

    wall: float
    """Seconds."""
    cpu: float
    """Seconds, of all threads."""
    memory: float = 0.0
    """The most that was held, MiB."""


def process(*words: str) -> Cost:
    """What a whole process costs, start-up included; stops the benchmark where it fails."""
    start, memory = time.perf_counter(), 0
    child = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    status = Path(f"/proc/{child.pid}/status")
    while not (ended := os.wait4(child.pid, os.WNOHANG))[0]:
        # asked while it runs, since what `wait4` tells of memory counts that of this process too
        found = [int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM")]
        memory = max(memory, *found, 0)
        time.sleep(0.01)
    wall, (_, code, used) = time.perf_counter() - start, ended
    if code:
        sys.exit(f"failed: {' '.join(words)}")
    return Cost(wall, used.ru_utime + used.ru_stime, memory / 1024)


def data(name: str) -> Path:
    """A file or folder of the reference data; stops with a sentence where it is absent."""
    path = DATA / name
    if not path.exists():
        sys.exit(f"{name} is not in {DATA}; set HOURGLASS_DATA to the folder that holds it")
    return path


def mean_spread(values: list[float]) -> str:
    """Mean and standard deviation over seeds, as `0.994 ± 0.001`."""
    return f"{np.mean(values):.4f} ± {np.std(values):.4f}"


def commit() -> str:
    """The commit that is measured."""
    words = ["git", "rev-parse", "--short", "HEAD"]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True).stdout.strip()


def save(name: str, command: str, figures: dict[str, Any], lines: list[str], quiet: bool = False) -> None:
    """Print a result and keep it, with machine, versions and commit, for `docs/figures.md`."""
    machine = f"{os.cpu_count()} cores, {platform.machine()}, {torch.get_num_threads()} threads"
    packages = {name: version(name) for name in ("torch", "numpy", "scikit-learn", "pyarrow")}
    record = {
        "command": command,
        "machine": machine,
        "versions": {"python": platform.python_version(), **packages},
        "commit": commit(),
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps({**record, "figures": figures, "lines": lines}, indent=1) + "\n")
    if not quiet:
        print("\n".join(lines))
