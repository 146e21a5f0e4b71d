"""Tables in text files: what nobody can make sense of is refused by its line, what is odd is accepted aloud."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from commands import Command
from refusals import READERS, Case, check_refused, check_scored, given, pairs, plain_table, rows_of, zipped

pytestmark = pytest.mark.reliability(1)

NUMBERS = "".join(f"{i}.5,{i}\n" for i in range(20))
DAYS = "".join(f"2024-01-{day:02d} 00:00:00,{day}\n" for day in range(1, 25))

REFUSED = [
    Case("nothing", b"", ("the file is empty",)),
    Case("blank lines only", "\n \n\r\n\n", ("the file is empty, wanted a table",)),
    Case("a byte-order mark only", b"\xef\xbb\xbf", ("the file is empty, wanted a table",)),
    Case("a header line only", "a,b\n", ("there is a header line but there are no rows",)),
    Case("a zero byte", b"a,b\n1,2\n3,\x00\n", ("data.csv, line 3", "got a zero byte at byte 10", "UTF-8")),
    Case("a file of zero bytes", bytes(4096), ("line 1", "got a zero byte at byte 0")),
    Case("UTF-16 without its mark", "a,b\n1,2\n".encode("utf-16-le"), ("line 1", "zero byte")),
    Case("UTF-16 cut in a letter", "a,b\n1,2\n".encode("utf-16")[:-1], ("wanted text", "UTF-8")),
    Case("UTF-32", "a,b\n1,2\n".encode("utf-32"), ("wanted text", "UTF-8")),
    Case("bytes of no encoding", b"a,b\n1,2\n\x81,\x8d\n", ("line 3", "got the byte 0x81")),
    Case("a row too short", "a,b\n1,2\n3\n4,5\n", ("data.csv, line 3", "got 1 cell, wanted 2")),
    Case("a row too long", "a,b\n1,2\n3,4,5\n", ("data.csv, line 3", "got 3 cells, wanted 2")),
    Case("a row too long far below", "a,b\n" + "1,2\n" * 5000 + "3,4,5\n", ("line 5002", "got 3 cells, wanted 2")),
    Case("a header too short", "a\n1,2\n3,4\n", ("got 2 cells, wanted 1", "line 2")),
    Case("a short row after a cell of two lines", 'a,b\n1,"x\ny"\n3\n', ("line 4", "got 1 cell, wanted 2")),
    Case("a quote that never closes", 'a,b\n1,2\n3,"open\n5,6\n', ("line 3", "a quote is opened and never closed")),
    Case(
        "a quote that never closes in the header", '"a,b\n1,2\n3,4\n', ("line 1", "a quote is opened and never closed")
    ),
    Case("a cell of 8 MB", b"a,b\n1," + b"x" * (8 << 20) + b"\n2,y\n", ("data.csv, line 2", "cut into cells")),
    Case(
        "a cell of 20 MB far below",
        "a,b\n" + "1,x\n" * 4000 + "2," + "y" * (20 << 20) + "\n",
        ("data.csv, line 4002", "cut into cells"),
    ),
    Case("a cell of 8 MB in quotes", 'a,b\n1,"' + "x\n" * (4 << 20) + '"\n2,y\n', ("data.csv, line 2",)),
    Case("two columns of one name", "a,b,a\n1,2,3\n", ("line 1", "two columns are called 'a'", "rename one")),
    Case("two columns of one name but for spaces", "a,b, a\n1,2,3\n", ("two columns are called 'a'",)),
    Case("a name that a nameless column gets", ",column 1\n1,2\n", ("two columns are called 'column 1'",)),
    Case("two columns of a hostile name", '"=x\n",b,"=x\n"\n1,2,3\n', ("two columns are called",)),
    Case("a word among numbers", f"a,b\n{NUMBERS}oops,1\n", ("line 22, column 'a'", "got 'oops', wanted a number")),
    Case("a number with two points", f"a,b\n{NUMBERS}1.2.3,1\n", ("line 22, column 'a'", "got '1.2.3'")),
    Case("a number in hexadecimal", f"a,b\n{NUMBERS}0xff,1\n", ("line 22, column 'a'", "got '0xff'")),
    Case("a formula among numbers", f"a,b\n{NUMBERS}=A1+A2,1\n", ("line 22, column 'a'", "got '=A1+A2'")),
    Case("an error of a spreadsheet", f"a,b\n{NUMBERS}#DIV/0!,1\n", ("line 22, column 'a'", "got '#DIV/0!'")),
    Case("infinity", "a,b\n1,2\n3,inf\n", ("line 3, column 'b'", "got an infinite number", "empty it")),
    Case("minus infinity", "a,b\n1,2\n3,-Infinity\n", ("line 3, column 'b'", "got an infinite number")),
    Case("a number beyond the floats", "a,b\n1,2\n3,1e999\n", ("line 3, column 'b'", "got an infinite number")),
    Case(
        "two ways of writing decimals",
        "a;b\n" + "1,5;1\n" * 20 + "1.5;1\n",
        ("line 22, column 'a'", "got '1.5', wanted a number"),
    ),
    Case("a day that never was", f"a,b\n{DAYS}2024-02-30,1\n", ("line 26, column 'a'", "got '2024-02-30'")),
    Case("a thirteenth month", f"a,b\n{DAYS}2024-13-01,1\n", ("line 26, column 'a'", "got '2024-13-01'")),
    Case(
        "times with a zone and without",
        "a,b\n" + DAYS.replace(":00,", ":00Z,") + "2024-01-25 00:00:00,1\n",
        ("line 26, column 'a'", "all or none with a time zone"),
    ),
    Case(
        "nothing but missing cells", "a,b\n" + ",\n" * 30, ("no column is left to learn from",), verbs=("fit", "detect")
    ),
    Case("one row", "a,b\n1,2\n", ("wanted at least 2",), verbs=("fit", "detect")),
    Case(
        "nothing but words that all differ",
        "a\n" + "".join(f"w{i}\n" for i in range(60)),
        ("no column is left",),
        verbs=("fit",),
    ),
    Case("a picture by another name", b"\x89PNG\r\n\x1a\n" + bytes(40), ("looks like a PNG picture, wanted text",)),
    Case("Parquet by another name", b"PAR1" + bytes(40), ("looks like a Parquet file, wanted text",)),
    Case("a workbook by another name", b"PK\x03\x04" + bytes(40), ("looks like a zip archive, wanted text",)),
    Case("an old workbook by another name", b"\xd0\xcf\x11\xe0" + bytes(40), ("looks like an old Excel workbook",)),
    Case("a compressed file by another name", zipped("a,b\n1,2\n"), ("looks like a gzip file, wanted text",)),
    Case("a web page by another name", "<!DOCTYPE html><html></html>", ("looks like a web page, wanted text",)),
    Case("a pickle by another name", pickle.dumps([1, 2]), ("looks like a pickle, which is never loaded",)),
    Case("a database by another name", b"SQLite format 3\0" + bytes(40), ("looks like an SQLite database",)),
    Case("a PDF by another name", b"%PDF-1.7\n", ("looks like a PDF document, wanted text",)),
    Case("text that says .gz", "a,b\n1,2\n", ("looks like text, wanted a gzip file",), file="data.csv.gz"),
    Case("a cut .gz", zipped(plain_table())[:-40], ("is damaged or cut short",), file="data.csv.gz"),
    Case(
        "a changed .gz",
        zipped(plain_table())[:200] + b"\xff\xff" + zipped(plain_table())[202:],
        ("is damaged or cut short",),
        file="data.csv.gz",
    ),
    Case("nothing in a .gz", zipped(b""), ("the file is empty",), file="data.csv.gz"),
    Case("a suffix that is no table", "a,b\n1,2\n", ("has the suffix '.xlsx'", "known: .csv"), file="data.xlsx"),
    Case("no suffix", "a,b\n1,2\n", ("has the suffix ''", "known: .csv"), file="data"),
    Case("ARFF without @data", "@relation x\n@attribute a numeric\n1\n", ("there is no line @data",), file="data.arff"),
    Case(
        "ARFF with a word among numbers",
        "@relation x\n@attribute a numeric\n@attribute b numeric\n@data\n1,2\n3,oops\n",
        ("line 6", "'oops'"),
        file="data.arff",
    ),
    Case(
        "ARFF with a row too short",
        "@relation x\n@attribute a numeric\n@attribute b numeric\n@data\n1,2\n3\n",
        ("line 6", "wanted 2"),
        file="data.arff",
    ),
    Case("a series file without @data", "@problemName x\n1,2,3\n", ("there is no line @data",), file="data.ts"),
    Case(
        "a series file with rows of unequal length",
        "@problemName x\n@timeStamps false\n@classLabel false\n@data\n1,2,3\n1,2\n",
        ("line 6",),
        file="data.ts",
    ),
]


@pytest.mark.parametrize(("case", "verb"), pairs(REFUSED).values(), ids=pairs(REFUSED))
def test_bad_text_is_refused(
    hourglass: Command, model_of: Callable[[str], Path], tmp_path: Path, out: Path, case: Case, verb: str
) -> None:
    data = case.put(tmp_path)
    before = data.read_bytes()
    check_refused(given(hourglass, verb, data, out, model_of("numbers")), (*case.says, case.file), out)
    assert data.read_bytes() == before


@pytest.mark.parametrize("verb", READERS)
def test_every_verb_refuses_a_bad_row_alike(
    hourglass: Command, model_of: Callable[[str], Path], tmp_path: Path, out: Path, verb: str
) -> None:
    data = Case("", "a,b,odd\n" + "1,2,0\n" * 30 + "1,2\n").put(tmp_path)
    check_refused(given(hourglass, verb, data, out, model_of("numbers")), ("line 32", "got 2 cells, wanted 3"), out)


@pytest.mark.parametrize("verb", READERS)
def test_every_verb_names_a_file_that_is_not_there(
    hourglass: Command, model_of: Callable[[str], Path], tmp_path: Path, out: Path, verb: str
) -> None:
    (tmp_path / "data.csv").write_text("a,b\n1,2\n")
    done = given(hourglass, verb, tmp_path / "date.csv", out, model_of("numbers"))
    check_refused(done, ("date.csv", "there is no such file", "did you mean 'data.csv'?"), out)


COLUMNS = ",".join(f"c{i}" for i in range(3_000))
MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "?", "-")
ACCEPTED = [
    Case("UTF-8", "größe,ort\n" + rows_of("{x:.3f}", "München")),
    Case("UTF-8 with its mark", b"\xef\xbb\xbf" + plain_table().encode()),
    Case("UTF-16", plain_table().encode("utf-16")),
    Case("Windows-1252", ("größe,b\n" + rows_of("{x:.3f}", "{y:.3f}")).encode("cp1252"), ("not UTF-8 (line 1)",)),
    Case("semicolons", plain_table().replace(",", ";")),
    Case("tabs", plain_table().replace(",", "\t")),
    Case("bars", plain_table().replace(",", "|")),
    Case("runs of spaces", plain_table().replace("a,b\n", "").replace(",", "   "), file="data.txt"),
    Case("lines that end as on old Macs", plain_table().replace("\n", "\r")),
    Case("lines that end as on Windows", plain_table().replace("\n", "\r\n")),
    Case("no line end at the end", plain_table().rstrip("\n")),
    Case("blank lines before and between", "\n\n" + plain_table().replace("\n", "\n\n", 5)),
    Case("decimal commas", plain_table().replace(",", ";").replace(".", ","), ("with a decimal comma: ",)),
    Case("commas between thousands", "a,b\n" + rows_of('"1,{i:03d}"', "{x:.3f}"), ("with commas between thousands",)),
    Case("no header line", plain_table().removeprefix("a,b\n"), ("no header line found",)),
    Case("a column without a name", "a,\n" + rows_of("{x:.3f}", "{y:.3f}"), ("a column without a name",)),
    Case("names that are hostile", '"a\n","=cmd|\'/c calc\'!A0"\n' + rows_of("{x:.3f}", "{y:.3f}")),
    Case("names in other scripts", "温度,\u202eeman\n" + rows_of("{x:.3f}", "{y:.3f}")),
    Case("a name of 10,000 letters", "a" * 10_000 + ",b\n" + rows_of("{x:.3f}", "{y:.3f}")),
    Case("cells of two lines", "a,b\n" + rows_of('"two\nlines"', "{x:.3f}")),
    Case("mixed columns", "a,b,c,d,e\n" + rows_of("{x:.3f}", "{i}", "2024-01-01", "true", "w")),
    Case("dates that do not order the rows", "born,a\n" + rows_of("1950-01-01", "{x:.3f}")),
    Case("missing cells in ten ways", "a,b\n" + "".join(f"{word},1.5\n2.5,1\n" for word in MISSING) * 6),
    Case("a column of missing cells", "a,b\n" + rows_of("{x:.3f}", ""), ("column 'b' is left out: it is empty",)),
    Case("a constant column", "a,b\n" + rows_of("{x:.3f}", "7"), ("column 'b' is always 7",)),
    Case("a row number", "row,a\n" + rows_of("{i}", "{x:.3f}"), ("column 'row' is left out",)),
    Case("identifiers", "name,a\n" + rows_of("u{i}", "{x:.3f}"), ("column 'name' is left out",)),
    Case("a cell of 8 MB far below", "a,b\n" + rows_of("{x:.3f}", "w") * 20 + "2," + "y" * (8 << 20) + "\n"),
    Case("a number of 1e30", plain_table() + "1e30,1\n"),
    Case("a number of 1e308", plain_table() + "1e308,-1e308\n"),
    Case("a number of 5e-324", plain_table() + "5e-324,1\n"),
    Case("whole numbers beyond 64 bits", plain_table() + "99999999999999999999,1\n"),
    Case("an offset of a billion", "a,b\n" + rows_of("1000000{i:03d}.5", "{x:.3f}")),
    Case("subnormal numbers only", "a,b\n" + rows_of("{i}e-320", "{x:.3f}")),
    Case("3,000 columns", f"{COLUMNS}\n" + ("1.5," * 2_999 + "2\n" + "2.5," * 2_999 + "1\n") * 48),
    Case("compressed", zipped(plain_table()), file="data.csv.gz"),
    Case("compressed in two parts", zipped(plain_table()[:500]) + zipped(plain_table()[500:]), file="data.csv.gz"),
    Case("an upper-case suffix", plain_table(), file="DATA.CSV"),
    Case("a file called as an option", plain_table(), file="--help.csv"),
    Case("a file with a space and quotes", plain_table(), file="a \"b\" 'c'.csv"),
    Case("a file with a line break", plain_table(), file="a\nb.csv"),
]


@pytest.mark.parametrize("case", ACCEPTED, ids=lambda case: case.name)
def test_odd_text_is_scored_aloud(hourglass: Command, tmp_path: Path, out: Path, case: Case) -> None:
    scores = check_scored(given(hourglass, "detect", case.put(tmp_path), out), case.says, out)
    assert len(scores) >= 24


@pytest.mark.parametrize("number", ["1e30", "-1e30", "1e308"])
def test_the_row_of_a_huge_number_ranks_first(hourglass: Command, tmp_path: Path, out: Path, number: str) -> None:
    lines = plain_table().splitlines()
    lines.insert(40, f"{number},0.5")
    data = Case("", "\n".join(lines) + "\n").put(tmp_path)
    scores = check_scored(given(hourglass, "detect", data, out), (), out, rows=121)
    assert scores.argmax() == 39


def test_an_offset_of_a_billion_changes_no_rank(hourglass: Command, tmp_path: Path, out: Path) -> None:
    numbers = np.round(np.random.default_rng(0).normal(size=(150, 3)), 3)
    numbers[:, 2] = np.round(numbers[:, 0] - numbers[:, 1], 3)
    scores = []
    for offset in (0, 10**9):
        rows = "".join(",".join(f"{value + offset:.3f}" for value in row) + "\n" for row in numbers)
        data = Case("", "a,b,c\n" + rows).put(tmp_path)
        scores.append(check_scored(given(hourglass, "detect", data, out), (), out, rows=150))
        (out / "scores.jsonl").unlink()
    np.testing.assert_array_equal(np.argsort(scores[0]), np.argsort(scores[1]))
    np.testing.assert_allclose(scores[0], scores[1], rtol=1e-4)
