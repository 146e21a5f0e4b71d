"""IDX files: pictures, labels, and what is neither."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hourglass.data.files import read
from hourglass.data.samples import Frame, Pictures
from hourglass.errors import UnreadableError

DIGITS = np.arange(24, dtype=np.uint8).reshape(4, 3, 2)


def idx(array: np.ndarray, kind: int = 8) -> bytes:
    shape = struct.pack(f">{array.ndim}I", *array.shape)
    return bytes([0, 0, kind, array.ndim]) + shape + array.astype(array.dtype.newbyteorder(">")).tobytes()


@pytest.mark.parametrize("name", ["train-images-idx3-ubyte", "t10k-images.idx3-ubyte", "x-idx3-ubyte"])
@pytest.mark.parametrize("zipped", [False, True])
def test_bytes_of_three_dimensions_are_pictures(tmp_path: Path, name: str, zipped: bool) -> None:
    path = tmp_path / (f"{name}.gz" if zipped else name)
    path.write_bytes(gzip.compress(idx(DIGITS)) if zipped else idx(DIGITS))
    found = read(path)
    assert isinstance(found, Pictures)
    np.testing.assert_array_equal(np.asarray(found.arrays), DIGITS)
    assert found.table.to_pydict() == {"name": ["0", "1", "2", "3"]}


@pytest.mark.parametrize("zipped", [False, True])
def test_labels_beside_become_a_column(tmp_path: Path, zipped: bool) -> None:
    (tmp_path / "t-images-idx3-ubyte").write_bytes(idx(DIGITS))
    labels = idx(np.array([7, 2, 1, 0], dtype=np.uint8))
    (tmp_path / f"t-labels-idx1-ubyte{'.gz' * zipped}").write_bytes(gzip.compress(labels) if zipped else labels)
    found = read(tmp_path / "t-images-idx3-ubyte")
    assert isinstance(found, Pictures)
    assert found.table.column("label").to_pylist() == [7, 2, 1, 0]
    assert found.notices == (f"labels are taken from t-labels-idx1-ubyte{'.gz' * zipped}",)
    alone = read(tmp_path / f"t-labels-idx1-ubyte{'.gz' * zipped}")
    assert isinstance(alone, Frame)
    assert alone.table.to_pydict() == {"label": [7, 2, 1, 0]}


def test_labels_of_another_count_are_left_out_aloud(tmp_path: Path) -> None:
    (tmp_path / "t-images-idx3-ubyte").write_bytes(idx(DIGITS))
    (tmp_path / "t-labels-idx1-ubyte").write_bytes(idx(np.array([7, 2], dtype=np.uint8)))
    found = read(tmp_path / "t-images-idx3-ubyte")
    assert isinstance(found, Pictures)
    assert found.table.column_names == ["name"]
    assert found.notices == ("t-labels-idx1-ubyte has 2 labels for 4 pictures: left out",)


@pytest.mark.parametrize(
    ("kind", "dtype"), [(9, np.int8), (11, np.int16), (12, np.int32), (13, np.float32), (14, np.float64)]
)
def test_other_numbers_keep_their_type(tmp_path: Path, kind: int, dtype: type) -> None:
    array = (np.arange(24).reshape(4, 3, 2) - 5).astype(dtype)
    (tmp_path / "x-idx3-float").write_bytes(idx(array, kind))
    found = read(tmp_path / "x-idx3-float")
    assert isinstance(found, np.ndarray)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, array)


def test_two_dimensions_are_columns(tmp_path: Path) -> None:
    (tmp_path / "x.idx2-ubyte").write_bytes(idx(DIGITS[:, :, 0]))
    found = read(tmp_path / "x.idx2-ubyte")
    assert isinstance(found, Frame)
    assert found.unnamed
    assert found.table.column_names == ["x0", "x1", "x2"]


WHOLE = idx(DIGITS)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "the file is empty"),
        (WHOLE[:-1], "is cut short: 4 x 3 x 2 numbers take 24 bytes, got 23"),
        (WHOLE + b"\0", "has bytes too many"),
        (WHOLE[:3], "begins with 00 00 08, wanted the header"),
        (WHOLE[:10], "begins with 00 00 08 03, wanted the header"),
        (b"\0\0\x08\0\0\0\0\0", "wanted the header"),
        (b"words", "looks like text, wanted an IDX file"),
        (bytes([0, 0, 8, 3]) + struct.pack(">3I", 2**31, 2**31, 2**31), "is cut short"),
        (bytes([0, 0, 8, 3]) + struct.pack(">3I", 0, 3, 2), "holds nothing"),
    ],
)
def test_damaged_files_are_refused_by_name(tmp_path: Path, content: bytes, what: str) -> None:
    path = tmp_path / "x-idx3-ubyte"
    path.write_bytes(content)
    with pytest.raises(UnreadableError, match=what) as caught:
        read(path)
    assert caught.value.where == str(path)


def test_mnist_as_it_comes(shared_data: Path, need: Callable[[Path], Path]) -> None:
    found = read(need(shared_data / "mnist" / "t10k-images-idx3-ubyte.gz"))
    assert isinstance(found, Pictures)
    assert np.asarray(found.arrays).shape == (10_000, 28, 28)
    assert found.table.column("label").to_pylist()[:5] == [7, 2, 1, 0, 4]
    assert found.table.column("name")[42].as_py() == "0042"
