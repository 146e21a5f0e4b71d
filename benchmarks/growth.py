"""How time and memory grow with the data: a fit and the scores of the same rows, in a process of its own.

    python benchmarks/growth.py [--fast]

Rows times 1, 10 and 100 at 30 columns; columns times 1, 4 and 16 at 20,000 rows. Kind `plain`, whose step is written
out, and the default detector; three epochs. Seconds are those of the processor, on one thread, and memory is what the
process came to hold beyond what it did after the same with 20 rows. Beside the table a plot is kept.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
from common import RESULTS, save

from hourglass import AnomalyDetector, TableAutoencoder

KINDS = ("plain", "masked-cell")
ROWS, COLUMNS, FEWEST = 20_000, 30, 20
SWEEPS = {
    "rows": [(ROWS * times // 10, COLUMNS) for times in (1, 10, 100)],
    "columns": [(ROWS, COLUMNS * times) for times in (1, 4, 16)],
}
COLOURS = {"plain": "#1f77b4", "masked-cell": "#d95f02"}


def fit(kind: str, rows: int, columns: int) -> None:
    x = np.random.default_rng(0).normal(size=(rows, columns)).astype(np.float32)
    autoencoder = TableAutoencoder(kind=kind, epochs=3, device="cpu")
    AnomalyDetector(autoencoder).fit(x).score_samples(x)


def held() -> float:
    """The most that this process has held so far, MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def cost_here(kind: str, rows: int, columns: int) -> dict[str, float]:
    """What a fit costs in this process, once all that it needs is imported."""
    fit(kind, FEWEST, COLUMNS)
    before, start = held(), time.process_time()
    fit(kind, rows, columns)
    return {"seconds": time.process_time() - start, "mebibytes": held() - before}


def swept(kind: str, sizes: list[tuple[int, int]]) -> list[dict[str, Any]]:
    """What each size costs in a process of its own."""
    points = []
    for rows, columns in sizes:
        words = [sys.executable, __file__, "--one", kind, str(rows), str(columns)]
        said = subprocess.run(words, capture_output=True, check=True, text=True).stdout
        points.append({"rows": rows, "columns": columns, **json.loads(said)})
    return points


def lines_of(what: str, kind: str, points: list[dict[str, Any]]) -> list[str]:
    first = points[0]
    return [
        f"{what:8} {kind:12} {each['rows']:8,} x {each['columns']:4}  {each['seconds']:8.2f} s"
        f" ({each['seconds'] / first['seconds']:6.1f} x)  {each['mebibytes']:7.0f} MiB"
        for each in points
    ]


def plot(figures: dict[str, dict[str, list[dict[str, Any]]]]) -> str:
    """Seconds over numbers in the data, both by powers of ten, a line for each kind and sweep, as SVG."""
    points = [each for kinds in figures.values() for sweep in kinds.values() for each in sweep]
    across = _axis([each["rows"] * each["columns"] for each in points], 70, 610)
    up = _axis([max(each["seconds"], 1e-2) for each in points], 330, 30)
    parts = [
        '<svg xmlns="http://www.w3.org/2000/svg" width="640" height="400" font-family="sans-serif" font-size="13">',
        '<rect width="640" height="400" fill="white"/><path d="M70 30V330H610" fill="none" stroke="black"/>',
        '<text x="230" y="375">numbers in the data (rows x columns)</text>',
        '<text transform="translate(20 220) rotate(-90)">processor seconds</text>',
    ]
    for number in across["ticks"]:
        parts.append(f'<text x="{across["at"](number) - 12:.0f}" y="350">1e{round(math.log10(number))}</text>')
    for number in up["ticks"]:
        parts.append(f'<text x="30" y="{up["at"](number) + 4:.0f}">{number:g}</text>')
    for index, (what, kinds) in enumerate(figures.items()):
        for row, (kind, sweep) in enumerate(kinds.items()):
            places = [(across["at"](e["rows"] * e["columns"]), up["at"](max(e["seconds"], 1e-2))) for e in sweep]
            path = " ".join(f"{x:.0f},{y:.0f}" for x, y in places)
            style = f'fill="none" stroke="{COLOURS[kind]}" stroke-width="2"' + ' stroke-dasharray="6 4"' * index
            parts.append(f'<polyline points="{path}" {style}/>')
            named = f"{kind}, more {what}" + " (dashed)" * index
            parts.append(f'<text x="90" y="{45 + 18 * (2 * index + row)}" fill="{COLOURS[kind]}">{named}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _axis(numbers: list[float], first: float, last: float) -> dict[str, Any]:
    """Where a number stands between two ends, by powers of ten, and the powers to name."""
    low, high = math.floor(math.log10(min(numbers))), math.ceil(math.log10(max(numbers)))
    scale = (last - first) / max(high - low, 1)
    ticks = [10.0**power for power in range(low, high + 1)]
    return {"at": lambda number: first + scale * (math.log10(number) - low), "ticks": ticks}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--fast", action="store_true", help="without the largest of each")
    parser.add_argument("--one", nargs=3, metavar=("KIND", "ROWS", "COLUMNS"), help="one fit in this process")
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(cost_here(asked.one[0], int(asked.one[1]), int(asked.one[2]))))
        return
    figures: dict[str, dict[str, list[dict[str, Any]]]] = {}
    lines = []
    for what, sizes in SWEEPS.items():
        figures[what] = {kind: swept(kind, sizes[:-1] if asked.fast else sizes) for kind in KINDS}
        lines += [line for kind, points in figures[what].items() for line in lines_of(what, kind, points)]
    name = "growth_fast" if asked.fast else "growth"
    save(name, "python benchmarks/growth.py" + " --fast" * asked.fast, figures, lines)
    (RESULTS / f"{name}.svg").write_text(plot(figures))


if __name__ == "__main__":
    main()
