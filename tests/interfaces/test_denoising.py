"""`denoise` by the command line: sound keeps its form, bad files do not stop good ones, pipes flow."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import IO, cast

import numpy as np
import pytest
import soundfile
from commands import Command

from hourglass.data.synthesis import call_clip, mixed, white
from hourglass.interfaces.cli import run
from hourglass.interfaces.pipes import decoded, encoded

ROOT = Path(__file__).resolve().parents[2]
RATE = 8_000
QUICK = ("--set", "network.channels=4,8", "--set", "format.frames=16", "--epochs", "1", "--device", "cpu")


def call(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A second of calls, and the same in noise at 5 dB."""
    random = np.random.default_rng(seed)
    clean = 0.3 * call_clip("chirp", 1.0, RATE, random)
    return clean, mixed(clean, white(len(clean), RATE, random), 5.0)[0]


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of noisy and clean recordings, and one of noise."""
    folder = tmp_path_factory.mktemp("sounds")
    for name in ("noisy/b", "clean/b", "noise"):
        (folder / name).mkdir(parents=True)
    for seed, name in enumerate(("a.wav", "b/c.wav", "d.wav")):
        for kind, sound in zip(("clean", "noisy"), call(seed), strict=True):
            soundfile.write(folder / kind / name, sound, RATE, subtype="PCM_24")
    soundfile.write(folder / "noise/hiss.wav", white(RATE, RATE, np.random.default_rng(9)) * 0.1, RATE)
    return folder


@pytest.fixture(scope="module")
def model(sounds: Path) -> Path:
    """A mask model of clean recordings and noise, trained for a moment."""
    path = sounds / "model.safetensors"
    assert run(["fit", f"{sounds}/clean", "--noise", f"{sounds}/noise", "-o", str(path), "--quiet", *QUICK]) == 0
    return path


# Files


def test_a_file_keeps_its_form(hourglass: Command, model: Path, tmp_path: Path) -> None:
    given, made = tmp_path / "given.flac", tmp_path / "made.flac"
    with soundfile.SoundFile(given, "w", 11_025, 2, "PCM_24") as file:
        file.title = "Dawn"
        file.write(np.random.default_rng(0).normal(size=(9_001, 2)) * 0.1)
    done = hourglass("denoise", model, given, "-o", made, "--json")
    assert done.code == 0
    with soundfile.SoundFile(made) as file:
        assert (file.samplerate, file.channels, file.frames, file.subtype, file.title) == (
            *(11_025, 2, 9_001, "PCM_24"),
            "Dawn",
        )
    document = done.document
    assert document["recordings"] == 1
    assert document["files"] == [
        {"name": "given.flac", "seconds": 0.816, "noise_floor_drop": document["noise_floor_drop"]}
    ]
    assert any("above 4,000 Hz is lost" in str(notice) for notice in document["notices"])  # type: ignore[attr-defined]
    assert "the noise floor" in done.err


def test_a_file_is_what_the_model_makes_of_it_whole(
    hourglass: Command, model: Path, sounds: Path, tmp_path: Path
) -> None:
    hourglass("denoise", model, sounds / "noisy/a.wav", "-o", tmp_path / "streamed.wav")
    hourglass("reconstruct", model, sounds / "noisy/a.wav", "-o", tmp_path / "whole.wav")
    streamed, whole = (soundfile.read(tmp_path / f"{name}.wav")[0] for name in ("streamed", "whole"))
    np.testing.assert_allclose(streamed, whole, atol=2 * 2.0**-23)


def test_a_folder_is_done_file_by_file_and_bad_ones_are_listed_at_the_end(
    hourglass: Command, model: Path, sounds: Path, tmp_path: Path
) -> None:
    noisy = tmp_path / "noisy"
    (noisy / "b").mkdir(parents=True)
    for name in ("a.wav", "b/c.wav"):
        (noisy / name).write_bytes((sounds / "noisy" / name).read_bytes())
    good = (noisy / "a.wav").read_bytes()
    bad = {
        "cut.wav": good[: len(good) // 2],
        "empty.wav": b"",
        "headerless.wav": good[44:],
        "huge.wav": good[:40] + b"\xf0\xff\xff\xff" + good[44:1_000],
        "silent.wav": good[:40] + bytes(4),
        "unknown.wav": good[:20] + b"\x99\x99" + good[22:],
    }
    for name, content in bad.items():
        (noisy / name).write_bytes(content)
    soundfile.write(noisy / "nan.wav", np.array([0.1, np.nan, 0.1]), RATE, subtype="FLOAT")
    done = hourglass("denoise", model, noisy, "-o", tmp_path / "out", "--json")
    assert done.code == 3
    assert [str(each).partition(":")[0] for each in done.document["failed"]] == sorted([*bad, "nan.wav"])  # type: ignore[attr-defined]
    assert "left out 7 recordings that cannot be read: cut.wav: " in done.err
    made = sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.*"))
    assert made == ["_manifest.json", "a.wav", "b/c.wav"]
    manifest = json.loads((tmp_path / "out/_manifest.json").read_text())
    assert [each["file"] for each in manifest["files"]] == ["a.wav", "b/c.wav"]
    assert manifest["failed"] == done.document["failed"]


@pytest.mark.parametrize(
    ("data", "output", "code", "words"),
    [
        ("noisy", "noisy/clean", 2, "lies in the folder that is read"),
        ("noisy", "noisy", 3, "holds files that are not from here"),
        ("noisy", "one.wav", 2, "is a file, and a folder is read"),
        ("noisy/a.wav", "noisy/a.wav", 2, "is read too"),
        ("noisy/a.wav", "out.csv", 2, "the place is one for numbers"),
        ("noisy/a.wav", None, 2, "cannot be written to stdout"),
        ("nothing.wav", "out.wav", 3, "nothing.wav"),
        ("noise.txt", "out.wav", 3, "noise.txt"),
        ("table.csv", "out.csv", 3, "got no recordings, and the model is for the modality audio"),
        ("void", "out", 3, "without pictures or recordings"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_changed(
    hourglass: Command, model: Path, sounds: Path, data: str, output: str | None, code: int, words: str
) -> None:
    (sounds / "table.csv").write_text("a,b\n1,2\n3,4\n")
    (sounds / "void").mkdir(exist_ok=True)
    before = {path: path.read_bytes() for path in sounds.rglob("*") if path.is_file()}
    done = hourglass("denoise", model, sounds / data, *(["-o", sounds / output] if output else []))
    assert done.code == code
    assert words in done.err
    assert {path: path.read_bytes() for path in sounds.rglob("*") if path.is_file()} == before


def test_a_single_bad_file_is_refused_by_name(hourglass: Command, model: Path, sounds: Path, tmp_path: Path) -> None:
    content = (sounds / "noisy/a.wav").read_bytes()
    (tmp_path / "cut.wav").write_bytes(content[: len(content) // 2])
    done = hourglass("denoise", model, tmp_path / "cut.wav", "-o", tmp_path / "out.wav")
    assert done.code == 3
    assert "is cut short: 0.50 of 1.00 seconds are there" in done.err
    assert not (tmp_path / "out.wav").exists()


# Without a model


def test_noisy_recordings_alone_are_denoised_in_one_command(hourglass: Command, sounds: Path, tmp_path: Path) -> None:
    done = hourglass("denoise", sounds / "noisy", "-o", tmp_path / "out", "--save", tmp_path / "m", "--json", *QUICK)
    assert done.code == 0
    assert done.document["recordings"] == 3
    assert "learning from noisy recordings alone, of which" in done.err
    assert "s of noise found in 3 recordings" in done.err
    assert any("noisy recordings alone" in notice for notice in done.document["notices"])  # type: ignore[attr-defined]
    assert hourglass("denoise", tmp_path / "m.safetensors", sounds / "noisy/a.wav", "-o", tmp_path / "a.wav").code == 0
    again = soundfile.read(tmp_path / "a.wav")[0]
    np.testing.assert_array_equal(again, soundfile.read(tmp_path / "out/a.wav")[0])


def test_noisy_pictures_alone_are_denoised_by_their_neighbours(hourglass: Command, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    np.save(tmp_path / "noisy.npy", random.integers(0, 255, size=(20, 8, 8), dtype=np.uint8))
    done = hourglass(
        "denoise", tmp_path / "noisy.npy", "-o", tmp_path / "out.npy", "--set", "network.channels=4", *QUICK[4:]
    )
    assert done.code == 0
    assert np.load(tmp_path / "out.npy").shape == (20, 8, 8)


def test_a_table_alone_cannot_be_denoised(hourglass: Command, tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("a,b\n" + "1,2\n3,4\n" * 20)
    done = hourglass("denoise", tmp_path / "table.csv", "-o", tmp_path / "out.csv")
    assert done.code == 2
    assert "cannot be told from the table alone" in done.err


def test_options_of_fitting_mean_nothing_where_a_model_is_given(hourglass: Command, model: Path, sounds: Path) -> None:
    done = hourglass("denoise", model, sounds / "noisy", "-o", sounds / "out", "--epochs", "3")
    assert done.code == 2
    assert "--epochs: only for fitting" in done.err
    done = hourglass("denoise", model, sounds / "noisy", "-o", sounds / "out", "--bits", "16")
    assert done.code == 2
    assert "--bits: only for raw sound on stdin" in done.err


# Pipes


def pipe(model: Path, *words: str) -> subprocess.Popen[bytes]:
    script = "from hourglass.interfaces.cli import main; main()"
    paths = os.pathsep.join(filter(None, [str(ROOT / "src"), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-c", script, "denoise", str(model), "-", *words]
    ends = subprocess.PIPE
    return subprocess.Popen(command, stdin=ends, stdout=ends, stderr=ends, env={**os.environ, "PYTHONPATH": paths})


def test_raw_sound_goes_through_a_pipe(model: Path) -> None:
    noisy = np.stack([call(0)[1], call(1)[1]], axis=1)
    with pipe(model, "--channels", "2", "--bits", "24") as process:
        out, talk = process.communicate(encoded(noisy, "24") + b"\0")
    assert process.returncode == 0
    assert b"8,000 Hz, 2 channels, 24 bits" in talk
    assert b"it comes out 0.1" in talk
    assert b"the last 1 bytes are no whole frame" in talk
    found = decoded(out, "24").reshape(-1, 2)
    assert found.shape == noisy.shape
    assert np.corrcoef(found[:, 0], noisy[:, 0])[0, 1] > 0.8


def test_a_reader_that_goes_away_ends_a_pipe_quietly(model: Path) -> None:
    with pipe(model, "--quiet") as process:
        stdin, stdout, stderr = (cast(IO[bytes], each) for each in (process.stdin, process.stdout, process.stderr))
        stdin.write(bytes(40_000))
        stdin.flush()
        assert stdout.read(100)  # long before stdin ends
        stdout.close()
        with contextlib.suppress(BrokenPipeError):  # it may have ended already
            stdin.write(bytes(400_000))
            stdin.close()
        assert process.wait() == 0
        assert stderr.read() == b""


@pytest.mark.parametrize(
    ("words", "complaint"),
    [((), "a pipe needs a fitted model"), (("--json",), "what comes from stdin goes to stdout")],
)
def test_a_pipe_that_cannot_be_is_refused(
    hourglass: Command, model: Path, words: tuple[str, ...], complaint: str
) -> None:
    done = hourglass("denoise", *([model] if words else []), "-", *words)
    assert done.code == 2
    assert complaint in done.err


@pytest.mark.parametrize("bits", ["16", "24", "32", "f32"])
def test_raw_sound_is_read_as_it_is_written(bits: str) -> None:
    samples = np.array([-1.0, -0.5, 0.0, 0.25, 1 - 2.0**-15], dtype=np.float32)
    np.testing.assert_array_equal(decoded(encoded(samples, bits), bits), samples)
