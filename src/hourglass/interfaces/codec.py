"""Data as a model's codes, rounded and entropy-coded, and back: between the data and a `.hgz` file's content.

    data -> pack -> encode -> Rounding -> whole numbers -> Container
    Container -> whole numbers -> codes -> decode -> unpack -> data, in the form that they had

What is missing comes back missing; all else comes back as the model's reconstruction.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from hourglass.core.chunks import in_chunks
from hourglass.core.compression import LEVELS, Rounding, learn_rounding, sensitivity
from hourglass.core.fitted import FittedModel
from hourglass.data.formats import Data, Result
from hourglass.data.limits import check_size
from hourglass.data.samples import Packed
from hourglass.errors import HourglassError, UsageError
from hourglass.interfaces.coding import Reader, decode_symbols, encode_symbols, number_bytes
from hourglass.interfaces.container import Container, damaged
from hourglass.interfaces.differences import Target, relative_error, unit_error, words_changed
from hourglass.interfaces.places import packed_apart, places_from_sections, places_sections

_TRIED = 2_048
"""Samples by which a step is chosen."""
_MOST_TURNED = 512
"""Numbers in a code up to which its directions may be turned: what they take grows with the square."""
_STEPS = (1e-4, 1e3)
_HALVINGS = 16
_CLOSER = 0.998
TYPES = ("uint8", "uint16", "int8", "int16", "int32", "int64", "float32", "float64")
"""Types of numbers that an array may be given back in."""


@dataclass(frozen=True)
class Compressed:
    """Data as the content of a `.hgz` file, and what that took and cost."""

    content: bytes
    sections: dict[str, int]
    """Bytes of each section."""
    samples: int
    step: float
    """How far a whole step moves a sample's reconstruction: the root of the summed squares, on the packed scale."""
    error: dict[str, float | None]
    notices: list[str]


@dataclass(frozen=True)
class _Subject:
    """What is to be compressed, and the model's part in it."""

    model: FittedModel
    packed: Packed
    codes: np.ndarray
    dtype: str
    """The type that an array is given back in; empty where it is no array."""

    @classmethod
    def of(cls, model: FittedModel, data: Data, dtype: str) -> _Subject:
        packed = packed_apart(model.format, data)
        return cls(model, packed, in_chunks(model.network.encode, packed.samples, model.network.device), dtype)

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Packed samples that codes stand for."""
        return in_chunks(self.model.network.decode, codes, self.model.network.device)

    def some(self, most: int) -> _Subject:
        """The same with at most so many samples, evenly apart, by themselves."""
        chosen = np.unique(np.linspace(0, len(self.codes) - 1, min(most, len(self.codes))).astype(int))
        return _Subject(self.model, Packed(self.packed.samples[chosen]), self.codes[chosen], self.dtype)

    def error(self, given_back: np.ndarray, relative: bool) -> float:
        """Mean squared error of packed samples given back, as a share of the variance or in squared units."""
        if relative:
            return relative_error(self.model.format, self.packed.samples, given_back)
        error = unit_error(*(self.in_units(samples) for samples in (self.packed.samples, given_back)))
        return 0.0 if error is None else error

    def in_units(self, samples: np.ndarray) -> Result:
        """Packed samples in the units and the form of the data; what was missing is missing."""
        known = np.where(np.isnan(self.packed.samples), np.nan, samples)
        return as_type(self.model.format.unpack(known.astype(np.float32), self.packed.places), self.dtype)


def compress_data(
    model: FittedModel,
    checksum: str,
    data: Data,
    *,
    target: Target | None = None,
    step: float | None = None,
    form: dict[str, Any] | None = None,
) -> Compressed:
    """Compress `data` with a model whose file has the SHA-256 `checksum`.

    The rounding's `step` is as given, or the longest that keeps the error at the `target`, or at what the model itself
    errs and a tenth more (at least a thousandth of the variance). Of the two ways to turn codes, along their own
    numbers and along their principal axes, the one is taken that makes fewer bytes. `form`: words kept for `restore`.
    """
    subject = _Subject.of(model, data, (form or {}).get("dtype", ""))
    metric = sensitivity(subject.decode, subject.codes)
    ways = [False, True] if 1 < model.latent_size <= _MOST_TURNED else [False]
    roundings = [learn_rounding(subject.codes, metric, turned) for turned in ways]
    wanted = target or _default_target(subject)
    tried = [_written(subject, each, checksum, step, wanted, form or {}) for each in roundings]
    return min(tried, key=lambda compressed: len(compressed.content))


def _default_target(subject: _Subject) -> Target:
    own = subject.error(subject.decode(subject.codes), relative=True)
    return Target(own + max(own / 10, 1e-3), relative=True)


def _written(
    subject: _Subject, rounding: Rounding, checksum: str, step: float | None, target: Target, form: dict[str, Any]
) -> Compressed:
    """The file with the rounding's step as given, or as long as the target allows."""
    chosen, closer = step or _longest_step(subject, rounding, target), _CLOSER
    while True:
        container = _container(subject, rounding.with_step(chosen), checksum, form)
        given_back = samples_of(container, subject.model, "the compressed data")
        if step or subject.error(given_back, target.relative) <= target.value:
            break
        chosen, closer = chosen * closer, closer**2  # some of the samples were better than all
    sizes = {name: len(section) for name, section in container.sections.items()}
    notices = subject.packed.notices
    error = _errors(subject, given_back)
    return Compressed(container.to_bytes(), sizes, len(subject.codes), chosen, error, notices)


