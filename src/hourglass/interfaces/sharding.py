"""Verbs over shards: tables of a folder or a glob, here or in a store, one after another; what was cut off goes on."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from hourglass.core.checkpoints import load_model, read_document
from hourglass.core.fitted import FittedModel
from hourglass.core.fitting import versions
from hourglass.data.listing import notices_of, several
from hourglass.data.remote import bare, suffix_of
from hourglass.data.shards import TABLES, Shards, find_shards, one_shard
from hourglass.data.tables import TableFormat
from hourglass.data.times import counted
from hourglass.errors import DataError, StoreError, UnreadableError, UsageError
from hourglass.interfaces.denoising import untrained
from hourglass.interfaces.learning import Listener
from hourglass.interfaces.memory import bytes_of, peak_memory
from hourglass.interfaces.operations import Outcome, model_path
from hourglass.interfaces.options import Convert, Denoise, Detect, Reconstruct, check_rates
from hourglass.interfaces.shard_manifest import Manifest, Todo, check_apart
from hourglass.interfaces.shard_tasks import Facts, Task, fault_of, run_task

Scoring: TypeAlias = Detect | Convert | Denoise
Done: TypeAlias = tuple[Todo, Facts | DataError | StoreError]
"""A shard with what is known of it now, or with why it could not be done."""
Runner: TypeAlias = Callable[[bytes, Task, list[Todo]], Iterable[Done]]
"""Does a task to shards with a model, given as the bytes of its file; gives each as it is done, in any order."""


def operation(verb: str, request: Scoring) -> Callable[[Scoring, Listener], Outcome] | None:
    """What to call for a request that names tables, and a folder to write to; None where it is one for other data.

    `UsageError` where memory, or where to work, is said of other data.
    """
    output = request.output
    to_folder = output not in (None, "-") and not suffix_of(str(output))
    found = find_shards(request.data) if to_folder and request.model else None
    if to_folder and request.model and not found and _is_of_tables(request.model):
        found = one_shard(request.data)
    idle = [f"--{option}" for option in ("memory", "on") if getattr(request, option, None) and not found]
    if idle:
        how = f"give a model, a folder or glob of tables ({', '.join(TABLES)}), and a folder to write to: -o OUT"
        raise UsageError("only for tables that are scored shard by shard", where=", ".join(idle), how=how)
    return None if found is None else partial(_score, verb, found)


def _is_of_tables(path: str) -> bool:
    """Whether a model is for tables: others make pictures or windows of a table's rows, and a folder of these."""
    modality = read_document(model_path(path))["experiment"].get("modality", "table")
    return bool(modality == TableFormat.modality)


def _score(verb: str, shards: Shards, request: Scoring, listener: Listener) -> Outcome:
    """Put every shard through a model, each to a Parquet file of its name in a folder, beside `_manifest.json`.

    A shard that cannot be done is listed, and the others are done; `DataError` where none can be. A second run does
    only what is not done yet, or has changed since; for another model or other options all of it.
    """
    task, began = _task(verb, request), time.perf_counter()
    check_apart(shards, str(request.output))
    model = load_model(model_path(str(request.model)), request.device or "auto")
    content = Path(model_path(str(request.model))).read_bytes()
    model.threshold(task.rate, task.rule)  # a rate that cannot be is refused before any work
    job = {"verb": verb, "model": hashlib.sha256(content).hexdigest(), "options": _options(task)}
    manifest = Manifest(shards, str(request.output), job)
    if manifest.anew:
        listener.note(f"{request.output} holds what another model or other options made: it is made anew")
    with manifest.open():
        _work(manifest, _runner(request, model), content, task, listener)
    _refuse_nothing(manifest, shards)
    document = _document(manifest, request, shards, task) | {"seconds": round(time.perf_counter() - began, 3)}
    if verb == "denoise":
        document["notices"] += untrained(model)
    if verb == "detect":
        limit = model.threshold(task.rate, task.rule)
        rate = task.rate if task.rate is not None else model.experiment.detection.false_alarm_rate
        document |= {"threshold": limit.value, "false_alarm_rate": rate, "reachable_rate": limit.reachable_rate}
    return Outcome(document, model)


