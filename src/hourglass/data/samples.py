"""The small values that travel from data to models: `Frame`, `Layout`, `Packed`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
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

    def where(self, row: int | None = None, column: str | None = None) -> str:
        """The place of a cell in the user's words: file, line or row (counted from 0), column."""
        place = [self.source]
        if row is not None:
            place.append(f"line {self.first_line + row}" if self.first_line is not None else f"row {row}")
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


def unique_notices(notices: Iterable[str]) -> list[str]:
    """The notices once each, in order."""
    return list(dict.fromkeys(notices))
