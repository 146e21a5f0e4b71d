"""The endpoints. Each is a few lines: what it does lies in the modules beside this one."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from fastapi import FastAPI
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse

from hourglass.interfaces.service import schemas, uploads
from hourglass.interfaces.service.answers import Reply, accepted, as_json, forms_of, identity, render
from hourglass.interfaces.service.bodies import FORM_RULES, JSON, Sent, media_type, received, stretch
from hourglass.interfaces.service.faults import Refusal, plain_fault
from hourglass.interfaces.service.fits import Fits
from hourglass.interfaces.service.metrics import Metrics
from hourglass.interfaces.service.models import Models
from hourglass.interfaces.service.pages import Pages
from hourglass.interfaces.service.queueing import Worker
from hourglass.interfaces.service.rows import parsed
from hourglass.interfaces.service.scoring import VERBS, Ask, answer_all, asked
from hourglass.interfaces.service.security import Guard, Rules
from hourglass.interfaces.service.store import UPLOADS, Store

T = TypeVar("T")
_LOOK = 1.0
"""Seconds between two looks at the models' files."""
_ASK_FIT = 'send {"upload": ID, "options": {...}}'
"""How to mend a request for a fit that is none."""
_MOST_ASKED = 1 << 16
"""Bytes in which a fit is asked for."""


@dataclass
class Service:
    """What the endpoints share."""

    store: Store
    models: Models
    rules: Rules = field(default_factory=Rules)
    metrics: Metrics = field(default_factory=Metrics)
    most_waiting: int = 64
    time_limit: float = 30.0
    ready: bool = False
    worker: Worker = field(init=False)
    fits: Fits = field(init=False)

    def drain(self) -> None:
        """Say that no more work is wanted; what was accepted is still answered."""
        self.ready, self.rules.draining = False, True

    @contextlib.asynccontextmanager
    async def running(self, _: FastAPI) -> AsyncIterator[None]:
        """Everything that goes on while requests are answered."""
        self.worker = Worker(_work, self.most_waiting)
        self.metrics.watch_queue(self.worker.depth)
        tasks = [asyncio.create_task(each) for each in (self.fits.run(), self._watch())]
        self.ready = True
        try:
            yield
        finally:
            self.ready = False
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self.worker.close()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_LOOK)
            await asyncio.to_thread(self.models.refresh)


def _work(tasks: Any) -> Any:
    """What the worker's thread does: answers to requests, or any one function."""
    if isinstance(tasks[0], Ask):
        return answer_all(tasks, render)
    return [task() for task in tasks]


def make_app(service: Service) -> FastAPI:
    """The application."""
    refused = schemas.refusals(*schemas.ALWAYS)
    app = FastAPI(
        title="Hourglass", lifespan=service.running, responses=refused, redirect_slashes=False,
        docs_url=None, redoc_url=None,
    )  # fmt: skip  # both of the last would load scripts from elsewhere
    app.openapi = functools.partial(schemas.document, app, service.models)  # type: ignore[method-assign]
    app.add_middleware(Guard, rules=service.rules, metrics=service.metrics)
    app.add_exception_handler(HTTPException, _refused)
    pages = Pages(service.store, functools.partial(add_upload, service))
    for routes in (_Health(service), _Models(service), _Uploads(service), _Fits(service), pages):
        routes.add_to(app)
    return app


async def _refused(request: Request, error: Exception) -> Response:
    """What the router or the form's parser refuses."""
    told = error if isinstance(error, HTTPException) else HTTPException(500)
    where, how = ("path", "GET /openapi.json lists them") if told.status_code in (404, 405) else ("body", FORM_RULES)
    return plain_fault(told.status_code, str(told.detail), where, how, told.headers)


def _json(document: Any, status: int = 200, **headers: str) -> Response:
    return Response(as_json(document), status, headers, JSON)


async def _while_there(request: Request, work: Awaitable[T]) -> T:
    """What comes of some work; it is cancelled where the client goes away first."""
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            gone.result()  # raises where the client sends more than it may, and did not leave
            raise ClientDisconnect
        return task.result()
    finally:
        gone.cancel()
        task.cancel()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


@dataclass
class _Health:
    """Whether it lives, whether it takes work, and figures."""

    service: Service

    def add_to(self, app: FastAPI) -> None:
        app.get("/healthz", summary="Whether the process lives")(self.healthz)
        app.get("/readyz", summary="Whether it takes work", responses=schemas.refusals(503))(self.readyz)
        app.get("/metrics", summary="Figures for Prometheus")(self.figures)

    async def healthz(self) -> Response:
        return _json({"status": "ok"})

    async def readyz(self) -> Response:
        if not self.service.ready:
            raise Refusal("it does not take work now", where="service", status=503, retry_after=1)
        problems = [{"model": each.name, "what": each.problem} for each in self.service.models if each.problem]
        return _json({"ready": True, "problems": problems})

    async def figures(self) -> Response:
        models = ((each.name, each.version, each.model, bool(each.problem)) for each in self.service.models)
        return Response(self.service.metrics.page(models), media_type=CONTENT_TYPE_LATEST)


