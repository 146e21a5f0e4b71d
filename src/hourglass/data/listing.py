"""Folders of files of one kind: which are there, what each holds, and what is said of those that are left out."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import pyarrow as pa

from hourglass.data.limits import check_memory
from hourglass.data.opening import RIGHTS
from hourglass.data.samples import unique_notices
from hourglass.data.times import counted
from hourglass.errors import DataError, UnreadableError

MANIFEST = "_manifest.json"
"""The list of files in a folder that Hourglass wrote."""
_MOST_NAMED = 5


@dataclass(frozen=True)
class Listing:
    """The files of one kind in a folder and those below it."""

    folder: str
    noun: str
    """What one of them is called: picture, recording."""
    names: list[str]
    """Paths below the folder, with / between folders, sorted."""
    others: list[str]
    """Files of no known kind."""

    @property
    def nouns(self) -> str:
        return f"{self.noun}s"


@dataclass(frozen=True)
class Listed:
    """What the files of a folder hold."""

    arrays: list[np.ndarray]
    table: pa.Table
    """`name`, the path below the folder, and `folder`, that of its own folder ("." at the top)."""
    notices: tuple[str, ...]
    failed: tuple[str, ...]
    """Files that were skipped: each its name and what is wrong with it."""


def list_folder(folder: str, kinds: Mapping[str, Collection[str]]) -> Listing:
    """The files in a folder and those below it; hidden files are passed over, and so is our own list of files.

    `kinds` has the suffixes of each noun. `DataError` where no file has one of them, or where there are two kinds.
    """
    found = files_in(folder)
    named = {noun: [name for name in found if suffix_of(name) in suffixes] for noun, suffixes in kinds.items()}
    there = {noun: names for noun, names in named.items() if names}
    known = {name for names in there.values() for name in names}
    others = [name for name in found if name not in known]
    if not there:
        has = f"; it has {several(others)}" if others else ""
        suffixes = ", ".join(suffix for each in kinds.values() for suffix in each)
        how = f"give one of the files in it, or a folder of tables (.parquet, .csv), or of {suffixes}"
        raise DataError(f"is a folder without {' or '.join(f'{noun}s' for noun in kinds)}{has}", where=folder, how=how)
    if len(there) > 1:
        what = " and ".join(counted(len(names), noun) for noun, names in there.items())
        how = "give a folder of one kind: move the others to a folder of their own"
        raise DataError(f"holds {what}, wanted files of one kind", where=folder, how=how)
    [(noun, names)] = there.items()
    return Listing(folder, noun, names, others)


def suffix_of(name: str) -> str:
    """The suffix of a file's name, in small letters, by which its kind is known."""
    return PurePosixPath(name).suffix.lower()


def bare_name(name: str) -> str:
    """A name without its suffix."""
    return str(PurePosixPath(name).with_suffix(""))


def files_in(folder: str) -> list[str]:
    """The files in a folder and those below it, sorted; hidden ones and our own list of files are passed over."""
    return [name for name in sorted(_walked(Path(folder))) if PurePosixPath(name).name != MANIFEST]


def _walked(folder: Path) -> Iterator[str]:
    """Files below a folder, as paths from it with /; hidden ones are passed over."""

    def refuse(error: OSError) -> None:
        where = str(error.filename or folder)
        raise DataError(f"cannot be read: {error.strerror or error}", where=where, how=RIGHTS) from error

    for here, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        below = Path(here).relative_to(folder)
        yield from ((below / name).as_posix() for name in files if not name.startswith("."))


def read_each(listing: Listing, read_file: Callable[[str], tuple[np.ndarray, list[str]]], skip_bad: bool) -> Listed:
    """Every file of a listing, read by `read_file` (path -> array and what is odd about it).

    One that cannot be read is refused by name, or skipped and listed where `skip_bad`.
    """
    arrays: list[np.ndarray] = []
    read: list[str] = []
    failed: list[str] = []
    odd: dict[str, list[str]] = {}
    memory = 0
    for name in listing.names:
        try:
            array, notices = read_file(os.path.join(listing.folder, name))
        except DataError as error:
            failed.append(f"{name}: {error.what}")
            continue
        memory += array.nbytes
        check_memory(memory, listing.nouns, listing.folder)
        arrays.append(array)
        read.append(name)
        for notice in notices:
            odd.setdefault(notice, []).append(name)
    _refuse(listing, failed, skip_bad)
    folders = [str(PurePosixPath(name).parent) for name in read]
    table = pa.table({"name": pa.array(read, pa.string()), "folder": pa.array(folders, pa.string())})
    notices = notices_of(odd)
    return Listed(arrays, table, tuple(unique_notices([*_said(listing, failed), *notices])), tuple(failed))


def _refuse(listing: Listing, failed: list[str], skip_bad: bool) -> None:
    folder, number = listing.folder, len(listing.names)
    if len(failed) == number:
        how = "see whether they are what their suffix says"
        what = f"none of its {counted(number, listing.noun)} can be read; {failed[0]}"
        raise UnreadableError(what, where=folder, how=how)
    if failed and not skip_bad:
        first, _, what = failed[0].partition(": ")
        rest = [each.partition(": ")[0] for each in failed[1:]]
        more = f"; {len(rest):,} more cannot be read: {several(rest)}" if rest else ""
        how = "mend or remove them, or leave them out with --skip-bad (skip_bad=True)"
        raise UnreadableError(f"{what}{more}", where=f"{folder}/{first}", how=how)


def _said(listing: Listing, failed: list[str]) -> list[str]:
    notices = []
    others = listing.others
    if failed:
        notices.append(f"skipped {counted(len(failed), listing.noun)} that cannot be read: {'; '.join(failed)}")
    if others:
        are = f"is no {listing.noun}" if len(others) == 1 else f"are no {listing.nouns}"
        notices.append(f"left out {counted(len(others), 'file')} that {are} by name: {several(others)}")
    return notices


def notices_of(odd: Mapping[str, list[str]]) -> list[str]:
    """What was odd about which files, a sentence each.

    >>> notices_of({"is grey": ["a"], "has no colour": ["b", "c"]})
    ['a is grey', 'each of b, c has no colour']
    """
    return [f"{'each of ' * (len(names) > 1)}{several(names)} {notice}" for notice, names in odd.items()]


def several(names: list[str]) -> str:
    """Names in a row, the first few where there are many.

    >>> several(["a", "b"]), several(list("abcdefg"))
    ('a, b', 'a, b, c, d, e and 2 more')
    """
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more:,} more" if more > 0 else "")


def twins_of(names: Sequence[str], others: Sequence[str], source: str) -> list[int]:
    """For each name, the place of its twin among others: that of the same name, with any suffix; of one and one, that.

    `DataError` where one has none in `source`.

    >>> twins_of(["a/1.wav", "2.wav"], ["2.flac", "a/1.wav", "3.wav"], "clean")
    [1, 0]
    """
    if len(names) == len(others) == 1:
        return [0]
    places = {bare_name(name): place for place, name in enumerate(others)}
    places |= {name: place for place, name in enumerate(others)}
    found = [places.get(name, places.get(bare_name(name))) for name in names]
    alone = [name for name, place in zip(names, found, strict=True) if place is None]
    if alone:
        how = "give each the name of its noisy one, or take the noisy one out"
        raise DataError(f"has no clean twin of {several(alone)}", where=source, how=how)
    return [place for place in found if place is not None]
