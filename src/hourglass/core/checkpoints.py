"""One-file models: `NAME.safetensors` holds every tensor and, in its metadata, one JSON document. Loading runs no code.

Saving writes a temporary file in the same folder, syncs it, renames it once and syncs the folder: a kill at any moment
leaves the old model or the new one. Loading checks the checksum, every shape, and that every number is finite.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor
from torch.nn.modules.module import register_module_parameter_registration_hook

from hourglass.core.chunks import single_precision
from hourglass.core.fitted import CALIBRATED_ON, Calibration, FittedModel
from hourglass.core.heads import Head
from hourglass.core.kinds import Experiment, build, choose_device
from hourglass.core.priors import FittedPrior
from hourglass.core.scores import Combination, scorer_named
from hourglass.core.training import History, Snapshot, under
from hourglass.data.audio import AudioFormat
from hourglass.data.formats import Format
from hourglass.data.images import ImageFormat
from hourglass.data.opening import RIGHTS
from hourglass.data.samples import Packed
from hourglass.data.series import SeriesFormat
from hourglass.data.tables import TableFormat
from hourglass.data.temporary import remove_unfinished
from hourglass.data.writing import replace_file
from hourglass.errors import HourglassError, ModelFileError, UsageError

FORMAT_VERSION = 1
FORMATS: dict[str, type[Format]] = {
    each.modality: each for each in (TableFormat, SeriesFormat, ImageFormat, AudioFormat)
}
_MOST_BYTES = 4 * 2**30
_KEY = "hourglass"
_AGAIN = "fit the model again, or take it from a copy"
_FLOATS = {torch.float16, torch.bfloat16, torch.float32, torch.float64}
_WHOLE = {torch.uint8, torch.int32, torch.int64, torch.bool}
_LARGEST_SAMPLE = 2**26
_MORE, _FEW = 4, 2**16
"""A document may ask for so many times the weights that the file holds, and so many more, for parts made on the way."""
_SELDOM = 20
"""Times as long as writing a training took that pass until the next writing."""


def save_model(model: FittedModel, path: str | Path) -> Path:
    """Write a fitted model to one file, atomically; `.safetensors` is added where the name has no suffix."""
    path = Path(path)
    if path.suffix not in ("", ".safetensors"):
        raise UsageError(
            f"got the model name {path.name!r}",
            how=f"models end in .safetensors: {path.with_suffix('.safetensors').name}",
        )
    path = path.with_suffix(".safetensors")
    _replace(path, model_bytes(model))
    return path


def model_bytes(model: FittedModel) -> bytes:
    """The content of a model's file. Raises `ModelFileError` where a number in it is not finite."""
    return _as_bytes(*_describe(model))


def load_model(path: str | Path, device: str = "auto") -> FittedModel:
    """Read a fitted model. Raises `ModelFileError` where the file is damaged, edited, or from a newer Hourglass."""
    return model_from_bytes(_bytes_of(Path(path)), device, str(path))


def model_from_bytes(content: bytes, device: str = "auto", where: str = "the model") -> FittedModel:
    """The fitted model that `model_bytes` described."""
    document, tensors = _parsed(content, where)
    chosen = choose_device(device)
    try:
        with _no_larger_than(_MORE * sum(tensor.numel() for tensor in tensors.values()) + _FEW):
            return _restore(document, tensors, chosen)
    except ModelFileError as fault:
        raise ModelFileError(fault.what, where=where, how=fault.how or _AGAIN) from None
    except (LookupError, TypeError, ValueError, RuntimeError, ArithmeticError, AttributeError, MemoryError) as fault:
        detail = fault.what if isinstance(fault, HourglassError) else f"{type(fault).__name__}: {fault}".splitlines()[0]
        raise ModelFileError(f"the model does not fit together ({detail})", where=where, how=_AGAIN) from None


def read_document(path: str | Path) -> dict[str, Any]:
    """The JSON document of a model file, after its checksum held; the network is not built."""
    return _parsed(_bytes_of(Path(path)), str(path))[0]


def training_place(model: str | Path) -> Path:
    """Where the training of the model that goes to this path, with or without suffix, is kept until it is done."""
    return Path(model).with_suffix(".resume.safetensors")


