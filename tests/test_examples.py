"""Every example runs and finds what it was written to find."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
FOUND = {
    "odd_rows.py": ["row 0: p = 0.", "normal", "row 1: p = 0.0", "odd: goods is tea, expected gold"],
    "odd_days.py": ["the oddest day is 2026-02-10"],
    "new_samples.py": ["prior normal: log density", "prior mixture: log density"],
    "pretrain_finetune.py": ["50 labels among 1,297 digits: accuracy 0.8"],
    "features.py": ["best code: 16 numbers, accuracy 0.8"],
}


def test_every_example_is_run() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == set(FOUND)


@pytest.mark.parametrize("name", sorted(FOUND))
def test_it_finds_what_it_should(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")
    said = capsys.readouterr().out
    for words in FOUND[name]:
        assert words in said
