"""`hourglass serve`: from options to a process that answers until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import ipaddress
import json
import logging
import os
import socket
import struct
import sys
from collections.abc import Iterator
from types import FrameType

import torch
import uvicorn

from hourglass.errors import HourglassError, UsageError
from hourglass.interfaces.console import Console
from hourglass.interfaces.service.app import Service, make_app
from hourglass.interfaces.service.fits import Fits
from hourglass.interfaces.service.models import Models, named
from hourglass.interfaces.service.security import Rules
from hourglass.interfaces.service.settings import Serve
from hourglass.interfaces.service.store import Store

_LAST_REQUESTS, _MOST_SECONDS = 1.0, 45
"""Seconds in which connections that are open may still bring requests, and in which what was accepted is answered."""
_BACKLOG, _SECONDS_TO_ACCEPT = 1_024, 0.5
"""How many connections may wait to be accepted, and seconds in which the last ones are and bring their requests."""
_SO_ATTACH_FILTER = 26
"""Of asm-generic/socket.h; Python's `socket` does not name it."""
_SWITCH = 0.001
"""Seconds after which Python hands over between scoring and answering (usually .005, which everybody would wait)."""


def serve(request: Serve, console: Console) -> None:
    """Answer until SIGTERM or SIGINT."""
    token = request.token or os.environ.get("HOURGLASS_TOKEN") or None
    _check_reach(request.host, token)
    listener = _listening(request.host, request.port)
    with contextlib.closing(listener), _service(request, token) as service:
        logging.basicConfig(format="%(asctime)s %(message)s", level=logging.WARNING, stream=sys.stderr)
        logging.getLogger("hourglass.service").setLevel(logging.WARNING if request.quiet else logging.INFO)
        torch.set_num_threads(1)  # other threads would only wait for work, at the cost of those that answer
        sys.setswitchinterval(_SWITCH)
        _say(request, console, service, listener)
        make_server(service, listener).run(sockets=[listener])


@contextlib.contextmanager
def _service(request: Serve, token: str | None) -> Iterator[Service]:
    with Store(request.store) as store:
        yield make_service(request, store, token)


def make_service(request: Serve, store: Store, token: str | None = None) -> Service:
    """Everything but the network: the models read, the store taken up."""
    models = Models()
    for name, path in named(request.models).items():
        models.add(name, path)
    hosts = tuple(name.lower() for name in (*request.allow_host, request.host))
    rules = Rules(token, hosts, request.max_body << 20, request.access_log)
    service = Service(store, models, rules, most_waiting=request.queue, time_limit=request.time_limit)
    service.fits = Fits(store, models)
    service.fits.take_up()
    return service


class DrainingServer(uvicorn.Server):
    """A server that, told to stop, first answers what comes on open connections, and closes each after its answer."""

    def __init__(self, config: uvicorn.Config, service: Service, listener: socket.socket) -> None:
        super().__init__(config)
        self.service, self.listener = service, listener
        self._told = False

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A first signal drains; a second one ends it now."""
        if self._told:
            self.should_exit = self.force_exit = True
            return
        self._told = True
        self.service.drain()
        asyncio.get_running_loop().call_soon_threadsafe(self._last_requests)

    def _last_requests(self) -> None:
        asyncio.get_running_loop().call_later(_LAST_REQUESTS, self._last_connections)

    def _last_connections(self) -> None:
        _take_no_more(self.listener)
        asyncio.get_running_loop().call_later(_SECONDS_TO_ACCEPT, self._close)

    def _close(self) -> None:
        self.service.fits.closed = True  # whoever follows a fit would keep the connection open
        self.should_exit = True


def _take_no_more(listener: socket.socket) -> None:
    """Make no more connections: closing a listener resets those that it holds and that nobody has accepted yet.

    On Linux alone, through a packet filter that keeps nothing: a client then asks again, and is refused.
    """
    if sys.platform == "linux":
        instruction = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))  # BPF_RET, 0 bytes
        program = struct.pack("HP", 1, ctypes.addressof(instruction))
        with contextlib.suppress(OSError):
            listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)


def make_server(service: Service, listener: socket.socket) -> DrainingServer:
    """The HTTP server of a service."""
    config = uvicorn.Config(
        make_app(service), ws="none", log_config=None, access_log=False, server_header=False, proxy_headers=False,
        lifespan="on", timeout_keep_alive=75, timeout_graceful_shutdown=_MOST_SECONDS,
    )  # fmt: skip
    return DrainingServer(config, service, listener)


def _check_reach(host: str, token: str | None) -> None:
    """Refuse to be reached from elsewhere without a token."""
    if token is not None and not (token.isascii() and token.isprintable() and len(token) >= 8):
        how = "python -c 'import secrets; print(secrets.token_urlsafe())' makes one"
        raise UsageError("the token has to be 8 or more printable ASCII characters", where="--token", how=how)
    if token is None and not _is_loopback(host):
        how = "set HOURGLASS_TOKEN, or leave --host out"
        raise UsageError(f"{host} can be reached from elsewhere, which needs a token", where="--host", how=how)


def _is_loopback(host: str) -> bool:
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def _listening(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        how = "give another --host, or another --port (0: any that is free)"
        raise HourglassError(f"cannot listen: {error.strerror}", where=f"{host}:{port}", how=how) from None


def _say(request: Serve, console: Console, service: Service, listener: socket.socket) -> None:
    host, port = listener.getsockname()[:2]
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    if service.store.temporary:
        console.note("without --store, fits and uploads are gone when the server stops")
    if request.json:
        facts = {
            "url": url,
            "pid": os.getpid(),
            "store": str(service.store.root),
            "models": [m.name for m in service.models],
        }
        print(json.dumps(facts), flush=True)
    console.say(f"serving on {url}")
