"""Pictures as results: a file, a folder of files with a list of them, or numbers."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from hourglass.core.fitted import FittedModel
from hourglass.data.columns import table_of
from hourglass.data.folders import output_names, replace_folder
from hourglass.data.formats import Result
from hourglass.data.images import ImageFormat
from hourglass.data.pictures import picture_bytes
from hourglass.data.samples import Pictures, Recordings
from hourglass.data.writing import replace_file, write_array, write_table
from hourglass.errors import UsageError

FILES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp")
"""What a single picture can be written as."""


def wants_pictures(path: str | None) -> bool:
    """Whether a place is one for pictures: a folder, or a picture file."""
    return path not in (None, "-") and Path(str(path)).suffix.lower() in ("", *FILES)


def for_place(values: Result, model: FittedModel, path: str | None) -> Result:
    """Values that a model of pictures made, as pictures where the place is one for them: bytes, black to white."""
    if wants_pictures(path) and isinstance(model.format, ImageFormat):
        return model.format.as_pictures(values)
    return values


def check_is_file(path: str | None, what: str = "pictures") -> str:
    """The path; refused where it is stdout. `what` was to be written."""
    if path is None or path == "-":
        how = "name a folder, or an .npy file, with -o" if what == "pictures" else "name a folder or a file with -o"
        raise UsageError(f"{what} cannot be written to stdout", where="--output", how=how)
    return path


def write_pictures(pictures: Pictures, path: str | None) -> None:
    """Write pictures to a folder (a path without suffix), to one picture file, or as numbers by suffix."""
    path = check_is_file(path)
    suffix = Path(path).suffix.lower()
    if suffix == "":
        _write_folder(pictures, path)
    elif suffix in FILES:
        _write_one(pictures, path)
    elif suffix in (".npy", ".npz"):
        write_array(stacked(pictures, path), path)
    else:
        numbers = table_of(stacked(pictures, path).reshape(len(pictures), -1))
        write_table(numbers.add_column(0, "name", pictures.table.column("name")), path)


def stacked(pictures: Pictures, path: str) -> np.ndarray:
    """Pictures of one size as one array."""
    shapes = Counter(each.shape for each in pictures.arrays)
    if len(shapes) > 1:
        what = f"got pictures of {len(shapes)} different shapes, and an array has one"
        raise UsageError(what, where=path, how="write them to a folder: -o FOLDER")
    return np.stack(list(pictures.arrays))


def shape_of(values: Result) -> list[int]:
    """The shape of an array or a table; of pictures and recordings their number, and their shape if they share one."""
    if not isinstance(values, Pictures | Recordings):
        return list(values.shape)
    shapes = {each.shape for each in values.arrays}
    return [len(values), *(shapes.pop() if len(shapes) == 1 else ())]


def _write_one(pictures: Pictures, path: str) -> None:
    if len(pictures) != 1:
        how = f"write them to a folder: -o {Path(path).with_suffix('')}"
        raise UsageError(f"got {len(pictures):,} pictures, and {Path(path).name} holds one", where="--output", how=how)
    content = picture_bytes(pictures.arrays[0], Path(path).suffix)
    replace_file(Path(path), lambda handle: handle.write(content))


def _write_folder(pictures: Pictures, path: str) -> None:
    """One PNG a picture, under its own name, and `_manifest.json` that says which came from which."""
    names = [str(name) for name in pictures.table.column("name").to_pylist()]
    files = file_names(names)
    manifest: dict[str, Any] = {
        "source": pictures.source,
        "files": [{"file": file, "name": name} for file, name in zip(files, names, strict=True)],
        "failed": list(pictures.failed),
    }
    contents = (picture_bytes(each, ".png") for each in pictures.arrays)
    replace_folder(path, zip(files, contents, strict=True), manifest)


def file_names(names: list[str]) -> list[str]:
    """PNG files for names of pictures: the suffix replaced, or kept where two names would become one.

    >>> file_names(["a/1.jpg", "b.png", "b.jpg", "7"])
    ['a/1.png', 'b.png.png', 'b.jpg.png', '7.png']
    """
    return output_names(names, (*FILES, ".gif"), ".png")
