"""Folders and globs of tables: which files are shards, what they must share, and all of them as one table."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hourglass.data.alike import Alike, joined
from hourglass.data.files import read
from hourglass.data.samples import Frame
from hourglass.data.shards import find_shards, one_shard
from hourglass.data.table_blocks import table_blocks
from hourglass.errors import DataError, SchemaError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, first in (("b.parquet", 10), ("a.parquet", 0), ("sub/c.parquet", 20)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        pq.write_table(pa.table({"x": [first, first + 1], "w": ["u", "v"]}), tmp_path / name)
    (tmp_path / "d.csv").write_text("w,x\nu,30.5\n")
    (tmp_path / "read.me").write_text("not a table")
    (tmp_path / ".hidden.csv").write_text("x\n1\n")
    return tmp_path


def test_the_tables_of_a_folder_and_below_are_shards_in_the_order_of_their_names(folder: Path) -> None:
    shards = find_shards(str(folder))
    assert shards is not None
    assert shards.names == ["a.parquet", "b.parquet", "d.csv", "sub/c.parquet"]
    assert shards.outputs() == ["a.parquet", "b.parquet", "d.parquet", "sub/c.parquet"]
    assert Path(shards.path("sub/c.parquet")).is_file()


def test_a_glob_names_shards_by_what_they_do_not_share(folder: Path) -> None:
    shards = find_shards(f"{folder}/**/*.parquet")
    assert shards is not None
    assert (shards.folder, shards.names) == (str(folder), ["a.parquet", "b.parquet", "sub/c.parquet"])
    below = find_shards(f"{folder}/*/*.parquet")
    assert below is not None
    assert below.names == ["c.parquet"]


@pytest.mark.parametrize("name", ["a.parquet", "read.me", "nowhere.csv"])
def test_a_file_is_no_folder_of_shards(folder: Path, name: str) -> None:
    assert find_shards(str(folder / name)) is None


def test_a_folder_with_pictures_is_one_of_pictures(folder: Path) -> None:
    (folder / "photo.png").write_bytes(b"")
    assert find_shards(str(folder)) is None


def test_a_glob_without_tables_is_refused(folder: Path) -> None:
    with pytest.raises(DataError, match=r"matches no table, but other files\nhint: quote the glob"):
        find_shards(f"{folder}/*.me")


def test_one_table_may_be_the_only_shard(folder: Path) -> None:
    assert one_shard(str(folder / "read.me")) is None
    single = one_shard(str(folder / "a.parquet"))
    assert single is not None
    assert single.path(single.names[0]) == str(folder / "a.parquet")


def test_a_folder_of_tables_is_read_as_one(folder: Path) -> None:
    frame = read(folder)
    assert isinstance(frame, Frame)
    assert frame.table.to_pydict() == {
        "x": [0, 1, 10, 11, 30.5, 20, 21],
        "w": ["u", "v", "u", "v", "u", "u", "v"],
    }


def test_a_broken_table_is_refused_or_left_out(folder: Path) -> None:
    (folder / "b.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(DataError, match=r"b\.parquet"):
        read(folder)
    frame = read(folder, skip_bad=True)
    assert isinstance(frame, Frame)
    assert frame.table.num_rows == 5
    assert "b.parquet" in frame.notices[0]


def test_parts_without_rows_are_passed_over(folder: Path) -> None:
    pq.write_table(pa.table({"x": pa.array([], pa.int64())}), folder / "0.parquet")
    frame = read(folder)
    assert isinstance(frame, Frame)
    assert frame.table.num_rows == 7


def frame(**columns: object) -> Frame:
    return Frame(pa.table(columns), "a shard")


@pytest.mark.parametrize(
    ("second", "complaint"),
    [
        (frame(x=["words"], w=["u"]), r"column 'x': holds words, and numbers before"),
        (frame(x=[True], w=["u"]), r"holds true/false, and numbers before"),
        (frame(x=[1]), r"column 'w' is missing"),
    ],
)
def test_shards_of_other_columns_are_refused(second: Frame, complaint: str) -> None:
    alike = Alike()
    alike.matched(frame(x=[1.5], w=["u"]))
    with pytest.raises(SchemaError, match=complaint):
        alike.matched(second)


def test_a_column_that_is_empty_in_one_shard_fits_any_kind() -> None:
    whole = joined([frame(x=[1], w=pa.array([None], pa.float64())), frame(w=["u"], x=[0.5], more=[1])], "all")
    assert whole.table.to_pydict() == {"x": [1.0, 0.5], "w": [None, "u"]}


def test_parquet_comes_in_blocks_that_know_their_rows(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": list(range(10))}), tmp_path / "t.parquet", row_group_size=3)
    blocks = list(table_blocks(str(tmp_path / "t.parquet"), 4))
    assert pa.concat_tables([each.table for each in blocks]).column("x").to_pylist() == list(range(10))
    assert [each.table.column("x")[0].as_py() for each in blocks] == [each.first_row for each in blocks]
    assert blocks[-1].where(0) == f"{tmp_path}/t.parquet, row {blocks[-1].first_row}"
