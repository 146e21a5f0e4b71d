"""Ray: shards as tasks that are tried again, here or on a cluster whose machines share the files, or reach a store.

What travels is small: a model's bytes once, then names of files. A result appears whole or not at all, so a task
that is killed and tried again leaves nothing half done.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import pyarrow as pa

from hourglass.core.checkpoints import model_from_bytes
from hourglass.core.fitted import FittedModel
from hourglass.errors import DataError, HourglassError, UsageError, missing_extra
from hourglass.interfaces.shard_manifest import Todo
from hourglass.interfaces.shard_tasks import Facts, Task, run_task

_TRIES = 20
"""How often a task whose worker or machine was lost is tried again."""
_AHEAD = 4
"""Tasks for each processor that are handed out at a time: Ray's own list of them stays short."""
_STORE = 256 << 20
_LOCAL = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "disabled",  # a token would be written to the home folder, and nothing listens beyond loopback
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # its name notwithstanding: every server binds to loopback alone
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
"""What Ray reads from the environment when it starts on this machine for us; what the user has set stays."""
J = TypeVar("J")


def run_tasks(address: str, content: bytes, task: Task, todo: list[Todo]) -> Iterator[tuple[Todo, Facts | DataError]]:
    """Do a task to shards on Ray, with the model whose file holds `content`; gives each as it is done."""
    if not todo:
        return
    with cluster(address) as ray:
        model = ray.put(content)

        def start(each: Todo) -> Any:
            return _remote(ray).remote(_score, model, task, each.source, each.target)

        yield from _as_done(ray, start, todo)


def run_once(address: str, work: Callable[..., Any], *words: Any) -> Any:
    """Run a function on Ray, again where its worker or machine is lost, and give what it returns."""
    with cluster(address) as ray:
        [(_, result)] = _as_done(ray, lambda _: _remote(ray).remote(work, *words), [None])
    if isinstance(result, HourglassError):
        raise result
    return result


@contextmanager
def crew(address: str) -> Iterator[RayCrew]:
    """Who tries candidates of a search on Ray."""
    with cluster(address) as ray:
        yield RayCrew(ray)


class RayCrew:
    """Tries as many candidates at a time as there are processors, each as a task."""

    def __init__(self, ray: Any) -> None:
        self._ray, self._ground = ray, None
        self.size = processors(ray)

    def try_out(self, ground: Any, candidates: Sequence[Any]) -> list[Any]:
        """The trials of candidates, in their order."""
        self._ground = self._ground or self._ray.put(ground)

        def start(place: int) -> Any:
            return _remote(self._ray).remote(_tried, self._ground, candidates[place])

        found = dict(_as_done(self._ray, start, range(len(candidates))))
        for trial in found.values():
            if isinstance(trial, HourglassError):
                raise trial
        return [found[place] for place in range(len(candidates))]


def _tried(ground: Any, candidate: Any) -> Any:
    from hourglass.estimators.tuning import tried  # scikit-learn is slow to import

    return tried(ground, candidate)


def _remote(ray: Any) -> Any:
    """`_guarded` as a task on one processor, tried again where that is lost."""
    return ray.remote(num_cpus=1, max_retries=_TRIES)(_guarded)


def _guarded(work: Callable[..., Any], *words: Any) -> Any:
    """What a function returns, or the error of ours that it raises: Ray would wrap it, and try again in vain."""
    pa.set_cpu_count(1)
    try:
        return work(*words)
    except HourglassError as error:
        return error


def _score(content: bytes, task: Task, source: str, target: str) -> Facts:
    return run_task(_model(content), task, source, target)


@functools.lru_cache(maxsize=1)
def _model(content: bytes) -> FittedModel:
    """The model, built once a worker."""
    return model_from_bytes(content, "cpu")


def _as_done(ray: Any, start: Callable[[J], Any], jobs: Sequence[J]) -> Iterator[tuple[J, Any]]:
    """Jobs with their results, or with the `DataError` of a worker that died each time, as they are done."""
    waiting, running = list(reversed(jobs)), dict[Any, J]()
    ahead = _AHEAD * processors(ray)
    while waiting or running:
        while waiting and len(running) < ahead:
            job = waiting.pop()
            running[start(job)] = job
        for done in ray.wait(list(running))[0]:
            yield running.pop(done), _result(ray, done)


def _result(ray: Any, done: Any) -> Any:
    try:
        return ray.get(done)
    except ray.exceptions.RayTaskError:
        raise  # a fault of ours, with its traceback
    except ray.exceptions.RayError as error:
        what = f"the worker was lost {_TRIES + 1} times: {type(error).__name__}"
        return DataError(what, how="give it less --memory, or the machines more")


def processors(ray: Any) -> int:
    """How many tasks the cluster runs at a time; `UsageError` where it has no room for any."""
    count = int(ray.cluster_resources().get("CPU", 0))
    if not count:  # a task would wait for ever
        raise UsageError("the Ray cluster has no processor to offer", where="--on", how="start nodes with --num-cpus")
    return count


@contextmanager
def cluster(address: str) -> Iterator[Any]:
    """Ray, connected: `ray` is the caller's own, that of RAY_ADDRESS, or one started here; or `ray://HOST:10001`."""
    if address != "ray" and not address.startswith("ray://"):
        raise UsageError(f"got {address!r}, wanted ray or ray://HOST:10001", where="--on", how="such as --on ray")
    here = address == "ray" and "RAY_ADDRESS" not in os.environ
    with _settings(_LOCAL if here else {"RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}):
        try:
            import ray
        except ImportError as fault:
            raise missing_extra("ray", "ray", "--on ray") from fault
        if ray.is_initialized():
            yield ray
            return
        _connect(ray, address, here)
        try:
            yield ray
        finally:
            ray.shutdown()


def _connect(ray: Any, address: str, here: bool) -> None:
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    try:
        if here:
            ray.init(num_cpus=os.cpu_count(), include_dashboard=False, object_store_memory=_STORE, **quiet)
        else:
            ray.init(address if address != "ray" else None, **quiet)
    except (ConnectionError, RuntimeError, ValueError) as error:
        what = f"Ray cannot be reached: {next(iter(str(error).splitlines()), type(error).__name__)}"
        raise UsageError(what, where=f"--on {address}", how="check that the cluster runs, and its address") from error


@contextmanager
def _settings(wanted: dict[str, str]) -> Iterator[None]:
    """Environment variables set here where the user has not set them."""
    added = {name: value for name, value in wanted.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)
