"""The verbs on sound: files and folders in; sound, codes and scores out; what has no use for sound refuses it."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import soundfile
from commands import Command
from PIL import Image

from hourglass import load_model
from hourglass.data.files import read
from hourglass.data.samples import Recordings
from hourglass.interfaces.cli import run
from hourglass.interfaces.labels import only

RATE = 4_000
TINY = ("--epochs", "2", "--set", "network.channels=2,4", "--set", "format.fft=64", "--quiet")
MAGNITUDES = ("--kind", "denoising+convolutional", "--latent", "3", "--set", "format.frames=16", *TINY)


def beep(pitch: float, frames: int = 1_200) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * pitch * np.arange(frames) / RATE) * np.hanning(frames)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Beeps of two pitches, each in a folder of its own: mono, one in stereo, one of 24 bits."""
    home = tmp_path_factory.mktemp("calls")
    for name, pitch in (("high", 900), ("low", 200)):
        (home / name).mkdir()
        for place in range(4):
            sound = beep(pitch + 10 * place, 1_200 + 100 * place)
            sound = np.column_stack([sound, sound / 2]) if place == 1 else sound
            bits = "PCM_24" if place == 2 else "PCM_16"
            soundfile.write(home / name / f"{place}.wav", sound, RATE, subtype=bits)
    return home


