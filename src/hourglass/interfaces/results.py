"""What a detection found, for people and programs: a table of scores, reasons in words, events, one JSON document."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from hourglass.core.fitted import CALIBRATED_ON, Detection, FittedModel, Reason
from hourglass.data.audio import AudioFormat
from hourglass.data.events import Event, find_events, row_label
from hourglass.data.images import ImageFormat
from hourglass.data.samples import Packed
from hourglass.data.series import SeriesFormat
from hourglass.data.windows import Windows
from hourglass.interfaces.words import counted, reason_words, share_words

MOST_NAMES, MOST_REASONS = 10, 3
OUT_OF_FOLD = CALIBRATED_ON[1]


@dataclass(frozen=True)
class Findings:
    """A detection with its reasons for every row asked for, and its events."""

    model: FittedModel
    detection: Detection
    rate: float
    """The false-alarm rate asked for."""
    discovery_rate: float | None = None
    """The false discovery rate, where that was asked for instead."""
    windows: dict[int, str] = dataclasses.field(default_factory=dict)
    """The window that speaks for a row, in words, where a series was cut into windows."""
    events: list[Event] = dataclasses.field(default_factory=list)

    @property
    def places(self) -> Windows | None:
        """Where windows came from; None where each row is a sample, or a picture."""
        places = None if self.detection.packed is None else self.detection.packed.places
        return places if isinstance(places, Windows) else None

    @property
    def anomalies(self) -> list[int]:
        """The flagged rows, in time order."""
        rows: list[int] = np.flatnonzero(self.detection.is_anomaly).tolist()
        places = self.places
        return rows if places is None else sorted(rows, key=lambda row: int(places.slots[row]))

    @property
    def notices(self) -> list[str]:
        """What was accepted although odd, and what is to be known of the threshold."""
        found = self.detection
        packing = [] if found.packed is None else found.packed.notices
        return [*packing, *filter(None, [found.threshold.notice, found.drift])]

    @property
    def timed(self) -> bool:
        """Whether rows are known by their time."""
        return self.places is not None and self.places.times is not None

    @property
    def named(self) -> bool:
        """Whether rows are known by their names, as pictures from files are."""
        return bool(pa.types.is_string(self.detection.rows.index.type)) and not self.timed

    def name(self, row: int) -> str:
        """A row in words."""
        return str(self.detection.rows.index[row].as_py()) if self.named else f"{self.noun} {row}"

    @property
    def noun(self) -> str:
        if isinstance(self.model.format, AudioFormat):
            return "tile" if self.model.format.by_tile else "recording"
        return "picture" if isinstance(self.model.format, ImageFormat) else "row"

    def table(self) -> pa.Table:
        """One line an input row, in input order."""
        found = self.detection
        columns: dict[str, Any] = {"time" if self.timed else "name" if self.named else "row": found.rows.index}
        columns |= {"anomaly_score": found.rows.score, "p_value": found.p_value, "is_anomaly": found.is_anomaly}
        if self.places is not None:
            columns["covered"] = found.rows.covered
        words = [""] * len(found.is_anomaly)
        for row in {*found.reasons, *self.windows}:
            words[row] = self.words(row)
        return pa.table({**columns, "reasons": words})

    def words(self, row: int) -> str:
        """A row's top reasons as text; empty where none were asked for."""
        if isinstance(self.model.format, AudioFormat):
            return self.windows.get(row, "")  # one bin explains nothing, a stretch can be listened to
        reasons = "; ".join(map(with_share, self.detection.reasons.get(row, ())[:MOST_REASONS]))
        return f"{self.windows[row]}: {reasons}" if reasons and row in self.windows else reasons

    def document(self) -> dict[str, Any]:
        """Everything found, as JSON values."""
        found, calibration = self.detection, self.model.calibration
        return {
            "rows": len(found.is_anomaly),
            "anomalies": [self._anomaly(row) for row in self.anomalies],
            **({} if self.places is None else {"events": [self._event(event) for event in self.events]}),
            "threshold": found.threshold.value,
            "false_alarm_rate": None if self.discovery_rate is not None else self.rate,
            "false_discovery_rate": self.discovery_rate,
            "reachable_rate": found.threshold.reachable_rate,
            "calibrated_on": calibration.source,
            "calibration_rows": len(calibration.scores),
        }

    def _anomaly(self, row: int) -> dict[str, Any]:
        found = self.detection
        return {
            "row": row,
            **({"name": self.name(row)} if self.named else {}),
            **({"time": row_label(found.rows.index, row)} if self.timed else {}),
            **({"window": self.windows[row]} if row in self.windows else {}),
            "anomaly_score": float(found.rows.score[row]),
            "p_value": float(found.p_value[row]),
            "reasons": [dict(vars(reason)) for reason in found.reasons.get(row, ())],
        }

    def _event(self, event: Event) -> dict[str, Any]:
        names = {"start": event.start_label, "end": event.end_label, "peak": event.peak_label}
        return {**names, "peak_score": event.peak_score, "reasons": self.words(event.peak)}

    def summary(self) -> str:
        """What was found, in one sentence that names the first ones."""
        names, among = self._named()
        number = f"{len(names):,} {'anomaly' if len(names) == 1 else 'anomalies'}" if names else "no anomalies"
        more = f" and {len(names) - MOST_NAMES:,} more" if len(names) > MOST_NAMES else ""
        listing = f": {', '.join(names[:MOST_NAMES])}{more}" if names else ""
        return f"found {number} in {among} at a {self._rate_words()}{listing}"

    def _rate_words(self) -> str:
        if self.discovery_rate is not None:
            return f"false discovery rate of {self.discovery_rate:g}"
        return f"false-alarm rate of {self.rate:g}"

    def _named(self) -> tuple[list[str], str]:
        """The anomalies' names, and what they were found in."""
        form, rows = self.model.format, counted(len(self.detection.is_anomaly), self.noun)
        if not isinstance(form, SeriesFormat) or form.schema.whole:
            return [self.name(row) for row in self.anomalies], rows
        if form.rule.stride < form.rule.steps:  # windows overlap: a day's worth of them may be one anomaly
            return [_span(event) for event in self.events], rows
        names = list(dict.fromkeys(self.windows[row] for row in self.anomalies))
        count = len(self.detection.samples)
        is_day = form.rule.word == "1d"
        return names, counted(count, "day") if is_day else f"{counted(count, 'window')} of {form.rule.word}"

    def lines(self) -> list[str]:
        """The anomalies one a line: events with start, end and peak, or the oddest rows with their reasons."""
        if self.places is not None:
            count, shown = len(self.events), self.events[:MOST_NAMES]
            lines = [f"  {_span(each)}, peak {each.peak_label}, score {each.peak_score:.3g}" for each in shown]
        else:
            told = [row for row in self.anomalies if row in self.detection.reasons or row in self.windows]
            oddest = sorted(told, key=lambda row: -self.detection.rows.score[row])
            count, lines = len(oddest), [f"  {self.name(row)}: {self.words(row)}" for row in oddest[:MOST_NAMES]]
        more = count - MOST_NAMES
        return lines + ([f"  and {more:,} more"] if more > 0 else [])


