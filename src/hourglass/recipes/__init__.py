"""The recipes that ship with Hourglass: whole experiments by name, each a commented TOML file in this folder.

>>> load("compact")["experiment"]["modality"]
'table'
"""

from __future__ import annotations

import json
import tomllib
from functools import cache
from importlib import resources
from typing import Any

from hourglass.errors import UsageError
from hourglass.settings import did_you_mean


def names() -> list[str]:
    """Every recipe's name, in the order of the system it reproduces."""
    return sorted(_files(), key=lambda name: int(load(name)["system"]))


def load(name: str) -> dict[str, Any]:
    """A recipe: name, system, title, data, figure, what was `measured`, the experiment's parts under "experiment".

    `pipeline`, where there is one, says what follows the fit once a label is named: {"then": "finetune" or "probe"}.
    """
    files = _files()
    if name not in files:
        raise UsageError(f"there is no recipe called {name!r}", how=did_you_mean(name, sorted(files)))
    document = tomllib.loads(files[name].read_text(encoding="utf-8"))
    return {"name": name, "measured": _measured().get(name), **document}


@cache
def _measured() -> dict[str, str]:
    """What `benchmarks/systems.py` measured of each recipe, in one sentence."""
    text = resources.files(__name__).joinpath("measured.json").read_text(encoding="utf-8")
    return dict(json.loads(text))


def _files() -> dict[str, Any]:
    return {
        file.name.removesuffix(".toml"): file
        for file in resources.files(__name__).iterdir()
        if file.name.endswith(".toml")
    }
