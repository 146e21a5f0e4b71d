"""Files of every kind, as they should be and as they should not."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hourglass.data import limits
from hourglass.data.files import SUFFIXES, find_time_column, from_object, read
from hourglass.data.samples import Frame
from hourglass.errors import DataError, HourglassError, TimeError, UnreadableError, UsageError

REAL = Path(__file__).resolve().parents[2].parent / "shared" / "data"
real_data = pytest.mark.skipif(not REAL.is_dir(), reason="the folder of real data sets is not here")


def put(folder: Path, content: str | bytes, name: str = "data.csv") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def columns(frame: Any) -> dict[str, list[Any]]:
    assert isinstance(frame, Frame)
    return frame.table.to_pydict()


def kinds(frame: Any) -> list[str]:
    return [str(kind) for kind in frame.table.schema.types]


def lines(*rows: str) -> str:
    return "\n".join(rows) + "\n"


def ten(prefix: str = "") -> list[str]:
    return [f"{prefix}{number}.5" for number in range(10)]


# Text: what is read


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        ("a,b\n1,2\n3,4\n", {"a": [1, 3], "b": [2, 4]}),
        ("a;b\n1;2\n3;4\n", {"a": [1, 3], "b": [2, 4]}),
        ("a\tb\n1\t2\n3\t\n", {"a": [1, 3], "b": [2, None]}),
        ("a|b\n1|2\n3|4\n", {"a": [1, 3], "b": [2, 4]}),
        ("a, b\n1, 2.5\n3, 4\n", {"a": [1, 3], "b": [2.5, 4.0]}),
        ("a,b\r\n1,x\r\n2,y\r\n", {"a": [1, 2], "b": ["x", "y"]}),
        ("a,b\r1,x\r2,y\r", {"a": [1, 2], "b": ["x", "y"]}),
        ("\n\na,b\n1,2\n\n3,4\n\n\n", {"a": [1, 3], "b": [2, 4]}),
        ("a,b\n1,2", {"a": [1], "b": [2]}),
        ('a,b\n1,"x, y"\n2,"say ""hi"""\n', {"a": [1, 2], "b": ["x, y", 'say "hi"']}),
        ('a,b\n1,"two\nlines"\n2,z\n', {"a": [1, 2], "b": ["two\nlines", "z"]}),
        ('"a\nb",c\n1,2\n', {"a\nb": [1], "c": [2]}),
        ('a,b\n1,5" pipe\n2,z\n', {"a": [1, 2], "b": ['5" pipe', "z"]}),
        ("value\n1\n\n3\n", {"value": [1, None, 3]}),
        ("value\n1.5\n2.5\n", {"value": [1.5, 2.5]}),
        ("a,,c\n1,2,3\n", {"a": [1], "column 2": [2], "c": [3]}),
        ("a,b\n1,\n2,\n", {"a": [1, 2], "b": [None, None]}),
        ("a;b\n1,5;x\n-2,25e1;y\n", {"a": [1.5, -22.5], "b": ["x", "y"]}),
        ('a,b\n"1,5",x\n"2,25",y\n', {"a": [1.5, 2.25], "b": ["x", "y"]}),
        ('a,b\n"1,234",x\n"12,345.5",y\n', {"a": [1234.0, 12345.5], "b": ["x", "y"]}),
        ("a;b\n1.234,5;x\n7;y\n", {"a": [1234.5, 7.0], "b": ["x", "y"]}),
        ("a,b\n+5,x\n+6.,y\n", {"a": [5.0, 6.0], "b": ["x", "y"]}),
        ("a,b\n99999999999999999999,x\n1,y\n", {"a": [1e20, 1.0], "b": ["x", "y"]}),
        ("a,b\ntrue,x\nFalse,y\n", {"a": [True, False], "b": ["x", "y"]}),
        ("a, b\n true,x\n FALSE,y\n", {"a": [True, False], "b": ["x", "y"]}),
        ("a,b\n007,1 000\n3,2\n", {"a": [7, 3], "b": ["1 000", "2"]}),
        ("id,2019,2020\n5,1.5,2\n6,2.5,3\n", {"id": [5, 6], "2019": [1.5, 2.5], "2020": [2, 3]}),
        ("0,1,2\n.5,1.5,2.5\n", {"0": [0.5], "1": [1.5], "2": [2.5]}),
        (",0,1\n0,1.5,2.5\n", {"column 1": [0], "0": [1.5], "1": [2.5]}),
    ],
)
def test_text_is_read(tmp_path: Path, content: str, wanted: dict[str, list[Any]]) -> None:
    frame = read(put(tmp_path, content))
    assert columns(frame) == wanted
    assert not frame.unnamed


