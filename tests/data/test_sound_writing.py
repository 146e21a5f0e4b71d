"""Recordings written block by block: what goes in comes out, and nothing is lost of what was there."""

from __future__ import annotations

import json
import struct
import wave
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import soundfile

from hourglass.data import sound_writing
from hourglass.data.files import read
from hourglass.data.samples import Recordings
from hourglass.data.sound import SoundInfo, sound_blocks, sound_info
from hourglass.data.sound_writing import SoundWriter, as_integers, write_recordings
from hourglass.errors import DataError, UsageError

RATE = 8000
TONE = (0.5 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)).astype(np.float32)
STEREO = np.stack([TONE, -TONE], axis=1)
INFO = SoundInfo(RATE, RATE, 2, "WAV", "PCM_16")


def written(path: Path, info: SoundInfo, samples: np.ndarray, size: int = 777) -> SoundWriter:
    with SoundWriter(path, info) as writer:
        for start in range(0, len(samples), size):
            writer.write(samples[start : start + size])
    return writer


def passed_on(source: Path, target: Path) -> SoundWriter:
    with SoundWriter(target, sound_info(source)) as writer:
        for block in sound_blocks(source, 1000):
            writer.write(block)
    return writer


def samples_of(path: Path) -> np.ndarray:
    return np.asarray(soundfile.read(path, dtype="float32", always_2d=True)[0])


def test_a_16_bit_file_comes_back_bit_for_bit(tmp_path: Path) -> None:
    every = np.arange(-32768, 32768, dtype="<i2").reshape(-1, 2)
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setparams((2, 2, 44100, 0, "NONE", ""))
        file.writeframes(every.tobytes())
    assert passed_on(tmp_path / "a.wav", tmp_path / "b.wav").notices == []
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()


@pytest.mark.parametrize(
    ("name", "subtype"),
    [
        ("a.wav", "PCM_U8"),
        ("a.wav", "PCM_24"),
        ("a.wav", "FLOAT"),
        ("a.wav", "DOUBLE"),
        ("a.wav", "ULAW"),
        ("a.rf64", "PCM_24"),
        ("a.w64", "PCM_24"),
        ("a.flac", "PCM_S8"),
        ("a.flac", "PCM_16"),
        ("a.flac", "PCM_24"),
        ("a.aiff", "PCM_24"),
    ],
)
def test_every_depth_comes_back_sample_for_sample(tmp_path: Path, name: str, subtype: str) -> None:
    noise = np.random.default_rng(0).normal(scale=0.2, size=(5000, 2))
    source, target = tmp_path / f"in_{name}", tmp_path / name
    soundfile.write(source, noise, 44_100, subtype)
    writer = passed_on(source, target)
    assert writer.notices == []
    assert sound_info(target) == sound_info(source)
    np.testing.assert_array_equal(samples_of(target), samples_of(source))


@pytest.mark.parametrize(("subtype", "bits"), [("PCM_S8", 8), ("PCM_16", 16), ("PCM_24", 24), ("PCM_32", 32)])
def test_whole_numbers_are_rounded_and_held_at_full_scale(subtype: str, bits: int) -> None:
    steps = np.array([[0.0, 0.4, 0.6, 1.0, -0.4, -0.6, -1.0]])
    half = 2 ** (bits - 1)
    shift = 32 - bits
    np.testing.assert_array_equal(as_integers(steps / half, subtype) >> shift, [[0, 0, 1, 1, 0, -1, -1]])
    loud = np.array([[1.0, 2.0, -1.0, -2.0, np.float32(1e30)]])
    np.testing.assert_array_equal(as_integers(loud, subtype) >> shift, [[half - 1, half - 1, -half, -half, half - 1]])


def test_sound_beyond_full_scale_is_held_and_does_not_wrap(tmp_path: Path) -> None:
    written(tmp_path / "a.wav", INFO, STEREO * 3)
    np.testing.assert_allclose(samples_of(tmp_path / "a.wav"), np.clip(STEREO * 3, -1, 1), atol=1 / 32768)


