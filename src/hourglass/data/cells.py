"""What the text of cells means: numbers in four ways of writing, times, true/false, missing, or just words."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Sequence
from typing import NoReturn

import pyarrow as pa
import pyarrow.compute as pc

from hourglass.errors import DataError

MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "?", "-")
"""Cells that mean "nothing was measured"; spaces around them do not count."""

_EXPONENT = r"([eE][+-]?\d+)?$"
_PLAIN = r"^[+-]?(\d+\.?\d*|\.\d+)" + _EXPONENT
_DECIMAL_COMMA = r"^[+-]?(\d+(,\d*)?|,\d+)" + _EXPONENT
_COMMA_GROUPS = r"^[+-]?(\d+|\d{1,3}(,\d{3})+)(\.\d*)?$"
_POINT_GROUPS = r"^[+-]?(\d+|\d{1,3}(\.\d{3})+)(,\d*)?$"
_TIME = r"^\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d(:?\d\d)?)?)?$"
_ZONED = r":\d\d.*(Z|[+-]\d\d(:?\d\d)?)$"
_MEND_NUMBER = "correct the cell, or empty it to mark the number as missing"

_PYTHON_VALUE = re.compile(
    "|".join((_PLAIN, _DECIMAL_COMMA, _COMMA_GROUPS, _POINT_GROUPS, _TIME, r"^[+-]?(?i:inf|infinity)$"))
)
_STYLES = (_PLAIN, _DECIMAL_COMMA, _COMMA_GROUPS, _POINT_GROUPS, _TIME, "^(?i:true|false)$")
_ANY_VALUE = "|".join(f"({pattern})" for pattern in _STYLES)

MOSTLY, ENOUGH = 0.9, 10
"""A column where this share of at least so many cells are numbers was meant to be numbers: the others are mistakes."""

Where = Callable[[int], str]
"""The place of a row (from 0) of the column at hand in the user's words."""


class _Style:
    """One way of writing numbers: what all cells must look like, and what makes them plain."""

    def __init__(self, words: str, pattern: str, *replacements: tuple[str, str]) -> None:
        self.words, self.pattern, self.replacements = words, pattern, replacements

    def plain(self, text: pa.ChunkedArray) -> pa.ChunkedArray:
        for old, new in self.replacements:
            text = pc.replace_substring(text, old, new)
        return pc.replace_substring_regex(text, r"^\+", "")


_AS_USUAL = _Style("", _PLAIN)
_WITH_COMMA = _Style("a decimal comma", _DECIMAL_COMMA, (",", "."))
_WITH_GROUPS = _Style("commas between thousands", _COMMA_GROUPS, (",", ""))
_CONTINENTAL = _Style("points between thousands and a decimal comma", _POINT_GROUPS, (".", ""), (",", "."))


def is_missing(cell: str) -> bool:
    """Whether a cell says that nothing was measured."""
    return cell.strip() in MISSING


def is_value(cell: str) -> bool:
    """Whether a cell looks like a number or a time, so that it would be odd as a column's name."""
    return _PYTHON_VALUE.match(cell.strip()) is not None


def are_words(text: pa.ChunkedArray) -> bool:
    """Whether no cell could be a number, a time or a flag, so that the column stays one of words whatever joins it."""
    return not pc.any(pc.match_substring_regex(_known(text), _ANY_VALUE)).as_py()


def typed(text: pa.ChunkedArray, where: Where, delimiter: str = ",") -> tuple[pa.ChunkedArray, str]:
    """A column of text in the type that all its cells share, and a notice (or "") where numbers were written unusually.

    In a comma-separated file a quoted "1,234" is one thousand; with any other delimiter it is one and a bit.
    `DataError` names the first cell that spoils a column of numbers or times.
    """
    text = _known(text)
    if text.null_count == len(text):
        return text.cast(pa.float64()), ""
    commas = (_WITH_GROUPS, _WITH_COMMA) if delimiter == "," else (_WITH_COMMA, _WITH_GROUPS)
    parsed, notice = _numbers(text, (_AS_USUAL, *commas, _CONTINENTAL), where)
    if parsed is not None:
        return parsed, notice
    parsed = _times(text, where)
    return (_flags(text) if parsed is None else parsed), ""


def numbers(text: pa.ChunkedArray, where: Where) -> pa.ChunkedArray:
    """A column of text that was declared to hold numbers; `DataError` names the first cell that is none."""
    text = _known(text)
    fits = pc.match_substring_regex(text, _PLAIN)
    if not pc.all(fits).as_py():
        _refuse(text, fits, where, "a number", _MEND_NUMBER)
    return _parsed(text, where) if text.null_count < len(text) else text.cast(pa.float64())


