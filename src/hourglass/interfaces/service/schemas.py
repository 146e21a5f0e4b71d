"""`/openapi.json`: the paths, and for each served model the types of its own columns."""

from __future__ import annotations

import dataclasses
import types
import typing
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from hourglass._version import __version__
from hourglass.core.fitted import FittedModel
from hourglass.data.audio import AudioFormat
from hourglass.data.column_kinds import Category, Column, Date, Flag
from hourglass.data.images import ImageFormat
from hourglass.data.series import SeriesFormat
from hourglass.data.tables import TableFormat
from hourglass.interfaces.service.answers import forms_of
from hourglass.interfaces.service.bodies import FORM, JSON, SENT
from hourglass.interfaces.service.models import Models, Served
from hourglass.interfaces.service.scoring import VERBS, Verb
from hourglass.settings import Settings

Schema = dict[str, Any]
_NUMBER: Schema = {"type": ["number", "null"]}
_BYTES: Schema = {"type": "string", "format": "binary"}
_REFUSALS = {
    400: "no such request, or a damaged file",
    401: "no token",
    403: "another origin",
    404: "not there",
    406: "no such form of answer",
    408: "the body took too long",
    409: "not now",
    413: "too large",
    415: "unknown kind of data",
    422: "data or an option that cannot be used",
    429: "too many fits wait",
    503: "too many requests wait",
}
ALWAYS = (400, 401, 403, 422)
"""Refusals that any endpoint may answer with."""
ERROR: Schema = {
    "type": "object",
    "required": ["what", "where", "how"],
    "properties": {name: {"type": "string"} for name in ("what", "where", "how")},
}
_FORM: Schema = {
    "type": "object",
    "properties": {"file": {"type": "array", "items": _BYTES}},
    "required": ["file"],
}
UPLOAD_BODY: Schema = {"content": {FORM: {"schema": _FORM}, **{kind: {"schema": _BYTES} for kind in SENT}}}
_ASKED: Schema = {
    "name": {"type": "string", "pattern": "^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}$"},
    "options": {"type": "object"},
    "report": {"type": "boolean"},
}
FIT_BODY: Schema = {
    "content": {
        JSON: {
            "schema": {
                "type": "object",
                "required": ["upload"],
                "properties": {"upload": {"type": "string"}, **_ASKED},
                "additionalProperties": False,
            }
        },
        FORM: {
            "schema": {
                **_FORM,
                "properties": {
                    **_FORM["properties"],
                    **{name: {"type": "string"} for name in _ASKED},
                },
            }
        },
    }
}


def _queried(name: str, doc: str, schema: Schema) -> Schema:
    return {"name": name, "in": "query", "required": False, "description": doc, "schema": schema}


STRETCH = [
    _queried("start", "the first row of those that are wanted, counted from 0", {"type": "integer", "minimum": 0}),
    _queried("number", "how many of them (default: 1), where `start` is given", {"type": "integer", "minimum": 0}),
]
"""Parameters for some of an upload's rows."""
_KEPT = _queried("upload", "the id of data that were uploaded before, in the place of a body", {"type": "string"})


def refusals(*statuses: int) -> dict[int | str, Schema]:
    """Refusals that an endpoint may answer with."""
    error = {"content": {JSON: {"schema": {"$ref": "#/components/schemas/Error"}}}}
    return {status: {"description": _REFUSALS[status], **error} for status in statuses}


