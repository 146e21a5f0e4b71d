"""`hourglass generate`: new samples in the data's units, by every way to ask for them; and what cannot be asked."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pytest
from commands import Command
from PIL import Image

from hourglass import load_model
from hourglass.data.samples import Pictures
from hourglass.interfaces.cli import run
from hourglass.interfaces.generating import side_by_side

QUICK = ("--kind", "deep", "--latent", "2", "--epochs", "40", "--false-alarm-rate", "0.1")
TOWNS = ("Ghent", "Oslo", "Turin")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """240 rows in which everything follows one size."""
    size = np.random.default_rng(0).gamma(8, 5, 240)
    path = tmp_path_factory.mktemp("data") / "shop.csv"
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["amount", "weight", "town", "opened"])
        for each in size:
            town = TOWNS[int(np.digitize(each, [30, 50]))]
            writer.writerow([f"{30 * each:.2f}", f"{each:.2f}", town, f"2024-03-{1 + int(each) % 28:02d}"])
    return path


@pytest.fixture(scope="module")
def model(shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "shop.safetensors"
    assert run(["fit", str(shop), "-o", str(path), "--quiet", "--modality", "table", *QUICK]) == 0
    return path


def test_new_rows_go_to_stdout_as_rows_of_the_table(hourglass: Command, model: Path) -> None:
    code, out, err = hourglass("generate", model, "-n", 40, "--seed", 3)
    rows = list(csv.DictReader(out.splitlines()))
    assert code == 0
    assert len(rows) == 40
    assert list(rows[0]) == ["amount", "weight", "town", "opened"]
    assert {row["town"] for row in rows} <= set(TOWNS)
    assert all(row["opened"].startswith(("2024-02", "2024-03", "2024-04")) for row in rows)
    amounts, weights = ([float(row[name]) for row in rows] for name in ("amount", "weight"))
    assert np.corrcoef(amounts, weights)[0, 1] > 0.8
    assert "mean and covariance" in err
    assert hourglass("generate", model, "-n", 40, "--seed", 3)[1] == out
    assert hourglass("generate", model, "-n", 40, "--seed", 4)[1] != out


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_file_is_written_by_its_suffix(hourglass: Command, model: Path, tmp_path: Path, suffix: str) -> None:
    code, out, err = hourglass("generate", model, "-n", 5, "-o", tmp_path / f"new{suffix}", "--json")
    document = json.loads(out)
    assert code == 0
    assert document["shape"] == [5, 4]
    assert document["prior"] == {"is": "normal"}
    assert document["seed"] == 0
    assert (tmp_path / f"new{suffix}").stat().st_size > 50
    assert "wrote 5 x 4 values" in err


def test_windows_of_a_series_are_written_with_their_shape(hourglass: Command, tmp_path: Path) -> None:
    np.save(tmp_path / "day.npy", np.sin(np.arange(24 * 30) * 2 * np.pi / 24))
    fitting = ("--window", "24", "--modality", "series", "-o", tmp_path / "day", "--prior", "empirical")
    assert hourglass("fit", tmp_path / "day.npy", *fitting, *QUICK)[0] == 0
    assert hourglass("generate", tmp_path / "day", "-n", 3, "-o", tmp_path / "new.npy")[0] == 0
    assert np.load(tmp_path / "new.npy").shape == (3, 24, 1)
    code, out, err = hourglass("generate", tmp_path / "day", "-n", 3)
    assert code == 0
    assert len(out.splitlines()) == 4
    assert len(out.splitlines()[0].split(",")) == 24
    assert "prior empirical" in err


def test_a_prior_chosen_at_fit_is_used_later(hourglass: Command, shop: Path, tmp_path: Path) -> None:
    words = ("--prior", "mixture", "--set", "prior.components=2", "--modality", "table", *QUICK)
    assert hourglass("fit", shop, "-o", tmp_path / "m", *words)[0] == 0
    assert load_model(tmp_path / "m.safetensors").prior.state["means"].shape == (2, 2)
    _, out, err = hourglass(
        "generate", tmp_path / "m", "--prior", "mixture", "-n", 3, "-o", tmp_path / "a.csv", "--json"
    )
    assert json.loads(out)["prior"]["components"] == 2
    assert "prior mixture" in err


def test_another_prior_is_fitted_to_data_that_are_given(
    hourglass: Command, model: Path, shop: Path, tmp_path: Path
) -> None:
    code, out, err = hourglass(
        "generate", model, "--prior", "empirical", "--data", shop, "-o", tmp_path / "new.csv", "--json"
    )
    assert code == 0, err
    assert json.loads(out)["prior"]["is"] == "empirical"
    assert json.loads(out)["shape"][0] == 16
    before = load_model(model).experiment.prior.name
    assert before == "normal"


def test_ways_lead_from_each_row_to_the_next(hourglass: Command, model: Path, shop: Path, tmp_path: Path) -> None:
    few = tmp_path / "few.csv"
    few.write_text("".join(shop.read_text().splitlines(keepends=True)[:4]))
    code, out, _ = hourglass("generate", model, "--interpolate", few, "--steps", 5)
    assert code == 0
    assert len(out.splitlines()) == 1 + 2 * 5
    _, back, _ = hourglass("reconstruct", model, few)
    made, ends = (list(csv.DictReader(text.splitlines())) for text in (out, back))
    for place, row in ((0, 0), (4, 1), (5, 1), (9, 2)):
        assert float(made[place]["amount"]) == pytest.approx(float(ends[row]["amount"]), rel=1e-3)


def test_the_plane_has_as_many_rows_as_fields(hourglass: Command, model: Path) -> None:
    code, out, _ = hourglass("generate", model, "--plane", 3)
    assert code == 0
    assert len(out.splitlines()) == 1 + 9


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--prior", "mixture"), "add --data FILE"),
        (("--prior", "norml"), "did you mean 'normal'"),
        (("--prior", "vamp", "--data", "{data}"), "prior vamp"),
        (("--data", "{data}"), "--data goes with --prior"),
        (("--steps", "4"), "--steps goes with --interpolate"),
        (("-n", "4", "--plane", "3"), "give one of them"),
        (("-n", "0"), "at least 1"),
        (("-n", "many"), "whole number"),
        (("-o", "{folder}/new.txt"), "wanted a name that ends in"),
        (("-o", "{folder}/new.npy"), "holds string"),
        (("--json",), "-o FILE"),
        (("--interpolate", "{folder}/none.csv"), "none.csv"),
    ],
    ids=" ".join,
)
def test_what_cannot_be_is_refused_in_one_block(
    hourglass: Command, model: Path, shop: Path, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    places = {"data": shop, "folder": tmp_path}
    code, out, err = hourglass("generate", model, *(word.format(**places) for word in words))
    assert code in (2, 3)
    assert not out
    assert said in err
    assert "Traceback" not in err
    assert not list(tmp_path.iterdir())


def test_pictures_stand_side_by_side() -> None:
    shades = [np.full((2, 3), shade, dtype=np.uint8) for shade in (0, 50, 100)]
    table = pa.table({"name": ["a", "b", "c"]})
    (sheet,) = side_by_side(Pictures(shades, table), across=2, gap=1).arrays
    w = 255
    expected = [
        [w] * 9,
        [w, 0, 0, 0, w, 50, 50, 50, w],
        [w, 0, 0, 0, w, 50, 50, 50, w],
        [w] * 9,
        [w, 100, 100, 100, w, w, w, w, w],
        [w, 100, 100, 100, w, w, w, w, w],
        [w] * 9,
    ]
    assert sheet.dtype == np.uint8
    assert sheet.tolist() == expected


def test_pictures_become_a_sheet_a_folder_or_numbers(hourglass: Command, tmp_path: Path) -> None:
    shades = np.random.default_rng(0).integers(0, 255, (40, 1, 1)) * np.ones((40, 5, 6))
    np.save(tmp_path / "shades.npy", shades.astype(np.uint8))
    fitting = ("--modality", "image", "-o", tmp_path / "m", "--kind", "plain", "--latent", "2", "--epochs", "3")
    assert hourglass("fit", tmp_path / "shades.npy", *fitting, "--false-alarm-rate", "0.1")[0] == 0
    for words, name, size in (
        (("-n", 5), "new.png", (3 * 8 + 2, 2 * 7 + 2)),
        (("--plane", 3), "plane.png", (3 * 8 + 2, 3 * 7 + 2)),
        (("--interpolate", tmp_path / "shades.npy", "--steps", 4), "ways.png", (4 * 8 + 2, 39 * 7 + 2)),
    ):
        code, _, err = hourglass("generate", tmp_path / "m", *words, "-o", tmp_path / name)
        assert code == 0, err
        with Image.open(tmp_path / name) as sheet:
            assert sheet.size == size
    assert hourglass("generate", tmp_path / "m", "-n", 4, "-o", tmp_path / "many")[0] == 0
    assert len(list((tmp_path / "many").glob("*.png"))) == 4
    assert hourglass("generate", tmp_path / "m", "-n", 4, "-o", tmp_path / "new.npy")[0] == 0
    assert np.load(tmp_path / "new.npy").shape == (4, 5, 6)


def test_values_read_back_are_those_written(hourglass: Command, model: Path, tmp_path: Path) -> None:
    hourglass("generate", model, "-n", 6, "-o", tmp_path / "new.csv")
    made = load_model(model).generate(6)
    assert isinstance(made, pa.Table)
    assert pa_csv.read_csv(tmp_path / "new.csv").column("weight").to_pylist() == made.column("weight").to_pylist()
