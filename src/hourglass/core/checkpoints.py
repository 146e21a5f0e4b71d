"""One-file models: `NAME.safetensors` holds every tensor and, in its metadata, one JSON document. Loading runs no code.

Saving writes a temporary file in the same folder, syncs it, renames it once and syncs the folder: a kill at any moment
leaves the old model or the new one. Loading checks the checksum, every shape, and that every number is finite.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from hourglass.core.chunks import single_precision
from hourglass.core.fitted import CALIBRATED_ON, Calibration, FittedModel
from hourglass.core.heads import Head
from hourglass.core.kinds import Experiment, build, choose_device
from hourglass.core.priors import FittedPrior
from hourglass.core.scores import Combination, scorer_named
from hourglass.core.training import History
from hourglass.data.audio import AudioFormat
from hourglass.data.formats import Format
from hourglass.data.images import ImageFormat
from hourglass.data.samples import Packed
from hourglass.data.series import SeriesFormat
from hourglass.data.tables import TableFormat
from hourglass.data.writing import replace_file
from hourglass.errors import HourglassError, ModelFileError, UsageError

FORMAT_VERSION = 1
FORMATS: dict[str, type[Format]] = {
    each.modality: each for each in (TableFormat, SeriesFormat, ImageFormat, AudioFormat)
}
_MOST_BYTES = 4 * 2**30
_KEY = "hourglass"
_AGAIN = "fit the model again, or take it from a copy"


def save_model(model: FittedModel, path: str | Path) -> Path:
    """Write a fitted model to one file, atomically; `.safetensors` is added where the name has no suffix."""
    path = Path(path)
    if path.suffix not in ("", ".safetensors"):
        raise UsageError(
            f"got the model name {path.name!r}",
            how=f"models end in .safetensors: {path.with_suffix('.safetensors').name}",
        )
    path = path.with_suffix(".safetensors")
    content = model_bytes(model)
    replace_file(path, lambda file: file.write(content))
    return path


def model_bytes(model: FittedModel) -> bytes:
    """The content of a model's file. Raises `ModelFileError` where a number in it is not finite."""
    document, tensors = _describe(model)
    _check_finite(tensors)
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, sort_keys=True)
    return save(tensors, {_KEY: text, "sha256": _checksum(text, tensors)})


def load_model(path: str | Path, device: str = "auto") -> FittedModel:
    """Read a fitted model. Raises `ModelFileError` where the file is damaged, edited, or from a newer Hourglass."""
    return model_from_bytes(_bytes_of(Path(path)), device, str(path))


def model_from_bytes(content: bytes, device: str = "auto", where: str = "the model") -> FittedModel:
    """The fitted model that `model_bytes` described."""
    document, tensors = _parsed(content, where)
    chosen = choose_device(device)
    try:
        return _restore(document, tensors, chosen)
    except ModelFileError as fault:
        raise ModelFileError(fault.what, where=where, how=fault.how or _AGAIN) from None
    except (LookupError, TypeError, ValueError, RuntimeError, ArithmeticError, AttributeError, MemoryError) as fault:
        detail = fault.what if isinstance(fault, HourglassError) else f"{type(fault).__name__}: {fault}".splitlines()[0]
        raise ModelFileError(f"the model does not fit together ({detail})", where=where, how=_AGAIN) from None


def read_document(path: str | Path) -> dict[str, Any]:
    """The JSON document of a model file, after its checksum held; the network is not built."""
    return _parsed(_bytes_of(Path(path)), str(path))[0]


def _describe(model: FittedModel) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """A model as a JSON document and named tensors."""
    document = {
        "format_version": FORMAT_VERSION,
        "experiment": model.experiment.as_json(),
        "format": model.format.document(),
        "scorers": [scorer.name for scorer in model.scorers],
        "calibrated_on": model.calibration.source,
        "history": model.history.as_json(),
        "card": model.card,
    }
    tensors = {f"network.{name}": tensor for name, tensor in model.network.state_dict().items()}
    tensors |= {f"format.{name}": tensor for name, tensor in model.format.tensors().items()}
    if model.head is not None:
        document["head"] = model.head.document()
        tensors |= {f"head.{name}": tensor for name, tensor in model.head.state_dict().items()}
    if model.prior is not None:
        tensors |= {f"prior.{name}": tensor for name, tensor in model.prior.tensors().items()}
    for scorer in model.scorers:
        tensors |= {f"scorer.{scorer.name}.{name}": tensor for name, tensor in scorer.state.items()}
    for name, array in (
        ("scores", model.calibration.scores),
        ("centre", model.combination.centre),
        ("spread", model.combination.spread),
    ):
        tensors[f"calibration.{name}"] = torch.from_numpy(np.ascontiguousarray(array, dtype=np.float64))
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    document["shapes"] = _shapes(tensors)
    return document, tensors


