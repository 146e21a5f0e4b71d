"""The profile of a table against numpy and counting by hand."""

from __future__ import annotations

import datetime as dt
import json

import numpy as np
import pyarrow as pa
import pytest

from hourglass.data.profiles import profile
from hourglass.data.samples import Frame


def test_profile_of_a_mixed_table():
    amounts, cities = [4.0, 1.0, None, 10.0], ["Rome", "Oslo", None, "Rome"]
    days = [dt.date(2024, 2, 28), dt.date(2024, 3, 1), dt.date(2024, 2, 29), None]
    table = pa.table(
        {"id": [1, 2, 3, 4], "amount": amounts, "city": cities, "day": days, "on": [True, False, True, True]}
    )
    number, amount, city, day, on = profile(Frame(table))
    assert json.dumps([number, amount, city, day, on], allow_nan=False)
    assert (number["kind"], number["left_out"]) == ("unused", "it numbers the rows, like an id")
    assert amount == {
        "name": "amount", "kind": "number", "rows": 4, "missing": 1, "distinct": 3, "common": None, "left_out": None,
        "mean": 5.0, "sd": pytest.approx(np.std([4, 1, 10])), "min": 1.0, "median": 4.0, "max": 10.0,
    }  # fmt: skip
    assert (city["kind"], city["distinct"], city["common"]) == ("category", 2, [["Rome", 2], ["Oslo", 1]])
    assert [day[key] for key in ("min", "median", "max")] == [
        f"2024-{text}T00:00:00" for text in ("02-28", "02-29", "03-01")
    ]
    assert (on["kind"], on["mean"]) == ("flag", 0.75)


def test_profile_of_arrays_and_of_what_cannot_be_used():
    first, second = profile(np.array([[1e308, np.nan], [1.5e308, np.nan], [1.7e308, np.nan]]))
    assert (first["median"], first["missing"], second["missing"], second["mean"]) == (1.5e308, 0, 3, None)
    lists, empty, _ = profile(Frame(pa.table({"lists": [[1], [2]], "empty": pa.nulls(2), "x": [1, 2]})))
    assert lists["left_out"] == "it holds list<item: int64>, which is no number, time, flag or word"
    assert (empty["left_out"], empty["missing"]) == ("it is empty", 2)
