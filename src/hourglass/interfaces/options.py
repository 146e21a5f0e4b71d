"""What each verb can be asked: torch-free dataclasses that the command line turns into options.

An option that belongs to `settings.Training` or `settings.Detection` is taken from there with its words and limits. It
is None here unless asked for, so that a recipe's own value holds.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar

from hourglass.settings import Detection, Settings, Training, option

REQUIRED = dataclasses.MISSING
_MODALITIES = ("table", "series")
_REASONS = ("flagged", "all", "none")


def said(owner: type[Settings], name: str) -> dict[str, Any]:
    """The words and limits of an option of another class, its default put into words.

    >>> said(Training, "seed")["doc"]
    'one number that makes the fit repeatable (default: 0)'
    """
    field = next(field for field in dataclasses.fields(owner) if field.name == name)
    words = dict(field.metadata)
    if field.default is not None:
        words["doc"] += f" (default: {field.default})"
    return words


@dataclass(frozen=True, kw_only=True)
class Request(Settings):
    """What every verb takes."""

    arguments: ClassVar[tuple[str, ...]] = ()
    """The fields that the command line takes by place, in order; the others are options."""

    json: bool = option(False, "print one JSON object on stdout")
    quiet: bool = option(False, "say nothing on stderr but errors")
    debug: bool = option(False, "show where in the code an error arose")


@dataclass(frozen=True, kw_only=True)
class Labelled(Request):
    """Which rows are normal."""

    label: str | None = option(None, "column that says what a row is; it is no feature, and ignored later")
    normal: str | None = option(None, "value of the label that means normal; training takes those rows only")


@dataclass(frozen=True, kw_only=True)
class Learning(Labelled):
    """How an autoencoder is fitted to data."""

    modality: str | None = option(
        None, "what the data are (default: series where a column orders the rows in time)", choices=_MODALITIES
    )
    kind: str | None = option(None, "kind of autoencoder, or kinds joined by +, such as denoising+variational")
    recipe: str | None = option(None, "a recipe to start from (see `hourglass recipes`)")
    latent: int | None = option(None, "numbers in a code (default: by the data's size)", low=1)
    layers: tuple[int, ...] | None = option(None, "widths of hidden layers, such as 64,32 (default: by rule)", low=1)
    set: tuple[str, ...] = option((), "one option of one part, such as corruption.rate=0.3 or loss=huber; repeatable")
    epochs: int | None = option(None, **said(Training, "epochs"))
    batch_size: int | None = option(None, **said(Training, "batch_size"))
    learning_rate: float | None = option(None, **said(Training, "learning_rate"))
    seed: int | None = option(None, **said(Training, "seed"))
    device: str | None = option(None, **said(Training, "device"))
    time: str | None = option(None, "time column of a series (default: found by type or name)")
    window: str | None = option(None, "window of a series: steps (48), a length (1h, 1d), or row (default: by rule)")
    columns: tuple[str, ...] | None = option(None, "use only these columns, such as a,b,c (default: all that fit)")
    false_alarm_rate: float | None = option(None, **said(Detection, "false_alarm_rate"))
    threshold: str | None = option(None, **said(Detection, "threshold"))


@dataclass(frozen=True, kw_only=True)
class Fit(Learning):
    """`hourglass fit`."""

    arguments = ("data",)

    data: str = option(REQUIRED, "file to learn from: CSV, Parquet, NPY, NPZ, ARFF or .ts")
    output: str = option(REQUIRED, "file to write the model to; .safetensors is added where it has no suffix")
    report: str | None = option(None, "write a report to this HTML file")


@dataclass(frozen=True, kw_only=True)
class Detect(Learning):
    """`hourglass detect`."""

    arguments = ("model", "data")

    model: str | None = option(None, "fitted model; without one, an autoencoder is fitted to the data first")
    data: str = option(REQUIRED, "file to search for anomalies; a single file is this one")
    output: str | None = option(None, "file to write the scores to: .csv, .jsonl or .parquet (default: CSV on stdout)")
    save: str | None = option(None, "keep the model that was fitted on the way in this file")
    report: str | None = option(None, "write a report to this HTML file")
    reasons: str = option("flagged", "rows to give reasons for (default: flagged)", choices=_REASONS)
    fail_on_anomaly: bool = option(False, "exit with code 4 if an anomaly is found")


ONLY_FOR_FITTING = {field.name for field in dataclasses.fields(Learning)} - {
    *(field.name for field in dataclasses.fields(Request)),
    *("device", "false_alarm_rate", "threshold"),
} | {"save"}
"""Options of `detect` that mean nothing where a model is given."""


@dataclass(frozen=True, kw_only=True)
class Convert(Request):
    """`hourglass encode`, `reconstruct` and `denoise`."""

    arguments = ("model", "data")

    model: str = option(REQUIRED, "fitted model")
    data: str = option(REQUIRED, "file to put through the model")
    output: str | None = option(None, "file to write: .npy, .npz, .csv or .parquet (default: CSV on stdout)")
    device: str | None = option(None, **said(Training, "device"))


@dataclass(frozen=True, kw_only=True)
class Decode(Request):
    """`hourglass decode`."""

    arguments = ("model", "codes")

    model: str = option(REQUIRED, "fitted model")
    codes: str = option(REQUIRED, "file of codes, as `hourglass encode` writes them")
    output: str | None = option(None, "file to write: .npy, .npz, .csv or .parquet (default: CSV on stdout)")
    device: str | None = option(None, **said(Training, "device"))


@dataclass(frozen=True, kw_only=True)
class Evaluate(Request):
    """`hourglass evaluate`."""

    arguments = ("model", "data")

    model: str = option(REQUIRED, "fitted model")
    data: str = option(REQUIRED, "file of labelled rows")
    label: str | None = option(None, "column that says what a row is (default: the one named at fit)")
    normal: str | None = option(None, "value of the label that means normal (default: as at fit, or 0 or false)")
    train: str | None = option(None, "rows that the model was fitted on: baselines then learn from them too")
    false_alarm_rate: float | None = option(None, **said(Detection, "false_alarm_rate"))
    device: str | None = option(None, **said(Training, "device"))


@dataclass(frozen=True, kw_only=True)
class Inspect(Request):
    """`hourglass inspect`."""

    arguments = ("model",)

    model: str = option(REQUIRED, "fitted model")


@dataclass(frozen=True, kw_only=True)
class Recipes(Request):
    """`hourglass recipes`."""

    arguments = ("recipe",)

    recipe: str | None = option(None, "show this recipe as it is written")


@dataclass(frozen=True, kw_only=True)
class Demo(Request):
    """`hourglass demo`."""

    output: str = option("demo", "folder to write to (default: demo)")
    epochs: int | None = option(None, "passes over the data (default: 60 for the days, 50 for the digits)", low=1)
