"""`fit` by several workers on Ray, each on its share of the rows; Ray Train starts all again where one is lost.

The first worker fits, and keeps its training where `--resume` finds it; the others help. Who ends, well or by a fault
that would come again, writes how to a folder beside the model: workers that are started after that have nothing to do.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch

from hourglass import errors
from hourglass.core.checkpoints import training_place
from hourglass.core.parallel import Team, joined
from hourglass.data.writing import write_text
from hourglass.errors import DataError, HourglassError, UsageError, missing_extra
from hourglass.interfaces import operations
from hourglass.interfaces.cluster import processors
from hourglass.interfaces.options import Fit

_LOSSES = 20
"""How often training goes on after a worker, or its machine, was lost."""
_START = "600"
"""Seconds that workers may take to start: a busy machine takes more than Ray's 60, and would begin for ever anew."""
_HALF = 0.5
"""The share of a processor that a worker reserves where there are fewer of them than workers."""


def fit_together(request: Fit, workers: int, place: str) -> tuple[dict[str, Any], bool]:
    """Fit with so many workers, from within a task on Ray; gives what was done, and whether it was interrupted.

    `place`: an empty folder that all machines see.
    """
    import ray

    try:
        from ray.train import FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
        from ray.train.torch import TorchTrainer
    except ImportError as fault:
        raise missing_extra("ray", "ray[train]", "--workers") from fault
    os.environ.setdefault("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", _START)
    resources = {"CPU": processors_each(workers, processors(ray))}
    trainer = TorchTrainer(
        _work,
        train_loop_config={"request": request, "place": place},
        torch_config=_without_group(),
        scaling_config=ScalingConfig(num_workers=workers, resources_per_worker=resources),
        run_config=RunConfig(storage_path=place, failure_config=FailureConfig(max_failures=_LOSSES)),
    )
    lost = None
    try:
        trainer.fit()
    except TrainingFailedError as fault:
        lost = fault
    return _outcome(Path(place), lost)


def processors_each(workers: int, all_processors: int) -> float:
    """What each worker reserves, one processor left to who starts them; `UsageError` where there are too few.

    Workers for whom there is no room would be waited for for ever.

    >>> processors_each(2, 4), processors_each(2, 2)
    (1, 0.5)
    """
    room = all_processors - 1
    if workers <= room:
        return 1
    most = int(room / _HALF)
    if workers > most:
        what = f"got {workers}, and a cluster of {all_processors} CPU has room for {most} beside who starts them"
        raise UsageError(what, where="--workers", how="ask for fewer workers, or start more nodes")
    return _HALF


def _without_group() -> Any:
    """Torch as Ray Train sets it up, but for its process group, whose meeting place listens on all addresses."""
    from ray.train.backend import Backend
    from ray.train.torch import TorchConfig

    class OwnGroup(TorchConfig):
        backend_cls = Backend

    return OwnGroup(backend="gloo")


def _work(words: dict[str, Any]) -> None:
    """What each worker does."""
    request, place = words["request"], Path(words["place"])
    torch.set_num_threads(1)
    pa.set_cpu_count(1)
    if _end(place).exists():
        return
    try:
        with _team() as team:
            request = request.replace(resume=training_place(request.output).exists())
            if team.rank:
                return operations.help_fit(request, team)
            outcome = operations.fit(request, team=team)
            _write_end(place, {"document": outcome.document, "interrupted": outcome.interrupted})
    except HourglassError as fault:
        _write_end(place, {"fault": [type(fault).__name__, fault.what, fault.where, fault.how]})


@contextmanager
def _team() -> Iterator[Team]:
    """The workers of this run, met at an address by which the cluster knows the first one's machine."""
    from ray import train, util
    from ray.train.collective import broadcast_from_rank_zero

    network: Any = util
    torch_network: Any = torch.distributed
    rank, size = train.get_context().get_world_rank(), train.get_context().get_world_size()
    own = network.get_node_ip_address()
    listening = None if rank else socket.create_server((own, 0), family=_family(own))
    address = broadcast_from_rank_zero(listening and listening.getsockname()[:2])
    if address[0].startswith("127."):
        loopback = next(name for _, name in socket.if_nameindex() if name.startswith("lo"))
        os.environ.setdefault("GLOO_SOCKET_IFNAME", loopback)  # else all could reach the workers
    taken = listening.detach() if listening else None  # the store's own socket would listen on all addresses
    store = torch_network.TCPStore(*address, size, rank == 0, master_listen_fd=taken)
    with joined(store, rank, size) as team:
        yield team


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _end(place: Path) -> Path:
    return place / "end.json"


def _write_end(place: Path, document: dict[str, Any]) -> None:
    """Say how it ended."""
    write_text(_end(place), json.dumps(document, ensure_ascii=False))


def _outcome(place: Path, lost: Exception | None) -> tuple[dict[str, Any], bool]:
    """What the workers did; raises what one of them did, or says what was `lost` too often."""
    if not _end(place).exists():
        *_, last = ["no worker said why", *str(lost or "").splitlines()]
        what = f"training broke off {_LOSSES + 1} times: {last}"
        raise DataError(what, how="give it less --memory, or the machines more")
    document = json.loads(_end(place).read_text(encoding="utf-8"))
    if "fault" in document:
        kind, what, where, how = document["fault"]
        raise getattr(errors, kind)(what, where=where, how=how)
    return document["document"], document["interrupted"]