def times(text: pa.ChunkedArray, where: Where) -> pa.ChunkedArray:
    """A column of text that was declared to hold times; `DataError` names the first cell that is none."""
    parsed = parse_times(text)
    if parsed is None:
        parses = [cell is None or parse_times(pa.chunked_array([[cell]])) is not None for cell in text.to_pylist()]
        zoned = pc.match_substring_regex(text, _ZONED)
        fits = pc.equal(zoned, pc.greater(pc.mean(zoned), 0.5)) if all(parses) else pa.array(parses)
        wanted = (
            "a time like the others: all or none with a time zone"
            if all(parses)
            else "a time such as 2014-07-01 00:00:00"
        )
        _refuse(text, fits, where, wanted, "correct the cell, or empty it to mark the time as missing")
    return parsed


def parse_times(text: pa.ChunkedArray) -> pa.ChunkedArray | None:
    """Text as times, if every cell is an ISO 8601 time, and all or none of them name a time zone; otherwise None."""
    for zone, unit in itertools.product((None, "UTC"), ("s", "us", "ns")):
        try:
            return text.cast(pa.timestamp(unit, zone))
        except pa.ArrowInvalid:
            continue
    return None


def _known(text: pa.ChunkedArray) -> pa.ChunkedArray:
    text = pc.utf8_trim_whitespace(text)
    return pc.if_else(pc.is_in(text, value_set=pa.array(MISSING)), pa.scalar(None, pa.string()), text)


def _numbers(text: pa.ChunkedArray, styles: Sequence[_Style], where: Where) -> tuple[pa.ChunkedArray | None, str]:
    fits = [pc.match_substring_regex(text, style.pattern) for style in styles]
    for style, fit in zip(styles, fits, strict=True):
        if pc.all(fit).as_py():
            return _parsed(style.plain(text), where), _notice(style, text)
    any_fits = fits[0]
    for fit in fits[1:]:
        any_fits = pc.or_(any_fits, fit)
    if _mostly(any_fits):
        best = max(range(len(fits)), key=lambda place: pc.sum(fits[place]).as_py())
        _refuse(text, fits[best], where, "a number", _MEND_NUMBER)
    return None, ""


def _parsed(text: pa.ChunkedArray, where: Where) -> pa.ChunkedArray:
    if pc.all(pc.match_substring_regex(text, r"^-?\d+$")).as_py():
        try:
            return text.cast(pa.int64())
        except pa.ArrowInvalid:  # more digits than int64 holds
            pass
    return finite(text.cast(pa.float64()), where)


def _notice(style: _Style, text: pa.ChunkedArray) -> str:
    if not style.words:
        return ""
    example = text.filter(pc.fill_null(pc.match_substring(text, ","), False))[:1] or text.drop_null()[:1]
    return f"numbers with {style.words}: {example[0].as_py()!r} was read as {style.plain(example)[0].as_py()}"


def finite(column: pa.ChunkedArray, where: Where) -> pa.ChunkedArray:
    """The same numbers; `DataError` names the first infinite one."""
    infinite = pc.is_inf(column)
    if pc.any(infinite).as_py():
        raise DataError(
            "got an infinite number, wanted a finite one",
            where=where(pc.index(infinite, True).as_py()),
            how="correct the cell, or empty it to mark the number as missing",
        )
    return column


def _times(text: pa.ChunkedArray, where: Where) -> pa.ChunkedArray | None:
    looks_right = pc.match_substring_regex(text, _TIME)
    if not pc.any(looks_right).as_py():
        return None
    return times(text, where) if _mostly(looks_right) else parse_times(text)


def _flags(text: pa.ChunkedArray) -> pa.ChunkedArray:
    """True and false where all cells say so, otherwise the text itself."""
    words = pc.utf8_lower(text)
    return words.cast(pa.bool_()) if pc.all(pc.match_substring_regex(words, "^(true|false)$")).as_py() else text


def _mostly(fits: pa.ChunkedArray) -> bool:
    known = len(fits) - fits.null_count
    return known >= ENOUGH and bool(pc.sum(fits).as_py() >= MOSTLY * known)


def _refuse(text: pa.ChunkedArray, fits: pa.ChunkedArray, where: Where, wanted: str, how: str) -> NoReturn:
    row = pc.index(pc.fill_null(fits, True), False).as_py()
    raise DataError(f"got {text[row].as_py()!r}, wanted {wanted}", where=where(row), how=how)
