"""What `hourglass serve` can be asked, and whether what it needs is installed."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass

from hourglass.errors import missing_extra
from hourglass.interfaces.options import Request
from hourglass.settings import option

_PACKAGES = ("fastapi", "uvicorn", "python_multipart", "prometheus_client")


@dataclass(frozen=True, kw_only=True)
class Serve(Request):
    """`hourglass serve`."""

    arguments = ("models",)

    models: tuple[str, ...] = option(
        (), "fitted models, each served under its file's stem; without one, fit some there"
    )
    host: str = option("127.0.0.1", "address to listen at; one that others reach needs a token (default: 127.0.0.1)")
    port: int = option(8000, "port to listen at, 0 for any that is free (default: 8000)", low=0, high=65535)
    token: str | None = option(None, "what requests must know (better: the environment's HOURGLASS_TOKEN)")
    allow_host: tuple[str, ...] = option((), "name that requests may call this server by; repeatable")
    store: str | None = option(None, "folder that fits and uploads are kept in (default: a temporary one)")
    max_body: int = option(64, "MiB that a request may hold (default: 64)", low=1, high=4096)
    queue: int = option(64, "requests that may wait to be scored (default: 64)", low=1, high=100_000)
    time_limit: float = option(30.0, "seconds that a request may wait and be scored (default: 30)", low=0.001)
    access_log: bool = option(False, "a line on stderr for each request")


def check_installed() -> None:
    """`MissingExtraError` where the extra `serve` is not installed."""
    for package in _PACKAGES:
        if importlib.util.find_spec(package) is None:
            raise missing_extra("serve", package, "hourglass serve")
