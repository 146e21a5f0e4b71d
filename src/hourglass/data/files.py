"""Opens user data: the one place that does. A file is what its suffix *and* its first bytes say; they must agree."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import re
import stat
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hourglass.data.alike import read_all
from hourglass.data.arrays import read_npy, read_npz
from hourglass.data.cells import parse_times
from hourglass.data.columns import plain_table
from hourglass.data.declared import read_arff, read_ts
from hourglass.data.idx import is_idx, labels_beside, read_idx, with_labels
from hourglass.data.limits import DENSE_RATIO, check_dense, check_density, check_size
from hourglass.data.listing import list_folder, read_each
from hourglass.data.opening import COPY, IDX, check_start, opened, readable, refuse_address, size_in, size_of, status_of
from hourglass.data.pictures import PICTURES, one_picture, read_picture
from hourglass.data.remote import bare, is_remote
from hourglass.data.samples import Frame, Pictures, Recordings
from hourglass.data.shards import PARQUET, find_shards
from hourglass.data.sound import SOUNDS, one_recording, read_sound
from hourglass.data.text import read_text, text_blocks
from hourglass.errors import DataError, TimeError, UnreadableError, UsageError
from hourglass.settings import did_you_mean

if TYPE_CHECKING:
    import pyarrow.parquet as pq

_TEXT_READERS: dict[str, Callable[[bytes, str], Frame | np.ndarray]] = {
    ".csv": read_text,
    ".tsv": read_text,
    ".txt": read_text,
    ".arff": read_arff,
    ".ts": read_ts,
}
_WANTED = {
    **dict.fromkeys(PARQUET, "a Parquet file"),
    **{".npy": "a NumPy array", ".npz": "a zip archive"},
    **PICTURES,
    **SOUNDS,
}
SUFFIXES = (*_TEXT_READERS, *(f"{suffix}.gz" for suffix in _TEXT_READERS), *_WANTED)
"""Every suffix that `read` knows."""

Content: TypeAlias = Frame | np.ndarray | Pictures | Recordings
"""What a file, a folder or an object in memory may hold."""

BLOCK, LARGE = 4 << 20, 16 << 20
"""Bytes of a file read at a time, where they are read block by block, and from which on they are."""

_BUFFER = 1 << 20
"""Bytes of a column of a Parquet file that are fetched at a time."""

_TIME_NAMES = ("time", "timestamp", "date", "datetime", "ds")


def read(path: str | Path, *, array: str | None = None, skip_bad: bool = False, remote: bool = False) -> Content:
    """The table, array, pictures or sound in a file, or the pictures, recordings or tables in a folder.

    CSV, TSV and TXT, ARFF and `.ts` (all also with `.gz`), Parquet, `.npy` and `.npz`; PNG, JPEG, WebP, TIFF, BMP, GIF,
    IDX, which MNIST comes in; WAV (also RF64 and Wave64), FLAC, Ogg, MP3, AIFF; folders of pictures or of sound files.
    The tables of a folder, or those that match a glob, are one table: their rows in the order of the files' names.
    An array of a `.npz` file is chosen with `array`, or as `FILE.npz:NAME`; `NAME+LABELS` adds a 1-d array as a column.
    Arrays of three or more dimensions stay arrays. `skip_bad`: files of a folder that cannot be read are left out and
    listed, not refused. `remote`: tables may be at an address of a store, `s3://` or `gs://`.

    `UnreadableError` for a file that is not what its name says, is damaged or cut short; `DataError` for a place where
    no file can be read and for cells that spoil a column; `UsageError` for an array that is not there.
    """
    path, array = _split(str(path), array)
    if not remote:
        refuse_address(path)
    if array is None and (shards := find_shards(path)):
        return _opened(path, None) if shards.single else read_all(shards, lambda each: _opened(each, None), skip_bad)
    status = status_of(path)
    if stat.S_ISDIR(status.st_mode):
        if array is not None:
            raise _no_array(array, path)
        return _read_folder(path, skip_bad)
    data = _opened(path, array)
    if isinstance(data, Pictures) and is_idx(path) and (beside := labels_beside(path)):
        labels = _opened(beside, None)
        return with_labels(data, labels, beside) if isinstance(labels, Frame) else data
    return data


def _opened(path: str, array: str | None) -> Content:
    with readable(path) as handle:
        return _read(handle, bare(path), size_in(handle), array)


def _split(path: str, array: str | None) -> tuple[str, str | None]:
    file, colon, name = path.rpartition(":")
    if colon and file.lower().endswith(".npz") and not os.path.lexists(path):
        if array is not None and array != name:
            what = f"got the array {name!r} in the path and array={array!r}, wanted one of them"
            raise UsageError(what, where=path, how="leave one out")
        return file, name
    return path, array


def _no_array(array: str, path: str) -> UsageError:
    what = f"got the array name {array!r}, but only .npz files hold named arrays"
    return UsageError(what, where=path, how="leave the name out")


def _read_folder(folder: str, skip_bad: bool) -> Pictures | Recordings:
    listing = list_folder(folder, {"picture": PICTURES, "recording": SOUNDS})
    if listing.noun == "picture":
        found = read_each(listing, _picture, skip_bad)
        return Pictures(found.arrays, found.table, folder, found.notices, found.failed)
    rates: list[int] = []

    def recording(path: str) -> tuple[np.ndarray, list[str]]:
        array, rate, notices = read_sound(path)
        rates.append(rate)
        return array, notices

    found = read_each(listing, recording, skip_bad)
    return Recordings(found.arrays, rates, found.table, folder, found.notices, found.failed)


def _picture(path: str) -> tuple[np.ndarray, list[str]]:
    """The pixels of one picture file, and what was accepted although odd."""
    with opened(path, PICTURES[os.path.splitext(path)[1].lower()]) as handle:
        return read_picture(handle, path)


def _read(handle: BinaryIO, path: str, size: int, array: str | None) -> Content:
    suffix, compressed = _suffix(path)
    wanted = "a gzip file" if compressed else IDX if is_idx(path) else _WANTED.get(suffix, "text")
    check_start(handle, path, wanted)
    if array is not None and suffix != ".npz":
        raise _no_array(array, path)
    if suffix == ".npy":
        return read_npy(handle, size, path)
    if suffix == ".npz":
        return read_npz(handle, path, array)
    if suffix in PARQUET:
        return _read_parquet(handle, size, path)
    if suffix in PICTURES:
        return one_picture(*read_picture(handle, path), path)
    if suffix in SOUNDS:
        return one_recording(*read_sound(path), path)
    content = _unzipped(handle, size, path) if compressed else handle.read()
    if is_idx(path):
        return read_idx(content, path)
    return _TEXT_READERS[suffix](content, path)


def _suffix(path: str) -> tuple[str, bool]:
    name = path.lower()
    suffix = os.path.splitext(name.removesuffix(".gz"))[1]
    compressed = name.endswith(".gz")
    if (f"{suffix}.gz" if compressed else suffix) not in SUFFIXES and not is_idx(name):
        raise UnreadableError(
            f"has the suffix {os.path.splitext(name)[1]!r}, which is no table, array, picture or recording",
            where=path,
            how=f"known: {', '.join(SUFFIXES)}",
        )
    return suffix, compressed


def _unzipped(handle: BinaryIO, size: int, path: str) -> bytes:
    content, dense, read = bytearray(), 0, 0
    try:
        with gzip.GzipFile(fileobj=handle) as unzipped:
            while piece := unzipped.read(1 << 24):
                content += piece
                before, read = read, handle.tell()
                dense += len(piece) if len(piece) > DENSE_RATIO * (read - before) else 0
                check_dense(dense, size, path)
                check_size(len(content), size, path)
    except (OSError, EOFError, zlib.error) as error:
        raise UnreadableError(f"is damaged or cut short: {error}", where=path, how=COPY) from error
    return bytes(content)


def _read_parquet(handle: BinaryIO, size: int, path: str) -> Frame:
    with _parquet(handle, size, path) as file:
        return _decoded(file.read(), size, path)


def _decoded(table: pa.Table, size: int, path: str) -> Frame:
    check_size(sum(map(_spelled_out, table.columns)), size, path)
    return _frame(table, path)


def _spelled_out(column: pa.ChunkedArray) -> int:
    """Bytes of a column once each of its cells has its word: a word may be a megabyte, and stand in every row."""
    if not pa.types.is_dictionary(column.type) or not pa.types.is_string(column.type.value_type):
        return int(column.nbytes)
    lengths = (pc.binary_length(chunk.dictionary).take(chunk.indices) for chunk in column.chunks)
    return sum(pc.sum(each).as_py() or 0 for each in lengths)


@contextlib.contextmanager
def _parquet(handle: BinaryIO, size: int, path: str, streamed: bool = False) -> Iterator[pq.ParquetFile]:
    """A Parquet file, open for reading, that is not too large for memory; `streamed`: that is no trap."""
    import pyarrow.parquet as pq  # slow to import, and most files are none

    check = check_density if streamed else check_size
    try:
        metadata = pq.read_metadata(handle)
        groups = [metadata.row_group(place) for place in range(metadata.num_row_groups)]
        chunks = [group.column(place) for group in groups for place in range(group.num_columns)]
        # Runs of one value take no room in the file, but eight bytes a cell in memory.
        bytes_of_words = {chunk.path_in_schema for chunk in chunks if chunk.physical_type == "BYTE_ARRAY"}
        check(sum(max(chunk.total_uncompressed_size, 8 * chunk.num_values) for chunk in chunks), size, path)
        handle.seek(0)
        yield pq.ParquetFile(
            handle, metadata=metadata, read_dictionary=sorted(bytes_of_words), page_checksum_verification=True,
            # with pre_buffer whole row groups are fetched, however few rows are asked for
            pre_buffer=not streamed, buffer_size=_BUFFER if streamed else 0,
        )  # fmt: skip
    except (pa.ArrowException, OSError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise UnreadableError(f"is damaged or cut short: {error}", where=path, how=COPY) from error


def read_blocks(path: str, remote: bool = False) -> Iterator[Frame] | None:
    """The rows of a large CSV, TSV, TXT or Parquet file as frames, one after another; None for any other file.

    Joined, they are the table that `read` gives. `DataError`, maybe only after some blocks, where that is not sure.
    """
    if not (remote and is_remote(path)) and not stat.S_ISREG(status_of(path).st_mode):
        return None
    suffix = os.path.splitext(bare(path))[1].lower()
    if size_of(path) < LARGE:
        return None
    return _BLOCK_READERS[suffix](path) if suffix in _BLOCK_READERS else None


def _text_blocks(path: str) -> Iterator[Frame]:
    with opened(path, "text") as handle:
        yield from text_blocks(iter(lambda: handle.read(BLOCK) + handle.readline(), b""), bare(path))


def parquet_blocks(path: str, rows: int = 1 << 16) -> Iterator[Frame]:
    """The rows of a Parquet file as frames of so many rows, one after another."""
    start, where = 0, bare(path)
    with opened(path, _WANTED[".parquet"]) as handle:
        size = size_in(handle)
        with _parquet(handle, size, where, streamed=True) as file:
            for batch in file.iter_batches(rows):
                yield replace(_decoded(pa.Table.from_batches([batch]), size, where), first_row=start)
                start += batch.num_rows


_BLOCK_READERS: dict[str, Callable[[str], Iterator[Frame]]] = {
    **dict.fromkeys((".csv", ".tsv", ".txt"), _text_blocks),
    **dict.fromkeys(PARQUET, parquet_blocks),
}


def from_object(data: Any) -> Content:
    """Data in memory: arrays as they are; pandas, polars and Arrow tables as a frame; nested lists as an array.

    Neither pandas nor polars is imported. A pandas index that holds times becomes a column (`time` if it has no name);
    any other is dropped with a notice. NaN becomes null; infinity is left for the format to refuse.
    """
    if isinstance(data, (Frame, np.ndarray, Pictures, Recordings)):
        return data
    if isinstance(data, (pa.Table, pa.RecordBatch)) or hasattr(data, "__arrow_c_stream__"):
        return _frame(_arrow_table(data), "the data frame")
    if isinstance(data, (list, tuple)) or hasattr(data, "__array__"):
        return _array(data)
    what = f"got {type(data).__name__}, wanted an array, a data frame or lists of numbers"
    raise UsageError(what, where="the data", how="from hourglass.data.files import read; read(path) reads a file")


def _arrow_table(data: Any) -> pa.Table:
    try:
        if isinstance(data, pa.ChunkedArray) or len(getattr(data, "shape", (0, 0))) == 1:
            return pa.table({str(getattr(data, "name", None) or "value"): pa.chunked_array(data)})
        return pa.table(data)
    except (pa.ArrowException, ValueError, TypeError, NotImplementedError) as error:
        raise DataError(
            f"cannot be read as columns: {'; '.join(map(str, error.args))}",
            where="the data frame",
            how="give every column one type of value, and every column its own name",
        ) from error


def _array(data: Any) -> np.ndarray:
    try:
        array = np.asarray(data)
    except ValueError as error:
        what = "the rows are of unequal length, wanted equally many numbers in each"
        raise DataError(what, where="the data", how="fill the short ones with NaN, which is missing") from error
    if array.dtype.kind not in "biuf":
        raise DataError(
            f"holds {array.dtype}, wanted numbers",
            where="the data",
            how="give words and times as a data frame with named columns",
        )
    return array


def _frame(table: pa.Table, source: str) -> Frame:
    table, notices = _index_resolved(table)
    return Frame(plain_table(table, source), source, notices=tuple(notices))


def _index_resolved(table: pa.Table) -> tuple[pa.Table, list[str]]:
    """Without the columns that were a pandas index, unless they hold times."""
    notices = []
    for name in _index_names(table):
        place = table.column_names.index(name)
        unnamed = re.fullmatch(r"__index_level_\d+__", name) is not None
        if not pa.types.is_temporal(table.column(place).type):
            table = table.remove_column(place)
            notices.append(f"the index{'' if unnamed else f' {name!r}'} was dropped: reset_index() makes it a column")
        elif unnamed and "time" not in table.column_names:
            table = table.rename_columns(["time" if column == name else column for column in table.column_names])
    return table, notices


def _index_names(table: pa.Table) -> list[str]:
    try:
        document = json.loads((table.schema.metadata or {}).get(b"pandas", b"{}"))
        return [name for name in document.get("index_columns", []) if name in table.column_names]
    except (ValueError, AttributeError, TypeError):  # a file may say anything
        return []


def find_time_column(frame: Frame, named: str | None = None) -> str | None:
    """The column that orders the rows in time, or None where the rows are no series.

    `named` is taken if it holds times, or numbers (seconds, step counts). Otherwise columns called time, timestamp,
    date, datetime or ds come first, then any that holds times. Birth dates of customers do not make a series: nothing
    may be missing, most times must differ, and they must hardly ever step back; shuffled times must all differ and be
    evenly spaced.
    """
    if named is not None:
        return _named_time_column(frame, named)
    names = sorted(frame.table.column_names, key=lambda name: name.lower() not in _TIME_NAMES)
    return next((name for name in names if _orders(frame.table.column(name), name)), None)


def _named_time_column(frame: Frame, named: str) -> str:
    if named not in frame.table.column_names:
        raise UsageError(
            f"there is no column {named!r}", where=frame.source, how=did_you_mean(named, frame.table.column_names)
        )
    column = frame.table.column(named)
    number = pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
    if not number and _as_times(column) is None:
        raise TimeError(
            f"column {named!r} holds {column.type}, wanted times or numbers",
            where=frame.source,
            how="write times as 2014-07-01 00:00:00",
        )
    return named


def _as_times(column: pa.ChunkedArray) -> pa.ChunkedArray | None:
    if pa.types.is_timestamp(column.type):
        return column
    return parse_times(column) if pa.types.is_string(column.type) else None


def _orders(column: pa.ChunkedArray, name: str) -> bool:
    if pa.types.is_string(column.type) and name.lower() not in _TIME_NAMES:
        return False
    times = _as_times(column)
    if times is None or times.null_count or len(times) < 2:
        return False
    values = times.cast(pa.int64()).to_numpy()
    unique = len(np.unique(values)) / len(values)
    forward = float(np.mean(np.diff(values) >= 0))
    return (unique >= 0.8 and forward >= 0.9) or (unique >= 0.99 and _evenly_spaced(values))


def _evenly_spaced(values: np.ndarray) -> bool:
    """Whether one gap makes up half of all gaps or more, once the times are sorted."""
    _, counts = np.unique(np.diff(np.sort(values)), return_counts=True)
    return bool(counts.max() >= 0.5 * counts.sum())
