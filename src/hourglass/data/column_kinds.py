"""What a column of a table means to a model: a number, a flag, a date or a category; or why it is left out.

Column              abstract: read gives numbers in units, write undoes it
├── Single          abstract: takes one place
│   ├── Number          any number
│   ├── Date            a time, as seconds since 1970
│   └── Flag            true or false, or a number that is always 0 or 1
└── Category        a word: one place per known word, and a last one for every other
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hourglass.data.columns import plain_column
from hourglass.data.samples import Frame
from hourglass.errors import DataError, SchemaError

OTHER = "other"
"""What a word is called that was rare, or was not seen, when the model was fitted."""

ID_ROWS = 20
"""Up to this many rows, words that are all different may be by chance; with more they are taken for names or ids."""

_is = pa.types
_YEARS_1_TO_9999 = (-62_135_596_800.0, 253_402_300_799.0)
_NANOSECOND_RANGE = (-9_223_372_036.0, 9_223_372_036.0)
_TICKS_A_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}


@dataclass(frozen=True)
class Column(ABC):
    """One used column: how its cells become numbers, and numbers its cells. `cell` is its kind among `CELL_KINDS`."""

    kind: ClassVar[str]
    cell: ClassVar[str] = "number"
    name: str

    @property
    @abstractmethod
    def width(self) -> int:
        """Places that it takes in a packed sample."""

    @property
    def scaled(self) -> bool:
        """Whether its numbers have a unit, and so go through the scaler."""
        return self.cell == "number"

    @abstractmethod
    def read(self, frame: Frame, notices: list[str]) -> np.ndarray:
        """Its cells as numbers of shape (rows, width), NaN = missing; what is odd is added to `notices`."""

    @abstractmethod
    def write(self, places: np.ndarray) -> pa.Array:
        """Numbers of shape (rows, width) as cells in the user's own form; NaN is a missing cell."""

    def as_json(self) -> dict[str, Any]:
        """The column as plain JSON, for `column_from_json`."""
        options = {key: list(value) if key == "words" else value for key, value in asdict(self).items()}
        return {"kind": self.kind, **options}


class Single(Column):
    """A column that takes one place."""

    @property
    def width(self) -> int:
        return 1


@dataclass(frozen=True)
class Number(Single):
    """Any number; whole numbers too come back as float64, since an expectation lies between them."""

    kind = "number"

    def read(self, frame: Frame, notices: list[str]) -> np.ndarray:
        return read_numbers(frame, self.name)[:, None]

    def write(self, places: np.ndarray) -> pa.Array:
        return pa.array(places[:, 0], from_pandas=True)


@dataclass(frozen=True)
class Date(Single):
    """A time, in seconds since 1970; comes back in the time unit (and zone) that it had."""

    kind = "date"
    unit: str = "s"
    zone: str | None = None

    def read(self, frame: Frame, notices: list[str]) -> np.ndarray:
        values = _plain(frame, self.name)
        if values.null_count == len(values):
            return np.full((len(values), 1), np.nan)
        if _is.is_string(values.type):
            values = _times_in_words(values, frame, self.name)
        if not _is.is_timestamp(values.type):
            _refuse(values, frame, self.name, "a time")
        return _seconds(values)[:, None]

    def write(self, places: np.ndarray) -> pa.Array:
        low, high = _NANOSECOND_RANGE if self.unit == "ns" else _YEARS_1_TO_9999
        seconds, missing = places[:, 0], np.isnan(places[:, 0])
        microseconds = np.round(np.clip(np.where(missing, 0, seconds), low, high) * 1e6).astype(np.int64)
        times = pa.array(microseconds, mask=missing).cast(pa.timestamp("us", self.zone))
        return times.cast(pa.timestamp(self.unit, self.zone), safe=False)


