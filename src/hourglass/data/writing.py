"""Writes results: tables and arrays by the suffix of the file, each file replaced whole or not at all."""

from __future__ import annotations

import contextlib
import csv
import errno
import io
import json
import math
import os
import shutil
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from hourglass.data import remote
from hourglass.data.columns import table_of
from hourglass.data.formulas import neutralised, neutralised_word
from hourglass.data.opening import not_written
from hourglass.data.remote import is_remote
from hourglass.data.temporary import temporary_for
from hourglass.errors import DataError, UsageError


def write_table(table: pa.Table, path: str | Path | None) -> None:
    """Write named columns to a `.csv`, `.jsonl`, `.ndjson` or `.parquet` file, or to stdout as CSV (path None or "-").

    Numbers are written so that reading them gives the same numbers, times as ISO 8601, missing cells as nothing (JSON:
    null). CSV names and words that a spreadsheet would run as a formula get a leading apostrophe,
    which reading takes away again.
    """
    table = _nan_as_missing(table)
    if path is None or str(path) == "-":
        _write_csv(table, sys.stdout.buffer)
        sys.stdout.buffer.flush()
        return
    write = _by_suffix(Path(path), _TABLE_WRITERS)
    replace_file(Path(path), lambda handle: write(table, handle))


def _nan_as_missing(table: pa.Table) -> pa.Table:
    for place, field in enumerate(table.schema):
        if pa.types.is_floating(field.type) and pc.any(pc.is_nan(table.column(place))).as_py():
            column = table.column(place)
            table = table.set_column(place, field, pc.if_else(pc.is_nan(column), None, column))
    return table


def write_array(array: np.ndarray, path: str | Path, names: Sequence[str] | None = None) -> None:
    """Write an array to `.npy`, `.npz` (under the name `data`), or, if it is 2-d, to `.csv` or `.parquet`.

    `names` are the column names of the last two (default: x0, x1, ...).
    """
    path = Path(path)
    if array.dtype.hasobject:
        raise UsageError(f"got an array of {array.dtype}, wanted numbers", where=str(path), how="array.astype(float)")
    write = _by_suffix(path, _ARRAY_WRITERS)
    if write in (_write_npy, _write_npz):
        return replace_file(path, lambda handle: write(array, handle))
    if array.ndim != 2 or (names is not None and len(names) != array.shape[1]):
        raise UsageError(
            f"got shape {array.shape}"
            + (f" and {len(names)} names" if names is not None else "")
            + ", wanted rows and named columns",
            where=str(path),
            how="write it as .npy, which keeps any shape",
        )
    return write_table(table_of(array, names), path)


def write_text(path: str | Path, text: str) -> None:
    """Replace the file at `path`, here or in a store, by `text`, in UTF-8."""
    replace_file(path, lambda handle: handle.write(text.encode()))


def replace_file(path: str | Path, write: Callable[[BinaryIO], Any], need: int | None = None) -> None:
    """Put what `write` writes at `path`, in one step: whatever happens, the old file or the whole new one is there.

    A link is followed. `DataError` where the folder is missing or cannot be written to, or the disk is full; it says
    how many bytes are free, and that `need` are needed where that is known.
    """
    with replacing(path, need) as handle:
        write(handle)


@contextlib.contextmanager
def replacing(path: str | Path, need: int | None = None) -> Iterator[BinaryIO]:
    """A file to write to, which takes the place of `path` when the block ends well: see `replace_file`."""
    if is_remote(str(path)):
        with remote.replacing(str(path)) as handle:
            yield handle
        return
    path, target = Path(path), Path(os.path.realpath(path))
    temporary = temporary_for(target)
    try:
        _check_target(path, target)
        # Not tempfile: its files are private, and a result should get the permissions that any new file gets.
        with open(temporary, "xb") as handle:
            yield handle
            handle.flush()
            os.fsync(handle.fileno())
        if target.exists():
            temporary.chmod(stat.S_IMODE(target.stat().st_mode))
        os.replace(temporary, target)
        _sync_folder(target.parent)
    except OSError as error:
        raise not_written(path, error, _room(error, target.parent, need)) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _room(error: OSError, folder: Path, need: int | None) -> str:
    """How many bytes are free and needed, where a disk failed; nothing where something else did."""
    if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO):
        return ""
    with contextlib.suppress(OSError):
        needed = "" if need is None else f", {need:,} needed"
        return f" ({shutil.disk_usage(folder).free:,} bytes are free{needed})"
    return ""


