"""One function a verb, each from a request to an outcome: the command line calls these, and so may any other edge.

Only judging a model, and drawing its report, need scikit-learn: they import it then.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from hourglass.core.anomaly_likelihood import by_likelihood
from hourglass.core.checkpoints import TrainingFile, load_model, save_model, training_place
from hourglass.core.fitted import Detection, FittedModel
from hourglass.core.fitting import Keep, versions
from hourglass.core.parallel import ALONE, Dismissed, Team
from hourglass.data.audio import AudioFormat
from hourglass.data.files import read, read_blocks
from hourglass.data.filling import filled
from hourglass.data.formats import Data
from hourglass.data.images import ImageFormat
from hourglass.data.opening import refuse_address
from hourglass.data.samples import Frame, Pictures, Recordings, unique_notices
from hourglass.data.series import SeriesFormat
from hourglass.data.shards import Shards
from hourglass.data.tables import TableFormat
from hourglass.data.writing import write_table
from hourglass.errors import DataError, UsageError
from hourglass.interfaces.describing import describe, fit_notices
from hourglass.interfaces.gallery import check_maps, write_maps
from hourglass.interfaces.labels import anomaly_labels, normal_rows, only
from hourglass.interfaces.large_fits import learn_stream, too_large
from hourglass.interfaces.learning import Listener, Nobody, learn
from hourglass.interfaces.memory import bytes_of, peak_memory
from hourglass.interfaces.options import (
    Convert,
    Decode,
    Denoise,
    Detect,
    Encode,
    Evaluate,
    Fit,
    Inspect,
    Reconstruct,
    check_rates,
)
from hourglass.interfaces.outputs import HTML, MODEL, SCORES, VALUES, check_place, in_order_of, read_codes, write_values
from hourglass.interfaces.pictures import check_is_file, for_place, shape_of
from hourglass.interfaces.results import Findings, findings
from hourglass.interfaces.resuming import resuming
from hourglass.interfaces.sample_tables import cluster_facts, clusters_of, codes_table, predictions_table

_FEW_PIXELS = 64
"""Numbers in a picture up to which its flag is explained unasked."""


@dataclass(frozen=True)
class Outcome:
    """What a verb did."""

    document: dict[str, Any]
    """Everything worth knowing, as JSON values; `notices` holds what was accepted although odd."""
    model: FittedModel
    interrupted: bool = False
    """Whether training was stopped before its end; the best weights were kept."""
    findings: Findings | None = None


def fit(request: Fit, listener: Listener | None = None, team: Team = ALONE) -> Outcome:
    """Fit an autoencoder to a file, calibrate it as a detector, and save it.

    In a team this is the first worker's; the others `help_fit`.
    """
    check_place(request.output, MODEL, "--output", request.data)
    check_place(request.report, HTML, "--report", request.data)
    listener = listener or Nobody()
    large = too_large(request)
    with resuming(request.output, request.resume, listener) as training:
        model, data, train = _learned(request, large, listener, training.keep, team)
        path = save_model(model, request.output)
        left = training.ended(interrupted(model))
    if data is not None and request.report:
        found = model.detect(data, own=train is data)
        _report(request.report, model, data, found, request.data, train)
    document = {"model": str(path), "output": str(path), "report": request.report, "resume": left, **describe(model)}
    if request.memory or large is not None:
        document["memory"] = {"bound": bytes_of(request.memory), "peak": peak_memory()}
    document["notices"] = unique_notices([*(read_notices(data) if data is not None else []), *document["notices"]])
    return Outcome(document, model, interrupted(model))


def help_fit(request: Fit, team: Team) -> None:
    """Train with the other workers of a team, of whom the first fits; nothing is written."""
    place = training_place(request.output)
    with contextlib.suppress(Dismissed):
        _learned(request, too_large(request), Nobody(), partial(TrainingFile, place, request.resume), team)


def _learned(
    request: Fit, large: Shards | None, listener: Listener, keep: Keep, team: Team
) -> tuple[FittedModel, Data | None, Data | None]:
    """A fitted model; and the data that were given, and those of them that it learned from, where all are in memory."""
    if large is not None:
        return learn_stream(request, large, listener, keep, team), None, None
    data = _read(request.data, listener, request.skip_bad, remote=True)
    model, train = learn(request, data, listener, keep, team)
    return model, data, train


def detect(request: Detect, listener: Listener | None = None) -> Outcome:
    """Score every row of a file, with a given model or one that is fitted to the same file first; write the scores."""
    check_rates(request)
    check_place(request.output, SCORES, "--output", request.data, request.model)
    check_place(request.report, HTML, "--report", request.data, request.model)
    check_place(request.save, MODEL, "--save", request.data)
    check_maps(request.map, None)
    model = load_model(model_path(request.model), request.device or "auto") if request.model else None
    if model is not None and (scanned := _scan(model, request)):
        return _detected(request, model, scanned, request.model)
    data = _read(request.data, listener, request.skip_bad or model is not None)
    path, train, of_fit = request.model, None, []
    if model is None:
        model, train = learn(request, data, listener or Nobody())
        path = str(save_model(model, request.save)) if request.save else None
        of_fit = fit_notices(model)
    check_maps(request.map, model)
    found = find(model, data, request, train)
    write_maps(request.map, found, request.reasons == "all", request.data)
    outcome = _detected(request, model, found, path, read_notices(data), of_fit)
    if request.report:
        _report(request.report, model, data, found.detection, request.data, train)
    outcome.document.update(_failed(data) if not request.skip_bad else {})
    return dataclasses.replace(outcome, interrupted=train is not None and interrupted(model))


def _detected(
    request: Detect,
    model: FittedModel,
    found: Findings,
    path: str | None,
    of_data: Sequence[str] = (),
    of_fit: Sequence[str] = (),
) -> Outcome:
    """Write what was found."""
    if not request.json or request.output:
        write_table(found.table(), request.output)
    document = {**found.document(), "model": path, "output": request.output, "report": request.report}
    notices = unique_notices([*of_data, *found.notices, *of_fit])
    return Outcome({**document, "notices": notices, "versions": versions()}, model, False, found)


def _scan(model: FittedModel, request: Detect) -> Findings | None:
    """The findings in a table so large that it is better read block by block; None where it must be read as a whole."""
    whole = request.reasons == "all" or request.report or request.map or request.anomaly_likelihood  # ask for every row
    blocks = read_blocks(request.data) if isinstance(model.format, TableFormat) and not whole else None
    if blocks is None:
        return None
    try:
        asked = (request.false_alarm_rate, request.threshold, request.reasons, request.false_discovery_rate)
        detection = model.detect_blocks(blocks, *asked)
    except DataError:  # reading it as a whole works, or says what is wrong and in which line
        return None
    return findings(model, detection, request.reasons, request.false_alarm_rate, request.false_discovery_rate)


def find(model: FittedModel, data: Data, request: Detect, train: Data | None = None) -> Findings:
    """The findings in data that are read already; `train` are those that the model was fitted on."""
    many = isinstance(model.format, ImageFormat | AudioFormat) and model.format.layout.size > _FEW_PIXELS
    reasons = "none" if many and request.reasons == "flagged" else request.reasons  # a pixel explains nothing
    rate, share = request.false_alarm_rate, request.false_discovery_rate
    detection = model.detect(data, rate, request.threshold, reasons, train is data, share)
    if request.anomaly_likelihood:
        detection = by_likelihood(model, detection, rate, request.threshold)
    return findings(model, detection, reasons, rate, share)


def encode(request: Encode, listener: Listener | None = None) -> Outcome:
    """Write the code of each sample: `latent0`, `latent1`, ..., in a table with its name and its cluster before them.

    With a map, which is drawn then, the table is written only where a place for it is named.
    """
    check_place(request.plot, HTML, "--plot", request.data, request.model)
    if request.clusters is not None and _as_array(request.output):
        what = "clusters are a column of a table, and an array has no room for it"
        raise UsageError(what, where="--clusters", how="write a table: -o codes.csv, or codes.parquet")
    model, data = _loaded(request, listener)
    packed = model.format.pack(data)
    codes = model.encode_samples(packed.samples)
    found = clusters_of(codes, request.clusters)
    if request.plot is not None:
        from hourglass.interfaces.plotting import plot

        plot(request, model, data, packed, found)
    if request.output is not None or request.plot is None:
        table = codes_table(model, packed, codes, found)
        write_values(codes if _as_array(request.output) else table, request.output)
    outcome = _converted(model, request, data, list(codes.shape), packed.notices)
    outcome.document.update({"plot": request.plot, **cluster_facts(found)})
    return outcome


def decode(request: Decode, listener: Listener | None = None) -> Outcome:
    """Write the samples that codes stand for, in the units of the data that the model was fitted on."""
    check_place(request.output, VALUES, "--output", request.codes, request.model)
    model = load_model(model_path(request.model), request.device or "auto")
    codes = _read(request.codes, listener)
    values = for_place(model.decode(read_codes(codes, model.latent_size)), model, request.output)
    if isinstance(values, Pictures) and isinstance(codes, Frame) and "name" in codes.table.column_names:
        values = dataclasses.replace(values, table=codes.table.select(["name"]))
    names = model.format.cell_names()
    if isinstance(values, np.ndarray) and not _as_array(request.output):
        values = values.reshape(len(values), -1)
    write_values(values, request.output, names)
    shape = shape_of(values) if isinstance(values, Pictures) else [len(values), len(names)]
    return _converted(model, request, codes, shape)


def reconstruct(request: Reconstruct, listener: Listener | None = None) -> Outcome:
    """Write the data as the model gives them back through its bottleneck, in their own form and units."""
    return reconstructed(*_loaded(request, listener), request, listener)


def reconstructed(
    model: FittedModel, data: Data, request: Reconstruct | Denoise, listener: Listener | None = None
) -> Outcome:
    """Write data that are read already as a model gives them back."""
    if isinstance(data, Pictures | Recordings):
        check_is_file(request.output, "pictures" if isinstance(data, Pictures) else "recordings")
    packed = model.format.pack(data)
    for notice in packed.notices:
        (listener or Nobody()).note(notice)
    given_back = model.reconstruct_packed(packed)
    if isinstance(request, Reconstruct) and request.fill_missing:
        given_back = filled(data, given_back)
    values = for_place(in_order_of(given_back, data), model, request.output)
    if isinstance(values, Pictures | Recordings) and isinstance(data, Pictures | Recordings):
        values = dataclasses.replace(values, source=data.source, failed=data.failed)
    packing = [*packed.notices, *write_values(values, request.output, _value_names(model, data))]
    return _converted(model, request, data, shape_of(values), packing)


def predict(request: Convert, listener: Listener | None = None) -> Outcome:
    """Write the label that a taught model gives each sample, and the probability of each class."""
    model, data = _loaded(request, listener)
    packed = model.format.pack(data)
    table, names = predictions_table(model, packed)
    write_values(table, request.output)
    return _converted(model, request, data, [table.num_rows, len(names)], packed.notices)


def evaluate(request: Evaluate, listener: Listener | None = None) -> Outcome:
    """Judge a model on labelled rows, beside PCA and an isolation forest on the same split."""
    from hourglass.estimators import evaluation

    model = load_model(model_path(request.model), request.device or "auto")
    remembered = model.card.get("label") or {}
    label = request.label or remembered.get("column")
    if label is None:
        raise UsageError("the model remembers no label column", where="evaluate", how="name it with --label COLUMN")
    normal = request.normal or (remembered.get("normal") if label == remembered.get("column") else None)
    data = _read(request.data, listener, request.skip_bad)
    labels = anomaly_labels(data, label, normal)
    data = without_label(data, label, model)
    train = _normal_only(_read(request.train, listener, request.skip_bad), label, normal) if request.train else None
    result = evaluation.evaluate(model, data, labels, train=train, rate=request.false_alarm_rate, oracle=request.oracle)
    result["notices"] = unique_notices([*read_notices(data), *result["notices"]])
    return Outcome(result | {"label": label, "normal": normal, "model": request.model}, model)


def inspect(request: Inspect, listener: Listener | None = None) -> Outcome:
    """Say what is in a model file."""
    path = model_path(request.model)
    model = load_model(path, "cpu")
    return Outcome({"file": path, "bytes": Path(path).stat().st_size, **describe(model)}, model)


def model_path(path: str) -> str:
    """The model's file: as given, or with the suffix that saving adds."""
    refuse_address(path)
    return path if os.path.exists(path) or Path(path).suffix else f"{path}.safetensors"


