"""What a verb does to one shard, in this process or on another machine: read in blocks, written as it goes."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from hourglass.core.chunks import MOST_ROWS, on_threads
from hourglass.core.fitted import FittedModel
from hourglass.data.columns import table_of
from hourglass.data.filling import filled
from hourglass.data.opening import size_of
from hourglass.data.remote import is_remote
from hourglass.data.samples import Frame, recut
from hourglass.data.shards import is_parquet
from hourglass.data.table_blocks import read_table, table_blocks
from hourglass.data.tables import TableFormat
from hourglass.data.writing import replacing
from hourglass.errors import DataError, SchemaError
from hourglass.interfaces.results import findings
from hourglass.interfaces.sample_tables import codes_table

Facts: TypeAlias = dict[str, Any]
"""What a manifest says of a shard that is done: its rows, and what was found in them."""

_COPIES, _WIDEST = 8, 8
"""How often a block is in memory at a time, as bytes of Arrow, floats, samples and results; bytes of a cell."""
_MOST_BLOCK = 8 * MOST_ROWS


@dataclass(frozen=True)
class Task:
    """What is to be done to every shard; small, so that it can travel."""

    verb: str
    memory: int
    """Bytes that may be used beyond what program and model take."""
    rate: float | None = None
    rule: str | None = None
    reasons: str = "flagged"
    fill_missing: bool = False

    def block_rows(self, columns: int) -> int:
        """Rows that are read at a time: whole chunks of the network's, or scores would be rounded differently."""
        fit = self.memory // (_COPIES * _WIDEST * max(columns, 1))
        return max(MOST_ROWS, min(fit, _MOST_BLOCK) // MOST_ROWS * MOST_ROWS)


def run_task(model: FittedModel, task: Task, source: str, target: str) -> Facts:
    """Do a task to one shard and write what it makes to a Parquet file, whole or not at all.

    On one thread and in fixed chunks, so that the same shard gives the same bits on every machine of one kind.
    `DataError` where the shard cannot be read, or does not have the model's columns.
    """
    if not isinstance(model.format, TableFormat):
        what = f"the model is for the modality {model.experiment.modality}, and shards hold rows of tables"
        raise SchemaError(what, where="model", how="give one file, or a model that was fitted to a table")
    rows = task.block_rows(len(model.format.offered))
    with on_threads(1):
        try:
            return _written(model, task, table_blocks(source, rows), target)
        except DataError:
            if is_parquet(source) or size_of(source) > task.memory // _COPIES:
                raise
            # text that cannot safely be cut; as a whole it can be read, or is refused with the line that is wrong
            return _written(model, task, [read_table(source)], target)


def _written(model: FittedModel, task: Task, blocks: Iterable[Frame], target: str) -> Facts:
    import pyarrow.parquet as pq

    facts: Facts = {"rows": 0}
    said: dict[str, str] = {}
    with contextlib.ExitStack() as stack:
        writer: Any = None
        for block in recut(blocks, MOST_ROWS):
            made = _VERBS[task.verb](model, task, block)
            table = _counted_on(made.table, facts["rows"])
            if writer is None:
                if not is_remote(target):
                    os.makedirs(os.path.dirname(target), exist_ok=True)
                file = stack.enter_context(replacing(target))
                writer = stack.enter_context(pq.ParquetWriter(file, table.schema))
            writer.write_table(table.cast(writer.schema))
            facts["rows"] += table.num_rows
            for name, count in made.counts.items():
                facts[name] = facts.get(name, 0) + count
            for notice in (*block.notices, *made.notices):
                said.setdefault(_ABOUT.sub("", notice), notice)
    return facts | ({"notices": list(said.values())} if said else {})


_ABOUT = re.compile(r"\d+|\(.*?\)|rows? holds?")
"""What differs between notices of one sort: the same is said once a shard, not once a block."""


def _counted_on(table: pa.Table, start: int) -> pa.Table:
    """With row numbers that go on from the block before."""
    if table.column_names[0] != "row":
        return table
    return table.set_column(0, "row", pc.add(table.column("row"), start))


@dataclass(frozen=True)
class _Made:
    """What a verb makes of a block."""

    table: pa.Table
    notices: list[str]
    counts: dict[str, int]


def _detect(model: FittedModel, task: Task, block: Frame) -> _Made:
    detection = model.detect(block, task.rate, task.rule, task.reasons)
    found = findings(model, detection, task.reasons, task.rate)
    return _Made(found.table(), found.notices, {"anomalies": len(found.anomalies)})


def _encode(model: FittedModel, task: Task, block: Frame) -> _Made:
    packed = model.format.pack(block)
    return _Made(codes_table(model, packed, model.encode_samples(packed.samples)), packed.notices, {})


def _reconstruct(model: FittedModel, task: Task, block: Frame) -> _Made:
    packed = model.format.pack(block)
    values: Any = model.reconstruct_packed(packed)  # a table, or an array where the model knows no names
    if task.fill_missing:
        values = filled(block, values)
    if not isinstance(values, pa.Table):
        names = block.table.column_names
        values = table_of(values, names if len(names) == values.shape[1] else None)
    order = [name for name in block.table.column_names if name in values.column_names]
    return _Made(values.select(order) if len(order) == values.num_columns else values, packed.notices, {})


_VERBS: dict[str, Callable[[FittedModel, Task, Frame], _Made]] = {
    "detect": _detect,
    "encode": _encode,
    "reconstruct": _reconstruct,
    "denoise": _reconstruct,
}


def fault_of(error: DataError) -> str:
    """What a manifest says of a shard that could not be done."""
    return f"{error.where}: {error.what}" if error.where else error.what
