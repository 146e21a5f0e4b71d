"""Series become windows, and what a model says of windows comes back to time steps.

data -> Schema (signals.py)      which columns are channels, which is the time, whether rows are windows
     -> Signal (signals.py)      sorted, on an even grid, short gaps filled (grid.py)
     -> WindowRule (windows.py)  by length or by calendar; Windows remembers where each came from
     -> Scaler (scaling.py)      packed samples (n, steps, channels), float32
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self, final

import numpy as np
import pyarrow as pa
import torch

from hourglass.data.formats import Data, Format, FormatSettings, Rows, plain_values
from hourglass.data.grid import DAY, Grid
from hourglass.data.samples import Frame, Layout, Packed
from hourglass.data.scaling import SCALERS, Scaler, make_scaler
from hourglass.data.signals import Schema, Signal, bridge_gaps, learn_schema, read, without_empty_channels
from hourglass.data.times import counted, length_word
from hourglass.data.windows import WindowRule, Windows, covered, cut, longest_stretch, window_rule
from hourglass.errors import DataError, ModelFileError, SchemaError, UsageError
from hourglass.settings import option

SAME_STEP = 0.01
"""Relative difference at which two sampling steps still count as the same."""
_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


@dataclass(frozen=True)
class SeriesSettings(FormatSettings):
    """How series are cut into windows and scaled."""

    name = "series"

    window: str | None = option(
        None, "steps (48), a length (30min, 1h, 1d, 1w), or row: each row is one (default: by rule)"
    )
    stride: int | None = option(
        None, "steps between windows (default: a calendar window, else about a quarter window)", low=1
    )
    scaling: str = option("standard", "how values are scaled", choices=tuple(SCALERS))
    over: str = option("channel", "whether each channel has its own scale or all share one", choices=("channel", "all"))
    time: str | None = option(None, "the time column (default: found by type or name)")
    columns: tuple[str, ...] | None = option(None, "the channels' columns (default: every column of numbers)")
    ignore: tuple[str, ...] | None = option(None, "columns to leave out")
    max_gap: int = option(2, "most missing steps in a row that a straight line fills", low=0)

    def fit(self, data: Data) -> SeriesFormat:
        """Learn channels, window and scaling from an array of 1 to 3 dimensions or a `Frame`.

        A 1-d array is one series. The rows of a 2-d array and the series of a 3-d array (series, step, channel) are one
        window each, unless `window` says how to cut them (rows of a 2-d array are then steps). The default window is
        described at `windows.default_window`.
        """
        notices: list[str] = []
        schema = learn_schema(
            data, window=self.window, time=self.time, columns=self.columns, ignore=self.ignore, notices=notices
        )
        signal, schema = without_empty_channels(read(data, schema, notices), schema, notices)
        signal = bridge_gaps(signal, schema.whole, self.max_gap, notices)
        steps = signal.values.shape[1]
        rule = WindowRule(steps, steps) if schema.whole else window_rule(self.window, self.stride, signal)
        scaler = self.scaler(signal.values.reshape(-1, len(schema.channels)))
        return SeriesFormat(self, schema, rule, scaler, Sampling.of(signal.grid), notices)

    def scaler(self, numbers: np.ndarray) -> Scaler:
        """A scaler learned from steps (n, channels)."""
        return make_scaler(self.scaling, numbers, "all" if self.over == "all" else "column")


@dataclass(frozen=True)
class Sampling:
    """How often a series was measured."""

    step: float
    """Seconds from one step to the next; in their own unit where times are plain numbers."""
    clock: bool
    """Whether times are moments rather than plain numbers."""

    @classmethod
    def of(cls, grid: Grid | None) -> Self | None:
        return None if grid is None else cls(grid.step_length, bool(grid.unit))

    @property
    def word(self) -> str:
        return length_word(self.step) if self.clock else f"{self.step:.6g} (a plain number)"

    def equals(self, other: Sampling) -> bool:
        return self.clock == other.clock and abs(self.step / other.step - 1) <= SAME_STEP


@final
@dataclass(eq=False)
class SeriesFormat(Format):
    """Series as packed windows of shape (steps, channels), and back."""

    modality: ClassVar[str] = "series"

    settings: SeriesSettings
    schema: Schema
    rule: WindowRule
    scaler: Scaler
    sampling: Sampling | None
    notices: list[str]
    layout: Layout = field(init=False)

    def __post_init__(self) -> None:
        self.layout = Layout((self.rule.steps, len(self.schema.channels)))

    def pack(self, data: Data) -> Packed:
        """The windows of `data`, scaled; `places` is a `Windows`, or None where each row is a window."""
        notices: list[str] = []
        signal = self._signal(data, notices)
        source = data.source if isinstance(data, Frame) else ""
        if self.schema.whole:
            return self._pack_whole(signal.values, source, notices)
        self._check_sampling(signal.grid, source)
        complete = signal.complete
        starts = self.rule.starts(complete, signal.grid)
        if not len(starts):
            raise self._too_short(complete, source)
        series, length, channels = signal.values.shape
        scaled = self.scaler.scale(signal.values.reshape(-1, channels))
        total = series * length
        places = Windows(starts, self.rule.steps, length, total, signal.slots, signal.shape, signal.grid, signal.times)
        self._note_uncovered(places, complete.ravel(), notices)
        # not from the stride: the last window of a stretch is moved back, over more than one before it
        overlap = np.arange(len(starts)) - np.searchsorted(starts, starts - self.rule.steps, side="right")
        return Packed(cut(scaled, starts, self.rule.steps), places, notices, int(overlap.max()), ordered=True)

    def pack_like(self, data: Data, places: object) -> Packed:
        return self.pack(data)

    def rescaled(self, data: Data, chosen: np.ndarray) -> SeriesFormat:
        """The same windows, the scale learned from the steps of the chosen ones only."""
        signal = self._signal(data, [])
        steps = signal.values.reshape(-1, len(self.schema.channels))
        starts = np.arange(len(signal.values)) * self.rule.steps
        if not self.schema.whole:
            starts = self.rule.starts(signal.complete, signal.grid)
        used = covered(starts[chosen], self.rule.steps, len(steps))
        return dataclasses.replace(self, scaler=self.settings.scaler(steps[used]))

    def _signal(self, data: Data, notices: list[str]) -> Signal:
        return bridge_gaps(read(data, self.schema, notices), self.schema.whole, self.settings.max_gap, notices)

    def _pack_whole(self, values: np.ndarray, source: str, notices: list[str]) -> Packed:
        if values.shape[1] != self.rule.steps:
            what = f"got rows of {counted(values.shape[1], 'step')}, wanted {self.rule.steps}"
            raise SchemaError(what, where=source, how="give windows as long as those that the model was fitted on")
        return Packed(self.scaler.scale(values), None, notices)

    def _check_sampling(self, grid: Grid | None, source: str) -> None:
        got, wanted = Sampling.of(grid), self.sampling
        if got is not None and wanted is not None and not got.equals(wanted):
            raise SchemaError(
                f"got a step of {got.word}, wanted {wanted.word}, as at fit",
                where=source,
                how="resample the series to that step, or fit a model on this one",
            )

    def _too_short(self, complete: np.ndarray, source: str) -> DataError:
        longest = longest_stretch(complete)
        if longest >= self.rule.steps:
            got = f"got no whole window of {self.rule.word} in {counted(longest, 'step')}"
            return DataError(got, where=source, how="give a longer series, or set the window as a number of steps")
        got = f"got {counted(longest, 'step')}" + ("" if complete.all() else " without a gap")
        how = "give a longer series, or fit with a shorter window; a larger max_gap bridges longer gaps"
        return DataError(f"{got}, wanted at least {self.rule.steps}", where=source, how=how)

    def _note_uncovered(self, places: Windows, complete: np.ndarray, notices: list[str]) -> None:
        left = int((complete & ~covered(places.starts, places.steps, places.total)).sum())
        if left:
            notices.append(f"{counted(left, 'step')} in no whole window of {self.rule.word}: not scored by themselves")

    def unpack(self, samples: np.ndarray, places: Any = None) -> np.ndarray | pa.Table:
        """Windows in units, in the form and row order of the data; overlapping windows averaged, uncovered rows NaN.

        Where each row is a window: (n, steps), (n, steps, channels), or a table with a column a step. Without `places`
        a cut series stays in windows, (n, steps, channels).
        """
        units = self.scaler.unscale(np.asarray(samples).reshape(-1, *self.layout.shape))
        if self.schema.whole:
            return self._unpack_whole(units)
        if places is None:
            return units
        rows = places.at_rows(units)
        if places.shape is not None:
            return self.schema.widened(rows).reshape(places.shape)
        time = {} if self.schema.time is None else {self.schema.time: places.times}
        return pa.table(time | dict(zip(self.schema.channels, rows.T, strict=True)))

    def _unpack_whole(self, units: np.ndarray) -> np.ndarray | pa.Table:
        if self.schema.dimensions == 3:
            return self.schema.widened(units)
        rows = units[:, :, 0]
        return pa.table(dict(zip(self.schema.columns, rows.T, strict=True))) if self.schema.columns else rows

    def rows(self, scores: np.ndarray, places: Any) -> Rows:
        """A row's score is the mean over the windows that cover it.

        The rows of a 3-d array that is cut into windows are its steps, series after series.
        """
        scores = np.asarray(scores, dtype=np.float64)
        if places is None:
            return Rows(pa.array(np.arange(len(scores))), scores, np.ones(len(scores), dtype=bool))
        means = places.at_rows(scores[:, None, None])[:, 0]
        covered = ~np.isnan(means)
        return Rows(places.index, np.where(covered, means, np.median(scores)), covered)

    def step_errors(self, cell_errors: np.ndarray, places: Any) -> np.ndarray:
        """Mean cell error of each input row, over its windows and channels, from errors (n, steps * channels).

        Shape (rows,), NaN where no window reaches; it says where inside an event the peak lies.
        """
        errors = np.asarray(cell_errors, dtype=np.float64).reshape(-1, *self.layout.shape)
        if places is None:
            return np.asarray(np.nanmean(errors, axis=(1, 2)))
        return np.asarray(places.at_rows(errors).mean(axis=1))

    def window_label(self, places: Any, window: int) -> str:
        """A window in words: "2014-11-27", "steps 96 to 143", "row 5"."""
        if places is None:
            return f"series {window}" if self.schema.dimensions == 3 else f"row {window}"
        return str(places.label(window))

    def window_rows(self, places: Any, window: int) -> np.ndarray:
        """The input rows that lie in a window, in the order of their steps."""
        return np.array([window]) if places is None else np.asarray(places.rows_of(window))

    def rows_in_units(self, samples: np.ndarray) -> list[list[Any]]:
        """Each window's values in units, step by step; None where missing."""
        return plain_values(self.scaler.unscale(samples.reshape(-1, *self.layout.shape)))

    def cell_names(self) -> list[str]:
        """`value at 07:30` in days, `value on Mon at 07:30` in weeks, else `value[3]` or the column of the step."""
        if self.schema.whole and self.schema.columns:
            return list(self.schema.columns)
        places = [self._step_name(step) for step in range(self.rule.steps)]
        return [f"{channel}{place}" for place in places for channel in self.schema.channels]

    def _step_name(self, step: int) -> str:
        rule = self.rule
        if self.sampling is None or rule.calendar not in (DAY, 7 * DAY) or rule.stride % rule.steps:
            return f"[{step}]"
        day, second = divmod(round(step * self.sampling.step), DAY)
        hour, minute = divmod(second // 60, 60)
        clock = f"{hour:02d}:{minute:02d}" + (f":{second % 60:02d}" if self.sampling.step % 60 else "")
        if rule.calendar == DAY:
            return f" at {clock}"
        return f" on {_WEEKDAYS[day]}" if self.sampling.step == DAY else f" on {_WEEKDAYS[day]} at {clock}"

    def document(self) -> dict[str, Any]:
        return {
            "settings": self.settings.as_json(),
            "schema": self.schema.as_json(),
            "rule": dict(vars(self.rule)),
            "sampling": None if self.sampling is None else dict(vars(self.sampling)),
            "notices": list(self.notices),
        }

    def tensors(self) -> dict[str, torch.Tensor]:
        return self.scaler.tensors()

    @classmethod
    def restore(cls, document: dict[str, Any], tensors: dict[str, torch.Tensor]) -> Self:
        try:
            settings = SeriesSettings.from_json(document["settings"])
            schema, rule = Schema.from_json(document["schema"]), WindowRule(**document["rule"])
            sampling = None if document["sampling"] is None else Sampling(**document["sampling"])
            notices = [str(notice) for notice in document["notices"]]
        except (KeyError, TypeError, AttributeError, UsageError) as error:
            raise ModelFileError(f"the series format is not described as it should be: {error!r}") from error
        if not all(isinstance(steps, int) and steps >= 1 for steps in (rule.steps, rule.stride)):
            raise ModelFileError("the series format is not described as it should be")
        scaler = SCALERS[settings.scaling].from_tensors(tensors)
        if any(len(tensor) not in (1, len(schema.channels)) for tensor in tensors.values()):
            raise ModelFileError(f"the scaler does not fit {counted(len(schema.channels), 'channel')}")
        return cls(settings, schema, rule, scaler, sampling, notices)
