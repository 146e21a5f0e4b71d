"""The queue: bounded, in order, together where that is allowed; nothing is done for nobody, nothing is lost."""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from serving import connected, is_ready, process, rows, running, wait_for

from hourglass.interfaces.service import app
from hourglass.interfaces.service.faults import Refusal
from hourglass.interfaces.service.queueing import Worker

BODY = {"rows": rows(2)}


class Bench:
    """Work that waits to be let go, and what was done together."""

    def __init__(self) -> None:
        self.done: list[list[Any]] = []
        self.go = threading.Event()
        self.begun = threading.Event()

    def __call__(self, tasks: Sequence[Any]) -> list[Any]:
        self.begun.set()
        assert self.go.wait(30)
        self.done.append(list(tasks))
        return [ValueError(task) if task == "bad" else task for task in tasks]


def on_a_worker(most: int, scene: Callable[[Worker, Bench], Awaitable[None]]) -> Bench:
    """What was done in a scene that is played with a worker."""
    bench = Bench()

    async def play() -> None:
        worker = Worker(bench, most)
        try:
            async with asyncio.timeout(30):
                await scene(worker, bench)
        finally:
            bench.go.set()
            worker.close()

    asyncio.run(play())
    return bench


async def begun(worker: Worker, bench: Bench) -> asyncio.Task[Any]:
    """A first task that keeps the worker busy."""
    first = asyncio.create_task(worker.done("first", None, 30))
    while not bench.begun.is_set():
        await asyncio.sleep(0.001)
    return first


def test_what_waits_with_one_key_is_done_together_and_the_rest_in_order() -> None:
    async def scene(worker: Worker, bench: Bench) -> None:
        first = await begun(worker, bench)
        named = [("a1", "a"), ("b1", "b"), ("a2", "a"), ("none1", None), ("none2", None), ("bad", "a")]
        others = [asyncio.create_task(worker.done(task, key, 30)) for task, key in named]
        await asyncio.sleep(0)
        assert worker.depth() == 6
        bench.go.set()
        found = await asyncio.gather(first, *others, return_exceptions=True)
        assert found[:-1] == ["first", "a1", "b1", "a2", "none1", "none2"]
        assert isinstance(found[-1], ValueError)

    assert on_a_worker(10, scene).done == [["first"], ["a1", "a2", "bad"], ["b1"], ["none1"], ["none2"]]


def test_what_nobody_waits_for_is_not_begun() -> None:
    async def scene(worker: Worker, bench: Bench) -> None:
        first = await begun(worker, bench)
        gone = [asyncio.create_task(worker.done("gone", key, 30)) for key in (None, "a")]
        last = asyncio.create_task(worker.done("last", "a", 30))
        await asyncio.sleep(0)
        for task in gone:
            task.cancel()
        await asyncio.sleep(0)
        bench.go.set()
        assert await first == "first"
        assert await last == "last"

    assert on_a_worker(10, scene).done == [["first"], ["last"]]


def test_what_nobody_waits_for_any_more_takes_no_place() -> None:
    async def scene(worker: Worker, bench: Bench) -> None:
        first = await begun(worker, bench)
        gone = asyncio.create_task(worker.done("gone", None, 30))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.wait([gone])
        with pytest.raises(Refusal, match="not done within"):
            await worker.done("late", None, 0.01)
        last = asyncio.create_task(worker.done("last", None, 30))
        await asyncio.sleep(0)
        bench.go.set()
        assert await asyncio.gather(first, last) == ["first", "last"]

    assert on_a_worker(1, scene).done == [["first"], ["last"]]


