"""Pictures and their anomaly maps: for the report, and one by one for `detect --map`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from hourglass.core.chunks import in_chunks
from hourglass.core.fitted import FittedModel
from hourglass.data.folders import check_folder, replace_folder
from hourglass.data.images import ImageFormat, Placed
from hourglass.data.pixels import resized
from hourglass.data.samples import Packed
from hourglass.errors import DataError, UsageError
from hourglass.interfaces.drawing import coloured, png_of, with_heat
from hourglass.interfaces.outputs import check_here
from hourglass.interfaces.pictures import file_names
from hourglass.interfaces.results import Findings

_PROBED = 256
"""Samples whose errors say what a large error is."""
_LARGE = 0.999


@dataclass(frozen=True)
class Gallery:
    """The pictures that samples of a model are, or are tiles of."""

    model: FittedModel
    form: ImageFormat
    packed: Packed

    @classmethod
    def of(cls, model: FittedModel, packed: Packed) -> Gallery | None:
        """The gallery of packed pictures; None for other data."""
        return cls(model, model.format, packed) if isinstance(model.format, ImageFormat) else None

    @property
    def place(self) -> Placed:
        place: Placed = self.packed.places
        return place

    @cached_property
    def names(self) -> list[str]:
        """What each picture is called."""
        return self.place.origin.names

    def samples(self, picture: int) -> np.ndarray:
        """The samples that a picture is made of: itself, or its tiles."""
        return self.packed.samples[self._parts(picture)]

    def given(self, picture: int) -> np.ndarray:
        """A picture as the model was given it, in colours (height, width, 3) from 0 to 1."""
        return self._shown(self.samples(picture), picture)

    def given_back(self, picture: int) -> np.ndarray:
        """The same as the model reconstructs it."""
        network = self.model.network
        return self._shown(in_chunks(network.reconstruct, self.samples(picture), network.device), picture)

    def errors(self, picture: int) -> np.ndarray:
        """The error of each pixel (height, width), mean over its channels."""
        cells = self._cell_errors(self.samples(picture))
        return self._whole(cells[:, None], picture)[:, :, 0]

    def heat(self, picture: int) -> np.ndarray:
        """A picture in grey with its errors over it, in colours."""
        return with_heat(self.given(picture), self.errors(picture), self.large_error)

    @cached_property
    def large_error(self) -> float:
        """The error that maps show in full red: larger is one in a thousand pixels of these data."""
        count = len(self.packed.samples)
        probed = np.unique(np.linspace(0, count - 1, min(count, _PROBED)).astype(int))
        return float(np.quantile(self._cell_errors(self.packed.samples[probed]), _LARGE))

    def _cell_errors(self, samples: np.ndarray) -> np.ndarray:
        errors = self.model.cell_errors(samples)[0]
        return np.asarray(errors.reshape(len(samples), *self.form.layout.shape).mean(axis=1))

    def _parts(self, picture: int) -> slice:
        tiles = self.place.tiles
        return slice(picture, picture + 1) if tiles is None else slice(*tiles.starts[picture : picture + 2].tolist())

    def _shown(self, samples: np.ndarray, picture: int) -> np.ndarray:
        moved = np.ascontiguousarray(np.moveaxis(samples, 1, -1))
        units = np.moveaxis(self.form.scaler.unscale(moved), -1, 1)
        return coloured(self._whole(units, picture), *self.form.span)

    def _whole(self, values: np.ndarray, picture: int) -> np.ndarray:
        """Values of samples (parts, channels, h, w) as those of their picture (height, width, channels)."""
        last, tiles = np.moveaxis(values, 1, -1), self.place.tiles
        return last[0] if tiles is None else tiles.stitched(last, picture)


def check_maps(folder: str | None, model: FittedModel | None) -> None:
    """Refuse a place for maps that could not be written to, or a model of no pictures, before anything is done."""
    if folder is None:
        return
    check_here(folder, "--map")
    if not Path(folder).parent.is_dir():
        how = f"make the folder {Path(folder).parent} first"
        raise DataError("cannot be written: its folder does not exist", where=folder, how=how)
    check_folder(Path(folder))
    if model is not None and not isinstance(model.format, ImageFormat):
        raise UsageError("anomaly maps are drawn over pictures, and these are none", where="--map", how="leave it out")


def write_maps(folder: str | None, found: Findings, every: bool, source: str) -> None:
    """Write each flagged picture, or `every` one, with its anomaly map drawn over it, as PNG files in a folder."""
    if folder is None:
        return
    check_maps(folder, found.model)
    packed = found.detection.packed
    gallery = None if packed is None else Gallery.of(found.model, packed)
    if gallery is None:
        return
    chosen = range(len(gallery.names)) if every else found.anomalies
    files = file_names([gallery.names[picture] for picture in chosen])
    listed = [
        {"file": file, "name": gallery.names[picture], "anomaly_score": float(found.detection.rows.score[picture])}
        for file, picture in zip(files, chosen, strict=True)
    ]
    manifest: dict[str, Any] = {"source": source, "files": listed, "full_red": gallery.large_error}
    replace_folder(folder, zip(files, _drawn(gallery, chosen), strict=True), manifest)


def _drawn(gallery: Gallery, chosen: range | list[int]) -> Iterator[bytes]:
    """Each picture with its map, in the size in which it was given."""
    for picture in chosen:
        size = gallery.place.origin.sizes[picture]
        yield png_of(resized(gallery.heat(picture)[None], *size)[0])
