"""Who may ask, and what every answer forbids: token, Host and Origin, sizes, headers, faults, figures."""

from __future__ import annotations

import contextlib
import hmac
import ipaddress
import logging
import secrets
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hourglass.errors import HourglassError
from hourglass.interfaces.service.faults import Refusal, fault
from hourglass.interfaces.service.metrics import Metrics

logger = logging.getLogger("hourglass.service")

CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; "
    "connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = tuple(
    (name.encode(), value.encode())
    for name, value in {
        "content-security-policy": CONTENT_POLICY,
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
        "cache-control": "no-store",
    }.items()
)
_FLAT = "send rows of plain values"
"""How to mend a body of lists within lists."""
_SAFE = ("GET", "HEAD", "OPTIONS")
_OPEN = ("/healthz", "/readyz", "/")
"""Paths that need no token; with them everything below `/page/`, which holds no data."""


@dataclass
class Rules:
    """What is allowed."""

    token: str | None = None
    hosts: tuple[str, ...] = ()
    """Names that a request may call this server by, beside `localhost` and IP addresses, which nobody can rebind."""
    most_bytes: int = 64 << 20
    access_log: bool = False
    draining: bool = False
    """Whether connections are closed after their answer."""


class Guard:
    """Stands before the application: what it lets through is allowed, and what comes back is complete."""

    def __init__(self, app: ASGIApp, rules: Rules, metrics: Metrics) -> None:
        self.app, self.rules, self.metrics = app, rules, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        started, exchange = time.perf_counter(), _Exchange(self.rules, scope, receive, send)
        try:
            self._check(scope)
            await self.app(scope, exchange.receive, exchange.send)
        except ClientDisconnect:
            exchange.status = 499
        except HourglassError as error:
            await fault(error)(scope, receive, exchange.send)
        except RecursionError:  # the parser lets through what may be too deep for those that come after it
            await fault(Refusal("the body is nested too deep", where="body", how=_FLAT))(scope, receive, exchange.send)
        except Exception:
            number = secrets.token_hex(4)
            logger.exception("fault %s at %s", number, _printable(scope["path"]))
            if exchange.status:
                raise  # the answer has begun: the connection can only be closed
            broken = HourglassError("something of ours failed", how=f"the server's log says more, under {number}")
            await fault(broken)(scope, receive, exchange.send)
        finally:
            seconds = time.perf_counter() - started
            self.metrics.answered(scope, exchange.status, seconds)
            if self.rules.access_log:
                logger.info("%s %s %d %.4f s", scope["method"], _printable(scope["path"]), exchange.status, seconds)

    def _check(self, scope: Scope) -> None:
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        check_host(headers.get(b"host", ""), self.rules.hosts)
        if scope["method"] not in _SAFE:
            check_origin(scope["scheme"], headers, self.rules.hosts)
        path = scope["path"]
        if self.rules.token and path not in _OPEN and not path.startswith("/page/"):
            check_token(headers.get(b"authorization", ""), self.rules.token)
        if int(_digits(headers.get(b"content-length", "0"))) > self.rules.most_bytes:
            raise too_large(self.rules.most_bytes)


class _Exchange:
    """One request and its answer: bytes in are counted, headers out are completed."""

    def __init__(self, rules: Rules, scope: Scope, receive: Receive, send: Send) -> None:
        self.rules, self.scope, self._receive, self._send = rules, scope, receive, send
        self.status, self.got = 0, 0

    async def receive(self) -> Message:
        message = await self._receive()
        self.got += len(message.get("body", b""))
        if self.got > self.rules.most_bytes:
            raise too_large(self.rules.most_bytes)
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            given = {name for name, _ in message["headers"]}
            more = [each for each in _HEADERS if each[0] not in given]
            if self.rules.draining:
                more.append((b"connection", b"close"))
            message = {**message, "headers": [*message["headers"], *more]}
        await self._send(message)


def check_host(host: str, allowed: tuple[str, ...]) -> None:
    """Refuse a name that is not ours: a foreign page may bind any name of its own to this address."""
    name = _name(host)
    if name and (name == "localhost" or name in allowed or _is_address(name)):
        return
    how = "call the server by its address, or start it with --allow-host NAME"
    raise Refusal("the Host is none of ours", where="Host", how=how)


def _name(host: str) -> str | None:
    """A host without its port; None where it is none."""
    with contextlib.suppress(ValueError):
        return urlsplit(f"//{host}").hostname if host and not set(host) & set("/@?#\\") else None
    return None


def _is_address(name: str) -> bool:
    try:
        return bool(ipaddress.ip_address(name))
    except ValueError:
        return False


def check_origin(scheme: str, headers: dict[bytes, str], allowed: tuple[str, ...] = ()) -> None:
    """Refuse what a page of another origin sends. Where the name is `allowed`, a proxy may speak TLS before us."""
    origin, host = headers.get(b"origin"), headers.get(b"host", "")
    ours = [None, f"{scheme}://{host}"]
    if _name(host) in allowed:
        ours.append(f"https://{host}")
    if origin in ours and headers.get(b"sec-fetch-site", "none") in ("none", "same-origin"):
        return
    raise Refusal("the request comes from another origin", where="Origin", how="send it from our own page", status=403)


def check_token(given: str, token: str) -> None:
    """Refuse a request without the token, in a time that does not tell how much of it was right."""
    if not hmac.compare_digest(given.encode(), f"Bearer {token}".encode()):
        how = "send the header Authorization: Bearer TOKEN"
        raise Refusal("the token is missing or wrong", where="Authorization", how=how, status=401)


def too_large(most: int) -> Refusal:
    """The refusal of a body that holds too much."""
    how = "send less at a time, or start the server with a larger --max-body"
    return Refusal(f"the body is larger than {most:,} bytes", where="body", how=how, status=413)


def _digits(text: str) -> str:
    return text if text.isascii() and text.isdigit() and len(text) < 20 else "0"


def _printable(path: str) -> str:
    """A path as one short line, whatever a client put in it."""
    return ascii(path[:200])[1:-1]