@pytest.mark.parametrize(
    ("content", "wanted", "unnamed"),
    [
        ("1,2,3\n4,5,6\n", {"x0": [1, 4], "x1": [2, 5], "x2": [3, 6]}, True),
        ("0,1,2\n3,4,5\n", {"x0": [0, 3], "x1": [1, 4], "x2": [2, 5]}, True),
        ("1.5\n2.5\n", {"x0": [1.5, 2.5]}, True),
        ("   1.0e+00\n   2.5\n", {"x0": [1.0, 2.5]}, True),
        ("  1.0   2\n 3.5   4 \n", {"x0": [1.0, 3.5], "x1": [2, 4]}, True),
        ("1,?\n2,5\n", {"x0": [1, 2], "x1": [None, 5]}, True),
        ("39, State, ?\n50, Self, 2\n\n", {"x0": [39, 50], "x1": ["State", "Self"], "x2": [None, 2]}, False),
        ("7,8\n", {"x0": [7], "x1": [8]}, True),
    ],
)
def test_a_missing_header_is_guessed_and_said(
    tmp_path: Path, content: str, wanted: dict[str, Any], unnamed: bool
) -> None:
    frame = read(put(tmp_path, content, "data.txt"))
    assert columns(frame) == wanted
    assert isinstance(frame, Frame)
    assert frame.unnamed == unnamed
    assert frame.first_line == 1
    assert any("no header line found" in notice for notice in frame.notices)


@pytest.mark.parametrize("word", ["", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "?", "-"])
@pytest.mark.parametrize("spaces", ["{}", " {}", "  {} "])
def test_missing_words_become_null(tmp_path: Path, word: str, spaces: str) -> None:
    cell = spaces.format(word)
    frame = read(put(tmp_path, f"number,word,flag\n1,x,true\n{cell},{cell},{cell}\n3,y,false\n"))
    assert columns(frame) == {"number": [1, None, 3], "word": ["x", None, "y"], "flag": [True, None, False]}


@pytest.mark.parametrize(
    ("cells", "kind", "wanted"),
    [
        (["2014-07-01", "2014-07-02"], "timestamp[s]", datetime(2014, 7, 1)),
        (["2014-07-01 10:30:00", ""], "timestamp[s]", datetime(2014, 7, 1, 10, 30)),
        (["2014-07-01 10:30", "2014-07-01"], "timestamp[s]", datetime(2014, 7, 1, 10, 30)),
        ([" 2014-07-01T10:30:00", " 2014-07-02T10:30:00"], "timestamp[s]", datetime(2014, 7, 1, 10, 30)),
        (["2014-07-01T10:30:00Z", "2014-07-01T12:30:00+02:00"], "timestamp[s, tz=UTC]", datetime(2014, 7, 1, 10, 30)),
        (["2014-07-01T12:30:00+02:00", ""], "timestamp[s, tz=UTC]", datetime(2014, 7, 1, 10, 30)),
    ],
)
def test_times_are_found(tmp_path: Path, cells: list[str], kind: str, wanted: datetime) -> None:
    frame = read(put(tmp_path, lines("when,value", *(f"{cell},1" for cell in cells))))
    assert kinds(frame) == [kind, "int64"]
    zone = UTC if "UTC" in kind else None
    assert columns(frame)["when"][0] == wanted.replace(tzinfo=zone)


def test_times_of_day_stay_words(tmp_path: Path) -> None:
    assert columns(read(put(tmp_path, "at,value\n12:30:00,1\n"))) == {"at": ["12:30:00"], "value": [1]}


@pytest.mark.parametrize(
    ("encoding", "notice"), [("utf-8", ""), ("utf-8-sig", ""), ("utf-16", ""), ("cp1252", "not UTF-8 (line 2)")]
)
def test_encodings_are_found(tmp_path: Path, encoding: str, notice: str) -> None:
    frame = read(put(tmp_path, "Stadt,Wert\nMünchen,1\n".encode(encoding)))
    assert columns(frame) == {"Stadt": ["München"], "Wert": [1]}
    assert isinstance(frame, Frame)
    assert [notice in said for said in frame.notices] == ([True] if notice else [])


@pytest.mark.parametrize(
    ("content", "notice"),
    [
        ("a;b\n1,5;2\n", "column 'a' has numbers with a decimal comma: '1,5' was read as 1.5"),
        ('a,b\n"1,234",2\n', "column 'a' has numbers with commas between thousands: '1,234' was read as 1234"),
        ("a,\n1,2\n", "a column without a name is called by its place"),
        (",0,1\n0,1.5,2.5\n", "the first line only counts the columns"),
    ],
)
def test_what_is_odd_is_said(tmp_path: Path, content: str, notice: str) -> None:
    frame = read(put(tmp_path, content))
    assert isinstance(frame, Frame)
    assert any(said.startswith(notice) for said in frame.notices)


def test_lines_are_known_unless_rows_are_not_lines(tmp_path: Path) -> None:
    plain, quoted = (read(put(tmp_path, text)) for text in ("\na,b\n1,2\n3,4\n", 'a,b\n1,"x\ny"\n3,z\n'))
    assert isinstance(plain, Frame)
    assert isinstance(quoted, Frame)
    assert plain.where(1, "b") == f"{plain.source}, line 4, column 'b'"
    assert quoted.where(1).endswith("row 1")


def test_a_very_wide_row_is_read(tmp_path: Path) -> None:
    row = ",".join([f"1.25{'0' * 400}"] * 3_000)
    frame = read(put(tmp_path, f"{row}\n{row}\n"))
    assert isinstance(frame, Frame)
    assert frame.table.shape == (2, 3_000)


@pytest.mark.parametrize("name", ["data.csv.gz", "data.tsv.gz", "DATA.TXT.GZ"])
def test_compressed_text_is_read(tmp_path: Path, name: str) -> None:
    assert columns(read(put(tmp_path, gzip.compress(b"a,b\n1,2\n"), name))) == {"a": [1], "b": [2]}


