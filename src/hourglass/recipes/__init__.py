"""The recipes that ship with Hourglass: whole experiments by name, each a commented TOML file in this folder.

>>> load("compact")["experiment"]["modality"]
'table'
"""

from __future__ import annotations

import tomllib
from importlib import resources
from typing import Any

from hourglass.errors import UsageError
from hourglass.settings import did_you_mean


def names() -> list[str]:
    """Every recipe's name, in the order of the system it reproduces."""
    return sorted(_files(), key=lambda name: int(load(name)["system"]))


def load(name: str) -> dict[str, Any]:
    """A recipe: name, system, title, data, figure, and the experiment's parts under "experiment"."""
    files = _files()
    if name not in files:
        raise UsageError(f"there is no recipe called {name!r}", how=did_you_mean(name, sorted(files)))
    return {"name": name, **tomllib.loads(files[name].read_text(encoding="utf-8"))}


def _files() -> dict[str, Any]:
    return {
        file.name.removesuffix(".toml"): file
        for file in resources.files(__name__).iterdir()
        if file.name.endswith(".toml")
    }
