"""From what was asked to a fitted detector: the modality is found out, options become parameters, rows are chosen."""

from __future__ import annotations

import dataclasses
from typing import Any, Protocol

import numpy as np

from hourglass import recipes
from hourglass.core.fitted import DETECTOR, FittedModel
from hourglass.core.fitting import Keep, fit_model
from hourglass.core.kinds import Experiment
from hourglass.core.parallel import ALONE, Team
from hourglass.data.files import find_time_column
from hourglass.data.formats import Data
from hourglass.data.samples import Frame, Pictures, Recordings
from hourglass.data.signals import ROW
from hourglass.data.times import find_time
from hourglass.errors import DataError, UsageError
from hourglass.estimators.planning import PARTS, change, plan_with
from hourglass.interfaces.labels import blanked, check_normal, label_column, normal_rows, only
from hourglass.interfaces.lessons import fitting, lesson
from hourglass.interfaces.options import Learning
from hourglass.settings import did_you_mean

_PARAMETERS = ("kind", "recipe", "latent", "layers", "epochs", "batch_size", "learning_rate", "seed", "device", "prior")
_FORMAT_WORDS = {"series": ("window",), "image": ("size", "tile")}


class Listener(Protocol):
    """Who hears what happens while a verb is at work."""

    def note(self, notice: str) -> None:
        """Something was decided, or accepted although odd."""

    def epoch(self, epoch: int, epochs: int, terms: dict[str, float]) -> None:
        """One epoch of the training is over."""

    def progress(self, what: str, done: int, total: int) -> None:
        """So much of some long work, other than training, is done."""


class Nobody:
    """A listener that does nothing."""

    def note(self, notice: str) -> None: ...

    def epoch(self, epoch: int, epochs: int, terms: dict[str, float]) -> None: ...

    def progress(self, what: str, done: int, total: int) -> None: ...


def learn(
    request: Learning, data: Data, listener: Listener, keep: Keep | None = None, team: Team = ALONE
) -> tuple[FittedModel, Data]:
    """A detector fitted to `data` as the request says, and the rows it learned from; its card remembers the label.

    What `AnomalyDetector.fit` does, without importing scikit-learn, which takes as long as a small fit. `keep` and
    `team` as for `fit_model`.
    """
    request, plan, train = material(request, data, listener)
    taught = lesson(request, plan, train)
    for notice in taught.notices:
        listener.note(notice)
    folds = plan.modality != "audio" and not taught.for_denoising  # each is a whole fit
    model = fit_model(
        taught.data,
        plan,
        seen=taught.seen,
        noise=taught.noise,
        calibrate=folds,
        report=listener.epoch,
        keep=keep,
        team=team,
    )
    model.history.notices[:0] = taught.notices
    remember(model, request)
    return model, train


def remember(model: FittedModel, request: Learning) -> None:
    """Write to the card of a model that it is a detector, and its label."""
    model.card["task"] = DETECTOR
    if request.label:
        model.card["label"] = {"column": request.label, "normal": request.normal}


def material(request: Learning, data: Data, listener: Listener) -> tuple[Learning, Experiment, Data]:
    """The request with the kind that suits it, the experiment that it asks for, and the rows to learn from."""
    modality, why = choose_modality(request, data)
    if why:
        listener.note(why)
    data = data if modality == "series" else _named(data, request)
    request = fitting(request, modality, data)
    plan = planned(request, modality)
    whole = modality != "series" or getattr(plan.format, "window", None) == ROW
    return request, plan, _training_data(request, data, whole, listener)


def choose_modality(request: Learning, data: Data) -> tuple[str, str]:
    """What the data are, and a sentence that says why where nobody named it."""
    if isinstance(data, np.ndarray) and data.ndim > 4:
        what = f"got an array of {data.ndim} dimensions, wanted at most 4 (picture, height, width, channel)"
        raise DataError(what, how="reshape it to rows and columns")
    named = request.modality or (request.recipe and recipes.load(request.recipe)["experiment"].get("modality", "table"))
    found, why = (named, "") if named else _found_modality(request, data)
    for option, modality in _ONLY_FOR.items():
        if getattr(request, option) is not None and found != modality:
            what = f"--{option} is for {_PLURALS[modality]}, and the data are read as {_PLURALS[found]}"
            raise UsageError(what, how=f"add --modality {modality}")
    if (isinstance(data, Pictures) and found != "image") or (isinstance(data, Recordings) and found != "audio"):
        got = "pictures" if isinstance(data, Pictures) else "recordings"
        raise DataError(f"got {got}, wanted {_PLURALS[found]}", where=data.source, how="leave --modality out")
    if found == "series" and isinstance(data, np.ndarray) and data.ndim > 3:
        raise DataError(f"got an array of {data.ndim} dimensions, wanted at most 3", how="use --modality image")
    if found == "table" and isinstance(data, np.ndarray):
        raise DataError(f"got an array of shape {data.shape}, wanted rows and columns", how="use --modality series")
    return found, why


