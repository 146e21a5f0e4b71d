"""IDX files, the form in which MNIST and its likes are handed out: a few bytes of header, then numbers."""

from __future__ import annotations

import math
import os
import re

import numpy as np
import pyarrow as pa

from hourglass.data.arrays import as_data
from hourglass.data.opening import COPY
from hourglass.data.samples import Frame, Pictures
from hourglass.data.times import counted
from hourglass.errors import UnreadableError

_NAME = re.compile(r"[-._]idx(\d)-(ubyte|byte|short|int|float|double)$")
_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
"""NumPy's word for each of the format's types, all with the highest byte first."""


def is_idx(path: str) -> bool:
    """Whether a file's name says that it is one: `train-images-idx3-ubyte`, `t10k-labels.idx1-ubyte.gz`."""
    return _NAME.search(path.lower().removesuffix(".gz")) is not None


def read_idx(content: bytes, path: str) -> Pictures | Frame | np.ndarray:
    """Three dimensions of bytes are pictures, one dimension is the column `label`, anything else an array."""
    array = _array(content, path)
    if array.ndim == 1:
        column = array.astype(np.int64) if array.dtype.kind in "iu" else array.astype(np.float64)
        return Frame(pa.table({"label": column}), path)
    if array.ndim != 3 or array.dtype != np.uint8:
        return as_data(array, path)
    width = len(str(len(array) - 1))
    names = [f"{picture:0{width}d}" for picture in range(len(array))]
    return Pictures(array, pa.table({"name": names}), path)


def _array(content: bytes, path: str) -> np.ndarray:
    zero, kind, dimensions = content[:2], *content[2:4].ljust(2, b"\0")
    if zero != b"\0\0" or kind not in _TYPES or not dimensions or len(content) < 4 * (1 + dimensions):
        what = f"begins with {content[:4].hex(' ') or 'nothing'}, wanted the header of an IDX file"
        raise UnreadableError(what, where=path, how="rename it by what it is, or fetch it again")
    shape = tuple(int(size) for size in np.frombuffer(content, ">u4", dimensions, 4))
    number = np.dtype(_TYPES[kind])
    wanted, got = math.prod(shape) * number.itemsize, len(content) - 4 * (1 + dimensions)
    if wanted != got:
        short = "is cut short" if got < wanted else "has bytes too many"
        what = f"{short}: {' x '.join(map(str, shape))} numbers take {wanted:,} bytes, got {got:,}"
        raise UnreadableError(what, where=path, how=COPY)
    if not wanted:
        raise UnreadableError(f"holds nothing: its shape is {shape}", where=path, how=COPY)
    array = np.frombuffer(content, number, offset=4 * (1 + dimensions)).reshape(shape)
    return array.astype(number.newbyteorder("="))


def labels_beside(path: str) -> str | None:
    """The file of labels that goes with one of pictures, where it is in the same folder."""
    folder, name = os.path.split(path)
    twin = name.replace("images", "labels").replace("idx3", "idx1")
    bare = twin.removesuffix(".gz")
    places = [os.path.join(folder, each) for each in (twin, bare, f"{bare}.gz")]
    return next((place for place in places if twin != name and os.path.isfile(place)), None)


def with_labels(pictures: Pictures, labels: Frame, path: str) -> Pictures:
    """The pictures with a column `label`, where there are as many labels as pictures; else a notice says why not."""
    name = os.path.basename(path)
    if labels.table.num_rows != len(pictures):
        notice = (
            f"{name} has {counted(labels.table.num_rows, 'label')} for {counted(len(pictures), 'picture')}: left out"
        )
        return Pictures(pictures.arrays, pictures.table, pictures.source, (notice,))
    table = pictures.table.append_column("label", labels.table.column("label"))
    return Pictures(pictures.arrays, table, pictures.source, (f"labels are taken from {name}",))
