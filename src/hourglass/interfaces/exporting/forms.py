"""Raw numbers, as the graph of a model takes them, to packed samples and back: one form for each modality.

    RawForm            abstract: `pack` and `unpack` are part of the graph
    ├── RawTable       (rows, columns): numbers, times in seconds, flags as 0 and 1, words by their index
    ├── RawWindows     (windows, steps, channels)
    └── RawPictures    (pictures, channels, height, width)

Numbers are float64, NaN is missing. What the graph does is what the formats of `data` do, with their own scalers.
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from typing import Any, ClassVar, final

import numpy as np
import torch
from torch import Tensor, nn

from hourglass.data.column_kinds import Category, Column, Date, Flag
from hourglass.data.formats import Format
from hourglass.data.images import ImageFormat
from hourglass.data.samples import Frame
from hourglass.data.scaling import Scaler
from hourglass.data.series import SeriesFormat
from hourglass.data.tables import TableFormat
from hourglass.errors import UsageError

_NEAR = 0.01
"""How far a packed number is moved to see what it is worth in units."""


class RawForm(nn.Module, ABC):
    """How raw numbers become packed samples, and packed samples raw numbers."""

    samples: ClassVar[str]
    """What a sample is called."""
    scaler: Scaler
    sizes: tuple[int, ...]
    """Shape of one sample of raw numbers."""

    @abstractmethod
    def pack(self, raw: Tensor) -> Tensor:
        """Raw numbers, float64 (n, *sizes), as packed samples, float32 (n, *layout.shape)."""

    @abstractmethod
    def unpack(self, packed: Tensor) -> Tensor:
        """Packed samples as raw numbers, float64."""

    @abstractmethod
    def described(self) -> dict[str, Any]:
        """What each raw number is, as JSON values."""

    @abstractmethod
    def read(self, packed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Raw numbers that say about the same as packed samples, and what they become where Python packs them."""

    @abstractmethod
    def distance(self, raw: np.ndarray, packed: np.ndarray) -> float:
        """How far raw numbers are at most from those that stand for packed samples, on the packed scale."""

    def _scaled_distance(self, numbers: np.ndarray, packed: np.ndarray) -> float:
        """The same of numbers (n, ..., columns) alone; relative to a sample's largest, as float32 rounds its sums."""
        ends = [self.scaler.unscale((packed + shift).astype(np.float32)) for shift in (-_NEAR, 0.0, _NEAR)]
        unit = np.maximum((ends[2] - ends[0]) / (2 * _NEAR), np.finfo(np.float32).tiny)
        largest = np.abs(packed).max(axis=tuple(range(1, packed.ndim)), initial=1.0, keepdims=True)
        return float(np.max(np.abs(numbers - ends[1]) / unit / largest, initial=0.0))