@dataclass(frozen=True)
class Flag(Single):
    """True or false, packed as 1 and 0; comes back in its own type, `form`: bool, int64 or double."""

    kind = cell = "flag"
    form: str = "bool"
    rare: int = 1
    """The value that fewer training rows had: the oddest that a flag can be, so it stands for any other number."""

    def read(self, frame: Frame, notices: list[str]) -> np.ndarray:
        values = read_numbers(frame, self.name)
        other = ~np.isnan(values) & (values != 0) & (values != 1)
        if other.any():
            words = _some(np.unique(values[other]))
            notices.append(f"column {self.name!r}: {_rows(other)} neither 0 nor 1 ({words}), taken as {self.rare}")
            values = np.where(other, self.rare, values)
        return values[:, None]

    def write(self, places: np.ndarray) -> pa.Array:
        missing = np.isnan(places[:, 0])
        return pa.array(places[:, 0] >= 0.5, mask=missing).cast(pa.type_for_alias(self.form))


@dataclass(frozen=True)
class Category(Column):
    """A word: one place for each of `words`, and always a last one for any other, so that a new word looks odd."""

    kind = cell = "category"
    words: tuple[str, ...] = ()

    @property
    def width(self) -> int:
        return len(self.words) + 1

    def read(self, frame: Frame, notices: list[str]) -> np.ndarray:
        values = _plain(frame, self.name).cast(pa.string())
        place = pc.index_in(values, value_set=pa.array(self.words, pa.string()), skip_nulls=True)
        known, missing = pc.is_valid(place).to_numpy(), pc.is_null(values).to_numpy()
        other = ~known & ~missing
        if other.any():
            words = _some(pc.unique(values.filter(pa.array(other))).to_pylist())
            notices.append(f"column {self.name!r}: {_rows(other)} a word rare or unseen when fitted ({words})")
        places = np.zeros((len(values), self.width), dtype=np.float32)
        places[np.arange(len(values)), pc.fill_null(place, len(self.words)).to_numpy()] = 1
        places[missing] = np.nan
        return places

    def write(self, places: np.ndarray) -> pa.Array:
        words = np.array([*self.words, OTHER], dtype=object)
        return pa.array(words[places.argmax(axis=1)], pa.string(), mask=np.isnan(places).any(axis=1))


COLUMN_KINDS: dict[str, type[Column]] = {kind.kind: kind for kind in (Number, Date, Flag, Category)}


def column_from_json(document: dict[str, Any]) -> Column:
    """The column that `as_json` described; `ValueError`, `KeyError` or `TypeError` where it describes none."""
    options: dict[str, Any] = {key: value for key, value in document.items() if key != "kind"}
    if "words" in options:
        options["words"] = tuple(options["words"])
    column = COLUMN_KINDS[document["kind"]](**options)
    if not isinstance(column.name, str) or options.get("rare", 0) not in (0, 1):
        raise ValueError(f"{document!r} is not a column")
    # One trial row finds a form, unit or word that cannot be, before a user's data meet it.
    column.write(np.zeros((1, column.width)))
    return column


@dataclass(frozen=True)
class Choice:
    """What becomes of one column: how it is used (`column`), or why it is `left_out`; and a `notice` worth reading."""

    name: str
    column: Column | None = None
    left_out: str = ""
    notice: str = ""


def choose(frame: Frame, name: str, max_categories: int, wanted: bool = False) -> Choice:
    """Decide by its cells what a column means. Columns that were `wanted` by name are not taken for ids or free text.

    Left out: columns without a single value; ids (whole numbers, all different, called an id; or that number the rows
    and are called an index); words that are all different in more than 20 rows, or more than `max_categories` and in
    more than half of the rows; types that are no number, time, flag or word.
    """
    try:
        values = _plain(frame, name)
    except DataError:
        return _left_out(
            name, f"it holds {frame.table.schema.field(name).type}, which is no number, time, flag or word"
        )
    if values.null_count == len(values):
        return _left_out(name, "it is empty")
    if _is.is_string(values.type):
        return _choose_words(name, values, max_categories, wanted)
    if _is.is_timestamp(values.type):
        return _noting_constant(Date(name, values.type.unit, values.type.tz), values)
    return _choose_numbers(frame, name, values, wanted)


