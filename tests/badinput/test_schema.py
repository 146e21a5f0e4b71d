"""Data for a model that is there already: what must be as it was at fit, what need not, and what is said of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from commands import Command
from refusals import Case, check_refused, check_scored, given

pytestmark = pytest.mark.reliability(1)

Models = Callable[[str], Path]
GOOD = ["a,b,open,town", "0.5,1.0,true,Ghent", "-1.2,-2.4,false,Oslo", "1.0,2.1,true,Turin"]


def table(*lines: str) -> str:
    return "\n".join(lines) + "\n"


def without(column: int) -> str:
    cut = [line.split(",") for line in GOOD]
    return table(*(",".join(cells[:column] + cells[column + 1 :]) for cells in cut))


REFUSED = [
    Case("a column missing", without(1), ("1 column is missing: b",)),
    Case("three columns missing", "b\n1\n2\n", ("3 columns are missing: a, open, town",)),
    Case("a column renamed", table(*GOOD).replace("town", "towns"), ("missing: town", "did you mean 'towns'?")),
    Case("a column in capitals", table(*GOOD).replace("a,b,", "A,b,"), ("missing: a",)),
    Case("no header line", table(*GOOD[1:]), ("missing",)),
    Case("numbers without names", "0.5,1.0\n0.7,1.4\n", ("a, b, open, town",)),
    Case(
        "words where numbers were",
        table(*GOOD, "much,1,true,Oslo"),
        ("line 5, column 'a'", "got 'much', wanted a number"),
    ),
    Case(
        "times where numbers were", table(GOOD[0], *["2024-01-01,1,true,Oslo"] * 3), ("column 'a'", "wanted a number")
    ),
    Case("words where flags were", table(*GOOD, "1,1,ajar,Oslo"), ("line 5, column 'open'", "got 'ajar'")),
    Case("infinity", table(*GOOD, "inf,1,true,Oslo"), ("line 5, column 'a'", "infinite")),
    Case("a picture", b"\x89PNG\r\n\x1a\n" + bytes(40), ("looks like a PNG picture",)),
]


@pytest.mark.parametrize("verb", ["detect with a model", "reconstruct"])
@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.name)
def test_another_schema_is_refused(
    hourglass: Command, model_of: Models, tmp_path: Path, out: Path, case: Case, verb: str
) -> None:
    done = given(hourglass, verb, case.put(tmp_path), out, model_of("shop"))
    check_refused(done, (*case.says, "data.csv"), out)


ACCEPTED = [
    Case("an extra column", table(*(line + ",x" for line in GOOD)), ("unknown to the model and ignored",)),
    Case("an extra column of mixed types", table(*(f"{line},{i}" for i, line in enumerate(GOOD)))),
    Case("a new word", table(*GOOD, "1,2,true,Paris"), ("column 'town'", "unseen when fitted (Paris)")),
    Case("another number in a flag", table(GOOD[0], *["1,2,7,Oslo"] * 3), ("neither 0 nor 1 (7.0)",)),
    Case("missing cells", table(*GOOD, ",,,")),
    Case("one row", table(*GOOD[:2])),
    Case("whole numbers", table(GOOD[0], "1,2,true,Oslo", "3,6,true,Oslo")),
    Case("flags as 0 and 1", table(GOOD[0], "1,2,1,Oslo", "3,6,0,Oslo")),
    Case("a decimal comma", table(*GOOD).replace(",", ";").replace(".", ",")),
    Case("numbers in quotes", table(GOOD[0], '"1.0","2.0","true","Oslo"', '"1.5","3.0","false","Ghent"')),
    Case("huge numbers", table(GOOD[0], "1e30,-1e308,true,Oslo", "1,2,true,Oslo")),
]


@pytest.mark.parametrize("case", ACCEPTED, ids=lambda case: case.name)
def test_what_is_near_enough_is_scored_aloud(
    hourglass: Command, model_of: Models, tmp_path: Path, out: Path, case: Case
) -> None:
    done = given(hourglass, "detect with a model", case.put(tmp_path), out, model_of("shop"))
    check_scored(done, case.says, out)


def scores_of(hourglass: Command, model: Path, folder: Path, content: str) -> list[float]:
    (folder / "data.csv").write_text(content)
    done = given(hourglass, "detect with a model", folder / "data.csv", folder, model)
    assert done.code == 0, done.err
    return [json.loads(line)["anomaly_score"] for line in (folder / "scores.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("order", [(3, 2, 1, 0), (1, 0, 3, 2)])
def test_the_order_of_columns_changes_no_bit(
    hourglass: Command, model_of: Models, samples: Path, tmp_path: Path, order: tuple[int, ...]
) -> None:
    lines = (samples / "shop.csv").read_text().splitlines()
    shuffled = [",".join(line.split(",")[place] for place in order) for line in lines]
    model = model_of("shop")
    as_fitted = scores_of(hourglass, model, tmp_path, table(*lines))
    assert scores_of(hourglass, model, tmp_path, table(*shuffled)) == as_fitted


def test_an_extra_column_changes_no_bit(hourglass: Command, model_of: Models, samples: Path, tmp_path: Path) -> None:
    lines = (samples / "shop.csv").read_text().splitlines()
    model = model_of("shop")
    more = table(f"new,{lines[0]}", *(f"{place},{line}" for place, line in enumerate(lines[1:])))
    assert scores_of(hourglass, model, tmp_path, more) == scores_of(hourglass, model, tmp_path, table(*lines))


def test_a_row_by_itself_scores_as_in_company(
    hourglass: Command, model_of: Models, samples: Path, tmp_path: Path
) -> None:
    header, *lines = (samples / "shop.csv").read_text().splitlines()
    model = model_of("shop")
    together = scores_of(hourglass, model, tmp_path, table(header, *lines))
    for place in (0, 17, 299):
        (alone,) = scores_of(hourglass, model, tmp_path, table(header, lines[place]))
        assert alone == pytest.approx(together[place], rel=1e-6)


SHAPES = {
    "a column too few": (np.zeros((5, 1)), ("4 columns are missing: a, b, open, town", "known: x0")),
    "a column too many": (np.zeros((5, 7)), ("4 columns are missing: a, b, open, town",)),
    "three dimensions": (np.zeros((5, 4, 2)), ("shape",)),
}


@pytest.mark.parametrize("name", SHAPES)
def test_an_array_of_another_shape_is_refused(
    hourglass: Command, model_of: Models, tmp_path: Path, out: Path, name: str
) -> None:
    array, says = SHAPES[name]
    np.save(tmp_path / "data.npy", array)
    check_refused(given(hourglass, "detect with a model", tmp_path / "data.npy", out, model_of("shop")), says, out)


TYPES = {
    "lists": (pa.array([[1.0], [2.0]]), "column 'a' holds list"),
    "bytes": (pa.array([b"1", b"2"]), "column 'a' holds binary"),
    "words": (pa.array(["x", "y"]), "got 'x', wanted a number"),
    "times": (pa.array([0, 1], pa.timestamp("s")), "wanted a number"),
}


@pytest.mark.parametrize("name", TYPES)
def test_a_column_of_another_type_is_refused(
    hourglass: Command, model_of: Models, tmp_path: Path, out: Path, name: str
) -> None:
    column, says = TYPES[name]
    pq.write_table(pa.table({"a": column, "b": [1.0, 2.0]}), tmp_path / "data.parquet")
    done = given(hourglass, "detect with a model", tmp_path / "data.parquet", out, model_of("numbers"))
    check_refused(done, (says, "data.parquet"), out)


WRONG_MODALITY = [
    ("numbers", "pictures", "wanted rows and columns"),
    ("numbers", "sounds", "wanted rows and columns"),
    ("line", "pictures", "wanted a series"),
    ("line", "shop.csv", "columns are missing: 'time', 'value'"),
    ("pictures", "sounds", "pictures"),
    ("pictures", "shop.csv", ""),
    ("sounds", "pictures", "recordings"),
]


@pytest.mark.parametrize(("fitted", "data", "says"), WRONG_MODALITY)
@pytest.mark.parametrize("verb", ["detect with a model"])
def test_data_of_another_modality_are_refused(
    hourglass: Command, model_of: Models, samples: Path, out: Path, fitted: str, data: str, says: str, verb: str
) -> None:
    check_refused(given(hourglass, verb, samples / data, out, model_of(fitted)), (says,), out)
