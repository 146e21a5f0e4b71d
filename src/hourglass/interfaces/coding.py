"""Whole numbers as few bytes, and back: the entropy coder, which is constriction's range coder.

Nothing of the probabilities is stored. Each column is coded by how often its symbols came before, in blocks, so that
the decoder knows as much as the encoder did; the counts are whole numbers, so every machine computes the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from hourglass.core.compression import bits, blocks, frequencies, to_whole
from hourglass.data.limits import check_size
from hourglass.errors import UnreadableError, UsageError, missing_extra

_MOST_SYMBOLS = 4096
_MOST_SHIFT = 20
_MOST_VARINT = 9
_DAMAGED = "the coded numbers are damaged"
_AGAIN = "compress the data again, or take the file from a copy"


def encode_codes(codes: np.ndarray, step: float | np.ndarray) -> bytes:
    """Codes (n, latent), of any model or of PCA, rounded to whole steps and entropy-coded.

    `step`: one for all numbers of a code, or one for each. A number is rounded as `core.compression.to_whole` says.
    """
    steps = np.broadcast_to(np.asarray(step, dtype=np.float64), codes.shape[1:])
    if not (np.isfinite(steps) & (steps > 0)).all():
        raise UsageError(f"got the step {step}, wanted one above 0", where="encode_codes", how="such as 0.1")
    stored = steps[:1] if len(set(steps.tolist())) == 1 else steps
    head = number_bytes([len(stored)]) + stored.astype("<f8").tobytes()
    return head + encode_symbols(to_whole(codes.astype(np.float64) / steps))


def decode_codes(content: bytes, where: str = "the codes") -> np.ndarray:
    """The codes, float64 (n, latent), that `encode_codes` rounded."""
    reader = Reader(content, where)
    (count,) = reader.numbers(1)
    steps = np.frombuffer(reader.take(8 * count), dtype="<f8")
    whole = decode_symbols(reader.rest(), where)
    if len(steps) not in (1, whole.shape[1]):
        raise UnreadableError(_DAMAGED, where=where, how=_AGAIN)
    return np.asarray(whole * steps)


@dataclass(frozen=True)
class _Column:
    """What is stored of a column: its symbols are (number >> shift) - low, from 0 to size - 1; low bits lie beside."""

    low: int
    size: int
    shift: int

    @classmethod
    def of(cls, numbers: np.ndarray) -> _Column:
        """The column with the shift that takes the fewest bits."""
        low, high = (int(numbers.min()), int(numbers.max())) if len(numbers) else (0, 0)
        least = next(shift for shift in range(64) if (high >> shift) - (low >> shift) < _MOST_SYMBOLS)
        options = [cls(low >> shift, (high >> shift) - (low >> shift) + 1, shift) for shift in range(least, least + 12)]
        useful = [column for column in options if column.size > 2] or options[:1]
        return min(useful, key=lambda column: column.bits(numbers))

    def bits(self, numbers: np.ndarray) -> float:
        return bits(self.symbols(numbers), self.size) + self.shift * len(numbers)

    def symbols(self, numbers: np.ndarray) -> np.ndarray:
        return np.asarray((numbers >> self.shift) - self.low)


def encode_symbols(numbers: np.ndarray) -> bytes:
    """Whole numbers (n, columns) as bytes, each column coded by its own counts. A constant column takes 3 bytes."""
    stream = _constriction().stream
    columns = [_Column.of(column) for column in numbers.T]
    encoder = stream.queue.RangeEncoder()
    counts = [np.zeros(column.size, dtype=np.int64) for column in columns]
    for block in blocks(len(numbers)):
        for column, seen, given in zip(columns, counts, numbers[block].T, strict=True):
            symbols = column.symbols(given)
            if column.size > 1:
                encoder.encode(symbols.astype(np.int32), _categorical(stream, seen))
                seen += np.bincount(symbols, minlength=column.size)
            if column.shift:
                low_bits = (given & ((1 << column.shift) - 1)).astype(np.int32)
                encoder.encode(low_bits, stream.model.Uniform(1 << column.shift))
    facts = [fact for column in columns for fact in (_zigzag(column.low), column.size, column.shift)]
    payload: bytes = encoder.get_compressed().astype("<u4").tobytes()
    return number_bytes([*numbers.shape, *facts]) + payload


def decode_symbols(content: bytes, where: str = "the coded numbers") -> np.ndarray:
    """The whole numbers, int64 (n, columns), that `encode_symbols` coded."""
    stream = _constriction().stream
    reader = Reader(content, where)
    count, width = reader.numbers(2)
    if width > len(content):
        raise UnreadableError(_DAMAGED, where=where, how=_AGAIN)
    check_size(8 * count * width, len(content), where)
    columns = [_column(reader) for _ in range(width)]
    words = reader.rest()
    if len(words) % 4:
        raise UnreadableError(_DAMAGED, where=where, how=_AGAIN)
    decoder = stream.queue.RangeDecoder(np.frombuffer(words, dtype="<u4").astype(np.uint32))
    numbers = np.empty((count, width), dtype=np.int64)
    counts = [np.zeros(column.size, dtype=np.int64) for column in columns]
    for block in blocks(count):
        for column, seen, place in zip(columns, counts, numbers[block].T, strict=True):
            place[:] = _decoded(stream, decoder, column, seen, len(place))
    return numbers


def _decoded(stream: Any, decoder: Any, column: _Column, seen: np.ndarray, count: int) -> np.ndarray:
    symbols = np.zeros(count, dtype=np.int64)
    if column.size > 1:
        symbols = decoder.decode(_categorical(stream, seen), count).astype(np.int64)
        seen += np.bincount(symbols, minlength=column.size)
    numbers = (symbols + column.low) << column.shift
    if column.shift:
        numbers |= decoder.decode(stream.model.Uniform(1 << column.shift), count).astype(np.int64)
    return np.asarray(numbers)


def _column(reader: Reader) -> _Column:
    low, size, shift = reader.numbers(3)
    if not 1 <= size <= _MOST_SYMBOLS or shift > _MOST_SHIFT:
        raise UnreadableError(_DAMAGED, where=reader.where, how=_AGAIN)
    return _Column(-(low + 1) // 2 if low % 2 else low // 2, size, shift)


def _zigzag(number: int) -> int:
    return 2 * number if number >= 0 else -2 * number - 1


def _categorical(stream: Any, seen: np.ndarray) -> Any:
    return stream.model.Categorical(frequencies(seen), perfect=False)


def _constriction() -> Any:
    try:
        import constriction
    except ImportError as error:
        raise missing_extra("compress", "constriction", "compressing") from error
    return constriction


def number_bytes(numbers: Iterator[int] | list[int]) -> bytes:
    r"""Whole numbers from 0 on, 7 bits a byte, the last byte of each below 128.

    >>> number_bytes([5, 300])
    b'\x05\xac\x02'
    """
    content = bytearray()
    for number in numbers:
        while number > 127:
            content.append(number & 127 | 128)
            number >>= 7
        content.append(number)
    return bytes(content)


class Reader:
    """Reads bytes from the first to the last, and says so where they end too early."""

    def __init__(self, content: bytes, where: str) -> None:
        self._content, self._place, self.where = content, 0, where

    def numbers(self, count: int) -> list[int]:
        """So many numbers that `number_bytes` wrote."""
        return [self._number() for _ in range(count)]

    def _number(self) -> int:
        number = 0
        for place in range(_MOST_VARINT):
            byte = self.take(1)[0]
            number |= (byte & 127) << (7 * place)
            if byte < 128:
                return number
        raise UnreadableError(_DAMAGED, where=self.where, how=_AGAIN)

    def take(self, count: int) -> bytes:
        """The next so many bytes."""
        if count > len(self._content) - self._place:
            raise UnreadableError("is cut short", where=self.where, how=_AGAIN)
        self._place += count
        return self._content[self._place - count : self._place]

    def rest(self) -> bytes:
        """All that is left."""
        return self.take(len(self._content) - self._place)
