"""Delimited text (CSV, TSV) as a frame: encoding, delimiter, header, number and time formats are found, not asked for.

Clean files go through Arrow's reader and never through Python row by row. Only what that reader could not make sense of
is looked at cell by cell, and only to name the line that is wrong.
"""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.csv as pa_csv

from hourglass.data.cells import MISSING, Where, are_words, finite, is_missing, is_value, typed
from hourglass.data.columns import checked_names, plain_column
from hourglass.data.formulas import restored, restored_word
from hourglass.data.limits import check_columns
from hourglass.data.samples import Frame, unique_notices
from hourglass.errors import DataError, UnreadableError

DELIMITERS = (",", ";", "\t", "|")
_FILL = "give a header line and a row of numbers or words below it, better hundreds"
_SAMPLE_BYTES, _SAMPLE_ROWS = 1 << 20, 200
_LONGEST_ROW = 8 << 20


@dataclass(frozen=True)
class _Sheet:
    """The rows of a text file, still as UTF-8 text, and how they are cut into cells."""

    body: bytes
    source: str
    line: int
    """Line of the file, from 1, at which `body` begins."""
    delimiter: str
    names: tuple[str, ...]
    headed: bool
    """Whether the names stood in the file."""

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """Every row with the line on which it begins. Slow: for finding what is wrong, not for reading."""
        keep_blank = len(self.names) == 1
        for line, _, cells in _rows(self.body.decode(), self.delimiter, self.source, self.line):
            if cells or keep_blank:
                yield line, cells or [""]

    def where(self, column: str) -> Where:
        """The place of a row of `column`, by line: rows are not lines where a quoted cell holds line breaks."""

        def place(row: int) -> str:
            line, _ = next(itertools.islice(self.rows(), row, None))
            return f"{self.source}, line {line}, column {column!r}"

        return place


def _rows(text: str, delimiter: str, source: str, line: int) -> Iterator[tuple[int, int, list[str]]]:
    """Every row of a text: the line on which it begins, that of the next row, and its cells."""
    reader, begun = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), line
    try:
        for cells in reader:
            yield begun, line + reader.line_num, cells
            begun = line + reader.line_num
    except csv.Error as error:
        how = f"a cell holds at most {csv.field_size_limit():,} characters; perhaps a quote is never closed"
        raise UnreadableError(f"cannot be cut into cells: {error}", where=f"{source}, line {begun}", how=how) from error


def read_text(content: bytes, source: str) -> Frame:
    """The table in the bytes of a text file.

    A first row that is of the same kind as the rows below it is data: columns are then called x0, x1, ..., and the
    frame is unnamed if all are numbers. A column without a name becomes `column 3` by its place; two columns of one
    name are refused. Cells such as NA, ? or nothing are missing. `UnreadableError` for bytes that are no text and for
    rows of unequal length, `DataError` for a cell that spoils a column of numbers or times; all name the line.
    """
    text, encoding_notices = as_utf8(content, source)
    sheet, header_notice = _sheet(text, source)
    table, cell_notices = _typed(sheet, _parsed(sheet))
    all_numbers = all(pa.types.is_integer(kind) or pa.types.is_floating(kind) for kind in table.schema.types)
    return Frame(
        table,
        source,
        first_line=sheet.line if table.num_rows == sheet.body.count(b"\n") + 1 else None,
        unnamed=all_numbers and not sheet.headed,
        notices=tuple(filter(None, unique_notices([*encoding_notices, header_notice, *cell_notices]))),
    )


