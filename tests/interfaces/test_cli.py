"""The command line as people meet it: what it prints where, how it ends, and what it does with bad input."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import Command

from hourglass.interfaces.cli import run
from hourglass.interfaces.console import complain

ROOT = Path(__file__).resolve().parents[2]
VERBS = (
    *("fit", "detect", "encode", "decode", "reconstruct", "denoise", "evaluate", "inspect", "recipes", "demo"),
    *("generate", "finetune", "predict", "probe", "compress", "decompress"),
)
QUICK = ("--kind", "plain", "--epochs", "2", "--false-alarm-rate", "0.1")


def started(*words: object, **options: Any) -> subprocess.Popen[str]:
    """The command line, in a process of its own."""
    script = "from hourglass.interfaces.cli import main; main()"
    paths = os.pathsep.join(filter(None, [str(ROOT / "src"), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-c", script, *map(str, words)]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env={**os.environ, "PYTHONPATH": paths}, **(pipes | options))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """200 rows of two columns that go together, the last one not."""
    x = np.random.default_rng(0).normal(size=200)
    path = tmp_path_factory.mktemp("data") / "data.csv"
    rows = [f"{a:.3f},{2 * a:.3f}" for a in x[:-1]]
    path.write_text("\n".join(["a,b", *rows, "9.0,-18.0"]) + "\n")
    return path


@pytest.fixture(scope="module")
def model(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "model.safetensors"
    assert run(["fit", str(data), "-o", str(path), "--quiet", *QUICK]) == 0
    return path


# What is printed


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(hourglass: Command, verb: str) -> None:
    done = hourglass(verb, "--help")
    assert done.code == 0
    assert done.out.startswith(f"Usage: hourglass {verb}")
    assert "--json" in done.out


def test_an_option_reads_as_its_setting_does(hourglass: Command) -> None:
    from hourglass.settings import Training

    doc = Training.__dataclass_fields__["epochs"].metadata["doc"]
    assert doc in " ".join(hourglass("fit", "--help").out.split())


def test_version_and_bare_call(hourglass: Command) -> None:
    from hourglass import __version__

    assert hourglass("--version").out == f"hourglass {__version__}\n"
    assert hourglass().out == hourglass("--help").out


def test_recipes_are_listed_and_shown(hourglass: Command) -> None:
    listed = json.loads(hourglass("recipes", "--json").out)
    assert {"name", "system", "data", "figure", "measured"} <= set(listed[0])
    written = hourglass("recipes").out.splitlines()
    assert [line.split()[0] for line in written if line[0] != " "] == [recipe["name"] for recipe in listed]
    below = [line.strip() for line in written if line[0] == " "]
    assert below == [recipe["measured"] for recipe in listed if recipe["measured"]]
    shown = hourglass("recipes", "ecg").out
    assert shown == (ROOT / "src" / "hourglass" / "recipes" / "ecg.toml").read_text()
    wrong = hourglass("recipes", "egc")
    assert (wrong.code, wrong.out) == (2, "")
    assert "did you mean 'ecg'?" in wrong.err


def test_stdout_is_data_and_stderr_is_talk(hourglass: Command, data: Path) -> None:
    done = hourglass("detect", data, *QUICK)
    lines = done.out.splitlines()
    assert done.code == 0
    assert lines[0] == "row,anomaly_score,p_value,is_anomaly,reasons"
    assert len(lines) == 201
    assert "note: reading as a table" in done.err
    assert "found" in done.err
    assert "at a false-alarm rate of 0.1" in done.err


def test_quiet_says_nothing(hourglass: Command, model: Path, data: Path) -> None:
    done = hourglass("detect", model, data, "--quiet")
    assert done.err == ""
    assert len(done.out.splitlines()) == 201


def test_json_is_one_object_and_nothing_else(hourglass: Command, model: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "scores.csv"
    done = hourglass("detect", model, data, "--json", "-o", out)
    document = json.loads(done.out)
    assert done.out.count("\n") == 1
    assert len(out.read_text().splitlines()) == document["rows"] + 1 == 201
    names = {"anomalies", "threshold", "false_alarm_rate", "reachable_rate", "calibrated_on", "notices", "versions"}
    assert names <= set(document)
    assert (document["model"], document["output"]) == (str(model), str(out))


@pytest.mark.parametrize("verb", ["fit", "inspect", "encode", "decode", "reconstruct", "denoise", "evaluate"])
def test_every_verb_speaks_json(hourglass: Command, model: Path, data: Path, tmp_path: Path, verb: str) -> None:
    labelled, codes = tmp_path / "labelled.csv", tmp_path / "codes.npy"
    labelled.write_text("a,b,odd\n1,2,0\n1.1,2.1,0\n9,-18,1\n")
    np.save(codes, np.zeros((3, 1)))
    words: dict[str, tuple[object, ...]] = {
        "fit": (data, "-o", tmp_path / "new", *QUICK),
        "inspect": (model,),
        "decode": (model, codes, "-o", tmp_path / "out.csv"),
        "evaluate": (model, labelled, "--label", "odd"),
    }
    done = hourglass(verb, *words.get(verb, (model, data, "-o", tmp_path / "out.csv")), "--json")
    assert done.code == 0, done.err
    assert "notices" in json.loads(done.out)


def test_evaluate_prints_a_table(hourglass: Command, model: Path, tmp_path: Path) -> None:
    labelled = tmp_path / "labelled.csv"
    labelled.write_text("a,b,odd\n1,2,0\n1.1,2.1,0\n0.5,1,0\n9,-18,1\n")
    done = hourglass("evaluate", model, labelled, "--label", "odd")
    assert "auroc" in done.out
    assert "isolation forest" in done.out.splitlines()[0]


# How it ends


def test_an_anomaly_can_fail_a_pipeline(hourglass: Command, model: Path, data: Path) -> None:
    assert hourglass("detect", model, data, "--fail-on-anomaly").code == 4
    assert (
        hourglass(
            "detect", model, data, "--fail-on-anomaly", "--false-alarm-rate", "0.000001", "--threshold", "mad"
        ).code
        == 4
    )
    assert hourglass("detect", model, data).code == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["fit"], "Missing argument 'DATA'"),
        (["fit", "DATA"], "'--output' / '-o'"),
        (["frob"], "No such command 'frob'"),
        (["fit", "DATA", "-o", "NEW", "--frob"], "No such option: --frob"),
        (["fit", "DATA", "-o", "NEW", "--epochs", "many"], "--epochs: got 'many', wanted a whole number"),
        (["fit", "DATA", "-o", "NEW", "--epochs", "0"], "--epochs: got 0, wanted at least 1"),
        (["fit", "DATA", "-o", "NEW", "--false-alarm-rate", "2"], "--false-alarm-rate: got 2"),
        (["fit", "DATA", "-o", "NEW", "--kind", "dep"], "did you mean 'deep'?"),
        (["fit", "DATA", "-o", "NEW", "--recipe", "none-such"], "no recipe called 'none-such'"),
        (["fit", "DATA", "-o", "NEW", "--modality", "tabel"], "did you mean 'table'?"),
        (["fit", "DATA", "-o", "NEW", "--set", "loss.delta"], "--set loss.delta: got no value"),
        (["fit", "DATA", "-o", "NEW", "--set", "los=huber"], "did you mean 'loss'?"),
        (["fit", "DATA", "-o", "NEW", "--columns", "a,z"], "'z'"),
        (["fit", "DATA", "-o", "NEW", "--label", "z"], "there is no column 'z'"),
        (["fit", "DATA", "-o", "NEW", "--normal", "1"], "add --label"),
        (["fit", "DATA", "-o", "NEW", "--window", "8", "--modality", "table"], "--window is for series"),
        (["fit", "DATA", "-o", "NEW.csv"], "wanted a name that ends in .safetensors"),
        (["detect"], "got no data"),
        (["detect", "MODEL"], "got a model, but no data"),
        (["detect", "MODEL", "DATA", "--epochs", "3"], "--epochs: only for fitting"),
        (["detect", "DATA", "-o", "scores.txt"], "wanted a name that ends in .csv"),
        (["detect", "MODEL", "DATA", "-o", "DATA"], "is read too"),
        (["encode", "MODEL", "DATA", "--json"], "--json leaves no room"),
        (["evaluate", "MODEL", "DATA"], "the model remembers no label column"),
        (["evaluate", "MODEL", "DATA", "--label", "b"], "which of them is normal?"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_use_ends_with_2_and_one_block(
    hourglass: Command, model: Path, data: Path, tmp_path: Path, words: list[str], said: str
) -> None:
    places = {"DATA": data, "MODEL": model, "NEW": tmp_path / "new", "NEW.csv": tmp_path / "new.csv"}
    before = data.read_bytes()
    done = hourglass(*(places.get(word, word) for word in words))
    assert (done.code, done.out) == (2, "")
    block = done.err[done.err.index("error: ") :]
    assert said in block
    assert "\nhint: " in block
    assert "Traceback" not in done.err
    assert list(tmp_path.iterdir()) == []
    assert data.read_bytes() == before


BAD = {
    "empty": b"",
    "header only": b"a,b\n",
    "one row": b"a,b\n1,2\n",
    "ragged": b"a,b\n1,2\n3\n4,5\n",
    "two columns of one name": b"a,a\n1,2\n3,4\n",
    "a picture": b"\x89PNG\r\n\x1a\n0000",
    "cut short": b"PAR1\x00\x01",
    "nothing but missing": b"a,b\n,\n,\n,\n",
    "infinity": b"a,b\n1,2\n2,3\ninf,4\n5,6\n",
}


@pytest.mark.parametrize("content", BAD.values(), ids=BAD)
def test_bad_data_end_with_3_and_change_nothing(hourglass: Command, tmp_path: Path, content: bytes) -> None:
    bad, old = tmp_path / "bad.csv", tmp_path / "old.safetensors"
    bad.write_bytes(content)
    old.write_bytes(b"what was here before")
    done = hourglass("fit", bad, "-o", old, *QUICK)
    assert (done.code, done.out) == (3, "")
    assert "error: " in done.err
    assert str(bad) in done.err or "bad.csv" in done.err or "fit: got" in done.err
    assert "Traceback" not in done.err
    assert old.read_bytes() == b"what was here before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.csv", "old.safetensors"]


def test_text_among_numbers_is_named_by_line_and_column(hourglass: Command, tmp_path: Path) -> None:
    bad = tmp_path / "bad.csv"
    bad.write_text("a,b\n" + "".join(f"{i},{i}\n" for i in range(50)) + "50,five\n")
    done = hourglass("fit", bad, "-o", tmp_path / "new", *QUICK)
    assert done.code == 3
    assert "line 52" in done.err
    assert "'b'" in done.err
    assert "five" in done.err


ODD = {
    "missing cells": "a,b\n" + "".join(f"{i},{'' if i % 7 else i}\n" for i in range(60)),
    "one column": "a\n" + "".join(f"{i % 9}\n" for i in range(60)),
    "a constant column": "a,b\n" + "".join(f"{i},5\n" for i in range(60)),
    "two rows": "a,b\n1,2\n2,3\n",
}


@pytest.mark.parametrize("content", ODD.values(), ids=ODD)
def test_odd_data_give_finite_scores_or_are_refused_by_name(hourglass: Command, tmp_path: Path, content: str) -> None:
    odd, out = tmp_path / "odd.csv", tmp_path / "scores.jsonl"
    odd.write_text(content)
    done = hourglass("detect", odd, "-o", out, *QUICK)
    assert done.code in (0, 3), done.err
    assert "Traceback" not in done.err
    if done.code == 0:
        rows = [json.loads(line) for line in out.read_text().splitlines()]
        assert len(rows) == content.count("\n") - 1
        assert all(isinstance(row["anomaly_score"], float) for row in rows), "JSON has no NaN: null would be one"


def test_data_with_other_columns_are_refused_by_name(hourglass: Command, model: Path, tmp_path: Path) -> None:
    other, out = tmp_path / "other.csv", tmp_path / "scores.csv"
    other.write_text("a,c\n1,2\n3,4\n")
    done = hourglass("detect", model, other, "-o", out)
    assert done.code == 3
    assert "1 column missing: b" in done.err or "missing: b" in done.err
    assert not out.exists()


def test_a_column_that_the_model_does_not_know_is_noted(hourglass: Command, model: Path, tmp_path: Path) -> None:
    more = tmp_path / "more.csv"
    more.write_text("b,new,a\n2,7,1\n4,7,2\n")
    done = hourglass("detect", model, more, "--json")
    assert done.code == 0
    assert any("new" in notice for notice in json.loads(done.out)["notices"])
    assert "note: " in done.err


@pytest.mark.parametrize("verb", ["detect", "encode", "decode", "reconstruct", "inspect"])
@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "flipped", "text"])
def test_a_damaged_model_is_refused(
    hourglass: Command, model: Path, data: Path, tmp_path: Path, verb: str, damage: str
) -> None:
    content = bytearray(model.read_bytes())
    content[-3] ^= 1
    damaged = tmp_path / "damaged.safetensors"
    contents = {
        "empty": b"",
        "cut": bytes(content[:500]),
        "flipped": bytes(content),
        "text": b"hello, this is no model",
    }
    if damage != "missing":
        damaged.write_bytes(contents[damage])
    done = hourglass(verb, damaged, *([] if verb == "inspect" else [data]))
    assert (done.code, done.out) == (3, "")
    assert "damaged.safetensors" in done.err
    assert "Traceback" not in done.err


def test_a_fault_of_ours_says_so_and_debug_shows_where(capsys: pytest.CaptureFixture[str]) -> None:
    complain(ZeroDivisionError("division by zero"))
    said = capsys.readouterr().err
    assert said.startswith("error: ZeroDivisionError: division by zero\nhint: this is a fault of Hourglass")
    try:
        raise ZeroDivisionError
    except ZeroDivisionError as error:
        complain(error, debug=True)
    assert "Traceback" in capsys.readouterr().err


# Processes


def test_detect_with_a_model_never_imports_scikit_learn(model: Path, data: Path, tmp_path: Path) -> None:
    verbs = [["detect", model, data], ["encode", model, data], ["reconstruct", model, data], ["inspect", model]]
    script = (
        "import sys; from hourglass.interfaces.cli import run\n"
        f"codes = [run(words) for words in {[[str(word) for word in words] for words in verbs]}]\n"
        "sys.exit(any(codes) or ('sklearn' in sys.modules and 'scikit-learn was imported'))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=_environment())
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("words", [["--help"], ["recipes"], ["--version"], ["detect", "--help"]], ids=" ".join)
def test_what_needs_no_model_imports_nothing_heavy(words: list[str]) -> None:
    script = (
        f"import sys; from hourglass.interfaces.cli import run; run({words})\n"
        "sys.exit(', '.join({'torch', 'sklearn', 'numpy', 'pyarrow', 'scipy', 'rich'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=_environment())
    assert done.returncode == 0, done.stderr


def _environment() -> dict[str, str]:
    paths = os.pathsep.join(filter(None, [str(ROOT / "src"), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": paths}


@pytest.fixture
def training(data: Path, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A fit that would take long, in the middle of its training; and where its model goes."""
    path = tmp_path / "model.safetensors"
    words = ("fit", data, "-o", path, "--kind", "plain", "--epochs", 1_000_000, "--set", "training.patience=0")
    process = started(*words, "--false-alarm-rate", "0.1")
    if process.stderr is not None:
        while "training for at most" not in (line := process.stderr.readline()):
            assert line, "the process ended early"
    yield process, path
    process.kill()
    process.communicate()