def _check_target(path: Path, target: Path) -> None:
    if not target.parent.is_dir():
        raise DataError(
            "cannot be written: its folder does not exist", where=str(path), how=f"make the folder {path.parent} first"
        )
    if target.is_dir():
        raise DataError("cannot be written: it is a folder", where=str(path), how="give the name of a file in it")
    if target.exists() and not target.is_file():
        how = "give the name of a new file; without a place, results go to stdout"
        raise DataError("cannot be written: it is a pipe or device, wanted a file", where=str(path), how=how)


def _sync_folder(folder: Path) -> None:
    """Make the new name itself survive a power cut, on systems that can open a folder."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _write_csv(table: pa.Table, handle: BinaryIO) -> None:
    nested = next((field.name for field in table.schema if pa.types.is_nested(field.type)), None)
    if nested is not None:
        raise UsageError(f"column {nested!r} holds lists, which CSV cannot", how="write .jsonl or .parquet")
    header = io.StringIO(newline="")
    csv.writer(header, lineterminator="\n").writerow(map(neutralised_word, table.column_names))
    handle.write(header.getvalue().encode())
    safe = pa.table([_without_formulas(column) for column in table.columns], names=table.column_names)
    pa_csv.write_csv(safe, handle, pa_csv.WriteOptions(include_header=False))


def _without_formulas(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return column
    return neutralised(column)


def _write_jsonl(table: pa.Table, handle: BinaryIO) -> None:
    for batch in table.to_batches(max_chunksize=10_000):
        for row in batch.to_pylist():
            handle.write(json.dumps(_plain(row), ensure_ascii=False, allow_nan=False).encode() + b"\n")


def _plain(value: Any) -> Any:
    """JSON has no NaN, no infinity and no times."""
    if isinstance(value, dict):
        return {key: _plain(piece) for key, piece in value.items()}
    if isinstance(value, list):
        return [_plain(piece) for piece in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value.isoformat() if hasattr(value, "isoformat") else value


def _write_parquet(table: pa.Table, handle: BinaryIO) -> None:
    import pyarrow.parquet as pq  # slow to import, and most files are none

    pq.write_table(table, handle, write_page_checksum=True)


def _write_npy(array: np.ndarray, handle: BinaryIO) -> None:
    np.save(handle, array, allow_pickle=False)


def _write_npz(array: np.ndarray, handle: BinaryIO) -> None:
    np.savez(handle, data=array)


_TABLE_WRITERS: dict[str, Callable[[Any, BinaryIO], None]] = {
    ".csv": _write_csv,
    ".jsonl": _write_jsonl,
    ".ndjson": _write_jsonl,
    ".parquet": _write_parquet,
}
_ARRAY_WRITERS: dict[str, Callable[[Any, BinaryIO], None]] = {
    ".npy": _write_npy,
    ".npz": _write_npz,
    ".csv": _write_csv,
    ".parquet": _write_parquet,
}


def _by_suffix(path: Path, writers: dict[str, Callable[[Any, BinaryIO], None]]) -> Callable[[Any, BinaryIO], None]:
    try:
        return writers[path.suffix.lower()]
    except KeyError:
        known = ", ".join(writers)
        raise UsageError(
            f"the suffix {path.suffix!r} is not known", where=str(path), how=f"end the name in one of {known}"
        ) from None