# Text: what is refused, and where


@pytest.mark.parametrize(
    ("content", "place", "what"),
    [
        ("", "", "the file is empty"),
        (" \n\n", "", "the file is empty"),
        ("\ufeff", "", "the file is empty"),
        ("a,b\n", "", "there is a header line but there are no rows"),
        ("a,b\n1,2\n3\n5,6\n", "line 3", "got 1 cell, wanted 2"),
        ("a,b\n1,2\n\n3,4,5\n", "line 4", "got 3 cells, wanted 2"),
        ('a,b\n1,"x\ny"\n3\n', "line 4", "got 1 cell, wanted 2"),
        ('a,b\n1,2\n3,"open\n5,6\n', "line 3", "a quote is opened and never closed"),
        ("a,b,a\n1,2,3\n", "line 1", "two columns are called 'a': column 1 and column 3"),
        ("\na,b, a\n1,2,3\n", "line 2", "two columns are called 'a'"),
        (",column 1\n1,2\n", "line 1", "two columns are called 'column 1'"),
        (b"a,b\n1,2\n\x00,4\n", "line 3", "got a zero byte at byte 8"),
        ("a,b\n1,2\n".encode("utf-16-le"), "line 1", "got a zero byte at byte 1"),
        (b"a,b\n1,2\n\x81,4\n", "line 3", "got the byte 0x81 at byte 8"),
        (b"\xff\xfea", "line 1", "got the byte 0x61 at byte 2"),
        (
            lines("a,b", *(f"{cell},1" for cell in [*ten(), "oops"])),
            "line 12, column 'a'",
            "got 'oops', wanted a number",
        ),
        (lines("a;b", *(f"{c};1" for c in [*["1,5"] * 9, "1.5"])), "line 11, column 'a'", "got '1.5', wanted a number"),
        ("a,b\n1,2\n3,inf\n", "line 3, column 'b'", "got an infinite number"),
        ("a,b\n1,2\n3,-Infinity\n", "line 3, column 'b'", "got an infinite number"),
        ("a,b\n1,2\n3,1e999\n", "line 3, column 'b'", "got an infinite number"),
        ('a,b\n1,2\n"x\ny",inf\n', "line 3, column 'b'", "got an infinite number"),
        (
            lines("a,b", *(f"2014-07-{day:02d} 00:00:00Z,1" for day in range(1, 11)), "2014-07-11 00:00:00,1"),
            "line 12, column 'a'",
            "got '2014-07-11 00:00:00', wanted a time like the others",
        ),
        (
            lines("a,b", *(f"2014-02-{day:02d},1" for day in (*range(1, 29), 30))),
            "line 30, column 'a'",
            "got '2014-02-30', wanted a time",
        ),
        (b"a,b\n1," + b"x" * 200_000 + b"\n", "line 2", "cannot be cut into cells"),
    ],
)
def test_bad_text_is_refused_by_its_line(tmp_path: Path, content: str | bytes, place: str, what: str) -> None:
    path = put(tmp_path, content)
    with pytest.raises(DataError) as caught:
        read(path)
    assert caught.value.what.startswith(what)
    assert caught.value.where == f"{path}, {place}".removesuffix(", ") or not place


def test_few_cells_do_not_make_a_column_of_numbers(tmp_path: Path) -> None:
    assert columns(read(put(tmp_path, "a,b\n1,1\n2,1\noops,1\n")))["a"] == ["1", "2", "oops"]


# Parquet


def test_parquet_columns_come_in_plain_types(tmp_path: Path) -> None:
    moment = datetime(2014, 7, 1, 10)
    table = pa.table(
        {
            "small": pa.array([1, None, 3], pa.int16()),
            "half": pa.array(np.array([1, 2, 3], np.float16)),
            "single": pa.array([1, 2, 3], pa.float32()),
            "gap": pa.array([1.0, float("nan"), 3.0]),
            "price": pa.array([1, 2, 3], pa.decimal128(9, 2)),
            "word": pa.array(["x", "y", None]).dictionary_encode(),
            "text": pa.array(["x", "y", "z"], pa.large_string()),
            "flag": [True, False, None],
            "day": pa.array([moment.date()] * 3),
            "local": pa.array([moment] * 3, pa.timestamp("ms", "Europe/Berlin")),
            "nothing": pa.nulls(3),
        }
    )
    path = tmp_path / "data.parquet"
    pq.write_table(table, path)
    frame = read(path)
    numbers, others = ["int64", "double", "float", "double", "double"], ["string", "string", "bool"]
    assert kinds(frame) == [*numbers, *others, "timestamp[s]", "timestamp[ms, tz=UTC]", "double"]
    found = columns(frame)
    assert found["small"] == [1, None, 3]
    assert found["gap"] == [1.0, None, 3.0]
    assert found["price"] == [1.0, 2.0, 3.0]
    assert found["word"] == ["x", "y", None]
    assert found["day"][0] == datetime(2014, 7, 1)


@pytest.mark.parametrize(
    "column",
    [
        pa.array([[1.0], [2.0]]),
        pa.array([{"a": 1}, {"a": 2}]),
        pa.array([b"x", b"y"]),
        pa.array([1, 2], pa.duration("s")),
        pa.ExtensionArray.from_storage(pa.uuid(), pa.array([b"0" * 16] * 2, pa.binary(16))),
    ],
)
def test_columns_without_a_plain_type_are_refused_by_name(tmp_path: Path, column: pa.Array) -> None:
    path = tmp_path / "data.pq"
    pq.write_table(pa.table({"fine": [1, 2], "odd": column}), path)
    with pytest.raises(DataError, match="column 'odd' holds"):
        read(path)


