"""Where samples came from, as bytes: what a compressed series needs to become a series again."""

from __future__ import annotations

import dataclasses
import json
import math
import zlib
from typing import Any

import numpy as np
import pyarrow as pa

from hourglass.data.formats import Data, Format
from hourglass.data.image_forms import PICTURES, Form, Origin, numbered
from hourglass.data.images import ImageFormat, Placed
from hourglass.data.limits import check_size
from hourglass.data.samples import Packed
from hourglass.data.series import SeriesFormat
from hourglass.data.tiles import Tiles, tiles_along
from hourglass.data.times import counted
from hourglass.data.windows import Windows
from hourglass.errors import HourglassError, UsageError
from hourglass.interfaces.container import array_bytes, array_from_bytes, damaged, inflated

_MOST_NAMES = 2**28
_NUMBERS = {name: name for name in ("uint8", "uint16", "int8", "int16", "int32", "int64", "float32", "float64")}
_PLAIN = {"int64": pa.int64(), "float": pa.float32(), "double": pa.float64()}


def packed_apart(form: Format, data: Data) -> Packed:
    """The samples of `data`; of a series the fewest windows that hold all of its steps.

    Detection wants windows that overlap; a compressed file would hold their steps several times.
    """
    if isinstance(form, SeriesFormat):
        form = dataclasses.replace(form, rule=dataclasses.replace(form.rule, stride=form.rule.steps))
    packed = form.pack(data)
    return dataclasses.replace(packed, notices=[*packed.notices, *_stored_twice(packed.places)])


def _stored_twice(places: Any) -> list[str]:
    if isinstance(places, Placed) and places.tiles is not None:
        return _tiles_stored_twice(places.tiles)
    if not isinstance(places, Windows):
        return []
    stored = len(places.starts) * places.steps
    twice = stored - len(np.unique(places.starts[:, None] + np.arange(places.steps)))
    return [f"windows overlap: {counted(int(twice), 'step')} of {stored:,} are stored twice"] if twice else []


def _tiles_stored_twice(tiles: Tiles) -> list[str]:
    pixels = sum(height * width for height, width in tiles.sizes)
    stored = int(tiles.starts[-1]) * tiles.side**2
    return [f"tiles overlap or reach beyond: {stored:,} pixels are stored for {pixels:,}"] if stored > pixels else []


