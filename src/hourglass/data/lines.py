"""Lines of delimited text as they come, read for a model that is there already: its columns say what a cell must be."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

import pyarrow as pa

from hourglass.data.cells import MISSING, is_value, typed
from hourglass.data.columns import checked_names
from hourglass.data.formats import Format
from hourglass.data.formulas import restored_word
from hourglass.data.samples import Frame
from hourglass.data.series import SeriesFormat
from hourglass.data.tables import TableFormat
from hourglass.data.text import DELIMITERS
from hourglass.errors import DataError, SchemaError, UnreadableError, UsageError
from hourglass.settings import did_you_mean

SOURCE = "stdin"
_FLAGS = {"true": 1.0, "false": 0.0}
Line = tuple[int, bytes]
"""A line with its number, from 1."""
Value = float | str | None


@dataclass(frozen=True)
class Wanted:
    """The columns that a model reads."""

    numbers: tuple[str, ...]
    words: tuple[str, ...] = ()
    """Columns whose cells stay text: words, and times that are moments."""
    time: str | None = None
    left_out: tuple[str, ...] = ()
    by_place: bool = False
    """Whether the model was fitted on numbers without names: they may also be taken in the order of the columns."""

    @classmethod
    def by(cls, form: Format) -> Self:
        """Those of a format of tables or series."""
        if isinstance(form, TableFormat):
            if not form.named:
                return cls(form.offered, by_place=True)
            numbers = tuple(column.name for column in form.columns if column.kind in ("number", "flag"))
            return cls(numbers, tuple(column.name for column in form.columns if column.name not in numbers))
        if not isinstance(form, SeriesFormat):
            how = "give a model of a table or of a series"
            raise UsageError("lines of text hold neither pictures nor sound", where=SOURCE, how=how)
        schema = form.schema
        names = schema.columns or _numbered(len(schema.channels) + len(schema.empty), form)
        clock = form.sampling is not None and form.sampling.clock
        time = () if schema.time is None else (schema.time,)
        numbers, words = (names, time) if clock else ((*names, *time), ())
        return cls(numbers, words, schema.time, schema.left_out, not schema.columns)


def _numbered(channels: int, form: SeriesFormat) -> tuple[str, ...]:
    count = form.rule.steps if form.schema.whole and channels == 1 else channels
    return tuple(f"x{place}" for place in range(count))


@dataclass
class Block:
    """Some lines as rows, all of them or but for the broken ones."""

    frame: Frame | None = None
    """None where there are no rows."""
    lines: list[int] = field(default_factory=list)
    """The number of each row's line."""
    times: list[str] = field(default_factory=list)
    """The time of each row, as it was written; empty where the model has none."""
    broken: dict[int, DataError] = field(default_factory=dict)
    """What is wrong with the lines that are broken, by their numbers."""


