"""Picture and sound files that are damaged, disguised or strange: refused by name, or read aloud."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from commands import Command
from PIL import Image
from refusals import Case, check_refused, check_scored, given, pairs

pytestmark = pytest.mark.reliability(1)

Models = Callable[[str], Path]
RATE = 8_000
NOISE = np.random.default_rng(0).integers(0, 255, (24, 32, 3), dtype=np.uint8)
GREY = NOISE[:, :, 0]
SOUND = (0.2 * np.random.default_rng(1).normal(size=(RATE, 1))).clip(-0.9, 0.9).astype(np.float32)


def picture(form: str, image: Any = None, **options: Any) -> bytes:
    content = io.BytesIO()
    image = NOISE if image is None else image
    image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    image.save(content, form, **options)
    return content.getvalue()


def sound(form: str = "WAV", samples: np.ndarray = SOUND, rate: int = RATE, subtype: str | None = None) -> bytes:
    content = io.BytesIO()
    soundfile.write(content, samples, rate, format=form, subtype=subtype)
    return content.getvalue()


def cut(content: bytes, share: float = 0.5) -> bytes:
    return content[: int(len(content) * share)]


def changed(content: bytes, place: int, new: bytes) -> bytes:
    return content[:place] + new + content[place + len(new) :]


def with_nan(number: float) -> bytes:
    samples = SOUND.copy()
    samples[5_000] = number
    return sound(samples=samples, subtype="FLOAT")


WAV = sound()
DATA = WAV.index(b"data") + 4
PNG = picture("PNG")
PICTURES = [
    *(
        Case(f"a cut {form}", cut(picture(form)), ("is damaged or cut short",), f"data.{suffix}")
        for form, suffix in (
            ("PNG", "png"),
            ("JPEG", "jpg"),
            ("WEBP", "webp"),
            ("TIFF", "tif"),
            ("BMP", "bmp"),
            ("GIF", "gif"),
        )
    ),
    Case("a PNG of its first bytes", PNG[:8], ("is damaged or cut short",), "data.png"),
    Case(
        "a PNG with a changed byte", changed(PNG, 60, bytes([PNG[60] ^ 255])), ("is damaged or cut short",), "data.png"
    ),
    Case("a PNG of no width", changed(PNG, 16, bytes(4)), ("data.png",), "data.png"),
    Case("a JPEG by another name", picture("JPEG"), ("looks like a JPEG picture, wanted a PNG picture",), "data.png"),
    Case("text by another name", "hello", ("looks like text, wanted a PNG picture",), "data.png"),
    Case("a recording by another name", WAV, ("looks like a WAV recording, wanted a PNG picture",), "data.png"),
    Case("nothing", b"", ("the file is empty",), "data.png"),
    Case("a drawing", "<svg xmlns='http://www.w3.org/2000/svg'/>", ("has the suffix '.svg'",), "data.svg"),
    Case("a BMP of less than no height", changed(picture("BMP"), 18, struct.pack("<i", -5)), ("data.bmp",), "data.bmp"),
]
SOUNDS = [
    *(
        Case(f"a cut {form}", cut(sound(form)), ("data.",), f"data.{form.lower()}")
        for form in ("WAV", "FLAC", "AIFF", "W64")
    ),
    Case("a cut WAV", cut(WAV), ("is cut short: 0.50 of 1.00 seconds are there", "copy"), "data.wav"),
    Case("a WAV cut in its header", WAV[:30], ("cannot be decoded",), "data.wav"),
    Case("a WAV without its sound", WAV[:DATA], ("data.wav",), "data.wav"),
    Case("a WAV of no samples", sound(samples=SOUND[:0]), ("holds no sound",), "data.wav"),
    Case("a WAV that claims 4 GB", changed(WAV, DATA, b"\xff\xff\xff\x7f"), ("is cut short",), "data.wav"),
    Case(
        "a WAV that claims nothing",
        changed(WAV, DATA, bytes(4)),
        ("holds no sound", "perhaps it was never closed"),
        "data.wav",
    ),
    Case("a WAV of no channels", changed(WAV, 22, bytes(2)), ("data.wav",), "data.wav"),
    Case("a WAV of 65,535 channels", changed(WAV, 22, b"\xff\xff"), ("data.wav",), "data.wav"),
    Case("a WAV of no rate", changed(WAV, 24, bytes(4)), ("data.wav",), "data.wav"),
    Case("a WAV of 4 GHz", changed(WAV, 24, b"\xff\xff\xff\xff"), ("data.wav",), "data.wav"),
    Case("a WAV in an unknown code", changed(WAV, 20, b"\x34\x12"), ("cannot be decoded",), "data.wav"),
    Case("a FLAC with changed bytes", changed(sound("FLAC"), 5_000, bytes(400)), ("data.flac",), "data.flac"),
    Case("NaN among samples", with_nan(np.nan), ("holds nan at second 0.625 of channel 1",), "data.wav"),
    Case("infinity among samples", with_nan(np.inf), ("holds inf at second 0.625 of channel 1",), "data.wav"),
    Case("text by another name", "hello", ("looks like text, wanted a WAV recording",), "data.wav"),
    Case("a picture by another name", PNG, ("looks like a PNG picture, wanted a WAV recording",), "data.wav"),
    Case("nothing", b"", ("the file is empty",), "data.flac"),
    Case("a video", bytes(40), ("has the suffix '.mp4'",), "data.mp4"),
]
FILES = {
    f"{fitted}, {name}": (*pair, fitted)
    for fitted, cases, verb in (("pictures", PICTURES, "fit"), ("sounds", SOUNDS, "fit as sound"))
    for name, pair in pairs([replace(case, verbs=(verb, "detect with a model")) for case in cases]).items()
}


@pytest.mark.parametrize(("case", "verb", "fitted"), FILES.values(), ids=FILES)
def test_a_bad_picture_or_recording_is_refused(
    hourglass: Command, model_of: Models, tmp_path: Path, out: Path, case: Case, verb: str, fitted: str
) -> None:
    done = given(hourglass, verb, case.put(tmp_path), out, model_of(fitted))
    check_refused(done, (*case.says, case.file), out)


@pytest.mark.parametrize("fitted", ["pictures", "sounds"])
@pytest.mark.parametrize("verb", ["encode", "denoise", "reconstruct", "compress", "interpolate"])
def test_every_verb_refuses_a_bad_picture_or_recording(
    hourglass: Command, model_of: Models, tmp_path: Path, out: Path, fitted: str, verb: str
) -> None:
    data = tmp_path / ("data.png" if fitted == "pictures" else "data.wav")
    data.write_bytes(cut(PNG if fitted == "pictures" else WAV))
    check_refused(given(hourglass, verb, data, out, model_of(fitted)), (data.name, "cut short"), out)


DEEP = GREY.astype(np.uint16) * 257
FRAMES = {"save_all": True, "append_images": [Image.fromarray(255 - NOISE)]}
ODD_PICTURES = [
    Case("of another size", picture("PNG"), ("resized to 8 x 8 pixels",), "data.png"),
    Case("animated", picture("GIF", **FRAMES), ("has 2 frames, of which the first is taken",), "data.gif"),
    Case("of many pages", picture("TIFF", **FRAMES), ("has 2 frames, of which the first is taken",), "data.tif"),
    Case("in CMYK", picture("JPEG", Image.fromarray(NOISE).convert("CMYK")), ("colours CMYK",), "data.jpg"),
    Case("of 16 bits", picture("PNG", DEEP), (), "data.png"),
    Case("of floats", picture("TIFF", GREY / np.float32(255)), (), "data.tif"),
    Case("of one bit", picture("PNG", GREY > 100), (), "data.png"),
    Case("of a palette", picture("PNG", Image.fromarray(NOISE).quantize(16)), (), "data.png"),
    Case("with transparency", picture("PNG", np.dstack([NOISE, GREY])), ("transparency",), "data.png"),
    Case("of a single pixel", picture("PNG", GREY[:1, :1]), ("single pixel",), "data.png"),
    Case("of a single row", picture("PNG", GREY[:1]), (), "data.png"),
]


@pytest.mark.parametrize("case", ODD_PICTURES, ids=lambda case: case.name)
def test_an_odd_picture_is_scored_aloud(
    hourglass: Command, model_of: Models, tmp_path: Path, out: Path, case: Case
) -> None:
    done = given(hourglass, "detect with a model", case.put(tmp_path), out, model_of("pictures"))
    check_scored(done, case.says, out, rows=1)


STEREO = np.hstack([SOUND, SOUND[::-1]])
ODD_SOUNDS = [
    Case("in stereo", sound(samples=STEREO), (), "data.wav"),
    Case("of 9 channels", sound(samples=np.repeat(SOUND, 9, axis=1)), (), "data.wav"),
    Case("at another rate", sound(rate=11_025), (), "data.wav"),
    Case("silent", sound(samples=SOUND * 0), ("is silent",), "data.wav"),
    Case("with a constant offset", sound(samples=SOUND * 0.3 + 0.5), ("has a constant offset",), "data.wav"),
    Case("clipped", sound(samples=(SOUND * 50).clip(-1, 1)), ("is clipped",), "data.wav"),
    Case("of 8 bits", sound(subtype="PCM_U8"), (), "data.wav"),
    Case("of doubles", sound(subtype="DOUBLE"), (), "data.wav"),
    Case("far beyond full scale", sound(samples=SOUND * 1e9, subtype="FLOAT"), (), "data.wav"),
    Case("of subnormal numbers", sound(samples=SOUND * 1e-40, subtype="FLOAT"), (), "data.wav"),
    Case("of two MP3 files in one", sound("MP3") + sound("MP3", SOUND * 0.5), (), "data.mp3"),
    Case("of an Ogg without its end", cut(sound("OGG"), 0.7), (), "data.ogg"),
    Case("of one frame", sound(samples=SOUND[:1]), (), "data.wav"),
]


@pytest.mark.parametrize("case", ODD_SOUNDS, ids=lambda case: case.name)
def test_an_odd_recording_is_scored_aloud_or_refused(
    hourglass: Command, model_of: Models, tmp_path: Path, out: Path, case: Case
) -> None:
    done = given(hourglass, "detect with a model", case.put(tmp_path), out, model_of("sounds"))
    if done.code == 3 and not case.says:
        check_refused(done, ("data.",), out)
    else:
        check_scored(done, case.says, out)


# Folders


def test_a_folder_with_a_bad_file_is_refused_by_its_name_or_skips_it(
    hourglass: Command, samples: Path, tmp_path: Path, out: Path
) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for path in (samples / "pictures").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "zz.png").write_bytes(cut(PNG))
    done = given(hourglass, "fit", folder, out)
    check_refused(done, ("pictures/zz.png", "is damaged or cut short", "--skip-bad"), out)
    done = given(hourglass, "fit", folder, out, options=["--skip-bad"])
    assert done.code == 0, done.err
    assert "skipped 1 picture that cannot be read: zz.png" in done.err


def test_verbs_do_the_rest_of_a_folder_and_end_with_3(
    hourglass: Command, model_of: Models, samples: Path, tmp_path: Path, out: Path
) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for path in sorted((samples / "pictures").iterdir())[:3]:
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "01x.png").write_bytes(b"hello")
    done = given(hourglass, "detect with a model", folder, out, model_of("pictures"))
    assert done.code == 3
    assert "skipped 1 picture that cannot be read: 01x.png" in done.err
    assert len((out / "scores.jsonl").read_text().splitlines()) == 3


FOLDERS: dict[str, tuple[dict[str, bytes], str]] = {
    "nothing": ({}, "is a folder without pictures"),
    "other files": ({"a.doc": b"a,b\n1,2\n"}, "; it has a.doc"),
    "hidden files": ({".a.png": PNG}, "is a folder without pictures"),
    "two kinds": ({"a.png": PNG, "b.wav": WAV}, "holds 1 picture and 1 recording"),
    "bad files only": ({"a.png": b"x", "b.png": b""}, "none of its 2 pictures can be read"),
}


@pytest.mark.parametrize("name", FOLDERS)
@pytest.mark.parametrize("verb", ["fit", "detect with a model", "encode"])
def test_a_folder_of_nothing_to_read_is_refused(
    hourglass: Command, model_of: Models, tmp_path: Path, out: Path, name: str, verb: str
) -> None:
    folder = tmp_path / "given"
    folder.mkdir()
    files, says = FOLDERS[name]
    for file, content in files.items():
        (folder / file).write_bytes(content)
    check_refused(given(hourglass, verb, folder, out, model_of("pictures")), (says, "given"), out)
