"""Tables: what becomes of each column, packing and unpacking, and what is refused."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from hourglass.data.formats import FormatSettings
from hourglass.data.samples import Frame
from hourglass.data.scaling import SCALERS
from hourglass.data.tables import TableFormat, TableSettings
from hourglass.errors import DataError, ModelFileError, SchemaError, UsageError
from hourglass.settings import Part


def frame(**columns: Any) -> Frame:
    return Frame(pa.table(columns), source="rows.csv", first_line=2)


def fitted(data: Any, **options: Any) -> TableFormat:
    return TableSettings(**options).fit(data)


def kinds(form: TableFormat) -> dict[str, str]:
    return {column.name: column.kind for column in form.columns}


def mixed(rows: int = 60) -> Frame:
    draw = np.random.default_rng(0)
    start = dt.datetime(2024, 2, 28, 23, 59, 30)
    return frame(
        amount=[None if row == 5 else float(draw.normal(100, 20)) for row in range(rows)],
        count=pa.array(draw.integers(0, 9, rows)),
        paid=[None if row == 7 else bool(row % 3) for row in range(rows)],
        rare=pa.array((np.arange(rows) % 10 == 0).astype(np.int64)),
        city=[None if row == 9 else ["Rome", "Oslo", "Rome", "Bern"][row % 4] for row in range(rows)],
        when=[None if row == 11 else start + dt.timedelta(hours=row) for row in range(rows)],
    )


# --- packing, checked by hand


def test_places_of_each_kind():
    data = frame(n=[1.0, 3.0, None], f=[True, None, False], c=["b", "a", "b"])
    packed = fitted(data).pack(data)
    np.testing.assert_array_equal(packed.samples, [[-1, 1, 1, 0, 0], [1, np.nan, 0, 1, 0], [np.nan, 0, 1, 0, 0]])
    assert packed.samples.dtype == np.float32
    assert packed.places is None
    assert packed.notices == []


def test_words_are_sorted_by_frequency_then_name_and_rare_ones_share_a_place():
    data = frame(c=["d", "b", "a", "c", "c", "b", "b", "c"], x=range(8))
    form = fitted(data, max_categories=3)
    assert form.columns[0].as_json()["words"] == ["b", "c", "a"]
    assert form.notices == ["column 'c': the 1 rarest of 4 words count as 'other'"]
    packed = form.pack(frame(c=["d", "b", None, "new"], x=range(4)))
    np.testing.assert_array_equal(packed.samples[:, :4], [[0, 0, 0, 1], [1, 0, 0, 0], [np.nan] * 4, [0, 0, 0, 1]])
    assert packed.notices == ["column 'c': 2 rows hold a word rare or unseen when fitted (d, new)"]


def test_baselines_are_the_losses_of_always_saying_the_mean():
    data = frame(n=[1.0, 2.0, 6.0, None], f=[True, True, True, False], c=["a", "a", "b", "c"], same=[4.0] * 4)
    number, flag, category, constant = fitted(data).layout.cells
    assert number.baseline == pytest.approx(1)
    assert flag.baseline == pytest.approx(-(0.75 * np.log(0.75) + 0.25 * np.log(0.25)))
    assert category.baseline == pytest.approx(-(0.5 * np.log(0.5) + 2 * 0.25 * np.log(0.25)))
    assert constant.baseline == 1
    spread = fitted(np.array([[0.0], [1.0]]), scaling="min-max").layout.cells[0]
    assert spread.baseline == pytest.approx(0.25)
    one_word = fitted(frame(c=["a", "a"], x=[1, 2])).layout.cells[0]
    assert one_word.baseline == 0.05


def test_columns_are_found_by_name():
    data = mixed()
    form = fitted(data)
    usual = form.pack(data)
    shuffled = Frame(data.table.select(data.table.column_names[::-1]).append_column("note", [["x"] * 60]))
    packed = form.pack(shuffled)
    np.testing.assert_array_equal(packed.samples, usual.samples)
    assert packed.notices == ["1 column is unknown to the model and ignored: note"]


def test_ignored_and_left_out_columns_need_no_notice_later():
    form = fitted(frame(id=range(1, 31), label=[0, 1] * 15, x=np.arange(30) % 7), ignore="label")
    assert list(kinds(form)) == ["x"]
    assert form.pack(frame(id=range(1, 4), label=[0, 1, 1], x=[1, 2, 3])).notices == []
    assert form.pack(frame(x=[1, 2, 3])).notices == []


def test_chosen_columns_keep_the_data_order():
    assert list(kinds(fitted(mixed(), columns=("city", "amount")))) == ["amount", "city"]
    form = fitted(np.arange(12.0).reshape(4, 3), columns=("x2", "x0"))
    back = form.unpack(form.pack(np.arange(12.0).reshape(4, 3)).samples)
    np.testing.assert_allclose(back[0], [0, 2], atol=1e-6)


def test_options_that_name_no_column_are_refused():
    with pytest.raises(UsageError, match="did you mean 'amount'"):
        fitted(mixed(), ignore="amuont")
    with pytest.raises(UsageError, match="x7"):
        fitted(np.eye(3), columns="x7")
    with pytest.raises(DataError, match="no column is left"):
        fitted(np.eye(2), ignore=("x0", "x1"))
    with pytest.raises(UsageError, match="fixed range"):
        fitted(np.eye(2), low=0)


def test_a_number_where_flags_were_counts_as_the_rarer_flag():
    form = fitted(frame(often=[1, 1, 1, 0], x=[1, 2, 3, 4]))
    packed = form.pack(frame(often=[2, 1], x=[1, 2]))
    np.testing.assert_array_equal(packed.samples[:, 0], [0, 1])
    assert packed.notices == ["column 'often': 1 row holds neither 0 nor 1 (2.0), taken as 0"]


@pytest.mark.parametrize("scaling", SCALERS)
def test_every_scaling_fits_and_comes_back(scaling):
    numbers = np.random.default_rng(0).normal(size=(300, 4)) * [1, 10, 0.1, 5]
    form = fitted(numbers, scaling=scaling, over="column")
    np.testing.assert_allclose(form.unpack(form.pack(numbers).samples), numbers, atol=1e-3)


def test_a_fixed_range_for_pictures():
    form = fitted(np.array([[10.0, 20.0]]), scaling="min-max", low=0, high=255)
    np.testing.assert_allclose(form.pack(np.array([[0.0, 255.0]])).samples, [[0, 1]])


# --- there and back


FLOATS = st.floats(-1e9, 1e9, allow_subnormal=False)  # those are flushed to 0


@given(arrays.arrays(np.float64, st.tuples(st.integers(1, 20), st.integers(1, 4)), elements=FLOATS))
def test_arrays_come_back(numbers):
    form = fitted(numbers)
    back = form.unpack(form.pack(numbers).samples)
    assert back.shape == numbers.shape
    np.testing.assert_allclose(back, numbers, rtol=1e-6, atol=1e-5 * abs(numbers).max())


WORDS = st.text(st.characters(exclude_categories=("Cs",)), max_size=6)


@given(st.lists(st.none() | WORDS, min_size=1, max_size=20).filter(any))
def test_words_come_back_exactly(words):
    data = frame(word=pa.array(words, pa.string()), x=np.arange(len(words)) % 3)
    form = fitted(data)
    assert form.unpack(form.pack(data).samples).column("word").to_pylist() == words


def test_a_mixed_table_comes_back_in_its_own_form():
    data = mixed()
    form = fitted(data)
    back = form.unpack(form.pack(data).samples)
    assert back.column_names == data.table.column_names
    for name in ("paid", "rare", "city"):
        assert back.column(name).type == data.table.column(name).type
        assert back.column(name).to_pylist() == data.table.column(name).to_pylist()
    for name in ("amount", "count"):
        wanted = np.array(data.table.column(name).to_pylist(), dtype=float)
        np.testing.assert_allclose(np.array(back.column(name).to_pylist(), dtype=float), wanted, rtol=1e-5, atol=1e-6)
    pairs = zip(back.column("when").to_pylist(), data.table.column("when").to_pylist(), strict=True)
    assert all(got == want if want is None else abs((got - want).total_seconds()) < 0.1 for got, want in pairs)


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Rome"])
def test_dates_of_every_unit_come_back(unit, zone):
    times = [dt.datetime(1969, 12, 31, 23, 0, 1), None, dt.datetime(1970, 1, 2), dt.datetime(1970, 1, 3, 4, 5, 6)]
    data = frame(when=pa.array(times, pa.timestamp(unit, zone)))
    back = fitted(data).unpack(fitted(data).pack(data).samples).column("when")
    seconds = back.cast(pa.timestamp("s", back.type.tz), safe=False).cast(pa.int64()).to_pylist()
    assert back.type.unit == unit
    assert [seconds[0], seconds[1], seconds[3]] == pytest.approx([-3599, None, 187506], abs=1)


def test_a_network_that_expects_the_impossible_still_gives_dates_and_words():
    form = fitted(mixed())
    for value in (-1e30, 0.4, 1e30):
        row = form.unpack(np.full((1, form.layout.size), value, dtype=np.float32)).to_pylist()[0]
        assert isinstance(row["when"], dt.datetime)
        assert row["city"] in ("Rome", "Oslo", "Bern", "other")


def test_probabilities_become_the_likeliest_word_and_flag():
    form = fitted(frame(f=[True, False], c=["a", "b"]))
    back = form.unpack(np.array([[0.5, 0.2, 0.7, 0.1], [0.49, 0.2, 0.3, 0.5]], dtype=np.float32))
    assert back.to_pylist() == [{"f": True, "c": "b"}, {"f": False, "c": "other"}]


def test_cells_in_units():
    form = fitted(mixed(), ignore="amount")
    data = mixed()
    cells = dict(zip(form.cell_names(), form.cells_in_units(form.pack(data).samples[2]), strict=True))
    assert cells["paid"] is True
    assert cells["rare"] == 0
    assert cells["city"] == "Rome"
    assert cells["count"] == pytest.approx(data.table.column("count")[2].as_py(), abs=1e-5)
    assert cells["when"].startswith("2024-02-29T01:59")
    assert form.cells_in_units(np.full(form.layout.size, np.nan)) == [None] * 5
    assert fitted(np.eye(2)).cells_in_units(np.array([np.nan, -1.0])) == [None, 0.0]


def test_rows_are_samples():
    rows = fitted(np.eye(3)).rows(np.array([1, 2, 3], dtype=np.float32), None)
    assert rows.index.to_pylist() == [0, 1, 2]
    assert rows.score.dtype == np.float64
    assert rows.covered.all()


# --- arrays and frames for each other


def test_arrays_fit_a_frame_of_numbers_by_position():
    form = fitted(frame(a=[1.0, 3.0], b=[2.0, 6.0]))
    np.testing.assert_array_equal(form.pack(np.array([[1.0, 6.0]])).samples, [[-1, 1]])
    with pytest.raises(SchemaError, match=r"got 3 columns of numbers without names, wanted the columns a, b"):
        form.pack(np.ones((1, 3)))
    with pytest.raises(SchemaError, match="without names"):
        fitted(mixed()).pack(np.ones((1, 6)))


def test_frames_fit_an_array_by_name_or_by_position():
    form = fitted(np.array([[1.0, 2.0], [3.0, 6.0]]))
    named, unnamed = form.pack(frame(x1=[6], x0=[1])), form.pack(Frame(pa.table({"p": [1], "q": [6]}), unnamed=True))
    guessed = form.pack(frame(city=["Rome"], p=[1], q=[6]))
    for packed in (named, unnamed, guessed):
        np.testing.assert_array_equal(packed.samples, [[-1, 1]])
    assert named.notices == unnamed.notices == []
    assert guessed.notices == ["the model knows no names: p, q taken by position"]
    with pytest.raises(SchemaError, match=r"rows\.csv: got 1 columns of numbers, wanted 2"):
        form.pack(frame(p=[1], city=["Rome"]))


# --- what is refused


def test_missing_columns_are_all_named():
    with pytest.raises(SchemaError, match="2 columns are missing: amount, city") as error:
        fitted(mixed()).pack(Frame(mixed().table.rename_columns({"amount": "amonut", "city": "town"})))
    assert error.value.how == "did you mean 'amonut'?"


def test_text_where_numbers_were_is_refused_with_row_and_value():
    form = fitted(mixed())
    rows = mixed().table
    bad = pa.array([str(row) if row != 3 else "much" for row in range(60)])
    with pytest.raises(SchemaError, match=r"rows.csv, line 5, column 'amount': got 'much', wanted a number"):
        form.pack(Frame(rows.set_column(0, "amount", bad), source="rows.csv", first_line=2))
    with pytest.raises(SchemaError, match=r"column 'when': got '0', wanted a time such as"):
        form.pack(Frame(rows.set_column(5, "when", bad)))
    with pytest.raises(SchemaError, match=r"column 'amount': got '2024-02-28 23:59:30', wanted a number"):
        form.pack(Frame(rows.set_column(0, "amount", rows.column("when"))))


def test_other_types_that_say_the_same_are_taken():
    data = mixed()
    form = fitted(data)
    usual = form.pack(data).samples
    as_text = Frame(pa.table({name: data.table.column(name).cast(pa.string()) for name in data.table.column_names}))
    np.testing.assert_allclose(form.pack(as_text).samples, usual, rtol=1e-6)
    nothing = Frame(pa.table({name: pa.nulls(2) for name in data.table.column_names}))
    assert np.isnan(form.pack(nothing).samples).all()
    whole = data.table.set_column(0, "amount", pa.array(np.arange(60)))
    assert np.isfinite(form.pack(Frame(whole)).samples[:, 0]).all()


@pytest.mark.parametrize("infinity", [np.inf, -np.inf])
def test_infinity_is_refused_with_its_place(infinity):
    numbers = np.ones((4, 3))
    numbers[2, 1] = infinity
    with pytest.raises(DataError, match=r"row 2, column 'x1': got infinity, wanted a finite number"):
        fitted(numbers)
    with pytest.raises(DataError, match=r"row 2, column 'x1'"):
        fitted(np.eye(3)).pack(numbers)
    with pytest.raises(DataError, match=r"rows.csv, line 4, column 'b': got infinity"):
        fitted(frame(a=[1.0, 2.0, 3.0, 4.0], b=numbers[:, 1]))


def test_arrays_that_are_no_table_are_refused():
    for shape in ((3,), (3, 2, 2), (3, 0)):
        with pytest.raises(DataError, match="wanted \\(rows, columns\\)"):
            fitted(np.ones(shape))
    with pytest.raises(DataError, match="no rows"):
        fitted(np.ones((0, 2)))
    with pytest.raises(DataError, match="no rows"):
        fitted(frame(x=pa.array([], pa.float64())))
    with pytest.raises(DataError, match="complex"):
        fitted(np.ones((2, 2), dtype=complex))
    with pytest.raises(SchemaError, match="got 3 columns, wanted 2"):
        fitted(np.eye(2)).pack(np.ones((1, 3)))
    with pytest.raises(DataError, match="two columns are called 'a'"):
        fitted(Frame(pa.table([[1], [2]], names=["a", "a"])))


def test_arrays_of_objects_and_text_are_read_as_numbers():
    form = fitted(np.array([[1, None], ["3", 2.5], [True, 4]], dtype=object))
    back = form.unpack(form.pack(np.array([["1", "2.5"]])).samples)
    np.testing.assert_allclose(back, [[1, 2.5]], rtol=1e-6)
    with pytest.raises(DataError, match=r"row 1, column 'x0': got 'three', wanted a number"):
        fitted(np.array([[1, 2], ["three", 4]], dtype=object))


def test_single_precision_packs_as_double_does():
    numbers = (1e4 + np.random.default_rng(0).normal(size=(50, 3))).astype(np.float32)
    single, double = (TableSettings().fit(each) for each in (numbers, numbers.astype(np.float64)))
    for form in (single, double):
        for each in (numbers, numbers.astype(np.float64)):
            np.testing.assert_array_equal(form.pack(each).samples, double.pack(numbers).samples)


def test_arrays_may_hold_constant_and_empty_columns():
    numbers = np.column_stack([np.arange(3.0), np.full(3, 7.0), np.full(3, np.nan)])
    form = fitted(numbers)
    assert form.notices == ["2 of 3 columns never change: x1, x2"]
    np.testing.assert_allclose(form.unpack(form.pack(numbers).samples), numbers, atol=1e-6)


def test_one_row_one_column_and_no_rows_work():
    form = fitted(np.array([[4.0]]))
    np.testing.assert_array_equal(form.pack(np.array([[4.0]])).samples, [[0]])
    assert form.pack(np.empty((0, 1))).samples.shape == (0, 1)
    form = fitted(frame(a=[1.0], b=["x"]))
    assert form.pack(
        Frame(pa.table({"a": pa.array([], pa.float64()), "b": pa.array([], pa.string())}))
    ).samples.shape == (0, 3)
    assert form.unpack(np.empty((0, 3), dtype=np.float32)).num_rows == 0


# --- saved models


def stored(form: TableFormat) -> TableFormat:
    return TableFormat.restore(json.loads(json.dumps(form.document(), allow_nan=False)), form.tensors())


@pytest.mark.parametrize("scaling", SCALERS)
@pytest.mark.parametrize("make", [mixed, lambda: np.random.default_rng(0).normal(size=(50, 3))], ids=["frame", "array"])
def test_a_stored_format_is_the_same_to_the_bit(make, scaling):
    form = fitted(make(), scaling=scaling, over="all", max_categories=2)
    again = stored(form)
    assert again.document() == form.document()
    assert again.layout == form.layout
    samples = form.pack(make()).samples
    np.testing.assert_array_equal(again.pack(make()).samples, samples)
    if isinstance(make(), Frame):
        assert again.unpack(samples).equals(form.unpack(samples))


def test_a_format_without_numbers_needs_no_tensors():
    form = fitted(frame(c=["a", "b"]))
    assert form.tensors() == {}
    np.testing.assert_array_equal(stored(form).pack(frame(c=["b"])).samples, [[0, 1, 0]])


DAMAGE: dict[str, Callable[[dict[str, Any]], Any]] = {
    "no columns": lambda document: document.pop("columns"),
    "empty columns": lambda document: document["columns"].clear(),
    "a column less": lambda document: document["columns"].pop(),
    "unknown kind": lambda document: document["columns"][0].update(kind="secret"),
    "unknown option": lambda document: document["columns"][0].update(secret=1),
    "a name that is no text": lambda document: document["columns"][0].update(name=3),
    "a name that was not offered": lambda document: document["offered"].remove("amount"),
    "a word less": lambda document: document["columns"][4]["words"].pop(),
    "words that are no text": lambda document: document["columns"][4].update(words=[1, 2, 3]),
    "a form that is no type": lambda document: document["columns"][2].update(form="secret"),
    "a flag that is neither": lambda document: document["columns"][2].update(rare=2),
    "a unit that is none": lambda document: document["columns"][5].update(unit="year"),
    "another shape": lambda document: document["layout"].update(shape=[3]),
    "a baseline of 0": lambda document: document["layout"]["cells"][0].__setitem__(3, 0.0),
    "a baseline that is text": lambda document: document["layout"]["cells"][0].__setitem__(3, "1"),
    "another scaler": lambda document: document.update(scaler="quantile"),
    "unknown scaler": lambda document: document.update(scaler="secret"),
    "settings of another part": lambda document: document.update(settings={"is": "secret"}),
    "settings out of range": lambda document: document["settings"].update(max_categories=0),
}


@pytest.mark.parametrize("change", DAMAGE)
def test_damaged_documents_are_refused(change):
    form = fitted(mixed())
    document = json.loads(json.dumps(form.document()))
    DAMAGE[change](document)
    with pytest.raises(ModelFileError):
        TableFormat.restore(document, form.tensors())


def test_tensors_of_another_format_are_refused():
    with pytest.raises(ModelFileError):
        TableFormat.restore(fitted(mixed()).document(), fitted(np.eye(2)).tensors())
    with pytest.raises(ModelFileError):
        TableFormat.restore(fitted(mixed()).document(), {})


def test_settings_are_a_named_part():
    assert isinstance(FormatSettings.named("table"), Part)
    assert FormatSettings.from_json(TableSettings(ignore="y", low=0).as_json()) == TableSettings(ignore="y", low=0)


def test_scales_can_be_learned_anew_from_some_rows() -> None:
    numbers = np.arange(40, dtype=np.float64).reshape(20, 2) ** 2
    chosen = np.arange(3, 11)
    again = fitted(numbers).rescaled(numbers, chosen)
    assert np.array_equal(again.pack(numbers).samples, fitted(numbers[chosen]).pack(numbers).samples)
