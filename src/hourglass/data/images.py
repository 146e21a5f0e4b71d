"""Pictures become samples (channels, height, width), whole or as tiles, and what a model says comes back to pictures.

data -> Given (image_forms.py)  pictures as arrays, whatever they came in: files, arrays, rows of pixels, columns
     -> pixels.py               one colouring, one size
     -> Tiles (tiles.py)        squares that cover large pictures
     -> Scaler (scaling.py)     packed samples (n, channels, height, width), float32
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self, final

import numpy as np
import pyarrow as pa
import torch

from hourglass.data.formats import Data, Format, FormatSettings, Result, Rows, plain_values
from hourglass.data.image_forms import PICTURES, ROWS, Form, Given, Origin, Size, check_ignored, given, numbered, ratio
from hourglass.data.pixels import PixelNames, as_type, full_scale, recoloured, resized
from hourglass.data.samples import Frame, Layout, Packed, Pictures, oddest_parts
from hourglass.data.scaling import Identity, MinMax, Scaler, Standardise
from hourglass.data.tiles import Tiles
from hourglass.data.times import counted
from hourglass.errors import DataError, ModelFileError, UsageError
from hourglass.settings import option

LONGEST_SIDE = 256
"""Of larger pictures so much is learned from where neither a size nor a tile is asked for."""
_SCALINGS: dict[str, type[Scaler]] = {"unit": MinMax, "standard": Standardise, "none": Identity}
_COLOURS = {"grey": 1, "rgb": 3, "rgba": 4}
_CHANNELS = {1: ("grey",), 3: ("red", "green", "blue"), 4: ("red", "green", "blue", "alpha")}


@dataclass(frozen=True)
class ImageSettings(FormatSettings):
    """How pictures are brought to one size, coloured and scaled."""

    name = "image"

    size: tuple[int, ...] | None = option(
        None, "height,width that pictures are brought to (default: their own, at most 256 a side)", low=1
    )
    tile: int | None = option(None, "cut pictures into squares of so many pixels a side, and join them again", low=1)
    overlap: int = option(0, "pixels that neighbouring tiles have in common, at least: one fades into the other", low=0)
    colour: str = option("auto", "channels (auto: grey where no picture has colour)", choices=("auto", *_COLOURS))
    scaling: str = option(
        "unit", "unit: black 0, white 1; standard: mean 0, deviation 1 for each channel", choices=tuple(_SCALINGS)
    )
    columns: tuple[str, ...] | None = option(None, "a table's columns of pixels (default: every column of numbers)")
    ignore: tuple[str, ...] | None = option(None, "columns of a table to leave out, such as a label")

    def fit(self, data: Data) -> ImageFormat:
        """Learn size, colouring and scale from `Pictures`, an array, or a table whose rows are pictures.

        Arrays are (n, height, width), (n, height, width, channels), or (n, pixels): then each row is one picture.
        """
        notices: list[str] = []
        if self.tile and self.overlap >= self.tile:
            how = f"a quarter of the tile, {self.tile // 4}, hides the seams"
            raise UsageError(f"got {self.overlap}, and a tile has {self.tile}", where="format.overlap", how=how)
        if isinstance(data, Frame):
            check_ignored(data, self.ignore or ())
        asked = self.asked_size()
        found = given(data, columns=self.columns, ignore=self.ignore or (), shapes=(), notices=notices)
        if found.form.kind == ROWS and asked and asked[0] * asked[1] == found.arrays[0].size:
            found = given(data, columns=self.columns, ignore=self.ignore or (), shapes=[(*asked, 1)], notices=[])
        size = (self.tile, self.tile) if self.tile else asked or _usual_size(found, notices)
        units, channels = found.form.kind_of_number, self._channels(found)
        span, fixed = _span(found, units)
        if fixed and span[1] == 1:
            notices.append("the largest value is 1: black is taken as 0, and white as 1")
        form = ImageFormat(self, found.form, size, channels, units, span, fixed, Identity(), notices)
        form = form.scaled_by(found)
        notices.extend(form.oddities(found))
        return form

    def asked_size(self) -> Size | None:
        """The height and width asked for; one number is both."""
        if self.size is None:
            return None
        if len(self.size) > 2:
            what = f"got {len(self.size)} numbers, wanted height,width"
            raise UsageError(what, where="format.size", how="such as --size 64,64")
        return self.size[0], self.size[-1]

    def _channels(self, found: Given) -> int:
        counts = set(found.channels)
        if self.colour != "auto":
            return _COLOURS[self.colour]
        if found.form.kind == PICTURES and max(counts) <= 4:
            return 3 if max(counts) > 2 else 1
        if len(counts) > 1:
            what = f"got pictures of {sorted(counts)} channels, wanted equally many"
            raise DataError(what, where=found.source, how="--set format.colour=rgb makes them alike")
        return counts.pop()


def _usual_size(found: Given, notices: list[str]) -> Size:
    """The size that all pictures have, or their median height and width; of large pictures the longest side is 256."""
    height, width = (max(1, round(float(np.median(sides)))) for sides in zip(*found.sizes, strict=True))
    longest = max(height, width)
    if found.form.kind == ROWS or longest <= LONGEST_SIDE:
        return height, width
    small = tuple(max(1, round(side * LONGEST_SIDE / longest)) for side in (height, width))
    remedy = f"--size {height},{width} keeps the size, --tile 64 looks at every detail"
    notices.append(f"pictures of {height} x {width} are learned at {small[0]} x {small[1]}: {remedy}")
    return small[0], small[1]


def _span(found: Given, units: str) -> tuple[tuple[float, float], bool]:
    """What is black and what is white, and whether the type says so: else they are the smallest and largest value."""
    with np.errstate(invalid="ignore"):
        ends = [(np.fmin.reduce(block, axis=None), np.fmax.reduce(block, axis=None)) for _, block in found.blocks()]
    low, high = (float(end) for end in (np.fmin.reduce([e[0] for e in ends]), np.fmax.reduce([e[1] for e in ends])))
    if np.isnan(low):
        how = "give pictures that are not all NaN"
        raise DataError("every pixel is missing, wanted at least one number", where=found.source, how=how)
    white = full_scale(units)
    if white and high > 1:
        return (0.0, white), True
    whole = np.dtype(units).kind in "iu"
    if whole and low >= 0 and high == 1:
        return (0.0, 1.0), True
    if whole and low >= 0 and 128 <= high <= 255:  # bytes that went through a table
        return (0.0, 255.0), True
    return (low, high), False


@final
@dataclass(eq=False)
class ImageFormat(Format):
    """Pictures as packed samples of shape (channels, height, width), and back."""

    modality: ClassVar[str] = "image"

    settings: ImageSettings
    form: Form
    """What the training pictures were held in."""
    size: Size
    """Height and width of a sample: of a tile, where pictures are cut."""
    channels: int
    units: str
    """The type of number that pixels are brought to."""
    span: tuple[float, float]
    """Black and white in these units."""
    fixed: bool
    """Whether the span is the type's own; otherwise it was seen in the training pictures."""
    scaler: Scaler
    notices: list[str]
    layout: Layout = field(init=False)

    def __post_init__(self) -> None:
        self.layout = Layout((self.channels, *self.size))

    @property
    def channel_names(self) -> tuple[str, ...]:
        return _CHANNELS.get(self.channels, tuple(f"channel_{place}" for place in range(self.channels)))

    @property
    def whole_size(self) -> Size | None:
        """The size that whole pictures are brought to; None where they keep their own and are cut into tiles."""
        return self.settings.asked_size() if self.settings.tile else self.size

    def pack(self, data: Data) -> Packed:
        """Pictures as samples. Those of another size or colouring are brought to the model's, with a notice."""
        notices: list[str] = []
        found = self._given(data, notices)
        notices.extend(self.oddities(found))
        place = Placed(Origin.of(found), self._tiles(found))
        count = len(found) if place.tiles is None else int(place.tiles.starts[-1])
        samples = np.empty((count, *self.layout.shape), dtype=np.float32)
        for start, block in found.blocks():
            scaled = self._scaled(self._prepared(block))
            if place.tiles is None:
                samples[start : start + len(block)] = np.moveaxis(scaled, -1, 1)
                continue
            for picture, pixels in enumerate(scaled, start):
                first, end = place.tiles.starts[picture : picture + 2]
                samples[first:end] = np.moveaxis(place.tiles.cut(pixels, picture), -1, 1)
        return Packed(samples, place, notices, groups=None if place.tiles is None else place.tiles.groups)

    def pack_like(self, data: Data, places: object) -> Packed:
        return self.pack(data)

    def rescaled(self, data: Data, chosen: np.ndarray) -> ImageFormat:
        """The same format, its scale learned from the pictures of the chosen samples only."""
        if self.settings.scaling == "none" or (self.fixed and self.settings.scaling == "unit"):
            return self
        found = self._given(data, [])
        tiles = self._tiles(found)
        return self.scaled_by(found.only(chosen if tiles is None else np.unique(tiles.groups[chosen])))

    def scaled_by(self, found: Given) -> ImageFormat:
        """The same format with the scale of these pictures."""
        return dataclasses.replace(self, scaler=self._scaler(found))

    def _scaler(self, found: Given) -> Scaler:
        if self.settings.scaling == "none":
            return Identity()
        if self.settings.scaling == "unit" and self.fixed:
            return MinMax.fit(np.array(self.span)[:, None])
        numbers = np.concatenate([self._prepared(block).reshape(-1, self.channels) for _, block in found.blocks()])
        return MinMax.fit(numbers, "all") if self.settings.scaling == "unit" else Standardise.fit(numbers)

    def _given(self, data: Data, notices: list[str]) -> Given:
        settings, form = self.settings, self.form
        if form.kind == ROWS:
            shapes: list[tuple[int, ...]] = [form.shape]
        else:
            shapes = [] if settings.tile else [(*self.size, 1), (*self.size, self.channels)]
        columns, ignore = settings.columns, settings.ignore or ()
        if isinstance(data, Frame) and set(form.columns) <= set(data.table.column_names):
            columns = form.columns or columns
        return given(data, columns=columns, ignore=ignore, shapes=shapes, notices=notices)

    def _tiles(self, found: Given) -> Tiles | None:
        side, whole = self.settings.tile, self.whole_size
        sizes = [whole] * len(found) if whole else found.sizes
        return None if side is None else Tiles(side, sizes, self.settings.overlap)

    def _prepared(self, block: np.ndarray) -> np.ndarray:
        """Pictures (n, h, w, c) in the model's units, colouring and size; as they are where nothing is to be done."""
        times = ratio(str(block.dtype), np.dtype(self.units))
        coloured = recoloured(block, self.channels)
        coloured = coloured if times == 1 else coloured * times
        return coloured if self.whole_size is None else resized(coloured, *self.whole_size)

    def _scaled(self, pixels: np.ndarray) -> np.ndarray:
        """Pixels (..., channels) scaled, float32. There are few bytes: each is scaled once, and then looked up."""
        white = full_scale(pixels.dtype)
        if white is None or pixels.size <= white:
            return self.scaler.scale(pixels)
        table = self.scaler.scale(np.repeat(np.arange(int(white) + 1)[:, None], self.channels, axis=1))
        return np.take(table[:, 0], pixels) if self.channels == 1 else table[pixels, np.arange(self.channels)]

    def oddities(self, found: Given) -> list[str]:
        """What is accepted although odd, one sentence each."""
        count, notices = len(found), []

        def note(odd: list[int], what: str, remedy: str = "") -> None:
            some = f"{len(odd):,} of {counted(count, 'picture')} (the first: {found.name(odd[0])})" if odd else ""
            every = f"all {counted(count, 'picture')}" if count > 1 else "the picture"
            notices.extend([f"{every if len(odd) == count else some} {what}{remedy}"] if odd else [])

        sizes, channels = found.sizes, found.channels
        if self.whole_size:
            odd = [picture for picture, size in enumerate(sizes) if size != self.whole_size]
            note(odd, f"resized to {self.whole_size[0]} x {self.whole_size[1]} pixels")
        if self.settings.tile:
            side, kept = self.settings.tile, [self.whole_size or size for size in sizes]
            odd = [picture for picture, size in enumerate(kept) if min(size) < side]
            note(odd, f"smaller than a tile of {side}: filled up by repeating the edge, and cropped again")
        if found.form.kind == PICTURES:
            clear = [picture for picture, each in enumerate(channels) if each in (2, 4)]
            note(
                clear if self.channels < 4 else [],
                "with transparency laid over white",
                "; --set format.colour=rgba keeps it",
            )
            grey = [picture for picture, each in enumerate(channels) if each < 3 <= self.channels]
            note(grey if len(grey) < count else [], "grey, and read as colour since others have some")
            note([picture for picture, size in enumerate(sizes) if size == (1, 1)], "of a single pixel")
        return notices

    def unpack(self, samples: np.ndarray, places: Any = None) -> Result:
        """Samples in the units and the form of the data: of those packed at `places`, or of those fitted on.

        `Pictures` in their own type, rounded; arrays and tables of floats. Tiles are joined, sizes restored.
        """
        samples = np.asarray(samples).reshape(-1, *self.layout.shape)
        place = places if isinstance(places, Placed) else self._as_fitted(len(samples))
        tiles, sizes = place.tiles, place.origin.sizes
        if tiles is None and set(sizes) <= {self.size}:
            return place.origin.back(self._unscaled(samples), self.units)
        if tiles is None:
            pictures = (self._unscaled(sample[None])[0] for sample in samples)
        else:
            parts = enumerate(np.split(samples, tiles.starts[1:-1]))
            pictures = (tiles.stitched(self._unscaled(part), picture) for picture, part in parts)
        given = (resized(each[None], *size)[0] for each, size in zip(pictures, sizes, strict=True))
        return place.origin.back(given, self.units)

    def _unscaled(self, samples: np.ndarray) -> np.ndarray:
        """Samples in units, their channels last."""
        return self.scaler.unscale(np.ascontiguousarray(np.moveaxis(samples, 1, -1)))

    def _as_fitted(self, count: int) -> Placed:
        """Where samples without a place belong: each is a picture of its own, in the form of the training pictures."""
        rows = self.form.kind == ROWS and not self.settings.tile
        form = self.form if rows or self.form.kind != ROWS else dataclasses.replace(self.form, kind=PICTURES)
        size = (self.form.shape[0], self.form.shape[1]) if rows else self.size
        channels = self.form.shape[2] if rows else 1 if form.dimensions == 3 else self.channels
        return Placed(Origin(form, [size] * count, [channels] * count, [np.dtype(self.units)] * count))

    def as_pictures(self, result: Result) -> Pictures:
        """A result of this model as pictures that files can hold: floats become bytes, from its black to its white."""
        if isinstance(result, Pictures):
            found = result
        else:
            data = Frame(result) if isinstance(result, pa.Table) else result
            raw = self._given(data, [])
            found = Pictures(list(raw.arrays), numbered(len(raw)))
        kind = np.dtype(self.units if full_scale(self.units) else "uint8")
        arrays = [each if full_scale(each.dtype) else as_type(self._shown(each, kind), kind) for each in found.arrays]
        grey = [each[:, :, 0] if each.ndim == 3 and each.shape[2] == 1 else each for each in arrays]
        return dataclasses.replace(found, arrays=grey)

    def _shown(self, pixels: np.ndarray, kind: np.dtype) -> np.ndarray:
        low, high = self.span
        return (pixels - low) / max(high - low, 1e-300) * float(np.iinfo(kind).max)

    def rows(self, scores: np.ndarray, places: Any) -> Rows:
        """A picture is as odd as its oddest tile. It is known by its name, or else by its number."""
        place = places if isinstance(places, Placed) else self._as_fitted(len(scores))
        groups = None if place.tiles is None else place.tiles.groups
        score = oddest_parts(np.asarray(scores, dtype=np.float64), groups)
        table = place.origin.table
        index = pa.array(np.arange(len(score))) if table is None else table.column("name").combine_chunks()
        return Rows(index, score, np.ones(len(score), dtype=bool))

    def labels(self, places: Placed) -> list[str]:
        """Samples in words: `good/003.png`, `picture 5`, `good/003.png, tile at (64, 0)`."""
        names, tiles = places.origin.names, places.tiles
        if tiles is None:
            return names
        corners = zip(names, tiles.corners, strict=True)
        return [f"{name}, tile at ({row}, {column})" for name, each in corners for row, column in each.tolist()]

    def rows_in_units(self, samples: np.ndarray) -> list[list[Any]]:
        """Each sample's pixels in units, channel by channel; None where missing."""
        return plain_values(np.moveaxis(self._unscaled(samples.reshape(-1, *self.layout.shape)), -1, 1))

    def cell_names(self) -> Sequence[str]:
        """`pixel (3, 4)`, or `pixel (3, 4) red`: row and column from 0, within the picture or the tile."""
        return PixelNames(self.channel_names, *self.size)

    def document(self) -> dict[str, Any]:
        names = ("channels", "units", "fixed")
        return {
            "settings": self.settings.as_json(),
            "form": self.form.as_json(),
            "size": list(self.size),
            "span": list(self.span),
            "notices": list(self.notices),
            **{name: getattr(self, name) for name in names},
        }

    def tensors(self) -> dict[str, torch.Tensor]:
        return self.scaler.tensors()

    @classmethod
    def restore(cls, document: dict[str, Any], tensors: dict[str, torch.Tensor]) -> Self:
        """The format that `document` and `tensors` describe; `ModelFileError` where they do not fit together."""
        try:
            settings = ImageSettings.from_json(document["settings"])
            form = Form.from_json(document["form"])
            (height, width), (low, high) = document["size"], document["span"]
            channels, units, fixed = document["channels"], str(np.dtype(document["units"])), bool(document["fixed"])
            notices = [str(notice) for notice in document["notices"]]
            side, span = settings.tile, (float(low), float(high))
            if not isinstance(settings, ImageSettings) or not {type(n) for n in (height, width, channels)} <= {int}:
                raise ValueError("its size is none")
            if min(height, width, channels) < 1 or (side or height, side or width) != (height, width):
                raise ValueError("its size does not fit its tile")
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ModelFileError(f"the format of pictures is not described as it should be: {error!r}") from error
        scaler = _SCALINGS[settings.scaling].from_tensors(tensors)
        if any(len(tensor) not in (1, channels) for tensor in tensors.values()):
            raise ModelFileError(f"the scaler does not fit {counted(channels, 'channel')}")
        return cls(settings, form, (height, width), channels, units, span, fixed, scaler, notices)


@dataclass(frozen=True)
class Placed:
    """Where samples came from: pictures, and their tiles where they were cut."""

    origin: Origin
    tiles: Tiles | None = None
