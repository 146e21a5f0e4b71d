"""An S3 server on this machine, for tests: what it holds is in memory, and what it does can be made to fail."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Self

import pytest

Request = dict[str, Any]
"""The WSGI environment of a request."""


class Store:
    """One server with a bucket."""

    def __init__(self, port: int, client: Any, bucket: str) -> None:
        self.query = f"?endpoint_override=127.0.0.1:{port}&scheme=http"
        self.client, self.bucket = client, bucket
        self.fault: Callable[[Request], object] = lambda request: None
        """Called with every request; what it returns, if anything, is the status of the answer."""

    def at(self, key: str, bucket: str | None = None) -> str:
        """The address of a key."""
        return f"s3://{bucket or self.bucket}/{key}{self.query}"

    def put(self, key: str, content: bytes) -> None:
        with self.client.open_output_stream(f"{self.bucket}/{key}") as stream:
            stream.write(content)

    def get(self, key: str) -> bytes:
        with self.client.open_input_file(f"{self.bucket}/{key}") as file:
            return bytes(file.read())

    def remove(self, key: str) -> None:
        self.client.delete_file(f"{self.bucket}/{key}")

    def names(self, folder: str = "") -> list[str]:
        """The objects below a folder."""
        from pyarrow import fs

        base = f"{self.bucket}/{folder}".rstrip("/")
        found = self.client.get_file_info(fs.FileSelector(base, recursive=True, allow_not_found=True))
        return sorted(each.path[len(base) + 1 :] for each in found if each.is_file)


class Application:
    """The server's own application, behind a door that can be shut."""

    def __init__(self, inner: Any) -> None:
        self.inner, self.store = inner, None

    def __call__(self, request: Request, start: Callable[..., Any]) -> Iterable[bytes]:
        store: Store | None = self.store
        status = store.fault(request) if store is not None else None
        if status is None:
            return self.inner(request, start)  # type: ignore[no-any-return]
        start(str(status), [("Content-Length", "0")])
        return []

    @classmethod
    def of_moto(cls) -> Self:
        for name in ("flask", "flask_cors", "moto"):
            pytest.importorskip(
                name, reason="the S3 server of tests is moto's: pip install 'moto[s3]' flask flask-cors"
            )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from moto.server import DomainDispatcherApplication, create_backend_app

        return cls(DomainDispatcherApplication(create_backend_app))


@contextmanager
def serving() -> Iterator[tuple[Application, int]]:
    """A server that has no bucket yet, and its port."""
    application = Application.of_moto()
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Silent(WSGIRequestHandler):
        def log(self, kind: str, message: str, *words: Any) -> None:
            pass

    server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=Silent)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield application, server.port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
