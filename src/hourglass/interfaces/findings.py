"""The first half of a report: what is odd, when, and why, in the user's own units."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hourglass.core.fitted import Reason
from hourglass.data.formats import Data
from hourglass.data.series import Sampling, SeriesFormat
from hourglass.data.signals import read
from hourglass.interfaces.figures import Line, blame_bars, time_line, window_figure
from hourglass.interfaces.page import Facts, Figure, Part, Table, Text
from hourglass.interfaces.subject import Subject
from hourglass.interfaces.words import counted, number_words, pair_words, reason_words, share_words

MOST_ROWS = 12
MOST_CHANNELS = 6
MOST_CELLS = 15
_EXPLAINED = 5
_TELLING = 0.05
"""Share of the error that a further reason needs to be named."""
_BLAMED = 500
MOST_DRAWN = 3
"""Windows drawn, and channels of each."""


def headline(subject: Subject) -> str:
    """What was found, in two sentences."""
    oddest = int(subject.judged_order[0])
    score, limit = pair_words(float(subject.judged[oddest]), subject.detection.threshold.value)
    where = "above" if subject.judged_flags[oddest] else "not above"
    first = f"The oddest is {subject.judged_name(oddest)}, its score of {score} {where} the threshold of {limit}"
    if subject.listed is not None:  # one pixel explains nothing
        return f"{_how_many(subject)}. {first}."
    why = reason_words(subject.reasons(np.array([oddest]), 1)[0][0])
    return f"{_how_many(subject)}. {first}: {why}."


def _how_many(subject: Subject) -> str:
    odd, whole = int(subject.judged_flags.sum()), counted(len(subject.judged), subject.judged_noun)
    return f"{odd:,} of {whole} {'looks' if odd == 1 else 'look'} odd" if odd else f"None of {whole} looks odd"


def found_part(subject: Subject) -> Part:
    """How much was found, how much of it chance would give, and the oddest rows or events."""
    threshold, calibration, thing = subject.detection.threshold, subject.model.calibration, subject.judged_noun
    count, odd = len(subject.judged), int(subject.judged_flags.sum())
    noun = f"held-out {thing}s" if calibration.source == "held-out rows" else calibration.source
    facts = Facts(
        [
            (f"{count:,}", f"{thing}s scored"),
            (f"{odd:,}", f"{thing}s flagged"),
            (number_words(threshold.value), "threshold of the anomaly score"),
            (share_words(threshold.reachable_rate), f"of normal {thing}s may be flagged"),
            (f"{len(calibration.scores):,}", f"{noun} set the threshold"),
        ]
    )
    by_chance = threshold.reachable_rate * count
    chance = f"about {number_words(by_chance, 2)} of {count:,} would still be flagged"
    verdict = "is more than that" if odd > 2 * by_chance + 1 else "is not clearly more"
    words = Text(f"If every {thing} were normal, {chance}; what is flagged here {verdict}.")
    return Part("What was found", [facts, words, _found_table(subject)])


def _found_table(subject: Subject) -> Table | Text:
    if subject.listed is not None:
        return _named_table(subject)
    return _event_table(subject) if subject.is_cut else _row_table(subject)


def _named_table(subject: Subject) -> Table:
    """The oddest pictures; the oddest recordings, with the stretch that is odd."""
    chosen, noun = subject.judged_order[:MOST_ROWS].tolist(), subject.judged_noun
    within = subject.sounds is not None and subject.packed.groups is not None
    rows = [
        [subject.judged_name(each), *([subject.oddest_within(each)] if within else []), *_verdict(subject, each)]
        for each in chosen
    ]
    header = [noun, *(["oddest stretch"] if within else []), "score", "p-value", "flagged", *_truth_header(subject)]
    numeric = frozenset({header.index("score"), header.index("p-value")})
    return Table(header, rows, numeric, f"The {len(rows)} {noun}s with the highest scores.", frozenset({0}))


def _verdict(subject: Subject, row: int) -> list[str]:
    """Score, p-value and flag of an input row, and its truth where that is known."""
    return [
        number_words(float(subject.judged[row])),
        number_words(float(subject.detection.p_value[row]), 2),
        "yes" if subject.judged_flags[row] else "no",
        *(["anomaly" if subject.labels[row] else "normal"] if subject.labels is not None else []),
    ]


def _truth_header(subject: Subject) -> list[str]:
    return [] if subject.labels is None else ["known as"]


def _row_table(subject: Subject) -> Table:
    chosen = subject.order[:MOST_ROWS]
    reasons = subject.reasons(chosen, 3)
    rows = [_row(subject, int(i), each) for i, each in zip(chosen, reasons, strict=True)]
    header = ["row", "score", "strongest reasons", "p-value", "flagged", *_truth_header(subject)]
    caption = f"The {len(rows)} rows with the highest scores; rows are counted from 0."
    return Table(header, rows, frozenset({0, 1, 3}), caption, frozenset({2}))


def _row(subject: Subject, row: int, reasons: list[Reason]) -> list[str]:
    telling = [reason for place, reason in enumerate(reasons) if not place or reason.share >= _TELLING]
    score, *verdict = _verdict(subject, row)
    return [subject.name(row).removeprefix("row "), score, "; ".join(map(reason_words, telling)), *verdict]


def _event_table(subject: Subject) -> Table | Text:
    if not subject.events:
        return Text("No stretch of the series scored above the threshold.")
    p_value = subject.detection.p_value
    rows = [
        [
            event.start_label,
            event.end_label,
            event.peak_label,
            number_words(event.peak_score),
            number_words(float(p_value[event.peak]), 2),
        ]
        for event in subject.events[:MOST_ROWS]
    ]
    more = f" (the strongest {MOST_ROWS} of {len(subject.events):,})" if len(subject.events) > MOST_ROWS else ""
    return Table(
        ["from", "to", "peak", "score at peak", "p-value"],
        rows,
        frozenset({3, 4}),
        f"Events{more}, the strongest first.",
    )


def time_part(subject: Subject, form: SeriesFormat) -> Part:
    """The whole series, its channels above the anomaly score, events shaded."""
    rows = subject.detection.rows
    order = pc.array_sort_indices(rows.index).to_numpy()
    times = _times(rows.index)
    lines = channel_lines(subject.data, form)
    blame = _channel_blame(_shares(subject, _blamed(subject)), form)
    chosen = np.sort(np.argsort(-blame, kind="stable")[:MOST_CHANNELS])
    drawn = [Line(lines[i].name, lines[i].values[order]) for i in chosen]
    spans = [(_plain_time(times[event.start]), _plain_time(times[event.end])) for event in subject.events]
    score = np.where(rows.covered, rows.score, np.nan)[order]
    caption = "Shaded: stretches above the threshold (dotted line)."
    if len(lines) > MOST_CHANNELS:
        caption += f" Drawn are the {MOST_CHANNELS} of {len(lines)} channels with the largest errors."
    limit = subject.detection.threshold.value
    figure = time_line(times[order], drawn, Line("anomaly score", score), limit, spans, caption)
    return Part("Time line", [figure])


def windows_part(subject: Subject, form: SeriesFormat) -> Part:
    """The oddest windows that do not overlap, with what was expected over what was there."""
    chosen = _oddest_apart(subject)
    errors, expected = subject.model.cell_errors(subject.packed.samples[chosen])
    each = zip(chosen, errors, expected, strict=True)
    figures = [_window(subject, form, window, error, guess) for window, error, guess in each]
    return Part(f"The oddest {subject.noun}s", figures)


def _window(subject: Subject, form: SeriesFormat, window: int, errors: np.ndarray, expected: np.ndarray) -> Figure:
    """One window, its channels with the largest errors first."""
    order = np.argsort(-errors.reshape(form.layout.shape).sum(axis=0), kind="stable")[:MOST_DRAWN]
    given, guessed = (
        [Line(form.schema.channels[i], values[:, i]) for i in order]
        for values in (_in_units(form, subject.packed.samples[window]), _in_units(form, expected))
    )
    caption = f"{subject.name(window)}, score {number_words(float(subject.score[window]))}."
    if len(order) < len(form.schema.channels):
        caption += f" The {len(order)} of {len(form.schema.channels)} channels with the largest errors are drawn."
    x, unit = _window_axis(form)
    return window_figure(x, given, guessed, unit, caption[0].upper() + caption[1:])


def why_part(subject: Subject) -> Part:
    """Which cells make the flagged samples odd, altogether and one by one."""
    return Part("Why", [_blame_figure(subject), _reason_table(subject)])


def _blame_figure(subject: Subject) -> Figure:
    chosen, noun = _blamed(subject), subject.noun
    names, shares = _cell_blame(subject, chosen)
    top = np.argsort(-shares, kind="stable")[:MOST_CELLS]
    which = "flagged" if len(chosen) == subject.flagged.sum() else "oddest"
    caption = f"Where the error of the {counted(len(chosen), f'{which} {noun}')} lies, each {noun} counted alike."
    if len(names) > len(top):
        caption += f" The first {len(top)} of {len(names):,} are shown."
    return blame_bars([names[i] for i in top], shares[top].tolist(), caption)


def _reason_table(subject: Subject) -> Table:
    chosen = subject.order[:_EXPLAINED]
    rows = [
        [
            "" if place else subject.name(int(i)).removeprefix("row "),
            reason.cell,
            *pair_words(reason.value, reason.expected),
            share_words(reason.share),
        ]
        for i, reasons in zip(chosen, subject.reasons(chosen, 5), strict=True)
        for place, reason in enumerate(reasons)
    ]
    header = [subject.noun, "cell", "given", "expected", "share of error"]
    caption = f"The {counted(len(chosen), f'oddest {subject.noun}')}, cell by cell, in units of the data."
    return Table(header, rows, frozenset({2, 3, 4}), caption)


def _blamed(subject: Subject) -> np.ndarray:
    """The flagged samples, or the oddest ones where none is."""
    return subject.order[: min(int(subject.flagged.sum()) or MOST_ROWS, _BLAMED)]


def _cell_blame(subject: Subject, chosen: np.ndarray) -> tuple[Sequence[str], np.ndarray]:
    """Names and mean shares of the error: of each cell, or of each channel where there are several."""
    shares = _shares(subject, chosen)
    if subject.series and len(subject.series.schema.channels) > 1:
        return subject.series.schema.channels, _channel_blame(shares, subject.series)
    return subject.model.format.cell_names(), shares


def _channel_blame(shares: np.ndarray, form: SeriesFormat) -> np.ndarray:
    return np.asarray(shares.reshape(form.layout.shape).sum(axis=0))


def _shares(subject: Subject, chosen: np.ndarray) -> np.ndarray:
    errors = subject.model.cell_errors(subject.packed.samples[chosen])[0].astype(np.float64)
    return np.asarray((errors / np.maximum(errors.sum(axis=1, keepdims=True), 1e-30)).mean(axis=0))


def channel_lines(data: Data, form: SeriesFormat) -> list[Line]:
    """Each channel's values in units, in the order of the input rows; of all windows where each row is one."""
    signal = read(data, form.schema, [])
    values = signal.values.reshape(-1, len(form.schema.channels))
    values = values if form.schema.whole else values[signal.slots]
    return [Line(name, value) for name, value in zip(form.schema.channels, values.T, strict=True)]


