"""Large files block by block: joined, the blocks are what reading the whole gives, or a refusal says that it is not."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hourglass.data import files
from hourglass.data.columns import plain_table
from hourglass.data.files import read, read_blocks
from hourglass.data.samples import Frame, recut
from hourglass.errors import DataError


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "BLOCK", 64)
    monkeypatch.setattr(files, "LARGE", 1)


def written(folder: Path, text: str | bytes, name: str = "data.csv") -> str:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def lines(*rows: str, header: str = "a,b") -> str:
    return "\n".join([header, *rows]) + "\n"


def in_blocks(path: str) -> list[Frame]:
    blocks = read_blocks(path)
    assert blocks is not None
    return list(blocks)


PLAIN = [f"{row},{row / 8}" for row in range(40)]
AS_WHOLE = {
    "numbers": lines(*PLAIN),
    "whole numbers, then a fraction": lines(*[f"{row},1" for row in range(40)], "0.5,1"),
    "a column that is empty at first": lines(*[f",{row}" for row in range(40)], "7,1"),
    "a column that is empty": lines(*[f",{row}" for row in range(40)]),
    "missing cells": lines(*[f"{'NA' if row % 3 else row},{row}.5" for row in range(40)]),
    "words": lines(*[f"{row},{'north' if row % 2 else ' south '}" for row in range(40)]),
    "accents": lines(*[f"{row},Zürich" for row in range(40)]),
    "true and false": lines(*[f"{row},{'true' if row % 2 else 'false'}" for row in range(40)]),
    "times": lines(*[f"{row},2024-05-01 00:00:{row:02}" for row in range(40)]),
    "no header": "\n".join(PLAIN),
    "a quoted header": lines(*PLAIN, header='"a","b"'),
    "blank lines": lines(*PLAIN[:20], "", *PLAIN[20:], "", ""),
    "carriage returns": lines(*PLAIN).replace("\n", "\r\n"),
    "semicolons": lines(*PLAIN, header="a,b").replace(",", ";"),
    "byte order mark": "\ufeff" + lines(*PLAIN),
}
NOT_SURE = {
    "quotes": lines(*PLAIN, '1,"2"'),
    "an open quote": lines(*PLAIN, '1,"2'),
    "words after numbers": lines(*PLAIN, "1,east"),
    "numbers among words": lines(*[f"{row},north" for row in range(40)], "1,2"),
    "numbers that words hide": lines(*[f"{row},{'north' if row % 2 else 4}" for row in range(40)]),
    "decimal commas": lines(*[f"{row};{row},5" for row in range(40)], header="a;b"),
    "a short row": lines(*PLAIN, "1"),
    "infinity": lines(*PLAIN, "1,inf"),
    "Latin-1 after all": lines(*PLAIN).encode() + "1,Zürich\n".encode("cp1252"),
    "a zero byte": lines(*PLAIN, "1,\0"),
    "UTF-16": lines(*PLAIN).encode("utf-16"),
    "runs of spaces": "\n".join(f"  {row}   {row}.5" for row in range(40)),
    "one column": lines(*[str(row) for row in range(80)], header="a"),
    "two or three wide rows": lines(",".join(["1"] * 80), header=",".join(f"c{place}" for place in range(80))),
}


@pytest.mark.parametrize("case", AS_WHOLE)
def test_blocks_joined_are_the_whole(case: str, tmp_path: Path) -> None:
    path = written(tmp_path, AS_WHOLE[case])
    blocks, whole = in_blocks(path), read(path)
    assert isinstance(whole, Frame)
    assert len(blocks) > 2
    joined = pa.concat_tables([block.table for block in blocks], promote_options="permissive")
    assert plain_table(joined, path).equals(whole.table)
    assert {(block.unnamed, block.notices) for block in blocks} == {(whole.unnamed, whole.notices)}


@pytest.mark.parametrize("case", NOT_SURE)
def test_what_might_be_read_otherwise_as_a_whole_is_refused(case: str, tmp_path: Path) -> None:
    with pytest.raises(DataError):
        in_blocks(written(tmp_path, NOT_SURE[case]))


def test_parquet_comes_in_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "data.parquet"
    pq.write_table(pa.table({"a": range(100), "b": ["x", None] * 50}), path, row_group_size=30)
    blocks, whole = in_blocks(str(path)), read(path)
    assert isinstance(whole, Frame)
    assert pa.concat_tables([block.table for block in blocks]).equals(whole.table)


def test_a_damaged_parquet_file_is_refused_as_ever(tmp_path: Path) -> None:
    path = written(tmp_path, b"PAR1" + b"?" * 200, "data.parquet")
    with pytest.raises(DataError, match="damaged or cut short"):
        in_blocks(path)


@pytest.mark.parametrize("name", ["data.csv.gz", "data.arff", "data.npy"])
def test_other_files_are_read_as_a_whole_only(name: str, tmp_path: Path) -> None:
    assert read_blocks(written(tmp_path, "1,2\n", name)) is None


def test_small_files_and_folders_are_read_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "LARGE", 10**6)
    assert read_blocks(written(tmp_path, lines(*PLAIN))) is None
    assert read_blocks(str(tmp_path)) is None


@pytest.mark.parametrize("sizes", [[1, 1, 1], [5, 9, 2], [12], [4, 4], [3]])
def test_frames_are_cut_anew_with_all_their_rows_in_order(sizes: list[int]) -> None:
    rows = iter(range(sum(sizes)))
    given = [Frame(pa.table({"a": [next(rows) for _ in range(size)]})) for size in sizes]
    cut = list(recut(given, 4))
    assert [row for frame in cut for row in frame.table.column("a").to_pylist()] == list(range(sum(sizes)))
    assert all(frame.table.num_rows % 4 == 0 for frame in cut[:-1])
    assert all(frame.table.num_rows for frame in cut)
