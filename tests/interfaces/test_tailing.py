"""`detect MODEL -`: lines are judged as they come, as `detect MODEL FILE` would judge them."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import signal
import subprocess
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, cast

import numpy as np
import pytest
from commands import Command, Done

from hourglass.interfaces.cli import run

ROOT = Path(__file__).resolve().parents[2]
QUICK = ("--kind", "plain", "--epochs", "3", "--false-alarm-rate", "0.1", "--quiet")
WINDOW = 6
Piped = Callable[..., Done]


class Pieces:
    """Stdin that gives its bytes piece by piece, as a pipe does."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = iter(pieces)

    def read1(self, size: int) -> bytes:
        return next(self._pieces, b"")


@pytest.fixture
def piped(hourglass: Command, monkeypatch: pytest.MonkeyPatch) -> Piped:
    """The command with these bytes on stdin."""

    def call(model: Path, content: bytes | list[bytes], *words: str) -> Done:
        pieces = [content] if isinstance(content, bytes) else content
        monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(buffer=Pieces(pieces)))
        return hourglass("detect", model, "-", *words)

    return call


def fitted(folder: Path, name: str, header: list[str], rows: list[list[object]], *words: str) -> Path:
    """A model of these rows, which lie in a file beside it."""
    with (folder / f"{name}.csv").open("w", newline="") as handle:
        csv.writer(handle, lineterminator="\n").writerows([header, *rows])
    model = folder / f"{name}.safetensors"
    assert run(["fit", str(folder / f"{name}.csv"), "-o", str(model), *QUICK, *words]) == 0
    return model


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    random = np.random.default_rng(0)
    size = random.normal(size=300)
    rows = [[each, 3 * each + random.normal() / 10, "large" if each > 0 else "small"] for each in size.tolist()]
    rows[100][1] = 40.0
    return fitted(tmp_path_factory.mktemp("table"), "goods", ["price", "weight", "kind"], rows)


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Path:
    start = np.datetime64("2024-01-01T00:00:00", "s")
    rows = [[str(start + 60 * step), float(np.sin(step / 3))] for step in range(200)]
    words = ("--window", str(WINDOW), "--set", "format.stride=1")
    return fitted(tmp_path_factory.mktemp("series"), "wave", ["when", "level"], rows, "--time", "when", *words)


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A series without times."""
    rows = [[float(np.sin(step / 3))] for step in range(200)]
    words = ("--modality", "series", "--window", str(WINDOW), "--set", "format.stride=1")
    return fitted(tmp_path_factory.mktemp("steps"), "level", ["level"], rows, *words)


def content(model: Path) -> bytes:
    return model.with_suffix(".csv").read_bytes()


# What is said of a row


def test_a_piped_table_is_judged_as_the_file_is(hourglass: Command, piped: Piped, table: Path) -> None:
    from_file, from_pipe = hourglass("detect", table, table.with_suffix(".csv")), piped(table, content(table))
    assert from_pipe.code == 0
    for there, here in zip(from_file.lines, from_pipe.lines, strict=True):
        assert float(here["anomaly_score"]) == pytest.approx(float(there["anomaly_score"]), rel=1e-6)
        assert float(here["p_value"]) == float(there["p_value"])
        assert all(here[name] == there[name] for name in ("row", "is_anomaly", "reasons"))
    assert from_pipe.lines[100]["is_anomaly"] == "true"
    assert "weight: 40 where" in from_pipe.lines[100]["reasons"]
    assert "in 300 rows" in from_pipe.err


@pytest.mark.parametrize("size", [1, 50, 100_000])
def test_the_pieces_in_which_lines_come_change_nothing(piped: Piped, table: Path, size: int) -> None:
    text = content(table)[:3_000].replace(b"\n", b"\r\n")
    whole = piped(table, text)
    pieces = [text[start : start + size] for start in range(0, len(text), size)]
    assert piped(table, pieces).out == whole.out
    assert len(whole.lines) == text.count(b"\n")  # the header has a line, and the last line has no end


def test_json_is_one_object_a_line(piped: Piped, table: Path, series: Path) -> None:
    told = [json.loads(line) for line in piped(table, content(table), "--json").out.splitlines()]
    assert [each["row"] for each in told] == list(range(300))
    assert told[100]["reasons"][0]["cell"] == "weight"
    assert [each["is_anomaly"] for each in told] == [bool(each["reasons"]) for each in told]
    waves = [
        json.loads(line) for line in piped(series, content(series), "--json", "--reasons", "none").out.splitlines()
    ]
    assert waves[0] == {
        **{"row": 0, "time": "2024-01-01T00:00:00", "anomaly_score": None, "p_value": None, "is_anomaly": False},
        "reasons": [],
    }
    assert waves[WINDOW - 1]["anomaly_score"] > 0


def test_a_step_is_known_by_its_time_and_the_first_ones_have_no_score(piped: Piped, series: Path) -> None:
    done = piped(series, content(series))
    assert [line["time"] for line in done.lines[:2]] == ["2024-01-01T00:00:00", "2024-01-01T00:01:00"]
    scores = [line["anomaly_score"] for line in done.lines]
    assert scores[: WINDOW - 1] == [""] * (WINDOW - 1)
    assert all(map(float, scores[WINDOW - 1 :]))
    assert f"each step is judged by the {WINDOW} steps that end there" in done.err


def test_reasons_may_be_given_for_every_row(piped: Piped, table: Path) -> None:
    assert all(line["reasons"] for line in piped(table, content(table), "--reasons", "all").lines)
    assert not any(line["reasons"] for line in piped(table, content(table), "--reasons", "none").lines)


def test_anomalies_can_be_an_exit_code(piped: Piped, table: Path) -> None:
    assert piped(table, content(table), "--fail-on-anomaly").code == 4
    assert piped(table, content(table)[:200].rpartition(b"\n")[0], "--fail-on-anomaly", "--adapt").code in (0, 4)


# What is wrong


def test_a_broken_line_is_told_and_left_out(piped: Piped, table: Path) -> None:
    done = piped(table, b"price,weight,kind\n1,3,large\n1,3\n\n1,many,large\n-1,-3,small\n")
    assert done.code == 3
    assert [line["row"] for line in done.lines] == ["0", "3"]
    assert "stdin, line 3: got 2 cells, wanted 3" in done.err
    assert "stdin, line 5, column 'weight': got 'many', wanted a number" in done.err
    assert "2 broken lines left out" in done.err


def test_a_time_that_comes_again_is_a_broken_line(piped: Piped, series: Path) -> None:
    lines = content(series).splitlines(keepends=True)[:20]
    done = piped(series, b"".join([*lines, lines[5], b"2024-01-01 nonsense,1\n", b"2024-01-01T00:19:00,0.05\n"]))
    assert done.code == 3
    assert len(done.lines) == 20
    assert "stdin, line 21, column 'when': got 2024-01-01 00:04 after 2024-01-01 00:18" in done.err
    assert "line 22" in done.err
    assert done.lines[-1]["anomaly_score"]


@pytest.mark.parametrize(("broken", "judged"), [(2, True), (3, False)])
def test_without_times_a_broken_line_is_a_missing_step(piped: Piped, steps: Path, broken: int, judged: bool) -> None:
    """Two are bridged as in a file, over three no window reaches."""
    lines = content(steps).splitlines(keepends=True)
    done = piped(steps, b"".join([*lines[:11], *[b"oh\n"] * broken, *lines[11:13]]))
    assert done.code == 3
    assert [line["row"] for line in done.lines] == [str(row) for row in [*range(10), 10 + broken, 11 + broken]]
    assert bool(done.lines[-1]["anomaly_score"]) == judged


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (b"price,weight\n1,2\n", "columns are missing from the first line: 'kind'"),
        (b"", "got no line"),
        (b"price,weight,kind\n" + b"1" * 1_100_000, "stdin, line 2: the line is longer than 1,048,576 bytes"),
    ],
)
def test_a_stream_that_cannot_be_read_is_refused(piped: Piped, table: Path, text: bytes, complaint: str) -> None:
    done = piped(table, text)
    assert done.code == 3
    assert complaint in done.err


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--report", "r.html"), "leave --report out"),
        (("--false-discovery-rate", "0.1"), "leave --false-discovery-rate out"),
        (("-o", "scores.csv"), "leave --output out"),
    ],
)
def test_what_needs_all_rows_is_refused(piped: Piped, table: Path, words: tuple[str, ...], complaint: str) -> None:
    done = piped(table, b"", *words)
    assert done.code == 2
    assert complaint in done.err


def test_a_pipe_needs_a_model(hourglass: Command) -> None:
    done = hourglass("detect", "-")
    assert done.code == 2
    assert "a pipe needs a fitted model" in done.err


def test_following_a_drift_is_for_pipes(hourglass: Command, table: Path) -> None:
    done = hourglass("detect", table, table.with_suffix(".csv"), "--adapt")
    assert done.code == 2
    assert "--adapt" in done.err


# Real pipes


@contextlib.contextmanager
def tail(model: Path, *words: str) -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes], IO[bytes], IO[bytes]]]:
    script = "from hourglass.interfaces.cli import main; main()"
    paths = os.pathsep.join(filter(None, [str(ROOT / "src"), os.environ.get("PYTHONPATH")]))
    command, ends = [sys.executable, "-c", script, "detect", str(model), "-", *words], subprocess.PIPE
    environment = {**os.environ, "PYTHONPATH": paths}
    with subprocess.Popen(command, stdin=ends, stdout=ends, stderr=ends, env=environment) as process:
        stdin, stdout, stderr = (cast(IO[bytes], each) for each in (process.stdin, process.stdout, process.stderr))
        yield process, stdin, stdout, stderr


def put(stdin: IO[bytes], text: bytes) -> None:
    stdin.write(text)
    stdin.flush()


def test_each_line_is_answered_before_the_next_one_comes_and_an_interrupt_ends_it(table: Path) -> None:
    with tail(table) as (process, stdin, stdout, stderr):
        put(stdin, b"price,weight,kind\n")
        assert stdout.readline() == b"row,anomaly_score,p_value,is_anomaly,reasons\n"
        put(stdin, b"1,3,large\n")
        assert stdout.readline().startswith(b"0,")
        put(stdin, b"1,40,lar")
        put(stdin, b"ge\n")
        answer = stdout.readline()
        assert answer.startswith(b"1,")
        assert b",true," in answer
        process.send_signal(signal.SIGINT)
        assert process.wait() == 130
        assert stdout.read() == b""
        assert b"interrupted after 1 anomaly in 2 rows" in stderr.read()


def test_a_reader_that_goes_away_ends_it_quietly(table: Path) -> None:
    with tail(table, "--quiet") as (process, stdin, stdout, stderr):
        put(stdin, b"price,weight,kind\n1,3,large\n")
        stdout.readline()
        stdout.close()
        with contextlib.suppress(BrokenPipeError):  # it may have ended already
            put(stdin, b"1,3,large\n" * 5_000)
            stdin.close()
        assert process.wait() == 0
        assert stderr.read() == b""


# The anomaly likelihood


def test_rows_are_judged_by_the_latest_ones_in_a_file_and_in_a_pipe(
    hourglass: Command, piped: Piped, steps: Path
) -> None:
    values = np.sin(np.arange(200) / 3)
    values[100:120] += np.where(np.arange(20) % 2, 2.0, -2.0)
    text = ("level\n" + "".join(f"{value}\n" for value in values)).encode()
    steps.with_name("odd.csv").write_bytes(text)
    in_file = hourglass("detect", steps, steps.with_name("odd.csv"), "--anomaly-likelihood").lines
    in_pipe = piped(steps, text, "--anomaly-likelihood").lines
    for lines in (in_file, in_pipe):
        scores = [float(line["anomaly_score"] or "nan") for line in lines]
        assert 100 <= int(np.nanargmax(scores)) < 130
        assert lines[110]["is_anomaly"] == "true"
        assert [line["is_anomaly"] for line in lines[:90]].count("true") < 30


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--report", "r.html"), "leave --report out"),
        (("--false-discovery-rate", "0.1"), "--anomaly-likelihood out"),
    ],
)
def test_likelihoods_and_what_is_of_scores_do_not_go_together(
    hourglass: Command, steps: Path, words: tuple[str, ...], complaint: str
) -> None:
    done = hourglass("detect", steps, steps.with_suffix(".csv"), "--anomaly-likelihood", *words)
    assert done.code == 2
    assert complaint in done.err


def test_a_table_has_no_likelihood(hourglass: Command, piped: Piped, table: Path) -> None:
    for done in (
        hourglass("detect", table, table.with_suffix(".csv"), "--anomaly-likelihood"),
        piped(table, content(table), "--anomaly-likelihood"),
    ):
        assert done.code == 2
        assert "order of time" in done.err
