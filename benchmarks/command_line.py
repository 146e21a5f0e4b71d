"""What the command line costs: `--help` in CPU seconds, fit + detect of a 5,000 x 140 CSV in wall seconds.

Whole processes, start-up included, as a user would run them.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np
from common import HOURGLASS, mean_spread, process, save

ROUNDS = 5


def write_table(path: Path) -> None:
    """5,000 rows of 140 columns that share ten hidden causes."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(5000, 10)) @ rng.normal(size=(10, 140)) + 0.1 * rng.normal(size=(5000, 140))
    np.savetxt(path, X, delimiter=",", header=",".join(f"c{i}" for i in range(140)), comments="", fmt="%.6f")


def main() -> None:
    process(HOURGLASS, "--help")
    helps = [process(HOURGLASS, "--help").cpu for _ in range(ROUNDS)]
    with tempfile.TemporaryDirectory() as folder:
        table, scores = Path(folder) / "table.csv", Path(folder) / "scores.csv"
        write_table(table)
        walls = [process(HOURGLASS, "detect", str(table), "-o", str(scores)).wall for _ in range(ROUNDS)]
    lines = [
        f"hourglass --help: {mean_spread(helps)} s CPU ({ROUNDS} runs)",
        f"hourglass detect (fits first) of a 5,000 x 140 CSV: {mean_spread(walls)} s wall, {os.cpu_count()} cores",
    ]
    save("command_line", "python benchmarks/command_line.py", {"help_cpu": helps, "detect_wall": walls}, lines)


if __name__ == "__main__":
    main()
