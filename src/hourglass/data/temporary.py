"""What results are called while they are written, hidden beside their places; a kill leaves such files behind."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from pathlib import Path

_NAME = re.compile(r"\.(.+)\.[0-9a-f]{12}\.tmp", re.DOTALL)
_MOST = 100
"""Letters of a result's own name that are kept: with all of a long one, the name would be too long."""


def temporary_for(target: Path) -> Path:
    """A new name beside `target`, for what shall take its place."""
    return target.with_name(f".{target.name[:_MOST]}.{secrets.token_hex(6)}.tmp")


def is_temporary(path: Path) -> bool:
    """Whether a file is called as one that is being written."""
    return bool(_NAME.fullmatch(path.name))


def remove_unfinished(path: Path) -> None:
    """Remove what writers of `path` that were killed have left behind; nobody else may be writing to it."""
    target = Path(os.path.realpath(path))
    with contextlib.suppress(OSError):
        for each in [*target.parent.iterdir()]:
            if (found := _NAME.fullmatch(each.name)) and found[1] == target.name[:_MOST]:
                each.unlink()


def remove_temporary(folder: Path) -> None:
    """Take away what killed runs left half written in a folder."""
    for path in folder.rglob(".*.tmp"):
        if is_temporary(path):
            path.unlink(missing_ok=True)
