"""Tables in many files: a folder or a glob of Parquet and CSV files, here or in a store, each of them a shard."""

from __future__ import annotations

import glob
import os
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from itertools import takewhile
from pathlib import Path

from hourglass.data import remote
from hourglass.data.folders import output_names
from hourglass.data.listing import files_in, suffix_of
from hourglass.data.opening import COPY, opened, refuse_address, size_of
from hourglass.data.pictures import PICTURES
from hourglass.data.remote import Stamp, bare, is_remote, joined
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
    stamps: Mapping[str, Stamp] = field(default_factory=dict)
    """What a store said of each when it listed them."""

    def path(self, name: str) -> str:
        """Where a shard lies."""
        return joined(self.folder, name)

    def stamp(self, name: str) -> Stamp:
        """By what a shard is known to be unchanged."""
        if name in self.stamps:
            return self.stamps[name]
        try:
            status = os.stat(self.path(name))
        except OSError:  # said when it is read
            return {"bytes": 0, "modified": 0}
        return {"bytes": status.st_size, "modified": status.st_mtime_ns}

    def outputs(self) -> list[str]:
        """A Parquet file for each shard, under its name: see `output_names`."""
        return output_names(self.names, TABLES, ".parquet")


def find_shards(path: str) -> Shards | None:
    """The tables in a folder and those below it, or those that match a glob such as `logs/*.parquet`.

    None for anything else: a file, and a folder of pictures or sound. `DataError` where a glob matches no table. At an
    address, `s3://BUCKET/logs`, tables are all that is looked for, and a single one is found too.
    """
    if is_remote(path):
        return _in_store(path)
    refuse_address(path)
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
        raise _no_table(path, bool(files))
    folder = os.path.commonpath([os.path.dirname(each) or "." for each in tables]) or "."
    return Shards(path, folder, [Path(each).relative_to(folder).as_posix() for each in tables])


def _no_table(path: str, others: bool) -> DataError:
    how = f"quote the glob, and let it match files that end in {', '.join(TABLES)}"
    return DataError(f"matches no table{', but other files' * others}", where=bare(path), how=how)


def _in_store(path: str) -> Shards:
    """The tables at an address: of a folder and those below it, those that match a glob, or the one that it names."""
    parts = remote.parts_of(path)
    plain = list(takewhile(lambda part: not glob.has_magic(part), parts))
    wanted, place = parts[len(plain) :], remote.at(path, plain)
    if not wanted and suffix_of(bare(path)) in TABLES and (stamp := remote.stamp_of(path)):
        return Shards(bare(path), remote.at(path, parts[:-1]), parts[-1:], True, {parts[-1]: stamp})
    there = remote.stamps_below(place, deep=len(wanted) != 1 or wanted == ["**"])
    found = {name: stamp for name, stamp in there.items() if _matches(name.split("/"), wanted or ["**"])}
    tables = sorted(name for name in found if suffix_of(name) in TABLES)
    if not tables:
        raise _no_table(path, bool(found))
    inner = posixpath.commonpath([posixpath.dirname(name) for name in tables]) if wanted else ""
    names = [name[len(inner) + bool(inner) :] for name in tables]
    stamps = {short: found[name] for short, name in zip(names, tables, strict=True)}
    return Shards(bare(path), joined(place, inner), names, stamps=stamps)


def _matches(parts: list[str], wanted: list[str]) -> bool:
    """Whether a path matches a glob, part by part; as in a shell, what is hidden must be named.

    >>> _matches(["2024", "a.csv"], ["**", "*.csv"]), _matches([".old", "a.csv"], ["*", "*.csv"])
    (True, False)
    """
    if not wanted or not parts:
        return not parts and set(wanted) <= {"**"}
    hidden = parts[0].startswith(".")
    if wanted[0] == "**":
        return _matches(parts, wanted[1:]) or (not hidden and _matches(parts[1:], wanted))
    here = fnmatchcase(parts[0], wanted[0]) and (not hidden or wanted[0].startswith("."))
    return here and _matches(parts[1:], wanted[1:])


def one_shard(path: str) -> Shards | None:
    """A single table file as the only shard; None where it is no such file."""
    if suffix_of(path) not in TABLES or not os.path.isfile(path):
        return None
    place = Path(path)
    return Shards(path, str(place.parent), [place.name], single=True)


def is_parquet(path: str) -> bool:
    """Whether a file is called so."""
    return suffix_of(bare(path)) in PARQUET


def decoded_size(path: str) -> int:
    """About how many bytes a table file takes in memory."""
    if not is_parquet(path):
        return 2 * size_of(path)
    import pyarrow.parquet as pq  # slow to import

    with opened(path, "a Parquet file") as handle:
        try:
            metadata = pq.read_metadata(handle)
        except (OSError, ValueError) as error:
            raise DataError(f"is damaged or cut short: {error}", where=bare(path), how=COPY) from error
    return 8 * int(metadata.num_rows) * int(metadata.num_columns)
