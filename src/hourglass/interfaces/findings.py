"""What a detection found, for people and for programs: a table of scores, reasons in words, events, one JSON document."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from hourglass.core.fitted import Detection, FittedModel, Reason
from hourglass.data.events import Event, find_events, row_label
from hourglass.data.series import SeriesFormat
from hourglass.data.windows import Windows
from hourglass.interfaces.words import reason_words, share_words

MOST_NAMES, MOST_REASONS = 10, 3


@dataclass(frozen=True)
class Findings:
    """A detection with its reasons for every row and its events."""

    model: FittedModel
    detection: Detection
    windows: dict[int, str]
    """The window that speaks for a row, in words, where a series was cut into windows."""
    events: list[Event]
    rate: float
    """The false-alarm rate asked for."""

    @property
    def timed(self) -> bool:
        """Whether rows are known by their time."""
        return getattr(_places(self.detection), "times", None) is not None

    @property
    def anomalies(self) -> np.ndarray:
        """The flagged rows."""
        return np.flatnonzero(self.detection.is_anomaly)

    def row_name(self) -> str:
        return "time" if self.timed else "row"

    def table(self) -> pa.Table:
        """One line an input row, in input order."""
        found = self.detection
        columns = {
            self.row_name(): found.rows.index,
            "anomaly_score": found.rows.score,
            "p_value": found.p_value,
            "is_anomaly": found.is_anomaly,
        }
        if _places(found) is not None:
            columns["covered"] = found.rows.covered
        return pa.table({**columns, "reasons": [self.words(row) for row in range(len(found.is_anomaly))]})

    def words(self, row: int) -> str:
        """A row's top reasons as text; empty where none were asked for."""
        reasons = "; ".join(with_share(reason) for reason in self.detection.reasons.get(row, ())[:MOST_REASONS])
        return f"{self.windows[row]}: {reasons}" if reasons and row in self.windows else reasons

    def document(self) -> dict[str, Any]:
        """Everything found, as JSON values."""
        found, calibration = self.detection, self.model.calibration
        series = {"events": [self._event(event) for event in self.events]} if _places(found) is not None else {}
        return {
            "rows": len(found.is_anomaly),
            "anomalies": [self._anomaly(int(row)) for row in self.anomalies],
            **series,
            "threshold": found.threshold.value,
            "false_alarm_rate": self.rate,
            "reachable_rate": found.threshold.reachable_rate,
            "calibrated_on": calibration.source,
            "calibration_rows": len(calibration.scores),
        }

    def _anomaly(self, row: int) -> dict[str, Any]:
        found = self.detection
        window = {"window": self.windows[row]} if row in self.windows else {}
        return {
            "row": row,
            **({"time": row_label(found.rows.index, row)} if self.timed else {}),
            "anomaly_score": float(found.rows.score[row]),
            "p_value": float(found.p_value[row]),
            **window,
            "reasons": [dataclasses.asdict(reason) for reason in found.reasons.get(row, ())],
        }

    def _event(self, event: Event) -> dict[str, Any]:
        return {
            "start": event.start_label,
            "end": event.end_label,
            "peak": event.peak_label,
            "peak_score": event.peak_score,
            "reasons": self.words(event.peak),
        }

    def summary(self) -> str:
        """What was found, in one sentence that names the first ones."""
        names, kind, total = self._named()
        counted = f"{len(names)} {'anomaly' if len(names) == 1 else 'anomalies'}" if names else "no anomalies"
        more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
        listing = f": {', '.join(names[:MOST_NAMES])}{more}" if names else ""
        return f"found {counted} in {total:,} {kind} at a false-alarm rate of {self.rate:g}{listing}"

    def _named(self) -> tuple[list[str], str, int]:
        """The anomalies' names, what they are counted among, and how many of those there are."""
        form, rows = self.model.format, len(self.detection.is_anomaly)
        if not isinstance(form, SeriesFormat) or form.schema.whole:
            return [f"row {row}" for row in self.anomalies], "rows", rows
        if form.rule.stride >= form.rule.steps:
            names = list(dict.fromkeys(self.windows[int(row)] for row in self._in_time_order()))
            return names, "days" if form.rule.word == "1d" else f"windows of {form.rule.word}", len(self.detection.samples)
        return [_span(event) for event in self.events], "rows", rows

    def _in_time_order(self) -> list[int]:
        places = _places(self.detection)
        return sorted(self.anomalies.tolist(), key=lambda row: int(places.slots[row]) if places is not None else row)

    def event_lines(self) -> list[str]:
        """The events with start, end, peak and the peak's reasons, one a line."""
        lines = [f"  {_span(event)}, peak {event.peak_label} (score {event.peak_score:.3g})" for event in self.events]
        more = len(lines) - MOST_NAMES
        return lines[:MOST_NAMES] + ([f"  and {more} more events"] if more > 0 else [])

    def reason_lines(self) -> list[str]:
        """The oddest rows with their reasons, one a line, where rows are samples."""
        if _places(self.detection) is not None:
            return []
        oddest = sorted(self.anomalies.tolist(), key=lambda row: -self.detection.rows.score[row])
        return [f"  row {row}: {self.words(row)}" for row in oddest[:MOST_NAMES] if self.words(row)]