@dataclass
class _Models:
    """Models, and the verbs on them."""

    service: Service

    def add_to(self, app: FastAPI) -> None:
        missing = schemas.refusals(404)
        app.get("/v1/models", summary="Models that are served")(self.listed)
        app.get("/v1/models/{name}", summary="What a model is", responses=missing)(self.about)
        app.get("/v1/models/{name}/file", summary="A model as one file", responses=missing)(self.file)
        app.post("/v1/models/{name}/{verb}", include_in_schema=False)(self.verb)

    async def listed(self) -> Response:
        return _json({"models": [each.summary() for each in self.service.models]})

    async def about(self, name: str) -> Response:
        served = self.service.models[name]
        return _json({"name": name, "version": served.version, "problem": served.problem, **served.about})

    async def file(self, name: str) -> Response:
        content = await asyncio.to_thread(_content, self.service.models[name].path)
        version = hashlib.sha256(content).hexdigest()[:12]
        headers = {**_attached(f"{name}.safetensors"), "Hourglass-Model": name, "Hourglass-Version": version}
        return Response(content, headers=headers, media_type="application/octet-stream")

    async def verb(self, name: str, verb: str, request: Request) -> Response:
        served, service = self.service.models[name], self.service
        if verb not in VERBS:
            raise Refusal(f"there is no verb {verb[:64]!a}", where="path", how=f"known: {', '.join(VERBS)}", status=404)
        service.worker.check_room()
        given = dict(request.query_params)
        upload, rows = given.pop("upload", None), stretch(given)
        form = accepted(request.headers.get("accept", ""), forms_of(VERBS[verb]))
        options = asked(verb, given)
        sent = await self._sent(request, upload, VERBS[verb].alone)
        if sent is not None:
            sent.stretch = rows
        try:
            ask = Ask(served, verb, options, sent, form)
            work = service.worker.done(ask, ask.key, service.time_limit)
            reply: Reply = await _while_there(request, work)
        finally:
            if sent is not None:
                sent.discard()
        service.metrics.scored(name, served.version, verb, reply.rows, reply.scores)
        facts = identity(served)
        headers = {f"Hourglass-{key.title()}": value for key, value in facts.items()}
        return Response(reply.body, headers=headers, media_type=reply.form)

    async def _sent(self, request: Request, upload: str | None, may_lack: bool) -> Sent | None:
        if upload is not None:
            return uploads.kept(self.service.store, upload)
        if may_lack and not media_type(request):
            return None
        return await received(request, self.service.store.new_upload())


@dataclass
class _Uploads:
    """Data that are sent once and used again."""

    service: Service

    def add_to(self, app: FastAPI) -> None:
        body = {"requestBody": schemas.UPLOAD_BODY}
        refused, missing = schemas.refusals(408, 413, 415, 422, 503), schemas.refusals(404)
        keep = app.post("/v1/uploads", summary="Keep data", status_code=201, responses=refused, openapi_extra=body)
        keep(self.add)
        app.get("/v1/uploads/{key}", summary="What was kept", responses=schemas.refusals(404))(self.one)
        refused, some = schemas.refusals(404, 415, 503), {"parameters": schemas.STRETCH}
        rows = app.get("/v1/uploads/{key}/rows", summary="Some of its rows", responses=refused, openapi_extra=some)
        rows(self.rows)
        app.get("/v1/uploads/{key}/files/{place}", summary="One of its files", responses=missing)(self.file)
        app.delete("/v1/uploads/{key}", summary="Forget it", responses=schemas.refusals(404, 409))(self.drop)

    async def add(self, request: Request) -> Response:
        self.service.worker.check_room()
        sent = await received(request, self.service.store.new_upload())
        return _json(await add_upload(self.service, request, sent), 201)

    async def one(self, key: str) -> Response:
        return _json(uploads.shown(self.service.store.get(UPLOADS, key)))

    async def rows(self, key: str, request: Request) -> Response:
        service, sent = self.service, uploads.kept(self.service.store, key)
        sent.stretch = stretch(dict(request.query_params))
        work = service.worker.done(functools.partial(uploads.excerpt, sent), None, service.time_limit)
        return Response(await _while_there(request, work), media_type=JSON)

    async def file(self, key: str, place: str) -> Response:
        sent = uploads.kept(self.service.store, key)
        ours = {str(number): ours for number, (ours, _) in enumerate(sent.files)}.get(place)
        if ours is None or sent.folder is None:
            raise Refusal("the upload has no such file", where="path", how="files count from 0", status=404)
        content = await asyncio.to_thread(_content, sent.folder / ours)
        return Response(content, headers=_attached("upload"), media_type="application/octet-stream")

    async def drop(self, key: str) -> Response:
        if self.service.fits.uses(key):
            raise Refusal("a fit needs it", where="upload", how="wait for the fit, or cancel it", status=409)
        uploads.forget(self.service.store, key)
        return Response(status_code=204)


