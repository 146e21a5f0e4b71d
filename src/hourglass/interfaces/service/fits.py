"""Fits in the background: one at a time, each in a process of its own, its events in a file that outlives both."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from hourglass.core.checkpoints import training_place
from hourglass.data.synthesis import NOISES
from hourglass.errors import HourglassError, UsageError
from hourglass.interfaces import options
from hourglass.interfaces.service import uploads
from hourglass.interfaces.service.bodies import Sent
from hourglass.interfaces.service.faults import Refusal
from hourglass.interfaces.service.fitting import OUTCOME
from hourglass.interfaces.service.models import FIT, Models, checked_id
from hourglass.interfaces.service.scoring import checked
from hourglass.interfaces.service.store import FITS, Store, new_id
from hourglass.settings import did_you_mean

logger = logging.getLogger("hourglass.service")

QUEUED, RUNNING, DONE, FAILED, CANCELLED, INTERRUPTED = STATES = (
    *("queued", "running", "done", "failed", "cancelled", "interrupted"),
)
_ENDED = (DONE, FAILED, CANCELLED, INTERRUPTED)
_MOST_WAITING, _RETRY_AFTER = 8, 30
_LOOK, _HEARTBEAT = 0.1, 15.0
"""Seconds between two looks for new events, and after which a silent stream says that it is alive."""
OPTIONS = (
    *("modality", "label", "normal", "size", "tile", "skip_bad", "kind", "recipe", "latent", "layers", "set"),
    *("epochs", "batch_size", "learning_rate", "contaminated", "seed", "prior", "time", "window", "columns", "noise"),
    *("false_alarm_rate", "threshold"),
)
"""The options of `hourglass fit` that clients may set: none names a file, a machine, or how much the server may use."""
_SEE_LOG = "the server's log says more"
_COMMAND = (sys.executable, "-P", "-m", "hourglass.interfaces.service.fitting")


class Fits:
    """What is fitted, was fitted, and waits to be."""

    def __init__(self, store: Store, models: Models) -> None:
        self._store, self._models = store, models
        self._waiting: asyncio.Queue[str] = asyncio.Queue()
        self._process: asyncio.subprocess.Process | None = None
        self._running = ""
        self.closed = False

    def take_up(self) -> None:
        """Go on where an earlier process ended: serve what was fitted, queue what waited, own up to what broke off."""
        for document in reversed(self._store.all(FITS)):
            if document["state"] in (QUEUED, DONE) and document["name"] in self._models:
                what = f"the store has a fit called {document['name']!r} too"
                raise UsageError(what, where="serve", how="rename the file, or give another --store")
            if document["state"] == RUNNING:
                self._end(document, INTERRUPTED)
            elif document["state"] == QUEUED:
                self._waiting.put_nowait(document["id"])
            elif document["state"] == DONE:
                self._serve(document)

    def start(self, sent: Sent, name: str, given: dict[str, Any], report: bool) -> dict[str, Any]:
        """Queue a fit of an upload that is kept."""
        self._check_room()
        key = new_id()
        name = self._free(name) if name else key
        document = {
            **{"id": key, "name": name, "state": QUEUED, "created": time.time(), "started": None, "ended": None},
            **{"upload": sent.folder.name if sent.folder else "", "options": given, "report": report},
            **{"document": None, "error": None, "resume": False},
        }
        _request(document, "data", "model", None)  # refuses now what the process would refuse
        self._store.put(FITS, document)
        self._events(key).touch()
        self._waiting.put_nowait(key)
        return document

    def resume(self, key: str) -> dict[str, Any]:
        """Queue a fit again that was interrupted; it goes on from where its training was last kept."""
        document = self.get(key)
        if document["state"] != INTERRUPTED:
            what = f"the fit is {document['state']}"
            raise Refusal(what, where="fit", how="only what was interrupted goes on", status=409)
        self._check_room()
        uploads.kept(self._store, document["upload"])  # or there is nothing to go on with
        document |= {"name": self._free(document["name"]), "state": QUEUED, "ended": None, "resume": True}
        self._store.put(FITS, document)
        self._waiting.put_nowait(key)
        return document

    def _check_room(self) -> None:
        if sum(fit["state"] == QUEUED for fit in self.all()) >= _MOST_WAITING:
            how = "wait for one to end, or cancel one"
            raise Refusal("too many fits wait", where="fits", how=how, status=429, retry_after=_RETRY_AFTER)

    def _free(self, name: str) -> str:
        checked_id(name, "name", "give another name")
        pending = {fit["name"] for fit in self.all() if fit["state"] in (QUEUED, RUNNING, DONE)}
        if name in pending or name in self._models:
            raise Refusal(f"there is a model called {name} already", where="name", how="give another name", status=409)
        return name

    def all(self) -> list[dict[str, Any]]:
        """Every fit, newest first."""
        return self._store.all(FITS)

    def get(self, key: str) -> dict[str, Any]:
        """One fit."""
        return self._store.get(FITS, key)

    async def run(self) -> None:
        """Do what waits, for ever."""
        while True:
            key = await self._waiting.get()
            try:
                if self._state(key) == QUEUED:
                    await self._fit(self.get(key))
            except Exception as error:
                with contextlib.suppress(Exception):  # of a full disk, say: the next one is tried all the same
                    self._break(key, error)

    def _break(self, key: str, error: Exception) -> None:
        """Own up to a fit that could not be begun, or judged."""
        logger.error("fit %s broke", key, exc_info=error)
        document = self.get(key)
        if document["state"] in _ENDED:
            return
        said = error if isinstance(error, HourglassError) else HourglassError("something of ours failed", how=_SEE_LOG)
        document["error"] = {"what": said.what, "where": said.where or "fit", "how": said.how}
        self._end(document, FAILED)

    def _state(self, key: str) -> str:
        """Where a fit is; "" once it was removed."""
        with contextlib.suppress(Refusal):
            return str(self.get(key)["state"])
        return ""

    async def _fit(self, document: dict[str, Any]) -> None:
        key = document["id"]
        document |= {"state": RUNNING, "started": time.time()}
        self._store.put(FITS, document)
        sent = uploads.kept(self._store, document["upload"])
        report = str(self._store.fit_path(key, ".html")) if document["report"] else None
        request = _request(document, str(sent.path), str(self._store.model_path(key)), report)
        places = {**sent.places(), str(self._store.model_path(key)): "the model", str(self._store.root): "the store"}
        try:
            await self._child(key, json.dumps({"request": request, "places": places}))
            if self._state(key) == RUNNING:
                await self._judge(self.get(key))
        except asyncio.CancelledError:
            self._kill()
            if self._state(key) == RUNNING:
                self._end(self.get(key), INTERRUPTED)
            raise

    async def _child(self, key: str, request: str) -> None:
        """Run a process until it ends, in a session of its own: a Ctrl-C on the terminal is for the server alone."""
        with open(self._events(key), "ab") as out, open(self._store.fit_path(key, ".log"), "ab") as log:
            self._process = process = await asyncio.create_subprocess_exec(
                *_COMMAND, stdin=asyncio.subprocess.PIPE, stdout=out, stderr=log, start_new_session=True
            )
        self._running = key
        if self._state(key) != RUNNING:  # it was cancelled while its process was made
            self._kill()
        try:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                if process.stdin is not None:  # left open: its end means that we are gone
                    process.stdin.write(request.encode() + b"\n")
                    await process.stdin.drain()
            await process.wait()
        finally:
            self._running = ""

    async def _judge(self, document: dict[str, Any]) -> None:
        """What a process that ended has done."""
        events, _ = self._lines(document["id"])
        last = events[-1] if events else {}
        state = last.get("state", FAILED) if last.get("event") == OUTCOME else FAILED
        document["document"], document["error"] = last.get("document"), last.get("error")
        if state == FAILED and not document["error"]:
            document["error"] = self._crashed(document["id"])
        if state == DONE and not await asyncio.to_thread(self._serve, document):
            state, document["error"] = FAILED, {"what": "its model cannot be loaded", "where": "fit", "how": _SEE_LOG}
        if self._state(document["id"]) == RUNNING:
            self._end(document, state)
        else:  # it was cancelled while its model was read
            self._models.drop(document["name"])

    def _crashed(self, key: str) -> dict[str, str]:
        code = self._process.returncode if self._process else None
        logger.error("fit %s: its process ended with %s; see %s", key, code, self._store.fit_path(key, ".log"))
        how = f"fewer rows or a smaller network take less memory; {_SEE_LOG}"
        return {"what": f"its process ended with {code}", "where": "fit", "how": how}

    def _serve(self, document: dict[str, Any]) -> bool:
        try:
            self._models.add(document["name"], self._store.model_path(document["id"]), FIT)
        except HourglassError as error:
            logger.error("the fitted model %s is not served: %s", document["name"], error.what)
            return False
        return True

    def _end(self, document: dict[str, Any], state: str) -> None:
        document |= {"state": state, "ended": time.time()}
        self._store.put(FITS, document)
        facts = {"document": document["document"]} if state == DONE else document["error"] or {}
        with open(self._events(document["id"]), "a", encoding="utf-8") as file:
            file.write(f"\n{json.dumps({'event': state, **facts})}\n")  # a process that was killed leaves half a line

    def stop(self, key: str) -> dict[str, Any]:
        """End training now, and keep the best weights so far."""
        document = self.get(key)
        if key != self._running or self._process is None:
            raise Refusal(f"the fit is {document['state']}", where="fit", how="only a running fit stops", status=409)
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGINT)
        return document

    def remove(self, key: str) -> dict[str, Any]:
        """Cancel a fit that goes on; of one that has ended, forget it and its model."""
        document = self.get(key)
        if document["state"] not in _ENDED:
            if key == self._running:
                self._kill()
            self._end(document, CANCELLED)
            return document
        if document["state"] == DONE:
            self._models.drop(document["name"])
        self._store.drop(FITS, key)
        model = self._store.model_path(key)
        paths = (self._store.fit_path(key, suffix) for suffix in (".jsonl", ".log", ".html"))
        for path in (model, training_place(model), *paths):
            path.unlink(missing_ok=True)
        return document

    def uses(self, upload: str) -> bool:
        """Whether a fit that has not ended needs an upload."""
        return any(fit["upload"] == upload and fit["state"] not in _ENDED for fit in self.all())

    def _kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    def _events(self, key: str) -> Path:
        return self._store.fit_path(key, ".jsonl")

    def _lines(self, key: str, start: int = 0) -> tuple[list[dict[str, Any]], int]:
        """The whole events from a place in the file on, and the place where they end."""
        with open(self._events(key), "rb") as file:
            file.seek(start)
            whole = file.read().rpartition(b"\n")[0]
        events = []
        for line in whole.split(b"\n") if whole else ():
            with contextlib.suppress(ValueError):  # half a line
                events.append(json.loads(line))
        end = start + len(whole) + 1 if whole else start
        return [event for event in events if isinstance(event, dict) and "event" in event], end

    async def stream(self, key: str, after: int = 0) -> AsyncIterator[bytes]:
        """Events after the first so many, as server-sent events, until the fit has ended."""
        number = place = 0
        silent = time.monotonic()
        while not self.closed and self._events(key).exists():
            events, place = self._lines(key, place)
            for event in events:
                if event["event"] == OUTCOME:
                    continue
                number += 1
                if number > after:
                    yield _sent_event(number, event)
                    silent = time.monotonic()
            # not the last event alone: a process that is killed may still write one, and what was interrupted goes on
            if any(event["event"] in _ENDED for event in events) and self._state(key) in _ENDED:
                return
            if time.monotonic() - silent > _HEARTBEAT:
                yield b": still here\n\n"
                silent = time.monotonic()
            await asyncio.sleep(_LOOK)


def _sent_event(number: int, event: dict[str, Any]) -> bytes:
    facts = {name: fact for name, fact in event.items() if name != "event"}
    return f"id: {number}\nevent: {event['event']}\ndata: {json.dumps(facts)}\n\n".encode()


def _request(document: dict[str, Any], data: str, output: str, report: str | None) -> dict[str, Any]:
    """The options of `hourglass fit` that a fit has, checked; none of them is a path of the client's."""
    given = document["options"]
    for name in given:
        if name not in OPTIONS:
            raise UsageError(f"there is no option {name[:64]!a}", where="options", how=did_you_mean(name[:64], OPTIONS))
    request = {**given, "data": data, "output": output, "report": report, "resume": document["resume"]}
    made = checked(options.Fit, request)
    for noise in made.noise:
        if noise not in NOISES:
            raise UsageError(f"got {noise[:64]!a}", where="noise", how=did_you_mean(noise[:64], NOISES))
    return request
