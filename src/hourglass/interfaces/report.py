"""A report on one model and what it found: one HTML file that needs no network.

write_report -> build_section -> findings.py  what is odd, when, and why
                              -> exhibits.py  pictures, their anomaly maps, what the network looks for
                              -> sound_exhibits.py  recordings: their tiles, given and given back
                              -> rivals.py    what simpler methods make of it
                              -> maps.py      the codes in the plane
                              -> this file    scores, training, data, settings
             -> page.write_page
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hourglass.core.fitted import Detection, FittedModel
from hourglass.data.formats import Data
from hourglass.data.profiles import profile
from hourglass.data.samples import Frame, unique_notices
from hourglass.data.tables import TableFormat
from hourglass.estimators.evaluation import checked_labels
from hourglass.interfaces.exhibits import exhibits, filters_part, pictures_profile, units_words
from hourglass.interfaces.figures import Line, calibration_curve, score_histogram, training_curve
from hourglass.interfaces.findings import (
    channel_lines,
    found_part,
    headline,
    time_part,
    why_part,
    windows_part,
)
from hourglass.interfaces.gallery import Gallery
from hourglass.interfaces.maps import codes_part
from hourglass.interfaces.page import Block, Listing, Part, Section, Table, Text, write_page
from hourglass.interfaces.rivals import rivals_part
from hourglass.interfaces.sound_exhibits import sound_exhibits, sounds_profile
from hourglass.interfaces.subject import Subject
from hourglass.interfaces.words import MISSING, counted, number_words, shortened

__all__ = ["Section", "build_section", "subject_of", "write_page", "write_report"]

MOST_COLUMNS, MANY = 40, 12
"""More columns than the first are too many to describe: then as many as the second stand for them."""


def subject_of(
    model: FittedModel,
    data: Data,
    detection: Detection,
    *,
    train: Data | None = None,
    labels: np.ndarray | None = None,
) -> Subject:
    """What a report is about: what `model` found in `data`.

    `train`: the training data, on which the simpler methods are then fitted; without them, on `data`.
    `labels`: for each row of `data` whether it is known to be an anomaly.
    """
    packed = detection.packed if detection.packed is not None else model.format.pack(data)
    truth = None if labels is None else checked_labels(labels, len(detection.rows.score))
    return Subject(model, data, detection, packed, train, truth)


def write_report(path: str | Path, title: str, subject: Subject, sections: Sequence[Section] = ()) -> Path:
    """Write the report on a subject, then further sections, as one HTML file."""
    return write_page(path, title, [build_section(title, subject), *sections])


def build_section(title: str, subject: Subject) -> Section:
    """All that a report says of one model, as a section of a page."""
    shown, data = _own_parts(subject)
    compared = [] if subject.sounds and subject.sounds.layout.complex else [rivals_part(subject)]
    looked = list(filter(None, [filters_part(subject)]))
    rest = [scores_part(subject), codes_part(subject), *compared, *looked, training_part(subject), data]
    return Section(title, headline(subject), [found_part(subject), *shown, *rest, settings_part(subject)])


def _own_parts(subject: Subject) -> tuple[Sequence[Part], Part]:
    """What only the modality has to show, and what its data hold."""
    gallery = Gallery.of(subject.model, subject.packed)
    if gallery is not None:
        return exhibits(subject, gallery), Part("The data", pictures_profile(subject, gallery))
    if subject.sounds is not None:
        return sound_exhibits(subject, subject.sounds), Part("The data", sounds_profile(subject, subject.sounds))
    return [*_time_parts(subject), why_part(subject)], data_part(subject)


def _time_parts(subject: Subject) -> list[Part]:
    if subject.series is None:
        return []
    line = [time_part(subject, subject.series)] if subject.is_cut else []
    return [*line, windows_part(subject, subject.series)]


def scores_part(subject: Subject) -> Part:
    """How scores spread, beside those of the samples that set the threshold, and whether rates are kept."""
    calibration, noun, flagged = subject.model.calibration, subject.judged_noun, subject.judged[subject.judged_flags]
    groups, promises = [Line(f"these {noun}s", subject.judged)], []
    if not np.array_equal(calibration.scores, subject.judged):
        groups.append(Line(f"calibration ({calibration.source})", calibration.scores))
        promises.append(calibration_curve(subject.model.p_values(subject.judged), noun))
    caption = f"Anomaly scores; {counted(len(flagged), noun)} above the threshold, each with a tick."
    histogram = score_histogram(groups, subject.detection.threshold.value, flagged, noun, caption)
    return Part("Scores", [histogram, *promises])


_STOPPED = {
    "finished": "as planned",
    "early": "early, since held-out rows no longer improved",
    "interrupted": "since it was interrupted",
    "diverged": "since the loss was no longer finite",
}


def training_part(subject: Subject) -> Part:
    """The objective, term by term, over the epochs."""
    history = subject.model.history
    done = len(history.training)
    why = _STOPPED.get(history.stopped, history.stopped)
    words = f"{number_words(history.seconds, 2)} s; it ended after {done:,} of {history.epochs:,} epochs, {why}."
    terms = list(history.training[0]) if history.training else []
    figures = [
        training_curve(
            term,
            [each[term] for each in history.training],
            [each[term] for each in history.validation],
            history.best_epoch,
        )
        for term in terms
    ]
    units = units_words(subject)
    return Part("Training", [Text(f"Training took {words}"), *([Text(units)] if units else []), *figures])


def data_part(subject: Subject) -> Part:
    """What the data hold."""
    if subject.series is None:
        return Part("The data", _table_profile(subject))
    form = subject.series
    steps = "each row is a window" if form.schema.whole else counted(len(subject.detection.rows.score), "step")
    sampling = "" if form.sampling is None else f", one each {form.sampling.word}"
    windows = f"{counted(len(subject.score), 'window')} of {counted(form.rule.steps, 'step')}"
    words = f"{counted(len(form.schema.channels), 'channel')}; {steps}{sampling}; {windows}."
    rows = [_channel_row(line) for line in channel_lines(subject.data, form)[:MOST_COLUMNS]]
    header = ["channel", "values", "missing", "smallest", "median", "largest"]
    return Part("The data", [Text(words), Table(header, rows, frozenset(range(1, len(header))))])


def _channel_row(line: Line) -> list[str]:
    known = line.values[~np.isnan(line.values)]
    extent = np.quantile(known, [0, 0.5, 1]).tolist() if len(known) else [None] * 3
    return [line.name, f"{line.values.size:,}", f"{line.values.size - known.size:,}", *map(number_words, extent)]


def _table_profile(subject: Subject) -> list[Block]:
    columns, width = _profiles(subject)
    words = f"{counted(len(subject.score), 'row')}, {counted(width, 'column')}."
    if len(columns) < width:
        words += f" Described are {len(columns)} of them, evenly apart."
    header = ["column", "kind", "missing", "distinct", "mean", "smallest", "median", "largest", "most common"]
    rows = [_column_row(column) for column in columns]
    return [Text(words), Table(header, rows, frozenset({2, 3, 4, 5, 6, 7}), wide=frozenset({8}))]


def _profiles(subject: Subject) -> tuple[list[dict[str, Any]], int]:
    """What is known of the columns, or of a few where there are many, and how many there are."""
    form, data = subject.model.format, subject.data
    if isinstance(data, Frame):
        settings = form.settings if isinstance(form, TableFormat) and form.named else None
        columns = profile(data, settings)
        return [columns[i] for i in _few(len(columns))], len(columns)
    numbers = np.asarray(data)
    chosen = _few(numbers.shape[1])
    columns = profile(numbers[:, chosen])
    return [column | {"name": f"x{i}"} for i, column in zip(chosen, columns, strict=True)], numbers.shape[1]


def _few(count: int) -> list[int]:
    places: list[int] = np.linspace(0, count - 1, count if count <= MOST_COLUMNS else MANY).astype(int).tolist()
    return places


def _column_row(column: dict[str, Any]) -> list[str]:
    common = ", ".join(f"{shortened(str(word), 24)} ({count:,})" for word, count in (column["common"] or [])[:3])
    figures = [_figure(column[key]) for key in ("missing", "distinct", "mean", "min", "median", "max")]
    return [
        column["name"],
        column["kind"],
        *figures,
        f"left out: {column['left_out']}" if column["left_out"] else common,
    ]


def _figure(value: Any) -> str:
    return "" if value is None else number_words(value)


def settings_part(subject: Subject) -> Part:
    """Everything that made this model, so that it can be made again."""
    notices = _notices(subject)
    said: list[Block] = [Text("What was accepted although odd:"), Listing(notices)]
    tables = [
        Table(["part", "setting"], _settings(subject.model)),
        Table(["origin", "value"], _origin(subject.model)),
    ]
    return Part("Settings and origin", [*tables, *(said if notices else [Text("There were no notices.")])])


def _settings(model: FittedModel) -> list[list[str]]:
    weights = sum(parameter.numel() for parameter in model.network.parameters())
    size = f"{counted(model.format.layout.size, 'number')} a sample, {model.latent_size} in its code"
    parts = [[slot, _option_words(value)] for slot, value in model.experiment.as_json().items()]
    return [*parts, ["size", f"{size}, {counted(weights, 'weight')}"]]


def _origin(model: FittedModel) -> list[list[str]]:
    card = model.card
    return [
        *([name, str(version)] for name, version in card.get("versions", {}).items()),
        ["seed", str(model.experiment.training.seed)],
        ["training samples", number_words(card.get("samples"))],
        ["SHA-256 of the training samples", str(card.get("sha256", MISSING))],
    ]


def _notices(subject: Subject) -> list[str]:
    model = subject.model
    data = () if isinstance(subject.data, np.ndarray) else subject.data.notices
    said = [*model.card.get("notices", ()), *data, *subject.packed.notices, *model.history.notices]
    return unique_notices(filter(None, [*said, subject.detection.threshold.notice]))


def _option_words(value: Any) -> str:
    """A part's JSON as words.

    >>> _option_words({"is": "gaussian", "scale": 0.3, "size": None})
    'gaussian: scale 0.3'
    """
    if isinstance(value, list):
        return "; ".join(map(_option_words, value)) or "none"
    if not isinstance(value, dict):
        return "by the data" if value is None else str(value)
    options = ", ".join(
        f"{name.replace('_', ' ')} {_bare(each)}" for name, each in value.items() if name != "is" and each is not None
    )
    return ": ".join(filter(None, [value.get("is", ""), options]))


def _bare(value: Any) -> str:
    return "-".join(map(str, value)) or "none" if isinstance(value, list) else number_words(value)
