"""Chunks of sound files, written out by hand."""

from __future__ import annotations

import io
import struct

import pytest

from hourglass.data.riff import sample_bytes

FORMAT = b"fmt " + struct.pack("<IHHIIHH", 16, 1, 1, 8000, 16_000, 2, 16)


def claim(content: bytes) -> tuple[int, int] | None:
    return sample_bytes(io.BytesIO(content), len(content))


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (b"RIFF\0\0\0\0WAVE" + FORMAT + b"data" + struct.pack("<I", 8) + bytes(8), (8, 8)),
        (b"RIFF\0\0\0\0WAVE" + FORMAT + b"data" + struct.pack("<I", 80) + bytes(8), (80, 8)),
        (b"RIFF\0\0\0\0WAVE" + b"LIST\3\0\0\0abc\0" + b"data" + struct.pack("<I", 6) + bytes(8), (6, 8)),
        (b"RIFF\0\0\0\0WAVE" + FORMAT, None),
        (b"RIFF\0\0\0\0WAVE" + b"LIST\xff\xff\xff\xff", None),
        (b"RIFX\0\0\0\0WAVE" + b"data" + struct.pack(">I", 80) + bytes(8), (80, 8)),
        (b"FORM\0\0\0\0AIFF" + b"SSND" + struct.pack(">I", 80) + bytes(8), (80, 8)),
        (
            b"RF64\xff\xff\xff\xffWAVE"
            + b"ds64"
            + struct.pack("<IQQQI", 28, 0, 5 << 32, 0, 0)
            + b"data\xff\xff\xff\xff",
            (5 << 32, 0),
        ),
        (b"riff" + bytes(36) + b"fmt " + bytes(12) + struct.pack("<Q", 25) + bytes(8) + b"data" + bytes(20), (0, 0)),
        (b"riff" + bytes(36) + b"data" + bytes(12) + struct.pack("<Q", 124) + bytes(8), (100, 8)),
        (b"RIFF\0\0\0\0WAVE" + b"junk\0\0\0\0" * 2000 + b"data" + struct.pack("<I", 8) + bytes(8), None),
        (b"fLaC" + bytes(100), None),
        (b"", None),
    ],
    ids=[
        "whole",
        "short",
        "odd before",
        "none",
        "lost",
        "big",
        "aiff",
        "rf64",
        "padded",
        "w64",
        "junk",
        "flac",
        "empty",
    ],
)
def test_what_is_claimed_and_what_is_there(content: bytes, wanted: tuple[int, int] | None) -> None:
    assert claim(content) == wanted
