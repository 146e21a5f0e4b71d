"""The plugin of `make torture`: counts tests by the numbered part that they are marked for, and writes the report.

`HOURGLASS_REPORT` names the file. A test counts once, or as often as it says (`counted`); one that fails has passed
none of its tries. scikit-learn's own checks are found by their place.
"""

from __future__ import annotations

import os
import platform
from collections import Counter
from pathlib import Path

import pytest
import torch

PARTS = {
    1: "Bad input is refused by name, or scored without a silent NaN",
    2: "Damaged, edited and hostile model files are refused by name, or load to the same bits; golden models load",
    3: "Kills, failing disks, two writers and signals leave the old model or the new one, whole",
    4: "A training that was cut off goes on to the same bits",
    5: "Same seed, same bits; the caller's state is left alone",
    6: "Numbers that break a training stop it, or are told",
    7: "Hostile text is escaped, and nothing is written elsewhere",
    8: "Memory, threads and file handles stay flat",
    9: "scikit-learn's own checks of every estimator; every error says how to mend what is wrong",
    10: "Requests that nobody would send are answered or refused, none with a status of 500",
}
_CHECKS = "test_scikit_learns_checks"
_PLACES = {
    "tests/estimators/test_sklearn_contract.py": 9,
    f"tests/estimators/test_generation.py::{_CHECKS}": 9,
    f"tests/estimators/test_finetuning.py::{_CHECKS}": 9,
}

tried: Counter[int] = Counter()
passed: Counter[int] = Counter()
skipped: dict[int, set[str]] = {}
_part_of: dict[str, int] = {}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep the tests that count for a part."""
    for item in items:
        mark = item.get_closest_marker("reliability")
        place = next((part for place, part in _PLACES.items() if item.nodeid.startswith(place)), 0)
        if part := mark.args[0] if mark else place:
            _part_of[item.nodeid] = part
    config.hook.pytest_deselected(items=[item for item in items if item.nodeid not in _part_of])
    items[:] = [item for item in items if item.nodeid in _part_of]


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Count a test when it is over, or could not begin."""
    part = _part_of.get(report.nodeid)
    if part is None or (report.when != "call" and report.passed) or report.when == "teardown":
        return
    if report.skipped:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else "as expected"
        skipped.setdefault(part, set()).add(str(reason).removeprefix("Skipped: "))
        return
    tries = int(dict(report.user_properties).get("tried", 1))  # type: ignore[call-overload]
    tried[part] += tries
    passed[part] += tries * report.passed


def pytest_sessionfinish() -> None:
    """Write the report."""
    Path(os.environ["HOURGLASS_REPORT"]).write_text("\n".join(report_lines()) + "\n", encoding="utf-8")


def report_lines() -> list[str]:
    """The report, in Markdown."""
    rows = [f"| {part} | {passed[part]:,} / {tried[part]:,} | {what} |" for part, what in PARTS.items()]
    reasons = [f"- part {part}: {reason}" for part in sorted(skipped) for reason in sorted(skipped[part])]
    return [
        "# Reliability",
        "",
        "Written by `make torture`, which runs the long forms of tests that `make test` runs short forms of. What is",
        "a try stands in the tests (`tests/reliability`, `tests/badinput`, `tests/interfaces/service`).",
        "",
        "| part | passed / tried | what |",
        "|---|---|---|",
        *rows,
        "",
        *(["Left out here:", "", *reasons, ""] if reasons else []),
        f"Python {platform.python_version()}, torch {torch.__version__.partition('+')[0]}, {platform.system()} on "
        f"{platform.machine()}.",
    ]