def test_empty_and_damaged_parquet_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "data.parquet"
    pq.write_table(pa.table({"a": pa.array([], pa.int64())}), path)
    with pytest.raises(DataError, match="there are no rows"):
        read(path)
    put(tmp_path, path.read_bytes()[:-20], path.name)
    with pytest.raises(UnreadableError, match="damaged or cut short"):
        read(path)


def test_large_unsigned_numbers_become_floats() -> None:
    frame = from_object(pa.table({"a": pa.array([1, 2**63], pa.uint64())}))
    assert columns(frame) == {"a": [1.0, float(2**63)]}


# NumPy


def npy(tmp_path: Path, array: np.ndarray) -> Path:
    np.save(tmp_path / "data.npy", array)
    return tmp_path / "data.npy"


def npz(tmp_path: Path, **arrays: np.ndarray) -> Path:
    np.savez_compressed(tmp_path / "data.npz", **arrays)
    return tmp_path / "data.npz"


@pytest.mark.parametrize(
    ("array", "wanted", "kind"),
    [
        (np.array([1.5, np.nan]), {"value": [1.5, None]}, "double"),
        (np.array([[1, 2], [3, 4]], np.float32), {"x0": [1, 3], "x1": [2, 4]}, "float"),
        (np.array([[1, 2]], np.uint8), {"x0": [1], "x1": [2]}, "int64"),
        (np.array([[1, 2]], ">f8"), {"x0": [1], "x1": [2]}, "double"),
        (np.asfortranarray([[1.0, 2.0], [3.0, 4.0]]), {"x0": [1, 3], "x1": [2, 4]}, "double"),
        (np.array([[True, False]]), {"x0": [1], "x1": [0]}, "int64"),
        (np.array([[1, 2]], np.float16), {"x0": [1], "x1": [2]}, "double"),
        (np.array([[1, 2]], np.longdouble), {"x0": [1], "x1": [2]}, "double"),
    ],
)
def test_arrays_become_unnamed_frames(tmp_path: Path, array: np.ndarray, wanted: dict[str, Any], kind: str) -> None:
    frame = read(npy(tmp_path, array))
    assert columns(frame) == wanted
    assert isinstance(frame, Frame)
    assert frame.unnamed
    assert set(kinds(frame)) == {kind}


@pytest.mark.parametrize("dimensions", [3, 4])
def test_pictures_and_series_stay_arrays(tmp_path: Path, dimensions: int) -> None:
    array = np.arange(2**dimensions, dtype=np.float32).reshape((2,) * dimensions)
    found = read(npy(tmp_path, array))
    assert isinstance(found, np.ndarray)
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)


@pytest.mark.parametrize(
    ("array", "what"),
    [
        (np.array([1j, 2]), "complex128"),
        (np.array(["x", "y"]), "<U1"),
        (np.array([1, "x", None], object), "Python objects"),
        (np.array([(1, 2.0)], [("a", "i4"), ("b", "f8")]), "wanted real numbers"),
        (np.array(5.0), "shape ()"),
        (np.zeros((0, 3)), "shape (0, 3)"),
        (np.zeros((3, 0)), "shape (3, 0)"),
    ],
)
def test_arrays_without_numbers_are_refused(tmp_path: Path, array: np.ndarray, what: str) -> None:
    for path in (npy(tmp_path, array), npz(tmp_path, data=array)):
        with pytest.raises(DataError) as caught:
            read(path)
        assert what in str(caught.value)


