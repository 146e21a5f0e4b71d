"""The service under load, the load generator on the same cores: rates, latencies, overload, drain, swaps, memory.

Each question has a server of its own. Latencies are counted from when a request was due, so that a server that stands
still cannot hide it. `--seconds 600` is the long form: ten minutes of one row at 250 requests a second.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
from common import HOURGLASS, save

COLUMNS, RATE, CONNECTIONS = 30, 250, 16
_PATIENCE = 30
"""Seconds that a server has to recover."""


class Reply(NamedTuple):
    """An answer, and seconds from when its request was due."""

    status: int
    seconds: float
    body: bytes = b""


class Server(NamedTuple):
    """`hourglass serve`, as users start it."""

    process: subprocess.Popen[str]
    url: str

    @property
    def memory(self) -> float:
        """Resident MiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")) / 1024


@contextlib.contextmanager
def server(*words: str | Path) -> Iterator[Server]:
    command = [HOURGLASS, "serve", *map(str, words), "--port", "0", "--json", "--quiet"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield Server(process, json.loads(process.stdout.readline())["url"])  # type: ignore[union-attr]
    finally:
        process.kill()
        process.wait()


def request(model: str, rows: list[list[float]], verb: str = "detect") -> bytes:
    body = json.dumps({"rows": rows}).encode()
    head = f"POST /v1/models/{model}/{verb} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return head.encode() + f"Content-Length: {len(body)}\r\n\r\n".encode() + body


class Connection:
    """One connection that is kept, and opened again where the server closed it."""

    def __init__(self, url: str) -> None:
        self.host, self.port = urlsplit(url).hostname, urlsplit(url).port
        self.streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, content: bytes, due: float) -> Reply:
        self.streams = self.streams or await asyncio.open_connection(self.host, self.port)
        reader, writer = self.streams
        writer.write(content)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        body = await reader.readexactly(int(head.split(b"content-length: ")[1].split(b"\r\n")[0]))
        if b"connection: close" in head:
            self.close()
        return Reply(int(head[9:12]), time.perf_counter() - due, body)

    def close(self) -> None:
        if self.streams:
            self.streams[1].close()
        self.streams = None


@contextlib.asynccontextmanager
async def connections(url: str, count: int) -> AsyncIterator[list[Connection]]:
    made = [Connection(url) for _ in range(count)]
    yield made
    for each in made:
        each.close()


async def as_fast_as_it_goes(url: str, content: bytes, seconds: float, count: int = CONNECTIONS) -> list[Reply]:
    """Every connection asks again as soon as it is answered."""
    replies, until = [], time.perf_counter() + seconds

    async def client(connection: Connection) -> None:
        while (now := time.perf_counter()) < until:
            replies.append(await connection.ask(content, now))

    async with connections(url, count) as made:
        await asyncio.gather(*map(client, made))
    return replies


async def at_a_rate(url: str, content: bytes, rate: float, seconds: float, count: int = CONNECTIONS) -> list[Reply]:
    """So many requests a second are due, whether the server keeps up or not."""
    replies, start = [], time.perf_counter()
    due = iter(start + np.arange(int(rate * seconds)) / rate)

    async def client(connection: Connection) -> None:
        for moment in due:
            await asyncio.sleep(max(0.0, moment - time.perf_counter()))
            replies.append(await connection.ask(content, moment))

    async with connections(url, count) as made:
        await asyncio.gather(*map(client, made))
    return replies


def milliseconds(replies: list[Reply], share: float = 0.99) -> float:
    """A quantile of the latencies."""
    return round(1e3 * float(np.quantile([reply.seconds for reply in replies], share)), 1) if replies else 0.0


def steady(models: Path, rows: list[list[float]], seconds: float) -> dict[str, Any]:
    """One row at a steady rate; the memory from a fifth of the time on."""
    with server(models / "plain.safetensors") as running:
        content = request("plain", rows[:1])
        replies = asyncio.run(at_a_rate(running.url, content, RATE, max(seconds / 5, 2)))
        before = running.memory
        replies += asyncio.run(at_a_rate(running.url, content, RATE, seconds * 4 / 5))
        errors = sum(reply.status != 200 for reply in replies)
        facts = {"p50": milliseconds(replies, 0.5), "p99": milliseconds(replies), "errors": errors}
        return {"rate": RATE, "seconds": seconds, **facts, "memory growth": round(running.memory - before, 2)}


def most(models: Path, model: str, rows: list[list[float]], seconds: float) -> dict[str, Any]:
    """As many requests as it takes."""
    with server(models / f"{model}.safetensors") as running:
        asyncio.run(as_fast_as_it_goes(running.url, request(model, rows), 1))
        replies = asyncio.run(as_fast_as_it_goes(running.url, request(model, rows), seconds, 8))
    rate = sum(reply.status == 200 for reply in replies) / seconds
    return {"requests": round(rate, 1), "rows": round(rate * len(rows)), "p99": milliseconds(replies)}


def overload(models: Path, rows: list[list[float]], rate: float, seconds: float) -> dict[str, Any]:
    """Four times as much as it takes; then how long until it answers in its usual time."""
    with server(models / "plain.safetensors", "--queue", "32") as running:
        content = request("plain", rows)
        replies = asyncio.run(at_a_rate(running.url, content, 4 * rate, seconds, 256))
        start = time.perf_counter()
        while milliseconds(asyncio.run(as_fast_as_it_goes(running.url, content, 0.2, 1))) > 50:
            if time.perf_counter() - start > _PATIENCE:
                break
        recovery = time.perf_counter() - start
    accepted = [reply for reply in replies if reply.status == 200]
    refused = [reply for reply in replies if reply.status == 503]
    odd = len(replies) - len(accepted) - len(refused)
    facts = {"accepted": len(accepted), "refused": len(refused), "other": odd, "recovery": round(recovery, 2)}
    return {**facts, "accepted p99": milliseconds(accepted), "refused p99": milliseconds(refused)}


