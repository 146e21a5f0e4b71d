"""Every system of the README's table on real data: its figure, and a baseline from the same run beside it.

    python benchmarks/systems.py [--fast] [--only NAME ...]

`--fast` takes about 5 minutes: a tenth of the rows and few epochs, to see that all of it runs; no figure is kept.
The others are kept one by one, so that one of them can be measured again by itself.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from typing import Any

from common import RESULTS, commit, save
from measures import (
    compression,
    defects,
    features,
    generation,
    noisy_pictures,
    oddities,
    reconstruction,
    sound_costs,
    sounds,
    sparse,
)

MEASURES = {
    **oddities.MEASURES,
    **reconstruction.MEASURES,
    **generation.MEASURES,
    **sparse.MEASURES,
    **features.MEASURES,
    **defects.MEASURES,
    **compression.MEASURES,
    **sounds.MEASURES,
    **sound_costs.MEASURES,
    **noisy_pictures.MEASURES,
}
NAME, COMMAND = "systems", "python benchmarks/systems.py"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fast", action="store_true", help="a tenth of the rows, few epochs; nothing is kept")
    parser.add_argument("--only", nargs="+", choices=MEASURES, default=list(MEASURES), metavar="NAME")
    asked = parser.parse_args()
    for name in asked.only:
        start = time.perf_counter()
        measure = MEASURES[name](asked.fast)
        seconds = round(time.perf_counter() - start)
        print(f"{name} [{seconds} s]: {measure.line}", verdict(dataclasses.asdict(measure)), flush=True)
        if not asked.fast:
            keep(name, {**dataclasses.asdict(measure), "seconds": seconds, "commit": commit()})


def keep(name: str, measure: dict[str, Any]) -> None:
    """Write one measure beside those of earlier runs."""
    path = RESULTS / f"{NAME}.json"
    kept = json.loads(path.read_text())["figures"] if path.exists() else {}
    kept = {each: (kept | {name: measure})[each] for each in MEASURES if each in kept or each == name}
    lines = [
        f"{each}: {one['line']}{verdict(one)} [{one['seconds']} s, commit {one['commit']}]"
        for each, one in kept.items()
    ]
    save(NAME, COMMAND, kept, lines, quiet=True)


def verdict(measure: dict[str, Any]) -> str:
    """What was wanted, and whether it was reached."""
    if measure["reached"] is None:
        return ""
    return f" -- wanted {measure['wanted']}: {'reached' if measure['reached'] else 'MISSED'}"


if __name__ == "__main__":
    main()