@pytest.mark.parametrize("name", ["data.npy", "data.npz"])
def test_cut_and_hostile_arrays_are_refused(tmp_path: Path, name: str) -> None:
    array = np.random.default_rng(0).normal(size=(50, 4))
    whole = (npy(tmp_path, array) if name.endswith("y") else npz(tmp_path, X=array)).read_bytes()
    for length in (8, 12, 60, 127, len(whole) // 2, len(whole) - 1):
        with pytest.raises(UnreadableError):
            read(put(tmp_path, whole[:length], name))


def test_a_header_with_an_open_bracket_is_refused(tmp_path: Path) -> None:
    whole = npy(tmp_path, np.eye(3)).read_bytes()
    with pytest.raises(UnreadableError, match="damaged or cut short"):
        read(put(tmp_path, whole.replace(b"(3, 3)", b"((3, 3"), "data.npy"))


def test_an_array_that_claims_more_than_its_file_holds_is_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    header = {"descr": "<f8", "fortran_order": False, "shape": (10**15, 10**6)}
    np.lib.format.write_array_header_1_0(buffer, header)
    with pytest.raises(UnreadableError, match="is cut short"):
        read(put(tmp_path, buffer.getvalue() + b"12345678", "data.npy"))


MEMBERS = {"X": np.eye(3, 2), "y": np.array([0, 1, 0], np.int32)}
SPLIT = {**MEMBERS, "X_test": np.ones((4, 2)), "y_test": np.zeros(4, int)}


@pytest.mark.parametrize(
    ("members", "array", "names", "unnamed"),
    [
        ({"X": np.eye(2)}, None, ["x0", "x1"], True),
        ({"signal": np.arange(3.0)}, None, ["value"], True),
        (MEMBERS, None, ["x0", "x1", "y"], False),
        ({"y": MEMBERS["y"], "X": MEMBERS["X"]}, None, ["x0", "x1", "y"], False),
        ({**MEMBERS, "who": np.array(["a", "b", "c"])}, None, ["x0", "x1", "y", "who"], False),
        (MEMBERS, "X", ["x0", "x1"], True),
        (MEMBERS, "y", ["value"], True),
        (SPLIT, "X_test+y_test", ["x0", "x1", "y_test"], False),
        (SPLIT, "X_test", ["x0", "x1"], True),
        ({"a+b": np.eye(2), "a": np.eye(2)}, "a+b", ["x0", "x1"], True),
        (
            {"when": np.array(["2014-07-01", "2014-07-02"], "datetime64[s]"), "X": np.eye(2)},
            None,
            ["x0", "x1", "when"],
            False,
        ),
    ],
)
def test_archive_members_are_chosen(
    tmp_path: Path, members: dict[str, np.ndarray], array: str | None, names: list[str], unnamed: bool
) -> None:
    path = npz(tmp_path, **members)
    for frame in (read(path, array=array), read(f"{path}:{array}" if array else path)):
        assert isinstance(frame, Frame)
        assert frame.table.column_names == names
        assert frame.unnamed == unnamed


@pytest.mark.parametrize(
    ("members", "array", "what", "how"),
    [
        (SPLIT, None, "there are 4 arrays", "data.npz:X"),
        ({"X": np.ones((3, 2, 2)), "y": np.zeros(3)}, None, "there are 2 arrays", "data.npz:X"),
        ({"X": np.eye(2), "y": np.zeros(3)}, None, "there are 2 arrays", "data.npz:X"),
        (SPLIT, "X_tset", "there is no array 'X_tset'", "did you mean 'X_test'?"),
        (SPLIT, "X+y_test", "y_test has shape (4,)", "1-d arrays of the same length"),
        (SPLIT, "X+X_test", "X_test has shape (4, 2)", "1-d arrays of the same length"),
        ({"X": np.eye(2), "x0": np.zeros(2)}, "X+x0", "two columns are called 'x0'", ""),
    ],
)
def test_unclear_choices_are_refused(
    tmp_path: Path, members: dict[str, np.ndarray], array: str | None, what: str, how: str
) -> None:
    with pytest.raises((UsageError, DataError)) as caught:
        read(npz(tmp_path, **members), array=array)
    assert what in caught.value.what
    assert how in caught.value.how


def test_array_names_are_for_archives_only(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"only \.npz files"):
        read(put(tmp_path, "a,b\n1,2\n"), array="X")
    with pytest.raises(UsageError, match="wanted one of them"):
        read(f"{npz(tmp_path, **MEMBERS)}:X", array="y")


def test_an_archive_without_arrays_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "data.npz", "w") as archive:
        archive.writestr("[Content_Types].xml", "<xml/>")
    with pytest.raises(UnreadableError, match="no arrays"):
        read(tmp_path / "data.npz")


# Bombs


@pytest.mark.parametrize(
    ("claimed", "stored", "fine"),
    [
        (8 << 30, 1 << 30, True),
        ((8 << 30) + 1, 8 << 30, False),
        (512 << 20, 1000, True),
        ((512 << 20) + 1, 1000, False),
        (1 << 30, 2 << 20, True),
    ],
)
def test_claimed_sizes_have_limits(claimed: int, stored: int, fine: bool) -> None:
    if fine:
        limits.check_size(claimed, stored, "data.npz")
    else:
        with pytest.raises(UnreadableError, match="unpack to"):
            limits.check_size(claimed, stored, "data.npz")


def test_bombs_are_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SUSPECT_BYTES", 1 << 20)
    bombs = [
        put(tmp_path, gzip.compress(b"0\n" * (20 << 20)), "bomb.csv.gz"),
        npz(tmp_path, zeros=np.zeros((1 << 20, 4))),
        tmp_path / "bomb.parquet",
    ]
    pq.write_table(pa.table({"a": np.zeros(8 << 20)}), bombs[2])
    for bomb in bombs:
        with pytest.raises(UnreadableError, match="unpack to"):
            read(bomb)


# ARFF

ARFF = """% a comment
@RELATION weather
@attribute temp NUMERIC
@attribute 'wind speed' integer
@attribute sky {sunny, 'partly cloudy', "rain"}
@attribute note string
@attribute at date "yyyy-MM-dd HH:mm:ss"

@DATA
21.5, 3, sunny, 'it\\'s hot, very', '2014-07-01 10:00:00'
?, 4, 'partly cloudy', ?, "2014-07-01 11:00:00"
% between
20, ?, rain, '?', ?
"""


def test_arff_is_read(tmp_path: Path) -> None:
    frame = read(put(tmp_path, ARFF, "data.arff"))
    assert columns(frame) == {
        "temp": [21.5, None, 20.0],
        "wind speed": [3, 4, None],
        "sky": ["sunny", "partly cloudy", "rain"],
        "note": ["it's hot, very", None, "?"],
        "at": [datetime(2014, 7, 1, 10), datetime(2014, 7, 1, 11), None],
    }
    assert isinstance(frame, Frame)
    assert frame.first_line is None


