"""`fit`, here, or on Ray as a task or by workers that go on from the last checkpoint where one of them is lost."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hourglass.core.checkpoints import load_model, training_place
from hourglass.data.opening import not_written
from hourglass.data.remote import absolute
from hourglass.errors import UsageError
from hourglass.interfaces import cluster, operations
from hourglass.interfaces.learning import Listener, Nobody
from hourglass.interfaces.operations import Outcome
from hourglass.interfaces.options import Fit
from hourglass.interfaces.outputs import MODEL, check_place
from hourglass.interfaces.teams import fit_together


def fit(request: Fit, listener: Listener | None = None) -> Outcome:
    """`operations.fit` where the request says: on Ray, data and model must lie where all machines see them."""
    workers = request.workers or 1
    if request.on is None and workers > 1:
        raise UsageError("workers are processes on Ray", where="--workers", how="add --on ray")
    if request.on is None:
        return operations.fit(request, listener)
    check_place(request.output, MODEL, "--output", request.data)
    if not request.resume:  # a task that is tried again resumes, and must not find another training
        training_place(request.output).unlink(missing_ok=True)
    how = f"by {workers} workers" if workers > 1 else "as a task"
    (listener or Nobody()).note(f"training {how} on {request.on}")
    there = _absolute(request).replace(on=None)
    if workers > 1:
        with _meeting_place(there.output) as place:
            document, interrupted = cluster.run_once(request.on, fit_together, there, workers, place)
    else:
        document, interrupted = cluster.run_once(request.on, _fit_there, there)
    return Outcome(document, load_model(document["model"]), interrupted)


def _fit_there(request: Fit) -> tuple[dict[str, Any], bool]:
    outcome = operations.fit(request.replace(resume=training_place(request.output).exists()))
    return outcome.document, outcome.interrupted


def _meeting_place(output: str) -> TemporaryDirectory[str]:
    """A folder beside the model, for as long as it is trained."""
    try:
        return TemporaryDirectory(prefix=".team-", dir=Path(output).parent, ignore_cleanup_errors=True)
    except OSError as error:
        raise not_written(output, error) from error


def _absolute(request: Fit) -> Fit:
    """With paths that mean the same on every machine."""
    named = {name: getattr(request, name) for name in ("data", "output", "report", "clean")}
    noise = tuple(os.path.abspath(name) if os.path.exists(name) else name for name in request.noise)
    return request.replace(noise=noise, **{name: absolute(path) for name, path in named.items() if path})
