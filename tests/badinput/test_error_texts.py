"""Every error that the code can raise says how to mend what is wrong."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from hourglass import errors
from hourglass.errors import HourglassError

pytestmark = pytest.mark.reliability(9)

SOURCE = Path(__file__).resolve().parents[2] / "src" / "hourglass"
KINDS = {name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, HourglassError)}


def _is_told(call: ast.Call) -> bool:
    """Whether it is a fault of a model file that is found deep inside: who loads the file says where and how."""
    fault = isinstance(call.func, ast.Name) and call.func.id == "ModelFileError"
    return fault and "where" not in {keyword.arg for keyword in call.keywords}


def errors_without_a_remedy(path: Path) -> list[str]:
    """The lines on which an error is made without `how`."""
    calls = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    made = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id in KINDS]
    bare = [call for call in made if "how" not in {keyword.arg for keyword in call.keywords} and not _is_told(call)]
    return [f"{path.relative_to(SOURCE)}:{call.lineno}" for call in bare]


def test_every_error_says_how_to_mend_it() -> None:
    bare = [place for path in sorted(SOURCE.rglob("*.py")) for place in errors_without_a_remedy(path)]
    assert bare == []
