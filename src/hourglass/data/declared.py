"""Text files that declare their columns before the data: ARFF (Weka) and `.ts` (the UCR and UEA archives)."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from hourglass.data.cells import Where, numbers, times, typed
from hourglass.data.columns import plain_table, table_of
from hourglass.data.samples import Frame
from hourglass.data.text import as_utf8
from hourglass.errors import DataError, UnreadableError

Line = tuple[int, str]
"""A line and its number in the file, from 1."""


@dataclass(frozen=True)
class _Parts:
    """A file cut at its line `@data`, without comments and blank lines."""

    source: str
    declarations: list[Line]
    rows: list[Line]
    notices: tuple[str, ...]

    def refusal(self, number: int, what: str, how: str = "") -> UnreadableError:
        return UnreadableError(what, where=f"{self.source}, line {number}", how=how)

    def where(self, column: str, cells_a_row: int = 1) -> Where:
        """Places of the cells of a column, of which every row has `cells_a_row`."""
        return lambda cell: f"{self.source}, line {self.rows[cell // cells_a_row][0]}, column {column!r}"

    @property
    def first_line(self) -> int | None:
        """Line of the first row; None where comments or blank lines stand between rows."""
        first, last = self.rows[0][0], self.rows[-1][0]
        return first if last - first + 1 == len(self.rows) else None


def _parts(content: bytes, source: str, comment: str) -> _Parts:
    text, notices = as_utf8(content, source)
    numbered = ((number, line.strip()) for number, line in enumerate(text.decode().split("\n"), 1))
    lines = [(number, line) for number, line in numbered if line and not line.startswith(comment)]
    data = next((place for place, (_, line) in enumerate(lines) if line.lower() == "@data"), None)
    if data is None:
        raise UnreadableError(
            "there is no line @data", where=source, how="ARFF and .ts files declare their columns, then say @data"
        )
    if data + 1 == len(lines):
        raise DataError("there are no rows after @data", where=source, how="at least one row is needed")
    return _Parts(source, lines[:data], lines[data + 1 :], tuple(notices))


@dataclass(frozen=True)
class _Attribute:
    """One declared column of an ARFF file; `words` are those that a nominal one may hold."""

    name: str
    kind: str
    words: frozenset[str | None] = frozenset()


_QUOTED = r"""'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)\""""
_CELL = re.compile(rf"""\s*(?:{_QUOTED}|([^,'"]*))\s*(?:,|$)""")
_ATTRIBUTE = re.compile(rf"@attribute\s+(?:{_QUOTED}|([^\s{{]+))(?:\s+|(?=\{{))(.+)$", re.IGNORECASE)


def read_arff(content: bytes, source: str) -> Frame:
    """The table of an ARFF file: numeric, nominal, string and date attributes, `?` for missing.

    Sparse rows, relational attributes and dates other than ISO 8601 are refused by name.
    """
    parts = _parts(content, source, "%")
    attributes = [_attribute(parts, *line) for line in parts.declarations if line[1].lower().startswith("@attribute")]
    rows = [_arff_row(parts, len(attributes), *line) for line in parts.rows]
    columns = [
        _arff_column(parts, attribute, list(cells))
        for attribute, cells in zip(attributes, zip(*rows, strict=True), strict=True)
    ]
    table = plain_table(pa.table(columns, names=[attribute.name for attribute in attributes]), source)
    return Frame(table, source, first_line=parts.first_line, notices=parts.notices)


def _attribute(parts: _Parts, number: int, line: str) -> _Attribute:
    match = _ATTRIBUTE.match(line)
    if match is None:
        raise parts.refusal(number, f"got {line!r}, wanted @attribute NAME TYPE")
    name, kind = _unquoted(match), match[4].strip()
    if kind.startswith("{") and kind.endswith("}"):
        return _Attribute(name, "nominal", frozenset(_cells(kind[1:-1]) or ()))
    word = kind.split()[0].lower()
    if word not in ("numeric", "real", "integer", "string", "date"):
        wanted = "numeric, real, integer, string, date or {A, B, ...}"
        raise parts.refusal(number, f"attribute {name!r} is of type {kind!r}, wanted {wanted}")
    return _Attribute(name, word if word in ("string", "date") else "numeric")


def _unquoted(match: re.Match[str]) -> str:
    quoted = match[1] if match[1] is not None else match[2]
    return match[3].strip() if quoted is None else re.sub(r"\\(.)", r"\1", quoted)