def _sheet(text: bytes, source: str) -> tuple[_Sheet, str]:
    """The rows of the file, cut from its header line, and what to tell the user about the header."""
    trimmed = text.lstrip(b" \r\n")
    if not trimmed:
        raise UnreadableError("the file is empty, wanted a table", where=source, how=_FILL)
    line = 1 + text.count(b"\n", 0, len(text) - len(trimmed))
    # Trailing tabs are empty cells of the last row, so only line ends and blanks may go.
    text = _spaces_as_tabs(trimmed.rstrip(b" \r\n"))
    sample = _sample(text)
    delimiter = _delimiter(sample)
    rows, header_lines = _sample_rows(sample, delimiter, source, line)
    check_columns(len(rows[0]), source)
    header, notice = _header(rows)
    if header is None:
        return _Sheet(text, source, line, delimiter, tuple(f"x{place}" for place in range(len(rows[0]))), False), notice
    names = checked_names(header, source, line)
    body = _after_lines(text, header_lines)
    if not body:
        _refuse_open_quote(_Sheet(text, source, line, delimiter, tuple(names), False))
        raise DataError("there is a header line but there are no rows", where=source, how=_FILL)
    return _Sheet(body, source, line + header_lines, delimiter, tuple(names), True), notice


def as_utf8(content: bytes, source: str) -> tuple[bytes, list[str]]:
    """The text of a file as UTF-8 without lone carriage returns, and a notice where its encoding had to be guessed."""
    notices: list[str] = []
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        content = _decoded(content, "utf-16", source).encode()
    content = content.removeprefix(b"\xef\xbb\xbf")
    if b"\0" in content:
        raise _not_text(content, content.index(b"\0"), "a zero byte", source)
    try:
        if not content.isascii():
            content.decode()
    except UnicodeDecodeError as error:
        line = 1 + content.count(b"\n", 0, error.start)
        notices.append(f"the file is not UTF-8 (line {line}): it was read as Windows-1252 (Latin-1)")
        content = _decoded(content, "cp1252", source).encode()
    return content if b"\n" in content else content.replace(b"\r", b"\n"), notices


def _decoded(content: bytes, encoding: str, source: str) -> str:
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise _not_text(content, error.start, f"the byte 0x{content[error.start]:02x}", source) from error


def _not_text(content: bytes, position: int, found: str, source: str) -> UnreadableError:
    line = 1 + content.count(b"\n", 0, position)
    return UnreadableError(
        f"got {found} at byte {position} (counted from 0), wanted text",
        where=f"{source}, line {line}",
        how="save the file as UTF-8 text",
    )


def _sample(text: bytes) -> str:
    """The first rows; all of them where a few very wide ones are larger than a sample should be."""
    sample = text[:_SAMPLE_BYTES]
    return (sample if sample.count(b"\n") > 2 else text).decode(errors="ignore")


def _spaces_as_tabs(text: bytes) -> bytes:
    """Columns of numbers set apart by runs of spaces, as many archives have them, as tab-separated text."""
    sample = [line.split() for line in text[:_SAMPLE_BYTES].splitlines()[:_SAMPLE_ROWS]]
    width = len(sample[0])
    aligned = all(
        len(cells) == width and all(_PLAIN_NUMBER.match(cell) for cell in cells) for cells in sample[:-1] or sample
    )
    if width < 2 or not aligned or b"\t" in text[:_SAMPLE_BYTES]:
        return text
    return re.sub(rb"[ ]+", b"\t", re.sub(rb"(?m)^ +| +(?=\r?$)", b"", text))


_PLAIN_NUMBER = re.compile(rb"[+-]?[\d.]+([eE][+-]?\d+)?$|(?i:nan)$")
_NUMBER_WITH_COMMA = re.compile(r"\s*[+-]?[\d.,]+([eE][+-]?\d+)?\s*$")


def _delimiter(sample: str) -> str:
    """The delimiter that cuts the sampled rows into equally many cells with no other delimiter left inside them."""
    scores = {delimiter: _score(sample, delimiter) for delimiter in DELIMITERS}
    best = max(DELIMITERS, key=lambda delimiter: scores[delimiter])
    return best if scores[best] >= (0.5, 0) else ","


def _score(sample: str, delimiter: str) -> tuple[float, int]:
    try:
        reader = csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter)
        rows = [cells for cells in itertools.islice(reader, _SAMPLE_ROWS) if cells]
    except csv.Error:
        return 0.0, 0
    [(width, count)] = Counter(map(len, rows)).most_common(1)
    if width == 1:
        return 0.0, 0
    others = [other for other in DELIMITERS if other != delimiter and other in sample]
    cells = list(itertools.chain.from_iterable(rows))
    mixed = [cell for cell in cells if any(other in cell for other in others)] if others else []
    # A comma inside a number is a decimal comma, not a delimiter that was overlooked.
    overlooked = sum(not _NUMBER_WITH_COMMA.match(cell) for cell in mixed)
    return count / len(rows) * (len(cells) - overlooked) / len(cells), width