def _read(path: str, listener: Listener | None, skip_bad: bool = False, remote: bool = False) -> Data:
    data = read(path, skip_bad=skip_bad, remote=remote)
    for notice in read_notices(data):
        (listener or Nobody()).note(notice)
    return data


def read_notices(data: Data) -> tuple[str, ...]:
    """What was accepted although odd while data were read."""
    return () if isinstance(data, np.ndarray) else data.notices


def _failed(data: Data) -> dict[str, list[str]]:
    """What could not be read, while the rest was done."""
    return {"failed": list(data.failed)} if isinstance(data, Pictures | Recordings) and data.failed else {}


def interrupted(model: FittedModel) -> bool:
    """Whether the training of a model was stopped by hand."""
    return model.history.stopped == "interrupted"


def _report(path: str, model: FittedModel, data: Data, found: Detection, source: str, train: Data | None) -> None:
    from hourglass.interfaces.report import subject_of, write_report

    label = model.card.get("label") or {}
    columns = [] if isinstance(data, np.ndarray) else data.table.column_names
    known = label.get("normal") is not None and label["column"] in columns
    labels = ~normal_rows(data, label["column"], label["normal"]) if known else None
    write_report(path, Path(source).name, subject_of(model, data, found, train=train, labels=labels))


def _loaded(request: Convert, listener: Listener | None) -> tuple[FittedModel, Data]:
    check_place(request.output, VALUES, "--output", request.data, request.model)
    return load_model(model_path(request.model), request.device or "auto"), _read(request.data, listener, True)


