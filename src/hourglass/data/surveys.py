"""What must be known of rows that do not fit in memory together, from one pass over them: statistics that merge.

Blocks, and the surveys of shards, may be merged in any order.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

import numpy as np
import pyarrow as pa

from hourglass.data.alike import joined
from hourglass.data.column_kinds import Date, read_numbers
from hourglass.data.samples import Frame
from hourglass.data.scaling import extremes, moments


@dataclass(frozen=True)
class Moments:
    """Count, mean, population standard deviation, smallest and largest number of each column, NaN left out."""

    count: np.ndarray
    mean: np.ndarray
    deviation: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @classmethod
    def of(cls, numbers: np.ndarray) -> Self:
        """Those of an array (rows, columns) of at least one row."""
        count = len(numbers) - np.isnan(numbers).sum(axis=0)
        return cls(count.astype(np.float64), *moments(numbers), *extremes(numbers))

    def merged(self, other: Moments) -> Moments:
        """Those of the rows of both.

        Chan et al. 1983: n s^2 = n1 s1^2 + n2 s2^2 + n1 n2 / n (m1 - m2)^2, with all numbers first divided by a power
        of two, which is exact, so that no square overflows.
        """
        count = self.count + other.count
        low = np.where(
            self.count == 0, other.low, np.where(other.count == 0, self.low, np.minimum(self.low, other.low))
        )
        high = np.where(
            self.count == 0, other.high, np.where(other.count == 0, self.high, np.maximum(self.high, other.high))
        )
        exponent = np.frexp(np.maximum(np.abs(low), np.abs(high)))[1]
        share = other.count / np.maximum(count, 1)
        first, second = np.ldexp(self.mean, -exponent), np.ldexp(other.mean, -exponent)
        spread, further = np.ldexp(self.deviation, -exponent), np.ldexp(other.deviation, -exponent)
        mean = first + share * (second - first)
        variance = (1 - share) * (spread**2 + share * (second - first) ** 2) + share * further**2
        constant = low == high  # a mean may round to just beside the constant
        deviation = np.where(constant, 0.0, np.ldexp(np.sqrt(variance), exponent))
        return Moments(count, np.where(constant, low, np.ldexp(mean, exponent)), deviation, low, high)


@dataclass
class RowSample:
    """Rows drawn at random, every row with the same chance: each has a random key, and the smallest keys stay.

    Two samples merge to one of the rows of both. Fewer rows than `most` are all kept, in their order.
    """

    most: int
    _keys: list[np.ndarray] = field(default_factory=list)
    _frames: list[Frame] = field(default_factory=list)
    _limit: float = 1.0

    def add(self, frame: Frame, keys: np.ndarray) -> None:
        """Take further rows into account, each with its key between 0 and 1."""
        chosen = np.flatnonzero(keys < self._limit)
        if len(chosen):
            self._keys.append(keys[chosen])
            self._frames.append(frame if len(chosen) == len(keys) else frame.at(chosen))
        if sum(map(len, self._keys)) > 2 * self.most:
            self._cut()

    def merge(self, other: RowSample) -> None:
        """Take the rows of another sample into account."""
        for frame, keys in zip(other._frames, other._keys, strict=True):
            self.add(frame, keys)

    def frame(self, source: str) -> Frame | None:
        """The rows that were drawn; None where there are none."""
        if not self._frames:
            return None
        self._cut()
        [frame] = self._frames
        return Frame(frame.table, source, unnamed=frame.unnamed, notices=frame.notices)

    def _cut(self) -> None:
        """Keep only the rows with the smallest keys, as one frame."""
        keys = np.concatenate(self._keys)
        frame = joined(self._frames, "")
        if len(keys) > self.most:
            chosen = np.sort(np.argpartition(keys, self.most)[: self.most])
            frame, keys = frame.at(chosen), keys[chosen]
            self._limit = float(keys.max())
        self._keys, self._frames = [keys], [frame]


@dataclass
class Survey:
    """What one pass over rows tells: how many there are, the moments of every column, and rows drawn at random."""

    names: list[str]
    """The columns that are measured."""
    sample: RowSample
    held_out: RowSample
    rows: int = 0
    moments: Moments | None = None
    """Of the rows that are not held out; columns of words count as missing."""

    def add(self, frame: Frame, keys: np.ndarray, held: np.ndarray) -> None:
        """Take further rows into account: their keys between 0 and 1, and which of them are held out."""
        self.rows += frame.table.num_rows
        self.sample.add(frame, np.where(held, np.inf, keys))
        self.held_out.add(frame, np.where(held, keys, np.inf))
        if not held.all():
            self._measure(Moments.of(_numbers(frame, self.names)[~held]))

    def merge(self, other: Survey) -> None:
        """Take the rows of another survey into account."""
        self.rows += other.rows
        self.sample.merge(other.sample)
        self.held_out.merge(other.held_out)
        if other.moments is not None:
            self._measure(other.moments)

    def _measure(self, further: Moments) -> None:
        self.moments = further if self.moments is None else self.moments.merged(further)


def _numbers(frame: Frame, names: list[str]) -> np.ndarray:
    """Columns as numbers (rows, columns), times as seconds, words as missing."""
    numbers = np.full((len(names), frame.table.num_rows), np.nan).T
    for place, name in enumerate(names):
        kind = frame.table.schema.field(name).type
        if pa.types.is_timestamp(kind):
            numbers[:, place] = Date(name).read(frame, [])[:, 0]
        elif not pa.types.is_string(kind):
            numbers[:, place] = read_numbers(frame, name)
    return numbers
