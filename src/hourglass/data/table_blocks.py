"""Tables of any size, a block of rows at a time."""

from __future__ import annotations

from collections.abc import Iterator

from hourglass.data.files import parquet_blocks, read, read_blocks
from hourglass.data.remote import bare
from hourglass.data.samples import Frame
from hourglass.data.shards import is_parquet
from hourglass.errors import DataError


def table_blocks(path: str, rows: int) -> Iterator[Frame]:
    """The rows of a table, here or in a store, as frames, one by one: of so many rows, or of some megabytes of text.

    Text that is small, or compressed, is read as a whole. `DataError` where large text cannot safely be cut.
    """
    if is_parquet(path):
        return parquet_blocks(path, rows)
    return read_blocks(path, remote=True) or iter([read_table(path)])


def read_table(path: str) -> Frame:
    """The whole table that a file holds."""
    table = read(path, remote=True)
    if not isinstance(table, Frame):
        raise DataError("holds no table with columns", where=bare(path), how="give a CSV or Parquet file")
    return table
