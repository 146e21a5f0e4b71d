"""Writes `docs/figures.md`, the README's table of systems and the recipes' figures from what the benchmarks measured.

No figure in them is typed in by hand.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from hourglass import recipes

DOCS = Path(__file__).resolve().parent
README = DOCS.parent / "README.md"
RESULTS = DOCS.parent / "benchmarks" / "results"
MEASURED = Path(recipes.__file__).with_name("measured.json")
BEGIN, END = "<!-- systems: made by docs/figures.py -->", "<!-- end of systems -->"
HEAD = """# Figures

Made by `make figures` from `benchmarks/results/`, which the scripts named here write (`make bench`). Caveats first:

- Machines differ; each block says on which one it was measured. Wall times were taken while nothing else ran.
- Test labels are used for judging only: no option was chosen by them, and thresholds come from training rows.
- A baseline stands in the same run wherever there is one, on the same rows.
"""


def block(path: Path) -> str:
    """One result as markdown."""
    record = json.loads(path.read_text())
    versions = ", ".join(f"{name} {number}" for name, number in record["versions"].items())
    about = f"`{record['command']}` · {record['machine']} · {versions} · commit {record['commit']}"
    plot = [f"![{path.stem}](../benchmarks/results/{path.stem}.svg)", ""] if path.with_suffix(".svg").exists() else []
    return "\n".join([f"## {path.stem.replace('_', ' ')}", "", about, "", "```", *record["lines"], "```", "", *plot])


def measures() -> list[dict[str, Any]]:
    """What `benchmarks/systems.py` kept, and the first systems' own benchmarks."""
    path = RESULTS / "systems.json"
    return list(json.loads(path.read_text())["figures"].values()) if path.exists() else []


def systems(measured: list[dict[str, Any]]) -> str:
    """The table of systems: each recipe with what was measured of it."""
    rows = ["| # | recipe | what it is | measured |", "|---|---|---|---|"]
    for name in recipes.names():
        recipe = recipes.load(name)
        lines = [each["line"] for each in measured if each["recipe"] == name]
        rows.append(f"| {recipe['system']} | `{name}` | {recipe['title']} | {'; '.join(lines) or 'not measured yet'} |")
    return "\n".join(rows)


def main() -> None:
    """Write all three."""
    results = sorted(RESULTS.glob("*.json"))
    (DOCS / "figures.md").write_text("\n".join([HEAD, *map(block, results)]))
    measured = measures()
    table = f"{BEGIN}\n{systems(measured)}\n{END}"
    README.write_text(re.sub(f"{BEGIN}.*{END}", lambda _: table, README.read_text(), flags=re.DOTALL))
    lines = {each["recipe"]: each["line"] for each in measured if each["recipe"]}
    MEASURED.write_text(json.dumps(lines, indent=1, ensure_ascii=False) + "\n")
    print(f"docs/figures.md: {len(results)} results; README.md: {len(measured)} measures of systems")


if __name__ == "__main__":
    main()
