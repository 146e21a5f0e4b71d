"""Of more sound than is wanted, evenly spread stretches are taken, from memory and from files alike."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import soundfile

from hourglass.data.excerpts import excerpts, read_excerpts
from hourglass.data.samples import Recordings
from hourglass.errors import UnreadableError

RATE = 100
NAMES = ["a.wav", "b.wav", "c.wav"]
SECONDS = [35, 5, 40]


@pytest.fixture(scope="module")
def several() -> Recordings:
    """Each sample says the second that it is of, counted over all three."""
    starts = np.cumsum([0, *SECONDS])
    arrays = [
        np.repeat(np.arange(start, end), RATE)[:, None].astype(np.float32) / 128
        for start, end in itertools.pairwise(starts)
    ]
    return Recordings(arrays, [RATE] * 3, pa.table({"name": NAMES, "place": ["x", "y", "z"]}))


@pytest.fixture
def folder(several: Recordings, tmp_path: Path) -> str:
    for name, array in zip(NAMES, several.arrays, strict=True):
        soundfile.write(tmp_path / name, array, RATE, subtype="FLOAT")
    return str(tmp_path)


def test_what_is_not_too_much_is_taken_whole(several: Recordings, folder: str) -> None:
    assert excerpts(several, 8_000) is several
    read = read_excerpts(folder, NAMES, 8_000)
    assert not read.notices
    assert read.table.column("name").to_pylist() == NAMES
    for found, wanted in zip(read.arrays, several.arrays, strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_of_too_much_stretches_from_all_over_are_taken(several: Recordings, folder: str) -> None:
    found = excerpts(several, 4_000)
    seconds = [int(array[0, 0] * 128) for array in found.arrays]
    assert seconds == [0, 20, 35, 50, 70]
    assert sum(map(len, found.arrays)) == pytest.approx(4_000, rel=0.15)
    assert found.table.column("place").to_pylist() == ["x", "x", "y", "z", "z"]
    assert "50% of it" in found.notices[0]
    read = read_excerpts(folder, NAMES, 4_000)
    assert [int(array[0, 0] * 128) for array in read.arrays] == seconds
    assert read.notices == found.notices


def test_one_stretch_is_taken_however_little_is_wanted(several: Recordings) -> None:
    assert len(excerpts(several, 1)) == 1


def test_files_that_cannot_be_read_are_left_out_and_listed(folder: str) -> None:
    Path(folder, "b.wav").write_bytes(b"RIFF")
    read = read_excerpts(folder, NAMES)
    assert read.table.column("name").to_pylist() == ["a.wav", "c.wav"]
    assert [each.partition(":")[0] for each in read.failed] == ["b.wav"]


def test_nothing_but_files_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"RIFF")
    with pytest.raises(UnreadableError, match=r"none of its 1 recordings can be read; a\.wav: "):
        read_excerpts(str(tmp_path), ["a.wav"])
