"""Results come back as they were written, and a failed write changes nothing."""

from __future__ import annotations

import csv
import json
import os
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pytest

from hourglass.data.files import read
from hourglass.data.samples import Frame
from hourglass.data.temporary import remove_unfinished
from hourglass.data.writing import replace_file, write_array, write_table, write_text
from hourglass.errors import DataError, UsageError

FLOATS = [0.1, 1 / 3, 1e22, 5e-324, 1.7976931348623157e308, -0.0, 123456789.123]
TABLE = pa.table(
    {
        "score": FLOATS,
        "count": [1, 2, None, 2**62, 5, 6, 7],
        "word": ["plain", "with, comma", 'a "quote"', "two\nlines", "ümlaut", None, "x"],
        "flag": [True, False, None, True, True, False, True],
        "at": pa.array([datetime(2014, 7, 1, 10, 30)] * 6 + [None], pa.timestamp("s")),
    }
)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_tables_come_back_as_they_were(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"out{suffix}"
    write_table(TABLE, path)
    frame = read(path)
    assert isinstance(frame, Frame)
    # Parquet counts milliseconds, not seconds.
    assert frame.table.cast(TABLE.schema).equals(TABLE)


def test_csv_floats_are_short(tmp_path: Path) -> None:
    write_table(
        pa.table({"a": [0.1, 1.0, 2.5e-10], "b": pa.array([0.1, 1.0, 0.3], pa.float32())}), tmp_path / "out.csv"
    )
    assert (tmp_path / "out.csv").read_text() == "a,b\n0.1,0.1\n1,1\n2.5e-10,0.3\n"


@pytest.mark.parametrize("suffix", [".jsonl", ".ndjson", ".JSONL"])
def test_json_lines_are_plain_json(tmp_path: Path, suffix: str) -> None:
    table = pa.table(
        {
            "score": [0.1, float("nan"), float("inf")],
            "reasons": [[{"cell": "a", "value": float("nan")}], [], None],
            "at": pa.array([datetime(2014, 7, 1, tzinfo=UTC)] * 3, pa.timestamp("s", "UTC")),
            "word": ["ü", None, "=x"],
        }
    )
    path = tmp_path / f"out{suffix}"
    write_table(table, path)
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert [row["score"] for row in rows] == [0.1, None, None]
    assert [row["reasons"] for row in rows] == [[{"cell": "a", "value": None}], [], None]
    assert [row["word"] for row in rows] == ["ü", None, "=x"]
    assert rows[0]["at"] == "2014-07-01T00:00:00+00:00"


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
def test_formulas_are_neutralised_in_words_only(tmp_path: Path, kind: pa.DataType) -> None:
    words = ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "a=b", "a\n=b", "", "'x"]
    table = pa.table({"word": pa.array(words).cast(kind), "number": [-1.5] * len(words)})
    write_table(table, tmp_path / "out.csv")
    with open(tmp_path / "out.csv", newline="", encoding="utf-8") as handle:
        rows = list(csv.reader(handle))[1:]
    assert [row[0] for row in rows] == [f"'{word}" for word in words[:6]] + words[6:]
    assert {row[1] for row in rows} == {"-1.5"}


@pytest.mark.parametrize("path", [None, "-"])
def test_stdout_gets_csv(capfdbinary: pytest.CaptureFixture[bytes], path: str | None) -> None:
    write_table(pa.table({"a, b": [1, None], "c": ["ü", "y"]}), path)
    assert capfdbinary.readouterr().out.decode() == '"a, b",c\n1,"ü"\n,"y"\n'


def test_lists_do_not_fit_in_csv(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="column 'a' holds lists"):
        write_table(pa.table({"a": [[1, 2]]}), tmp_path / "out.csv")
    assert list(tmp_path.iterdir()) == []


# Arrays


