"""The README's Python runs, its commands exist, and its table of systems names the recipes that ship."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hourglass import recipes
from hourglass.interfaces import cli

README = (Path(__file__).resolve().parents[1] / "README.md").read_text(encoding="utf-8")


def test_the_python_runs_and_prints_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL):
        exec(compile(block, "README.md", "exec"), {})
    said = re.findall(r"^print\(.*?\)\s+# (.*)$", README, re.MULTILINE)
    assert said
    assert capsys.readouterr().out.splitlines() == said


@pytest.mark.parametrize("verb", sorted(set(re.findall(r"^hourglass (\w+)", README, re.MULTILINE))))
def test_every_verb_it_shows_has_a_help_page(verb: str) -> None:
    assert cli.run([verb, "--help"]) == 0


def test_the_systems_that_work_are_recipes() -> None:
    named = set(re.findall(r"^\| \d+ \| `([\w-]+)` \|", README, re.MULTILINE))
    assert named == set(recipes.names())