_ONLY_FOR = {"window": "series", "time": "series", "size": "image", "tile": "image"}
_PLURALS = {"table": "a table", "series": "series", "image": "pictures", "audio": "recordings"}


def _found_modality(request: Learning, data: Data) -> tuple[str, str]:
    if isinstance(data, Pictures):
        return "image", ""
    if isinstance(data, Recordings):
        return "audio", ""
    if isinstance(data, np.ndarray) and (data.ndim == 4 or data.dtype in (np.uint8, np.uint16)):
        kind = f"an array of {data.ndim} dimensions, {data.dtype}"
        return "image", f"reading as pictures: {kind}; --modality series to change"
    why = _series_because(request, data)
    if why:
        change = "; --modality table to change" if isinstance(data, Frame) else ""
        return "series", f"reading as a series: {why}{change}"
    return "table", "reading as a table: no column orders the rows in time; --modality series to change"


def _series_because(request: Learning, data: Frame | np.ndarray) -> str:
    if isinstance(data, np.ndarray):
        return f"an array of {data.ndim} dimensions"
    if data.source.lower().removesuffix(".gz").endswith(".ts"):
        return "a .ts file"
    if data.unnamed and data.table.column_names == ["value"]:
        return "an array of 1 dimension"
    if column := find_time_column(data, request.time):
        return f"time column {column!r}"
    return f"--window {request.window}" if request.window else ""


def planned(request: Learning, modality: str) -> Experiment:
    """The experiment that the options ask for."""
    parameters = {name: getattr(request, name) for name in _PARAMETERS}
    parameters["contaminated"] = request.contaminated or None
    parameters |= {option: getattr(request, option) for option in _FORMAT_WORDS.get(modality, ())}
    chosen = plan_with(modality, parameters, dict(_assignment(text) for text in request.set))
    asked = {"false_alarm_rate": request.false_alarm_rate, "threshold": request.threshold}
    chosen = change(chosen, "detection", {name: value for name, value in asked.items() if value is not None})
    return change(chosen, "format", _columns(request, chosen.format, modality))


def _assignment(text: str) -> tuple[str, Any]:
    """`corruption.rate=0.3` as a parameter: the value stays text, since only the option knows its type."""
    key, equals, value = text.partition("=")
    slot, dot, name = key.strip().partition(".")
    if slot not in PARTS:
        raise UsageError(f"there is no part called {slot!r}", where=f"--set {text}", how=did_you_mean(slot, PARTS))
    if not equals or (dot and not name):
        raise UsageError("got no value", where=f"--set {text}", how="write PART.FIELD=VALUE or PART=NAME")
    if dot:
        return f"{slot}__{name.replace('.', '__')}", value.strip()
    if slot == "penalties":
        return slot, tuple(each.strip() for each in value.split(",") if each.strip() not in ("", "none"))
    return slot, value.strip()


def _columns(request: Learning, form: Any, modality: str) -> dict[str, Any]:
    """The format's options that name columns; the label is left out of the features."""
    label = (request.label,) if request.label else ()
    chosen: dict[str, Any] = {}
    if request.columns:
        chosen["columns"] = tuple(name for name in request.columns if name not in label)
    if label:
        chosen["ignore"] = tuple(dict.fromkeys((*(form.ignore or ()), *label)))
    if request.time and modality == "series":
        chosen["time"] = request.time
    return chosen


def _named(data: Data, request: Learning) -> Data:
    """A frame from which columns are left out is known by names from then on, since places would shift."""
    if isinstance(data, Frame) and data.unnamed and request.label in data.table.column_names:
        return dataclasses.replace(data, unnamed=False)
    return data


def _training_data(request: Learning, data: Data, whole: bool, listener: Listener) -> Data:
    """The rows to learn from. `whole`: each row is a sample, so that rows can be taken away."""
    check_normal(request.label, request.normal)
    if request.label is None:
        return data
    label_column(data, request.label)
    if request.normal is None or isinstance(data, np.ndarray):
        listener.note(f"training on all rows, whatever their {request.label!r}: --normal VALUE keeps to normal ones")
        return data
    mask = normal_rows(data, request.label, request.normal)
    chosen = f"rows whose {request.label!r} is {request.normal}"
    listener.note(f"training on the {np.count_nonzero(mask):,} of {len(mask):,} {chosen}")
    if whole or not isinstance(data, Frame) or data.unnamed:
        return only(data, mask, chosen)
    return blanked(data, mask, find_time(data, request.time, (request.label,), []))