async def _beside(url: str, content: bytes, seconds: float) -> tuple[list[Reply], list[Reply]]:
    alone = await at_a_rate(url, content, RATE / 2, seconds)
    async with connections(url, 501) as made:
        for connection in made:
            connection.streams = await asyncio.open_connection(connection.host, connection.port)
        slow = made[0].streams[1]  # type: ignore[index]
        slow.write(content[:40])

        async def drip() -> None:
            for byte in content[40:]:
                await asyncio.sleep(0.05)
                slow.write(bytes([byte]))

        dripping = asyncio.create_task(drip())
        beside = await at_a_rate(url, content, RATE / 2, seconds)
        dripping.cancel()
    return alone, beside


def crowd(models: Path, rows: list[list[float]], seconds: float) -> dict[str, Any]:
    """500 idle connections and a client that sends byte by byte."""
    with server(models / "plain.safetensors") as running:
        alone, beside = asyncio.run(_beside(running.url, request("plain", rows), seconds))
    return {"p99 alone": milliseconds(alone), "p99 beside": milliseconds(beside)}


def drain(models: Path, rows: list[list[float]]) -> dict[str, Any]:
    """SIGTERM while 16 clients ask: what was sent on an open connection and not answered is lost."""
    with server(models / "plain.safetensors") as running:
        content, codes, lost = request("plain", rows), Counter[int](), []

        async def client(connection: Connection) -> None:
            while True:
                try:
                    codes[(await connection.ask(content, time.perf_counter())).status] += 1
                except ConnectionRefusedError:
                    return
                except (OSError, asyncio.IncompleteReadError) as error:
                    lost.append(repr(error))
                    return

        async def load() -> None:
            async with connections(running.url, CONNECTIONS) as made:
                asked = asyncio.gather(*map(client, made))
                await asyncio.sleep(2)
                running.process.send_signal(signal.SIGTERM)
                await asked

        asyncio.run(load())
        code = running.process.wait(60)
    return {"answered": codes[200], "lost": len(lost), "exit code": code}


def swaps(models: Path, rows: list[list[float]], count: int) -> dict[str, Any]:
    """A file that is replaced under load: an answer's scores must be those of the version that it names."""
    with tempfile.TemporaryDirectory() as folder:
        served, fresh = Path(folder) / "m.safetensors", Path(folder) / "m.new"
        shutil.copyfile(models / "plain.safetensors", served)
        with server(served) as running:

            async def load() -> list[Reply]:
                asked = asyncio.create_task(as_fast_as_it_goes(running.url, request("m", rows), 1.3 * count, 4))
                for swap in range(count):
                    shutil.copyfile(models / f"{('other', 'plain')[swap % 2]}.safetensors", fresh)
                    os.replace(fresh, served)
                    await asyncio.sleep(1.25)
                return await asked

            replies = asyncio.run(load())
    scores: dict[str, set[str]] = {}
    for reply in replies:
        document = json.loads(reply.body)
        digits = str(np.round(document["scores"]["anomaly_score"], 6).tolist())
        scores.setdefault(document["version"], set()).add(digits)
    mixed = sum(len(different) - 1 for different in scores.values())
    return {"swaps": count, "answers": len(replies), "versions": len(scores), "mixed": mixed}


def fitted(folder: Path) -> list[list[float]]:
    """Two plain models and a default detector of a small table; rows like those that they learned."""
    random = np.random.default_rng(0)
    causes = random.normal(size=(2_256, 4)) @ random.normal(size=(4, COLUMNS))
    table = causes + 0.1 * random.normal(size=causes.shape)
    data = folder / "data.csv"
    pa_csv.write_csv(pa.table({f"c{place}": table[256:, place] for place in range(COLUMNS)}), data)
    plain = ("--kind", "plain", "--epochs", "20")
    for name, options in (("plain", plain), ("other", (*plain, "--seed", "1")), ("default", ())):
        subprocess.run([HOURGLASS, "fit", data, "-o", folder / f"{name}.safetensors", "--quiet", *options], check=True)
    return [[float(f"{cell:.6g}") for cell in row] for row in table[:256]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10, help="of the steady load (the others take a half of it)")
    parser.add_argument("--swaps", type=int, default=10)
    asked = parser.parse_args()
    half = min(asked.seconds / 2, 30)
    with tempfile.TemporaryDirectory() as folder:
        models = Path(folder)
        rows = fitted(models)
        figures: dict[str, Any] = {"one row, steady": steady(models, rows, asked.seconds)}
        for name, model, sent in (("one row", "plain", rows[:1]), ("256 rows", "plain", rows),
                                  ("one row, default detector", "default", rows[:1]),
                                  ("256 rows, default detector", "default", rows)):  # fmt: skip
            figures[name] = most(models, model, sent, half)
        rate = figures["one row"]["requests"]
        figures["four times too much"] = overload(models, rows[:1], rate, half)
        figures["500 idle, one slow"] = crowd(models, rows[:1], half)
        figures["SIGTERM"] = drain(models, rows[:1])
        figures["swaps"] = swaps(models, rows[:2], asked.swaps)
    told = {name: ", ".join(f"{fact} {value}" for fact, value in facts.items()) for name, facts in figures.items()}
    words = [f"  {name}: {facts}" for name, facts in told.items()]
    lines = [f"{COLUMNS} columns; latencies in ms, memory in MiB, requests and rows a second", *words]
    save("service", f"python benchmarks/service.py --seconds {asked.seconds:g} --swaps {asked.swaps}", figures, lines)


if __name__ == "__main__":
    main()