@pytest.fixture(scope="module")
def model(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "model.safetensors"
    label = ("--label", "folder", "--normal", "low")
    assert run(["fit", str(folder), "-o", str(path), *MAGNITUDES, "--set", "format.bins=16", *label]) == 0
    return path


def test_a_folder_of_recordings_is_found_to_be_sound_and_described(
    hourglass: Command, folder: Path, tmp_path: Path
) -> None:
    done = hourglass("fit", folder, "-o", tmp_path / "mask", *TINY, "--set", "format.frames=8", "--json")
    assert done.code == 0
    document = done.document
    assert (document["modality"], document["kind"]) == ("audio", "mask")
    tile = {"bins": 32, "frames": 8, "seconds": 0.032, "hertz": 2_000.0}
    assert document["columns"] == {"rate": RATE, "view": "complex", "fft": 64, "tile": tile}
    assert document["calibration"]["calibrated_on"] == "held-out rows"  # and not by ten further fits
    shown = hourglass("inspect", tmp_path / "mask").out
    assert "mask autoencoder for recordings" in shown
    assert "4,000 frames a second, which holds up to 2,000 Hz; spectra of 64 frames" in shown
    assert "complex numbers, 32 bins (2,000 Hz) x 8 frames (0.03 s)" in shown


def test_codes_come_with_the_stretch_that_each_is_of(hourglass: Command, folder: Path, model: Path) -> None:
    lines = hourglass("encode", model, folder).lines
    found = load_model(model)
    assert list(lines[0]) == ["name", "channel", "start", "end", "low", "high", "latent0", "latent1", "latent2"]
    assert {line["name"] for line in lines} == {f"{name}/{place}.wav" for name in ("high", "low") for place in range(4)}
    stereo = [line for line in lines if line["name"] == "low/1.wav"]
    assert {line["channel"] for line in stereo} == {"1", "2"}
    assert float(stereo[-1]["end"]) == pytest.approx(1_300 / RATE)
    assert {(line["low"], line["high"]) for line in lines} == {("0", "1000"), ("500", "1500"), ("1000", "2000")}
    codes = np.array([[float(line[f"latent{place}"]) for place in range(3)] for line in lines])
    np.testing.assert_allclose(codes, found.encode(read(folder)), rtol=1e-6)


def test_calls_are_grouped_without_labels(hourglass: Command, folder: Path, tmp_path: Path) -> None:
    model, place = tmp_path / "model.safetensors", tmp_path / "codes.csv"
    words = ("--kind", "plain", "--latent", "2", "--set", "format.fft=64", "--set", "format.frames=64", "--quiet")
    assert hourglass("fit", folder, "-o", model, *words, "--epochs", "10").code == 0
    assert hourglass("encode", model, folder, "--clusters", "2", "-o", place).code == 0
    rows = list(csv.DictReader(place.read_text().splitlines()))
    assert list(rows[0]) == ["name", "channel", "start", "end", "cluster", "latent0", "latent1"]
    groups = [row["cluster"] for row in rows]
    assert groups.count("0") > groups.count("1") > 0
    assert len({row["cluster"] for row in rows if row["start"] == "0"}) == 1  # all calls begin alike
    many = hourglass("encode", model, folder, "--clusters", "100")
    assert (many.code, many.out) == (2, "")
    assert "ask for fewer" in many.err


def test_codes_are_drawn_by_the_folder_of_their_recording(
    hourglass: Command, folder: Path, model: Path, tmp_path: Path
) -> None:
    page = tmp_path / "map.html"
    assert hourglass("encode", model, folder, "--plot", page, "--label", "folder").code == 0
    assert "high" in page.read_text(encoding="utf-8")


def test_sound_comes_back_as_it_went_in(hourglass: Command, folder: Path, model: Path, tmp_path: Path) -> None:
    done = hourglass("reconstruct", model, folder, "-o", tmp_path / "out")
    assert done.code == 0
    for path in folder.rglob("*.wav"):
        given, back = soundfile.info(path), soundfile.info(tmp_path / "out" / path.relative_to(folder))
        assert [back.frames, back.samplerate, back.channels] == [given.frames, given.samplerate, given.channels]
        assert back.subtype == given.subtype
    assert (tmp_path / "out" / "_manifest.json").exists()
    assert hourglass("reconstruct", model, folder / "low" / "2.wav", "-o", tmp_path / "one.flac").code == 0
    assert soundfile.info(tmp_path / "one.flac").subtype == "PCM_24"


def test_odd_recordings_are_found_with_the_stretch_that_is_odd(hourglass: Command, folder: Path, model: Path) -> None:
    done = hourglass("detect", model, folder, "--false-alarm-rate", "0.5")
    assert [line["name"] for line in done.lines][:2] == ["high/0.wav", "high/1.wav"]
    assert "in 8 recordings" in done.err
    flagged = [line for line in done.lines if line["is_anomaly"] == "true"]
    assert flagged
    assert all(" s to " in line["reasons"] for line in flagged)
    assert not any(line["reasons"] for line in done.lines if line not in flagged)


def test_of_one_recording_each_tile_is_a_line(hourglass: Command, folder: Path) -> None:
    done = hourglass("detect", folder / "low" / "1.wav", *MAGNITUDES)
    assert done.code == 0
    assert done.lines[0]["name"] == "1.wav, 0.00 s to 0.06 s, channel 1"
    assert len(done.lines) > 10


def test_a_model_is_judged_by_the_folders(hourglass: Command, folder: Path, model: Path) -> None:
    document = hourglass("evaluate", model, folder, "--json").document
    assert document["rows"] == 8
    assert document["anomalies"] == 4
    assert 0 <= document["auroc"] <= 1


def test_codes_without_a_place_become_tiles(hourglass: Command, folder: Path, model: Path, tmp_path: Path) -> None:
    assert hourglass("encode", model, folder, "-o", tmp_path / "codes.csv").code == 0
    assert hourglass("decode", model, tmp_path / "codes.csv", "-o", tmp_path / "tiles.npy").code == 0
    assert np.load(tmp_path / "tiles.npy").shape[1:] == (1, 16, 16)
    done = hourglass("decode", model, tmp_path / "codes.csv", "-o", tmp_path / "tiles.wav")
    assert done.code == 2
    assert "the model gives numbers, and the place is one for sound" in done.err


def test_a_recipe_fits_recordings(hourglass: Command, folder: Path, tmp_path: Path) -> None:
    options = ("--recipe", "spectrogram-denoising", "--epochs", "1", "--set", "network.channels=2,2", "--json")
    document = hourglass("fit", folder, "-o", tmp_path / "model", *options).document
    assert document["columns"]["tile"] == {"bins": 64, "frames": 64, "seconds": 0.512, "hertz": 2_000.0}


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("fit", "{folder}", "--modality", "table", "-o", "{out}/m"), "got recordings, wanted a table"),
        (("fit", "{folder}", "--modality", "series", "-o", "{out}/m"), "got recordings, wanted series"),
        (("fit", "{folder}", "--modality", "image", "-o", "{out}/m"), "got recordings, wanted pictures"),
        (("fit", "{folder}", "--window", "9", "-o", "{out}/m"), "--window is for series"),
        (("reconstruct", "{model}", "{folder}"), "recordings cannot be written to stdout"),
        (("reconstruct", "{model}", "{folder}", "-o", "{out}/x.csv"), "the place is one for numbers"),
        (("reconstruct", "{model}", "{folder}", "-o", "{out}/x.wav"), "got 8 recordings, and a file holds one"),
        (("reconstruct", "{model}", "{out}/picture.png", "-o", "{out}/x"), "got pictures, wanted recordings"),
        (("compress", "{folder}", "{model}", "-o", "{out}/x.hgz"), "got recordings, whose phase a code does not hold"),
        (("finetune", "{model}", "{folder}", "--label", "folder", "-o", "{out}/m"), "tiles .* have no labels"),
        (("probe", "{model}", "{folder}", "--label", "folder"), "pictures or recordings into tiles, have no label"),
        (("decode", "{model}", "{folder}", "-o", "{out}/x.npy"), "got recordings, wanted codes"),
    ],
)
def test_what_has_no_use_for_sound_refuses_it_by_name(
    words: tuple[str, ...], what: str, hourglass: Command, folder: Path, model: Path, tmp_path: Path
) -> None:
    Image.new("L", (9, 9)).save(tmp_path / "picture.png")
    before = set(tmp_path.iterdir())
    done = hourglass(*(word.format(folder=folder, model=model, out=tmp_path) for word in words))
    assert done.code in (2, 3)
    assert re.search(what, done.err), done.err
    assert set(tmp_path.iterdir()) == before


def test_recordings_are_chosen_with_their_rates() -> None:
    table = pa.table({"name": ["a", "b", "c"]})
    data = Recordings([np.ones((each, 1)) for each in (1, 2, 3)], [100, 200, 300], table)
    kept = only(data, np.array([True, False, True]), "some")
    assert [len(array) for array in kept.arrays] == [1, 3]
    assert (list(kept.rates), kept.table.column("name").to_pylist()) == ([100, 300], ["a", "c"])
