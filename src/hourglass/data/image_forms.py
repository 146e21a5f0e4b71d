"""How pictures were given (files, arrays, rows of pixels, columns of a table), so that results come back alike."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self, TypeVar

import numpy as np
import pyarrow as pa

from hourglass.data.formats import Data, Result
from hourglass.data.pixels import as_type, full_scale, recoloured, with_channels
from hourglass.data.samples import Frame, Pictures, Recordings
from hourglass.data.times import counted, is_number
from hourglass.errors import DataError, SchemaError, UsageError
from hourglass.settings import did_you_mean

PICTURES, ARRAY, ROWS = "pictures", "array", "rows"
_BLOCK = 1 << 22
"""Numbers handled at a time."""
Size = tuple[int, int]
T = TypeVar("T")


@dataclass(frozen=True)
class Form:
    """What a collection of pictures is held in."""

    kind: str
    """`Pictures`; an array of 3 or 4 dimensions; or rows of pixels: of an array, or the columns of a table."""
    kind_of_number: str = "float64"
    dimensions: int = 0
    """Of the array."""
    channels_first: bool = False
    columns: tuple[str, ...] = ()
    """The pixels' columns in a table with names."""
    shape: tuple[int, ...] = ()
    """Height, width and channels of a picture that is given as a row."""

    def as_json(self) -> dict[str, Any]:
        return {key: list(value) if isinstance(value, tuple) else value for key, value in vars(self).items()}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Self:
        values: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in document.items()}
        form = cls(**values)
        if form.kind not in (PICTURES, ARRAY, ROWS) or (form.kind == ROWS) != (len(form.shape) == 3):
            raise ValueError(f"got pictures held in {form}")
        return form


