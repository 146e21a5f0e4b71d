"""The web page: its files as they lie in the package, plotly.js beside them, and examples to begin with."""

from __future__ import annotations

import asyncio
import functools
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib import metadata, resources, util
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from hourglass.interfaces.service import schemas
from hourglass.interfaces.service.answers import as_json
from hourglass.interfaces.service.bodies import JSON, Sent
from hourglass.interfaces.service.examples import EXAMPLES, example
from hourglass.interfaces.service.faults import Refusal
from hourglass.interfaces.service.store import Store

_KINDS = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
}
_FOR_EVER = {"Cache-Control": "public, max-age=31536000, immutable"}
_PLOTLY = "plotly.min.js"


@dataclass
class Pages:
    """The page at `/`, its files below `/page/DIGEST/`, and the examples that it offers."""

    store: Store
    keep: Callable[[Request, Sent], Awaitable[dict[str, Any]]]
    """What keeps an upload, and says what is in it."""

    def add_to(self, app: FastAPI) -> None:
        app.get("/", include_in_schema=False)(self.index)
        app.get("/page/{version}/{name}", include_in_schema=False)(self.file)
        app.get("/v1/examples", summary="Data to try it with")(self.listed)
        refused = schemas.refusals(404, 503)
        app.post("/v1/examples/{name}", summary="Keep an example", status_code=201, responses=refused)(self.take)

    async def index(self) -> Response:
        content = _files()["index.html"].replace(b"PAGE", f"/page/{digest()}".encode())
        return Response(content, media_type=_KINDS[".html"])

    async def file(self, version: str, name: str) -> Response:
        if version != digest() or (name not in _files() and name != _PLOTLY):
            raise Refusal("there is no such file", where="path", how="load the page at / again", status=404)
        content = await asyncio.to_thread(_plotly().read_bytes) if name == _PLOTLY else _files()[name]
        return Response(content, headers=_FOR_EVER, media_type=_KINDS[Path(name).suffix])

    async def listed(self) -> Response:
        offered = [{"name": each.name, "modality": each.modality} for each in EXAMPLES if each.is_here]
        return Response(as_json({"examples": offered}), media_type=JSON)

    async def take(self, name: str, request: Request) -> Response:
        sent = await example(name, self.store.new_upload())
        return Response(as_json(await self.keep(request, sent)), 201, media_type=JSON)


@functools.cache
def _files() -> dict[str, bytes]:
    folder = resources.files("hourglass.interfaces.service").joinpath("page")
    return {file.name: file.read_bytes() for file in folder.iterdir() if Path(file.name).suffix in _KINDS}


@functools.cache
def digest() -> str:
    """What stands in the addresses of the page's files: it changes with them, and browsers may keep them for ever."""
    made = hashlib.sha256(metadata.version("plotly").encode())
    for name, content in sorted(_files().items()):
        made.update(name.encode() + b"\0" + content)
    return made.hexdigest()[:12]


def _plotly() -> Path:
    """The installed plotly.js, found without importing plotly."""
    spec = util.find_spec("plotly")
    if spec is None or not spec.submodule_search_locations:
        raise Refusal("plotly is not installed", where="path", how="pip install plotly", status=404)
    return Path(spec.submodule_search_locations[0]) / "package_data" / _PLOTLY
