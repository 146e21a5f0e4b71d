"""How a command line ended that a test ran."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from typing import Any, NamedTuple


class Done(NamedTuple):
    """How one command ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """Its JSON."""
        found: dict[str, Any] = json.loads(self.out)
        return found

    @property
    def lines(self) -> list[dict[str, str]]:
        """Its CSV, a dict for each line."""
        return list(csv.DictReader(io.StringIO(self.out)))


Command = Callable[..., Done]