@pytest.mark.parametrize(
    ("old", "new", "line", "what"),
    [
        ("20, ?, rain", "20, ?, snow", 13, "got 'snow', which its @attribute does not list"),
        ("20, ?, rain", "warm, ?, rain", 13, "got 'warm', wanted a number"),
        ("20, ?, rain, ", "20, ?, ", 13, "got 4 cells, wanted 5"),
        ("20, ?, rain, '?'", "20, ?, rain, '?", 13, "got quotes that do not fit"),
        ("20, ?, rain, '?', ?", "{0 20, 2 rain}", 13, "the rows are sparse"),
        ("20, ?, rain, '?', ?", "20, ?, rain, '?', 1.7.2014", 13, "got '1.7.2014', wanted a time"),
        ("integer", "relational", 4, "attribute 'wind speed' is of type 'relational'"),
        ("'wind speed' integer", "wind", 4, "got '@attribute wind', wanted @attribute NAME TYPE"),
        ("20, ?", "inf, ?", 13, "got 'inf', wanted a number"),
    ],
)
def test_bad_arff_is_refused_by_its_line(tmp_path: Path, old: str, new: str, line: int, what: str) -> None:
    path = put(tmp_path, ARFF.replace(old, new), "data.arff")
    with pytest.raises(DataError) as caught:
        read(path)
    assert caught.value.what.startswith(what)
    assert caught.value.where.startswith(f"{path}, line {line}")


@pytest.mark.parametrize(("content", "what"), [("@attribute a numeric\n1\n", "no line @data"), ("@data\n", "no rows")])
def test_arff_needs_data(tmp_path: Path, content: str, what: str) -> None:
    for name in ("data.arff", "data.ts"):
        with pytest.raises(DataError, match=what):
            read(put(tmp_path, content, name))


# .ts


def ts(*rows: str, label: str = "@classLabel true a b", more: str = "") -> str:
    return lines("# comment", "@problemName Test", more, label, "@data", *rows)


def test_labelled_series_are_read(tmp_path: Path) -> None:
    frame = read(put(tmp_path, ts("1,2.5,?:a", "4,NaN,6:b"), "data.ts"))
    assert columns(frame) == {"x0": [1.0, 4.0], "x1": [2.5, None], "x2": [None, 6.0], "label": ["a", "b"]}
    assert isinstance(frame, Frame)
    assert frame.unnamed
    assert frame.first_line == 6


@pytest.mark.parametrize(("label", "wanted"), [("@targetLabel true", [0.5, 2.0]), ("@classLabel true 1 2", [0.5, 2.0])])
def test_labels_that_are_numbers_become_numbers(tmp_path: Path, label: str, wanted: list[float]) -> None:
    assert columns(read(put(tmp_path, ts("1,2:.5", "3,4:2", label=label), "data.ts")))["label"] == wanted


def test_series_without_labels_are_read(tmp_path: Path) -> None:
    for label in ("@classLabel false", "@classLabel", ""):
        found = columns(read(put(tmp_path, ts("1,2", "3,4", label=label), "data.ts")))
        assert found == {"x0": [1.0, 3.0], "x1": [2.0, 4.0]}


def test_series_of_many_channels_become_an_array(tmp_path: Path) -> None:
    found = read(put(tmp_path, ts("1,2,3:10,20,30:a", "4,5,6:40,50,60:b"), "data.ts"))
    assert isinstance(found, np.ndarray)
    np.testing.assert_array_equal(found, [[[1, 10], [2, 20], [3, 30]], [[4, 40], [5, 50], [6, 60]]])


@pytest.mark.parametrize(
    ("content", "line", "what"),
    [
        (ts("1,2,3:a", "4,5:b"), 7, "got steps: 2, wanted 3 as in the first series"),
        (ts("1,2:3,4:a", "4,5:b"), 7, "got channels: 1, wanted 2 as in the first series"),
        (ts("1,2:a", "1,oops:b"), 7, "got 'oops', wanted a number"),
        (ts("1,2", "1,3"), 6, "got a label alone"),
        (ts("1,2:a", more="@timeStamps true"), None, "its steps carry time stamps"),
    ],
)
def test_bad_series_are_refused_by_their_line(tmp_path: Path, content: str, line: int | None, what: str) -> None:
    path = put(tmp_path, content, "data.ts")
    with pytest.raises(DataError) as caught:
        read(path)
    assert caught.value.what.startswith(what)
    assert caught.value.where.startswith(f"{path}, line {line}" if line else str(path))


# Places and disguises


def test_places_without_a_file_are_refused(tmp_path: Path) -> None:
    put(tmp_path, "a,b\n1,2\n", "sensors.csv")
    (tmp_path / "link.csv").symlink_to("nowhere.csv")
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "folder").mkdir()
    cases = {
        tmp_path / "folder": ("is a folder without", "a folder of tables"),
        tmp_path / "*.tsv": ("matches no table", "quote the glob"),
        tmp_path / "sensor.csv": ("there is no such file", "did you mean 'sensors.csv'?"),
        tmp_path / "no" / "sensor.csv": ("its folder does not exist", ""),
        tmp_path / "sensors.csv" / "x.csv": ("cannot be read: Not a directory", ""),
        tmp_path / "link.csv": ("is a link to 'nowhere.csv'", ""),
        tmp_path / "pipe.csv": ("is a pipe", "save its content"),
        tmp_path / "a\0b.csv": ("cannot be read", ""),
        tmp_path / ("x" * 300 + ".csv"): ("cannot be read: File name too long", ""),
        "https://example.org/data.csv": ("is an address", "download it"),
    }
    for path, (what, how) in cases.items():
        with pytest.raises(DataError) as caught:
            read(path)
        assert what in caught.value.what
        assert how in caught.value.how
        assert caught.value.where == str(path)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read every file")