def _converted(
    model: FittedModel, request: Convert | Decode | Denoise, data: Data, shape: list[int], packing: Sequence[str] = ()
) -> Outcome:
    document: dict[str, Any] = {"model": request.model, "output": request.output, "shape": shape, **_failed(data)}
    notices = unique_notices([*read_notices(data), *packing])
    return Outcome({**document, "notices": notices, "versions": versions()}, model)


def _value_names(model: FittedModel, data: Data) -> list[str] | None:
    """Names for the columns of an array that is written as a table."""
    if not isinstance(data, Frame):
        return None
    used = set(model.format.cell_names())
    names = [name for name in data.table.column_names if name in used]
    return names or list(data.table.column_names)


def _normal_only(data: Data, label: str, normal: str | None) -> Data:
    """The rows that a model would have been fitted on: the normal ones where the labels are there, else all."""
    if isinstance(data, np.ndarray) or label not in data.table.column_names:
        return data
    mask = normal_rows(data, label, normal) if normal is not None else ~anomaly_labels(data, label, None)
    normal_data = only(data, mask, "normal rows")
    if not isinstance(normal_data, Frame):
        return normal_data
    return dataclasses.replace(normal_data, table=normal_data.table.drop_columns([label]))


def without_label(data: Data, label: str, model: FittedModel) -> Data:
    """The data as the model should see them; `UsageError` where it was fitted to the label itself."""
    if not isinstance(data, Frame):
        return data
    form = model.format
    named = form.schema if isinstance(form, SeriesFormat) else form.form if isinstance(form, ImageFormat) else None
    if label in (form.cell_names() if named is None else named.columns):
        how = f"fit it with --label {label}, which leaves the column out"
        raise UsageError(f"the model was fitted to column {label!r} as a feature", where="--label", how=how)
    return dataclasses.replace(data, table=data.table.drop_columns([label]))


def _as_array(path: str | None) -> bool:
    return path is not None and Path(path).suffix.lower() in (".npy", ".npz")