@pytest.mark.parametrize(
    ("name", "info", "kept"),
    [
        ("a.flac", INFO, ("FLAC", "PCM_16")),
        ("a.flac", replace(INFO, subtype="FLOAT"), ("FLAC", "PCM_24")),
        ("a.flac", replace(INFO, subtype="PCM_U8"), ("FLAC", "PCM_S8")),
        ("a.wav", replace(INFO, container="FLAC", subtype="PCM_S8"), ("WAV", "PCM_U8")),
        ("a.wav", replace(INFO, container="OGG", subtype="VORBIS"), ("WAV", "PCM_16")),
        ("a.wav", replace(INFO, container="RF64"), ("RF64", "PCM_16")),
        ("a.wav", replace(INFO, container="WAVEX", subtype="PCM_24"), ("WAVEX", "PCM_24")),
        ("a.wav", replace(INFO, frames=2**31), ("RF64", "PCM_16")),
        ("a.ogg", INFO, ("OGG", "VORBIS")),
        ("a.opus", INFO, ("OGG", "OPUS")),
        ("a.MP3", INFO, ("MP3", "MPEG_LAYER_III")),
        ("a.aif", replace(INFO, subtype="DOUBLE"), ("AIFF", "DOUBLE")),
    ],
    ids=lambda value: "" if isinstance(value, SoundInfo) else " ".join(value) if isinstance(value, tuple) else value,
)
def test_a_container_holds_what_loses_least(tmp_path: Path, name: str, info: SoundInfo, kept: tuple[str, str]) -> None:
    writer = written(tmp_path / name, info, STEREO)
    found = sound_info(tmp_path / name)
    assert (found.container, found.subtype) == (writer.container, writer.subtype) == kept
    assert (found.frames, found.rate, found.channels) == (RATE, RATE, 2)
    said = [f"is written as {kept[1]}, since {kept[0]} has no {info.subtype}"] if kept[1] != info.subtype else []
    assert writer.notices == said
    error = np.sqrt(np.mean((samples_of(tmp_path / name) - STEREO) ** 2))
    assert error < 0.03


TAGS = {"title": "Dämmerung", "artist": "a wren", "date": "2019-05-22", "comment": "gain 30 dB"}


@pytest.mark.parametrize(
    ("name", "lost"),
    [
        *((name, "") for name in ("a.wav", "a.rf64", "a.flac", "a.ogg", "a.opus")),
        *[("a.aiff", "date"), ("a.mp3", "date"), ("a.w64", "title, artist, date, comment")],
    ],
)
def test_tags_are_kept_or_said_to_be_lost(tmp_path: Path, name: str, lost: str) -> None:
    writer = written(tmp_path / name, replace(INFO, tags=TAGS), STEREO)
    kept = sound_info(tmp_path / name).tags
    assert ", ".join(key for key, value in TAGS.items() if kept.get(key) != value) == lost
    said = [notice for notice in writer.notices if "tags" in notice]
    assert said == ([f"loses tags that {writer.container} cannot hold as they are: {lost}"] if lost else [])


def test_the_software_that_recorded_is_kept_beside_the_library_that_wrote(tmp_path: Path) -> None:
    writer = written(tmp_path / "a.wav", replace(INFO, tags={"software": "AudioMoth"}), STEREO)
    assert writer.notices == []
    again = passed_on(tmp_path / "a.wav", tmp_path / "b.wav")
    assert again.notices == []
    assert sound_info(tmp_path / "b.wav").tags == sound_info(tmp_path / "a.wav").tags


# Whole or not at all


@pytest.mark.parametrize("error", [ValueError("ours"), KeyboardInterrupt()], ids=["error", "interrupt"])
def test_a_fault_on_the_way_leaves_the_old_file_and_nothing_else(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "a.wav"
    written(path, INFO, STEREO)
    before = path.read_bytes()

    def interrupted() -> None:
        with SoundWriter(path, INFO) as writer:
            writer.write(STEREO[:100])
            raise error

    with pytest.raises(type(error)):
        interrupted()
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def takes_fewer(*_: object) -> None:
        raise AssertionError  # what soundfile does then

    monkeypatch.setattr(soundfile.SoundFile, "write", takes_fewer)
    with pytest.raises(DataError, match="cannot be written: less was taken than given") as caught:
        written(tmp_path / "a.wav", INFO, STEREO)
    assert caught.value.where == str(tmp_path / "a.wav")
    assert "disk is full" in caught.value.how
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_what_is_no_number_is_never_written(tmp_path: Path, number: float) -> None:
    sound = STEREO.copy()
    sound[5000, 1] = number
    with pytest.raises(DataError, match="the sound holds NaN or infinity"):
        written(tmp_path / "a.wav", INFO, sound)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.mp3"])
def test_no_sound_is_no_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="there is no sound to write"):
        written(tmp_path / name, INFO, STEREO[:0])
    assert list(tmp_path.iterdir()) == []


def test_blocks_of_another_shape_are_refused(tmp_path: Path) -> None:
    for block in (TONE, STEREO[:, :1]):
        writer = SoundWriter(tmp_path / "a.wav", INFO)
        with pytest.raises(UsageError, match=r"got a block of shape .*, wanted \(frames, 2\)"), writer:
            writer.write(block)


