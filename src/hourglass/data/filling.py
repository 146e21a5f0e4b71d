"""Missing cells filled in with a model's guesses, all other cells left as they are."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hourglass.data.formats import Data, Result
from hourglass.data.samples import Frame
from hourglass.errors import UsageError


def filled(rows: Data, guesses: Result) -> np.ndarray | pa.Table:
    """The rows with missing cells as in `guesses`: an array for an array, a table with all columns for a frame.

    Columns that have no guesses stay as they are; whole numbers stay whole.
    """
    if isinstance(rows, np.ndarray) and isinstance(guesses, np.ndarray) and rows.shape == guesses.shape:
        return np.where(np.isnan(rows), guesses, rows)
    if not isinstance(rows, Frame) or not isinstance(guesses, pa.Table) or rows.table.num_rows != guesses.num_rows:
        what = "only the cells of a table or an array can be filled in"
        raise UsageError(what, where="fill_missing", how="leave --fill-missing out")
    table = rows.table
    for name in guesses.column_names:
        place = table.column_names.index(name)
        table = table.set_column(place, name, _filled(table.column(place), guesses.column(name)))
    return table


def _filled(cells: pa.ChunkedArray, guesses: pa.ChunkedArray) -> pa.ChunkedArray:
    empty = cells.null_count == len(cells) and pa.types.is_floating(cells.type)  # what the reader makes of no cells
    if empty or pa.types.is_null(cells.type):
        return guesses
    missing = pc.is_null(cells, nan_is_null=True)
    if not pc.any(missing).as_py():
        return cells
    if pa.types.is_integer(cells.type) and not pa.types.is_integer(guesses.type):
        guesses = pc.round(guesses)
    return pc.if_else(missing, guesses.cast(cells.type, safe=False), cells)