def _choose_words(name: str, values: pa.ChunkedArray, max_categories: int, wanted: bool) -> Choice:
    counts = word_counts(values)
    rows, distinct = len(values) - values.null_count, len(counts)
    if not wanted and distinct == rows > ID_ROWS:
        return _left_out(name, f"its {rows} words are all different, like names or ids")
    if not wanted and distinct > max_categories and distinct > rows / 2:
        return _left_out(name, f"it has {distinct} different words in {rows} rows, like free text")
    column = Category(name, tuple(counts)[:max_categories])
    if distinct > max_categories:
        rare = distinct - max_categories
        return Choice(name, column, notice=f"column {name!r}: the {rare} rarest of {distinct} words count as {OTHER!r}")
    return _noting_constant(column, values)


def _choose_numbers(frame: Frame, name: str, values: pa.ChunkedArray, wanted: bool) -> Choice:
    numbers = read_numbers(frame, name)
    numbers = numbers[~np.isnan(numbers)]
    distinct = np.unique(numbers)
    if not wanted and len(distinct) == len(values) and _is_id(name, distinct):
        return _left_out(name, "it numbers the rows, like an id")
    if _is.is_boolean(values.type) or np.array_equal(distinct, (0, 1)):
        form = str(values.type) if _is.is_boolean(values.type) or _is.is_integer(values.type) else "double"
        return _noting_constant(Flag(name, form, rare=int(numbers.mean() < 0.5)), values)
    return _noting_constant(Number(name), values)


def _is_id(name: str, distinct: np.ndarray) -> bool:
    """Whether whole numbers that are all different are ids: by name, or by name and as they count the rows."""
    if len(distinct) < 3 or (distinct != np.floor(distinct)).any():
        return False
    last = re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()
    counts = bool(distinct[-1] - distinct[0] == len(distinct) - 1)
    by_place = re.search(r"(^|[^a-z])(index|idx|rows?|row_?id|nr|no|number|key)$|^unnamed: \d+$|^column \d+$", last)
    return bool(re.search(r"(^|[^a-z])(id|uuid)$", last)) or (counts and by_place is not None)


def _noting_constant(column: Column, values: pa.ChunkedArray) -> Choice:
    known = pc.drop_null(values)
    if pc.all(pc.equal(known, known[0])).as_py():
        return Choice(column.name, column, notice=f"column {column.name!r} is always {known[0].as_py()}")
    return Choice(column.name, column)


def _left_out(name: str, reason: str) -> Choice:
    return Choice(name, left_out=reason, notice=f"column {name!r} is left out: {reason}")