@dataclass(frozen=True)
class LineReader:
    """How lines are cut into cells, and where the model's columns stand among them."""

    delimiter: str
    width: int
    places: dict[str, int]
    """Where each of the model's columns stands."""
    wanted: Wanted

    @classmethod
    def of(cls, header: Line, wanted: Wanted) -> tuple[Self, bool]:
        """The reader for lines below this header, and whether it is one: numbers without names are the first row.

        The delimiter is the one with which most of the model's columns are there. `SchemaError` where some are not.
        """
        text = _text(header).removeprefix("\ufeff")
        known = {*wanted.numbers, *wanted.words}
        cut = {mark: [restored_word(cell.strip()) for cell in _cells(text, mark, header[0])] for mark in DELIMITERS}
        delimiter = max(DELIMITERS, key=lambda mark: (len(known & set(cut[mark])), len(cut[mark])))
        names = checked_names(cut[delimiter], SOURCE, header[0])
        headed = not all(map(is_value, cut[delimiter]))
        if not headed:
            names = [f"x{place}" for place in range(len(names))]
        if wanted.by_place and not known <= set(names):
            return cls(delimiter, len(names), _by_place(names, wanted), wanted), headed
        missing = [name for name in (*wanted.words, *wanted.numbers) if name not in names]
        if missing:
            what = f"columns are missing from the first line: {', '.join(map(repr, missing))}"
            how = did_you_mean(missing[0], names) if headed else "the first line must hold the names of the columns"
            raise SchemaError(what, where=SOURCE, how=how)
        return cls(delimiter, len(names), {name: names.index(name) for name in names if name in known}, wanted), headed

    def read(self, lines: Sequence[Line], keep_broken: bool = False) -> Block:
        """The rows of some lines. `keep_broken`: a broken line is a row of missing cells, so that others keep step."""
        block, rows = Block(), list[dict[str, Value]]()
        for line in lines:
            try:
                cells = self._cut(line)
                rows.append(self._values(cells, line))
                time = cells[self.places[self.wanted.time]] if self.wanted.time else ""
            except DataError as error:
                block.broken[line[0]] = error
                if not keep_broken:
                    continue
                rows.append(dict.fromkeys(self.places))
                time = ""
            block.lines.append(line[0])
            block.times.append(time)
        if rows:
            block.frame = self._frame(rows, lines[0][0])
        return block

    def _frame(self, rows: list[dict[str, Value]], first_line: int) -> Frame:
        kind = {name: pa.float64() for name in self.wanted.numbers} | dict.fromkeys(self.wanted.words, pa.string())
        columns = {name: pa.array([row[name] for row in rows], kind[name]) for name in kind}
        return Frame(pa.table(columns), SOURCE, first_line, unnamed=self.wanted.by_place)

    def _cut(self, line: Line) -> list[str]:
        cells = _cells(_text(line), self.delimiter, line[0])
        if len(cells) != self.width:
            how = "each line must have as many cells as the first, which names the columns"
            raise UnreadableError(f"got {len(cells)} cells, wanted {self.width}", where=_where(line[0]), how=how)
        return cells

    def _values(self, cells: list[str], line: Line) -> dict[str, Value]:
        values: dict[str, Value] = {name: _word(cells[self.places[name]]) for name in self.wanted.words}
        for name in self.wanted.numbers:
            cell = cells[self.places[name]]
            number = _plain_number(cell)
            if math.isfinite(number):
                values[name] = number
            else:
                values[name] = _number(cell, self.delimiter, f"{_where(line[0])}, column {name!r}")
        return values


def _by_place(names: list[str], wanted: Wanted) -> dict[str, int]:
    """Where numbers without names stand: one after another, but for the columns that were left out at fit."""
    places = [place for place, name in enumerate(names) if name not in wanted.left_out]
    if len(places) != len(wanted.numbers):
        what = f"got {len(places)} columns, wanted {len(wanted.numbers)}"
        raise SchemaError(what, where=SOURCE, how="the model was fitted on numbers without names")
    return dict(zip(wanted.numbers, places, strict=True))


def _where(number: int) -> str:
    return f"{SOURCE}, line {number}"


def _text(line: Line) -> str:
    try:
        return line[1].decode()
    except UnicodeDecodeError as error:
        raise UnreadableError("is no UTF-8 text", where=_where(line[0]), how="send UTF-8: iconv -t UTF-8") from error


def _cells(text: str, delimiter: str, number: int) -> list[str]:
    try:
        return next(csv.reader([text], delimiter=delimiter, strict=True), [""])
    except csv.Error as error:
        how = "a quoted cell may not reach over several lines here"
        raise UnreadableError(f"cannot be cut into cells: {error}", where=_where(number), how=how) from error


def _word(cell: str) -> str | None:
    word = cell.strip()
    return None if word in MISSING else restored_word(word)


def _plain_number(cell: str) -> float:
    """What nearly all cells are; NaN for those that need a closer look."""
    try:
        return float(cell) if "_" not in cell else math.nan
    except ValueError:
        return math.nan


def _number(cell: str, delimiter: str, where: str) -> float | None:
    """A cell's number, however it is written; what Python cannot read is left to the reader of files."""
    cell = cell.strip()
    if cell in MISSING or cell.lower() in _FLAGS:
        return _FLAGS.get(cell.lower())
    try:
        number = float(cell if delimiter == "," else cell.replace(",", "."))
    except ValueError:
        value = typed(pa.chunked_array([[cell]]), lambda row: where, delimiter)[0][0].as_py()
        number = float(value) if isinstance(value, int | float) else math.nan
    if "_" in cell or not math.isfinite(number):
        raise DataError(f"got {cell!r}, wanted a number", where=where, how="leave the cell empty to mark it as missing")
    return number
