"""`hourglass compress` and `decompress`, and what a compressed file took and cost in words."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from safetensors import safe_open

from hourglass.core.checkpoints import load_model
from hourglass.core.fitted import FittedModel
from hourglass.core.fitting import versions
from hourglass.data.files import read
from hourglass.data.formats import Data
from hourglass.data.images import ImageFormat
from hourglass.data.samples import Frame, Pictures, unique_notices
from hourglass.data.series import SeriesFormat
from hourglass.data.writing import replace_file
from hourglass.errors import SchemaError, UsageError
from hourglass.interfaces.codec import TYPES, Compressed, compress_data, restore
from hourglass.interfaces.container import read_container
from hourglass.interfaces.differences import Target
from hourglass.interfaces.learning import Listener
from hourglass.interfaces.operations import Outcome, model_path
from hourglass.interfaces.options import Compress, Decompress
from hourglass.interfaces.outputs import VALUES, check_place, write_values
from hourglass.interfaces.pictures import for_place, shape_of
from hourglass.interfaces.words import share_words

HGZ = (".hgz",)


def compress(request: Compress, listener: Listener | None = None) -> Outcome:
    """Write data as a model's rounded, entropy-coded codes; says what that took and cost."""
    check_place(request.output, HGZ, "--output", request.data, request.model)
    if request.error is not None and request.step is not None:
        raise UsageError("got --error and --step, wanted one of them", how="an error sets the step")
    target = None if request.error is None else Target.parse(request.error)
    path = model_path(request.model)
    model, data = load_model(path, request.device or "auto"), read(request.data)
    made = compress_data(
        model, _checksum_of(path), data, target=target, step=request.step, form=_form(model, data, request.data)
    )
    replace_file(Path(request.output), lambda file: file.write(made.content))
    given = () if isinstance(data, np.ndarray) else data.notices
    notices = unique_notices([*given, *made.notices, *_left_out(model, data)])
    document = {"output": request.output, "model": request.model, **_figures(made, request.data, model.latent_size)}
    return Outcome(document | {"notices": notices, "versions": versions()}, model)


def decompress(request: Decompress, listener: Listener | None = None) -> Outcome:
    """Write the data that a compressed file stands for, by the model that it was compressed with."""
    check_place(request.output, VALUES, "--output", request.file, request.model)
    container, path = read_container(request.file), model_path(request.model)
    model = load_model(path, request.device or "auto")
    if container.header.get("model") != _checksum_of(path):
        wanted = str(container.header.get("model"))[:12]
        what = f"the file was made with another model: its SHA-256 begins with {wanted}, this one's with "
        how = "give the model file that `hourglass compress` was given"
        raise SchemaError(what + _checksum_of(path)[:12], where=request.file, how=how)
    result = restore(container, model, request.file)
    order = container.header.get("columns")
    if isinstance(result, pa.Table) and order is not None and sorted(order) == sorted(result.column_names):
        result = result.select(order)
    values = for_place(result, model, request.output)
    write_values(values, request.output, order)
    document = {"file": request.file, "model": request.model, "output": request.output, "shape": shape_of(values)}
    return Outcome(document | {"notices": [], "versions": versions()}, model)


def compress_lines(document: dict[str, Any]) -> list[str]:
    """What a compressed file took, and what it cost."""
    error = document["error"]
    each = f"{document['bytes'] / document['samples']:.4g} a sample"
    size = f"{document['samples']:,} samples in {document['bytes']:,} bytes ({each})"
    ratio = f"{document['ratio']:.3g} times smaller than the data, {document['gzip_ratio']:.3g} times than their gzip"
    lines = [f"{size}: {ratio}"]
    if error["mean_squared"] is not None:
        own = f"of the model alone {error['model_mean_squared']:.4g}, {share_words(error['model_relative'])}"
        share = f"{share_words(error['relative'])} of the variance"
        lines.append(f"mean squared error {error['mean_squared']:.4g}, {share} ({own})")
    if error["words_changed"] is not None:
        lines.append(f"{share_words(error['words_changed'])} of words and flags come back as others")
    return lines


def _figures(made: Compressed, source: str, latent: int) -> dict[str, Any]:
    """Bytes and errors as JSON values; the source may be FILE.npz:NAME."""
    raw, deflated = _raw_bytes(Path(source if Path(source).exists() else source.rpartition(":")[0]))
    return {
        "samples": made.samples,
        "latent": latent,
        "step": made.step,
        "bytes": len(made.content),
        "sections": made.sections,
        "input_bytes": raw,
        "gzip_bytes": deflated,
        "ratio": raw / len(made.content),
        "gzip_ratio": deflated / len(made.content),
        "error": made.error,
    }


def _raw_bytes(source: Path) -> tuple[int, int]:
    """Bytes of the data as they were given, unpacked where they were a .gz file, and what gzip makes of them."""
    files = sorted(file for file in source.rglob("*") if file.is_file()) if source.is_dir() else [source]
    raw, deflator, deflated = 0, zlib.compressobj(9, wbits=31), 0
    for file in files:
        with (gzip.open if file.suffix == ".gz" else open)(file, "rb") as handle:
            while piece := handle.read(1 << 20):
                raw, deflated = raw + len(piece), deflated + len(deflator.compress(piece))
    return raw, deflated + len(deflator.flush())


def _form(model: FittedModel, data: Data, source: str) -> dict[str, Any]:
    """What the model does not know of the data's form: the order of the columns, the type of an array."""
    form: dict[str, Any] = {}
    dtype = _array_type(data, source)
    if dtype in TYPES:
        form["dtype"] = dtype
    if isinstance(data, Frame):
        used = set(model.format.cell_names()) | _times_of(model)
        columns = [name for name in data.table.column_names if name in used] or data.table.column_names
        usual = [f"x{place}" for place in range(len(columns))]
        form |= {} if columns in (usual, list(model.format.cell_names())) else {"columns": columns}
    return form


def _array_type(data: Data, source: str) -> str | None:
    if source.lower().endswith(".npy"):
        return str(np.load(source, mmap_mode="r", allow_pickle=False).dtype)
    return str(data.dtype) if isinstance(data, np.ndarray) else None


def _left_out(model: FittedModel, data: Data) -> list[str]:
    """What a compressed file does not hold of the data, in a sentence."""
    if isinstance(data, np.ndarray) or (isinstance(data, Frame) and data.unnamed):
        return []
    used = {"name"} if isinstance(data, Pictures) else _used(model) | _times_of(model)
    lost = [name for name in data.table.column_names if name not in used]
    return [f"not stored, since the model does not know them: {', '.join(lost[:8])}"] if lost else []


def _used(model: FittedModel) -> set[str]:
    form = model.format
    if isinstance(form, SeriesFormat):
        return set(form.schema.columns or form.schema.channels)
    return set(form.form.columns if isinstance(form, ImageFormat) else form.cell_names())


def _times_of(model: FittedModel) -> set[str]:
    time = model.format.schema.time if isinstance(model.format, SeriesFormat) else None
    return set() if time is None else {time}


def _checksum_of(path: str) -> str:
    """The SHA-256 that a model file names; that it holds was checked when the model was loaded."""
    with safe_open(path, framework="np") as file:
        return str(file.metadata()["sha256"])
