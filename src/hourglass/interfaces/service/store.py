"""What outlives the process: one folder with an index (SQLite), models, uploads and reports."""

from __future__ import annotations

import contextlib
import json
import secrets
import shutil
import sqlite3
import tempfile
import time
from pathlib import Path
from typing import Any, Self

from hourglass.data.locking import alone
from hourglass.data.temporary import remove_temporary
from hourglass.errors import DataError
from hourglass.interfaces.service.faults import Refusal

_TABLES = """
CREATE TABLE IF NOT EXISTS uploads (id TEXT PRIMARY KEY, created REAL NOT NULL, document TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS fits (id TEXT PRIMARY KEY, created REAL NOT NULL, document TEXT NOT NULL);
"""
_FOLDERS = ("models", "uploads", "fits")
_INDEX = "index.sqlite"
UPLOADS, FITS = "uploads", "fits"


class Store:
    """Documents by id in one index, and the files that they name. Used from one thread; ids are made here."""

    def __init__(self, folder: str | None) -> None:
        self.temporary = folder is None
        self.root = Path(tempfile.mkdtemp(prefix="hourglass-") if folder is None else folder).absolute()
        with contextlib.ExitStack() as held:
            self._make_folders()
            held.enter_context(alone(self.root / _INDEX, "stop that server, or give another folder with --store"))
            self._index = held.enter_context(contextlib.closing(self._opened()))
            self._held = held.pop_all()
        self._sweep()

    def _make_folders(self) -> None:
        try:
            for name in _FOLDERS:
                (self.root / name).mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            how = "give a folder that can be written to"
            raise DataError(f"cannot be a store: {error.strerror}", where=str(self.root), how=how) from None

    def _opened(self) -> sqlite3.Connection:
        index = sqlite3.connect(self.root / _INDEX, check_same_thread=False)
        try:
            index.execute("PRAGMA journal_mode=WAL")
            index.executescript(_TABLES)
        except sqlite3.Error as error:
            index.close()
            how = "give another folder with --store, or take the file from a copy"
            raise DataError(f"the index cannot be used: {error}", where=str(self.root), how=how) from None
        return index

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *fault: object) -> None:
        """Let go of the folder; a temporary one is removed."""
        self._held.close()
        if self.temporary:
            shutil.rmtree(self.root, ignore_errors=True)

    def put(self, table: str, document: dict[str, Any]) -> None:
        """Keep a document under its `id`, in the place of what was there."""
        text = json.dumps(document)
        with self._index:
            words = f"INSERT INTO {table} VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE SET document = excluded.document"
            self._index.execute(words, (document["id"], time.time(), text))

    def get(self, table: str, key: str) -> dict[str, Any]:
        """The document of that id; `Refusal` where there is none."""
        row = self._index.execute(f"SELECT document FROM {table} WHERE id = ?", (key,)).fetchone()
        if row is None:
            raise Refusal(f"there is no {table[:-1]} {key[:64]!a}", where=table, how="it may be gone", status=404)
        return dict(json.loads(row[0]))

    def all(self, table: str) -> list[dict[str, Any]]:
        """Every document, newest first."""
        rows = self._index.execute(f"SELECT document FROM {table} ORDER BY created DESC, rowid DESC")
        return [json.loads(row[0]) for row in rows]

    def drop(self, table: str, key: str) -> None:
        """Forget a document."""
        with self._index:
            self._index.execute(f"DELETE FROM {table} WHERE id = ?", (key,))

    def new_upload(self) -> Path:
        """A folder that files of a client may be put in: it is gone after a restart unless its id is kept."""
        return self.place_of(new_id())

    def place_of(self, key: str) -> Path:
        """Where the files of a kept upload are."""
        return self.root / "uploads" / key

    def model_path(self, key: str) -> Path:
        """Where a fit's model is."""
        return self.root / "models" / f"{key}.safetensors"

    def fit_path(self, key: str, suffix: str) -> Path:
        """Where a fit's events (`.jsonl`), talk (`.log`) or report (`.html`) is."""
        return self.root / "fits" / f"{key}{suffix}"

    def _sweep(self) -> None:
        """Remove what an earlier process left half done."""
        kept = {document["id"] for document in self.all(UPLOADS)}
        for place in (self.root / "uploads").iterdir():
            if place.name not in kept:
                shutil.rmtree(place, ignore_errors=True)
        remove_temporary(self.root / "models")


def new_id() -> str:
    """An id that nobody can guess."""
    return secrets.token_hex(8)