@final
class TrainingFile:
    """Keeps a training in a file of its own, so that one that was cut off goes on to the same bits.

    It is written when an epoch ends, and so seldom that this takes at most a twentieth of the time. One that cannot be
    written stops no training. `identity` is what must be the same for it to go on, as JSON values.
    """

    def __init__(self, path: Path, resume: bool, identity: Mapping[str, Any], pause: float = 1.0) -> None:
        self.path, self.identity = path, json.loads(json.dumps(identity))
        self.found = self._read() if resume and path.exists() else None
        self._pause, self._last, self._cost = pause, -math.inf, 0.0
        remove_unfinished(path)

    def keep(self, snapshot: Callable[[], Snapshot]) -> list[str]:
        """Write a snapshot where one is due; gives what to say where that failed, once."""
        start = time.monotonic()
        if start - self._last < self._pause * max(1.0, _SELDOM * self._cost):
            return []
        try:
            self._write(snapshot())
        except HourglassError as fault:
            self._pause = math.inf
            return [f"the training cannot be resumed should it be cut off: {fault.where}: {fault.what}"]
        self._last = time.monotonic()
        self._cost = self._last - start
        return []

    def _write(self, snapshot: Snapshot) -> None:
        document = {"format_version": FORMAT_VERSION, "training": snapshot.facts, **self.identity}
        _replace(self.path, _as_bytes(document, snapshot.tensors))

    def _read(self) -> Snapshot:
        where = str(self.path)
        document, tensors = _parsed(_bytes_of(self.path), where)
        if "training" not in document:
            raise ModelFileError("this is a model, wanted a training that was cut off", where=where, how=_AGAIN)
        for name, wanted in self.identity.items():
            if change := _first_change(document.get(name), wanted, name):
                how = "give the command as it was before, with --resume; or start anew, without it"
                raise UsageError(f"another training was cut off: {change}", where=where, how=how)
        return Snapshot(document["training"], tensors)


def _first_change(then: Any, now: Any, place: str) -> str:
    """The first place where two JSON values differ, and what stood there; "" where they do not."""
    if isinstance(then, dict) and isinstance(now, dict):
        changes = (_first_change(then.get(name), now.get(name), f"{place}.{name}") for name in sorted({*then, *now}))
        return next(filter(None, changes), "")
    return "" if then == now else f"{place} was {then!r:.80} then and is {now!r:.80} now"


def _replace(path: Path, content: bytes) -> None:
    replace_file(path, lambda file: file.write(content), need=len(content))


def _as_bytes(document: dict[str, Any], tensors: Mapping[str, Tensor]) -> bytes:
    """The content of a file that holds a document and tensors, every number of which is finite."""
    alone = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    _check_finite(alone)
    told = {**document, "shapes": _shapes(alone)}
    text = json.dumps(told, ensure_ascii=False, allow_nan=False, sort_keys=True)
    return _in_order(save(alone, {_KEY: text, "sha256": _checksum(text, alone)}))


def _in_order(content: bytes) -> bytes:
    """A safetensors file with its metadata sorted, which come in random order: the same model is the same bytes."""
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # tensors are aligned
    return len(text).to_bytes(8, "little") + text + content[start:]


