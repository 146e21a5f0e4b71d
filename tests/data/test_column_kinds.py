"""What becomes of each column of a frame, on made-up and on real tables."""

from __future__ import annotations

import datetime as dt
import gzip
import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest

from hourglass.data.samples import Frame
from hourglass.data.tables import TableFormat, TableSettings
from hourglass.errors import DataError

TABLES = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "tables"

ADULT = ["age", "workclass", "fnlwgt", "education", "education-num", "marital-status", "occupation", "relationship"]
ADULT += ["race", "sex", "capital-gain", "capital-loss", "hours-per-week", "native-country", "income"]


def real(name: str) -> Frame:
    path = TABLES / name
    if not path.exists():
        pytest.skip(f"the data set {name} is not here")
    convert = pa.csv.ConvertOptions(null_values=["", "?"], strings_can_be_null=True)
    if name.startswith("adult"):
        text = gzip.decompress(path.read_bytes()).replace(b", ", b",")
        return Frame(pa.csv.read_csv(io.BytesIO(text), pa.csv.ReadOptions(column_names=ADULT), convert_options=convert))
    return Frame(pa.csv.read_csv(path, convert_options=convert), source=name, first_line=2)


def frame(**columns: Any) -> Frame:
    return Frame(pa.table(columns), source="rows.csv", first_line=2)


def fitted(data: Any, **options: Any) -> TableFormat:
    return TableSettings(**options).fit(data)


def kinds(form: TableFormat) -> dict[str, str]:
    return {column.name: column.kind for column in form.columns}


def test_kinds_of_columns():
    form = fitted(
        frame(
            amount=[1.5, None, 2.0],
            count=[2, 3, 3],
            paid=[True, None, False],
            rare=[0, 0, 1],
            city=["Rome", None, "Rome"],
            day=[dt.date(2024, 2, 28), None, dt.date(2024, 3, 1)],
        )
    )
    assert [column.kind for column in form.columns] == ["number", "number", "flag", "flag", "category", "date"]


def test_real_tables_are_read_as_a_person_would():
    titanic, penguins, mpg = (fitted(real(f"{name}.csv")) for name in ("titanic", "penguins", "mpg"))
    flags = {name for name, kind in kinds(titanic).items() if kind == "flag"}
    assert flags == {"survived", "adult_male", "alone"}
    assert kinds(titanic)["deck"] == kinds(titanic)["alive"] == "category"
    assert kinds(penguins) == dict.fromkeys(("species", "island", "sex"), "category") | dict.fromkeys(
        ("bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g"), "number"
    )
    assert "name" not in kinds(mpg)
    assert mpg.notices == ["column 'name' is left out: it has 305 different words in 398 rows, like free text"]
    adult = fitted(real("adult-train.csv.gz"), ignore="income")
    assert list(kinds(adult)) == ADULT[:-1]
    assert adult.layout.size == adult.pack(real("adult-train.csv.gz")).samples.shape[1]


IDS = {
    "counts from 1": ("id", np.arange(1, 31)),
    "counts in any order": ("PassengerId", np.random.default_rng(0).permutation(30)),
    "called id, with gaps": ("customer_id", np.arange(30) * 7),
    "index of a data frame": ("Unnamed: 0", np.arange(30)),
    "words all different": ("label", [f"name {row}" for row in range(30)]),
}


@pytest.mark.parametrize("case", IDS)
def test_ids_are_left_out_with_a_notice(case):
    name, values = IDS[case]
    form = fitted(frame(**{name: pa.array(values), "x": np.arange(30) % 7}))
    assert list(kinds(form)) == ["x"]
    assert form.notices[0].startswith(f"column {name!r} is left out: ")


NOT_IDS = {
    "a measure that counts": ("x", np.arange(1, 31)),
    "an index with gaps": ("price_index", np.arange(30) * 7),
    "fractions": ("id", np.arange(30) / 2),
    "an id that repeats": ("shop_id", np.arange(30) // 3),
    "a word that ends like id": ("humid", np.arange(30) * 3),
    "few words, all different": ("colour", [f"c{row}" for row in range(20)]),
}


@pytest.mark.parametrize("case", NOT_IDS)
def test_what_is_no_id_stays(case):
    name, values = NOT_IDS[case]
    rows = len(values)
    assert name in kinds(fitted(frame(**{name: pa.array(values), "other": np.arange(rows) % 7})))


@pytest.mark.parametrize("name", ["titanic.csv", "penguins.csv", "mpg.csv", "adult-train.csv.gz"])
def test_real_tables_come_back(name):
    data = real(name)
    form = fitted(data)
    back = form.unpack(form.pack(data).samples)
    for column in form.columns:
        cells, given = back.column(column.name), data.table.column(column.name)
        if column.kind == "number":
            np.testing.assert_allclose(cells.to_numpy(), given.cast(pa.float64()).to_numpy(), rtol=1e-5, atol=1e-4)
        else:
            assert cells.to_pylist() == given.to_pylist()


def test_columns_asked_for_by_name_are_used_even_if_they_look_like_ids():
    data = frame(id=np.arange(30), text=[f"word {row}" for row in range(30)], x=np.arange(30) % 7)
    assert kinds(fitted(data, columns=("id", "text"))) == {"id": "number", "text": "category"}


def test_empty_columns_and_odd_types_are_left_out():
    data = frame(
        nothing=pa.nulls(4),
        gaps=pa.array([None] * 4, pa.float64()),
        nan=np.full(4, np.nan),
        lists=[[1], [2], [3], [4]],
        x=[1.0, 2.0, 3.0, 5.0],
    )
    form = fitted(data)
    assert list(kinds(form)) == ["x"]
    assert [notice.split(" is left out")[0] for notice in form.notices] == [
        "column 'nothing'",
        "column 'gaps'",
        "column 'nan'",
        "column 'lists'",
    ]


def test_nothing_left_is_refused_by_name():
    with pytest.raises(DataError, match="no column is left") as error:
        fitted(frame(id=[1, 2, 3], empty=pa.nulls(3)))
    assert "id: " in error.value.how
    assert "empty: " in error.value.how


def test_constant_columns_stay_and_a_change_in_them_shows():
    form = fitted(frame(limit=[200, 200, 200], unit=["kg"] * 3, on=[True] * 3))
    assert form.notices == ["column 'limit' is always 200", "column 'unit' is always kg", "column 'on' is always True"]
    packed = form.pack(frame(limit=[200, 210], unit=["kg", "lb"], on=[True, False])).samples
    np.testing.assert_allclose(packed, [[0, 1, 0, 1], [5, 0, 1, 0]])


def test_numeric_types_are_numbers():
    decimal = pa.array([1, 2, 5]).cast(pa.decimal128(30, 2))
    columns = {str(kind): pa.array([1, 2, 5], kind) for kind in (pa.int8(), pa.uint64(), pa.float32(), pa.float64())}
    assert set(kinds(fitted(frame(**columns, decimal=decimal))).values()) == {"number"}


def test_dictionary_columns_are_categories():
    form = fitted(frame(c=pa.array(["a", "b", "a"]).dictionary_encode()))
    assert form.columns[0].as_json() == {"kind": "category", "name": "c", "words": ["a", "b"]}


def test_frames_without_names_that_are_all_numbers_are_arrays():
    numbers = np.arange(12.0).reshape(4, 3) % 2
    table = Frame(pa.table(list(numbers.T), names=["a", "b", "id"]), unnamed=True)
    form = fitted(table)
    assert kinds(form) == {"x0": "number", "x1": "number", "x2": "number"}
    np.testing.assert_array_equal(form.unpack(form.pack(table).samples), numbers)
