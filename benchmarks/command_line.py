"""What the command line costs: `--help` in CPU seconds, fit + detect of a 5,000 x 140 CSV in wall seconds.

Whole processes, start-up included, as a user would run them.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from common import mean_spread, save

COMMAND = [str(Path(sys.executable).with_name("hourglass"))]
ROUNDS = 5


def run(*words: str) -> tuple[float, float]:
    """Wall and CPU seconds of a command; stops the benchmark where it fails."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([*COMMAND, *words], check=True, capture_output=True)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def write_table(path: Path) -> None:
    """5,000 rows of 140 columns that share ten hidden causes."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(5000, 10)) @ rng.normal(size=(10, 140)) + 0.1 * rng.normal(size=(5000, 140))
    np.savetxt(path, X, delimiter=",", header=",".join(f"c{i}" for i in range(140)), comments="", fmt="%.6f")


def main() -> None:
    run("--help")
    helps = [run("--help")[1] for _ in range(ROUNDS)]
    with tempfile.TemporaryDirectory() as folder:
        table, scores = Path(folder) / "table.csv", Path(folder) / "scores.csv"
        write_table(table)
        walls = [run("detect", str(table), "-o", str(scores))[0] for _ in range(ROUNDS)]
    lines = [
        f"hourglass --help: {mean_spread(helps)} s CPU ({ROUNDS} runs)",
        f"hourglass detect (fits first) of a 5,000 x 140 CSV: {mean_spread(walls)} s wall, {os.cpu_count()} cores",
    ]
    save("command_line", "python benchmarks/command_line.py", {"help_cpu": helps, "detect_wall": walls}, lines)


if __name__ == "__main__":
    main()