def _describe(model: FittedModel) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """A model as a JSON document and named tensors."""
    document = {
        "format_version": FORMAT_VERSION,
        "experiment": model.experiment.as_json(),
        "format": model.format.document(),
        "scorers": [scorer.name for scorer in model.scorers],
        "calibrated_on": model.calibration.source,
        "calibration_block": model.calibration.block,
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
    return document, tensors


def _restore(document: dict[str, Any], tensors: dict[str, Tensor], device: torch.device) -> FittedModel:
    if "training" in document:
        how = "go on with it by the command that began it, and --resume"
        raise ModelFileError("this is a training that was cut off, not yet a model", how=how)
    experiment = Experiment.from_json(document["experiment"])
    form = FORMATS[experiment.modality].restore(document["format"], under("format.", tensors))
    if form.layout.size > _LARGEST_SAMPLE:
        raise ModelFileError(f"its samples would have {form.layout.size:,} numbers each")
    with single_precision(), torch.random.fork_rng(devices=[]):
        network = build(experiment, form.layout)
    network.load_state_dict(under("network.", tensors))
    network.to(device).eval()
    scorers = [scorer_named(name)(under(f"scorer.{name}.", tensors)) for name in document["scorers"]]
    numbers = {name: tensor.numpy() for name, tensor in under("calibration.", tensors).items()}
    centre, spread, scores = (numbers[name] for name in ("centre", "spread", "scores"))
    block = document.get("calibration_block", 1)  # models saved before blocks were have none
    fit = centre.shape == spread.shape == (len(scorers),) and scores.ndim == 1 and len(scores)
    if document["calibrated_on"] not in CALIBRATED_ON or not fit or not isinstance(block, int) or block < 1:
        raise ModelFileError("its calibration does not fit its scorers")
    if not isinstance(document["card"].get("features"), int | None):
        raise ModelFileError("its card does not say how many features it has")
    model = FittedModel(
        experiment, form, network, scorers, Combination(centre, spread),
        Calibration(scores, document["calibrated_on"], block), History(**document["history"]), dict(document["card"]),
    )  # fmt: skip
    if document.get("head") is not None:
        model.head = Head.restore(document["head"], under("head.", tensors), network)
        model.head_outputs(np.zeros((1, *form.layout.shape), dtype=np.float32))
    if learned := under("prior.", tensors):
        model.prior = FittedPrior.restore(experiment.prior, learned, model.latent_size)
    model.score(Packed(np.zeros((1, *form.layout.shape), dtype=np.float32)))  # a part that does not fit fails here
    return model


@contextlib.contextmanager
def _no_larger_than(numbers: int) -> Iterator[None]:
    """Refuse parts with more weights than so many in all, before memory is filled for them."""
    left, here = numbers, threading.get_ident()

    def count(module: object, name: str, weight: Tensor | None) -> None:
        nonlocal left
        if weight is not None and threading.get_ident() == here:
            left -= weight.numel()
        if left < 0:
            raise ModelFileError("its document asks for a network of more weights than it holds")

    hook = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        hook.remove()


def _parsed(content: bytes, where: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Document and tensors of a model file, after its checksum held and every number was found finite."""
    try:
        length = int.from_bytes(content[:8], "little")
        metadata = _json(content[8 : 8 + length])["__metadata__"]
        text, checksum = metadata[_KEY], metadata["sha256"]
        tensors = load(content)
        document, found = _json(text), _checksum(text, tensors)
    except (SafetensorError, ValueError, KeyError, TypeError, RecursionError):
        how = "give a .safetensors file that `hourglass fit` wrote"
        raise ModelFileError("this is not a Hourglass model, or it is damaged", where=where, how=how) from None
    _check_version(document, where)
    if found != checksum:
        raise ModelFileError("the checksum does not hold: the file was damaged or edited", where=where, how=_AGAIN)
    if document.get("shapes") != _shapes(tensors):
        raise ModelFileError("its tensors are not those that its table of shapes names", where=where, how=_AGAIN)
    _check_finite(tensors, where)
    return document, tensors


def _json(text: str | bytes) -> Any:
    """JSON that names nothing twice and holds no NaN; `ValueError` for any other."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            raise ValueError("a name stands twice in one object")
        return found

    def finite(constant: str) -> None:
        raise ValueError(f"{constant} is no number")

    return json.loads(text, object_pairs_hook=once, parse_constant=finite)


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
            what = "the file is larger than any model that Hourglass writes (4 GiB)"
            raise ModelFileError(what, where=str(path), how=_AGAIN)
        return path.read_bytes()
    except OSError as fault:
        raise ModelFileError(f"could not be read: {fault.strerror}", where=str(path), how=RIGHTS) from None


def _check_finite(tensors: Mapping[str, Tensor], where: str = "the model") -> None:
    for name, tensor in tensors.items():
        if tensor.dtype not in _FLOATS | _WHOLE:
            raise ModelFileError(f"it has numbers of a type that no model has in {name}", where=where, how=_AGAIN)
        if tensor.dtype in _FLOATS and not bool(torch.isfinite(tensor).all()):
            raise ModelFileError(f"it has numbers that are not finite in {name}", where=where, how=_AGAIN)


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, list[Any]]:
    return {name: [str(tensor.dtype).removeprefix("torch."), *tensor.shape] for name, tensor in sorted(tensors.items())}


def _checksum(text: str, tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
