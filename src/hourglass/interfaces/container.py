"""The `.hgz` file: a few words about the data, sections of bytes, and a checksum over all of it.

    HGZ, version (1 byte) | length and header (JSON, deflated) | sections, one after the other | checksum (8 bytes)

The header names the model that the codes belong to, and each section with its length.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hourglass.data.limits import MOST_BYTES, check_size
from hourglass.data.opening import RIGHTS, refuse_address
from hourglass.errors import DataError, UnreadableError
from hourglass.interfaces.coding import Reader, number_bytes

MAGIC, VERSION = b"HGZ", 1
_CHECKSUM = 8
_MOST_HEADER = 2**24
_AGAIN = "compress the data again, or take the file from a copy"


@dataclass(frozen=True)
class Container:
    """What a `.hgz` file holds."""

    header: dict[str, Any]
    sections: dict[str, bytes]

    def to_bytes(self) -> bytes:
        """The content of the file."""
        lengths = {name: len(section) for name, section in self.sections.items()}
        text = json.dumps(self.header | {"sections": lengths}, ensure_ascii=False, separators=(",", ":"))
        header = zlib.compress(text.encode(), 9)
        body = MAGIC + bytes([VERSION]) + number_bytes([len(header)]) + header + b"".join(self.sections.values())
        return body + _checksum(body)

    @classmethod
    def from_bytes(cls, content: bytes, where: str) -> Container:
        """What a file's content says; `UnreadableError` where it is none, damaged, or from a newer Hourglass."""
        reader = Reader(_checked(content, where), where)
        reader.take(len(MAGIC) + 1)
        (length,) = reader.numbers(1)
        try:
            header = json.loads(inflated(reader.take(length), _MOST_HEADER, where))
            lengths = {str(name): int(length) for name, length in header.pop("sections").items()}
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            raise damaged(where) from None
        if min(lengths.values(), default=0) < 0:
            raise damaged(where)
        return cls(header, {name: reader.take(length) for name, length in lengths.items()})


def read_container(path: str) -> Container:
    """The container in a file."""
    refuse_address(path)
    file = Path(path)
    try:
        if not file.is_file():
            what = "is not a file" if file.exists() else "there is no such file"
            raise DataError(what, where=path, how="name a file that `hourglass compress` wrote")
        check_size(file.stat().st_size, MOST_BYTES, path)
        return Container.from_bytes(file.read_bytes(), path)
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}", where=path, how=RIGHTS) from error


def array_bytes(values: np.ndarray) -> bytes:
    """Whole numbers (n,) that grow evenly, or nearly so, as bytes: second differences, deflated."""
    differences = values.astype("<i8").view("<u8").copy()
    for _ in range(2):  # modulo 2^64, so that none overflows
        differences[1:] -= differences[:-1].copy()
    return zlib.compress(differences.tobytes(), 9)


def array_from_bytes(content: bytes, count: int, where: str) -> np.ndarray:
    """The `count` whole numbers, int64, that `array_bytes` wrote."""
    check_size(8 * count, len(content), where)
    raw = inflated(content, 8 * count, where)
    if len(raw) != 8 * count:
        raise damaged(where)
    values = np.frombuffer(raw, dtype="<u8").astype(np.uint64)
    for _ in range(2):
        values = np.cumsum(values, dtype=np.uint64)
    return values.view(np.int64)


def inflated(content: bytes, most: int, where: str) -> bytes:
    """Deflated bytes as they were, which may be `most` bytes."""
    inflator = zlib.decompressobj()
    try:
        raw = inflator.decompress(content, most + 1)
    except zlib.error:
        raise damaged(where) from None
    if len(raw) > most or not inflator.eof:
        raise damaged(where)
    return raw


def damaged(where: str) -> UnreadableError:
    """The error for a file that does not hold together."""
    return UnreadableError("is damaged or cut short", where=where, how=_AGAIN)


def _checked(content: bytes, where: str) -> bytes:
    """All but the checksum, after it held."""
    if not content.startswith(MAGIC) or len(content) <= len(MAGIC):
        how = "give a file that `hourglass compress` wrote"
        raise UnreadableError("this is no compressed file of Hourglass, or its start is damaged", where=where, how=how)
    body, checksum = content[:-_CHECKSUM], content[-_CHECKSUM:]
    if _checksum(body) == checksum:
        if body[len(MAGIC)] > VERSION:
            what = f"the file has version {body[len(MAGIC)]}; this Hourglass reads up to {VERSION}"
            raise UnreadableError(what, where=where, how="upgrade: pip install -U hourglass-autoencoder")
        return body
    raise damaged(where)


def _checksum(body: bytes) -> bytes:
    return hashlib.sha256(body).digest()[:_CHECKSUM]
