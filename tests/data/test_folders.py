"""Folders of results: whole or not at all, and nothing of anyone else's is lost."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from hourglass.data.folders import check_folder, replace_folder
from hourglass.errors import DataError

MANIFEST = {"files": [{"file": "a/1.png"}, {"file": "2.png"}]}
FILES = [("a/1.png", b"one"), ("2.png", b"two")]


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_files_and_their_list_are_written(tmp_path: Path) -> None:
    replace_folder(tmp_path / "out", FILES, MANIFEST)
    found = content(tmp_path / "out")
    assert json.loads(found.pop("_manifest.json")) == MANIFEST
    assert found == dict(FILES)
    assert os.listdir(tmp_path) == ["out"]


def test_an_earlier_result_and_an_empty_folder_are_replaced(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    replace_folder(tmp_path / "out", FILES, MANIFEST)
    replace_folder(tmp_path / "out", [("b.png", b"new")], {"files": [{"file": "b.png"}]})
    assert set(content(tmp_path / "out")) == {"b.png", "_manifest.json"}
    assert os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize("listed", ["", "{}", '{"files": 3}', json.dumps(MANIFEST)])
def test_files_of_others_are_never_touched(tmp_path: Path, listed: str) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    if listed:
        (out / "_manifest.json").write_text(listed)
    before = content(out)
    for write in (check_folder, lambda folder: replace_folder(folder, FILES, MANIFEST)):
        with pytest.raises(DataError, match=r"holds files that are not from here, such as notes\.txt"):
            write(out)
    assert content(out) == before


def test_a_fault_on_the_way_leaves_what_was_there(tmp_path: Path) -> None:
    def failing() -> Iterator[tuple[str, bytes]]:
        yield "b.png", b"new"
        raise KeyboardInterrupt

    replace_folder(tmp_path / "out", FILES, MANIFEST)
    before = content(tmp_path / "out")
    with pytest.raises(KeyboardInterrupt):
        replace_folder(tmp_path / "out", failing(), MANIFEST)
    assert content(tmp_path / "out") == before
    assert os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize("name", ["../x.png", "/x.png", "a/../../x.png", ""])
def test_no_name_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="leads out of the folder"):
        replace_folder(tmp_path / "out", [(name, b"x")], MANIFEST)
    assert os.listdir(tmp_path) == []


def test_places_that_cannot_be_a_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("words")
    with pytest.raises(DataError, match="it is a file, wanted a folder"):
        replace_folder(tmp_path / "file", FILES, MANIFEST)
    with pytest.raises(DataError, match="cannot be written"):
        replace_folder(tmp_path / "nowhere" / "out", FILES, MANIFEST)


def test_a_file_too_large_for_the_memory_writes_itself(tmp_path: Path) -> None:
    replace_folder(tmp_path / "out", [("a/1.png", lambda path: path.write_bytes(b"one")), FILES[1]], MANIFEST)
    assert (tmp_path / "out" / "a" / "1.png").read_bytes() == b"one"
