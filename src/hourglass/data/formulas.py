"""Words that a spreadsheet would run as a formula: in CSV files an apostrophe stands before them.

It is taken away again where CSV is read, so that words come back as they were. Words that have such an apostrophe of
their own get another one.
"""

from __future__ import annotations

import re

import pyarrow as pa
import pyarrow.compute as pc

_RUN = r"\A('*[=+\-@\t\r\n＝＋－＠])"
_HELD = r"\A'('*[=+\-@\t\r\n＝＋－＠])"


def neutralised(words: pa.ChunkedArray) -> pa.ChunkedArray:
    """Words as a CSV file may hold them."""
    return pc.replace_substring_regex(words, _RUN, r"'\1")


def restored(words: pa.ChunkedArray) -> pa.ChunkedArray:
    """Words of a CSV file as they are meant."""
    return pc.replace_substring_regex(words, _HELD, r"\1")


def neutralised_word(word: str) -> str:
    """`neutralised` for a single word.

    >>> neutralised_word("=1+1"), restored_word("'=1+1"), neutralised_word("'=1+1"), neutralised_word("a=1")
    ("'=1+1", '=1+1', "''=1+1", 'a=1')
    """
    return re.sub(_RUN, r"'\1", word)


def restored_word(word: str) -> str:
    """`restored` for a single word."""
    return re.sub(_HELD, r"\1", word)