def _oddest_apart(subject: Subject) -> list[int]:
    places = subject.packed.places
    chosen: list[int] = []
    for window in subject.order.tolist():
        if places is None or all(
            abs(int(places.starts[window] - places.starts[other])) >= places.steps for other in chosen
        ):
            chosen.append(window)
        if len(chosen) == MOST_DRAWN:
            break
    return chosen


def _in_units(form: SeriesFormat, sample: np.ndarray) -> np.ndarray:
    values = [np.nan if value is None else value for value in form.cells_in_units(sample)]
    return np.array(values, dtype=np.float64).reshape(form.layout.shape)


def _window_axis(form: SeriesFormat) -> tuple[np.ndarray, str]:
    """Positions within a window and their unit in words."""
    steps = np.arange(form.rule.steps)
    sampling: Sampling | None = form.sampling
    if sampling is None or not sampling.clock:
        return steps, "step of the window"
    whole = sampling.step * form.rule.steps
    unit, seconds = next(
        (unit, seconds)
        for unit, seconds in (("days", 86400), ("hours", 3600), ("minutes", 60), ("seconds", 1))
        if whole >= 2 * seconds or seconds == 1
    )
    return steps * sampling.step / seconds, f"{unit} from the window's start"


def _times(index: pa.Array) -> np.ndarray:
    """Times for an axis: ISO words of the clock on the wall, or numbers."""
    if isinstance(index, pa.ChunkedArray):
        index = index.combine_chunks()
    if not (pa.types.is_timestamp(index.type) or pa.types.is_date(index.type)):
        return np.asarray(index.to_numpy(zero_copy_only=False))
    local = pc.local_timestamp(index) if getattr(index.type, "tz", None) else index
    moments = local.to_numpy(zero_copy_only=False).astype("datetime64[ms]")
    whole_seconds = (moments.astype(np.int64) % 1000 == 0).all()
    return np.asarray(np.datetime_as_string(moments, unit="s" if whole_seconds else "ms"))


def _plain_time(time: Any) -> Any:
    return time.item() if hasattr(time, "item") else time
