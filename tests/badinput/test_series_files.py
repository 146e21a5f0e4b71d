"""Series that are untidy: sorted, averaged and bridged aloud where that is sure, and refused where it is not."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from commands import Command
from refusals import QUICK, Case, check_refused, check_scored, given

pytestmark = pytest.mark.reliability(1)

Models = Callable[[str], Path]
STEP = timedelta(minutes=30)


def line(rows: int = 200) -> list[tuple[datetime, float]]:
    values = np.sin(np.arange(rows) * 2 * np.pi / 12)
    return [(datetime(2024, 3, 1) + place * STEP, float(value)) for place, value in enumerate(values)]


def text(rows: list[tuple[object, object]] | list[tuple[datetime, float]]) -> str:
    return "time,value\n" + "".join(f"{time},{value}\n" for time, value in rows)


def changed(place: int, row: tuple[object, object] | None) -> str:
    rows: list[tuple[object, object]] = list(line())
    rows[place : place + 1] = [] if row is None else [row]
    return text(rows)


def uneven() -> str:
    random = np.random.default_rng(0)
    return text([(time + timedelta(seconds=int(random.integers(-700, 700))), value) for time, value in line()])


REFUSED = [
    Case("a time missing", changed(50, ("", 1)), ("line 52, column 'time'", "the time is missing")),
    Case("a time that is a word", changed(50, ("noon", 1)), ("line 52, column 'time'", "'noon'")),
    Case("a time that never was", changed(50, ("2024-02-30 00:00:00", 1)), ("line 52", "2024-02-30")),
    Case("times with a zone and without", changed(50, ("2024-03-02 01:00:00Z", 1)), ("line 52", "time zone")),
    Case("a value that is a word", changed(50, (line()[50][0], "much")), ("line 52, column 'value'", "'much'")),
    Case("a value that is infinite", changed(50, (line()[50][0], "inf")), ("line 52, column 'value'", "infinite")),
    Case("steps of any length", uneven(), ("of the steps are not a multiple of the usual", "resample")),
    Case(
        "a stray time", changed(0, ("1724-01-01 00:00:00", 1)), ("200 rows are spread over", "check the times around")
    ),
    Case("all times the same", text([(line()[0][0], i) for i in range(50)]), ("1 distinct time, wanted at least 2",)),
    Case("too short for a window", text(line(8)), ("got 8 steps, wanted at least 12",), verbs=("detect with a model",)),
    Case(
        "too short to choose a window",
        text(line(20)),
        ("got a series of 20 steps", "--window"),
        verbs=("fit as series",),
    ),
    Case(
        "gaps everywhere",
        text([row for place, row in enumerate(line()) if place % 10 < 5]),
        ("without a gap, wanted at least 12",),
        verbs=("detect with a model",),
    ),
    Case(
        "no value at all",
        text([(time, "") for time, _ in line()]),
        ("every value is missing",),
        verbs=("fit as series",),
    ),
    Case(
        "another sampling step",
        text([(time + place * STEP, value) for place, (time, value) in enumerate(line())]),
        ("got a step of 1h, wanted 30min", "resample"),
        verbs=("detect with a model",),
    ),
    Case(
        "only words",
        "time,name\n" + "".join(f"{time},w{i}\n" for i, (time, _) in enumerate(line())),
        ("got no column of numbers",),
        verbs=("fit as series",),
    ),
]
PAIRS = {f"{case.name}, {verb}": (case, verb) for case in REFUSED for verb in case.verbs}


@pytest.mark.parametrize(("case", "verb"), PAIRS.values(), ids=PAIRS)
def test_a_bad_series_is_refused(
    hourglass: Command, model_of: Models, tmp_path: Path, out: Path, case: Case, verb: str
) -> None:
    verb = "fit as series" if verb == "fit" else verb
    done = given(hourglass, verb, case.put(tmp_path), out, model_of("line"))
    check_refused(done, case.says, out)


ACCEPTED = [
    Case("in reverse", text(line()[::-1]), ("came after a later time: the series was sorted by time",)),
    Case(
        "shuffled",
        text([line()[place] for place in np.random.default_rng(0).permutation(200)]),
        ("the series was sorted by time",),
    ),
    Case("a time twice", changed(50, line()[49]), ("1 row repeated a time", "averaged")),
    Case("one step missing", changed(50, None), ("1 missing step filled by straight lines",)),
    Case("a value missing", changed(50, (line()[50][0], "")), ("1 missing step filled by straight lines",)),
    Case("a long gap", text(line()[:80] + line()[120:]), ("40 missing steps in 1 gap", "windows there are left out")),
    Case("a zone", text([(f"{time}+02:00", value) for time, value in line()])),
    Case("a little uneven", changed(50, (line()[50][0] + timedelta(minutes=5), 0.5)), ("off the 30min grid",)),
    Case("another column", text(line()).replace("\n", ",7\n").replace("value,7", "value,new"), ("'new'",)),
    Case("a huge value", changed(50, (line()[50][0], "1e30"))),
]


@pytest.mark.parametrize("case", ACCEPTED, ids=lambda case: case.name)
def test_an_untidy_series_is_scored_row_by_row(
    hourglass: Command, model_of: Models, tmp_path: Path, out: Path, case: Case
) -> None:
    data = case.put(tmp_path)
    rows = len(data.read_text().splitlines()) - 1
    done = given(hourglass, "detect with a model", data, out, model_of("line"))
    check_scored(done, case.says, out, rows=rows)


def test_no_window_reaches_over_a_gap(hourglass: Command, model_of: Models, tmp_path: Path, out: Path) -> None:
    rows = line()
    rows = rows[:80] + rows[120:]
    path = tmp_path / "data.csv"
    path.write_text(text(rows))
    done = given(hourglass, "encode", path, out, model_of("line"))
    assert done.code == 0, done.err
    with (out / "codes.csv").open(newline="") as file:
        names = [row["window"] for row in csv.DictReader(file)]
    assert len(names) > 20
    gap = rows[79][0], rows[80][0]
    for name in names:
        first, last = (datetime.fromisoformat(each) for each in name.split(" to "))
        assert last <= gap[0] or first >= gap[1], name
        assert last - first == 11 * STEP


def test_order_and_zone_change_no_score(hourglass: Command, model_of: Models, tmp_path: Path, out: Path) -> None:
    found = []
    for content in (text(line()), text(line()[::-1]), text([(f"{time}Z", value) for time, value in line()])):
        (tmp_path / "data.csv").write_text(content)
        done = given(hourglass, "detect with a model", tmp_path / "data.csv", out, model_of("line"))
        assert done.code == 0, done.err
        lines = [json.loads(each) for each in (out / "scores.jsonl").read_text().splitlines()]
        found.append({each["time"][:19]: each["anomaly_score"] for each in lines})
    assert found[0] == found[1] == found[2]


def test_a_series_in_an_array_is_refused_where_it_is_too_short(
    hourglass: Command, model_of: Models, tmp_path: Path, out: Path
) -> None:
    np.save(tmp_path / "data.npy", np.arange(5.0))
    done = given(hourglass, "detect with a model", tmp_path / "data.npy", out, model_of("steps"))
    check_refused(done, ("got 5 steps, wanted at least 12",), out)


WINDOWS = {
    "a word": ("soon", "got 'soon' for the window"),
    "one step": ("1", "got a window of 1 steps"),
    "no whole number of steps": ("45min", "a window of 45min is 1.5 steps of 30min"),
    "less than nothing": ("-4", "got '-4' for the window"),
    "longer than the series": ("1000", "wanted at least 1000"),
}


@pytest.mark.parametrize("name", WINDOWS)
def test_a_window_that_cannot_be_is_refused(hourglass: Command, tmp_path: Path, out: Path, name: str) -> None:
    (tmp_path / "data.csv").write_text(text(line()))
    window, says = WINDOWS[name]
    done = hourglass("fit", tmp_path / "data.csv", "-o", out / "new", f"--window={window}", *QUICK)
    assert done.code in (2, 3)
    check_refused(done, (says,), out, done.code)
