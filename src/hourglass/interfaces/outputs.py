"""Where results go: places are checked before long work starts, and values are written by suffix."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from hourglass.data.columns import table_of
from hourglass.data.folders import check_folder
from hourglass.data.formats import Data, Result
from hourglass.data.opening import is_address
from hourglass.data.remote import without_secrets
from hourglass.data.samples import Frame, Pictures, Recordings
from hourglass.data.sound import SOUNDS, sound_info
from hourglass.data.sound_writing import write_recordings
from hourglass.data.writing import write_array, write_table
from hourglass.errors import DataError, SchemaError, UsageError
from hourglass.interfaces.pictures import FILES, check_is_file, wants_pictures, write_pictures

SCORES = (".csv", ".jsonl", ".ndjson", ".parquet")
VALUES = (".npy", ".npz", ".csv", ".parquet", "", *FILES, *SOUNDS)
"""A name without suffix is a folder of pictures or recordings."""
MODEL = (".safetensors", "")
HTML = (".html", ".htm")


def check_place(path: str | None, suffixes: Sequence[str], option: str, *inputs: str | None) -> None:
    """Refuse a place that could not be written to in the end, or that is one of the inputs, before anything is done."""
    if path is None or (path == "-" and suffixes is not MODEL):
        return
    check_here(path, option)
    place = Path(path)
    if place.suffix.lower() not in suffixes:
        known = ", ".join(suffix or "no suffix" for suffix in suffixes)
        what = f"got {path!r}, wanted a name that ends in {known}"
        raise UsageError(what, where=option, how="the suffix sets the format")
    if not os.path.isdir(place.parent):  # unlike a Path's, never an error of its own
        how = f"make the folder {place.parent} first, or see whether you may enter it"
        raise DataError("cannot be written: its folder does not exist", where=path, how=how)
    if place.suffix == "" and suffixes is VALUES:
        check_folder(place)
    elif os.path.isdir(place):
        raise DataError("cannot be written: it is a folder", where=path, how="give the name of a file in it")
    if os.path.exists(place) and any(os.path.exists(each) and os.path.samefile(path, each) for each in inputs if each):
        raise UsageError(f"{path!r} is read too, and would be replaced", where=option, how="write to another file")


def check_here(path: str, option: str) -> None:
    """Refuse an address where something is written on this machine."""
    if is_address(path):
        what = f"got the address {without_secrets(path)}, wanted a place on this machine"
        how = "upload it afterwards; what goes to a store is what a MODEL makes of shards: -o s3://BUCKET/FOLDER"
        raise UsageError(what, where=option, how=how)


def write_values(values: Result, path: str | None, names: Sequence[str] | None = None) -> list[str]:
    """Write what a model made by suffix, arrays and tables also as CSV to stdout; returns what was lost.

    `names` are an array's columns in a table.
    """
    if isinstance(values, Recordings):
        return write_sound(values, path)
    if isinstance(values, Pictures):
        write_pictures(values, path)
    else:
        _write_numbers(values, path, names)
    return []


def write_sound(recordings: Recordings, path: str | None) -> list[str]:
    """Write recordings to a folder or a file, with the bit depth and tags of the files they come from, if any.

    Returns what was lost, one sentence for each file.
    """
    path = check_is_file(path, "recordings")
    if Path(path).suffix.lower() not in ("", *SOUNDS):
        how = "name a folder, or a file that ends in .wav or .flac, with -o"
        raise UsageError("the model gives sound, and the place is one for numbers", where=path, how=how)
    source = Path(recordings.source)
    names = [str(name) for name in recordings.table.column("name").to_pylist()]
    files = [source / name for name in names] if source.is_dir() else [source]
    return write_recordings(recordings, path, [sound_info(file) for file in files] if source.exists() else None)


def _write_numbers(values: np.ndarray | pa.Table, path: str | None, names: Sequence[str] | None) -> None:
    if path is not None and Path(path).suffix.lower() in SOUNDS:
        what = "the model gives numbers, and the place is one for sound"
        raise UsageError(what, where=path, how="end the name in .npy, .npz, .csv or .parquet")
    if wants_pictures(path):
        what = "the model gives numbers, and the place is one for pictures"
        raise UsageError(what, where=str(path), how="end the name in .npy, .npz, .csv or .parquet")
    to_table = path in (None, "-") or Path(str(path)).suffix.lower() in (".csv", ".parquet")
    if to_table:
        write_table(values if isinstance(values, pa.Table) else _columns(values, names, path), path)
    else:
        write_array(_numbers(values, str(path)) if isinstance(values, pa.Table) else values, str(path))


def _columns(values: np.ndarray, names: Sequence[str] | None, path: str | None) -> pa.Table:
    if values.ndim > 2:
        what = f"got an array of shape {values.shape}, and a table has two dimensions"
        raise UsageError(what, where=path or "stdout", how="write it with -o to an .npy file, which keeps any shape")
    values = values.reshape(len(values), -1)
    return table_of(values, names if names is not None and len(names) == values.shape[1] else None)


def _numbers(table: pa.Table, path: str) -> np.ndarray:
    """A table of numbers and flags as an array; anything else does not fit into one."""
    kinds = pa.types
    for field in table.schema:
        if not (kinds.is_integer(field.type) or kinds.is_floating(field.type) or kinds.is_boolean(field.type)):
            what = f"column {field.name!r} holds {field.type}, and an array holds numbers"
            raise UsageError(what, where=path, how="write a .csv or .parquet file")
    return np.column_stack([column.cast(pa.float64()).to_numpy() for column in table.columns])


def in_order_of(values: Result, data: Data) -> Result:
    """A table's columns in the order in which the data have them."""
    if not isinstance(values, pa.Table) or not isinstance(data, Frame):
        return values
    order = [name for name in data.table.column_names if name in values.column_names]
    return values.select(order) if len(order) == values.num_columns else values


def read_codes(data: Data, size: int) -> np.ndarray:
    """Codes (n, size) of a file that `encode` wrote: its columns `latent0`, `latent1`, ..., or all its numbers."""
    if not isinstance(data, Frame):
        words = {Pictures: "pictures", Recordings: "recordings"}.get(type(data))
        words = words or f"an array of shape {getattr(data, 'shape', ())}"
        how = "give a file that `hourglass encode` wrote"
        raise SchemaError(f"got {words}, wanted codes of shape (rows, {size})", where="decode", how=how)
    named = [f"latent{place}" for place in range(size)]
    names = named if set(named) <= set(data.table.column_names) else data.table.column_names
    columns = [data.table.column(name) for name in names]
    for name, column in zip(names, columns, strict=True):
        if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
            what = f"got {column.type}, wanted a number of a code"
            raise SchemaError(what, where=data.where(column=name), how="give a file that `hourglass encode` wrote")
    return np.column_stack([column.cast(pa.float64()).to_numpy() for column in columns])