def findings(model: FittedModel, detection: Detection, reasons: str, rate: float | None = None) -> Findings:
    """The detection with reasons for its `flagged` rows, `all` of them or `none`. Fills `detection.reasons` for series."""
    asked = model.experiment.detection.false_alarm_rate if rate is None else rate
    places = _places(detection)
    if places is None:
        return Findings(model, detection, {}, [], asked)
    owner = owners(places, detection.samples)
    flagged = np.flatnonzero(detection.is_anomaly)
    chosen = {"flagged": flagged, "all": np.flatnonzero(owner >= 0), "none": flagged[:0]}[reasons]
    _explain(model, detection, owner, chosen)
    named = np.union1d(flagged, chosen)
    labels = {window: model.format.window_label(places, window) for window in np.unique(owner[named]).tolist()}  # type: ignore[attr-defined]
    windows = {row: labels[window] for row, window in zip(named.tolist(), owner[named].tolist(), strict=True)}
    return Findings(model, detection, windows, _events(model, detection, owner), asked)


def owners(places: Windows, scores: np.ndarray) -> np.ndarray:
    """For each input row, the window with the highest score that covers it; -1 where none does."""
    owner = np.full(places.total, -1)
    for window in np.argsort(scores, kind="stable"):
        start = places.starts[window]
        owner[start : start + places.steps] = window
    return owner[places.slots]


def _explain(model: FittedModel, detection: Detection, owner: np.ndarray, rows: np.ndarray) -> None:
    windows = np.unique(owner[rows])
    reasons = dict(zip(windows.tolist(), model.explain(_samples(detection, windows)), strict=True))
    detection.reasons.update({row: reasons[window] for row, window in zip(rows.tolist(), owner[rows].tolist(), strict=True)})


def _events(model: FittedModel, detection: Detection, owner: np.ndarray) -> list[Event]:
    """Flagged runs; the peak is the worst step, since the rows of one window all have its score."""
    rows = np.flatnonzero(detection.is_anomaly)
    if not len(rows):
        return []
    places, windows = _places(detection), np.unique(owner[rows])
    errors = model.cell_errors(_samples(detection, windows))[0].reshape(len(windows), places.steps, -1).mean(axis=2)
    steps = np.zeros(len(owner))
    steps[rows] = errors[np.searchsorted(windows, owner[rows]), places.slots[rows] - places.starts[owner[rows]]]
    events = find_events(detection.is_anomaly, steps, detection.rows.index)
    return [dataclasses.replace(event, peak_score=float(detection.rows.score[event.peak])) for event in events]


def _places(detection: Detection) -> Any:
    return None if detection.packed is None else detection.packed.places


def _samples(detection: Detection, windows: np.ndarray) -> np.ndarray:
    return detection.packed.samples[windows] if detection.packed is not None else np.empty(0)


def _span(event: Event) -> str:
    return event.start_label if event.start == event.end else f"{event.start_label} to {event.end_label}"


def with_share(reason: Reason) -> str:
    """One reason as a person says it, with its part of the whole error.

    >>> with_share(Reason("amount", 14000.0, 1210.0, 0.618))
    'amount: 14,000 where 1,210 was expected (62 %)'
    """
    return f"{reason.cell}:{reason_words(reason).removeprefix(reason.cell)} ({share_words(reason.share)})"