def findings(
    model: FittedModel,
    detection: Detection,
    reasons: str,
    rate: float | None = None,
    discovery_rate: float | None = None,
) -> Findings:
    """A detection's findings. For a series, the `flagged` rows get their window's reasons, or `all` rows, or `none`."""
    rate = model.experiment.detection.false_alarm_rate if rate is None else rate
    found = Findings(model, detection, rate, discovery_rate)
    places, packed, form = found.places, detection.packed, model.format
    if packed is not None and isinstance(form, AudioFormat) and packed.groups is not None:
        return dataclasses.replace(found, windows=_oddest_tiles(form, detection, packed))
    if places is None or packed is None or not isinstance(form, SeriesFormat):
        return found
    owner = owners(places, detection.samples)
    flagged = np.flatnonzero(detection.is_anomaly)
    asked = {"flagged": flagged, "all": np.flatnonzero(owner >= 0), "none": flagged[:0]}[reasons]
    for row, reason in zip(asked.tolist(), _reasons(model, packed.samples, owner[asked]), strict=True):
        detection.reasons[row] = reason
    named = np.union1d(flagged, asked)
    labels = {window: form.window_label(places, window) for window in np.unique(owner[named]).tolist()}
    windows = {row: labels[window] for row, window in zip(named.tolist(), owner[named].tolist(), strict=True)}
    errors = _step_errors(model, packed.samples, places, owner, flagged)
    events = find_events(detection.is_anomaly, errors, detection.rows.index)
    scored = [dataclasses.replace(event, peak_score=float(detection.rows.score[event.peak])) for event in events]
    return dataclasses.replace(found, windows=windows, events=scored)


def _oddest_tiles(form: AudioFormat, detection: Detection, packed: Packed) -> dict[int, str]:
    """For each flagged recording its oddest tile, in words without the name: `1.25 s to 1.99 s`."""
    labels, names = form.labels(packed.places), packed.places.origin.names
    oddest = {}
    for row in np.flatnonzero(detection.is_anomaly).tolist():
        tiles = np.flatnonzero(packed.groups == row)
        label = labels[tiles[detection.samples[tiles].argmax()]]
        oddest[row] = label.removeprefix(f"{names[row]}, ")
    return oddest


def owners(places: Windows, scores: np.ndarray) -> np.ndarray:
    """For each input row, the window with the highest score that covers it; -1 where none does."""
    owner = np.full(places.total, -1)
    for window in np.argsort(scores, kind="stable"):
        start = places.starts[window]
        owner[start : start + places.steps] = window
    return np.asarray(owner[places.slots])


def _reasons(model: FittedModel, samples: np.ndarray, windows: np.ndarray) -> list[list[Reason]]:
    """Reasons of each of the windows, of which many may be the same one."""
    different, place = np.unique(windows, return_inverse=True)
    reasons = model.explain(samples[different])
    return [reasons[each] for each in place]


def _step_errors(
    model: FittedModel, samples: np.ndarray, places: Windows, owner: np.ndarray, rows: np.ndarray
) -> np.ndarray:
    """The error of each of `rows` at its own step, else 0: rows of one window share its score, but not their errors."""
    errors = np.zeros(len(owner))
    different, place = np.unique(owner[rows], return_inverse=True)
    if len(different):
        cells = model.cell_errors(samples[different])[0].reshape(len(different), places.steps, -1)
        errors[rows] = cells.mean(axis=2)[place, places.slots[rows] - places.starts[owner[rows]]]
    return errors


def _span(event: Event) -> str:
    return event.start_label if event.start == event.end else f"{event.start_label} to {event.end_label}"


def with_share(reason: Reason) -> str:
    """One reason as a person says it, with its part of the whole error.

    >>> with_share(Reason("amount", 14000.0, 1210.0, 0.618))
    'amount: 14,000 where 1,210 was expected (62 %)'
    """
    return f"{reason.cell}:{reason_words(reason).removeprefix(reason.cell)} ({share_words(reason.share)})"
