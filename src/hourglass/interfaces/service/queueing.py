"""One thread that does the work, and a bounded queue before it."""

from __future__ import annotations

import asyncio
import contextlib
import math
import threading
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

from hourglass.interfaces.service.faults import Refusal

Work = Callable[[Sequence[Any]], Sequence[Any]]
"""What is done with the tasks that are done together: an outcome, or an exception, for each."""

_TOGETHER = 64
_USUAL = 0.005
"""Seconds a task takes, before any was measured."""


@dataclass(eq=False)
class _Job:
    """A task, and who waits for it."""

    task: Any
    key: Hashable
    future: asyncio.Future[Any]


class Worker:
    """Does tasks one after another, in the order in which they came; those of one key that wait are done together.

    `None` is nobody's key. A task whose future was cancelled is not begun.
    """

    def __init__(self, work: Work, most: int) -> None:
        self._work, self._most = work, most
        self._jobs: deque[_Job] = deque()
        self._changed = threading.Condition()
        self._open, self._pace = True, _USUAL
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="scoring", daemon=True)
        self._thread.start()

    def depth(self) -> int:
        """Tasks that wait."""
        return len(self._jobs)

    def check_room(self) -> None:
        """Refuse what would wait behind too many others, before its body is read."""
        if len(self._jobs) >= self._most:
            wait = max(1, math.ceil(self._pace * len(self._jobs)))
            how = f"come again in {wait} s"
            raise Refusal("too many requests wait", where="queue", how=how, status=503, retry_after=wait)

    async def done(self, task: Any, key: Hashable, seconds: float) -> Any:
        """The outcome of a task; `Refusal` where there is no room, or where it takes longer than so many seconds."""
        self.check_room()
        job = _Job(task, key, self._loop.create_future())
        with self._changed:
            self._jobs.append(job)
            self._changed.notify()
        try:
            async with asyncio.timeout(seconds):
                return await job.future
        except TimeoutError:
            how = "send less at a time, or come again when less is to be done"
            what = f"it was not done within {seconds:g} s"
            raise Refusal(what, where="time limit", how=how, status=503, retry_after=1) from None
        finally:
            if job.future.cancelled():  # its place is for others
                with self._changed, contextlib.suppress(ValueError):  # which says that it was begun
                    self._jobs.remove(job)

    def close(self) -> None:
        """Do what waits, then end."""
        with self._changed:
            self._open = False
            self._changed.notify()
        self._thread.join(timeout=60)

    def _run(self) -> None:
        while jobs := self._next():
            started = self._loop.time()
            outcomes = self._outcomes(jobs)
            self._pace += 0.1 * ((self._loop.time() - started) / len(jobs) - self._pace)
            self._loop.call_soon_threadsafe(_tell, jobs, outcomes)

    def _outcomes(self, jobs: list[_Job]) -> Sequence[Any]:
        try:
            return self._work([job.task for job in jobs])
        except BaseException as error:
            return [error] * len(jobs)

    def _next(self) -> list[_Job]:
        """The first task, and those that may be done with it; empty when there is nothing more to do."""
        with self._changed:
            while True:
                while not self._jobs and self._open:
                    self._changed.wait()
                if not self._jobs:
                    return []
                first = self._jobs.popleft()
                if not first.future.done():
                    return [first, *self._like(first)]

    def _like(self, first: _Job) -> list[_Job]:
        if first.key is None or not self._jobs:
            return []
        like = [job for job in self._jobs if job.key == first.key and not job.future.done()][: _TOGETHER - 1]
        if like:
            taken = set(map(id, like))
            self._jobs = deque(job for job in self._jobs if id(job) not in taken)
        return like


def _tell(jobs: list[_Job], outcomes: Sequence[Any]) -> None:
    for job, outcome in zip(jobs, outcomes, strict=True):
        if job.future.done():
            continue
        if isinstance(outcome, BaseException):
            job.future.set_exception(outcome)
        else:
            job.future.set_result(outcome)