def test_ctrl_c_keeps_the_best_weights(
    hourglass: Command, training: tuple[subprocess.Popen[str], Path], data: Path
) -> None:
    process, path = training
    process.send_signal(signal.SIGINT)
    _, talk = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "best weights were kept" in talk
    assert "Traceback" not in talk
    document = json.loads(hourglass("inspect", path, "--json").out)
    assert document["training"]["stopped"] == "interrupted"
    assert document["training"]["best_epoch"] >= 1


def test_termination_keeps_the_best_weights_too_and_ends_with_143(
    training: tuple[subprocess.Popen[str], Path],
) -> None:
    process, path = training
    process.terminate()
    _, talk = process.communicate(timeout=60)
    assert process.returncode == 143
    assert "best weights were kept" in talk
    assert "Traceback" not in talk
    assert path.exists()


def test_a_reader_that_has_seen_enough_is_no_error(model: Path, tmp_path: Path) -> None:
    many = tmp_path / "many.csv"
    many.write_text("a,b\n" + "1,2\n" * 20_000)
    process = started("detect", model, many, "--quiet")
    if process.stdout is not None:
        assert process.stdout.readline().startswith("row,")
        process.stdout.close()
    talk = process.stderr.read() if process.stderr is not None else ""
    process.wait(timeout=60)
    if process.stderr is not None:
        process.stderr.close()
    assert (process.returncode, talk) == (0, "")
