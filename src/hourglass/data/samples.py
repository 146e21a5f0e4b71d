"""The small values that travel from data to models: `Frame`, `Pictures`, `Recordings`, `Layout`, `Packed`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa

CELL_KINDS = ("number", "flag", "category")


@dataclass(frozen=True)
class Frame:
    """Named columns as a user gave them, with the place they came from (for error messages)."""

    table: pa.Table
    source: str = "the data"
    """File name, or words for in-memory data."""
    first_line: int | None = None
    """Line of the first record in a text file; None where rows have no lines."""
    unnamed: bool = False
    """True where the columns had no names of their own (an array, a `.ts` file): rows are samples of one kind of
    number.
    """
    notices: tuple[str, ...] = ()
    """What was accepted although odd, one sentence each."""
    first_row: int = 0
    """Place of the first row in the table that it is a block of."""

    def at(self, rows: np.ndarray) -> Frame:
        """The rows at these positions, which have no lines of their own."""
        return Frame(self.table.take(pa.array(rows)), self.source, unnamed=self.unnamed)

    @classmethod
    def joined(cls, frames: Sequence[Frame]) -> Frame:
        """The rows of all frames; whole numbers become fractions where one frame has such in their column."""
        return cls(pa.concat_tables([frame.table for frame in frames], promote_options="permissive"))

    def where(self, row: int | None = None, column: str | None = None) -> str:
        """The place of a cell in the user's words: file, line or row (counted from 0), column."""
        place = [self.source]
        if row is not None:
            counted = f"row {self.first_row + row}" if self.first_line is None else f"line {self.first_line + row}"
            place.append(counted)
        if column is not None:
            place.append(f"column {column!r}")
        return ", ".join(place)


def recut(frames: Iterable[Frame], rows: int) -> Iterator[Frame]:
    """The same rows in frames of a multiple of `rows` rows each, but for the last."""
    rest: Frame | None = None
    for frame in frames:
        table = frame.table if rest is None else Frame.joined([rest, frame]).table
        start = frame.first_row if rest is None else rest.first_row
        count = table.num_rows // rows * rows
        rest = replace(frame, table=table.slice(count), first_row=start + count)
        if count:
            yield replace(frame, table=table.slice(0, count), first_row=start)
    if rest is not None and rest.table.num_rows:
        yield rest


@dataclass(frozen=True)
class Pictures:
    """Pictures as a user gave them, each of its own size, with what is known of each."""

    arrays: Sequence[np.ndarray] | np.ndarray
    """Each (height, width) or (height, width, channels), channels last; uint8, uint16, or floats. May be one array."""
    table: pa.Table
    """One row a picture: `name`, and further columns such as `folder` or a label, which are never features."""
    source: str = "the pictures"
    notices: tuple[str, ...] = ()
    """What was accepted although odd, one sentence each."""
    failed: tuple[str, ...] = ()
    """Pictures that were to be skipped because they cannot be read: each its name and what is wrong with it."""

    def __len__(self) -> int:
        return len(self.arrays)

    def where(self, row: int | None = None, column: str | None = None) -> str:
        """The place of a picture in the user's words: source, name, column."""
        return _listed_place(self.source, self.table, row, column)


@dataclass(frozen=True)
class Recordings:
    """Sound as a user gave it, each recording of its own length, rate and number of channels."""

    arrays: Sequence[np.ndarray]
    """Each (frames, channels), float32; a full-scale file reaches from -1 to 1."""
    rates: Sequence[int]
    """Frames a second of each; empty where that is not known: then they are the model's."""
    table: pa.Table
    """One row a recording: `name`, and further columns such as `folder` or a label, which are never features."""
    source: str = "the recordings"
    notices: tuple[str, ...] = ()
    """What was accepted although odd, one sentence each."""
    failed: tuple[str, ...] = ()
    """Recordings that were to be skipped because they cannot be read: each its name and what is wrong with it."""

    def __len__(self) -> int:
        return len(self.arrays)

    def where(self, row: int | None = None, column: str | None = None) -> str:
        """The place of a recording in the user's words: source, name, column."""
        return _listed_place(self.source, self.table, row, column)


