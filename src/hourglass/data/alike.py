"""Shards are rows of one kind: what all of them must have in common, and their rows as one table."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable

import pyarrow as pa

from hourglass.data.limits import check_memory
from hourglass.data.listing import several
from hourglass.data.remote import bare
from hourglass.data.samples import Frame
from hourglass.data.shards import Shards, decoded_size, is_parquet
from hourglass.errors import DataError, SchemaError, UnreadableError
from hourglass.settings import did_you_mean

_is = pa.types


class Alike:
    """The columns that the first frame has, by name and kind, which all further ones must have too."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._source = ""
        self._kinds: dict[str, str] = {}

    def matched(self, frame: Frame) -> Frame:
        """The frame with these columns in this order; one that is empty throughout is of type null, and fits any.

        `SchemaError` names the first column that is missing or of another kind.
        """
        given = frame.table.column_names
        if not self._names:
            self._names, self._source = given, frame.source
        missing = [name for name in self._names if name not in given]
        if missing:
            what = f"column {missing[0]!r} is missing, and {self._source} has it"
            raise SchemaError(what, where=frame.source, how=did_you_mean(missing[0], given))
        columns = [self._column(frame, name) for name in self._names]
        return dataclasses.replace(frame, table=pa.table(columns, names=self._names))

    def _column(self, frame: Frame, name: str) -> pa.ChunkedArray:
        column = frame.table.column(name)
        if column.null_count == len(column):
            return pa.chunked_array([pa.nulls(len(column))])
        kind = _kind(column.type)
        known = self._kinds.setdefault(name, kind)
        if kind != known:
            how = "shards must hold rows of one kind: convert the column, or leave it out with --columns"
            raise SchemaError(f"holds {kind}, and {known} before", where=frame.where(column=name), how=how)
        return column


def _kind(kind: pa.DataType) -> str:
    """What a column of a plain type holds, in words: columns that hold the same can be joined."""
    if _is.is_string(kind):
        return "words"
    if _is.is_timestamp(kind):
        return "times of a known zone" if kind.tz else "times"
    return "true/false" if _is.is_boolean(kind) else "numbers"


def joined(frames: Iterable[Frame], source: str) -> Frame:
    """The rows of all frames, which must be alike, as one frame."""
    alike = Alike()
    matched = [alike.matched(frame) for frame in frames]
    table = pa.concat_tables([each.table for each in matched], promote_options="permissive")
    notices = dict.fromkeys(notice for each in matched for notice in each.notices)
    return Frame(table, source, unnamed=matched[0].unnamed, notices=tuple(notices))


def read_all(shards: Shards, read: Callable[[str], object], skip_bad: bool) -> Frame:
    """The rows of all shards as one table; one that cannot be read is refused, or left out where `skip_bad`."""
    frames, failed, memory = [], [], 0
    for name in shards.names:
        try:
            if is_parquet(name) and not decoded_size(shards.path(name)):
                continue  # many writers leave parts without rows
            frame = read(shards.path(name))
            if not isinstance(frame, Frame):
                where = bare(shards.path(name))
                raise DataError("holds no table with columns", where=where, how="take it out of the folder")
        except DataError as error:
            if not skip_bad:
                raise
            failed.append(f"{name}: {error.what}")
            continue
        memory += frame.table.nbytes
        check_memory(memory, "tables", shards.source)
        frames.append(frame)
    if not frames:
        how = "see whether they are what their suffix says"
        what = failed[0] if failed else "they hold no rows"
        raise UnreadableError(f"none of its tables can be read; {what}", where=shards.source, how=how)
    frame = joined(frames, shards.source)
    skipped = [f"skipped tables that cannot be read: {several(failed)}"] if failed else []
    return dataclasses.replace(frame, notices=(*skipped, *frame.notices))
