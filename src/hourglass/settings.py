"""Options as data: frozen dataclasses that can be printed, compared, checked, saved as JSON and set from text.

Every option of Hourglass is a field of a `Settings` class, made with `option(default, "what it does", ...)`.
Estimators, the command line, recipes and saved models read those fields, so an option is written once.
This module imports neither torch nor scikit-learn.

>>> Training(epochs=5).replace(batch_size="32").batch_size
32
>>> Training(epochs=0)
Traceback (most recent call last):
    ...
hourglass.errors.UsageError: training.epochs: got 0, wanted at least 1
hint: epochs: passes over the training rows (default: enough for so many `steps`)
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import json
import math
import re
import types
import typing
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from hourglass.errors import UsageError


def option(
    default: Any,
    doc: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
) -> Any:
    """A field with its default, its one-line explanation and its limits (`low` and `high` included)."""
    return dataclasses.field(default=default, metadata={"doc": doc, "low": low, "high": high, "choices": choices})


@dataclass(frozen=True)
class Settings:
    """Options that belong together; checked when made, never changed after."""

    name: ClassVar[str] = ""
    """The word for it in recipes, saved models and on the command line."""

    def __post_init__(self) -> None:
        types_of = _types_of(type(self))  # type: ignore[arg-type]  # mypy asks the class for its instances' hash
        for field in dataclasses.fields(self):
            value = _checked(type(self), field, types_of[field.name], getattr(self, field.name))
            object.__setattr__(self, field.name, value)

    def replace(self, **changes: Any) -> Self:
        """A copy with some options changed; an unknown name is refused with the nearest known one."""
        known = [field.name for field in dataclasses.fields(self)]
        for key in changes:
            if key not in known:
                slot = getattr(self, "slot", "") or "part"
                how = did_you_mean(key, known) if known else f"name another {slot} first, which has options"
                raise UsageError(f"{self.name or type(self).__name__} has no option {key!r}", how=how)
        return dataclasses.replace(self, **changes)

    def as_json(self) -> dict[str, Any]:
        """The options as plain JSON values; a part also carries its `name` under "is"."""
        document: dict[str, Any] = {"is": self.name} if isinstance(self, Part) else {}
        for field in dataclasses.fields(self):
            document[field.name] = _plain(getattr(self, field.name))
        return document


@dataclass(frozen=True)
class Part(Settings):
    """Options of one part of an autoencoder; `build` turns them into a function or module.

    Each direct subclass is a slot (`Corruption`, `Loss`, ...) with its own table of named parts. Naming a class there
    is what registers it, so a part from another package can be used, and loaded, once that package was imported.
    """

    slot: ClassVar[str] = ""
    table: ClassVar[dict[str, type[Part]]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if Part in cls.__bases__:
            cls.table = {}
        elif "name" in cls.__dict__:
            cls.table[cls.name] = cls

    @classmethod
    def named(cls, name: str) -> Self:
        """The part of this slot that is called `name`, with its default options."""
        if name not in cls.table:
            known = sorted(cls.table)
            raise UsageError(f"there is no {cls.slot} called {name!r}", how=did_you_mean(name, known))
        return typing.cast(Self, cls.table[name]())

    @classmethod
    def from_json(cls, document: Any) -> Self:
        """The part that `as_json` described; only parts already in the table can be named."""
        if isinstance(document, str):
            return cls.named(document)
        if not isinstance(document, dict) or not isinstance(document.get("is"), str):
            raise UsageError(
                f"got {document!r} for the {cls.slot}",
                how=f'give it as {{"is": NAME, ...}}, NAME one of {sorted(cls.table)}',
            )
        options = {key: value for key, value in document.items() if key != "is"}
        return cls.named(document["is"]).replace(**options)


@dataclass(frozen=True)
class Training(Settings):
    """How the network is trained."""

    name: ClassVar[str] = "training"

    epochs: int | None = option(None, "passes over the training rows (default: enough for so many `steps`)", low=1)
    batch_size: int | None = option(None, "rows a step (default: by the number of rows, 16 to 256)", low=1)
    steps: int = option(
        1_500, "steps that training takes at least, in 10 epochs or more, where `epochs` says nothing", low=1
    )
    learning_rate: float | None = option(
        None, "the largest step size of the schedule (default: 0.002; where a step has fewer than 4 rows, less)", low=0
    )
    schedule: str = option(
        "one-cycle", "how the step size moves over training", choices=("one-cycle", "cosine", "constant")
    )
    weight_decay: float = option(1e-4, "AdamW's pull of weights towards zero; 0 makes it Adam", low=0)
    gradient_clip: float | None = option(1.0, "largest gradient norm a step may have; none turns it off", low=0)
    validation: float = option(
        0.1, "share of the training rows held out to choose the best epoch and the threshold", low=0, high=0.5
    )
    patience: int | None = option(
        None,
        "epochs without improvement before stopping (default: a fifth of the epochs, at least 10; 0 never stops)",
        low=0,
    )
    contaminated: bool = option(
        False, "there are anomalies among the training rows: the tenth that is explained worst does not train"
    )
    seed: int = option(0, "one number that makes the fit repeatable", low=0, high=2**32 - 1)
    device: str = option("auto", "where to compute: auto, cpu, cuda, cuda:1, mps")


@dataclass(frozen=True)
class Search(Settings):
    """How long `tune` looks for a better model, and among what."""

    name: ClassVar[str] = "search"

    trials: int = option(12, "candidates to try, each fitted twice", low=1)
    timeout: float | None = option(None, "seconds after which no further candidate is tried", low=0)
    kinds: tuple[str, ...] | None = option(None, "kinds to choose from, such as deep,denoising (default: by modality)")


@dataclass(frozen=True)
class Tuning(Settings):
    """How labels teach a fitted autoencoder: a new layer on its code, and the encoder below it."""

    name: ClassVar[str] = "tuning"

    freeze: bool = option(False, "leave the encoder as it is: only the layer on its codes learns")
    encoder_rate: float = option(0.1, "the encoder's share of the learning rate", low=0, high=1)
    warm_up: float = option(0.1, "share of training before which the encoder stands still", low=0, high=1)
    corrupt: bool = option(False, "corrupt samples in training, as they were when the autoencoder was trained")


@dataclass(frozen=True)
class Detection(Settings):
    """How odd a row must be to be called an anomaly."""

    name: ClassVar[str] = "detection"

    false_alarm_rate: float = option(0.01, "share of normal rows that may be flagged", low=0, high=0.5)
    threshold: str = option(
        "conformal",
        "rule that turns held-out scores into a threshold; peaks-over-threshold is for very small rates",
        choices=("conformal", "quantile", "mad", "peaks-over-threshold"),
    )
    scorers: tuple[str, ...] | None = option(
        None,
        "what is measured: error, masked-cell, activations, neighbours, far-neighbours, patches, "
        "reconstruction-probability (default: by kind)",
    )
    folds: int | None = option(
        None,
        "folds for out-of-fold scores where too few rows are held out (default: 10, or 5 above 400 rows)",
        low=2,
        high=20,
    )


def did_you_mean(word: str, known: typing.Iterable[str]) -> str:
    """The hint for a misspelt word: the nearest known one, or all of them (of many: the first and the last)."""
    known = list(known)
    near = difflib.get_close_matches(word, known, n=1)
    shown = known if len(known) <= 20 else [*known[:8], "...", *known[-8:]]
    return f"did you mean {near[0]!r}?" if near else f"known: {', '.join(shown)}"


def from_text(text: str) -> Any:
    """A value as typed on the command line: JSON where it is JSON, a comma list, `none`, or the text itself.

    >>> from_text(".3"), from_text("none"), from_text("64,32"), from_text("relu")
    (0.3, None, [64, 32], 'relu')
    """
    if text.lower() in _NOTHING:
        return None
    if "," in text and not text.startswith(("[", "{", '"')):
        return [from_text(piece.strip()) for piece in text.split(",") if piece.strip()]
    try:
        return json.loads(text.lower() if text.lower() in ("true", "false") else text)
    except (ValueError, RecursionError):  # JSON nested a thousand deep is no option
        return float(text) if _DECIMAL.fullmatch(text) else text


_NOTHING = ("none", "null", "off")
_DECIMAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)
"""Numbers that people type and JSON refuses: .3, 5., +2, 007."""


@functools.cache
def _types_of(cls: type[Settings]) -> dict[str, Any]:
    """The types of the options; found once a class, since a model is made of dozens of settings."""
    return typing.get_type_hints(cls)


def _checked(cls: type[Settings], field: dataclasses.Field[Any], wanted: Any, value: Any) -> Any:
    where = f"{getattr(cls, 'slot', '') or cls.name or cls.__name__}.{field.name}"
    doc = field.metadata.get("doc", "")
    how = f"{field.name}: {doc}" if doc else ""
    value = _coerced(value, wanted, where, how)
    for piece in value if isinstance(value, tuple) else (value,):
        _within(piece, field, where, how)
    return value


def _within(value: Any, field: dataclasses.Field[Any], where: str, how: str) -> None:
    low, high, choices = (field.metadata.get(key) for key in ("low", "high", "choices"))
    if isinstance(value, str) and choices and value not in choices:
        raise UsageError(
            f"got {value!r}, wanted one of {', '.join(choices)}", where=where, how=did_you_mean(value, choices)
        )
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if not _representable(value):
            raise UsageError(f"got {value}, wanted a finite number", where=where, how=how)
        if low is not None and value < low:
            raise UsageError(f"got {value}, wanted at least {low}", where=where, how=how)
        if high is not None and value > high:
            raise UsageError(f"got {value}, wanted at most {high}", where=where, how=how)


def _representable(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond the floats
        return False


def _coerced(value: Any, wanted: Any, where: str, how: str) -> Any:
    """`value` as the annotated type `wanted`; text, numpy scalars and lists are taken where they fit exactly."""
    arguments = typing.get_args(wanted)
    if typing.get_origin(wanted) in (typing.Union, types.UnionType):
        nothing = value is None or (isinstance(value, str) and value.lower() in _NOTHING)
        if nothing and type(None) in arguments:
            return None
        wanted = next(kind for kind in arguments if kind is not type(None))
        arguments = typing.get_args(wanted)
    if wanted is Any or (isinstance(wanted, type) and issubclass(wanted, Settings) and isinstance(value, wanted)):
        return value
    if isinstance(wanted, type) and issubclass(wanted, Part):
        return wanted.from_json(value)
    if isinstance(value, str) and wanted is not str:
        value = from_text(value)
    if typing.get_origin(wanted) is tuple:
        return _coerced_tuple(value, arguments[0], where, how)
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        value = value.item()
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value) if _representable(value) else math.inf  # which `_within` refuses by name
    if wanted is int and isinstance(value, float) and value.is_integer():
        return int(value)
    if not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool):
        words = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
        raise UsageError(f"got {value!r}, wanted {words.get(wanted, wanted)}", where=where, how=how)
    return value


def _coerced_tuple(value: Any, wanted: Any, where: str, how: str) -> tuple[Any, ...]:
    pieces = value if isinstance(value, (list, tuple)) else [value]
    return tuple(_coerced(piece, wanted, where, how) for piece in pieces)


def _plain(value: Any) -> Any:
    if isinstance(value, Settings):
        return value.as_json()
    return [_plain(piece) for piece in value] if isinstance(value, tuple) else value
