"""Tables in many files: a folder or a glob of Parquet and CSV files, each of them a shard."""

from __future__ import annotations

import glob
import os
from dataclasses import dataclass
from pathlib import Path

from hourglass.data.folders import output_names
from hourglass.data.listing import files_in, suffix_of
from hourglass.data.opening import COPY, opened
from hourglass.data.pictures import PICTURES
from hourglass.data.sound import SOUNDS
from hourglass.errors import DataError

PARQUET = (".parquet", ".pq")
TABLES = (*PARQUET, ".csv", ".tsv")
"""Suffixes of files that are read as shards."""


@dataclass(frozen=True)
class Shards:
    """Table files of one kind of row, in the order of their names."""

    source: str
    """The folder, glob or file that a user named."""
    folder: str
    names: list[str]
    """Paths below the folder, with / between folders."""
    single: bool = False
    """Whether a file was named, not a folder or a glob."""

    def path(self, name: str) -> str:
        """Where a shard lies."""
        return os.path.join(self.folder, name)

    def outputs(self) -> list[str]:
        """A Parquet file for each shard, under its name: see `output_names`."""
        return output_names(self.names, TABLES, ".parquet")


def find_shards(path: str) -> Shards | None:
    """The tables in a folder and those below it, or those that match a glob such as `logs/*.parquet`.

    None for anything else: a file, and a folder of pictures or sound. `DataError` where a glob matches no table.
    """
    if os.path.isdir(path):
        names = files_in(path)
        if any(suffix_of(name) in (*PICTURES, *SOUNDS) for name in names):
            return None
        tables = [name for name in names if suffix_of(name) in TABLES]
        return Shards(path, path, tables) if tables else None
    if not glob.has_magic(path) or os.path.lexists(path):
        return None
    files = [each for each in sorted(glob.glob(path, recursive=True)) if os.path.isfile(each)]
    tables = [each for each in files if suffix_of(each) in TABLES]
    if not tables:
        how = f"quote the glob, and let it match files that end in {', '.join(TABLES)}"
        raise DataError(f"matches no table{', but other files' * bool(files)}", where=path, how=how)
    folder = os.path.commonpath([os.path.dirname(each) or "." for each in tables]) or "."
    return Shards(path, folder, [Path(each).relative_to(folder).as_posix() for each in tables])


def one_shard(path: str) -> Shards | None:
    """A single table file as the only shard; None where it is no such file."""
    if suffix_of(path) not in TABLES or not os.path.isfile(path):
        return None
    place = Path(path)
    return Shards(path, str(place.parent), [place.name], single=True)


def is_parquet(path: str) -> bool:
    """Whether a file is called so."""
    return suffix_of(path) in PARQUET


def decoded_size(path: str) -> int:
    """About how many bytes a table file takes in memory."""
    if not is_parquet(path):
        return 2 * os.path.getsize(path)
    import pyarrow.parquet as pq  # slow to import

    with opened(path, "a Parquet file") as handle:
        try:
            metadata = pq.read_metadata(handle)
        except (OSError, ValueError) as error:
            raise DataError(f"is damaged or cut short: {error}", where=path, how=COPY) from error
    return 8 * int(metadata.num_rows) * int(metadata.num_columns)