@dataclass(frozen=True)
class Given:
    """Pictures as they were given, seen as arrays."""

    arrays: Sequence[np.ndarray] | np.ndarray
    """Each (height, width) or (height, width, channels); one array (n, height, width, channels) where all are alike."""
    form: Form
    table: pa.Table | None = None
    """What is known of each picture, where they came as `Pictures`."""
    source: str = "the pictures"

    def __len__(self) -> int:
        return len(self.arrays)

    @property
    def sizes(self) -> list[Size]:
        """Height and width of each picture."""
        return self._each(lambda array: (int(array.shape[0]), int(array.shape[1])))

    @property
    def channels(self) -> list[int]:
        return self._each(lambda array: int(array.shape[2]) if array.ndim == 3 else 1)

    @property
    def kinds(self) -> list[np.dtype]:
        """The type of number in each picture."""
        return self._each(lambda array: array.dtype)

    def _each(self, fact: Callable[[np.ndarray], T]) -> list[T]:
        if isinstance(self.arrays, np.ndarray):  # all are alike
            return [fact(self.arrays[0])] * len(self.arrays)
        return [fact(array) for array in self.arrays]

    def name(self, picture: int) -> str:
        """A picture in words."""
        return f"picture {picture}" if self.table is None else str(self.table.column("name")[picture].as_py())

    def only(self, chosen: np.ndarray) -> Given:
        """Some of the pictures."""
        if isinstance(self.arrays, np.ndarray):
            arrays: Sequence[np.ndarray] | np.ndarray = self.arrays[chosen]
        else:
            arrays = [self.arrays[picture] for picture in chosen.tolist()]
        table = None if self.table is None else self.table.take(pa.array(chosen))
        return dataclasses.replace(self, arrays=arrays, table=table)

    def blocks(self) -> Iterator[tuple[int, np.ndarray]]:
        """Stretches of pictures of one size and type, (n, height, width, channels), with the number of their first."""
        if isinstance(self.arrays, np.ndarray):
            most = max(1, _BLOCK // max(1, self.arrays[0].size))
            yield from ((first, self.arrays[first : first + most]) for first in range(0, len(self), most))
            return
        start = 0
        for _, alike in itertools.groupby(self.arrays, key=lambda each: (each.shape, each.dtype)):
            pictures = list(alike)
            most = max(1, _BLOCK // max(1, pictures[0].size))
            for first in range(0, len(pictures), most):
                block = np.stack([with_channels(each) for each in pictures[first : first + most]])
                yield start + first, block
            start += len(pictures)

    def checked(self) -> Given:
        """Itself; `DataError` where a picture has no pixels or an infinite one."""
        if not len(self):
            raise DataError("got no pictures", where=self.source, how="give at least one")
        for start, block in self.blocks():
            if not block.size:
                what = f"got a picture of shape {block.shape[1:]}, which has no pixel"
                raise DataError(what, where=self.name(start), how="leave it out")
            if block.dtype.kind == "f" and np.isinf(block).any():
                place = np.argwhere(np.isinf(block))[0]
                where = f"{self.name(start + int(place[0]))}, pixel ({place[1]}, {place[2]})"
                raise DataError(
                    "the value is infinity", where=where, how="give a finite number, or NaN for a missing one"
                )
        return self


def given(
    data: Data,
    *,
    columns: tuple[str, ...] | None,
    ignore: tuple[str, ...],
    shapes: Sequence[tuple[int, ...]],
    notices: list[str],
) -> Given:
    """Pictures from any form of data. A row of pixels has the first of `shapes` (height, width, channels) that it fits.

    Without shapes it is square where its number of pixels is a square, else one line. Arrays have their channels last,
    or first where only that can be.
    """
    if isinstance(data, Pictures):
        return _checked_pictures(data).checked()
    if isinstance(data, Recordings):
        how = "recordings need the modality audio"
        raise SchemaError("got recordings, wanted pictures", where=data.source, how=how)
    if isinstance(data, Frame):
        return _from_frame(data, columns, ignore, shapes, notices).checked()
    array = numeric(data)
    if array.ndim == 2:
        return _rows(array, (), shapes).checked()
    return _from_array(array, notices).checked()


def numeric(data: Any) -> np.ndarray:
    """An array of real numbers in its own type; flags become 0 and 1."""
    array = np.asarray(data)
    if array.dtype.kind == "O":
        try:
            array = array.astype(np.float64)
        except (TypeError, ValueError) as error:
            raise DataError("holds something that is not a number", where="the data", how=str(error)) from error
    if array.dtype.kind not in "buif":
        raise DataError(f"got an array of {array.dtype}, wanted numbers", how="convert it first: array.astype(float)")
    return array.astype(np.uint8) if array.dtype.kind == "b" else array


def _checked_pictures(data: Pictures) -> Given:
    arrays = (
        [numeric(each) for each in data.arrays] if not isinstance(data.arrays, np.ndarray) else numeric(data.arrays)
    )
    if data.table.num_rows != len(arrays) or "name" not in data.table.column_names:
        what = (
            f"got {len(arrays)} pictures and a table of {data.table.num_rows} rows, wanted a row with a name for each"
        )
        raise DataError(what, where=data.source, how="Pictures(arrays, table, source), the table with a column `name`")
    if isinstance(arrays, np.ndarray) and arrays.ndim in (3, 4) and len(arrays):
        alike = arrays[..., None] if arrays.ndim == 3 else arrays
        return Given(alike, Form(PICTURES, str(arrays.dtype)), data.table, data.source)
    for picture, array in enumerate(arrays):
        if array.ndim not in (2, 3):
            what = f"got a picture of shape {array.shape}, wanted (height, width) or (height, width, channels)"
            raise DataError(what, where=data.where(picture), how="of many pictures, give a list")
    kinds = sorted({array.dtype for array in arrays}, key=lambda kind: (kind.kind, kind.itemsize))
    number = str(np.result_type(*kinds)) if kinds else "uint8"
    return Given(arrays, Form(PICTURES, number), data.table, data.source)


def _from_array(array: np.ndarray, notices: list[str]) -> Given:
    if array.ndim not in (3, 4) or not array.size:
        how = "give (pictures, height, width), (pictures, height, width, channels), or (pictures, pixels)"
        reshape = " (Reshape your data: one picture is picture[None])" if array.ndim == 1 else ""
        raise DataError(f"got an array of shape={array.shape}, wanted pictures", how=how + reshape)
    if array.ndim == 3 and array.shape[2] in (3, 4) and array.shape[1] > 8 and array.shape[0] > 8:
        what = f"got an array of shape={array.shape}, which looks like one picture with colours"
        raise DataError(what, how="give several: [picture, picture] or an array (pictures, height, width, channels)")
    form = Form(ARRAY, str(array.dtype), array.ndim)
    if array.ndim == 4 and array.shape[1] <= 4 < array.shape[3]:
        notices.append(f"an array of shape {array.shape} is read with its channels first")
        return Given(np.moveaxis(array, 1, -1), dataclasses.replace(form, channels_first=True), source="the array")
    return Given(array[..., None] if array.ndim == 3 else array, form, source="the array")


def _rows(array: np.ndarray, columns: tuple[str, ...], shapes: Sequence[tuple[int, ...]]) -> Given:
    shape = _row_shape(array.shape[1], shapes)
    form = Form(ROWS, str(array.dtype), 2, False, columns, shape)
    return Given(array.reshape(len(array), *shape), form, source="the rows")


def _row_shape(pixels: int, shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    fitting = [shape for shape in shapes if math.prod(shape) == pixels]
    if shapes and not fitting:
        wanted = " or ".join(f"{math.prod(shape)} ({' x '.join(map(str, shape[:2]))})" for shape in shapes)
        how = "give pictures of the size that the model was fitted on, or another --size"
        raise SchemaError(f"got rows of {counted(pixels, 'pixel')}, wanted {wanted}", how=how)
    side = math.isqrt(pixels)
    return fitting[0] if fitting else (side, side, 1) if side * side == pixels else (1, pixels, 1)


def _from_frame(
    frame: Frame,
    columns: tuple[str, ...] | None,
    ignore: tuple[str, ...],
    shapes: Sequence[tuple[int, ...]],
    notices: list[str],
) -> Given:
    names = _pixel_columns(frame, columns, ignore, notices)
    if not frame.table.num_rows:
        raise DataError("got no rows", where=frame.source, how="give a row for each picture")
    array = np.column_stack([_column(frame, name) for name in names])
    return dataclasses.replace(_rows(array, () if frame.unnamed else tuple(names), shapes), source=frame.source)


def _pixel_columns(
    frame: Frame, columns: tuple[str, ...] | None, ignore: tuple[str, ...], notices: list[str]
) -> list[str]:
    names = frame.table.column_names
    for name in columns or ():
        if name not in names:
            raise SchemaError(f"there is no column {name!r}", where=frame.source, how=did_you_mean(name, names))
    used = [name for name in columns or names if name not in ignore]
    other = [name for name in used if not is_number(frame.table.schema.field(name).type)]
    notices.extend(f"column {name!r} holds no numbers and is left out" for name in other)
    if len(used) == len(other):
        how = "give a folder of pictures, or a table with a column of numbers for each pixel"
        raise DataError("got no column of numbers, wanted one for each pixel", where=frame.source, how=how)
    return [name for name in used if name not in other]


def _column(frame: Frame, name: str) -> np.ndarray:
    column = frame.table.column(name)
    plain = (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)) and not column.null_count
    return np.asarray(column.to_numpy() if plain else column.cast(pa.float64()).to_numpy())


def check_ignored(frame: Frame, ignore: tuple[str, ...]) -> None:
    """Refuse to leave out a column that is not there."""
    for name in ignore:
        if name not in frame.table.column_names:
            how = did_you_mean(name, frame.table.column_names)
            raise UsageError(f"ignore names {name!r}, which is not a column", where=frame.source, how=how)


@dataclass(frozen=True)
class Origin:
    """What pictures were like when they were given."""

    form: Form
    sizes: Sequence[Size]
    channels: Sequence[int]
    kinds: Sequence[np.dtype]
    """The type of number in each picture."""
    table: pa.Table | None = None

    @classmethod
    def of(cls, pictures: Given) -> Self:
        return cls(pictures.form, pictures.sizes, pictures.channels, pictures.kinds, pictures.table)

    @property
    def names(self) -> list[str]:
        """What each picture is called."""
        if self.table is None:
            return [f"picture {picture}" for picture in range(len(self.sizes))]
        return [str(name) for name in self.table.column("name").to_pylist()]

    def back(self, pictures: Iterable[np.ndarray], units: str) -> Result:
        """Pictures (height, width, channels) of their given sizes, in numbers of the type `units`, as they were given.

        One array (n, height, width, channels) is handled as a whole.

        `Pictures` hold the given types again, rounded; arrays and tables hold floats.
        """
        if self.form.kind == PICTURES:
            table = self.table if self.table is not None else numbered(len(self.sizes))
            return Pictures(self._typed(pictures, units), table)
        whole = pictures if isinstance(pictures, np.ndarray) else np.stack(list(pictures))
        array = recoloured(whole * ratio(units, self.kinds[0]), self.channels[0])
        if self.form.kind == ARRAY:
            array = np.moveaxis(array, -1, 1) if self.form.channels_first else array
            return array[..., 0] if self.form.dimensions == 3 else array
        rows = array.reshape(len(array), -1)
        names = self.form.columns
        return pa.table(dict(zip(names, rows.T.copy(), strict=True))) if names else rows

    def _typed(self, pictures: Iterable[np.ndarray], units: str) -> list[np.ndarray]:
        """Pictures in the types that were given; grey ones without a third dimension."""
        if isinstance(pictures, np.ndarray) and len(set(self.kinds)) == 1:
            typed: Iterable[np.ndarray] = as_type(pictures, self.kinds[0], ratio(units, self.kinds[0]))
        else:
            pairs = zip(pictures, self.kinds, strict=True)
            typed = (as_type(each, kind, ratio(units, kind)) for each, kind in pairs)
        return [each[:, :, 0] if each.shape[2] == 1 else each for each in typed]


def ratio(units: str, kind: np.dtype) -> float:
    """What numbers of the type `units` are multiplied by to be numbers of the type `kind`: white stays white."""
    ours, theirs = full_scale(units), full_scale(kind)
    return theirs / ours if ours and theirs else 1.0


def numbered(count: int) -> pa.Table:
    """Names for pictures that have none: their numbers, as wide as the largest."""
    width = len(str(max(count - 1, 0)))
    return pa.table({"name": pa.array([f"{picture:0{max(width, 4)}d}" for picture in range(count)], pa.string())})
