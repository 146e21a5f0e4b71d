"""A few kilobytes that claim gigabytes: refused before they are decoded, in processes whose memory is measured."""

from __future__ import annotations

import functools
import gzip
import io
import json
import os
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from refusals import QUICK

pytestmark = pytest.mark.reliability(1)

ROOT = Path(__file__).resolve().parents[2]
MOST_MEGABYTES = 600


@functools.cache
def zeros_deflated(count: int, wrap: int) -> bytes:
    """So many zero bytes, deflated piece by piece, so that the test itself needs no memory."""
    packer, piece = zlib.compressobj(9, zlib.DEFLATED, wrap), bytes(1 << 24)
    parts = [packer.compress(piece[: min(len(piece), count - done)]) for done in range(0, count, len(piece))]
    return b"".join([*parts, packer.flush()])


def parquet(columns: int, rows: int) -> bytes:
    """Runs of one value: they take no room in the file."""
    content = io.BytesIO()
    names = [f"c{place}" for place in range(columns)]
    piece = pa.table({name: pa.array(np.zeros(1_000_000, dtype=bool)) for name in names})
    with pq.ParquetWriter(content, piece.schema, compression="zstd") as writer:
        for _ in range(rows // 1_000_000):
            writer.write_table(piece)
    return content.getvalue()


def long_words() -> bytes:
    """One word of a megabyte, 100,000 times: 100 GB."""
    content = io.BytesIO()
    words = pa.DictionaryArray.from_arrays(pa.array(np.zeros(100_000, dtype=np.int32)), pa.array(["x" * (1 << 20)]))
    pq.write_table(pa.table({"a": words, "b": np.zeros(100_000)}), content, compression="zstd", store_schema=False)
    return content.getvalue()


def npz(rows: int, columns: int = 8) -> bytes:
    """An archive of one array of zeros."""
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "<f8", "fortran_order": False, "shape": (rows, columns)})
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a.npy", "w") as member:
        member.write(head.getvalue())
        for _ in range(8 * rows * columns >> 24):
            member.write(bytes(1 << 24))
    return content.getvalue()


def png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zeros_deflated(1 << 24, 15)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def wav(claimed: int) -> bytes:
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, 8_000, 16_000, 2, 16)
    return b"RIFF" + struct.pack("<I", claimed) + b"WAVE" + form + b"data" + struct.pack("<I", claimed) + bytes(1_000)


def tiff(side: int) -> bytes:
    """A header that claims a picture of so many pixels a side."""
    entries = [
        (256, 4, side),
        (257, 4, side),
        (258, 3, 8),
        (259, 3, 1),
        (262, 3, 1),
        (273, 4, 8),
        (278, 4, side),
        (279, 4, 8),
    ]
    body = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries)
    return b"II*\0" + struct.pack("<I", 16) + bytes(8) + struct.pack("<H", len(entries)) + body + bytes(4)


BOMBS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "a CSV of half a GB": ("data.csv.gz", lambda: zeros_deflated(1 << 29, 31)),
    "20 million rows": ("data.parquet", lambda: parquet(6, 20_000_000)),
    "100 GB of words": ("data.parquet", long_words),
    "an array of 8 million columns": ("data.npz", lambda: npz(1, 8 << 20)),
    "a CSV of 2 million columns": ("data.csv.gz", lambda: gzip.compress(b"1," * 1_999_999 + b"1\n")),
    "an array of 640 MB": ("data.npz", lambda: npz(10 << 20)),
    "pictures of half a GB": ("train-images-idx3-ubyte.gz", lambda: zeros_deflated(1 << 29, 31)),
    "a picture of 900 megapixels": ("data.png", lambda: png(30_000, 30_000)),
    "a picture of 10^18 pixels": ("data.png", lambda: png(2**31 - 1, 2**31 - 1)),
    "a TIFF of 10^18 pixels": ("data.tif", lambda: tiff(2**32 - 1)),
    "a recording of 4 GB": ("data.wav", lambda: wav(2**32 - 1)),
}
SCRIPT = """
import json, sys, time
from hourglass.interfaces.cli import run
import hourglass.interfaces.operations, hourglass.interfaces.tuning
began, found = time.process_time(), []
for words in json.loads(sys.argv[1]):
    code, took = run(words), time.process_time() - began
    # not ru_maxrss, which begins with the peak of the process that started this one
    peak = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
    found.append([code, took, peak / 1024])
    began = time.process_time()
print(json.dumps(found))
"""


def test_bombs_are_refused_before_they_go_off(tmp_path: Path) -> None:
    """All in one process: the peak of its memory is that of the worst."""
    commands = []
    for place, (name, content) in enumerate(BOMBS.values()):
        folder = tmp_path / str(place)
        folder.mkdir()
        (folder / name).write_bytes(content())
        assert (folder / name).stat().st_size < 4 << 20, name
        commands.append(["fit", str(folder / name), "-o", str(tmp_path / "new"), *QUICK])
    paths = os.pathsep.join(filter(None, [str(ROOT / "src"), os.environ.get("PYTHONPATH")]))
    process = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(commands)],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert process.returncode == 0, process.stderr
    assert "Traceback" not in process.stderr
    blocks = [f"error: {block}" for block in process.stderr.split("error: ")[1:]]
    assert len(blocks) == len(BOMBS), process.stderr
    for name, block, (code, seconds, megabytes) in zip(BOMBS, blocks, json.loads(process.stdout), strict=True):
        assert code == 3, f"{name}: {block}"
        assert "wanted at most" in block or "is cut short" in block or "holds no sound" in block, f"{name}: {block}"
        assert "\nhint: " in block, f"{name}: {block}"
        assert megabytes < MOST_MEGABYTES, f"{name}: {megabytes:.0f} MB"
        assert seconds < 5, f"{name}: {seconds:.1f} s of the processor"
    assert not (tmp_path / "new.safetensors").exists()