async def add_upload(service: Service, request: Request, sent: Sent) -> dict[str, Any]:
    """Look at what was sent, and keep it; it is removed where it cannot be read."""
    try:
        work = service.worker.done(functools.partial(uploads.look, sent), None, service.time_limit)
        return uploads.keep(service.store, sent, await _while_there(request, work))
    finally:
        sent.discard()


@dataclass
class _Fits:
    """Fits in the background."""

    service: Service

    def add_to(self, app: FastAPI) -> None:
        body = {"requestBody": schemas.FIT_BODY}
        refused, missing = schemas.refusals(404, 408, 409, 413, 415, 422, 429, 503), schemas.refusals(404)
        start = app.post("/v1/fits", summary="Start a fit", status_code=202, responses=refused, openapi_extra=body)
        start(self.start)
        app.get("/v1/fits", summary="Fits, newest first")(self.listed)
        app.get("/v1/fits/{key}", summary="One fit", responses=missing)(self.one)
        app.get("/v1/fits/{key}/events", summary="Its progress", responses=missing)(self.events)
        app.get("/v1/fits/{key}/report", summary="Its report", responses=missing)(self.report)
        app.post("/v1/fits/{key}/stop", summary="End training now", responses=schemas.refusals(404, 409))(self.stop)
        again = schemas.refusals(404, 409, 429)
        app.post("/v1/fits/{key}/resume", summary="Go on", status_code=202, responses=again)(self.resume)
        app.delete("/v1/fits/{key}", summary="Cancel or remove it", responses=missing)(self.remove)

    async def start(self, request: Request) -> Response:
        service = self.service
        sent = await received(request, service.store.new_upload())
        try:
            wanted = _wanted(_asked(sent))
            if sent.folder is not None:
                wanted["upload"] = (await add_upload(service, request, sent))["id"]
            kept = uploads.kept(service.store, wanted["upload"])
            made = service.fits.start(kept, wanted["name"], wanted["options"], wanted["report"])
        except BaseException:
            if sent.kept and sent.folder is not None:  # under an id that nobody was told
                uploads.forget(service.store, sent.folder.name)
            raise
        finally:
            sent.discard()
        return _json(made, 202, Location=f"/v1/fits/{made['id']}")

    async def listed(self) -> Response:
        return _json({"fits": self.service.fits.all()})

    async def one(self, key: str) -> Response:
        return _json(self.service.fits.get(key))

    async def events(self, key: str, request: Request) -> Response:
        last = request.headers.get("last-event-id", "0")
        self.service.fits.get(key)
        stream = self.service.fits.stream(key, int(last) if last.isascii() and last.isdigit() and len(last) < 9 else 0)
        return StreamingResponse(stream, media_type="text/event-stream")

    async def report(self, key: str) -> Response:
        self.service.fits.get(key)
        content = await asyncio.to_thread(_content, self.service.store.fit_path(key, ".html"))
        return Response(content, headers=_attached("report.html"), media_type="text/html")

    async def stop(self, key: str) -> Response:
        return _json(self.service.fits.stop(key), 202)

    async def resume(self, key: str) -> Response:
        return _json(self.service.fits.resume(key), 202)

    async def remove(self, key: str) -> Response:
        return _json(self.service.fits.remove(key))


def _asked(sent: Sent) -> Any:
    """The document that JSON, or the fields of a form, hold."""
    is_form, options = sent.folder is not None or sent.fields, sent.fields.get("options", "")
    if max(len(sent.content), len(options)) > _MOST_ASKED:
        what = f"got more than {_MOST_ASKED:,} bytes beside the data"
        raise Refusal(what, where="options", how="leave out what is the default", status=413)
    if not is_form:
        return parsed(sent.content, _ASK_FIT)
    return {**sent.fields, "options": uploads.options_in(options, "options")}


def _wanted(document: Any) -> dict[str, Any]:
    """What a client asked for, its types checked."""
    known: dict[str, tuple[type, Any]] = {
        "upload": (str, ""),
        "name": (str, ""),
        "options": (dict, {}),
        "report": (bool, False),
    }
    if not isinstance(document, dict):
        raise Refusal("the body is no JSON object", where="body", how=_ASK_FIT)
    words = {"true": True, "false": False, "": False}
    if isinstance(document.get("report"), str):  # a form's fields are words
        document["report"] = words.get(document["report"], document["report"])
    for name, value in document.items():
        if name not in known or not isinstance(value, known[name][0]):
            how = f"known: {', '.join(f'{key} ({kind.__name__})' for key, (kind, _) in known.items())}"
            raise Refusal(f"got {name[:64]!a}: {ascii(value)[:64]}", where="body", how=how, status=422)
    return {name: document.get(name, default) for name, (_, default) in known.items()}


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        raise Refusal(
            "there is no such file", where="path", how="it was not asked for, or is gone", status=404
        ) from None


def _attached(name: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="{name}"'}