def _listed_place(source: str, table: pa.Table, row: int | None, column: str | None) -> str:
    """The place of something that is known by its name in a table."""
    place = [source]
    if row is not None:
        place.append(str(table.column("name")[row].as_py()))
    if column is not None:
        place.append(f"column {column!r}")
    return ", ".join(place)


@dataclass(frozen=True)
class Cell:
    """What a model predicts and a reason can name: a number, a flag (0 or 1), a category (`width` one-hot places)."""

    name: str
    kind: str = "number"
    width: int = 1
    baseline: float = 1.0
    """Mean loss of always predicting the training mean (or shares): divides this cell's loss, so that no column type
    dominates.
    """


@dataclass(frozen=True)
class Layout:
    """How a packed sample is laid out: its `shape`, and its cells in order.

    `cells` is empty where every number of the sample is a cell of its own (windows, pictures).
    """

    shape: tuple[int, ...]
    cells: tuple[Cell, ...] = ()

    @property
    def size(self) -> int:
        """Numbers in a packed sample."""
        return int(np.prod(self.shape))

    @property
    def mixed(self) -> bool:
        """Whether some cell is not a plain number."""
        return any(cell.kind != "number" for cell in self.cells)

    @property
    def complex(self) -> bool:
        """Whether samples can be complex spectrograms: real and imaginary part, bins, frames."""
        return len(self.shape) == 3 and self.shape[0] == 2

    def cell_of(self) -> np.ndarray:
        """For each number of the flattened sample, the index of its cell. Shape (size,), int64."""
        if not self.cells:
            return np.arange(self.size)
        return np.repeat(np.arange(len(self.cells)), [cell.width for cell in self.cells])

    def as_json(self) -> dict[str, Any]:
        return {"shape": list(self.shape), "cells": [[c.name, c.kind, c.width, c.baseline] for c in self.cells]}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Layout:
        return cls(tuple(document["shape"]), tuple(Cell(*cell) for cell in document["cells"]))


@dataclass(frozen=True)
class Packed:
    """Samples ready for a network, and where each came from.

    `samples` has shape (n, *layout.shape), float32; NaN marks a missing number, nothing else is non-finite.
    """

    samples: np.ndarray
    places: Any = None
    """The format's own record of where samples came from (window starts, times); None where sample i is row i."""
    notices: list[str] = field(default_factory=list)
    overlap: int = 0
    """With how many samples before it, and after it, a sample shares numbers: windows may overlap."""
    ordered: bool = False
    """Whether samples follow one another in time: then the last are held out, not some at random."""
    groups: np.ndarray | None = None
    """For each sample the input row that it is a part of (a tile's picture), ascending from 0; None: rows are whole.

    A row's parts are never torn apart, and a row is as odd as the oddest of its parts.
    """

    @property
    def rows_are_samples(self) -> bool:
        """Whether sample i is input row i, whole."""
        return not self.ordered and self.groups is None

    @property
    def row_count(self) -> int:
        """Samples, or the rows that they are parts of."""
        return len(self.samples) if self.groups is None else len(np.unique(self.groups))


def oddest_parts(scores: np.ndarray, groups: np.ndarray | None) -> np.ndarray:
    """The largest score of each row's parts, from scores (parts, ...) and the row of each part; None: rows are whole.

    >>> oddest_parts(np.array([1.0, 5.0, 2.0]), np.array([0, 0, 1]))
    array([5., 2.])
    """
    if groups is None or not len(groups):
        return scores
    return np.asarray(np.maximum.reduceat(scores, np.flatnonzero(np.diff(groups, prepend=-1))))


def unique_notices(notices: Iterable[str]) -> list[str]:
    """The notices once each, in order."""
    return list(dict.fromkeys(notices))