@final
class RawTable(RawForm):
    """Rows of a table, one float64 a column, in the order of the model's columns."""

    samples = "rows"

    def __init__(self, form: TableFormat) -> None:
        super().__init__()
        self.form, self.scaler, self.sizes = form, form.scaler, (len(form.columns),)
        ends = itertools.accumulate((column.width for column in form.columns), initial=0)
        self.spans = [slice(*each) for each in itertools.pairwise(ends)]
        self.numbers = [place for place, column in enumerate(form.columns) if column.scaled]
        self.others = [place for place, column in enumerate(form.columns) if not column.scaled]
        self.number_places = [self.spans[column].start for column in self.numbers]
        # numbers are scaled together and come first: these are their ways back to the order of the columns
        joined = [*self.numbers, *self.others]
        places = [place for column in joined for place in range(self.spans[column].start, self.spans[column].stop)]
        self.order, self.column_order = np.argsort(places).tolist(), np.argsort(joined).tolist()

    def pack(self, raw: Tensor) -> Tensor:
        blocks = [_places(self.form.columns[place], raw[:, place : place + 1]) for place in self.others]
        if self.numbers:
            blocks.insert(0, self.scaler(_taken(raw, self.numbers)))
        return _taken(torch.cat(blocks, dim=1), self.order)

    def unpack(self, packed: Tensor) -> Tensor:
        blocks = [_cell(self.form.columns[place], packed[:, self.spans[place]]) for place in self.others]
        if self.numbers:
            blocks.insert(0, self.scaler.inverse(_taken(packed, self.number_places)))
        return _taken(torch.cat(blocks, dim=1), self.column_order)

    def described(self) -> dict[str, Any]:
        return {"columns": [_described(column) for column in self.form.columns]}

    def read(self, packed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        data = self.form.unpack(packed)
        if isinstance(data, np.ndarray):
            offered = np.zeros((len(data), len(self.form.offered)))
            offered[:, [self.form.offered.index(name) for name in self.form.cell_names()]] = data
            return data, self.form.pack(offered).samples
        frame = Frame(data)
        raw = np.column_stack([_encoded(column, frame) for column in self.form.columns])
        return raw, self.form.pack(frame).samples

    def distance(self, raw: np.ndarray, packed: np.ndarray) -> float:
        far = [self._scaled_distance(raw[:, self.numbers], packed[:, self.number_places])] if self.numbers else []
        for place in self.others:
            places = packed[:, self.spans[place]]
            differs = raw[:, place] != _cell(self.form.columns[place], torch.from_numpy(places)).numpy()[:, 0]
            # it may differ where the model could nearly as well have said the other
            far.append(float(np.max(_lead(places[differs]), initial=0.0)))
        return float(np.max(far))


def _taken(x: Tensor, places: list[int]) -> Tensor:
    """Columns of `x`; itself where they are all in order, since taking them is slow in a graph."""
    return x if places == list(range(x.shape[1])) else x.index_select(1, torch.tensor(places))


def _places(column: Column, cells: Tensor) -> Tensor:
    """Raw cells (n, 1) of a flag or a category as its places (n, width), as `Column.read` makes them of a user's."""
    missing = cells.isnan()
    if isinstance(column, Flag):
        plain = (cells == 0) | (cells == 1) | missing
        return torch.where(plain, cells, float(column.rare)).float()
    known = cells == torch.arange(column.width - 1, dtype=cells.dtype)
    places = torch.cat([known, ~known.any(1, keepdim=True)], dim=1).float()
    return places.masked_fill(missing, torch.nan)


def _cell(column: Column, places: Tensor) -> Tensor:
    """Places (n, width) of a flag or a category as raw cells (n, 1), as `Column.write` has them."""
    said = places >= 0.5 if isinstance(column, Flag) else places.argmax(1, keepdim=True)
    return said.double()


def _encoded(column: Column, frame: Frame) -> np.ndarray:
    """A column of a user's table as raw numbers (n,)."""
    places = column.read(frame, [])
    return np.where(np.isnan(places[:, 0]), np.nan, places.argmax(1) if isinstance(column, Category) else places[:, 0])


def _lead(places: np.ndarray) -> np.ndarray:
    """How far the likeliest answer of a flag or a category was ahead of the second, from 0 to 1."""
    shares = places if places.shape[1] > 1 else np.concatenate([places, 1 - places], axis=1)
    ascending = np.sort(shares, axis=1)
    return np.asarray(ascending[:, -1] - ascending[:, -2])


def _described(column: Column) -> dict[str, Any]:
    document: dict[str, Any] = {"name": column.name, "type": column.kind}
    if isinstance(column, Category):
        document["words"] = list(column.words)
    if isinstance(column, Date):
        document["unit"] = "seconds since 1970-01-01" + (" UTC" if column.zone else "")
    return document


@final
class RawWindows(RawForm):
    """Windows of a series, (steps, channels) each."""

    samples = "windows"

    def __init__(self, form: SeriesFormat) -> None:
        super().__init__()
        self.form, self.scaler, self.sizes = form, form.scaler, form.layout.shape

    def pack(self, raw: Tensor) -> Tensor:
        return self.scaler(raw)  # type: ignore[no-any-return]

    def unpack(self, packed: Tensor) -> Tensor:
        return self.scaler.inverse(packed)

    def described(self) -> dict[str, Any]:
        rule, sampling = self.form.rule, self.form.sampling
        window: dict[str, Any] = {"steps": rule.steps, "stride": rule.stride}
        window |= {} if rule.calendar is None else {"aligned_to_seconds": rule.calendar}
        window |= {} if sampling is None else {"step": sampling.step, "step_in_seconds": sampling.clock}
        return {"channels": list(self.form.schema.channels), "window": window}

    def read(self, packed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        raw = self.scaler.unscale(packed)
        return raw, self.scaler.scale(raw)

    def distance(self, raw: np.ndarray, packed: np.ndarray) -> float:
        return self._scaled_distance(raw, packed)


@final
class RawPictures(RawForm):
    """Pictures, or tiles of them, (channels, height, width) each."""

    samples = "pictures"

    def __init__(self, form: ImageFormat) -> None:
        super().__init__()
        self.form, self.scaler, self.sizes = form, form.scaler, form.layout.shape

    def pack(self, raw: Tensor) -> Tensor:
        return self.scaler(raw.movedim(1, -1)).movedim(-1, 1)  # type: ignore[no-any-return]

    def unpack(self, packed: Tensor) -> Tensor:
        return self.scaler.inverse(packed.movedim(1, -1)).movedim(-1, 1)

    def described(self) -> dict[str, Any]:
        black, white = self.form.span
        facts = {"channels": list(self.form.channel_names), "height": self.form.size[0], "width": self.form.size[1]}
        return facts | {"black": black, "white": white, "tile": self.form.settings.tile}

    def read(self, packed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        raw = self.scaler.unscale(np.moveaxis(packed, 1, -1))
        return np.moveaxis(raw, -1, 1), np.moveaxis(self.scaler.scale(raw), -1, 1)

    def distance(self, raw: np.ndarray, packed: np.ndarray) -> float:
        return self._scaled_distance(np.moveaxis(raw, 1, -1), np.moveaxis(packed, 1, -1))


def raw_form(form: Format) -> RawForm:
    """The raw form of a model's data; `UsageError` for recordings, which no graph turns into spectrograms."""
    if isinstance(form, TableFormat):
        return RawTable(form)
    if isinstance(form, SeriesFormat):
        return RawWindows(form)
    if isinstance(form, ImageFormat):
        return RawPictures(form)
    what = "a model of sound is not exported: its recordings become spectrogram tiles outside of the network"
    raise UsageError(what, where="export", how="use the model itself: hourglass detect, denoise or reconstruct")
