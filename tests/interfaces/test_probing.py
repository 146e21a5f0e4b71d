"""`probe`, and recipes that are pipelines: labels judge the codes, or are taught, once they are named."""

import json
from pathlib import Path

import numpy as np
import pytest

from hourglass import load_model
from hourglass.interfaces.cli import run

FIT = ("--latent", "2", "--false-alarm-rate", "0.1")
QUICK = ("--epochs", "12", *FIT)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of rows, each about its own centre."""
    random = np.random.default_rng(0)
    kinds = random.integers(0, 3, 240)
    numbers = random.normal(scale=5, size=(3, 6))[kinds] + random.normal(size=(240, 6))
    rows = [
        f"{'abc'[kind]},{','.join(f'{value:.3f}' for value in row)}" for kind, row in zip(kinds, numbers, strict=True)
    ]
    path = tmp_path_factory.mktemp("data") / "rows.csv"
    path.write_text("\n".join(["class,p,q,r,s,t,u", *rows]) + "\n")
    return path


def test_a_model_is_probed_by_the_label_that_it_remembers(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "model.safetensors"
    words = ["fit", str(table), "-o", str(model), "--kind", "plain", "--label", "class", "--quiet", *QUICK]
    assert run(words) == 0
    capsys.readouterr()
    assert run(["probe", str(model), str(table), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["label"], found["rows"], found["test_rows"], found["classes"]) == ("class", 180, 60, 3)
    assert found["features"]["codes"]["accuracy"] > 0.9
    assert run(["probe", str(model), str(table), "--test", str(table)]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == "240 rows judged, 240 learned from, 3 classes"
    assert [line.split()[0] for line in shown[1:]] == ["accuracy", "codes", "pca", "raw"]


def test_a_model_without_a_label_asks_for_one(table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tmp_path / "model.safetensors"
    columns = ("--columns", "p,q,r,s,t,u")
    assert run(["fit", str(table), "-o", str(model), "--kind", "plain", "--quiet", *columns, *QUICK]) == 0
    assert run(["probe", str(model), str(table)]) == 2
    assert "name it with --label COLUMN" in capsys.readouterr().err


def test_a_pipeline_of_features_ends_with_their_use(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["fit", str(table), "-o", str(tmp_path / "m"), "--recipe", "features-for-supervision", "--layers", "16"]
    assert run([*words, "--label", "class", "--json", *QUICK]) == 0
    said = capsys.readouterr()
    assert "codes" in said.err
    assert json.loads(said.out)["pipeline"]["probe"]["features"]["codes"]["accuracy"] > 0.8


def test_a_pipeline_says_what_it_would_do_with_labels(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["fit", str(table), "-o", str(tmp_path / "m"), "--recipe", "features-for-supervision", "--layers", "16"]
    assert run([*words, *QUICK]) == 0
    assert "goes on with `hourglass probe` where labels are named: --label COLUMN" in capsys.readouterr().err


def test_a_stacked_pipeline_ends_with_a_model_that_knows_the_labels(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    kinds = np.repeat([0, 1], 60)
    pictures = (random.random((120, 6, 6)) * 100 + kinds[:, None, None] * 100).astype(np.uint8)
    np.savez(tmp_path / "pictures.npz", x=pictures.reshape(120, 36), y=kinds)
    words = ["fit", f"{tmp_path}/pictures.npz:x+y", "-o", str(tmp_path / "m"), "--recipe", "stacked", "--layers", "8"]
    assert run([*words, "--label", "y", "--modality", "image", *QUICK]) == 0
    assert load_model(tmp_path / "m.safetensors").head is not None
