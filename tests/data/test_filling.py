"""Missing cells are filled in, and nothing else is touched."""

import datetime

import numpy as np
import pyarrow as pa
import pytest

from hourglass.data.filling import filled
from hourglass.data.samples import Frame
from hourglass.errors import UsageError

GIVEN = {
    "number": pa.array([1.5, None, float("nan")]),
    "whole": pa.array([1, None, 3], pa.int64()),
    "word": pa.array(["a", None, "c"]),
    "flag": pa.array([True, None, False]),
    "day": pa.array([datetime.date(2024, 1, 1), None, datetime.date(2024, 1, 3)]),
    "unused": pa.array(["x", None, "z"]),
    "full": pa.array([0.1, 0.2, 0.3]),
    "empty": pa.nulls(3),
    "no words": pa.nulls(3, pa.float64()),
}
GUESSES = pa.table(
    {
        "number": [9.0, 2.5, 3.5],
        "whole": [9.0, 1.6, 9.0],
        "word": ["q", "b", "q"],
        "flag": [False, True, True],
        "day": pa.array([datetime.datetime(2024, 1, 2)] * 3, pa.timestamp("us")),
        "full": [9.0, 9.0, 9.0],
        "empty": [7.0, 8.0, 9.0],
        "no words": ["x", "y", "z"],
    }
)


def test_missing_cells_of_a_table_take_the_guess_and_all_others_stay() -> None:
    table = filled(Frame(pa.table(GIVEN)), GUESSES)
    assert table.to_pydict() == {
        "number": [1.5, 2.5, 3.5],
        "whole": [1, 2, 3],
        "word": ["a", "b", "c"],
        "flag": [True, True, False],
        "day": [datetime.date(2024, 1, day) for day in (1, 2, 3)],
        "unused": ["x", None, "z"],
        "full": [0.1, 0.2, 0.3],
        "empty": [7.0, 8.0, 9.0],
        "no words": ["x", "y", "z"],
    }
    assert table.schema.field("whole").type == pa.int64()


def test_missing_numbers_of_an_array_take_the_guess() -> None:
    rows = np.array([[1.0, np.nan], [np.nan, 4.0]])
    np.testing.assert_array_equal(filled(rows, np.full((2, 2), 9.0)), [[1.0, 9.0], [9.0, 4.0]])


def test_what_is_no_table_is_refused() -> None:
    with pytest.raises(UsageError, match="only the cells of a table or an array"):
        filled(np.zeros((5, 2)), np.zeros((3, 2)))
