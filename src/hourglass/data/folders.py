"""Folders of results: written whole beside their place, then put there; what is not ours is never touched."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from hourglass.data import remote
from hourglass.data.listing import MANIFEST, bare_name, suffix_of
from hourglass.data.opening import not_written
from hourglass.data.remote import bare, is_remote, joined
from hourglass.data.temporary import is_temporary, temporary_for
from hourglass.errors import DataError

FileContent = bytes | Callable[[Path], Any]
"""What a file shall hold; or what writes it to a given path, where it is too large for the memory."""


def check_folder(folder: str | Path) -> set[str]:
    """The files in a folder of results, here or in a store.

    One that holds anything but what Hourglass wrote there, by the list in its `_manifest.json`, is refused.
    """
    there = _files_in(str(folder))
    strange = sorted(there - _listed(folder) - {MANIFEST})
    if strange:
        what = f"cannot be written: it holds files that are not from here, such as {strange[0]}"
        raise DataError(what, where=bare(str(folder)), how="give a new folder, or an empty one")
    return there


def _files_in(folder: str) -> set[str]:
    if is_remote(folder):
        return set(remote.stamps_below(folder))
    if not os.path.exists(folder):  # unlike a Path's, never an error of its own
        return set()
    if not os.path.isdir(folder):
        how = "give another name, or one with a suffix for a file"
        raise DataError("cannot be written: it is a file, wanted a folder", where=folder, how=how)
    files = (path for path in Path(folder).rglob("*") if not path.is_dir() and not is_temporary(path))
    return {path.relative_to(folder).as_posix() for path in files}


def manifest_in(folder: str | Path) -> str:
    """What the list of a folder of results says; nothing where there is none."""
    place = joined(str(folder), MANIFEST)
    if is_remote(place):
        return remote.content(place).decode(errors="replace") if remote.stamp_of(place) else ""
    try:
        return Path(place).read_text(encoding="utf-8")
    except (OSError, ValueError):
        return ""


def _listed(folder: str | Path) -> set[str]:
    text = manifest_in(folder)
    try:
        return {str(each["file"]) for each in json.loads(text)["files"]}
    except (ValueError, LookupError, TypeError):
        return set()


def make_folder(folder: str) -> None:
    """Make a folder of results; a store has none."""
    if is_remote(folder):
        return
    try:
        Path(folder).mkdir(exist_ok=True)
    except OSError as error:
        raise not_written(folder, error) from error


def remove_file(path: str) -> None:
    """Take a file away, here or in a store, if it is there."""
    if is_remote(path):
        remote.remove(path)
    else:
        Path(path).unlink(missing_ok=True)


def replace_folder(folder: str | Path, files: Iterable[tuple[str, FileContent]], manifest: dict[str, Any]) -> None:
    """Put files (name with /, content) and the manifest, which names them under "files", into a folder.

    They are written to a folder beside it, which then takes its place: whatever happens, the old files or all the new
    ones are there. `DataError` where the folder holds anything else, or the disk is full.
    """
    target = Path(os.path.realpath(folder))
    check_folder(target)
    beside = temporary_for(target)
    try:
        beside.mkdir()
        for name, content in files:
            place = beside / inside(name)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content) if isinstance(content, bytes) else content(place)
        (beside / MANIFEST).write_text(json.dumps(manifest, ensure_ascii=False, indent=1), encoding="utf-8")
        _swap(beside, target)
    except OSError as error:
        raise not_written(folder, error) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def output_names(names: Sequence[str], known: Collection[str], suffix: str) -> list[str]:
    """Files for what comes of files: a known suffix replaced by another, or kept where two names would become one.

    >>> output_names(["a/1.csv", "b.csv", "b.parquet"], [".csv", ".parquet"], ".parquet")
    ['a/1.parquet', 'b.csv.parquet', 'b.parquet.parquet']
    """
    short = [bare_name(name) if suffix_of(name) in known else str(PurePosixPath(name)) for name in names]
    count = Counter(short)
    return [f"{each if count[each] == 1 else name}{suffix}" for name, each in zip(names, short, strict=True)]


def inside(name: str) -> PurePosixPath:
    """A file's name below a folder; `DataError` where it leads out of it."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.name:
        raise DataError(f"got the name {name!r}, which leads out of the folder", how="give names without '..'")
    return path


def _swap(new: Path, target: Path) -> None:
    if not target.exists():
        os.replace(new, target)
        return
    old = new.with_suffix(".old")
    os.replace(target, old)
    try:
        os.replace(new, target)
    except OSError:
        os.replace(old, target)
        raise
    with contextlib.suppress(OSError):
        shutil.rmtree(old)
