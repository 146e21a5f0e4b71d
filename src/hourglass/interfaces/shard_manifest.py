"""Which shards are done: `_manifest.json` of the folder that their results go to, so that a second run goes on."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from hourglass.data.folders import check_folder, inside, make_folder, manifest_in, remove_file
from hourglass.data.listing import MANIFEST
from hourglass.data.remote import absolute, bare, is_remote, joined, resolved
from hourglass.data.shards import Shards
from hourglass.data.temporary import remove_temporary
from hourglass.data.writing import write_text
from hourglass.errors import UsageError
from hourglass.interfaces.outputs import check_here

_OFTEN, _SHARE = 1.0, 20
"""Seconds between two writings, and how many times what one takes: a list of many thousand shards is a long one."""


@dataclass(frozen=True)
class Todo:
    """A shard and where its result goes."""

    name: str
    source: str
    target: str


class Manifest:
    """The list of shards with what is known of each; written at once, again as shards are done, and in the end.

    A shard is done where an earlier run of the same `job` (verb, model, options) says so, its result is there, and the
    shard's size and time of change are as they were then. Everything of another job is done anew.
    """

    def __init__(self, shards: Shards, folder: str, job: dict[str, Any]) -> None:
        self._folder, self._shards, self._job = folder if is_remote(folder) else resolved(folder), shards, job
        present = check_folder(self._folder)
        old = _read(self._folder)
        self.anew = bool(old) and {key: old.get(key) for key in job} != job
        """Whether the folder holds what another model, or other options, made."""
        self._next = 0.0
        known = {} if self.anew else {each["file"]: each for each in old.get("files", [])}
        self.files: dict[str, dict[str, Any]] = {}
        self.failed: dict[str, str] = {}
        for name, file in zip(shards.names, shards.outputs(), strict=True):
            entry = {"file": file, "name": name, **shards.stamp(name)}
            before = known.get(file, {})
            same = entry.items() <= before.items() and "rows" in before
            self.files[name] = before if same and (not before["rows"] or file in present) else entry
        self.skipped = sum(map(_is_done, self.files.values()))
        self._gone = {each["file"] for each in old.get("files", [])} - {each["file"] for each in self.files.values()}

    @contextlib.contextmanager
    def open(self) -> Iterator[Self]:
        """The manifest on disk, from the start on, and as it should be when the work ends, however it ends."""
        make_folder(self._folder)
        self._write()
        try:
            for file in self._gone:  # of shards that are no longer there
                remove_file(joined(self._folder, file))
            yield self
        finally:
            self._write()
            if not is_remote(self._folder):  # a store shows nothing that is half written
                remove_temporary(Path(self._folder))

    def pending(self) -> list[Todo]:
        """What is still to be done."""
        return [
            Todo(name, absolute(self._shards.path(name)), joined(self._folder, entry["file"]))
            for name, entry in self.files.items()
            if not _is_done(entry)
        ]

    def done(self, name: str, facts: dict[str, Any]) -> None:
        """Note that a shard is done, and what is known of it now."""
        self.files[name] |= facts
        if time.time() > self._next:
            self._write()

    def total(self, fact: str) -> int:
        """The sum of a number over all shards that are done."""
        return sum(entry.get(fact, 0) for entry in self.files.values())

    def notices(self) -> dict[str, list[str]]:
        """What was odd, and in which shards."""
        odd: dict[str, list[str]] = {}
        for name, entry in self.files.items():
            for notice in entry.get("notices", ()):
                odd.setdefault(notice, []).append(name)
        return odd

    def _write(self) -> None:
        failed = [f"{name}: {what}" for name, what in self.failed.items()]
        document = {"source": self._shards.source, **self._job, "files": [*self.files.values()], "failed": failed}
        began = time.time()
        write_text(joined(self._folder, MANIFEST), json.dumps(document, ensure_ascii=False, indent=1))
        self._next = began + max(_OFTEN, _SHARE * (time.time() - began))


def check_apart(shards: Shards, folder: str) -> None:
    """Refuse results in a folder of shards: a second run would take them for shards."""
    if not is_remote(folder):
        check_here(folder, "--output")
    there, whole = resolved(folder), shards.source == bare(shards.folder) or "**" in shards.source
    within = whole and os.path.join(there, "").startswith(os.path.join(resolved(shards.folder), ""))
    beside = {resolved(os.path.dirname(bare(shards.path(name)))) for name in shards.names}
    if within or there in beside:
        how = "give a folder beside it"
        raise UsageError(f"{bare(folder)!r} lies in the folder that is read", where="--output", how=how)


def _is_done(entry: dict[str, Any]) -> bool:
    return "rows" in entry


def _read(folder: str) -> dict[str, Any]:
    """An earlier run's manifest; nothing where there is none, or one that names files elsewhere."""
    text = manifest_in(folder)
    try:
        document: dict[str, Any] = json.loads(text)
        for entry in document["files"]:
            inside(entry["file"])
            entry |= {key: int(entry[key]) for key in ("rows", "anomalies") if key in entry}
        return document
    except (ValueError, LookupError, TypeError):  # a `DataError` is a `ValueError`
        return {}