def document(app: FastAPI, models: Models) -> Schema:
    """The OpenAPI document as it is now."""
    made = get_openapi(title="Hourglass", version=__version__, routes=app.routes)
    parts: Schema = {"Error": ERROR}  # in the place of the framework's own words for refusals
    made["components"] = {"schemas": parts, "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}}
    for served in models:
        parts[f"Rows.{served.name}"] = rows_schema(served.model)
        for name, verb in VERBS.items():
            if name != "predict" or served.model.head is not None:
                made["paths"][f"/v1/models/{served.name}/{name}"] = {"post": _operation(served, name, verb)}
    return made


def _operation(served: Served, name: str, verb: Verb) -> Schema:
    answer = {"content": {form: {"schema": {"type": "object"} if form == JSON else _BYTES} for form in forms_of(verb)}}
    of_upload = [each for each in (_KEPT, *STRETCH) if each["name"] not in verb.options]
    return {
        "operationId": f"{name}_{served.name}",
        "summary": f"{name} by the model {served.name}",
        "parameters": [*(_parameter(verb.request, option) for option in verb.options), *of_upload],
        "requestBody": {"required": False, "content": _content(served, name)},
        "responses": {
            "200": {"description": "done", **answer},
            **{str(status): what for status, what in refusals(*ALWAYS, 404, 406, 408, 413, 415, 503).items()},
        },
    }


def _content(served: Served, verb: str) -> Schema:
    if verb == "decode":
        numbers = {"type": "array", "items": {"type": "number"}}
        rows: Schema = {"type": "object", "properties": {"rows": {"type": "array", "items": numbers, "minItems": 1}}}
        return {JSON: {"schema": {**rows, "required": ["rows"]}}}
    files = {kind: {"schema": _BYTES} for kind in _kinds(served.model)} | {FORM: {"schema": _FORM}}
    if isinstance(served.model.format, AudioFormat):
        return files
    return {JSON: {"schema": {"$ref": f"#/components/schemas/Rows.{served.name}"}}, **files}


def _kinds(model: FittedModel) -> list[str]:
    form = model.format
    wanted = "audio/" if isinstance(form, AudioFormat) else "image/" if isinstance(form, ImageFormat) else ""
    return [kind for kind in SENT if kind.startswith(wanted or ("text/", "application/"))]


def _parameter(request: type[Settings], name: str) -> Schema:
    field = next(field for field in dataclasses.fields(request) if field.name == name)
    limits = {"low": "minimum", "high": "maximum"}
    words = {schema: field.metadata[ours] for ours, schema in limits.items() if field.metadata[ours] is not None}
    if field.metadata["choices"]:
        words["enum"] = list(field.metadata["choices"])
    schema = {"type": _type_word(typing.get_type_hints(request)[name]), **words}
    return _queried(name, field.metadata["doc"], schema)


def _type_word(kind: Any) -> str:
    kinds = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    words = {int: "integer", float: "number", bool: "boolean"}
    return next((words[each] for each in kinds if each in words), "string")


def rows_schema(model: FittedModel) -> Schema:
    """The rows that a model takes as JSON."""
    cells = column_types(model)
    names: Schema = {"type": "array", "items": {"type": "string"}, "minItems": 1}
    item: Schema = {"type": "array"}
    if cells:
        item = {"type": "object", "properties": cells, "required": list(cells)}
    rows: Schema = {"type": "array", "items": item, "minItems": 1}
    properties = {"rows": rows, **({"columns": names} if cells else {})}
    return {"type": "object", "properties": properties, "required": ["rows"], "additionalProperties": False}


def column_types(model: FittedModel) -> dict[str, Schema]:
    """A JSON type for each column of rows that are objects; none where the model knows no names."""
    form = model.format
    if isinstance(form, TableFormat):
        return {column.name: _column_type(column) for column in form.columns} if form.named else {}
    if isinstance(form, SeriesFormat) and form.schema.columns:
        time: dict[str, Schema] = {form.schema.time: {"type": ["string", "number"]}} if form.schema.time else {}
        return time | dict.fromkeys(form.schema.columns, _NUMBER)
    return {}


def _column_type(column: Column) -> Schema:
    if isinstance(column, Flag):
        return {"type": ["boolean", "number", "null"]}
    if isinstance(column, Category):
        return {"type": ["string", "null"], "examples": list(column.words[:8])}
    if isinstance(column, Date):
        return {"type": ["string", "null"], "format": "date-time"}
    return _NUMBER
