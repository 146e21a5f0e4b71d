"""One row at a time: `AnomalyDetector.stream()`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, final

import numpy as np
import pyarrow as pa

from hourglass.core.watching import Watch
from hourglass.data.files import from_object
from hourglass.data.formats import Data
from hourglass.errors import DataError


class Verdict(NamedTuple):
    """What a stream says of one row."""

    anomaly_score: float | None
    """High = odd; None where a series has no whole window that ends at this row."""
    p_value: float | None
    is_anomaly: bool


@final
class Stream:
    """Judges one row after another, in memory that does not grow."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch

    def score_one(self, row: Any) -> Verdict:
        """The verdict on the next row: a dict (or pandas series) by column, or numbers in the columns' order.

        The time of a series may be left out: the row is then the next step. A row that is refused changes nothing.
        """
        seen = self._watch.see(_one(row))
        if not len(seen.rows):
            return Verdict(None, None, False)
        return Verdict(float(seen.score[0]), float(seen.p_value[0]), bool(seen.is_anomaly[0]))


def _one(row: Any) -> Data:
    """A row as data of one row."""
    row = row.to_dict() if hasattr(row, "to_dict") else row
    if not isinstance(row, Mapping):
        return np.asarray(row).reshape(1, -1)
    try:
        table = pa.table({str(name): [value] for name, value in row.items()})
    except (pa.ArrowException, TypeError, ValueError) as error:
        how = "give numbers, words, true or false, times, or None"
        raise DataError(f"holds what no column can: {error}", where="the row", how=how) from error
    data: Data = from_object(table)
    return data