def _longest_step(subject: _Subject, rounding: Rounding, target: Target) -> float:
    own = subject.error(subject.decode(subject.codes), target.relative)
    if own >= target.value:
        reached = Target(own, target.relative)
        how = "allow a larger error, or fit a model with more numbers in its code (--latent)"
        raise UsageError(f"got {target}, but the model alone errs by {reached}", where="--error", how=how)
    short, long = _STEPS
    some = subject.some(_TRIED)
    for _ in range(_HALVINGS):
        middle = math.sqrt(short * long)
        tried = rounding.with_step(middle)
        error = some.error(some.decode(tried.codes(tried.whole(some.codes))), target.relative)
        short, long = (middle, long) if error <= target.value else (short, middle)
    return short


def _errors(subject: _Subject, given_back: np.ndarray) -> dict[str, float | None]:
    """The error of what is given back, and of the model alone."""
    original, result = subject.in_units(subject.packed.samples), subject.in_units(given_back)
    own = subject.decode(subject.codes)
    return {
        "mean_squared": unit_error(original, result),
        "relative": subject.error(given_back, relative=True),
        "words_changed": words_changed(original, result),
        "model_mean_squared": unit_error(original, subject.in_units(own)),
        "model_relative": subject.error(own, relative=True),
    }


def _container(subject: _Subject, rounding: Rounding, checksum: str, form: dict[str, Any]) -> Container:
    whole = rounding.whole(subject.codes)
    used = np.flatnonzero(whole.any(axis=0)) if rounding.turned else np.arange(whole.shape[1])
    facts, sections = places_sections(subject.packed.places)
    sections |= {"rounding": _rounding_bytes(rounding.along(used)), "codes": encode_symbols(whole[:, used])}
    missing = np.isnan(subject.packed.samples.reshape(len(whole), -1))
    if missing.any():
        sections["missing"] = _mask_bytes(missing)
    return Container({"model": checksum, "samples": len(whole), **facts, **form}, sections)