def _sample_rows(sample: str, delimiter: str, source: str, line: int) -> tuple[list[list[str]], int]:
    """The first rows, and how many lines the first of them spans."""
    (_, after, first), *others = itertools.islice(_rows(sample, delimiter, source, line), _SAMPLE_ROWS + 1)
    rows = [first, *(cells for _, _, cells in others if cells)]
    return (rows[:-1] if len(rows) > 2 else rows), after - line


def _header(rows: Sequence[Sequence[str]]) -> tuple[list[str] | None, str]:
    """The column names if the first row holds them, and what to tell the user about the guess.

    It holds data where it looks like the rows below it: in every column that has only numbers or times there, it has
    one too.
    """
    first, rest = rows[0], rows[1:]
    if _counts_columns(first, rest):
        return [cell.strip() for cell in first], "the first line only counts the columns: it was taken as their names"
    known = [cell for cell in first if not is_missing(cell)]
    values = [place for place, cell in enumerate(first) if is_value(cell)]
    words = [place for place, cell in enumerate(first) if not (is_value(cell) or is_missing(cell))]
    if (known and not words) or (_some_hold_values(rest, values) and not _some_hold_values(rest, words)):
        called = f"the columns are called x0 to x{len(first) - 1}" if len(first) > 1 else "the column is called x0"
        return None, f"no header line found: {called}"
    names = [restored_word(cell.strip()) for cell in first]
    return names, "" if all(names) else "a column without a name is called by its place, such as 'column 1'"


def _counts_columns(first: Sequence[str], rest: Sequence[Sequence[str]]) -> bool:
    """Whether the first row is 0, 1, 2, ..., as a data frame without names is written, perhaps after an empty cell."""
    counts = [str(place) for place in range(len(first))]
    if len(first) < 3 or list(first) not in (counts, ["", *counts[:-1]]):
        return False
    # Whole numbers below 0, 1, 2 may just count on: then the first row is a row like them.
    return first[0] == "" or any("." in cell for cells in rest for cell in cells)


def _some_hold_values(rows: Sequence[Sequence[str]], places: Sequence[int]) -> bool:
    """Whether one of the columns at these places has only numbers or times."""
    return any(_holds_values(rows, place) for place in places)


def _holds_values(rows: Sequence[Sequence[str]], place: int) -> bool:
    cells = [row[place] for row in rows if place < len(row) and not is_missing(row[place])]
    return bool(cells) and all(map(is_value, cells))


def _after_lines(text: bytes, count: int) -> bytes:
    position = 0
    for _ in range(count):
        position = text.find(b"\n", position) + 1
        if not position:
            return b""
    return text[position:]


def text_blocks(blocks: Iterator[bytes], source: str) -> Iterator[Frame]:
    """The table in the bytes of a text file that come block by block, each of whole lines: a frame for each block.

    Joined, the frames are what `read_text` makes of all bytes; a column without a value in a block is of type null
    there. `DataError` as soon as that is not sure, among others for every fault that `read_text` names: quotes, words
    that could be numbers, or a column whose type changes from block to block.
    """
    sheet: _Sheet | None = None
    notice, types = "", list[pa.DataType]()
    for content in blocks:
        text, encoding_notices = as_utf8(content, source)
        if sheet is None:
            sheet, notice = _sheet(text, source)
            sure = text[:_SAMPLE_BYTES].count(b"\n") > 2 and _spaces_as_tabs(text) is text
        else:
            sheet, sure = replace(sheet, body=text), text == content
        if not sure or encoding_notices or len(sheet.names) < 2 or b'"' in sheet.body:
            raise _doubtful(source)
        parsed = _parsed(sheet)
        found = parsed.schema.types
        types = [_common(*pair, source) for pair in zip(types or found, found, strict=True)]
        yield Frame(_surely(parsed, sheet), source, unnamed=not sheet.headed, notices=(notice,) if notice else ())


