"""How much sound a WAV, RF64, Wave64 or AIFF file says that it holds, and how much there is.

All are chunks in a row, each a name, a length and its content. What reads them otherwise takes a file that is cut short
for a shorter recording.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

_MOST_CHUNKS = 1000
"""A file of a few gigabytes could hold hundreds of millions of empty ones."""
_UNSAID = 0xFFFFFFFF
"""The length of samples in an RF64 file, whose true length is in the chunk `ds64`."""


@dataclass(frozen=True)
class _Form:
    """How a container writes its chunks."""

    first: int
    """Where the first chunk begins."""
    head: struct.Struct
    """A chunk's name and length."""
    samples: bytes
    """How the name of the chunk of samples begins."""
    padded: int = 2
    """Chunks begin at multiples of this."""
    counts_head: bool = False
    """Whether the length covers name and length as well."""


_FORMS = {
    b"RIFF": _Form(12, struct.Struct("<4sI"), b"data"),
    b"RIFX": _Form(12, struct.Struct(">4sI"), b"data"),
    b"RF64": _Form(12, struct.Struct("<4sI"), b"data"),
    b"FORM": _Form(12, struct.Struct(">4sI"), b"SSND"),
    b"riff": _Form(40, struct.Struct("<16sQ"), b"data", 8, True),
}


def sample_bytes(handle: BinaryIO, size: int) -> tuple[int, int] | None:
    """Bytes of samples that a file of `size` bytes claims, and those that follow; None for no such file.

    None also where no chunk holds samples, or the chunks make no sense.
    """
    handle.seek(0)
    form = _FORMS.get(handle.read(4))
    claimed_elsewhere = _UNSAID
    for name, length, start in _chunks(handle, form, size) if form else ():
        if name == b"ds64":
            handle.seek(start + 8)
            claimed_elsewhere = int.from_bytes(handle.read(8), "little")
        if form and name.startswith(form.samples):
            return claimed_elsewhere if length == _UNSAID else length, size - start
    return None


def _chunks(handle: BinaryIO, form: _Form, size: int) -> Iterator[tuple[bytes, int, int]]:
    """Name, length, and start of the content of each chunk."""
    place = form.first
    for _ in range(_MOST_CHUNKS):
        handle.seek(place)
        head = handle.read(form.head.size)
        if len(head) < form.head.size:
            return
        name, length = form.head.unpack(head)
        length = max(length - form.head.size, 0) if form.counts_head else length
        place += form.head.size
        yield name, length, place
        place += -(-length // form.padded) * form.padded
