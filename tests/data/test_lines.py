"""Lines read for a model that is there: the delimiter and the columns from the first line, each cell by its column."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from hourglass.data.formats import Format, FormatSettings
from hourglass.data.lines import Block, LineReader, Wanted
from hourglass.data.samples import Frame
from hourglass.data.series import SeriesSettings
from hourglass.data.tables import TableSettings
from hourglass.errors import DataError, SchemaError


def goods() -> Format:
    rows = 40
    size = np.random.default_rng(0).normal(size=rows)
    kind = np.where(size > 0, "large", "small")
    return TableSettings().fit(Frame(pa.table({"price": size, "kind": kind, "paid": size > 1})))


def readings(**columns: Any) -> Format:
    step = np.timedelta64(60, "s")
    time = columns or {"time": np.datetime64("2024-01-01", "s") + np.arange(50) * step}
    return SeriesSettings(window="4").fit(Frame(pa.table({**time, "a": np.arange(50.0)})))


def read(form: Format, *lines: str | bytes, keep_broken: bool = False) -> Block:
    content = [(number, line.encode() if isinstance(line, str) else line) for number, line in enumerate(lines, 1)]
    reader, headed = LineReader.of(content[0], Wanted.by(form))
    return reader.read(content[headed:], keep_broken)


def cells(block: Block) -> dict[str, list[Any]]:
    return {} if block.frame is None else block.frame.table.to_pydict()


@pytest.mark.parametrize(
    "lines",
    [
        ("price,kind,paid", "1234.5,large,true", ",NA,?"),
        ("paid;kind;price", "true;large;1234,5", "?;;NA"),
        ("note\tprice\tkind\tpaid", "so, so\t 1234.5 \tlarge\tTRUE", "x\t\t\t"),
        ('\ufeffprice,kind,"paid"', '"1,234.5","large",1', "nan,null,-"),
        ("price | kind | paid", "1234.5|large|1", "||"),
    ],
)
def test_cells_are_what_their_columns_hold(lines: tuple[str, ...]) -> None:
    found = cells(read(goods(), *lines))
    assert found == {"price": [1234.5, None], "kind": ["large", None], "paid": [1.0, None]}


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("1,large", "stdin, line 3: got 2 cells, wanted 3"),
        ("much,large,1", "stdin, line 3, column 'price': got 'much', wanted a number"),
        ("inf,large,1", "column 'price': got 'inf'"),
        ("1_0,large,1", "column 'price': got '1_0'"),
        ("2024-01-01,large,1", "column 'price': got '2024-01-01'"),
        ('1,"large,1', "stdin, line 3: cannot be cut into cells"),
        (b"1,l\xff,1", "stdin, line 3: is no UTF-8 text"),
    ],
)
def test_a_broken_line_is_told_by_its_number_and_left_out(line: str, complaint: str) -> None:
    block = read(goods(), "price,kind,paid", "1,large,1", line, "2,small,0")
    assert block.lines == [2, 4]
    assert cells(block)["price"] == [1.0, 2.0]
    assert complaint in str(block.broken[3])


def test_a_broken_line_may_be_a_row_of_missing_cells() -> None:
    block = read(readings(), "time,a", "2024-01-01,1", "2024-01-02,?!", "2024-01-03,3", keep_broken=True)
    assert cells(block) == {"a": [1.0, None, 3.0], "time": ["2024-01-01", None, "2024-01-03"]}
    assert block.times == ["2024-01-01", "", "2024-01-03"]
    assert list(block.broken) == [3]


def test_times_stay_as_they_are_written_and_plain_numbers_become_numbers() -> None:
    assert cells(read(readings(), "a,time", "1,2024-01-01 00:00"))["time"] == ["2024-01-01 00:00"]
    block = read(readings(time=np.arange(50) * 0.5), "a,time", "1,2.50")
    assert cells(block)["time"] == [2.5]
    assert block.times == ["2.50"]


@pytest.mark.parametrize(
    ("form", "header", "complaint"),
    [
        (goods(), "price,paid", "columns are missing from the first line: 'kind'"),
        (goods(), "price,Kind,paid", "did you mean 'Kind'"),
        (goods(), "1.5,2,3", "the first line must hold the names"),
        (readings(), "a", "missing from the first line: 'time'"),
        (TableSettings().fit(np.ones((5, 3))), "a,b", "got 2 columns, wanted 3"),
    ],
)
def test_a_first_line_that_lacks_a_column_is_refused(form: Format, header: str, complaint: str) -> None:
    with pytest.raises(SchemaError) as fault:
        read(form, header)
    assert complaint in str(fault.value)


@pytest.mark.parametrize("settings", [TableSettings(), SeriesSettings(window="2")])
def test_numbers_without_names_are_taken_in_their_order(settings: FormatSettings) -> None:
    form = settings.fit(np.ones((40, 2)))
    wanted = {"x0": [1.0, 3.0], "x1": [2.0, 4.0]}
    assert cells(read(form, "1;2", "3;4")) == wanted
    assert cells(read(form, "left,right", "1,2", "3,4")) == wanted
    packed = form.pack(read(form, "1;2", "3;4").frame or np.empty(0))
    np.testing.assert_array_equal(packed.samples, form.pack(np.array([[1.0, 2.0], [3.0, 4.0]])).samples)


def test_two_columns_of_one_name_are_refused() -> None:
    with pytest.raises(DataError, match="two columns are called 'price'"):
        read(goods(), "price,kind,paid,price")
