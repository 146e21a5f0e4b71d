"""Numbers, names and reasons as a person would write them, for reports and messages."""

from __future__ import annotations

import math
from typing import Any

from hourglass.core.fitted import Reason

MISSING = "missing"


def number_words(value: Any, digits: int = 4) -> str:
    """A value with so many significant digits and thousands separators; words stay as they are.

    >>> number_words(14000.0), number_words(0.00123456), number_words(3), number_words(-0.0), number_words(None)
    ('14,000', '0.001235', '3', '0', 'missing')
    """
    if not _is_number(value):
        return _word(value)
    if isinstance(value, int) or not math.isfinite(value):
        return f"{value:,}"
    if value and not 1e-5 <= abs(value) < 1e15:
        return f"{value:.{digits - 1}g}"
    return _fixed(value, _decimals(value, digits))


def pair_words(value: Any, expected: Any) -> tuple[str, str]:
    """A value and its expectation with the same decimals: three digits of the larger, more where they would look alike.

    >>> pair_words(14000.2, 1210.4), pair_words(5.00000003, 0.4003), pair_words(2014.21, 2014.24)
    (('14,000', '1,210'), ('5', '0.4'), ('2,014.21', '2,014.24'))
    """
    if not (_is_number(value) and _is_number(expected) and math.isfinite(value) and math.isfinite(expected)):
        return number_words(value), number_words(expected)
    larger = max(abs(value), abs(expected))
    if larger and not 1e-5 <= larger < 1e15:
        return number_words(float(value)), number_words(float(expected))
    first = _decimals(larger, 3)
    for decimals in range(first, first + 4):
        pair = _fixed(value, decimals), _fixed(expected, decimals)
        if pair[0] != pair[1]:
            break
    return pair if pair[0] != pair[1] else (_fixed(value, first), _fixed(expected, first))


def reason_words(reason: Reason) -> str:
    """A reason as a sentence's end.

    >>> reason_words(Reason("amount", 14000.0, 1210.0, 0.8))
    'amount 14,000 where 1,210 was expected'
    """
    value, expected = pair_words(reason.value, reason.expected)
    if value == expected:  # each error counts, even of a right guess that was not certain
        return f"{reason.cell} {value}, which was not certain"
    return f"{reason.cell} {value} where {expected} was expected"


def share_words(share: float) -> str:
    """A share as a percentage.

    >>> share_words(0.8288), share_words(0.0004), share_words(0.01)
    ('83 %', '0.04 %', '1 %')
    """
    return f"{number_words(100 * share, 2 if share < 0.995 else 3)} %"


def counted(count: int, noun: str) -> str:
    """A number of things.

    >>> counted(1, "row"), counted(1200, "row")
    ('1 row', '1,200 rows')
    """
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def shortened(words: str, most: int) -> str:
    """Words cut to so many characters, three dots for what is left out.

    >>> shortened("temperature", 8)
    'tempera…'
    """
    return words if len(words) <= most else f"{words[: most - 1]}…"


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _word(value: Any) -> str:
    if value is None:
        return MISSING
    return str(value).lower() if isinstance(value, bool) else str(value)


def _decimals(value: float, digits: int) -> int:
    """Decimals that show so many significant digits of a value."""
    return max(0, digits - 1 - math.floor(math.log10(abs(value)))) if value else 0


def _fixed(value: float, decimals: int) -> str:
    text = f"{value:,.{decimals}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text