def test_a_forbidden_file_is_refused(tmp_path: Path) -> None:
    path = put(tmp_path, "a,b\n1,2\n")
    path.chmod(0)
    with pytest.raises(DataError, match="Permission denied"):
        read(path)


@pytest.mark.parametrize(
    ("name", "content", "looks"),
    [
        ("data.csv", b"PAR1....PAR1", "a Parquet file"),
        ("data.csv", gzip.compress(b"a,b\n1,2\n", mtime=0), "a gzip file"),
        ("data.csv", b"PK\x03\x04....", "a zip archive"),
        ("data.csv", b"\x89PNG\r\n", "a PNG picture"),
        ("data.csv", b"\n<!DOCTYPE html>\n<p>", "a web page"),
        ("data.csv", pickle.dumps([1, 2, 3], 4), "a pickle, which is never loaded"),
        ("data.npy", pickle.dumps([1, 2, 3], 5), "a pickle, which is never loaded"),
        ("data.csv.gz", b"a,b\n1,2\n", "text"),
        ("data.parquet", b"a,b\n1,2\n", "text"),
        ("data.npz", b"\x93NUMPY", "a NumPy array"),
        ("data.npy", b"PK\x03\x04", "a zip archive"),
    ],
)
def test_a_file_that_is_not_what_its_name_says_is_refused(
    tmp_path: Path, name: str, content: bytes, looks: str
) -> None:
    with pytest.raises(UnreadableError, match=f"looks like {looks}, wanted"):
        read(put(tmp_path, content, name))


@pytest.mark.parametrize("name", ["data.json", "data", "data.csv.zip", "data.gz", "data.npy.gz"])
def test_unknown_suffixes_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UnreadableError, match="has the suffix") as caught:
        read(put(tmp_path, "a,b\n1,2\n", name))
    assert ".parquet" in caught.value.how


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_no_bytes_make_a_traceback(tmp_path: Path, suffix: str) -> None:
    random = np.random.default_rng(0)
    starts = (b"", b"PAR1", b"\x93NUMPY\x01\x00", b"PK\x03\x04", b"\x1f\x8b\x08", b"@data\n", b"\xff\xfe", b'"')
    for start in starts:
        for alphabet in (256, 128, 48):
            noise = random.integers(10 if alphabet < 256 else 0, alphabet, size=200, dtype=np.uint8).tobytes()
            path = put(tmp_path, start + noise, f"noise{suffix}")
            try:
                read(path)
            except HourglassError as error:
                assert error.what  # noqa: PT017 - either outcome is right, but no other error


# In memory


def test_arrays_and_frames_pass_through() -> None:
    array, frame = np.eye(2), Frame(pa.table({"a": [1]}))
    assert from_object(array) is array
    assert from_object(frame) is frame


RECORDS = {"number": [1, 2], "word": ["x", None], "half": [0.5, None]}


@pytest.mark.parametrize(
    "data",
    [
        pd.DataFrame(RECORDS),
        pd.DataFrame(RECORDS).astype({"number": "int8", "word": "category"}),
        pl.DataFrame(RECORDS),
        pl.DataFrame(RECORDS, schema={"number": pl.UInt8, "word": pl.Categorical, "half": pl.Float64}),
        pa.table(RECORDS),
        pa.RecordBatch.from_pydict(RECORDS),
    ],
)
def test_data_frames_of_any_make_become_frames(data: Any) -> None:
    frame = from_object(data)
    assert columns(frame) == RECORDS
    assert kinds(frame) == ["int64", "string", "double"]
    assert isinstance(frame, Frame)
    assert (frame.source, frame.notices, frame.table.schema.metadata) == ("the data frame", (), None)


@pytest.mark.parametrize(
    "data", [pd.Series([1.5, 2.5], name="a"), pl.Series("a", [1.5, 2.5]), pa.chunked_array([[1.5, 2.5]])]
)
def test_a_single_column_becomes_a_frame(data: Any) -> None:
    assert list(columns(from_object(data)).values()) == [[1.5, 2.5]]


def test_a_pandas_index_is_dropped_unless_it_holds_times() -> None:
    data = pd.DataFrame({"a": [1, 2]}, index=pd.Index(["x", "y"], name="who"))
    dropped = from_object(data)
    assert columns(dropped) == {"a": [1, 2]}
    assert isinstance(dropped, Frame)
    assert dropped.notices == ("the index 'who' was dropped: reset_index() makes it a column",)
    data.index = pd.to_datetime(["2014-07-01", "2014-07-02"])
    kept = from_object(data)
    assert isinstance(kept, Frame)
    assert kept.table.column_names == ["a", "time"]
    assert find_time_column(kept) == "time"


