"""`hourglass probe`: what the codes of a model are worth to a classifier and a clustering."""

from __future__ import annotations

from typing import Any

import numpy as np

from hourglass.core.checkpoints import load_model
from hourglass.core.fitted import FittedModel
from hourglass.data.files import read
from hourglass.data.formats import Data
from hourglass.errors import UsageError
from hourglass.interfaces.labels import label_column
from hourglass.interfaces.learning import Listener
from hourglass.interfaces.operations import Outcome, without_label
from hourglass.interfaces.options import Probe


def probe(request: Probe, listener: Listener | None = None) -> Outcome:
    """Judge a model's codes by their use for labels, beside PCA's of the same size and the raw samples."""
    from hourglass.estimators import probing

    model = load_model(request.model, request.device or "auto")
    label = request.label or (model.card.get("label") or {}).get("column")
    if label is None:
        raise UsageError("the model remembers no label column", where="probe", how="name it with --label COLUMN")
    data, labels = _labelled(request.data, label, model)
    test = _labelled(request.test, label, model) if request.test else None
    result = probing.probe(model, data, labels, test=test, seed=request.seed or 0)
    return Outcome({"model": request.model, "label": label, **result, "notices": []}, model)


def _labelled(path: str, label: str, model: FittedModel) -> tuple[Data, np.ndarray]:
    data = read(path)
    return without_label(data, label, model), np.asarray(label_column(data, label))


def probe_lines(document: dict[str, Any]) -> list[str]:
    """The outcome of `probe` as text."""
    head = f"{document['test_rows']:,} rows judged, {document['rows']:,} learned from, {document['classes']} classes"
    rows = [
        f"{name:<8}{scores['accuracy']:>10.4f}{scores['nmi']:>10.4f}" for name, scores in document["features"].items()
    ]
    return [head, f"{'':<8}{'accuracy':>10}{'nmi':>10}", *rows]
