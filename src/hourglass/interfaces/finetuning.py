"""`hourglass finetune`: a fitted model is taught the labels of a file."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hourglass.core.checkpoints import load_model, save_model
from hourglass.core.fitting import versions
from hourglass.core.heads import Classes, Meaning, Quantities
from hourglass.core.supervised import fine_tune, labelled_samples, taught_by
from hourglass.data.files import read
from hourglass.data.formats import Data
from hourglass.data.samples import unique_notices
from hourglass.errors import DataError, UsageError
from hourglass.interfaces.console import head_words
from hourglass.interfaces.describing import head_facts
from hourglass.interfaces.labels import label_column, only
from hourglass.interfaces.learning import Listener, Nobody
from hourglass.interfaces.operations import Outcome, model_path, without_label
from hourglass.interfaces.options import Finetune
from hourglass.interfaces.outputs import MODEL, check_place
from hourglass.settings import Tuning

CLASSIFY, REGRESS = "classify", "regress"
FEW = 20
"""Different whole numbers up to which labels are taken for classes."""
_TRAINING = ("epochs", "batch_size", "learning_rate", "validation", "seed", "device")


def finetune(request: Finetune, listener: Listener | None = None) -> Outcome:
    """Teach a fitted model labels, and save it with what it learned."""
    check_place(request.output, MODEL, "--output", request.data)
    listener = listener or Nobody()
    tuning = _tuning(request)
    model = load_model(model_path(request.model), request.device or "auto")
    data = read(request.data, skip_bad=request.skip_bad)
    column = label_column(data, request.label)
    data, column, notices = _labelled(without_label(data, request.label, model), column, request.label)
    task, why = choose_task(column, request.task)
    for notice in (*notices, *filter(None, [why])):
        listener.note(notice)
    labels, meaning = labels_of(column, task, request.label)
    samples = labelled_samples(model, data, labels)
    training = taught_by(len(labels), {name: getattr(request, name) for name in _TRAINING})
    if not training.validation:
        notices.append("all labels are learned from, none held out to say how good that is: --validation 0.2 would")
        listener.note(notices[-1])
    tuned = fine_tune(model, samples, labels, meaning, tuning, training, listener.epoch)
    remembered = tuned.card.get("label") or {}
    normal = remembered.get("normal") if remembered.get("column") == request.label else None
    tuned.card |= {"task": meaning.task, "label": {"column": request.label, "normal": normal}}
    path = str(save_model(tuned, request.output))
    document: dict[str, Any] = {"model": path, "output": path, "from": request.model, "label": request.label}
    history = tuned.head.history if tuned.head is not None else tuned.history
    epochs = {"epochs": len(history.training), "best_epoch": history.best_epoch}
    document |= {"head": head_facts(tuned), "training": epochs}
    document |= {"notices": unique_notices([*notices, *history.notices]), "versions": versions()}
    return Outcome(document, tuned, history.stopped == "interrupted")


def finetune_lines(document: dict[str, Any]) -> list[str]:
    """What was learned, how well, and where it lies."""
    training = document["training"]
    words = head_words(document["head"])
    chosen = " (they chose the best epoch too)" if document["head"]["held_out"] else ""
    epochs = f"best epoch {training['best_epoch']:,} of {training['epochs']:,}"
    return [f"{words}{chosen}; {epochs}", f"the model is in {document['model']}"]


def choose_task(column: pa.ChunkedArray, asked: str | None) -> tuple[str, str]:
    """Whether labels are classes or numbers, and a sentence that says why where nobody said so."""
    kind = column.type
    if asked is not None:
        return asked, ""
    if not (pa.types.is_integer(kind) or _is_float(kind)):
        return CLASSIFY, ""
    different = len(pc.unique(column))
    if different <= FEW and pc.all(pc.equal(column, pc.floor(column))).as_py():
        return CLASSIFY, f"its {different} different whole numbers are taken for classes; --task regress to change"
    return REGRESS, f"its {different:,} different numbers are taken for quantities; --task classify to change"


def labels_of(column: pa.ChunkedArray, task: str, name: str) -> tuple[np.ndarray, Meaning]:
    """A column's labels and what they mean."""
    kind, number = column.type, pa.types
    is_number = number.is_integer(kind) or _is_float(kind)
    if task == REGRESS:
        if not is_number:
            raise UsageError(
                f"column {name!r} holds {kind}, and quantities are numbers", where="--task", how="classify"
            )
        quantities = column.cast(pa.float64()).to_numpy()
        if not np.isfinite(quantities).all():
            raise DataError("got a label that is not finite", where=f"column {name!r}", how="mend or remove the row")
        return quantities, Quantities.of(quantities)
    if not (is_number or number.is_boolean(kind) or _is_text(kind)):
        what = f"column {name!r} holds {kind}, wanted words, flags or whole numbers"
        raise DataError(what, where="--label", how="name another column, or write its labels as words")
    if _is_float(kind) and pc.all(pc.equal(column, pc.floor(column))).as_py():
        column = column.cast(pa.int64())  # a column of whole numbers with gaps is read as floats
    labels = np.array(column.cast(pa.string()).to_pylist() if _is_text(kind) else column.to_pylist())
    meaning = Classes.of(labels)
    if meaning.outputs == len(labels) > 1:
        how = "name a column whose values come again, or add --task regress for numbers"
        raise DataError("no label occurs twice", where=f"column {name!r}", how=how)
    return labels, meaning


def _labelled(data: Data, column: pa.ChunkedArray, name: str) -> tuple[Data, pa.ChunkedArray, list[str]]:
    """The rows that have a label, and a sentence about the others."""
    if not column.null_count or isinstance(data, np.ndarray):
        return data, column, []
    there = np.asarray(column.is_valid())
    if not there.any():
        raise DataError(f"column {name!r} holds no label", where="--label", how="label some rows")
    notice = f"learning from the {there.sum():,} of {len(there):,} rows that have a {name!r}"
    return only(data, there, f"rows with a {name!r}"), column.filter(pa.array(there)), [notice]


def _tuning(request: Finetune) -> Tuning:
    paces = {name: getattr(request, name) for name in ("encoder_rate", "warm_up")}
    given = {name: value for name, value in paces.items() if value is not None}
    return Tuning(freeze=request.freeze, corrupt=request.corrupt, **given)


def _is_float(kind: pa.DataType) -> bool:
    return bool(pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _is_text(kind: pa.DataType) -> bool:
    words = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(words) or pa.types.is_large_string(words) or pa.types.is_string_view(words))