def test_what_a_container_cannot_hold_is_refused_with_a_way_out(tmp_path: Path) -> None:
    for name, info in [
        ("a.mp3", replace(INFO, channels=5)),
        ("a.opus", replace(INFO, rate=44_100)),
        ("a.flac", replace(INFO, channels=9)),
    ]:
        writer = SoundWriter(tmp_path / name, info)
        with pytest.raises(UsageError, match=r"cannot hold \d channels of [\d,]+ Hz") as caught, writer:
            pass
        assert ".wav" in caught.value.how
    with pytest.raises(UsageError, match=r"the suffix '\.txt' is no recording's"):
        SoundWriter(tmp_path / "a.txt", INFO)
    writer = SoundWriter(tmp_path / "nowhere" / "a.wav", INFO)
    with pytest.raises(DataError, match="its folder does not exist"), writer:
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_long_block_is_written_piece_by_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lengths: list[int] = []
    convert: Callable[[np.ndarray, str], np.ndarray] = sound_writing.as_integers
    monkeypatch.setattr(sound_writing, "BLOCK", 1000)
    monkeypatch.setattr(
        sound_writing, "as_integers", lambda block, subtype: lengths.append(len(block)) or convert(block, subtype)
    )
    written(tmp_path / "a.wav", INFO, STEREO[:2500], size=2500)
    assert lengths == [1000, 1000, 500]
    np.testing.assert_allclose(samples_of(tmp_path / "a.wav"), STEREO[:2500], atol=1 / 65536)


# Several


@pytest.fixture
def several() -> Recordings:
    names = ["reef/a.wav", "reef/b.flac", "c.ogg", "d"]
    arrays = [STEREO, STEREO[:500], STEREO[:4000, :1], STEREO[:10, :1]]
    return Recordings(arrays, [8000, 44_100, 16_000, 250], pa.table({"name": names}), "reefs", failed=("z.wav: empty",))


def test_several_go_to_a_folder_under_their_names(tmp_path: Path, several: Recordings) -> None:
    assert write_recordings(several, tmp_path / "out") == ["c.ogg is written as VORBIS, since OGG has no PCM_16"]
    found = read(tmp_path / "out")
    assert isinstance(found, Recordings)
    assert found.table.column("name").to_pylist() == ["c.ogg", "d.wav", "reef/a.wav", "reef/b.flac"]
    assert found.rates == [16_000, 250, 8000, 44_100]
    np.testing.assert_allclose(found.arrays[2], STEREO, atol=1 / 65536)
    manifest = json.loads((tmp_path / "out" / "_manifest.json").read_text())
    assert manifest["files"][3] == {"file": "d.wav", "name": "d"}
    assert manifest["failed"] == ["z.wav: empty"]
    assert write_recordings(several, tmp_path / "out")  # replaced


def test_each_keeps_its_depth_and_tags(tmp_path: Path, several: Recordings) -> None:
    infos = [SoundInfo(1, 1, 1, "WAV", "PCM_24", {"title": name}) for name in "abcd"]
    infos = [
        replace(info, rate=rate, channels=array.shape[1])
        for info, rate, array in zip(infos, several.rates, several.arrays, strict=True)
    ]
    write_recordings(several, tmp_path / "out", infos)
    info = sound_info(tmp_path / "out" / "reef" / "b.flac")
    assert (info.subtype, info.rate, info.tags) == ("PCM_24", 44_100, {"title": "b"})


def test_one_goes_to_a_file_and_several_do_not(tmp_path: Path, several: Recordings) -> None:
    one = replace(several, arrays=several.arrays[:1], rates=[8000], table=several.table[:1])
    assert write_recordings(one, tmp_path / "a.wav") == []
    np.testing.assert_allclose(samples_of(tmp_path / "a.wav"), STEREO, atol=1 / 65536)
    with pytest.raises(UsageError, match="got 4 recordings, and a file holds one") as caught:
        write_recordings(several, tmp_path / "a.wav")
    assert str(tmp_path / "a") in caught.value.how


def test_a_folder_with_anything_else_is_left_alone(tmp_path: Path, several: Recordings) -> None:
    (tmp_path / "mine.txt").write_text("words")
    with pytest.raises(DataError, match="holds files that are not from here"):
        write_recordings(several, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_real_recordings_come_back_bit_for_bit(tmp_path: Path, shared_data: Path, need: Callable[[Path], Path]) -> None:
    clips = need(shared_data / "audio")
    for name in ("birds/great-tit/2021-B32-0415_05-3.wav", "whales/orca-ford-osborne/FO-S06-a.flac"):
        target = tmp_path / Path(name).name
        assert passed_on(clips / name, target).notices == []
        source = soundfile.read(clips / name, dtype="int32")[0]
        np.testing.assert_array_equal(soundfile.read(target, dtype="int32")[0], source)
        assert sound_info(target) == sound_info(clips / name)
    assert struct.unpack_from("<H", (tmp_path / "2021-B32-0415_05-3.wav").read_bytes(), 22) == (1,)