def word_counts(values: pa.ChunkedArray) -> dict[str, int]:
    """How often each word occurs, the most frequent first, equals by name."""
    counts = {row["values"]: row["counts"] for row in pc.value_counts(values.drop_null()).to_pylist()}
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def read_columns(frame: Frame, columns: Sequence[Column], notices: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """The columns of a frame: those to be scaled (float64), and the others' places (float32)."""
    blocks = [column.read(frame, notices) for column in columns]
    numbers = [block for block, column in zip(blocks, columns, strict=True) if column.scaled]
    places = [block for block, column in zip(blocks, columns, strict=True) if not column.scaled]
    rows = frame.table.num_rows
    return _side_by_side(numbers, rows, np.float64), _side_by_side(places, rows, np.float32)


def _side_by_side(blocks: list[np.ndarray], rows: int, kind: type) -> np.ndarray:
    """Blocks (rows, k) as one array, laid out column by column, as they came."""
    joined: np.ndarray = np.empty((sum(block.shape[1] for block in blocks), rows), dtype=kind).T
    start = 0
    for block in blocks:
        joined[:, start : start + block.shape[1]] = block
        start += block.shape[1]
    return joined


def read_numbers(frame: Frame, name: str) -> np.ndarray:
    """A column's numbers as float64, NaN = missing; text is read where it says numbers.

    `SchemaError` with row and value for the first cell that is no number, `DataError` for an infinity.
    """
    values = frame.table.column(name)
    if not _is.is_float64(values.type):  # the usual type needs no second look: null and NaN are the same here
        values = _plain(frame, name)
    if values.null_count == len(values):
        return np.full(len(values), np.nan)
    if _is.is_string(values.type):
        values = _numbers_in_words(values, frame, name)
    elif not (_is.is_integer(values.type) or _is.is_floating(values.type) or _is.is_boolean(values.type)):
        _refuse(values, frame, name, "a number")
    numbers: np.ndarray = values.cast(pa.float64(), safe=False).to_numpy()
    if np.isinf(numbers).any():
        raise infinite(frame.where(int(np.isinf(numbers).argmax()), name))
    return numbers


def infinite(where: str) -> DataError:
    """The error for an infinite number."""
    how = "correct the number, or leave its cell empty (NaN) to mark it as missing"
    return DataError("got infinity, wanted a finite number or an empty cell", where=where, how=how)


def _plain(frame: Frame, name: str) -> pa.ChunkedArray:
    return plain_column(frame.table.column(name), name, frame.source)


def _numbers_in_words(values: pa.ChunkedArray, frame: Frame, name: str) -> pa.ChunkedArray:
    numbers = {word: _number_in(word) for word in pc.unique(values).to_pylist() if word is not None}
    bad = [word for word, number in numbers.items() if number is None]
    if bad:
        _refuse(values, frame, name, "a number", bad)
    return pa.chunked_array([[None if word is None else numbers[word] for word in values.to_pylist()]], pa.float64())


def _number_in(word: str) -> float | None:
    word = word.strip().lower()
    try:
        return {"": np.nan, "true": 1.0, "false": 0.0}[word] if word in ("", "true", "false") else float(word)
    except ValueError:
        return None


def _times_in_words(values: pa.ChunkedArray, frame: Frame, name: str) -> pa.ChunkedArray:
    times = {word: _time_in(word) for word in pc.unique(values).to_pylist() if word is not None}
    bad = [word for word, time in times.items() if time is None]
    if bad:
        _refuse(values, frame, name, "a time such as 2014-07-01 00:00:00", bad)
    seconds = [None if word is None else times[word] for word in values.to_pylist()]
    return pa.chunked_array([seconds], pa.timestamp("us"))


def _time_in(word: str) -> int | None:
    for zone in (None, "UTC"):
        try:
            microseconds: int = pa.scalar(word).cast(pa.timestamp("us", zone)).value
            return microseconds
        except pa.ArrowInvalid:
            continue
    return None


def _seconds(values: pa.ChunkedArray) -> np.ndarray:
    ticks: np.ndarray = values.cast(pa.int64()).cast(pa.float64(), safe=False).to_numpy()
    return ticks / _TICKS_A_SECOND[values.type.unit]


def _refuse(values: pa.ChunkedArray, frame: Frame, name: str, wanted: str, bad: list[str] | None = None) -> NoReturn:
    """Raise `SchemaError` for the first of the `bad` words, or the first cell that is not missing."""
    at_fault = pc.is_valid(values) if bad is None else pc.is_in(values, value_set=pa.array(bad))
    row = pc.index(at_fault, True).as_py()
    raise SchemaError(
        f"got {str(values[row].as_py())!r}, wanted {wanted}",
        where=frame.where(row, name),
        how="correct the cell or leave it empty; the model was fitted on a column of this kind",
    )


def _some(values: Any) -> str:
    """Up to three values as words.

    >>> _some(["a", "b", "c", "d"])
    'a, b, c, ...'
    """
    return ", ".join([f"{value}" for value in values[:3]] + ["..."] * (len(values) > 3))


def _rows(mask: np.ndarray) -> str:
    count = int(mask.sum())
    return f"{count} row{'s hold' if count > 1 else ' holds'}"
