"""`fit`, here or as a task on Ray that goes on from its last checkpoint where its worker or machine is lost."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from hourglass.core.checkpoints import load_model, training_place
from hourglass.interfaces import cluster, operations
from hourglass.interfaces.learning import Listener, Nobody
from hourglass.interfaces.operations import Outcome
from hourglass.interfaces.options import Fit
from hourglass.interfaces.outputs import MODEL, check_place


def fit(request: Fit, listener: Listener | None = None) -> Outcome:
    """`operations.fit` where the request says: on Ray, data and model must lie where all machines see them."""
    if request.on is None:
        return operations.fit(request, listener)
    check_place(request.output, MODEL, "--output", request.data)
    if not request.resume:  # a task that is tried again resumes, and must not find another training
        _place(request).unlink(missing_ok=True)
    (listener or Nobody()).note(f"training as a task on {request.on}")
    document, interrupted = cluster.run_once(request.on, _fit_there, _absolute(request))
    return Outcome(document, load_model(document["model"]), interrupted)


def _fit_there(request: Fit) -> tuple[dict[str, Any], bool]:
    outcome = operations.fit(request.replace(on=None, resume=_place(request).exists()))
    return outcome.document, outcome.interrupted


def _place(request: Fit) -> Path:
    return training_place(Path(request.output).with_suffix(".safetensors"))


def _absolute(request: Fit) -> Fit:
    """With paths that mean the same on every machine."""
    named = {name: getattr(request, name) for name in ("data", "output", "report", "clean")}
    return request.replace(**{name: os.path.abspath(path) for name, path in named.items() if path})