def _common(seen: pa.DataType, new: pa.DataType, source: str) -> pa.DataType:
    """The type of a column whose blocks have these."""
    if seen == new or pa.types.is_null(new):
        return seen
    if pa.types.is_null(seen):
        return new
    if {seen, new} == {pa.int64(), pa.float64()}:
        return pa.float64()
    raise _doubtful(source)


def _surely(parsed: pa.Table, sheet: _Sheet) -> pa.Table:
    """A block's columns in plain types, none of which could be another in the whole table."""
    if not all(are_words(column) for column in parsed.columns if pa.types.is_string(column.type)):
        raise _doubtful(sheet.source)
    table, _ = _typed(sheet, parsed)
    empty = [place for place, kind in enumerate(parsed.schema.types) if pa.types.is_null(kind)]
    for place in empty:
        table = table.set_column(place, sheet.names[place], parsed.column(place))
    return table


def _doubtful(source: str) -> DataError:
    return DataError("cannot be read block by block", where=source, how="read it as a whole, or convert it to Parquet")


def _typed(sheet: _Sheet, parsed: pa.Table) -> tuple[pa.Table, list[str]]:
    """Columns of text that Arrow has parsed, in plain types, and what is worth knowing about how they were written."""
    columns, notices = [], []
    for name, column in zip(sheet.names, parsed.columns, strict=True):
        if pa.types.is_string(column.type):
            column, notice = typed(column, sheet.where(name), sheet.delimiter)
            column = restored(column) if pa.types.is_string(column.type) else column
            notices += [f"column {name!r} has {notice}"] if notice else []
        elif pa.types.is_floating(column.type):
            finite(column, sheet.where(name))
        columns.append(plain_column(column, name, sheet.source))
    return pa.table(columns, names=list(sheet.names)), notices


def _parsed(sheet: _Sheet) -> pa.Table:
    """Arrow's reading of the rows. `UnreadableError` names the first row whose number of cells is wrong."""
    quoted = b'"' in sheet.body
    try:
        table = pa_csv.read_csv(
            pa.BufferReader(sheet.body),
            read_options=pa_csv.ReadOptions(column_names=list(sheet.names), block_size=_LONGEST_ROW),
            parse_options=pa_csv.ParseOptions(
                delimiter=sheet.delimiter, newlines_in_values=quoted, ignore_empty_lines=len(sheet.names) > 1
            ),
            convert_options=pa_csv.ConvertOptions(
                null_values=[space + word for word in MISSING for space in ("", " ")],
                true_values=["true", "True", "TRUE"],
                false_values=["false", "False", "FALSE"],
                strings_can_be_null=True,
            ),
        )
    except pa.ArrowException as error:
        _refuse_ragged(sheet)
        how = "every row must be a line of as many cells as there are names; save it again as plain CSV"
        raise UnreadableError(f"cannot be read as a table: {error}", where=sheet.source, how=how) from error
    # Arrow lets an open quote swallow the rest of the file.
    _refuse_open_quote(sheet)
    return table


def _refuse_ragged(sheet: _Sheet) -> None:
    wanted = len(sheet.names)
    for line, cells in sheet.rows():
        if len(cells) != wanted:
            raise UnreadableError(
                f"got {len(cells)} cell{'s' * (len(cells) != 1)}, wanted {wanted}",
                where=f"{sheet.source}, line {line}",
                how=f"rows must be equally long: put quotes around a cell that holds a {_SPOKEN[sheet.delimiter]}",
            )


_SPOKEN = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}


def _refuse_open_quote(sheet: _Sheet) -> None:
    """`UnreadableError` if a quote is never closed: a line added at the end is then swallowed as well."""
    if sheet.body.count(b'"') % 2 == 0:  # an odd number of quotes is the only way to get there
        return
    mark = "after the end"
    *_, (line, cells) = replace(sheet, body=sheet.body + b"\n" + mark.encode()).rows()
    if cells != [mark]:
        raise UnreadableError(
            "a quote is opened and never closed",
            where=f"{sheet.source}, line {line}",
            how='close it, or write "" for a quote',
        )
