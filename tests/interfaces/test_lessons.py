"""What a network is taught with: clean data and noise, pairs by name, noisy data alone."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import soundfile

from hourglass.core.kinds import Experiment
from hourglass.data.files import read
from hourglass.data.image_forms import numbered
from hourglass.data.samples import Pictures, Recordings
from hourglass.data.synthesis import white
from hourglass.errors import DataError, UsageError
from hourglass.interfaces.learning import Nobody, learn, planned
from hourglass.interfaces.lessons import Lesson, fitting, lesson
from hourglass.interfaces.options import Denoise, Detect, Fit, Learning

RATE = 8_000
QUICK = {"epochs": 1, "set": ("network.channels=4,8", "format.frames=16"), "device": "cpu"}


def recordings(*names: str, frames: int = 2_000, level: float = 1.0) -> Recordings:
    random = np.random.default_rng(0)
    arrays = [(level * white(frames, RATE, random))[:, None].astype(np.float32) for _ in names]
    return Recordings(arrays, [RATE] * len(names), pa.table({"name": names}), "some")


def written(folder: Path, sounds: Recordings) -> str:
    """The recordings as files."""
    for name, array in zip(sounds.table.column("name").to_pylist(), sounds.arrays, strict=True):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / name, array, RATE, subtype="FLOAT")
    return str(folder)


def fit(**words: object) -> Fit:
    return Fit(data="x", output="y", **words)  # type: ignore[arg-type]


def taught(request: Learning, data: Recordings) -> tuple[Experiment, Lesson]:
    request = fitting(request, "audio", data)
    plan = planned(request, "audio")
    return plan, lesson(request, plan, data)


# Noise


def test_noise_comes_from_files_folders_and_names(tmp_path: Path) -> None:
    folder = written(tmp_path / "noise", recordings("1.wav", "2.wav"))
    request = fit(noise=(folder, f"{folder}/1.wav", "white,rain"))
    _, found = taught(request, recordings("call.wav"))
    assert isinstance(found.noise, Recordings)
    assert found.noise.table.column("name").to_pylist() == ["1.wav", "2.wav", "1.wav", "white", "rain"]
    assert found.seen is None


def test_calls_are_heard_at_other_speeds_too() -> None:
    _, found = taught(fit(noise=("white",)), recordings("call.wav"))
    assert isinstance(found.data, Recordings)
    assert [len(array) for array in found.data.arrays] == [2_000, 2_500, 1_600]


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ({"noise": ("wite",)}, "no file, folder or noise called 'wite'"),
        ({"noise": ("white",), "kind": "denoising"}, "mixes no recorded noise in"),
        ({"noise": ("white",), "clean": "x"}, "both --noise and --clean"),
    ],
)
def test_noise_that_cannot_be_is_refused(words: dict[str, object], complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        taught(fit(**words), recordings("call.wav"))


def test_noise_that_is_no_sound_is_refused(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="holds no recordings"):
        taught(fit(noise=(str(tmp_path / "table.csv"),)), recordings("call.wav"))


# Pairs


def test_pairs_are_found_by_name_whatever_their_order_and_container(tmp_path: Path) -> None:
    clean = recordings("d/2.flac", "extra.wav", "1.wav")
    clean.arrays[2][:] = 0.25  # type: ignore[index]
    for name, array in zip(clean.table.column("name").to_pylist(), clean.arrays, strict=True):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        soundfile.write(tmp_path / name, array * 0.1, RATE)
    noisy = recordings("1.wav", "d/2.wav")
    plan, found = taught(fit(clean=str(tmp_path)), noisy)
    assert plan.corruption.name == "none"
    assert plan.kind == "mask"
    assert isinstance(found.data, Recordings)
    assert found.data.table.column("name").to_pylist() == ["1.wav", "d/2.flac"]
    assert float(np.ptp(found.data.arrays[0])) == 0
    assert found.seen is noisy


def test_one_file_pairs_with_one_file(tmp_path: Path) -> None:
    folder = written(tmp_path, recordings("clean.wav"))
    _, found = taught(fit(clean=folder), recordings("noisy.wav"))
    assert isinstance(found.data, Recordings)
    assert found.data.table.column("name").to_pylist() == ["clean.wav"]


@pytest.mark.parametrize(
    ("clean", "complaint"),
    [
        (recordings("1.wav", "3.wav"), r"has no clean twin of 2\.wav"),
        (recordings("1.wav", "2.wav", frames=1_999), "1,999 frames of 1 channel at 8,000 Hz, and its noisy twin 2,000"),
    ],
    ids=["missing", "shorter"],
)
def test_pairs_that_are_none_are_named(clean: Recordings, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=complaint):
        taught(fit(clean=written(tmp_path, clean)), recordings("1.wav", "2.wav"))


def test_pairs_of_two_kinds_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "clean.npy", np.zeros((3, 4)))
    with pytest.raises(DataError, match="got a table for recordings"):
        taught(fit(clean=str(tmp_path / "clean.npy")), recordings("1.wav"))


@pytest.mark.parametrize(
    ("modality", "kind", "shape"),
    [("image", "u-net", (12, 8, 8)), ("series", "u-net", (12, 16, 2)), ("table", "deep", (30, 4))],
)
def test_pairs_of_arrays_are_their_rows(modality: str, kind: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    clean, noisy = (np.random.default_rng(seed).normal(size=shape) for seed in (0, 1))
    places = [str(tmp_path / name) for name in ("clean.npy", "noisy.npy", "short.npy")]
    for place, array in zip(places, (clean, noisy, clean[1:]), strict=True):
        np.save(place, array)
    request = fit(clean=places[0], modality=modality, epochs=1, device="cpu")
    model, _ = learn(request, read(places[1]), Nobody())
    assert model.experiment.kind == kind
    assert model.card["pairs"]
    with pytest.raises(DataError, match=f"has {shape[0] - 1} x .*, and its noisy twin {shape[0]} x "):
        learn(dataclasses.replace(request, clean=places[2]), read(places[1]), Nobody())


# Noisy data alone


def test_noisy_recordings_give_calls_and_noise() -> None:
    noisy = recordings("1.wav", "2.wav", frames=8_000, level=0.01)
    for array in noisy.arrays:
        array[3_000:5_000, 0] += np.sin(np.arange(2_000))
    _, found = taught(fit(), noisy)
    assert isinstance(found.data, Recordings)
    assert isinstance(found.noise, Recordings)
    assert len(found.data) == 3 * len(noisy)
    assert max(float(np.abs(array).max()) for array in found.noise.arrays) < 0.5
    calls = found.data.arrays[0][:, 0]
    assert np.std(calls[3_200:4_800]) > 0.5
    assert np.std(calls[500:2_000]) < 0.5 * np.std(noisy.arrays[0][500:2_000])
    assert "noisy recordings alone" in found.notices[0]


def test_a_search_for_anomalies_learns_from_recordings_as_they_are() -> None:
    noisy = recordings("1.wav")
    assert taught(Detect(data="x"), noisy)[1].data is noisy


@pytest.mark.parametrize(
    ("request_", "modality", "expected"),
    [
        (Detect(data="x"), "table", True),
        (Detect(data="x", label="y", normal="0"), "table", False),
        (Detect(data="x", kind="importance-weighted"), "table", False),
        (Detect(data="x"), "series", False),
        (Fit(data="x", output="m"), "table", False),
    ],
    ids=["search", "normal rows", "a kind", "a series", "fit"],
)
def test_a_table_that_is_searched_is_learned_from_as_one_with_anomalies(
    request_: Learning, modality: str, expected: bool
) -> None:
    assert fitting(request_, modality, np.zeros((3, 2))).contaminated == expected


def test_another_kind_learns_from_recordings_as_they_are() -> None:
    noisy = recordings("1.wav")
    assert taught(fit(kind="denoising"), noisy)[1].data is noisy


def test_a_fit_to_recordings_with_noise_says_what_it_learned_from(tmp_path: Path) -> None:
    model, _ = learn(fit(noise=("white",), **QUICK), recordings("1.wav", "2.wav"), Nobody())
    assert model.experiment.kind == "mask"
    assert model.experiment.training.batch_size == 4
    assert "pairs" not in model.card


def test_pictures_with_single_wrong_pixels_are_learned_without_them() -> None:
    random = np.random.default_rng(0)
    wrong = random.random((20, 16, 16, 3)) < 0.1
    pictures = Pictures(np.where(wrong, 255, 40).astype(np.uint8), numbered(20))
    assert fitting(Denoise(data="x"), "image", pictures).kind == "noise2void"


@pytest.mark.parametrize(("side", "tile"), [(64, None), (65, 64)])
def test_pictures_without_a_model_are_learned_blindly_and_large_ones_in_tiles(side: int, tile: int | None) -> None:
    pictures = Pictures([np.random.default_rng(0).normal(size=(side, side))], pa.table({"name": ["1.png"]}))
    found = fitting(Denoise(data="x"), "image", pictures)
    assert (found.kind, found.tile) == ("recorrupted", tile)
    assert fitting(Denoise(data="x", kind="denoising"), "image", pictures).kind == "denoising"
