"""Parquet, NPY, NPZ and IDX files that are cut, changed, or made to harm: never run, never unpacked beyond sense."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from commands import Command
from refusals import Case, check_refused, check_scored, files_below, given, pairs, zipped

pytestmark = pytest.mark.reliability(1)

Models = Callable[[str], Path]
X = np.random.default_rng(0).normal(size=(120, 1)) @ np.array([[1.0, 2.0]])


def parquet(table: Any = None, **options: Any) -> bytes:
    content = io.BytesIO()
    table = pa.table({"a": X[:, 0], "b": X[:, 1]}) if table is None else table
    pq.write_table(pa.table(table) if isinstance(table, dict) else table, content, **options)
    return content.getvalue()


def zeroed(place: int, count: int) -> bytes:
    """A Parquet file whose pages have checksums, with some bytes zero from a place on."""
    return changed_at(parquet(compression="none", use_dictionary=False, write_page_checksum=True), place, bytes(count))


def changed_at(content: bytes, place: int, new: bytes) -> bytes:
    return content[:place] + new + content[place + len(new) :]


def npy(array: np.ndarray, allow_pickle: bool = False) -> bytes:
    content = io.BytesIO()
    np.save(content, array, allow_pickle=allow_pickle)
    return content.getvalue()


def npy_of(header: str, body: bytes = b"") -> bytes:
    """An array file with any words for its header."""
    text = header.encode("latin1") + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + body


def npz(members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", compression) as archive:
        for name, member in members.items():
            archive.writestr(name, member)
    return content.getvalue()


def changed(content: bytes, old: bytes, new: bytes) -> bytes:
    assert old in content
    return content.replace(old, new)


class Harmful:
    """An object whose unpickling leaves a file behind."""

    def __reduce__(self) -> tuple[Any, ...]:
        return open, ("harmed", "w")


CODE = "{'descr': '<f8', 'fortran_order': False, 'shape': (open('harmed', 'w'),)}"
OBJECTS = np.array([[Harmful(), 1.0]] * 3, dtype=object)
WHOLE = parquet()

PARQUET = [
    Case("its first bytes only", b"PAR1", ("is damaged or cut short",)),
    Case("cut in the middle", WHOLE[: len(WHOLE) // 2], ("is damaged or cut short",)),
    Case("cut by one byte", WHOLE[:-1], ("is damaged or cut short",)),
    Case("other first bytes", b"XXXX" + WHOLE[4:], ("wanted a Parquet file",)),
    Case("other last bytes", WHOLE[:-4] + b"XXXX", ("is damaged or cut short",)),
    Case(
        "a footer longer than the file", WHOLE[:-8] + struct.pack("<I", 1 << 30) + b"PAR1", ("is damaged or cut short",)
    ),
    Case("a footer of zero bytes", WHOLE[:-8] + bytes(4) + b"PAR1", ("is damaged or cut short",)),
    Case("a page with a head of zero bytes", zeroed(4, 50), ("is damaged or cut short",)),
    Case("a page of zero bytes under a checksum", zeroed(200, 200), ("is damaged or cut short",)),
    Case("an encrypted file", b"PARE" + WHOLE[4:-4] + b"PARE", ("wanted a Parquet file",)),
    Case("no rows", parquet({"a": pa.array([], pa.float64())}), ("there are no rows",)),
    Case("no columns", parquet(pa.table({})), ("there are no columns",)),
    Case("lists", parquet({"a": [[1.0], [2.0]]}), ("column 'a' holds list",)),
    Case("maps", parquet({"a": pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64()))}), ("column 'a' holds map",)),
    Case("records in records", parquet({"a": [{"b": {"c": 1}}] * 3}), ("column 'a' holds struct",)),
    Case("bytes", parquet({"a": [b"1", b"2"]}), ("column 'a' holds binary",)),
    Case("lengths of time", parquet({"a": pa.array([1, 2], pa.duration("s"))}), ("column 'a' holds duration",)),
    Case("infinity", parquet({"a": [1.0, float("inf")] * 5, "b": [1.0] * 10}), ("row 1", "'a'", "infin")),
    Case(
        "two columns of one name",
        parquet(pa.table([[1.0, 2.0], [3.0, 4.0]], names=["a", "a"])),
        ("two columns are called 'a'",),
    ),
    Case("a CSV file by another name", "a,b\n1,2\n", ("looks like text, wanted a Parquet file",)),
]
NPY = [
    Case("nothing", b"", ("the file is empty",)),
    Case("its first bytes only", b"\x93NUMPY", ("is damaged or cut short",)),
    Case("cut in its numbers", npy(X)[:-8], ("is damaged or cut short",)),
    Case("cut in its header", npy(X)[:40], ("is damaged or cut short",)),
    Case("objects", npy(OBJECTS, allow_pickle=True), ("holds Python objects", "never loaded", "astype(float)")),
    Case("code in the header", npy_of(CODE), ("is damaged or cut short",)),
    Case("a lambda in the header", npy_of("(lambda: 1)()"), ("is damaged or cut short",)),
    Case("a header of 60,000 bytes", npy_of("{" + " " * 60_000 + "}"), ("is damaged or cut short",)),
    Case("a header of open brackets", npy_of("[" * 9_000), ("is damaged or cut short",)),
    Case("a header that is no text", npy_of("\0\xff" * 20), ("is damaged or cut short",)),
    Case(
        "more numbers than bytes",
        npy_of("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000, 1000)}", bytes(80)),
        ("is cut short", "needs 8,000,000,000,000 bytes, got"),
    ),
    Case(
        "a length below zero",
        npy_of("{'descr': '<f8', 'fortran_order': False, 'shape': (-1, 2)}", bytes(80)),
        ("data.npy",),
    ),
    Case(
        "a type that is none",
        npy_of("{'descr': 'open', 'fortran_order': False, 'shape': (1, 2)}", bytes(80)),
        ("is damaged or cut short",),
    ),
    Case("a pickle by another name", pickle.dumps([1.0]), ("looks like a pickle, which is never loaded",)),
    Case("words", npy(np.array([["a", "b"]])), ("holds <U1, wanted real numbers",)),
    Case("complex numbers", npy(X * 1j), ("holds complex128, wanted real numbers",)),
    Case("times", npy(np.array([["2024-01-01"]], "M8[s]")), ("holds datetime64",)),
    Case("named fields", npy(np.zeros(4, [("a", "f8")])), ("wanted real numbers",)),
    Case("a single number", npy(np.array(1.0)), ("has shape (), wanted at least one row",)),
    Case("no rows", npy(np.zeros((0, 3))), ("has shape (0, 3), wanted at least one row",)),
    Case("infinity", npy(np.where(X > 1e9, X, np.inf)), ("row 0", "x0", "infin"), verbs=("fit",)),
    Case("seven dimensions", npy(np.zeros((2,) * 7)), ("got an array of",)),
]
PACKED = npz({"a.npy": npy(X)})
NPZ = [
    Case("its first bytes only", b"PK\x03\x04", ("is damaged or cut short",)),
    Case("cut", npz({"a.npy": npy(X)})[:-30], ("is damaged or cut short",)),
    Case("no arrays", npz({"a.txt": b"hello"}), ("there are no arrays in the file",)),
    Case("an empty archive", npz({}), ("there are no arrays in the file",)),
    Case("objects", npz({"a.npy": npy(OBJECTS, allow_pickle=True)}), ("holds Python objects", "never loaded")),
    Case("code in a header", npz({"a.npy": npy_of(CODE)}), ("is damaged or cut short",)),
    Case(
        "a member with a wrong checksum",
        changed(npz({"a.npy": npy(X)}, zipfile.ZIP_STORED), X.tobytes()[:64], bytes(64)),
        ("is damaged or cut short",),
    ),
    Case("a member that is no array", npz({"a.npy": b"hello"}), ("is damaged or cut short",)),
    Case(
        "an unknown way of packing",
        changed_at(PACKED, PACKED.index(b"PK\x01\x02") + 10, b"\x63\0"),
        ("is damaged or cut short", "compression"),
    ),
]
IDX = [
    Case("pictures cut short", struct.pack(">4B3I", 0, 0, 8, 3, 9, 4, 4) + bytes(100), ("is cut short", "9 x 4 x 4")),
    Case("bytes too many", struct.pack(">4B3I", 0, 0, 8, 3, 1, 4, 4) + bytes(100), ("has bytes too many",)),
    Case("a type that is none", struct.pack(">4B3I", 0, 0, 7, 3, 1, 4, 4) + bytes(16), ("wanted",)),
    Case("more pictures than bytes", struct.pack(">4B3I", 0, 0, 8, 3, *[2**32 - 1] * 3), ("is cut short",)),
    Case("no picture", struct.pack(">4B3I", 0, 0, 8, 3, 0, 28, 28), ("holds nothing",)),
]


def named(cases: list[Case], file: str) -> dict[str, tuple[Case, str]]:
    found = pairs([replace(case, file=file) for case in cases])
    return {f"{file}, {name}": pair for name, pair in found.items()}


FILES = {
    **named(PARQUET, "data.parquet"),
    **named(NPY, "data.npy"),
    **named(NPZ, "data.npz"),
    **named(IDX, "train-images-idx3-ubyte"),
}


@pytest.mark.parametrize(("case", "verb"), FILES.values(), ids=FILES)
def test_a_bad_file_is_refused(
    hourglass: Command,
    model_of: Models,
    tmp_path: Path,
    out: Path,
    monkeypatch: pytest.MonkeyPatch,
    case: Case,
    verb: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    done = given(hourglass, verb, case.put(tmp_path), out, model_of("numbers"))
    check_refused(done, (*case.says, case.file), out)
    assert files_below(tmp_path) == {case.file}, "something in the file was run"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("", ("there are 2 arrays", "name one")),
        (":c", ("there is no array 'c'",)),
        (":a+c", ("there is no array 'c'",)),
        (":a+b", ("only 1-d arrays of the same length",)),
    ],
)
def test_a_choice_of_arrays_that_cannot_be_is_wrong_use(
    hourglass: Command, tmp_path: Path, out: Path, words: str, says: tuple[str, ...]
) -> None:
    (tmp_path / "data.npz").write_bytes(npz({"a.npy": npy(X), "b.npy": npy(X)}))
    check_refused(given(hourglass, "fit", f"{tmp_path}/data.npz{words}", out), says, out, code=2)


def test_names_that_lead_out_of_an_archive_lead_nowhere(hourglass: Command, tmp_path: Path, out: Path) -> None:
    path = tmp_path / "in" / "data.npz"
    path.parent.mkdir()
    path.write_bytes(npz({"../../slipped.npy": npy(X)}))
    check_scored(given(hourglass, "detect", path, out), (), out, rows=120)
    assert files_below(tmp_path) == {"in/data.npz", "out/scores.jsonl"}


WORDS = pa.array(["Ghent", "Oslo"] * 60)
ACCEPTED = [
    Case("words by number", parquet({"a": X[:, 0], "b": WORDS.dictionary_encode()}), file="data.parquet"),
    Case("large words", parquet({"a": X[:, 0], "b": WORDS.cast(pa.large_string())}), file="data.parquet"),
    Case(
        "decimals", parquet({"a": X[:, 0], "b": pa.array(range(120)).cast(pa.decimal128(25, 2))}), file="data.parquet"
    ),
    Case("half precision", parquet({"a": X[:, 0], "b": X[:, 1].astype(np.float16)}), file="data.parquet"),
    Case(
        "unsigned numbers beyond int64",
        parquet({"a": X[:, 0], "b": np.arange(120, dtype=np.uint64) + 2**63}),
        file="data.parquet",
    ),
    Case(
        "days and times of day",
        parquet({"a": X[:, 0], "b": pa.array([0, 1] * 60, pa.time32("s"))}),
        file="data.parquet",
    ),
    Case(
        "a column of nulls",
        parquet({"a": X[:, 0], "b": X[:, 1], "c": pa.nulls(120)}),
        ("column 'c' is left out",),
        file="data.parquet",
    ),
    Case(
        "an Arrow type of its own",
        parquet({"a": X[:, 0], "b": pa.array(X[:, 1])}, store_schema=False),
        file="data.parquet",
    ),
    Case("many row groups", parquet(row_group_size=7), file="data.parquet"),
    Case("zstd", parquet(compression="zstd"), file="data.parquet"),
    Case("big-endian numbers", npy(X.astype(">f4")), file="data.npy"),
    Case("numbers by column", npy(np.asfortranarray(X)), file="data.npy"),
    Case("flags", npy(X > 0), file="data.npy"),
    Case("long doubles", npy(X.astype(np.longdouble)), file="data.npy"),
    Case("missing numbers", npy(np.where(X > 1, np.nan, X)), file="data.npy"),
    Case("an uncompressed archive", npz({"a.npy": npy(X)}, zipfile.ZIP_STORED), file="data.npz"),
    Case("a compressed CSV by an upper-case name", zipped("a,b\n" + "1,2\n2,4\n3,5\n" * 40), file="DATA.CSV.GZ"),
]


@pytest.mark.parametrize("case", ACCEPTED, ids=lambda case: f"{case.file}, {case.name}")
def test_an_odd_file_is_scored(hourglass: Command, tmp_path: Path, out: Path, case: Case) -> None:
    check_scored(given(hourglass, "detect", case.put(tmp_path), out), case.says, out, rows=120)
