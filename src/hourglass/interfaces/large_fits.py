"""A fit to tables that do not fit in memory: one pass to learn the format, one to pack rows to disk, then training."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import torch

from hourglass.core.fitted import FittedModel
from hourglass.core.fitting import Gathered, Keep, fit_stream
from hourglass.core.kinds import Experiment
from hourglass.core.parallel import ALONE, Team
from hourglass.data.alike import Alike
from hourglass.data.listing import several
from hourglass.data.samples import Frame
from hourglass.data.scaling import MinMax, Scaler, Standardise
from hourglass.data.shards import TABLES, Shards, decoded_size, find_shards, one_shard
from hourglass.data.spool import Spool
from hourglass.data.surveys import Moments, RowSample, Survey
from hourglass.data.table_blocks import table_blocks
from hourglass.data.tables import TableFormat, TableSettings
from hourglass.errors import DataError, UsageError
from hourglass.interfaces.labels import check_normal, equal_to, label_column
from hourglass.interfaces.learning import Listener, choose_modality, planned, remember
from hourglass.interfaces.memory import bytes_of
from hourglass.interfaces.options import Fit

_COPIES = 4
"""How often a table is in memory while it is fitted to as a whole: as Arrow, numbers, samples, and samples chosen."""
_WINDOW, _BLOCK, _SAMPLE = 4, 64, 256
"""The parts of the memory that shuffled rows, a block of rows, and rows drawn from all take, as one in so many."""
_MOST_DRAWN = 200_000


def too_large(request: Fit) -> Shards | None:
    """The tables to fit to, where they do not fit in the memory that may be used; None where data are read whole.

    `UsageError` for what then cannot be done, and for a bound on anything but tables.
    """
    shards = find_shards(request.data) or (one_shard(request.data) if request.memory else None)
    if shards is not None and shards.single and not request.memory:  # read whole, wherever it lies
        return None
    if shards is None and request.memory:
        how = f"give a folder or glob of tables, or a table: {', '.join(TABLES)}"
        raise UsageError("only tables are fitted to in bounded memory", where="--memory", how=how)
    if shards is None or _whole_size(request, shards) * _COPIES <= bytes_of(request.memory):
        return None
    for option in ("report", "clean", "noise"):
        if getattr(request, option):
            how = "leave it out, or give more --memory"
            raise UsageError("needs all rows in memory at once", where=f"--{option}", how=how)
    return shards


def _whole_size(request: Fit, shards: Shards) -> int:
    """Bytes that the rows of all shards take in memory; those that cannot be read take none where they are skipped."""
    total = 0
    for name in shards.names:
        try:
            total += decoded_size(shards.path(name))
        except DataError:
            if not request.skip_bad:
                raise
    return total


def learn_stream(
    request: Fit, shards: Shards, listener: Listener, keep: Keep | None = None, team: Team = ALONE
) -> FittedModel:
    """A detector fitted to the rows of all shards, of which only a part is in memory at any time.

    In a team, each reads all rows, learns the same format, and keeps its share.
    """
    memory = bytes_of(request.memory)
    rows = _Rows.of(request, shards, memory, listener)
    survey = rows.surveyed()
    sample, held_out = survey.sample.frame(shards.source), survey.held_out.frame(shards.source)
    if sample is None or survey.moments is None:
        raise DataError("there are no rows to learn from", where=shards.source, how="give tables with rows")
    form = _format(rows, sample, survey.moments)
    form.notices += [*sample.notices, f"columns were chosen by {sample.table.num_rows:,} of {survey.rows:,} rows"]
    if rows.failed:
        form.notices.append(f"skipped tables that cannot be read: {several([*map(': '.join, rows.failed.items())])}")
    digest = hashlib.sha256()
    with ExitStack() as stack:
        window = memory // _WINDOW
        spool = stack.enter_context(Spool(Path(request.output).absolute().parent, form.layout.shape, window))
        packed = 0
        for frame, _, held in rows.blocks("packing"):
            samples = form.pack(frame).samples
            digest.update(np.ascontiguousarray(samples).data)
            spool.append(samples[~held], team.part(packed))
            packed += int(np.count_nonzero(~held))
        spool.example = _example(form.pack(sample).samples, spool.gap)
        kept = form.pack(held_out).samples if held_out is not None else np.empty((0, *form.layout.shape), np.float32)
        gathered = Gathered(form, spool, kept, survey.rows, digest.hexdigest())
        model = fit_stream(gathered, rows.plan, report=listener.epoch, keep=keep, team=team)
    remember(model, request)
    return model


def _table_settings(plan: Experiment) -> TableSettings:
    """The options of a table's format."""
    if not isinstance(plan.format, TableSettings):
        what = f"the format is {plan.format.name}, and only tables are fitted to in bounded memory"
        raise UsageError(what, how="add --modality table, or give the data as one file")
    return plan.format


