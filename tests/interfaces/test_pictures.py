"""The verbs on pictures: folders, files and IDX in, pictures and tables out, bad files among good ones."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pytest
from commands import Command
from PIL import Image

from hourglass.data.samples import Pictures
from hourglass.errors import UsageError
from hourglass.interfaces.cli import run
from hourglass.interfaces.labels import anomaly_labels, label_column, only
from hourglass.interfaces.learning import choose_modality
from hourglass.interfaces.options import Learning
from hourglass.interfaces.pictures import file_names, stacked

QUICK = ("--kind", "plain", "--epochs", "40", "--set", "training.learning_rate=0.02", "--set", "detection.folds=2")
GOOD, BAD = 30, 3


def ramp(random: np.random.Generator) -> np.ndarray:
    """A grey ramp of 8 x 10 pixels, of its own steepness."""
    steepness = random.uniform(5, 25)
    return np.rint(np.broadcast_to(np.arange(10), (8, 10)) * steepness).astype(np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """30 ramps in `good`, and three in `bad` that a bright dot spoils."""
    random, path = np.random.default_rng(0), tmp_path_factory.mktemp("pictures")
    for name, count in (("good", GOOD), ("bad", BAD)):
        (path / name).mkdir()
        for place in range(count):
            pixels = ramp(random)
            if name == "bad":
                pixels[3:6, 1:4] = 250
            Image.fromarray(pixels).save(path / name / f"{place:02d}.png")
    return path


@pytest.fixture(scope="module")
def model(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "whole.safetensors"
    label = ("--label", "folder", "--normal", "good")
    assert run(["fit", str(folder), "-o", str(path), "--latent", "2", "--quiet", *label, *QUICK]) == 0
    return path


@pytest.fixture(scope="module")
def tiled(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "tiled.safetensors"
    assert run(["fit", str(folder / "good"), "-o", str(path), "--tile", "4", "--quiet", *QUICK]) == 0
    return path


def spoilt(folder: Path, copy: Path) -> Path:
    """A folder with two good pictures, an empty file, words, and a README."""
    copy.mkdir()
    for name in ("00.png", "01.png"):
        (copy / name).write_bytes((folder / "good" / name).read_bytes())
    (copy / "empty.png").write_bytes(b"")
    (copy / "words.png").write_text("no picture")
    (copy / "README.txt").write_text("what these are")
    return copy


def lines(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


# Fitting


def test_a_folder_is_found_to_be_pictures_and_described(hourglass: Command, model: Path) -> None:
    document = hourglass("inspect", model, "--json").document
    assert document["modality"] == "image"
    assert document["columns"] == {"channels": ["grey"], "size": [8, 10], "tile": None}
    assert document["training"]["samples"] == GOOD
    assert document["label"] == {"column": "folder", "normal": "good"}
    words = hourglass("inspect", model).out
    assert "plain autoencoder for pictures" in words
    assert "pictures:   8 x 10 pixels" in words


def test_idx_files_are_pictures_with_their_labels(hourglass: Command, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    digits = np.stack([ramp(random) for _ in range(20)])
    header = bytes([0, 0, 8, 3]) + np.array(digits.shape, dtype=">u4").tobytes()
    images = tmp_path / "t-images-idx3-ubyte.gz"
    images.write_bytes(gzip.compress(header + digits.tobytes()))
    labels = bytes([0, 0, 8, 1, 0, 0, 0, 20]) + bytes([1, 0] * 10)
    (tmp_path / "t-labels-idx1-ubyte").write_bytes(labels)
    out = tmp_path / "m.safetensors"
    done = hourglass("fit", images, "-o", out, "--label", "label", "--normal", 1, "--json", *QUICK)
    assert done.code == 0, done.err
    assert done.document["training"]["samples"] == 10
    assert "labels are taken from t-labels-idx1-ubyte" in done.err
    judged = hourglass("evaluate", out, images, "--json").document
    assert judged["anomalies"] == 10


def test_pixels_in_a_table_are_pictures_where_that_is_said(hourglass: Command, tmp_path: Path) -> None:
    digits = np.random.default_rng(0).integers(0, 256, (20, 16))
    path = tmp_path / "digits.csv"
    header = ["label", *(f"p{place}" for place in range(16))]
    rows = [[place % 3, *row] for place, row in enumerate(digits.tolist())]
    path.write_text("\n".join(",".join(map(str, row)) for row in [header, *rows]))
    out = tmp_path / "m.safetensors"
    done = hourglass("fit", path, "-o", out, "--modality", "image", "--label", "label", "--json", *QUICK)
    assert done.code == 0, done.err
    assert done.document["columns"]["size"] == [4, 4]
    assert hourglass("reconstruct", out, path, "-o", tmp_path / "back.csv").code == 0
    assert pa_csv.read_csv(tmp_path / "back.csv").column_names == header[1:]
    assert hourglass("reconstruct", out, path, "-o", tmp_path / "drawn").code == 0
    assert np.asarray(Image.open(tmp_path / "drawn" / "0003.png")).shape == (4, 4)


@pytest.mark.parametrize(
    ("shape", "kind", "options", "modality"),
    [
        ((3, 4, 5, 3), np.float64, {}, "image"),
        ((3, 4, 5), np.uint8, {}, "image"),
        ((3, 4, 5), np.uint16, {}, "image"),
        ((3, 4, 5), np.float64, {}, "series"),
        ((3, 4, 5), np.float64, {"modality": "image"}, "image"),
        ((3, 4, 5), np.uint8, {"modality": "series"}, "series"),
    ],
)
def test_arrays_are_pictures_by_shape_and_type(
    shape: tuple[int, ...], kind: type, options: dict[str, Any], modality: str
) -> None:
    found, why = choose_modality(Learning(**options), np.zeros(shape, dtype=kind))
    assert found == modality
    assert bool(why) == (not options)


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"modality": "table"}, "got pictures, wanted a table"),
        ({"modality": "series"}, "got pictures, wanted series"),
        ({"modality": "audio"}, "got pictures, wanted recordings"),
        ({"window": "3"}, "--window is for series, and the data are read as pictures"),
        ({"time": "name"}, "--time is for series"),
    ],
)
def test_pictures_are_nothing_else(folder: Path, hourglass: Command, options: dict[str, str], what: str) -> None:
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    done = hourglass("fit", folder, "-o", "never", *words)
    assert done.code in (2, 3)
    assert what in done.err


@pytest.mark.parametrize("option", ["--size", "--tile"])
def test_a_table_has_no_size(hourglass: Command, tmp_path: Path, option: str) -> None:
    (tmp_path / "a.csv").write_text("a,b\n1,2\n3,5\n")
    done = hourglass("fit", tmp_path / "a.csv", "-o", "never", option, 4)
    assert done.code == 2
    assert f"{option} is for pictures, and the data are read as a table" in done.err


def test_words_for_size_and_tile_that_cannot_be_are_refused(hourglass: Command, folder: Path) -> None:
    assert "wanted at least 1" in hourglass("fit", folder, "-o", "never", "--tile", 0).err
    assert "wanted height,width" in hourglass("fit", folder, "-o", "never", "--size", "1,2,3").err


# What is found


@pytest.mark.parametrize("which", ["model", "tiled"])
def test_spoilt_pictures_are_found_by_name(
    which: str, hourglass: Command, folder: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    path, out = request.getfixturevalue(which), tmp_path / "scores.csv"
    done = hourglass("detect", path, folder, "-o", out, "--false-alarm-rate", 0.1, "--json")
    assert done.code == 0
    rows = lines(out)
    assert list(rows[0]) == ["name", "anomaly_score", "p_value", "is_anomaly", "reasons"]
    assert [row["name"] for row in rows[:4]] == ["bad/00.png", "bad/01.png", "bad/02.png", "good/00.png"]
    oddest = sorted(rows, key=lambda row: -float(row["anomaly_score"]))[:BAD]
    assert {row["name"] for row in oddest} == {f"bad/{place:02d}.png" for place in range(BAD)}
    assert {each["name"] for each in done.document["anomalies"]} >= {"bad/00.png"}
    assert "33 pictures" in hourglass("detect", path, folder, "-o", out).err


def test_a_pixel_is_named_as_a_reason_only_where_that_is_asked_for(
    hourglass: Command, folder: Path, model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "scores.csv"
    hourglass("detect", model, folder, "-o", out)
    assert {row["reasons"] for row in lines(out)} == {""}
    hourglass("detect", model, folder, "-o", out, "--reasons", "all")
    assert all(row["reasons"].startswith("pixel (") for row in lines(out))


def test_pictures_are_judged_by_their_folder(hourglass: Command, folder: Path, model: Path) -> None:
    judged = hourglass("evaluate", model, folder, "--label", "folder", "--normal", "good", "--json").document
    assert judged["auroc"] == 1
    assert (judged["rows"], judged["anomalies"]) == (GOOD + BAD, BAD)
    assert set(judged["baselines"]) == {"pca", "isolation forest", "fitted_on"}
    trained = hourglass("evaluate", model, folder, "--train", folder, "--json").document
    assert trained["baselines"]["fitted_on"] == "training rows"


def test_tiles_are_judged_as_pictures(hourglass: Command, folder: Path, tiled: Path) -> None:
    judged = hourglass("evaluate", tiled, folder, "--label", "folder", "--normal", "good", "--json").document
    assert judged["rows"] == GOOD + BAD
    assert judged["auroc"] == 1


# What is written


@pytest.mark.parametrize("verb", ["reconstruct", "denoise"])
@pytest.mark.parametrize("which", ["model", "tiled"])
def test_pictures_come_back_under_their_names(
    verb: str, which: str, hourglass: Command, folder: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    done = hourglass(verb, request.getfixturevalue(which), folder, "-o", tmp_path / "out", "--json")
    assert done.code == 0, done.err
    assert done.document["shape"] == [GOOD + BAD, 8, 10]
    before, after = (np.asarray(Image.open(path / "good" / "07.png")) for path in (folder, tmp_path / "out"))
    assert after.dtype == np.uint8
    assert np.abs(before.astype(int) - after).mean() < 25
    manifest = json.loads((tmp_path / "out" / "_manifest.json").read_text())
    assert manifest["files"][0] == {"file": "bad/00.png", "name": "bad/00.png"}
    assert hourglass(verb, request.getfixturevalue(which), folder, "-o", tmp_path / "out").code == 0


def test_one_picture_goes_to_one_file_and_several_to_an_array(
    hourglass: Command, folder: Path, model: Path, tmp_path: Path
) -> None:
    one = folder / "good" / "00.png"
    for name in ("x.png", "x.bmp", "x.tiff"):
        assert hourglass("reconstruct", model, one, "-o", tmp_path / name).code == 0
        assert np.asarray(Image.open(tmp_path / name)).shape == (8, 10)
    done = hourglass("reconstruct", model, folder, "-o", tmp_path / "x.png")
    assert done.code == 2
    assert "got 33 pictures, and x.png holds one" in done.err
    assert hourglass("reconstruct", model, folder, "-o", tmp_path / "x.npy").code == 0
    assert np.load(tmp_path / "x.npy").shape == (33, 8, 10)
    assert hourglass("reconstruct", model, folder, "-o", tmp_path / "x.csv").code == 0
    assert list(lines(tmp_path / "x.csv")[0])[:3] == ["name", "x0", "x1"]
    done = hourglass("reconstruct", model, folder)
    assert done.code == 2
    assert "pictures cannot be written to stdout" in done.err


def test_codes_have_names_and_become_pictures_under_them(
    hourglass: Command, folder: Path, model: Path, tiled: Path, tmp_path: Path
) -> None:
    assert hourglass("encode", model, folder, "-o", tmp_path / "codes.csv").code == 0
    assert list(lines(tmp_path / "codes.csv")[4]) == ["name", "latent0", "latent1"]
    done = hourglass("decode", model, tmp_path / "codes.csv", "-o", tmp_path / "made")
    assert done.code == 0, done.err
    hourglass("reconstruct", model, folder, "-o", tmp_path / "back")
    made, back = (np.asarray(Image.open(tmp_path / each / "good" / "07.png")) for each in ("made", "back"))
    np.testing.assert_array_equal(made, back)
    assert hourglass("encode", tiled, folder / "good", "-o", tmp_path / "tiles.csv").code == 0
    assert lines(tmp_path / "tiles.csv")[1]["name"] == "00.png, tile at (0, 3)"
    assert hourglass("decode", tiled, tmp_path / "tiles.csv", "-o", tmp_path / "tiles").code == 0
    assert len(list((tmp_path / "tiles").glob("*.png"))) == GOOD * 6


def test_numbers_have_no_place_among_pictures(hourglass: Command, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,b\n" + "\n".join(f"{x},{2 * x}" for x in range(20)))
    assert hourglass("fit", tmp_path / "a.csv", "-o", tmp_path / "m.safetensors", *QUICK).code == 0
    done = hourglass("reconstruct", tmp_path / "m.safetensors", tmp_path / "a.csv", "-o", tmp_path / "out.png")
    assert done.code == 2
    assert "the model gives numbers, and the place is one for pictures" in done.err


def test_a_folder_of_others_is_not_written_to(hourglass: Command, folder: Path, model: Path) -> None:
    done = hourglass("reconstruct", model, folder, "-o", folder / "good")
    assert done.code == 3
    assert "holds files that are not from here" in done.err
    assert hourglass("reconstruct", model, folder, "-o", folder).code == 3
    assert len(list(folder.rglob("*.png"))) == GOOD + BAD


def test_files_never_share_a_name() -> None:
    assert file_names(["a.png", "a.jpg", "b", "c/a.gif"]) == ["a.png.png", "a.jpg.png", "b.png", "c/a.png"]


def test_pictures_of_many_sizes_are_no_array() -> None:
    data = Pictures([np.zeros((2, 3)), np.zeros((3, 3))], pa.table({"name": ["a", "b"]}))
    with pytest.raises(UsageError, match="got pictures of 2 different shapes"):
        stacked(data, "x.npy")


# Bad files among good ones


def test_a_fit_refuses_a_bad_file_or_leaves_it_out_aloud(
    hourglass: Command, folder: Path, model: Path, tmp_path: Path
) -> None:
    place = spoilt(folder, tmp_path / "spoilt")
    out = tmp_path / "m.safetensors"
    done = hourglass("fit", place, "-o", out, *QUICK)
    assert done.code == 3
    assert f"{place}/empty.png: the file is empty; 1 more cannot be read: words.png" in done.err
    assert "--skip-bad" in done.err
    assert not out.exists()
    done = hourglass("fit", place, "-o", out, "--skip-bad", "--json", *QUICK)
    assert done.code == 0
    skipped, left_out = done.document["notices"][:2]
    assert skipped.startswith("skipped 2 pictures that cannot be read: empty.png: the file is empty; words.png:")
    assert left_out == "left out 1 file that is no picture by name: README.txt"
    assert hourglass("evaluate", model, place, "--label", "folder", "--normal", ".").code == 3
    assert hourglass("evaluate", model, place, "--label", "folder", "--normal", ".", "--skip-bad").code == 0


@pytest.mark.parametrize("verb", ["reconstruct", "denoise", "encode", "detect"])
def test_other_verbs_do_the_rest_list_the_failures_and_say_so_in_the_end(
    verb: str, hourglass: Command, folder: Path, model: Path, tmp_path: Path
) -> None:
    place = spoilt(folder, tmp_path / "spoilt")
    out = tmp_path / ("out.csv" if verb in ("encode", "detect") else "out")
    done = hourglass(verb, model, place, "-o", out, "--json")
    assert done.code == 3
    assert [each.partition(":")[0] for each in done.document["failed"]] == ["empty.png", "words.png"]
    assert "skipped 2 pictures" in done.err
    if out.suffix:
        assert [row["name"] for row in lines(out)] == ["00.png", "01.png"]
    else:
        assert sorted(path.name for path in out.iterdir()) == ["00.png", "01.png", "_manifest.json"]
        assert len(json.loads((out / "_manifest.json").read_text())["failed"]) == 2


def test_a_single_bad_file_is_refused(hourglass: Command, folder: Path, model: Path, tmp_path: Path) -> None:
    place = spoilt(folder, tmp_path / "spoilt")
    for name in ("empty.png", "words.png"):
        done = hourglass("detect", model, place / name)
        assert done.code == 3
        assert str(place / name) in done.err
        assert "Traceback" not in done.err


# Labels


def test_labels_of_pictures_are_columns_of_their_table() -> None:
    table = pa.table({"name": ["a", "b", "c"], "folder": ["good", "bad", "good"]})
    data = Pictures([np.zeros((2, 2), dtype=np.uint8)] * 3, table, "there")
    assert label_column(data, "folder").to_pylist() == ["good", "bad", "good"]
    assert anomaly_labels(data, "folder", "good").tolist() == [False, True, False]
    kept = only(data, np.array([True, False, True]), "good ones")
    assert isinstance(kept, Pictures)
    assert len(kept) == 2
    assert kept.table.column("name").to_pylist() == ["a", "c"]
    assert kept.source == "there (good ones)"
    with pytest.raises(UsageError, match="there is no column 'folde' in there"):
        label_column(data, "folde")
    with pytest.raises(UsageError, match="which of them is normal"):
        anomaly_labels(data, "folder", None)