def _task(verb: str, request: Scoring) -> Task:
    for option in ("report", "map", "save", "false_discovery_rate", "clusters"):
        if getattr(request, option, None) is not None:
            where = f"--{option.replace('_', '-')}"
            what = "is for all rows at once, and shards are put through the model one by one"
            raise UsageError(what, where=where, how="leave it out")
    memory = bytes_of(getattr(request, "memory", None))
    if not isinstance(request, Detect):
        return Task(verb, memory, fill_missing=isinstance(request, Reconstruct) and request.fill_missing)
    check_rates(request)
    return Task(verb, memory, request.false_alarm_rate, request.threshold, request.reasons)


def _options(task: Task) -> dict[str, Any]:
    """What decides about the results, beside model and shards."""
    return {name: value for name, value in vars(task).items() if name not in ("verb", "memory")}


def _runner(request: Scoring, model: FittedModel) -> Runner:
    address = getattr(request, "on", None)
    if address is None:
        return lambda content, task, todo: _here(model, task, todo)
    from hourglass.interfaces import cluster

    return lambda content, task, todo: cluster.run_tasks(str(address), content, task, todo)


def _here(model: FittedModel, task: Task, todo: list[Todo]) -> Iterator[Done]:
    for each in todo:
        try:
            yield each, run_task(model, task, each.source, each.target)
        except DataError as error:
            yield each, error


def _work(manifest: Manifest, runner: Runner, content: bytes, task: Task, listener: Listener) -> None:
    done, total = manifest.skipped, len(manifest.files)
    for each, outcome in runner(content, task, manifest.pending()):
        done += 1
        listener.progress("shards", done, total)
        if isinstance(outcome, dict):
            manifest.done(each.name, outcome)
        elif isinstance(outcome, StoreError) or outcome.where == bare(each.target):  # no fault of this shard
            raise outcome
        else:
            manifest.failed[each.name] = fault_of(outcome)


def _refuse_nothing(manifest: Manifest, shards: Shards) -> None:
    if len(manifest.failed) == len(shards.names):
        name, what = next(iter(manifest.failed.items()))
        number = counted(len(shards.names), "shard")
        how = "see whether they are what their suffix says"
        raise UnreadableError(f"none of its {number} can be done; {name}: {what}", where=shards.source, how=how)


def _document(manifest: Manifest, request: Scoring, shards: Shards, task: Task) -> dict[str, Any]:
    failed = [f"{name}: {what}" for name, what in manifest.failed.items()]
    notices = notices_of(manifest.notices())
    if failed:
        notices.append(f"left out {counted(len(failed), 'shard')} that cannot be done: {several(failed)}")
    return {
        "model": request.model,
        "output": request.output,
        "shards": len(shards.names),
        "skipped": manifest.skipped,
        "rows": manifest.total("rows"),
        **({"anomaly_count": manifest.total("anomalies")} if task.verb == "detect" else {}),
        **({"failed": failed} if failed else {}),
        "memory": {"bound": task.memory, "peak": peak_memory()},
        "notices": notices,
        "versions": versions(),
    }


def score_lines(document: dict[str, Any]) -> list[str]:
    """What was done, in words."""
    before = f", {document['skipped']:,} of them done before" if document["skipped"] else ""
    done = document["shards"] - len(document.get("failed", ()))
    lines = [f"wrote {counted(done, 'shard')} of {counted(document['rows'], 'row')} to {document['output']}{before}"]
    if "anomaly_count" in document:
        count = document["anomaly_count"]
        found = f"{count:,} {'anomaly' if count == 1 else 'anomalies'}"
        lines.append(f"found {found} at a false-alarm rate of {document['false_alarm_rate']:g}")
    peak = document["memory"]["peak"]
    return [*lines, f"peak memory {peak / 1e6:,.0f} MB"] if peak else lines
