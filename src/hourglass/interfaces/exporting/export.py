"""`hourglass export`: a model as one file that other runtimes score with."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch.export import ExportedProgram

from hourglass._version import __version__
from hourglass.core.checkpoints import load_model
from hourglass.core.fitted import FittedModel
from hourglass.core.thresholds import Threshold
from hourglass.data.writing import replace_file
from hourglass.errors import missing_extra
from hourglass.interfaces.exporting.forms import RawForm, raw_form
from hourglass.interfaces.exporting.graph import OUTPUTS, Judge, traced, untranslatable
from hourglass.interfaces.exporting.parity import Run, compare
from hourglass.interfaces.learning import Listener
from hourglass.interfaces.operations import Outcome, model_path
from hourglass.interfaces.options import Export
from hourglass.interfaces.outputs import check_place

KEY = "hourglass"
"""Under which the file's own metadata hold one JSON document."""
_VERSION = 1
"""Of that document: a reader may refuse a higher one."""


def export(request: Export, listener: Listener | None = None) -> Outcome:
    """Write a model as an ONNX file, or as torch's own `.pt2`, after its scores were held against Python's."""
    check_place(request.output, tuple(_WRITERS), "--output", request.model)
    write = _WRITERS[suffix := Path(request.output).suffix.lower()]
    if suffix == ".onnx":
        _check_extra()
    model = load_model(model_path(request.model), "cpu")
    form = raw_form(model.format)
    limit = model.threshold(request.false_alarm_rate, request.threshold)
    document = described(model, form, limit, request)
    with _silence(), torch.no_grad():
        content, run = write(traced(Judge(model, form, limit)), document)
        parity = compare(model, form, limit, run)
    parity.check()
    replace_file(Path(request.output), lambda file: file.write(content))
    difference = {"rows": parity.rows, "score": parity.score, "reconstruction": parity.reconstruction}
    written = {"model": request.model, "output": request.output, "bytes": len(content), "difference": difference}
    notices = [limit.notice] if limit.notice else []
    return Outcome({**written, "metadata": document, "notices": notices}, model)


def _check_extra() -> None:
    """Refuse a file of ONNX before any work is done, where what makes and runs it is not installed."""
    try:
        for package in ("onnxruntime", "onnxscript"):
            import_module(package)
    except ImportError as fault:
        raise missing_extra("onnx", str(fault.name), "a file of ONNX") from fault


def described(model: FittedModel, form: RawForm, limit: Threshold, request: Export) -> dict[str, Any]:
    """What a reader must know to give the graph its numbers and to understand what comes back, as JSON values."""
    plan, calibration = model.experiment, model.calibration
    settings = plan.detection
    return {
        "version": _VERSION,
        "hourglass": __version__,
        "modality": plan.modality,
        "kind": plan.kind,
        "input": {"name": form.samples, "type": "float64", "shape": [form.samples, *form.sizes], "missing": "NaN"},
        "outputs": list(OUTPUTS),
        **form.described(),
        "scorers": [scorer.name for scorer in model.scorers],
        "threshold": limit.value,
        "rule": request.threshold or settings.threshold,
        "false_alarm_rate": request.false_alarm_rate or settings.false_alarm_rate,
        "reachable_rate": limit.reachable_rate,
        "calibration": {"scores": len(calibration.scores), "from": calibration.source},
    }


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keeps back what torch says of its own parts."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)


def _onnx(program: ExportedProgram, document: dict[str, Any]) -> tuple[bytes, Run]:
    """The bytes of an ONNX file, and what runs it."""
    import onnxruntime
    from onnxscript import opset18

    names = [document["input"]["name"]]
    # torch's own translation, log(sigmoid(x)), is -infinity from about -100 on
    own: dict[Callable[..., Any], Callable[..., Any]] = {
        torch.ops.aten.log_sigmoid.default: lambda x: opset18.Neg(opset18.Softplus(opset18.Neg(x)))
    }
    try:
        made: Any = torch.onnx.export(
            program, input_names=names, output_names=OUTPUTS, custom_translation_table=own, verbose=False
        )
    except Exception as fault:  # torch names no common class
        raise untranslatable(fault) from fault
    made.model.metadata_props[KEY] = json.dumps(document, ensure_ascii=False, allow_nan=False)
    content: bytes = made.model_proto.SerializeToString()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return content, lambda raw: list(session.run(None, {names[0]: raw}))


def _pt2(program: ExportedProgram, document: dict[str, Any]) -> tuple[bytes, Run]:
    """The bytes of torch's own file, and what runs it."""
    program.example_inputs = None  # torch would pickle them
    file = io.BytesIO()
    torch.export.save(program, file, extra_files={f"{KEY}.json": json.dumps(document, allow_nan=False)})
    content = file.getvalue()
    judge = torch.export.load(io.BytesIO(content)).module()
    return content, lambda raw: [output.numpy() for output in judge(torch.from_numpy(raw))]


_WRITERS: dict[str, Callable[[ExportedProgram, dict[str, Any]], tuple[bytes, Run]]] = {".onnx": _onnx, ".pt2": _pt2}


def export_lines(document: dict[str, Any]) -> list[str]:
    """What was written, in words."""
    given, apart = document["metadata"]["input"], document["difference"]
    worst = max(apart["score"], apart["reconstruction"])
    return [
        f"on {apart['rows']} fresh {given['name']} the graph differs from Python by at most {worst:.1g}",
        f"wrote {document['bytes'] / 2**20:.1f} MiB to {document['output']}: {' x '.join(map(str, given['shape']))}"
        f" float64 in, {', '.join(document['metadata']['outputs'])} out",
    ]
