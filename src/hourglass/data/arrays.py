"""NumPy's `.npy` and `.npz` files, read without ever running what is in them."""

from __future__ import annotations

import math
import tokenize
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, BinaryIO

import numpy as np
import pyarrow as pa

from hourglass.data.columns import plain_table, table_of
from hourglass.data.limits import check_columns, check_size
from hourglass.data.opening import COPY
from hourglass.data.samples import Frame
from hourglass.errors import DataError, UnreadableError, UsageError
from hourglass.settings import did_you_mean

_BROKEN = (
    *(OSError, EOFError, ValueError, SyntaxError, KeyError, NotImplementedError, RuntimeError, OverflowError),
    *(zipfile.BadZipFile, zlib.error, tokenize.TokenError),
)
"""What numpy and zipfile raise for damaged, encrypted or hostile bytes."""


@dataclass(frozen=True)
class _Header:
    """What an array says of itself before its numbers."""

    shape: tuple[int, ...]
    dtype: np.dtype

    def __str__(self) -> str:
        return f"{self.shape} {self.dtype}"


def read_npy(handle: BinaryIO, size: int, source: str) -> Frame | np.ndarray:
    """The one array of a `.npy` file of `size` bytes: see `as_data`."""
    return as_data(_array(handle, size, source), source)


def read_npz(handle: BinaryIO, source: str, wanted: str | None) -> Frame | np.ndarray:
    """One array of a `.npz` file, or one 2-d array with 1-d arrays of the same length as further named columns.

    `wanted` is `NAME` or `NAME+NAME`; without it the choice must be plain: one array, or one 2-d array whose fellows
    all are one number a row (features and labels).
    """
    try:
        with zipfile.ZipFile(handle) as archive:
            members = {info.filename[:-4]: info for info in archive.infolist() if info.filename.endswith(".npy")}
            if not members:
                raise UnreadableError("there are no arrays in the file", where=source, how="np.savez(FILE, data=ARRAY)")
            headers = {name: _member_header(archive, info, source) for name, info in members.items()}
            names = _chosen(headers, wanted, source)
            return _together({name: _member(archive, members[name], source) for name in names}, source)
    except _BROKEN as error:
        if isinstance(error, (DataError, UsageError)):
            raise
        raise _damaged(source, error) from error


def _member_header(archive: zipfile.ZipFile, info: zipfile.ZipInfo, source: str) -> _Header:
    check_size(info.file_size, info.compress_size, f"{source}:{info.filename[:-4]}")
    with archive.open(info) as handle:
        return _header(handle)


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, source: str) -> np.ndarray:
    with archive.open(info) as handle:
        return _array(handle, info.file_size, f"{source}:{info.filename[:-4]}")


def _header(handle: IO[bytes]) -> _Header:
    version = np.lib.format.read_magic(handle)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"version {version} of the format, which only tables of named fields need")
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(handle)
    return _Header(shape, dtype)


def _array(handle: IO[bytes], size: int, source: str) -> np.ndarray:
    try:
        header = _header(handle)
        claimed = math.prod(header.shape) * header.dtype.itemsize
        if header.dtype.hasobject:
            raise UnreadableError(
                "holds Python objects, wanted numbers; objects are never loaded, since that can run code",
                where=source,
                how="save it again as numbers: array.astype(float)",
            )
        if claimed > size:
            what = f"is cut short: {header} needs {claimed:,} bytes, got {size:,}"
            raise UnreadableError(what, where=source, how=COPY)
        handle.seek(0)
        array: np.ndarray = np.lib.format.read_array(handle, allow_pickle=False)
    except _BROKEN as error:
        if isinstance(error, DataError):
            raise
        raise _damaged(source, error) from error
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def _damaged(source: str, error: Exception) -> UnreadableError:
    what = f"is damaged or cut short: {str(error) or type(error).__name__}"
    return UnreadableError(what, where=source, how=COPY)


def as_data(array: np.ndarray, source: str) -> Frame | np.ndarray:
    """An array as the rest of Hourglass takes it.

    Shape (n,) becomes the column `value`, (n, k) the columns x0, x1, ...; more dimensions stay an array.
    `DataError` where it does not hold real numbers, or nothing at all.
    """
    if array.dtype.kind not in "biuf":
        raise DataError(
            f"holds {array.dtype}, wanted real numbers",
            where=source,
            how="convert it before saving: array.astype(float)",
        )
    if array.ndim == 0 or not array.size:
        how = "see what was to fill it, or give another file"
        raise DataError(f"has shape {array.shape}, wanted at least one row and one column", where=source, how=how)
    if array.ndim > 2:
        return array
    check_columns(array.shape[1] if array.ndim == 2 else 1, source)
    return Frame(plain_table(_columns(array, "value"), source), source, unnamed=True)


def _columns(array: np.ndarray, name: str) -> pa.Table:
    if array.dtype.kind == "b":
        array = array.astype(np.int64)
    elif array.dtype.itemsize > 8 and array.dtype.kind == "f":  # Arrow has no long double
        array = array.astype(np.float64)
    return pa.table({name: pa.array(array)}) if array.ndim == 1 else table_of(array)


def _chosen(headers: dict[str, _Header], wanted: str | None, source: str) -> Sequence[str]:
    listing = ", ".join(f"{name} {header}" for name, header in headers.items())
    if wanted is not None:
        names = [wanted] if wanted in headers else wanted.split("+")
        for name in names:
            if name not in headers:
                hint = did_you_mean(name, headers)
                raise UsageError(f"there is no array {name!r}", where=source, how=f"{hint} (the file holds {listing})")
        return names
    tables = [name for name, header in headers.items() if len(header.shape) == 2]
    if len(headers) == 1 or (len(tables) == 1 and all(_is_label(headers, name, tables[0]) for name in headers)):
        return [*tables, *(name for name in headers if name not in tables)]
    first = next(iter(headers))
    raise UsageError(
        f"there are {len(headers)} arrays: {listing}",
        where=source,
        how=f"name one, as in {source}:{first}; {source}:{first}+LABELS adds a 1-d array as a column",
    )


def _is_label(headers: dict[str, _Header], name: str, table: str) -> bool:
    return name == table or headers[name].shape == headers[table].shape[:1]


def _together(arrays: dict[str, np.ndarray], source: str) -> Frame | np.ndarray:
    """The only array as `as_data` has it, or the columns of all arrays side by side, 1-d ones under their own names."""
    (first, array), *others = arrays.items()
    if not others:
        return as_data(array, f"{source}:{first}")
    parts = []
    for name, array in arrays.items():
        if array.ndim not in (1, 2) or len(array) != len(arrays[first]) or (name != first and array.ndim == 2):
            raise UsageError(
                f"{name} has shape {array.shape}, {first} has shape {arrays[first].shape}",
                where=source,
                how="only 1-d arrays of the same length can be added as columns",
            )
        parts.append(_labels(name, array, source) if array.ndim == 1 else as_data(array, f"{source}:{name}"))
    tables = [part.table for part in parts if isinstance(part, Frame)]
    names = [name for table in tables for name in table.column_names]
    columns = [column for table in tables for column in table.columns]
    return Frame(plain_table(pa.table(columns, names=names), source), source)


def _labels(name: str, array: np.ndarray, source: str) -> Frame:
    """A 1-d array as a column, which may also hold words or times."""
    if array.dtype.kind not in "biufUM":
        how = f"leave the array out: name the others, as in {source}:NAME"
        raise DataError(f"holds {array.dtype}, wanted numbers, words or times", where=f"{source}:{name}", how=how)
    return Frame(_columns(array, name), source)
