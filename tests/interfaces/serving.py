"""A service as it runs, for its tests: uvicorn in a thread on a free port, or `hourglass serve` as a process."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from hourglass.core.checkpoints import save_model
from hourglass.core.fitted import DETECTOR
from hourglass.core.fitting import fit_model
from hourglass.estimators.planning import plan_with
from hourglass.interfaces.service.server import DrainingServer, make_server, make_service
from hourglass.interfaces.service.settings import Serve
from hourglass.interfaces.service.store import Store

HOURGLASS = str(Path(sys.executable).with_name("hourglass"))


def numbers(rows: int = 120, seed: int = 0) -> np.ndarray:
    """Rows of three columns that share one cause."""
    random = np.random.default_rng(seed)
    return random.normal(size=(rows, 1)) @ np.array([[1.0, -2.0, 0.5]]) + 0.1 * random.normal(size=(rows, 3)) + 10


def rows(count: int = 4, seed: int = 1) -> list[dict[str, float]]:
    """JSON rows of the model `plain`."""
    return [dict(zip("abc", each, strict=True)) for each in numbers(count, seed).tolist()]


def fit(path: Path, modality: str, data: Any, kind: str = "plain", seed: int = 0, **options: Any) -> None:
    """A model that is good for nothing, in a moment."""
    parameters = {"kind": kind, "latent": 2, "epochs": 2, "seed": seed, **options}
    model = fit_model(data, plan_with(modality, parameters, {"detection__false_alarm_rate": 0.1}), calibrate=False)
    model.card["task"] = DETECTOR
    save_model(model, path)


class Running:
    """A service that answers in a thread."""

    def __init__(self, options: dict[str, Any], token: str | None = None) -> None:
        self.request = Serve(**options)
        self.store = Store(self.request.store)
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        self.service = make_service(self.request, self.store, token)
        self.server: DrainingServer = make_server(self.service, self.socket)
        self.thread = threading.Thread(target=lambda: self.server.run(sockets=[self.socket]), daemon=True)
        self.thread.start()
        self.client = connected(self.url)
        wait_for(lambda: self.service.ready)

    def stop(self) -> None:
        self.client.close()
        self.server.service.fits.closed = True
        self.server.should_exit = True
        self.thread.join(20)
        assert not self.thread.is_alive()
        self.store.__exit__()


def connected(url: str) -> httpx.Client:
    """A client; without the certificates, which take longer to load than most tests to run."""
    return httpx.Client(base_url=url, timeout=240, verify=False)


def wait_for(true: Callable[[], Any], seconds: float = 240.0) -> Any:
    """What comes true soon."""
    until = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < until, "it did not come true"
        time.sleep(0.01)
    return found


@contextlib.contextmanager
def running(*models: Path, token: str | None = None, **options: Any) -> Iterator[Running]:
    """A service with these models and options."""
    service = Running({"models": tuple(map(str, models)), **options}, token)
    try:
        yield service
    finally:
        service.stop()


@contextlib.contextmanager
def process(*words: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """`hourglass serve` as a process, and what it said when it was ready."""
    command = [HOURGLASS, "serve", *words, "--port", "0", "--json"]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None
        said = child.stdout.readline()
        assert said, child.stderr.read() if child.stderr else ""
        facts = json.loads(said)
        wait_for(lambda: is_ready(facts["url"]))
        yield child, facts
    finally:
        child.terminate()  # so that it removes its folder
        child.communicate()


def is_ready(url: str) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return bool(httpx.get(f"{url}/readyz", verify=False).status_code == 200)
    return False


def ended(client: httpx.Client, key: str) -> dict[str, Any]:
    """A fit once it has ended."""

    def found() -> dict[str, Any] | None:
        fit: dict[str, Any] = client.get(f"/v1/fits/{key}").json()
        return fit if fit["state"] not in ("queued", "running") else None

    return dict(wait_for(found))


def events(client: httpx.Client, key: str, **headers: str) -> list[tuple[int, str, dict[str, Any]]]:
    """A fit's events: number, name, facts."""
    text = client.get(f"/v1/fits/{key}/events", headers=headers, timeout=240).text
    blocks = [
        dict(line.split(": ", 1) for line in block.splitlines()) for block in text.split("\n\n") if "data: " in block
    ]
    return [(int(block["id"]), block["event"], json.loads(block["data"])) for block in blocks]
