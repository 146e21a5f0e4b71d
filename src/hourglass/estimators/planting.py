"""Held-out rows with something wrong planted in every other one: what detectors can be judged on without labels."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hourglass.core.kinds import Experiment
from hourglass.data.formats import Data
from hourglass.data.samples import Frame, Layout, Pictures, Recordings
from hourglass.data.series import SeriesFormat, SeriesSettings
from hourglass.data.signals import read
from hourglass.data.windows import stride_at_every_phase, strongest_period
from hourglass.errors import DataError, UsageError

_HELD_OUT = 0.25
_FEWEST_ROWS = 40
_BLOCK, _EVENT = 2, 2
"""Windows from one place for an event to the next, and events that would fill a window."""


@dataclass(frozen=True)
class Planted:
    """Held-out rows, some of them tampered with."""

    data: Data
    touched: np.ndarray
    """Whether a row (a step of a series that is cut into windows) was, shape (rows,)."""


@dataclass(frozen=True)
class Window:
    """A way to cut a series into windows."""

    word: str | None
    """What the option `window` says for it; None: the default rule."""
    steps: int
    stride: int


@dataclass(frozen=True)
class Ground:
    """What candidates are compared on, the same for all: rows to train on, and rows held out from them."""

    train: Data
    held_out: Data
    planted: dict[str, Planted]
    windows: tuple[Window | None, ...]
    """Ways to cut the series that are worth trying; one None where samples are rows."""

    def plan(self, plan: Experiment, window: Window | None) -> Experiment:
        """The experiment as it is fitted to `train`: of series, only the numbers are left here."""
        form = plan.format
        if not isinstance(form, SeriesSettings):
            return plan
        cut = (
            {"window": None, "stride": None}
            if window is None
            else {"window": str(window.steps), "stride": window.stride}
        )
        return plan.replace(format=form.replace(time=None, columns=None, ignore=None, **cut))


def ground(data: Data, plan: Experiment) -> Ground:
    """Split `data` into rows to train on and rows held out (a quarter: the last of a series, else drawn at random)."""
    if plan.modality not in _GROUNDS or isinstance(data, Pictures | Recordings):
        how = "choose by `evaluate` on samples that you know, or by what reconstructions look and sound like"
        raise UsageError(f"candidates for the modality {plan.modality} cannot be compared yet", where="tune", how=how)
    return _GROUNDS[plan.modality](data, plan)


# Tables


def _of_table(data: Data, plan: Experiment) -> Ground:
    random = np.random.default_rng(plan.training.seed)
    kept, chosen = _drawn(data.table.num_rows if isinstance(data, Frame) else len(data), random)
    train, held_out = _rows(data, kept), _rows(data, chosen)
    form = plan.format.fit(train)
    samples = form.pack(held_out).samples

    def planted(change: TableChange) -> Planted:
        changed = samples.copy()
        changed[1::2] = change(samples, form.layout, random)[1::2]
        units = form.unpack(changed)
        rows = units if isinstance(units, np.ndarray) else Frame(units)
        return Planted(rows, np.arange(len(samples)) % 2 == 1)

    return Ground(train, held_out, {name: planted(change) for name, change in TABLE_CHANGES.items()}, (None,))


def _rows(data: Data, chosen: np.ndarray) -> Data:
    if isinstance(data, Frame):
        return dataclasses.replace(data.at(chosen), notices=data.notices)
    return np.asarray(np.asarray(data)[chosen])


def _drawn(count: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    if count < _FEWEST_ROWS:
        how = "with so few, keep the default: hourglass fit"
        raise DataError(f"got {count} rows, wanted at least {_FEWEST_ROWS} to compare by", where="tune", how=how)
    order, held = random.permutation(count), round(count * _HELD_OUT)
    return np.sort(order[held:]), order[:held]


TableChange = Callable[[np.ndarray, Layout, np.random.Generator], np.ndarray]
"""From packed rows (rows, numbers) to what they are with something wrong in each."""


def _swapped(share: float) -> TableChange:
    """Some cells of each row are those of another row: each usual, not together (0: a single cell)."""

    def change(rows: np.ndarray, layout: Layout, random: np.random.Generator) -> np.ndarray:
        cell_of = layout.cell_of()
        cells = int(cell_of.max()) + 1
        order = random.random((len(rows), cells)).argsort(axis=1)
        foreign = order < max(1, round(share * cells))
        donors = (np.arange(len(rows)) + random.integers(1, len(rows), len(rows))) % len(rows)
        return np.where(foreign[:, cell_of], rows[donors], rows)

    return change


def _noisy(rows: np.ndarray, layout: Layout, random: np.random.Generator) -> np.ndarray:
    """Half a standard deviation of noise on every number; flags and categories stay."""
    kinds = [cell.kind for cell in layout.cells] or ["number"] * layout.size
    number = np.array([kinds[cell] == "number" for cell in layout.cell_of()])
    noise = 0.5 * np.nanstd(rows, axis=0) * random.standard_normal(rows.shape)
    return np.asarray(np.where(number, rows + noise, rows), dtype=np.float32)


TABLE_CHANGES: dict[str, TableChange] = {
    "one cell swapped": _swapped(0.0),
    "a quarter swapped": _swapped(0.25),
    "noise": _noisy,
}
"""From the hardest to find to the easiest; what is wrong is that cells do not go together."""


# Series


def _of_series(data: Data, plan: Experiment) -> Ground:
    random = np.random.default_rng(plan.training.seed)
    form = plan.format.fit(data)
    if not isinstance(form, SeriesFormat):
        raise UsageError(f"got the format {form.settings.name}, wanted series", where="tune", how="give a series")
    values = read(data, form.schema, []).values
    if form.schema.whole:
        kept, chosen = _drawn(len(values), random)
        train, held_out, block = values[kept], values[chosen], values.shape[1]
        windows: tuple[Window | None, ...] = (None,)
        event = max(1, block // (_BLOCK * _EVENT))
    else:
        train, held_out, windows = _cut(values, form, asked=getattr(plan.format, "window", None))
        block, event = _BLOCK * form.rule.steps, max(1, form.rule.steps // _EVENT)

    def planted(change: Event) -> Planted:
        changed, touched = _with_events(held_out, block, event, change, random)
        return Planted(changed, np.logical_or.reduce(touched, axis=1) if form.schema.whole else touched.ravel())

    return Ground(train, held_out, {name: planted(change) for name, change in EVENTS.items()}, windows)


def _cut(
    values: np.ndarray, form: SeriesFormat, asked: str | None
) -> tuple[np.ndarray, np.ndarray, tuple[Window | None, ...]]:
    """The first and the last steps of series (series, steps, channels), and the windows worth trying."""
    rule, steps = form.rule, values.shape[1]
    # whole windows from the start, so that a day that is held out begins when one that was trained on does
    first = int(steps * (1 - _HELD_OUT)) // rule.steps * rule.steps
    if (steps - first) * len(values) < 2 * _BLOCK * rule.steps or not first:
        wanted = round(2 * _BLOCK / _HELD_OUT)
        how = "name a shorter one: --window"
        what = f"got {steps:,} steps, wanted at least {wanted} times the window of {rule.word}"
        raise DataError(what, where="tune", how=how)
    windows = [Window(asked, rule.steps, rule.stride)]
    period = strongest_period(values[0, :first]) if asked is None else None
    for several in (1, 2) if period else ():
        length = several * (period or 0)
        if length * 2 * _BLOCK <= steps - first and length not in {window.steps for window in windows}:
            windows.append(Window(str(length), length, stride_at_every_phase(length, length // 4)))
    return values[:, :first], values[:, first:], tuple(windows)


Event = Callable[[np.ndarray, slice, np.ndarray, np.random.Generator], slice]
"""Changes one channel (steps,) of a block in place, somewhere in a stretch of it, given the whole channel as it was
(n,); returns the steps that it touched."""


def _with_events(
    values: np.ndarray, block: int, length: int, event: Event, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Series (series, steps, channels) with an event in every other block of steps, and the touched steps."""
    series, steps, channels = values.shape
    changed, touched = values.copy(), np.zeros((series, steps), dtype=bool)
    places = [(row, start) for row in range(series) for start in range(0, steps - block + 1, block)]
    for row, start in places[1::2]:
        channel = int(random.integers(channels))
        first = start + int(random.integers(block - length + 1))
        at = event(changed[row, :, channel], slice(first, first + length), values[:, :, channel].ravel(), random)
        touched[row, at] = True
    return changed, touched


def _spike(channel: np.ndarray, stretch: slice, known: np.ndarray, random: np.random.Generator) -> slice:
    """One step is three standard deviations off."""
    at = slice(stretch.start, stretch.start + 1)
    channel[at] += random.choice((-3, 3)) * np.nanstd(known)
    return at


def _shift(channel: np.ndarray, stretch: slice, known: np.ndarray, random: np.random.Generator) -> slice:
    """The level of a stretch is one standard deviation off."""
    channel[stretch] += random.choice((-1, 1)) * np.nanstd(known)
    return stretch


def _foreign(channel: np.ndarray, stretch: slice, known: np.ndarray, random: np.random.Generator) -> slice:
    """A stretch is what was seen at another time."""
    length = stretch.stop - stretch.start
    start = int(random.integers(len(known) - length + 1))
    channel[stretch] = known[start : start + length]
    return stretch


EVENTS: dict[str, Event] = {"spike": _spike, "level shift": _shift, "foreign stretch": _foreign}

_GROUNDS: dict[str, Callable[[Data, Experiment], Ground]] = {"table": _of_table, "series": _of_series}
