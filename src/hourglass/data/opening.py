"""What lies at a path: a folder, or a file that is what its suffix *and* its first bytes say."""

from __future__ import annotations

import contextlib
import difflib
import os
import re
import stat
from collections.abc import Iterator
from typing import BinaryIO

from hourglass.data import remote
from hourglass.data.remote import bare, is_remote, without_secrets
from hourglass.errors import DataError, UnreadableError

COPY = "take it from a copy, or save it again"
"""What helps where a file is damaged or cut short."""
RIGHTS = "see whether the file is there, and whether you may read it: ls -l"
"""What helps where the system does not give a file."""
IDX = "an IDX file"
"""What a file of that kind is called here: its first bytes are only told apart together with its name."""
_SIGNATURES = (
    (b"PAR1", "a Parquet file"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"PK\x03\x04", "a zip archive"),
    (b"PK\x05\x06", "a zip archive"),
    (b"\x1f\x8b", "a gzip file"),
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"GIF8", "a GIF picture"),
    (b"II*\0", "a TIFF picture"),
    (b"MM\0*", "a TIFF picture"),
    (b"II+\0", "a TIFF picture"),
    (b"MM\0+", "a TIFF picture"),
    *((bytes([0, 0, kind]), IDX) for kind in (8, 9, 11, 12, 13, 14)),
    (b"fLaC", "a FLAC recording"),
    (b"OggS", "an Ogg recording"),
    (b"%PDF", "a PDF document"),
    (b"\x89HDF", "an HDF5 file"),
    (b"ARROW1", "an Arrow file"),
    (b"SQLite format 3", "an SQLite database"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook"),
    (b"BZh", "a bzip2 file"),
    (b"\xfd7zXZ", "an xz file"),
    (b"(\xb5/\xfd", "a Zstandard file"),
    (b"\x80\x04\x95", "a pickle, which is never loaded"),
    (b"\x80\x05\x95", "a pickle, which is never loaded"),
)
_PATTERNS = (
    (re.compile(rb"RIFF.{4}WEBP", re.DOTALL), "a WebP picture"),
    (re.compile(rb"RIFF|(RF64|RIFX).{4}WAVE", re.DOTALL), "a WAV recording"),
    (re.compile(rb"riff.{20}wave", re.DOTALL), "a Wave64 recording"),
    (re.compile(rb"FORM.{4}AIF[FC]", re.DOTALL), "an AIFF recording"),
    (re.compile(rb"ID3[\2-\4]|\xff[\xe2\xe3\xf2\xf3\xfa\xfb]"), "an MP3 recording"),
    (re.compile(rb"BM.{4}\0{4}", re.DOTALL), "a BMP picture"),
    (re.compile(rb"\s*<(!doctype html|html)", re.IGNORECASE), "a web page"),
)


_ADDRESS = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+://")


def is_address(path: str) -> bool:
    """Whether a path leads to another machine, or begins as if it did."""
    return _ADDRESS.match(path) is not None


def refuse_address(path: str) -> None:
    """Refuse what lies elsewhere, where a file of this machine is meant."""
    if not is_address(path):
        return
    how = "download it first and give the file"
    if is_remote(path):
        how += "; fit reads tables there, and so do detect, encode, reconstruct and denoise with MODEL and -o FOLDER"
    raise DataError("is an address, wanted a file", where=without_secrets(path), how=how)


def status_of(path: str) -> os.stat_result:
    """What lies at `path`, which must be a plain file or a folder."""
    refuse_address(path)
    try:
        status = os.stat(path)
    except (OSError, ValueError) as error:
        raise _absent(path, error) from error
    if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
        raise DataError("is a pipe or device, wanted a file", where=path, how="save its content to a file first")
    return status


def _absent(path: str, error: OSError | ValueError) -> DataError:
    if isinstance(error, OSError) and os.path.islink(path):
        how = "give the file itself, or mend the link"
        return DataError(f"is a link to {os.readlink(path)!r}, which cannot be reached", where=path, how=how)
    if not isinstance(error, FileNotFoundError):
        return DataError(f"cannot be read: {getattr(error, 'strerror', None) or error}", where=path, how=RIGHTS)
    folder, name = os.path.split(path)
    if not os.path.isdir(folder or "."):
        how = f"paths begin in {os.getcwd()}, unless they begin with /"
        return DataError("there is no such file: its folder does not exist", where=path, how=how)
    try:
        near = difflib.get_close_matches(name, os.listdir(folder or "."), n=3)
    except OSError:
        near = []
    how = f"did you mean {' or '.join(map(repr, near))}?" if near else f"the folder is {os.path.abspath(folder)}"
    return DataError("there is no such file", where=path, how=how)


def not_written(place: str | os.PathLike[str], error: OSError, more: str = "") -> DataError:
    """The error for where the system takes no file or folder."""
    how = "see whether you may write there, and whether the disk has room: ls -ld, df"
    return DataError(f"cannot be written: {error.strerror or error}{more}", where=str(place), how=how)


@contextlib.contextmanager
def opened(path: str, wanted: str) -> Iterator[BinaryIO]:
    """A file open for reading, once its first bytes have shown that it is what was `wanted` by its name."""
    with readable(path) as handle:
        check_start(handle, bare(path), wanted)
        yield handle


@contextlib.contextmanager
def readable(path: str) -> Iterator[BinaryIO]:
    """A file open for reading, here or in a store, whatever it holds."""
    if is_remote(path):
        with remote.reading(path) as handle:
            yield handle
        return
    if not stat.S_ISREG(status_of(path).st_mode):
        raise DataError("is no plain file", where=path, how="give a file, or the folder that holds it")
    try:
        with open(path, "rb") as handle:
            yield handle
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}", where=path, how=RIGHTS) from error


def size_in(handle: BinaryIO) -> int:
    """How many bytes an open file has; it is read from its start afterwards."""
    size = handle.seek(0, os.SEEK_END)
    handle.seek(0)
    return size


def size_of(path: str) -> int:
    """How many bytes a file has, here or in a store."""
    if not is_remote(path):
        return os.path.getsize(path)
    with remote.reading(path) as handle:
        return size_in(handle)


def check_start(handle: BinaryIO, path: str, wanted: str) -> None:
    """Refuse a file whose first bytes are not what its name says."""
    start = handle.read(512)
    handle.seek(0)
    if not start:
        raise UnreadableError("the file is empty", where=path, how="see what was to write it, or give another file")
    got = _looks_like(start)
    if got != wanted and got == "text" and b"\0" in start:
        got = "bytes without a header"
    if got != wanted:
        raise UnreadableError(
            f"looks like {got}, wanted {wanted} by its name",
            where=path,
            how="rename it by what it is, or save it again",
        )


def _looks_like(start: bytes) -> str:
    for signature, words in _SIGNATURES:
        if start.startswith(signature):
            return words
    return next((words for pattern, words in _PATTERNS if pattern.match(start)), "text")