def places_sections(places: Any) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The places of samples as JSON values and sections of bytes; nothing where each row is a sample."""
    if places is None:
        return {}, {}
    if isinstance(places, Windows):
        return _windows_sections(places)
    if isinstance(places, Placed):
        return _pictures_sections(places)
    what = "got recordings, whose phase a code does not hold"
    raise UsageError(what, where="compress", how="compress rows, pictures or series; for sound there is FLAC")


def places_from_sections(
    header: dict[str, Any], sections: dict[str, bytes], samples: np.ndarray, form: Format, where: str
) -> Windows | Placed | None:
    """The places of `samples`, as `places_sections` stored them for a model of this format."""
    try:
        if isinstance(form, SeriesFormat) and not form.schema.whole:
            return _windows_from(header["places"], sections, len(samples), where)
        if isinstance(form, ImageFormat):
            return _pictures_from(header["places"], sections, len(samples), form, where)
        if "places" in header:
            raise ValueError
        return None
    except (LookupError, TypeError, ValueError, AttributeError, pa.ArrowException) as error:
        if isinstance(error, HourglassError):
            raise
        raise damaged(where) from None


def _windows_sections(places: Windows) -> tuple[dict[str, Any], dict[str, bytes]]:
    facts: dict[str, Any] = {name: getattr(places, name) for name in ("steps", "length", "total")}
    facts |= {"rows": len(places.slots), "shape": places.shape and list(places.shape)}
    sections = {"starts": array_bytes(places.starts), "slots": array_bytes(places.slots)}
    if places.times is not None:
        facts["times"] = _type_words(places.times.type)
        sections["times"] = array_bytes(_as_integers(places.times))
    return {"places": facts}, sections


def _windows_from(facts: dict[str, Any], sections: dict[str, bytes], count: int, where: str) -> Windows:
    steps, length, total, rows = (_size(facts[name]) for name in ("steps", "length", "total", "rows"))
    check_size(8 * max(total, rows), sum(map(len, sections.values())), where)
    starts = array_from_bytes(sections["starts"], count, where)
    slots = array_from_bytes(sections["slots"], rows, where)
    shape = None if facts["shape"] is None else tuple(_size(size) for size in facts["shape"])
    times = None
    if "times" in facts:
        times = _from_integers(array_from_bytes(sections["times"], rows, where), facts["times"])
    inside = length > 0 and np.all((starts >= 0) & (starts <= total - steps)) and np.all((slots >= 0) & (slots < total))
    if not inside or (shape is not None and not _fits(shape, rows)):
        raise damaged(where)
    return Windows(starts, steps, length, total, slots, shape, None, times)


def _pictures_sections(places: Placed) -> tuple[dict[str, Any], dict[str, bytes]]:
    origin = places.origin
    kinds = sorted({str(kind) for kind in origin.kinds})
    numbers = {"sizes": origin.sizes, "channels": origin.channels, "kinds": [kinds.index(str(k)) for k in origin.kinds]}
    facts: dict[str, Any] = {"form": origin.form.as_json(), "pictures": len(origin.sizes), "kinds": kinds}
    sections = {name: array_bytes(np.array(values, dtype=np.int64).T.ravel()) for name, values in numbers.items()}
    if origin.table is not None and origin.names != numbered(len(origin.sizes)).column("name").to_pylist():
        sections["names"] = zlib.compress(json.dumps(origin.names, ensure_ascii=False).encode(), 9)
    return {"places": facts}, sections


def _pictures_from(
    facts: dict[str, Any], sections: dict[str, bytes], samples: int, form: ImageFormat, where: str
) -> Placed:
    count = _size(facts["pictures"])
    heights, widths = array_from_bytes(sections["sizes"], 2 * count, where).reshape(2, -1).tolist()
    channels, kinds = (array_from_bytes(sections[name], count, where).tolist() for name in ("channels", "kinds"))
    if min(*heights, *widths, *channels, *kinds, 0) < 0 or 0 in (*heights, *widths, *channels) or max(channels) > 4096:
        raise damaged(where)
    pixels = sum(height * width * each for height, width, each in zip(heights, widths, channels, strict=True))
    check_size(8 * pixels, sum(map(len, sections.values())) + 8 * samples * form.layout.size, where)
    names = numbered(count)
    if "names" in sections:
        names = pa.table({"name": pa.array(json.loads(inflated(sections["names"], _MOST_NAMES, where)), pa.string())})
    number_types = [np.dtype(_NUMBERS[facts["kinds"][kind]]) for kind in kinds]
    sizes = list(zip(heights, widths, strict=True))
    table = names if Form.from_json(facts["form"]).kind == PICTURES else None
    origin = Origin(Form.from_json(facts["form"]), sizes, channels, number_types, table)
    side, whole = form.settings.tile, form.whole_size
    cut = [whole] * count if whole else sizes
    parts = count if side is None else sum(_tiles_of(size, side, form.settings.overlap) for size in cut)
    if names.num_rows != count or samples != parts:
        raise damaged(where)
    tiles = None if side is None else Tiles(side, cut, form.settings.overlap)
    return Placed(origin, tiles)


def _tiles_of(size: tuple[int, int], side: int, overlap: int) -> int:
    return math.prod(tiles_along(length, side, overlap) for length in size)


def _fits(shape: tuple[int, ...], rows: int) -> bool:
    """Whether so many rows of channels can be an array of that shape."""
    return rows > 0 and int(np.prod(shape, dtype=object)) % rows == 0


def _size(value: Any) -> int:
    if not isinstance(value, int) or value < 0:
        raise ValueError
    return value


def _type_words(kind: pa.DataType) -> list[str | None]:
    return ["timestamp", kind.unit, kind.tz] if pa.types.is_timestamp(kind) else [str(kind)]


def _as_integers(times: pa.Array) -> np.ndarray:
    """Times as whole numbers: counts of their unit, or the bits of numbers with fractions."""
    if isinstance(times, pa.ChunkedArray):
        times = times.combine_chunks()
    if pa.types.is_timestamp(times.type):
        return np.asarray(times.cast(pa.int64()).to_numpy(zero_copy_only=False))
    values = times.to_numpy(zero_copy_only=False)
    return np.asarray(values if values.dtype.kind in "iu" else values.astype(np.float64).view(np.int64))


def _from_integers(values: np.ndarray, words: list[str | None]) -> pa.Array:
    if words[0] == "timestamp":
        return pa.array(values).cast(pa.timestamp(words[1], words[2]))
    kind = _PLAIN[str(words[0])]
    return pa.array(values if kind == pa.int64() else values.view(np.float64)).cast(kind)
