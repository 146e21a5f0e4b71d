"""A report on one model and what it found: one HTML file that needs no network.

write_report -> build_section -> findings.py  what is odd, when, and why
                              -> rivals.py    what simpler methods make of it
                              -> this file    scores, codes, training, data, settings
             -> page.write_page
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from hourglass.core.chunks import in_chunks
from hourglass.core.fitted import Detection, FittedModel
from hourglass.data.formats import Data
from hourglass.data.profiles import profile
from hourglass.data.samples import Frame, unique_notices
from hourglass.data.tables import TableFormat
from hourglass.errors import DataError
from hourglass.estimators.evaluation import checked_labels
from hourglass.interfaces.figures import Line, latent_map, score_histogram, training_curve
from hourglass.interfaces.findings import (
    Subject,
    channel_lines,
    found_part,
    headline,
    time_part,
    why_part,
    windows_part,
)
from hourglass.interfaces.page import Block, Listing, Part, Picture, Section, Table, Text, write_page
from hourglass.interfaces.rivals import rivals_part
from hourglass.interfaces.words import MISSING, counted, number_words, share_words, shortened

__all__ = ["Section", "build_section", "picture_rows", "write_page", "write_report"]

MOST_POINTS = 5_000
MOST_COLUMNS, MANY = 40, 12
"""More columns than the first are too many to describe: then as many as the second stand for them."""
_PICTURES = 10


def write_report(
    path: str | Path,
    model: FittedModel,
    data: Data,
    detection: Detection,
    *,
    title: str,
    train: Data | None = None,
    labels: np.ndarray | None = None,
    sections: Sequence[Section] = (),
) -> Path:
    """Write the report on what `model` found in `data`, then further sections, as one HTML file.

    `train`: the training data, on which the simpler methods are then fitted; without them, on `data`.
    `labels`: for each row of `data` whether it is known to be an anomaly.
    """
    section = build_section(model, data, detection, title=title, train=train, labels=labels)
    return write_page(path, title, [section, *sections])


def build_section(
    model: FittedModel,
    data: Data,
    detection: Detection,
    *,
    title: str,
    train: Data | None = None,
    labels: np.ndarray | None = None,
) -> Section:
    """All that a report says of one model, as a section of a page."""
    packed = detection.packed if detection.packed is not None else model.format.pack(data)
    truth = None if labels is None else checked_labels(labels, len(detection.rows.score))
    subject = Subject(model, data, detection, packed, train, truth)
    parts = [found_part(subject)]
    if subject.series is not None and subject.is_cut:
        parts.append(time_part(subject, subject.series))
    if subject.series is not None:
        parts.append(windows_part(subject, subject.series))
    rest = (why_part, scores_part, codes_part, rivals_part, training_part, data_part, settings_part)
    return Section(title, headline(subject), [*parts, *(part(subject) for part in rest)])


def picture_rows(
    originals: np.ndarray,
    reconstructions: np.ndarray,
    shape: tuple[int, ...],
    *,
    title: str = "Originals and reconstructions",
) -> Section:
    """Ten pictures over their reconstructions, both given as (n, numbers).

    `shape` is (height, width) or (height, width, 3). Black is the originals' smallest value, white their largest.
    """
    count = min(len(originals), len(reconstructions), _PICTURES)
    size = int(np.prod(shape))
    rows = [np.asarray(row, dtype=np.float64)[:count].reshape(count, -1) for row in (originals, reconstructions)]
    if not count or any(row.shape[1] != size for row in rows):
        raise DataError(
            f"got pictures of {rows[0].shape[1]} and {rows[1].shape[1]} numbers, wanted {size}", where="picture_rows"
        )
    low, high = np.nanmin(rows[0]), np.nanmax(rows[0])
    grey = np.clip((np.nan_to_num(np.stack(rows)) - low) / max(high - low, 1e-12), 0, 1)
    error = float(np.nanmean(np.square(rows[0] - rows[1])))
    seen = f"{counted(count, 'original')} above, what the model makes of them below"
    words = f"{seen}; mean squared error a number {number_words(error)}."
    return Section(title, words, [Part("Pictures", [Picture(_png(grey.reshape(2, count, *shape)), f"{seen}.")])])


def _png(pictures: np.ndarray, gap: int = 2, zoom: int = 3) -> bytes:
    """Pictures (rows, columns, height, width, ...) from 0 to 1 as one PNG, side by side."""
    padded = np.pad(
        pictures, [(0, 0), (0, 0), (gap, gap), (gap, gap), *[(0, 0)] * (pictures.ndim - 4)], constant_values=0.5
    )
    joined = np.concatenate([np.concatenate(list(row), axis=1) for row in padded], axis=0)
    image = Image.fromarray(np.rint(255 * joined).astype(np.uint8))
    buffer = io.BytesIO()
    image.resize((image.width * zoom, image.height * zoom), Image.Resampling.NEAREST).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def scores_part(subject: Subject) -> Part:
    """How scores spread, beside those of the samples that set the threshold."""
    calibration, noun, flagged = subject.model.calibration, subject.noun, subject.score[subject.flagged]
    groups = [Line(f"these {noun}s", subject.score)]
    if not np.array_equal(calibration.scores, subject.score):
        groups.append(Line(f"calibration ({calibration.source})", calibration.scores))
    caption = f"Anomaly scores; {counted(len(flagged), noun)} above the threshold, each with a tick."
    return Part("Scores", [score_histogram(groups, subject.detection.threshold.value, flagged, noun, caption)])


def codes_part(subject: Subject) -> Part:
    """The codes as points in the plane."""
    network = subject.model.network
    chosen, caption = _drawn_points(subject)
    codes = in_chunks(network.encode, subject.packed.samples[chosen], network.device).astype(np.float64)
    points, axes = _plane(codes, subject.score[chosen])
    names = [subject.name(int(i)) for i in chosen]
    return Part(
        "Map of the codes", [latent_map(points, subject.score[chosen], subject.flagged[chosen], names, axes, caption)]
    )


def _drawn_points(subject: Subject) -> tuple[np.ndarray, str]:
    count, noun = len(subject.score), subject.noun
    caption = f"Each point is the code of a {noun}, coloured by its anomaly score; diamonds are flagged."
    if subject.model.latent_size > 2:
        caption += " Axes are the principal ones of the codes."
    if count <= MOST_POINTS:
        return np.arange(count), caption
    oddest, others = np.split(subject.order, [MOST_POINTS // 10])
    generator = np.random.default_rng(subject.model.experiment.training.seed)
    drawn = np.append(oddest, generator.choice(others, MOST_POINTS - len(oddest), replace=False))
    caption += f" Drawn are {MOST_POINTS:,} of {count:,}: the oddest {len(oddest)}, the others at random."
    return np.sort(drawn), caption


def _plane(codes: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, tuple[str, str]]:
    """Codes as points of the plane and the names of its axes; beyond two numbers, along their principal axes."""
    if codes.shape[1] == 1:
        return np.column_stack([codes[:, 0], score]), ("code", "anomaly score")
    if codes.shape[1] == 2:
        return codes, ("code 1", "code 2")
    centred = codes - codes.mean(axis=0)
    variance, axes = np.linalg.eigh(centred.T @ centred)
    shares = variance[::-1][:2] / max(float(variance.sum()), 1e-30)
    words = [f"axis {i + 1} ({share_words(max(share, 0.0))} of variance)" for i, share in enumerate(shares)]
    return centred @ axes[:, ::-1][:, :2], (words[0], words[1])


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
    return Part("Training", [Text(f"Training took {words}"), *figures])


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
    chosen = _few(data.shape[1])
    columns = profile(data[:, chosen])
    return [column | {"name": f"x{i}"} for i, column in zip(chosen, columns, strict=True)], data.shape[1]


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
    data = subject.data.notices if isinstance(subject.data, Frame) else ()
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
