"""What comes back: JSON, or a file's content by what the client accepts."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from hourglass.data.formats import Result
from hourglass.data.samples import Pictures, Recordings
from hourglass.data.writing import write_table
from hourglass.errors import HourglassError
from hourglass.interfaces.generating import side_by_side
from hourglass.interfaces.outputs import write_values
from hourglass.interfaces.pictures import for_place, shape_of
from hourglass.interfaces.results import Findings
from hourglass.interfaces.service.faults import Refusal, retold
from hourglass.interfaces.service.models import Served
from hourglass.interfaces.service.scoring import Answer, Ask, Verb

JSON, HTML = "application/json", "text/html"
FORMS = {
    JSON: "",
    "text/csv": ".csv",
    "application/vnd.apache.parquet": ".parquet",
    "application/x-npy": ".npy",
    "image/png": ".png",
    "audio/wav": ".wav",
    "audio/flac": ".flac",
}
"""Kinds of content that an answer can have, and the suffixes by which they are written."""


@dataclass(frozen=True)
class Reply:
    """An answer as bytes."""

    body: bytes
    form: str
    rows: int
    scores: np.ndarray | None = None
    """Anomaly scores, where there are some."""


def forms_of(verb: Verb) -> Collection[str]:
    """Kinds of content that a verb's answer can have."""
    return (HTML,) if verb.page else FORMS


def accepted(header: str, forms: Collection[str] = FORMS) -> str:
    """The first kind of content in an Accept header that is among ours; "" for any. `Refusal` where there is none."""
    kinds = [kind.partition(";")[0].strip().lower() for kind in header.split(",") if kind.strip()]
    found = next((kind for kind in kinds if kind in forms or kind == "*/*"), None if kinds else "")
    if found is None:
        known = ", ".join(forms)
        what = f"got {header[:64]!a}"
        raise Refusal(what, where="Accept", how=f"known: {known}", status=406)
    return "" if found == "*/*" else found


def render(answer: Answer, ask: Ask) -> Reply:
    """An answer in the form that was asked for."""
    values, form = answer.values, ask.form
    if isinstance(values, str):
        return Reply(values.encode(), HTML, answer.rows)
    if form in ("", JSON) and isinstance(values, Recordings):
        if form:
            how = "ask for audio/wav or audio/flac"
            raise Refusal("sound has no form in JSON", where="Accept", how=how, status=406)
        form = "audio/wav"
    if form in ("", JSON):
        document = _findings(values) if isinstance(values, Findings) else values_document(values)
        body = as_json(identity(ask.served) | document | {"notices": list(answer.notices)})
        return Reply(body, JSON, answer.rows, _scores(values))
    return Reply(_as_file(answer, ask, form), form, answer.rows, _scores(values))


def identity(served: Served) -> dict[str, Any]:
    """Which model answers."""
    return {"model": served.name, "version": served.version}


def as_json(document: Any) -> bytes:
    """JSON in ASCII: a lone surrogate in somebody's cell must not keep an answer from being sent."""
    return json.dumps(document, allow_nan=False, separators=(",", ":")).encode()


def _scores(values: Findings | Result) -> np.ndarray | None:
    return values.detection.rows.score if isinstance(values, Findings) else None


def _findings(found: Findings) -> dict[str, Any]:
    """Everything found, and the scores column by column; rows are told by number unless they have names or times."""
    detection = found.detection
    rows = detection.rows
    scores: dict[str, Any] = {}
    if found.timed or found.named:
        scores["time" if found.timed else "name"] = plain_cells(rows.index)
    scores |= {"anomaly_score": rows.score.tolist(), "p_value": detection.p_value.tolist()}
    scores["is_anomaly"] = detection.is_anomaly.tolist()
    if found.places is not None:
        scores["covered"] = rows.covered.tolist()
    told = {row: [dict(vars(reason)) for reason in why] for row, why in detection.reasons.items()}
    flagged = set(found.anomalies)
    others = {row: why for row, why in told.items() if row not in flagged}
    return {**found.document(), "scores": scores, **({"reasons": others} if others else {})}


def values_document(values: Result) -> dict[str, Any]:
    """Values as JSON: rows as lists, and the columns where they are rows of a table."""
    if isinstance(values, pa.Table):
        columns = [plain_cells(column) for column in values.columns]
        rows = [list(row) for row in zip(*columns, strict=True)]
        return {"shape": list(values.shape), "columns": values.column_names, "rows": rows}
    arrays = values.arrays if isinstance(values, Pictures | Recordings) else values
    return {"shape": shape_of(values), "columns": None, "rows": [_nested(each) for each in arrays]}


def plain_cells(column: pa.ChunkedArray | pa.Array) -> list[Any]:
    """A column's cells as JSON has them: no NaN, times in ISO 8601."""
    if pa.types.is_temporal(column.type):
        try:
            return [None if cell is None else cell.isoformat() for cell in column.to_pylist()]
        except (ValueError, OverflowError):  # beyond the year 9999, or finer than a microsecond
            return list(column.cast(pa.string()).to_pylist())
    cells: list[Any] = column.to_pylist()
    if pa.types.is_floating(column.type):
        return [None if cell is None or not math.isfinite(cell) else cell for cell in cells]
    return cells


def _nested(array: Any) -> Any:
    array = np.asarray(array)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        array = np.where(np.isfinite(array), array, None)
    return array.tolist()


def _as_file(answer: Answer, ask: Ask, form: str) -> bytes:
    """The content of the file that the command line would have written."""
    with tempfile.TemporaryDirectory(prefix="hourglass-") as folder:
        path = str(Path(folder) / f"answer{FORMS[form]}")
        try:
            _write(answer, ask, path)
        except HourglassError as error:
            told = retold(error, {path: "Accept", folder: "Accept"})
            raise Refusal(told.what, where="Accept", how=f"ask for {JSON}", status=406) from None
        return Path(path).read_bytes()


def _write(answer: Answer, ask: Ask, path: str) -> None:
    values, model = answer.values, ask.served.model
    if isinstance(values, Findings):
        return write_table(values.table(), path)
    values = for_place(values, model, path)
    if isinstance(values, Pictures) and len(values) > 1 and path.endswith(".png"):
        values = side_by_side(values, answer.across or math.ceil(math.sqrt(len(values))))
    write_values(values, path, _names(values, model.format.cell_names()))


def _names(values: Result, names: Sequence[str]) -> Sequence[str] | None:
    return names if isinstance(values, np.ndarray) and values.ndim == 2 else None