def test_a_full_queue_refuses_and_says_when_to_come_again() -> None:
    async def scene(worker: Worker, bench: Bench) -> None:
        tasks = [await begun(worker, bench)]
        tasks += [asyncio.create_task(worker.done(place, None, 30)) for place in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(Refusal, match="too many requests wait") as refused:
            await worker.done("more", None, 30)
        assert refused.value.status == 503
        assert refused.value.retry_after == 1
        bench.go.set()
        assert await asyncio.gather(*tasks) == ["first", 0, 1]

    on_a_worker(2, scene)


def test_a_time_limit_ends_the_wait() -> None:
    async def scene(worker: Worker, bench: Bench) -> None:
        first = await begun(worker, bench)
        with pytest.raises(Refusal, match="not done within") as refused:
            await worker.done("late", None, 0.01)
        assert refused.value.status == 503
        bench.go.set()
        await first

    assert on_a_worker(2, scene).done == [["first"]]


def test_a_worker_that_is_closed_does_what_waits_first() -> None:
    async def scene(worker: Worker, bench: Bench) -> None:
        first = await begun(worker, bench)
        other = asyncio.create_task(worker.done("other", None, 30))
        await asyncio.sleep(0)
        bench.go.set()
        await asyncio.to_thread(worker.close)
        assert await asyncio.gather(first, other) == ["first", "other"]

    on_a_worker(2, scene)


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """Scoring that goes on when it is told to."""
    bench, work = Bench(), app._work

    def late(tasks: Any) -> Any:
        bench(tasks)
        return work(tasks)

    monkeypatch.setattr(app, "_work", late)
    yield bench
    bench.go.set()


def ask(url: str, into: list[httpx.Response]) -> threading.Thread:
    """A request that may take its time."""

    def post() -> None:
        with connected(url) as client:
            into.append(client.post("/v1/models/plain/detect", json=BODY))

    thread = threading.Thread(target=post)
    thread.start()
    return thread


def test_over_the_wire_the_queue_is_bounded_and_recovers(folder: Path, held: Bench) -> None:
    with running(folder / "plain.safetensors", queue=3) as service:
        answers: list[httpx.Response] = []
        threads = [ask(service.url, answers)]
        wait_for(held.begun.is_set)
        threads += [ask(service.url, answers) for _ in range(12)]
        refused = wait_for(lambda: [answer for answer in answers if answer.status_code == 503])
        assert int(refused[0].headers["retry-after"]) >= 1
        wait_for(lambda: len(answers) >= 9)
        assert "hourglass_queue_depth 3.0" in service.client.get("/metrics").text
        assert service.client.get("/healthz").status_code == 200  # health is not scored
        held.go.set()
        for thread in threads:
            thread.join()
        assert sorted(answer.status_code for answer in answers) == [200] * 4 + [503] * 9
        assert service.client.post("/v1/models/plain/detect", json=BODY).status_code == 200


def test_a_client_that_vanishes_takes_its_work_along(folder: Path, held: Bench) -> None:
    with running(folder / "plain.safetensors") as service:
        answers: list[httpx.Response] = []
        first = ask(service.url, answers)
        wait_for(held.begun.is_set)
        host, _, port = service.url.removeprefix("http://").partition(":")
        content = b'{"rows": [[1, 2, 3]]}'
        head = f"POST /v1/models/plain/encode HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(head.encode() + f"Content-Length: {len(content)}\r\n\r\n".encode() + content)
            wait_for(lambda: service.service.worker.depth())
        wait_for(lambda: all(job.future.cancelled() for job in service.service.worker._jobs))
        held.go.set()
        first.join()
        assert answers[0].status_code == 200
        text = wait_for(lambda: found if 'status="499"' in (found := service.client.get("/metrics").text) else "")
        assert 'hourglass_rows_total{model="plain",verb="encode"}' not in text


def test_work_beyond_the_time_limit_is_503(folder: Path, held: Bench) -> None:
    with running(folder / "plain.safetensors", time_limit=0.05) as service:
        answer = service.client.post("/v1/models/plain/detect", json=BODY)
        held.go.set()
    assert answer.status_code == 503
    assert "0.05 s" in answer.json()["what"]
    assert int(answer.headers["retry-after"]) >= 1


def test_who_drains_takes_no_work_and_says_when_to_come_again(folder: Path) -> None:
    with running(folder / "plain.safetensors") as service:
        service.service.drain()
        answer = service.client.get("/readyz")
    assert (answer.status_code, answer.headers["connection"]) == (503, "close")
    assert int(answer.headers["retry-after"]) >= 1


def test_what_is_sent_beside_what_was_asked_for_is_limited_too(folder: Path, held: Bench) -> None:
    """A verb that needs no body is at work while one comes all the same."""
    with running(folder / "plain.safetensors", max_body=1) as service:
        host, _, port = service.url.removeprefix("http://").partition(":")
        head = f"POST /v1/models/plain/generate HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n"
        with socket.create_connection((host, int(port))) as connection:
            connection.settimeout(20)
            connection.sendall(head.encode())
            wait_for(held.begun.is_set)
            connection.sendall((b"80000\r\n" + b" " * 0x80000 + b"\r\n") * 2 + b"1\r\n \r\n")
            assert connection.recv(12) == b"HTTP/1.1 413"
        held.go.set()


def test_a_slow_body_holds_nobody_up(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hourglass.interfaces.service.bodies._SECONDS", 0.3)
    with running(folder / "plain.safetensors") as service:
        host, _, port = service.url.removeprefix("http://").partition(":")
        head = f"POST /v1/models/plain/detect HTTP/1.1\r\nHost: {host}\r\nContent-Type: text/csv\r\n"
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(head.encode() + b"Content-Length: 9\r\n\r\na")
            assert service.client.post("/v1/models/plain/detect", json=BODY).status_code == 200
            connection.settimeout(20)
            assert connection.recv(12) == b"HTTP/1.1 408"
        wait_for(lambda: not list((service.store.root / "uploads").iterdir()))


def test_sigterm_loses_no_request(folder: Path) -> None:
    """Clients ask until they are refused a connection: whatever was sent on an open one is answered."""
    with process(str(folder / "plain.safetensors")) as (server, facts):
        codes: list[int] = []
        lost: list[Exception] = []

        def load() -> None:
            with connected(facts["url"]) as client:
                while True:
                    try:
                        codes.append(client.post("/v1/models/plain/detect", json=BODY).status_code)
                    except httpx.ConnectError:
                        return
                    except httpx.TransportError as error:
                        lost.append(error)
                        return

        threads = [threading.Thread(target=load) for _ in range(4)]
        for thread in threads:
            thread.start()
        wait_for(lambda: len(codes) > 20)
        server.send_signal(signal.SIGTERM)
        wait_for(lambda: not is_ready(facts["url"]))
        for thread in threads:
            thread.join()
        assert server.wait(60) == 0
    assert not lost
    assert set(codes) == {200}