@pytest.mark.parametrize(
    "data",
    [
        pd.DataFrame({"a": [1, "x"]}),
        pd.DataFrame([[1, 2]], columns=["a", "a"]),
        pd.DataFrame({"a": [1j]}),
        pd.DataFrame({"a": [[1, 2]]}),
        pd.DataFrame({"a": pd.period_range("2014", periods=1, freq="D")}),
        pd.DataFrame({"a": []}),
        pd.DataFrame(),
        [[1, 2], [3]],
        ["x", "y"],
        object(),
    ],
)
def test_objects_without_plain_columns_are_refused(data: Any) -> None:
    with pytest.raises((DataError, UsageError)):
        from_object(data)


def test_lists_become_arrays() -> None:
    np.testing.assert_array_equal(from_object([[1, 2], [3, 4]]), [[1, 2], [3, 4]])


# Time columns


def frame_of(**columns: Any) -> Frame:
    return Frame(pa.table(columns))


HOURS = np.datetime64("2014-07-01T00", "s") + np.arange(100) * np.timedelta64(1, "h")
RANDOM = np.random.default_rng(0)
BIRTHDAYS = np.datetime64("1950-01-01", "s") + RANDOM.integers(0, 20_000, 100) * np.timedelta64(1, "D").astype("m8[s]")


@pytest.mark.parametrize(
    ("frame", "wanted"),
    [
        (frame_of(v=np.zeros(100), at=HOURS), "at"),
        (frame_of(at=HOURS, ds=HOURS), "ds"),
        (frame_of(Date=[str(hour) for hour in HOURS], v=np.zeros(100)), "Date"),
        (frame_of(at=RANDOM.permutation(HOURS)), "at"),
        (frame_of(at=np.sort(np.concatenate([HOURS, HOURS[:5]]))), "at"),
        (frame_of(born=BIRTHDAYS), None),
        (frame_of(at=np.repeat(HOURS[:10], 10)), None),
        (frame_of(at=pa.array([None, *HOURS[1:].tolist()], pa.timestamp("s"))), None),
        (frame_of(note=[str(hour) for hour in HOURS]), None),
        (frame_of(time=np.arange(100)), None),
        (frame_of(date=["soon", "later"]), None),
        (frame_of(time=HOURS[:1]), None),
    ],
)
def test_the_time_column_is_found(frame: Frame, wanted: str | None) -> None:
    assert find_time_column(frame) == wanted


def test_a_named_time_column_is_taken_or_refused() -> None:
    frame = frame_of(step=[1, 2, 3], born=BIRTHDAYS[:3], word=["x", "y", "z"])
    assert find_time_column(frame, "step") == "step"
    assert find_time_column(frame, "born") == "born"
    with pytest.raises(UsageError, match="did you mean 'step'"):
        find_time_column(frame, "stp")
    with pytest.raises(TimeError, match="column 'word' holds string"):
        find_time_column(frame, "word")


# Real files


@real_data
def test_adult_reads_well() -> None:
    frame = read(REAL / "tables" / "adult-train.csv.gz")
    assert isinstance(frame, Frame)
    assert frame.table.shape == (32_561, 15)
    assert sum(column.null_count for column in frame.table.columns) == 4_262
    assert [place for place, kind in enumerate(kinds(frame)) if kind == "int64"] == [0, 2, 4, 10, 11, 12]
    assert frame.table.column("x14").unique().to_pylist() == ["<=50K", ">50K"]
    assert not frame.unnamed


@real_data
@pytest.mark.parametrize(
    ("path", "shape", "nulls", "time", "unnamed"),
    [
        ("tables/titanic.csv", (891, 15), 869, None, False),
        ("tables/penguins.csv", (344, 7), 19, None, False),
        ("tables/mpg.csv", (398, 9), 6, None, False),
        ("tables/daily-min-temperatures.csv", (3650, 2), 0, "Date", False),
        ("nab/data/realKnownCause/nyc_taxi.csv", (10_320, 2), 0, "timestamp", False),
        ("ucr_anomaly/135_UCR_Anomaly_InternalBleeding16_1200_4187_4199.txt", (7501, 1), 0, None, True),
        ("ecg5000/ECG5000_TRAIN.ts", (500, 141), 0, None, True),
        ("ecg5000/ecg5000.npz:X_train", (500, 140), 0, None, True),
        ("ecg5000/ecg5000.npz:X_train+y_train", (500, 141), 0, None, False),
        ("adbench/2_annthyroid.npz", (7200, 7), 0, None, False),
    ],
)
def test_real_files_read_well(path: str, shape: tuple[int, int], nulls: int, time: str | None, unnamed: bool) -> None:
    frame = read(f"{REAL}/{path}")
    assert isinstance(frame, Frame)
    assert frame.table.shape == shape
    assert sum(column.null_count for column in frame.table.columns) == nulls
    assert find_time_column(frame) == time
    assert frame.unnamed == unnamed


@real_data
def test_the_same_series_in_two_formats_agree() -> None:
    text, archive = read(REAL / "ecg5000" / "ECG5000_TRAIN.ts"), read(f"{REAL}/ecg5000/ecg5000.npz:X_train")
    assert isinstance(text, Frame)
    assert isinstance(archive, Frame)
    for name in archive.table.column_names:
        # The archive holds five significant digits.
        np.testing.assert_allclose(text.table[name].to_numpy(), archive.table[name].to_numpy(), rtol=1e-4, atol=1e-4)
