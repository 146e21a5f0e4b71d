"""Processes of their own, for what would leave its traces in this one."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def environment() -> dict[str, str]:
    """The environment of a process that imports the package and what these tests share."""
    root = Path(__file__).resolve().parents[2]
    paths = [str(root / "src"), str(root / "tests" / "reliability"), os.environ.get("PYTHONPATH")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


@pytest.fixture(scope="session")
def played(environment: dict[str, str]) -> Callable[..., list[dict[str, Any]]]:
    """Run some of `scenarios.py`, each a list of its name and arguments, in one process; gives what came of each."""

    def play(scenarios: list[list[Any]], **variables: str) -> list[dict[str, Any]]:
        command = [sys.executable, "-m", "scenarios", json.dumps(scenarios)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment | variables, check=False)
        assert done.returncode == 0, done.stderr
        found: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
        return found

    return play
