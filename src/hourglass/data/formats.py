"""What every modality must offer: user data to packed samples, and back to the user's units."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self, TypeAlias

import numpy as np
import pyarrow as pa
import torch

from hourglass.data.samples import Frame, Layout, Packed, Pictures, Recordings
from hourglass.settings import Part

Data = np.ndarray | Frame | Pictures | Recordings
"""What a format takes: an array of numbers, named columns, pictures, or recordings."""

Result: TypeAlias = np.ndarray | pa.Table | Pictures | Recordings
"""What a format gives back: like for like, but for a frame a table with named columns."""


@dataclass(frozen=True)
class FormatSettings(Part):
    """Options of one modality's format."""

    slot = "format"
    name = ""

    def fit(self, data: Data) -> Format:
        """Learn the format (columns, scaling, window) from training data."""
        raise NotImplementedError


@dataclass(frozen=True)
class Rows:
    """Per-sample scores carried back to the rows that the user gave, in their order."""

    index: pa.Array
    """Row numbers (from 0), or times."""
    score: np.ndarray
    """Score of each row, float64."""
    covered: np.ndarray
    """False where no sample reaches a row; its score is then the median score."""


def plain_values(numbers: np.ndarray) -> list[list[Any]]:
    """Numbers as plain values, a list for each row; None where missing."""
    cells = numbers.reshape(len(numbers), -1).astype(object)
    cells[np.isnan(cells.astype(np.float64))] = None
    return [list(row) for row in cells]


class Format(ABC):
    """How one modality's data become packed samples, learned on training data. Final classes: one per modality."""

    modality: ClassVar[str]
    settings: FormatSettings
    layout: Layout
    notices: list[str]
    """What `fit` accepted although odd, one sentence each."""

    @abstractmethod
    def pack(self, data: Data) -> Packed:
        """Samples of `data`, scaled. Raises `SchemaError` where its columns or shape differ from those fitted on."""

    @abstractmethod
    def pack_like(self, data: Data, places: Any) -> Packed:
        """Other takes of the samples packed at `places`, on the scale of those where each has a scale of its own."""

    @abstractmethod
    def rescaled(self, data: Data, chosen: np.ndarray) -> Self:
        """The same format with its scaling learned anew, from those samples of `data` whose positions are `chosen`."""

    @abstractmethod
    def unpack(self, samples: np.ndarray, places: Any = None) -> Result:
        """Packed samples in the user's own units and form: an array for arrays, a named table for frames."""

    @abstractmethod
    def rows(self, scores: np.ndarray, places: Any) -> Rows:
        """Scores of samples as scores of the input rows."""

    def cells_in_units(self, sample: np.ndarray) -> list[Any]:
        """One packed sample's cells as the user would write them: numbers in units, words. None where missing."""
        return self.rows_in_units(np.asarray(sample, dtype=np.float32)[np.newaxis])[0]

    @abstractmethod
    def rows_in_units(self, samples: np.ndarray) -> list[list[Any]]:
        """`cells_in_units` of each of many samples at once."""

    @abstractmethod
    def cell_names(self) -> Sequence[str]:
        """The cells' names in the same order (column; `channel` or `channel[step]`; `pixel (row, column)`)."""

    @abstractmethod
    def document(self) -> dict[str, Any]:
        """What was learned, as plain JSON, without the tensors."""

    @abstractmethod
    def tensors(self) -> dict[str, torch.Tensor]:
        """What was learned, as tensors (float64 scaling buffers)."""

    @classmethod
    @abstractmethod
    def restore(cls, document: dict[str, Any], tensors: dict[str, torch.Tensor]) -> Self:
        """The format that `document` and `tensors` describe; `ModelFileError` where they do not fit together."""
