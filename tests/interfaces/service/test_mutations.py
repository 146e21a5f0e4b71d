"""Requests that nobody would send: each is answered or refused, none with a status of 500.

Raw bytes are mutated; and Schemathesis makes requests of the OpenAPI document, some that fit it and some that do not.
"""

from __future__ import annotations

import contextlib
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest
from serving import Running, running

pytestmark = pytest.mark.reliability(10)
Turns = Callable[[int, int], int]
Counted = Callable[[int], None]


@pytest.fixture(scope="module")
def pestered(folder: Path) -> Iterator[Running]:
    """A service for these requests alone, which may leave uploads behind."""
    with running(*sorted(folder.glob("*.safetensors"))) as made:
        yield made


WHOLE = (
    b'POST /v1/models/mixed/detect?reasons=all HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n'
    b'Content-Length: 64\r\nConnection: close\r\n\r\n{"rows": [{"amount": 100.5, "goods": "tea", "sold": true}]}     ',
    b"POST /v1/models/plain/encode HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/csv\r\nAccept: text/csv\r\n"
    b"Content-Length: 24\r\nConnection: close\r\n\r\na,b,c\n1,2,3\n4,5,6\n7,8,9\n",
    b"POST /v1/models/plain/generate?number=3&seed=1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    b'POST /v1/fits HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 48\r\n'
    b'Connection: close\r\n\r\n{"upload": "x", "name": "y", "options": {"a": 1}}',
    b"GET /v1/fits/0123/events HTTP/1.1\r\nHost: localhost\r\nLast-Event-ID: 3\r\nConnection: close\r\n\r\n",
)  # fmt: skip
PIECES = (b"\x00", b"\xff", b"'", b'"', b"{", b"]", b"-1", b"1e999", b"null", b"\r\n", b"%00", b"../", b"\xe2\x80\xae")


def mutated(random: np.random.Generator) -> bytes:
    """A request with some bytes flipped, cut out, doubled, or replaced by what has hurt others."""
    content = bytearray(WHOLE[random.integers(len(WHOLE))])
    for _ in range(random.integers(1, 4)):
        place = int(random.integers(len(content)))
        stop = place + int(random.integers(1, 8))
        how = random.integers(4)
        if how == 0:
            content[place] ^= 1 << int(random.integers(8))
        elif how == 1:
            del content[place:stop]
        elif how == 2:
            content[place:place] = content[place:stop] * 3
        else:
            content[place:place] = PIECES[random.integers(len(PIECES))]
    return bytes(content)


def test_requests_that_were_mutated_are_answered_or_refused(pestered: Running, turns: Turns, counted: Counted) -> None:
    random, port, count = np.random.default_rng(0), int(pestered.url.rpartition(":")[2]), turns(400, 100_000)
    counted(count)
    seen = Counter(status_of(mutated(random), port) for _ in range(count))
    assert set(seen) <= {0, 200, 202, 400, 401, 403, 404, 405, 406, 413, 415, 422}, seen
    assert {200, 400, 404, 422} <= set(seen)
    assert pestered.client.get("/readyz").status_code == 200


def status_of(content: bytes, port: int) -> int:
    """The status that some bytes get; 0 where the connection is closed, or where nothing comes."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.settimeout(0.5)
        with contextlib.suppress(ConnectionError, TimeoutError):
            connection.sendall(content + b"\r\n\r\n" + b" " * 300)  # or a shortened one would be waited for
            answer = connection.recv(64)
            return int(answer[9:12]) if answer.startswith(b"HTTP/1.1 ") else 0
    return 0


def test_requests_made_of_the_document_are_answered_or_refused(
    pestered: Running, turns: Turns, counted: Counted
) -> None:
    schemathesis = pytest.importorskip("schemathesis", reason="requests are made of the document by schemathesis")
    document = schemathesis.openapi.from_url(f"{pestered.url}/openapi.json")
    operations = [found.ok() for found in document.get_all_operations()]
    each, seen = turns(2, 100), Counter[int]()
    for operation in operations:
        for mode in schemathesis.GenerationMode:
            _ask(operation.as_strategy(generation_mode=mode), each, seen)
    counted(seen.total())
    assert len(operations) > 40
    assert {status for status in seen if status >= 500} <= {503}, seen
    assert {200, 400, 404, 422} <= set(seen)
    assert pestered.client.get("/readyz").status_code == 200


def _ask(cases: Any, count: int, seen: Counter[int]) -> None:
    """Send so many of the cases; the same ones every time."""

    @hypothesis.seed(0)
    @hypothesis.settings(max_examples=count, database=None, suppress_health_check=list(hypothesis.HealthCheck))
    @hypothesis.given(case=cases)
    def send(case: Any) -> None:
        answer = case.call()
        seen[answer.status_code] += 1
        assert answer.status_code != 500, answer.text

    with contextlib.suppress(hypothesis.errors.Unsatisfiable):  # what takes everything cannot be asked wrongly
        send()
