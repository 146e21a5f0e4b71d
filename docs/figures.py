"""Writes `docs/figures.md` from what the benchmark scripts measured: no figure in it is typed in by hand."""

from __future__ import annotations

import json
from pathlib import Path

DOCS = Path(__file__).resolve().parent
RESULTS = DOCS.parent / "benchmarks" / "results"
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
    return "\n".join([f"## {path.stem.replace('_', ' ')}", "", about, "", "```", *record["lines"], "```", ""])


if __name__ == "__main__":
    results = sorted(RESULTS.glob("*.json"))
    (DOCS / "figures.md").write_text("\n".join([HEAD, *map(block, results)]))
    print(f"docs/figures.md: {len(results)} results")