@pytest.mark.parametrize("shape", [(5,), (4, 3), (2, 3, 4)])
@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_arrays_keep_shape_and_type(tmp_path: Path, shape: tuple[int, ...], suffix: str) -> None:
    array = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    write_array(array, tmp_path / f"out{suffix}")
    loaded = np.load(tmp_path / f"out{suffix}")
    found = loaded["data"] if suffix == ".npz" else loaded
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize(("names", "wanted"), [(None, ["x0", "x1"]), (["a", "b"], ["a", "b"])])
def test_arrays_become_tables(tmp_path: Path, suffix: str, names: list[str] | None, wanted: list[str]) -> None:
    array = np.random.default_rng(0).normal(size=(4, 2))
    write_array(array, tmp_path / f"out{suffix}", names)
    frame = read(tmp_path / f"out{suffix}")
    assert isinstance(frame, Frame)
    assert frame.table.column_names == wanted
    np.testing.assert_array_equal(np.column_stack([column.to_numpy() for column in frame.table.columns]), array)


@pytest.mark.parametrize(
    ("array", "name", "names", "what"),
    [
        (np.zeros(3), "out.csv", None, r"got shape \(3,\)"),
        (np.zeros((2, 2, 2)), "out.parquet", None, r"got shape \(2, 2, 2\)"),
        (np.zeros((2, 2)), "out.csv", ["a"], "and 1 names"),
        (np.zeros((2, 2)), "out.xlsx", None, "the suffix '.xlsx' is not known"),
        (np.array([None, 1]), "out.npy", None, "got an array of object"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(
    tmp_path: Path, array: np.ndarray, name: str, names: Any, what: str
) -> None:
    with pytest.raises(UsageError, match=what):
        write_array(array, tmp_path / name, names)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["out.txt", "out", "out.csv.gz"])
def test_unknown_suffixes_list_the_known(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="is not known") as caught:
        write_table(TABLE, tmp_path / name)
    assert ".csv, .jsonl, .ndjson, .parquet" in caught.value.how


# Replacing files


def fail_with(error: BaseException) -> Any:
    def write(handle: BinaryIO) -> None:
        handle.write(b"half")
        raise error

    return write


@pytest.mark.parametrize("error", [ValueError("ours"), KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "out.txt"
    write_text(path, "old")
    wanted = DataError if isinstance(error, OSError) else type(error)
    with pytest.raises(wanted) as caught:
        replace_file(path, fail_with(error))
    if isinstance(caught.value, DataError):
        start, _, room = caught.value.what.partition(" (")
        assert (start, room.endswith(" bytes are free)")) == ("cannot be written: No space left on device", True)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_old_file_is_whole_until_the_new_one_is(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    write_text(path, "old")

    def write(handle: BinaryIO) -> None:
        handle.write(b"new")
        handle.flush()
        assert path.read_text() == "old"

    replace_file(path, write)
    assert path.read_text() == "new"


def test_permissions_are_those_of_the_old_file_or_of_any_new_one(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    write_text(path, "ü")
    (tmp_path / "plain").touch()
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)
    path.chmod(0o640)
    write_text(path, "new")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_links_are_followed(tmp_path: Path) -> None:
    target, link = tmp_path / "target.txt", tmp_path / "link.txt"
    target.write_text("old")
    link.symlink_to(target)
    write_text(link, "new")
    assert link.is_symlink()
    assert target.read_text() == "new"


def test_places_that_cannot_be_written_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    cases = {
        tmp_path / "no" / "out.txt": "its folder does not exist",
        tmp_path: "it is a folder",
        tmp_path / ("x" * 300): "File name too long",
        tmp_path / "pipe": "it is a pipe",
    }
    for path, what in cases.items():
        with pytest.raises(DataError, match=what) as caught:
            write_text(path, "new")
        assert caught.value.where == str(path)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_forbidden_folder_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(DataError, match="Permission denied"):
        write_text(tmp_path / "out.txt", "new")


def test_a_long_name_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 250 + ".csv")
    write_table(pa.table({"a": [1]}), path)
    assert path.read_text() == "a\n1\n"


def test_what_killed_writers_of_a_file_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    others = ["a.txt", ".b.txt.0123456789ab.tmp", ".a.txt.short.tmp", "x.a.txt.0123456789ab.tmp"]
    for name in [*others, ".a.txt.0123456789ab.tmp"]:
        (tmp_path / name).write_text("half")
    (tmp_path / "link.txt").symlink_to(tmp_path / "a.txt")
    remove_unfinished(tmp_path / "link.txt")
    assert sorted(each.name for each in tmp_path.iterdir()) == sorted([*others, "link.txt"])
