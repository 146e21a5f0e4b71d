"""Data that clients sent to be used again: looked at once, kept in the store."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from hourglass.data.formats import Data
from hourglass.data.samples import Frame, Pictures, Recordings
from hourglass.data.tables import TableSettings, choices_of
from hourglass.errors import DataError, HourglassError
from hourglass.interfaces.learning import choose_modality
from hourglass.interfaces.operations import read_notices
from hourglass.interfaces.options import Fit
from hourglass.interfaces.service.answers import as_json, plain_cells, values_document
from hourglass.interfaces.service.bodies import Sent
from hourglass.interfaces.service.faults import Refusal
from hourglass.interfaces.service.store import UPLOADS, Store

_SHOWN_ROWS, _SHOWN_CELL = 8, 200
_MOST_CELLS = 2_000_000


def keep(store: Store, sent: Sent, about: dict[str, Any]) -> dict[str, Any]:
    """Keep what a client sent; `about` is what was seen in it."""
    folder = _folder(sent)
    document = {"id": folder.name, "files": [name for _, name in sent.files], "bytes": sent.size, **about}
    store.put(UPLOADS, document | {"stored": sent.files})
    sent.kept = True
    return document


def kept(store: Store, key: str) -> Sent:
    """An upload as it was sent."""
    document = store.get(UPLOADS, key)
    files = [(str(ours), str(theirs)) for ours, theirs in document["stored"]]
    return Sent(folder=store.place_of(document["id"]), files=files, kept=True)


def shown(document: dict[str, Any]) -> dict[str, Any]:
    """An upload as clients see it."""
    return {name: fact for name, fact in document.items() if name != "stored"}


def forget(store: Store, key: str) -> None:
    """Remove an upload and its files."""
    place = store.place_of(store.get(UPLOADS, key)["id"])
    store.drop(UPLOADS, key)
    shutil.rmtree(place, ignore_errors=True)


def _folder(sent: Sent) -> Path:
    if sent.folder is None:
        raise Refusal("got rows, wanted a file", where="body", how="send CSV, Parquet, pictures or sound", status=415)
    return sent.folder


def look(sent: Sent) -> dict[str, Any]:
    """What was sent: modality and why, rows, columns with what is odd about them, the first rows."""
    _folder(sent)
    data = sent.read()
    try:
        modality, why = choose_modality(Fit(data="", output=""), data)
    except DataError as error:
        modality, why = None, error.what
    notices = list(read_notices(data))
    return {"modality": modality, "why": why, **_facts(data), "notices": notices}


def _facts(data: Data) -> dict[str, Any]:
    if isinstance(data, Frame):
        return {"rows": data.table.num_rows, "columns": _columns(data), "preview": _preview(data.table)}
    facts: dict[str, Any] = {"rows": len(data), "columns": None, "preview": None}
    if isinstance(data, Pictures):
        facts["sizes"] = [list(np.shape(each)) for each in data.arrays[:_SHOWN_ROWS]]
    elif isinstance(data, Recordings):
        facts["seconds"] = [len(each) / rate for each, rate in zip(data.arrays, data.rates, strict=True)]
        facts["rates"] = list(data.rates)
    else:
        facts["shape"] = list(data.shape)
    return facts


def _columns(frame: Frame) -> list[dict[str, Any]]:
    """Each column's name and type, how many cells are missing, what it is to a model, and why it is left out."""
    try:
        choices = {choice.name: choice for choice in choices_of(frame, TableSettings())}
    except HourglassError:  # no column is left: the fit says so
        choices = {}
    columns = []
    for name, column in zip(frame.table.column_names, frame.table.columns, strict=True):
        choice = choices.get(name)
        kind = choice.column.kind if choice is not None and choice.column is not None else None
        problem = "" if choice is None else choice.left_out or choice.notice
        columns.append(
            {"name": name, "type": str(column.type), "missing": column.null_count, "kind": kind, "problem": problem}
        )
    return columns


def _preview(table: pa.Table) -> list[list[Any]]:
    rows = table.slice(0, _SHOWN_ROWS)
    columns = [plain_cells(column) for column in rows.columns]
    cut = ([cell[:_SHOWN_CELL] if isinstance(cell, str) else cell for cell in column] for column in columns)
    return [list(row) for row in zip(*cut, strict=True)]


def excerpt(sent: Sent) -> bytes:
    """The rows of an upload that are wanted, as JSON like that of a verb's answer."""
    data = sent.read()
    if isinstance(data, Recordings):
        raise Refusal("sound has no form in JSON", where="path", how="take its file", status=415)
    values = data.table if isinstance(data, Frame) else data
    arrays = values.arrays if isinstance(values, Pictures) else values
    cells = arrays.num_rows * arrays.num_columns if isinstance(arrays, pa.Table) else sum(map(np.size, arrays))
    if cells > _MOST_CELLS:
        what = f"got {cells:,} cells, wanted at most {_MOST_CELLS:,}"
        raise DataError(what, where="number", how="ask for fewer rows")
    return as_json(values_document(values))


def options_in(text: str, where: str) -> dict[str, Any]:
    """A form's field that holds JSON."""
    try:
        found = json.loads(text or "{}")
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise Refusal("got no JSON object", where=where, how='such as {"epochs": 40}')
    return found