def samples_of(container: Container, model: FittedModel, where: str) -> np.ndarray:
    """The packed samples that a file stands for, NaN where they are missing."""
    try:
        count, sections = int(container.header["samples"]), container.sections
        check_size(4 * count * model.format.layout.size, sum(map(len, sections.values())), where)
        rounding = _rounding_from(sections["rounding"], model.latent_size, where)
        whole = decode_symbols(sections["codes"], where)
        if whole.shape != (count, len(rounding.column_octaves)):
            raise damaged(where)
        codes = rounding.codes(whole)
        if not np.isfinite(codes).all():
            raise damaged(where)
        samples = in_chunks(model.network.decode, codes, model.network.device)
        return _with_missing(samples, sections.get("missing"), where)
    except (LookupError, TypeError, ValueError) as error:
        if isinstance(error, HourglassError):
            raise
        raise damaged(where) from None


def restore(container: Container, model: FittedModel, where: str) -> Result:
    """The data that a file stands for, in the form and the units that they had."""
    samples = samples_of(container, model, where)
    places = places_from_sections(container.header, container.sections, samples, model.format, where)
    result = model.format.unpack(samples, places)
    return as_type(result, str(container.header.get("dtype", "")))


def as_type(values: Result, name: str) -> Result:
    """An array as the type that the data had; whole numbers are rounded, and held inside its range."""
    if not isinstance(values, np.ndarray) or name not in TYPES:
        return values
    kind = np.dtype(name)
    if kind.kind in "iu" and not np.isnan(values).any():
        limits = np.iinfo(kind)
        return np.clip(np.rint(values), limits.min, limits.max).astype(kind)
    return values.astype(kind) if kind.kind == "f" else values


def _rounding_bytes(rounding: Rounding) -> bytes:
    """Three bytes a number of the centre, two a length; where codes are turned, rows and levels."""
    centre = rounding.centre.astype("<f4").view("u1").reshape(-1, 4)[:, 1:].tobytes()
    head = number_bytes([len(rounding.column_octaves)]) + centre + rounding.column_octaves.astype("<i2").tobytes()
    if not rounding.turned:
        return head
    return head + rounding.row_octaves.astype("<i2").tobytes() + encode_symbols(rounding.levels.astype(np.int64))


def _rounding_from(content: bytes, latent: int, where: str) -> Rounding:
    """`_rounding_bytes` undone."""
    reader = Reader(content, where)
    (directions,) = reader.numbers(1)
    centre = np.zeros((latent, 4), dtype=np.uint8)
    centre[:, 1:] = np.frombuffer(reader.take(3 * latent), np.uint8).reshape(-1, 3)
    columns = np.frombuffer(reader.take(2 * directions), "<i2")
    rows, levels = np.zeros(latent, dtype=np.int16), np.eye(latent, dtype=np.int64)
    if rest := reader.rest():
        reader = Reader(rest, where)
        rows = np.frombuffer(reader.take(2 * latent), "<i2")
        levels = decode_symbols(reader.rest(), where)
    if levels.shape != (latent, directions) or np.abs(levels).max(initial=0) > LEVELS:
        raise damaged(where)
    return Rounding(centre.view("<f4")[:, 0], rows, levels.astype(np.int8), columns)


def _mask_bytes(missing: np.ndarray) -> bytes:
    """Where numbers are missing: the columns where any is, then those columns' marks."""
    columns = np.flatnonzero(missing.any(axis=0))
    steps = np.diff(columns, prepend=0).tolist()
    return number_bytes([len(columns), *steps]) + encode_symbols(missing[:, columns].astype(np.int64))


def _with_missing(samples: np.ndarray, mask: bytes | None, where: str) -> np.ndarray:
    if mask is None:
        return samples
    reader = Reader(mask, where)
    (count,) = reader.numbers(1)
    columns = np.cumsum(reader.numbers(min(count, len(mask))))
    marks = decode_symbols(reader.rest(), where)
    flat = samples.reshape(len(samples), -1)
    if marks.shape != (len(samples), len(columns)) or columns.max(initial=0) >= flat.shape[1]:
        raise damaged(where)
    flat[:, columns] = np.where(marks == 1, np.nan, flat[:, columns])
    return flat.reshape(samples.shape)