def _restore(document: dict[str, Any], tensors: dict[str, Tensor], device: torch.device) -> FittedModel:
    experiment = Experiment.from_json(document["experiment"])
    form = FORMATS[experiment.modality].restore(document["format"], _under("format.", tensors))
    with single_precision(), torch.random.fork_rng(devices=[]):
        network = build(experiment, form.layout)
    network.load_state_dict(_under("network.", tensors))
    network.to(device).eval()
    scorers = [scorer_named(name)(_under(f"scorer.{name}.", tensors)) for name in document["scorers"]]
    numbers = {name: tensor.numpy() for name, tensor in _under("calibration.", tensors).items()}
    centre, spread, scores = (numbers[name] for name in ("centre", "spread", "scores"))
    fit = centre.shape == spread.shape == (len(scorers),) and scores.ndim == 1 and len(scores)
    if document["calibrated_on"] not in CALIBRATED_ON or not fit:
        raise ModelFileError("its calibration does not fit its scorers")
    if not isinstance(document["card"].get("features"), int | None):
        raise ModelFileError("its card does not say how many features it has")
    model = FittedModel(
        experiment, form, network, scorers, Combination(centre, spread),
        Calibration(scores, document["calibrated_on"]), History(**document["history"]), dict(document["card"]),
    )  # fmt: skip
    if document.get("head") is not None:
        model.head = Head.restore(document["head"], _under("head.", tensors), network)
        model.head_outputs(np.zeros((1, *form.layout.shape), dtype=np.float32))
    if learned := _under("prior.", tensors):
        model.prior = FittedPrior.restore(experiment.prior, learned, model.latent_size)
    model.score(Packed(np.zeros((1, *form.layout.shape), dtype=np.float32)))  # a part that does not fit fails here
    return model


def _parsed(content: bytes, where: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Document and tensors of a model file, after its checksum held and every number was found finite."""
    try:
        length = int.from_bytes(content[:8], "little")
        metadata = json.loads(content[8 : 8 + length])["__metadata__"]
        text, checksum = metadata[_KEY], metadata["sha256"]
        tensors = load(content)
        document = json.loads(text)
    except (SafetensorError, ValueError, KeyError, TypeError, RecursionError):
        how = "give a .safetensors file that `hourglass fit` wrote"
        raise ModelFileError("this is not a Hourglass model, or it is damaged", where=where, how=how) from None
    _check_version(document, where)
    if _checksum(text, tensors) != checksum:
        raise ModelFileError("the checksum does not hold: the file was damaged or edited", where=where, how=_AGAIN)
    if document.get("shapes") != _shapes(tensors):
        raise ModelFileError("its tensors are not those that its table of shapes names", where=where, how=_AGAIN)
    _check_finite(tensors, where)
    return document, tensors


def _check_version(document: Any, where: str) -> None:
    found = document.get("format_version") if isinstance(document, dict) else None
    if not isinstance(found, int):
        raise ModelFileError("the model names no file format", where=where, how=_AGAIN)
    if found > FORMAT_VERSION:
        how = "upgrade: pip install -U hourglass-autoencoder"
        raise ModelFileError(
            f"the model has file format {found}; this Hourglass reads up to {FORMAT_VERSION}", where=where, how=how
        )


def _bytes_of(path: Path) -> bytes:
    if not path.suffix and not path.exists():
        path = path.with_suffix(".safetensors")  # as `save_model` has it
    try:
        if not path.is_file():
            how = "name a file that `hourglass fit DATA -o NAME.safetensors` wrote"
            raise ModelFileError(
                "there is no such model file" if not path.exists() else "this is not a file", where=str(path), how=how
            )
        if path.stat().st_size > _MOST_BYTES:
            raise ModelFileError("the file is larger than any model that Hourglass writes (4 GiB)", where=str(path))
        return path.read_bytes()
    except OSError as fault:
        raise ModelFileError(f"could not be read: {fault.strerror}", where=str(path)) from None


def _check_finite(tensors: Mapping[str, Tensor], where: str = "the model") -> None:
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise ModelFileError(f"it has numbers that are not finite in {name}", where=where, how=_AGAIN)


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, list[Any]]:
    return {name: [str(tensor.dtype).removeprefix("torch."), *tensor.shape] for name, tensor in sorted(tensors.items())}


def _checksum(text: str, tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