def _cells(line: str) -> list[str | None] | None:
    """The cells of a row, None for a missing one; None where the quotes do not fit. A quoted '?' is a word."""
    if "'" not in line and '"' not in line:
        return [None if cell in ("?", "") else cell for cell in map(str.strip, line.split(","))]
    cells: list[str | None] = []
    position, more = 0, True
    while more:
        match = _CELL.match(line, position)
        if match is None:
            return None
        cells.append(None if match[3] is not None and match[3].strip() in ("?", "") else _unquoted(match))
        position, more = match.end(), match[0].endswith(",")
    return cells


def _arff_row(parts: _Parts, width: int, number: int, line: str) -> list[str | None]:
    if line.startswith("{"):
        raise parts.refusal(
            number, "the rows are sparse ({INDEX VALUE, ...}), wanted every cell", "save the file with dense rows"
        )
    cells = _cells(line)
    if cells is None or len(cells) != width:
        got = "quotes that do not fit" if cells is None else f"{len(cells)} cells"
        raise parts.refusal(
            number, f"got {got}, wanted {width} cells, one for each @attribute", "put quotes around words with a comma"
        )
    return cells


def _arff_column(parts: _Parts, attribute: _Attribute, cells: list[str | None]) -> pa.ChunkedArray:
    where = parts.where(attribute.name)
    text = pa.chunked_array([pa.array(cells, pa.string())])
    if attribute.kind == "numeric":
        return numbers(text, where)
    if attribute.kind == "date":
        return times(text, where)
    for row, cell in enumerate(cells if attribute.kind == "nominal" else ()):
        if cell is not None and cell not in attribute.words:
            raise DataError(
                f"got {cell!r}, which its @attribute does not list",
                where=where(row),
                how="correct the cell, or list the word",
            )
    return text


def read_ts(content: bytes, source: str) -> Frame | np.ndarray:
    """The series of a `.ts` file, one a line, all of one length; `?` is missing.

    One channel: a frame with a column for every step (x0, x1, ...), unnamed, and the column `label` where the file has
    labels. More channels: an array of shape (series, steps, channels), which has no place for labels.
    """
    parts = _parts(content, source, "#")
    declared_true = {words[0] for _, line in parts.declarations if "true" in (words := line.lower().split())[1:2]}
    if "@timestamps" in declared_true:
        how = "write its values as a CSV file with a column of times"
        what = "its steps carry time stamps (@timeStamps true), wanted values only"
        raise UnreadableError(what, where=source, how=how)
    labelled = not declared_true.isdisjoint({"@classlabel", "@targetlabel"})
    fields = [line.split(":") for _, line in parts.rows]
    labels = [row.pop() for row in fields] if labelled else []
    channels = [[channel.split(",") for channel in row] for row in fields]
    array = _series(parts, channels)
    if array.shape[1] > 1:
        return array.transpose(0, 2, 1)
    table = table_of(array[:, 0])
    if labelled:
        label, _ = typed(pa.chunked_array([labels]), parts.where("label"))
        table = table.append_column("label", label)
    return Frame(plain_table(table, source), source, first_line=parts.first_line, unnamed=True, notices=parts.notices)


def _series(parts: _Parts, rows: list[list[list[str]]]) -> np.ndarray:
    """The values in shape (series, channels, steps), float64, NaN where missing."""
    shape = (len(rows[0]), len(rows[0][0])) if rows[0] else (0, 0)
    how = "cut or fill series of unequal length first; a label after ':' needs @classLabel true"
    for (number, _), row in zip(parts.rows, rows, strict=True):
        if len(row) != shape[0]:
            raise parts.refusal(number, f"got channels: {len(row)}, wanted {shape[0]} as in the first series", how)
        for steps in row:
            if len(steps) != shape[1]:
                raise parts.refusal(number, f"got steps: {len(steps)}, wanted {shape[1]} as in the first series", how)
    if not shape[0]:
        raise parts.refusal(parts.rows[0][0], "got a label alone, wanted values before ':'")
    cells = pa.chunked_array([[cell for row in rows for steps in row for cell in steps]])
    column = numbers(cells, parts.where("values", shape[0] * shape[1]))
    values: np.ndarray = column.cast(pa.float64()).to_numpy()
    return values.reshape(len(rows), *shape)