def _format(rows: _Rows, sample: Frame, moments: Moments) -> TableFormat:
    """Columns, words and baselines as the drawn rows have them; scales of all rows, where sums tell them."""
    settings = _table_settings(rows.plan)
    form = settings.fit(sample)
    places = [rows.names.index(column.name) for column in form.columns if column.scaled]
    if settings.over != "column" or settings.scaling not in ("standard", "min-max") or not places:
        return form
    mean, deviation, low, high = (
        array[places] for array in (moments.mean, moments.deviation, moments.low, moments.high)
    )
    scaler: Scaler = (
        Standardise.of(mean, deviation)
        if settings.scaling == "standard"
        else MinMax.of(low, high, settings.low, settings.high)
    )
    return form.scaled_by(scaler, sample)


def _example(samples: np.ndarray, gap: np.ndarray | None) -> torch.Tensor:
    """The drawn samples, with one that lacks a number where others lack some and none of these does."""
    if gap is not None and not np.isnan(samples).any():
        samples = np.concatenate([samples, gap[None]])
    return torch.from_numpy(samples)


def _first_block(request: Fit, shards: Shards) -> Frame:
    """The first rows of the first shard that has some."""
    for name in shards.names:
        try:
            for frame in table_blocks(shards.path(name), 1_024):
                return frame
        except DataError:
            if not request.skip_bad:
                raise
    raise DataError("there are no rows to learn from", where=shards.source, how="give tables with rows")


class _Rows:
    """The rows to learn from, block by block, the same in every pass; a share of them, drawn at random, is held out."""

    def __init__(
        self, request: Fit, shards: Shards, plan: Experiment, first: Frame, memory: int, listener: Listener
    ) -> None:
        self.request, self.shards, self.plan, self.listener = request, shards, plan, listener
        names = first.table.column_names
        self.block = max(1_024, memory // _BLOCK // (8 * len(names)))
        self.most = min(_MOST_DRAWN, max(1_024, memory // _SAMPLE // len(names)))
        self.names = _table_settings(plan).used(names, first.source)
        self.failed: dict[str, str] = {}
        self._alike = Alike()

    @classmethod
    def of(cls, request: Fit, shards: Shards, memory: int, listener: Listener) -> _Rows:
        """The rows of shards, once the first block of them has told that they are a table's."""
        first = _first_block(request, shards)
        found, why = choose_modality(request, first)
        if found != "table":
            how = "add --modality table, or give more --memory"
            raise UsageError(f"only tables are fitted to in bounded memory; {why}", where=shards.source, how=how)
        check_normal(request.label, request.normal)
        return cls(request, shards, planned(request, found), first, memory, listener)

    def surveyed(self) -> Survey:
        """What the first pass tells."""
        whole = self._survey()
        for number, name in enumerate(self.shards.names):
            survey = self._survey()
            try:
                for block in self._of_shard(number):
                    survey.add(*block)
            except DataError as error:
                if not self.request.skip_bad:
                    raise
                self.failed[name] = error.what
                continue
            whole.merge(survey)
            self.listener.progress("reading", number + 1, len(self.shards.names))
        return whole

    def blocks(self, what: str) -> Iterator[tuple[Frame, np.ndarray, np.ndarray]]:
        """Rows, their keys, and which are held out, of all shards that could be read."""
        for number, name in enumerate(self.shards.names):
            if name not in self.failed:
                yield from self._of_shard(number)
            self.listener.progress(what, number + 1, len(self.shards.names))

    def _survey(self) -> Survey:
        return Survey(self.names, RowSample(self.most), RowSample(self.most))

    def _of_shard(self, number: int) -> Iterator[tuple[Frame, np.ndarray, np.ndarray]]:
        seed, share = self.plan.training.seed, self.plan.training.validation
        keyed, held = (np.random.default_rng([seed, number, use]) for use in (0, 1))
        for frame in table_blocks(self.shards.path(self.shards.names[number]), self.block):
            count = frame.table.num_rows
            keys, apart = keyed.random(count), held.random(count) < share
            chosen = self._normal(frame)
            if chosen is not None:
                frame, keys, apart = frame.at(chosen), keys[chosen], apart[chosen]
            if len(keys):
                yield self._alike.matched(frame), keys, apart

    def _normal(self, frame: Frame) -> np.ndarray | None:
        """Positions of the rows that are normal by their label; None where all are learned from."""
        if self.request.label is None:
            return None
        labels = label_column(frame, self.request.label)
        normal = self.request.normal
        return None if normal is None else np.flatnonzero(equal_to(labels, normal))
