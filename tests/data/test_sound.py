"""Sound files as they should be and as they should not, alone, in folders, and block by block."""

from __future__ import annotations

import contextlib
import csv
import struct
import tracemalloc
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from hourglass.data import limits
from hourglass.data.files import from_object, read
from hourglass.data.samples import Recordings
from hourglass.data.sound import sound_blocks, sound_info
from hourglass.errors import DataError, UnreadableError

RATE = 8000
SECONDS = np.arange(RATE) / RATE
TONE = (0.5 * np.sin(2 * np.pi * 440 * SECONDS)).astype(np.float32)


def put(folder: Path, name: str, samples: np.ndarray = TONE, rate: int = RATE, **options: Any) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate, **options)
    return path


def recordings(path: Path, **options: Any) -> Recordings:
    data = read(path, **options)
    assert isinstance(data, Recordings)
    return data


def names(data: Recordings) -> list[str]:
    return data.table.column("name").to_pylist()


def loudest_frequency(samples: np.ndarray, rate: int) -> float:
    spectrum = np.abs(np.fft.rfft(samples))
    return float(np.fft.rfftfreq(len(samples), 1 / rate)[spectrum.argmax()])


def damaged(path: Path, marker: bytes, offset: int, form: str, number: int) -> Path:
    """The file with another number at some place after the first `marker`."""
    content = bytearray(path.read_bytes())
    struct.pack_into(form, content, content.index(marker) + offset, number)
    path.write_bytes(content)
    return path


# One file


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.wav", {}),
        ("a.WAV", {"subtype": "FLOAT"}),
        ("a.wav", {"subtype": "PCM_U8"}),
        ("a.wav", {"subtype": "IMA_ADPCM"}),
        ("a.wav", {"format": "WAVEX", "subtype": "PCM_24"}),
        ("a.wav", {"format": "RF64"}),
        ("a.wav", {"endian": "BIG"}),
        ("a.rf64", {"format": "RF64"}),
        ("a.w64", {}),
        ("a.flac", {"subtype": "PCM_24"}),
        ("a.ogg", {}),
        ("a.oga", {"format": "OGG"}),
        ("a.opus", {"format": "OGG", "subtype": "OPUS"}),
        ("a.mp3", {}),
        ("a.aiff", {}),
        ("a.aif", {"format": "AIFF", "subtype": "FLOAT"}),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(map(str, value.values())),
)
def test_every_kind_of_file_sounds_as_it_was_written(tmp_path: Path, name: str, options: dict[str, str]) -> None:
    found = recordings(put(tmp_path, name, **options))
    assert names(found) == [name]
    assert found.table.column("folder").to_pylist() == ["."]
    assert found.rates == [RATE]
    [array] = found.arrays
    assert array.dtype == np.float32
    assert array.shape[1] == 1
    assert abs(len(array) - RATE) < 1024  # a code of blocks fills its last one
    assert loudest_frequency(array[:RATE, 0], RATE) == 440
    assert found.notices == ()


def test_whole_numbers_are_read_exactly(tmp_path: Path) -> None:
    numbers = np.array([[-32768, 32767], [0, 1], [-1, 12345]], dtype="<i2")
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setparams((2, 2, 44100, 0, "NONE", ""))
        file.writeframes(numbers.tobytes())
    np.testing.assert_array_equal(recordings(tmp_path / "a.wav").arrays[0], numbers / 32768)


@pytest.mark.parametrize(("rate", "channels"), [(100, 1), (250_000, 2), (1_000_000, 1), (44_100, 64)])
def test_any_usual_rate_and_number_of_channels(tmp_path: Path, rate: int, channels: int) -> None:
    sound = np.linspace(-0.5, 0.5, 60 * channels, dtype=np.float32).reshape(60, channels)
    found = recordings(put(tmp_path, "a.wav", sound, rate, subtype="FLOAT"))
    assert found.rates == [rate]
    np.testing.assert_array_equal(found.arrays[0], sound)


def test_one_frame_is_a_recording(tmp_path: Path) -> None:
    assert recordings(put(tmp_path, "a.wav", TONE[5:6])).arrays[0].shape == (1, 1)


def test_recordings_in_memory_pass_through(tmp_path: Path) -> None:
    found = recordings(put(tmp_path, "a.wav"))
    assert from_object(found) is found
    assert found.where(0) == f"{tmp_path}/a.wav, a.wav"


# What a file says of itself


def test_what_a_file_says_of_itself(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    with soundfile.SoundFile(path, "w", 32_000, 2, "PCM_24") as file:
        file.title, file.artist = "Dämmerung", "a wren"
        file.write(np.zeros((1600, 2)))
    info = sound_info(path)
    assert (info.frames, info.rate, info.channels, info.seconds) == (1600, 32_000, 2, 0.05)
    assert (info.container, info.subtype) == ("FLAC", "PCM_24")
    assert info.tags == {"title": "Dämmerung", "artist": "a wren"}


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3", "a.w64"])
def test_blocks_joined_are_the_whole(tmp_path: Path, name: str) -> None:
    sweep = 0.4 * np.sin(2 * np.pi * (200 * SECONDS + 1000 * SECONDS**2))
    path = put(tmp_path, name, np.stack([sweep, sweep[::-1]], axis=1))
    blocks = list(sound_blocks(path, 777))
    assert {len(block) for block in blocks[:-1]} == {777}
    # An MP3 that is read from the middle has clicks: each of its frames leans on those before.
    whole, _ = soundfile.read(path, dtype="float32")
    np.testing.assert_allclose(np.concatenate(blocks), whole, atol=1e-6)
    np.testing.assert_allclose(recordings(path).arrays[0], whole, atol=1e-6)


def test_blocks_take_the_memory_of_a_block(tmp_path: Path) -> None:
    path = put(tmp_path, "long.wav", np.tile(TONE, 100))
    next(sound_blocks(path, 1000))  # imports once
    tracemalloc.start()
    frames = sum(len(block) for block in sound_blocks(path, 1000))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert frames == 100 * RATE
    assert peak < 4 * frames / 10


def test_blocks_tell_what_is_odd_at_the_end(tmp_path: Path) -> None:
    notices: list[str] = []
    list(sound_blocks(put(tmp_path, "a.wav", np.zeros(5000)), 100, notices))
    assert notices == ["is silent: every sample is zero"]


# Odd, and accepted aloud

CLIPPED = np.clip(4 * TONE, -1, 1)


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "FLOAT"])
@pytest.mark.parametrize(
    ("sound", "notice"),
    [
        (CLIPPED, "is clipped: it has runs of samples at full scale"),
        (TONE + 0.3, "has a constant offset (DC)"),
        (TONE * 2, None),  # touches full scale, and is whole
        (TONE + 0.01, None),
        (0 * TONE, "is silent: every sample is zero"),
        (np.stack([TONE, 0 * TONE], axis=1), "has a silent channel"),
        (np.full(100, 0.2), "has a constant offset (DC)"),
    ],
    ids=["clipped", "offset", "loud", "nearly even", "silent", "half silent", "constant"],
)
def test_odd_sound_is_accepted_aloud(tmp_path: Path, sound: np.ndarray, notice: str | None, subtype: str) -> None:
    found = recordings(put(tmp_path, "a.wav", sound, subtype=subtype))
    assert found.notices == ((f"a.wav {notice}",) if notice else ())
    assert found.arrays[0].shape == (len(sound), sound.ndim)


def test_a_float_file_beyond_full_scale_is_not_called_clipped(tmp_path: Path) -> None:
    found = recordings(put(tmp_path, "a.wav", TONE * 1000, subtype="FLOAT"))
    assert found.notices == ()
    np.testing.assert_array_equal(found.arrays[0][:, 0], TONE * 1000)


# Bad files


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("a.wav", b"", "the file is empty"),
        ("a.wav", b"these are words", "looks like text, wanted a WAV recording"),
        ("a.wav", bytes(range(8)) * 100, "looks like bytes without a header, wanted a WAV recording"),
        ("a.wav", b"ID3\3\0\0\0\0\0\0", "looks like an MP3 recording, wanted a WAV recording"),
        ("a.wav", b"\xff\xfb\x90\0\0\0", "looks like an MP3 recording, wanted a WAV recording"),
        ("a.mp3", b"RIFF\0\0\0\0WAVE", "looks like a WAV recording, wanted an MP3 recording"),
        ("a.mp3", b"\xff\xd8\xff\xe0\0\0", "looks like a JPEG picture, wanted an MP3 recording"),
        ("a.flac", b"OggS\0\0", "looks like an Ogg recording, wanted a FLAC recording"),
        ("a.aiff", b"RF64\xff\xff\xff\xffWAVE", "looks like a WAV recording, wanted an AIFF recording"),
        ("a.csv", b"FORM\0\0\0\0AIFF", "looks like an AIFF recording, wanted text"),
        ("a.wav", b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1" + bytes(10) + b"wave", "looks like a Wave64 rec"),
        ("a.wav", b"RIFF\x04\0\0\0WAVE", "cannot be decoded"),
        ("a.wav", b"RIFF\x04\0\0\0WAV", "cannot be decoded"),
        ("a.ogg", b"OggS" + bytes(200), "cannot be decoded"),
        ("a.mp3", b"ID3\3\0\0\0\0\0\0", "cannot be decoded"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_recording_is_refused_by_name(tmp_path: Path, name: str, content: bytes, what: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UnreadableError, match=what) as caught:
        read(tmp_path / name)
    assert caught.value.where == str(tmp_path / name)
    assert caught.value.how or not content


def test_a_table_of_identities_is_no_recording(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("ID3,age\n22,41\n")
    assert not isinstance(read(tmp_path / "a.csv"), Recordings)


READERS: list[Callable[[Path], Any]] = [read, sound_info, lambda path: list(sound_blocks(path, 1000))]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.wav", {}),
        ("a.wav", {"subtype": "IMA_ADPCM"}),
        ("a.wav", {"endian": "BIG"}),
        ("a.rf64", {"format": "RF64"}),
        ("a.w64", {}),
        ("a.aiff", {}),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(map(str, value.values())),
)
def test_a_file_cut_short_says_how_much_is_there(tmp_path: Path, name: str, options: dict[str, str]) -> None:
    path = put(tmp_path, name, np.tile(TONE, 10), **options)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 7 // 10])
    for reader in READERS:
        with pytest.raises(UnreadableError, match=r"is cut short: [67]\.\d\d of 1\d\.\d\d seconds are there") as caught:
            reader(path)
        assert caught.value.where == str(path)


@pytest.mark.parametrize(("name", "what"), [("a.flac", r"short after \d\.\d\d of 10\.00 s"), ("a.mp3", "is cut short")])
def test_a_compressed_file_cut_short_is_refused(tmp_path: Path, name: str, what: str) -> None:
    path = put(tmp_path, name, np.tile(TONE, 10))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 6 // 10])
    with pytest.raises(UnreadableError, match=what):
        read(path)


def test_an_ogg_file_without_its_end_is_read_aloud(tmp_path: Path) -> None:
    path = put(tmp_path, "a.ogg", np.random.default_rng(0).normal(scale=0.1, size=10 * RATE))
    assert recordings(path).notices == ()
    content = path.read_bytes()
    path.write_bytes(content[: content.rindex(b"OggS")])
    assert recordings(path).notices == ("a.ogg has no end: it may be cut short",)


def test_a_byte_too_few_is_no_frame_too_few(tmp_path: Path) -> None:
    path = damaged(put(tmp_path, "a.wav"), b"data", 4, "<I", 2 * RATE + 1)
    assert len(recordings(path).arrays[0]) == RATE


@pytest.mark.parametrize("claimed", [0xFFFFFFFF, 0xFFFFFFF0, 10_000_000])
def test_four_gigabytes_in_a_kilobyte_are_refused_without_memory(tmp_path: Path, claimed: int) -> None:
    path = damaged(put(tmp_path, "a.wav", TONE[:500]), b"data", 4, "<I", claimed)
    _refused_in_little_memory(path, r"is cut short: 0\.06 of .* seconds are there")


def test_a_hostile_length_is_refused_without_memory(tmp_path: Path) -> None:
    flac = damaged(put(tmp_path, "a.flac"), b"fLaC", 22, ">I", 0xFFFFFFFF)  # the lower half of the number of frames
    _refused_in_little_memory(flac, r"unpack to 17,179,869,180 or more, wanted at most")
    mp3 = damaged(put(tmp_path, "a.mp3"), b"Xing", 8, ">I", 0x7FFFFFFF)
    _refused_in_little_memory(mp3, r"unpack to .* or more, wanted at most 536,870,912")


def _refused_in_little_memory(path: Path, what: str) -> None:
    tracemalloc.start()
    for reader in READERS:
        with pytest.raises(UnreadableError, match=what):
            reader(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000_000


def test_what_becomes_too_large_is_refused_whole_but_not_in_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = put(tmp_path, "a.wav")
    monkeypatch.setattr(limits, "MOST_BYTES", 4 * RATE - 1)
    with pytest.raises(UnreadableError, match="unpack to 32,000 or more"):
        read(path)
    assert sum(len(block) for block in sound_blocks(path, 100)) == RATE


def test_a_recording_of_unknown_length_is_refused(tmp_path: Path) -> None:
    path = damaged(put(tmp_path, "a.flac"), b"fLaC", 22, ">I", 0)
    with pytest.raises(UnreadableError, match="does not say how long it is"):
        read(path)


def test_no_samples_are_no_recording(tmp_path: Path) -> None:
    with pytest.raises(UnreadableError) as caught:
        read(put(tmp_path, "a.wav", TONE[:0]))
    assert caught.value.what == "holds no sound: its header tells of no samples"
    never_closed = damaged(put(tmp_path, "c.wav"), b"data", 4, "<I", 0)
    with pytest.raises(UnreadableError, match=r"no samples, though 16,000 bytes follow: perhaps it was never closed"):
        read(never_closed)
    header = put(tmp_path, "d.wav")
    header.write_bytes(header.read_bytes()[:44])
    with pytest.raises(UnreadableError, match="holds no sound: its header claims 16,000 bytes"):
        read(header)


@pytest.mark.parametrize(
    ("offset", "form", "number", "what"),
    [
        (16, "<I", 99, "claims 99 frames a second, wanted 100 to 1,000,000"),
        (16, "<I", 1_000_001, "claims 1,000,001 frames a second"),
        (16, "<I", 0, "cannot be decoded"),
        (14, "<H", 65, "claims 65 channels, wanted at most 64"),
        (14, "<H", 0, "cannot be decoded"),
        (14, "<H", 65_535, "cannot be decoded"),
        (12, "<H", 0x0161, "cannot be decoded"),  # Windows Media in a WAV file
        (12, "<H", 0x1234, "cannot be decoded"),
    ],
)
def test_absurd_headers_and_unknown_codes_are_refused(
    tmp_path: Path, offset: int, form: str, number: int, what: str
) -> None:
    path = damaged(put(tmp_path, "a.wav"), b"WAVE", offset, form, number)
    for reader in READERS:
        with pytest.raises(UnreadableError, match=what) as caught:
            reader(path)
        assert caught.value.where == str(path)
        assert str(path) not in caught.value.what


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_none_are_refused_by_their_place(tmp_path: Path, number: float) -> None:
    sound = np.stack([TONE, TONE], axis=1)
    sound[2000, 1] = number
    path = put(tmp_path, "a.wav", sound, subtype="FLOAT")
    for reader in (READERS[0], READERS[2]):
        with pytest.raises(DataError, match=r"holds \S+ at second 0\.250 of channel 2, wanted finite") as caught:
            reader(path)
        assert caught.value.where == str(path)


def test_changed_bytes_never_show_another_error(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for name in ("a.wav", "a.w64", "a.flac", "a.ogg", "a.aiff"):  # what decodes MP3 writes to stderr
        whole = put(tmp_path, name, TONE[:2000]).read_bytes()
        for _ in range(40):
            content = bytearray(whole)
            for place in random.integers(0, 200, 3):
                content[place] = random.integers(0, 256)
            (tmp_path / name).write_bytes(content)
            with contextlib.suppress(DataError):
                assert recordings(tmp_path / name).arrays[0].ndim == 2


def test_places_that_hold_no_recording_are_refused(tmp_path: Path) -> None:
    for place, what in [("a.txt", "has the suffix '.txt', which is no recording"), ("b.wav", "there is no such file")]:
        with pytest.raises(DataError, match=what):
            sound_info(tmp_path / place)
    (tmp_path / "folder.wav").mkdir()
    with pytest.raises(DataError, match="is no plain file"):
        sound_info(tmp_path / "folder.wav")


# Folders


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    put(tmp_path, "reef/b.flac", rate=16_000)
    put(tmp_path, "reef/a.wav", np.stack([TONE, TONE], axis=1))
    put(tmp_path, "d.ogg")
    put(tmp_path, ".hidden.wav")
    (tmp_path / "notes.txt").write_text("words")
    (tmp_path / "_manifest.json").write_text("{}")
    return tmp_path


def test_a_folder_is_read_with_those_below_it_in_order(folder: Path) -> None:
    found = recordings(folder)
    assert names(found) == ["d.ogg", "reef/a.wav", "reef/b.flac"]
    assert found.table.column("folder").to_pylist() == [".", "reef", "reef"]
    assert found.rates == [8000, 8000, 16_000]
    assert [array.shape for array in found.arrays] == [(RATE, 1), (RATE, 2), (RATE, 1)]
    assert found.notices == ("left out 1 file that is no recording by name: notes.txt",)


def test_a_bad_recording_among_good_ones_is_refused_or_skipped_and_listed(folder: Path) -> None:
    (folder / "reef" / "z.wav").write_bytes(b"")
    put(folder, "a.wav", np.full(8, np.nan), subtype="FLOAT")
    with pytest.raises(UnreadableError, match=r"holds nan at second.*; 1 more cannot be read: reef/z.wav") as caught:
        read(folder)
    assert caught.value.where == f"{folder}/a.wav"
    found = recordings(folder, skip_bad=True)
    assert len(found) == len(found.rates) == 3
    assert found.rates == [8000, 8000, 16_000]
    assert [each.partition(": ")[0] for each in found.failed] == ["a.wav", "reef/z.wav"]
    assert found.notices[0] == f"skipped 2 recordings that cannot be read: {'; '.join(found.failed)}"


def test_odd_recordings_of_a_folder_share_a_notice(tmp_path: Path) -> None:
    for name in "abcdefg":
        put(tmp_path, f"{name}.wav", CLIPPED)
    notice = "each of a.wav, b.wav, c.wav, d.wav, e.wav and 2 more is clipped: it has runs of samples at full scale"
    assert recordings(tmp_path).notices == (notice,)


def test_a_folder_of_two_kinds_or_of_none_is_refused(folder: Path) -> None:
    (folder / "a.png").write_bytes(b"")
    with pytest.raises(DataError, match="holds 1 picture and 3 recordings, wanted files of one kind") as caught:
        read(folder)
    assert "give a folder of one kind" in caught.value.how
    (folder / "empty").mkdir()
    with pytest.raises(DataError, match="is a folder without pictures or recordings") as caught:
        read(folder / "empty")
    assert ".png" in caught.value.how
    assert ".wav" in caught.value.how


def test_recordings_that_fill_the_memory_are_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MOST_BYTES", 4 * RATE * 3)
    with pytest.raises(UnreadableError, match="its recordings take more than 96,000 bytes when decoded"):
        read(folder)


# Real recordings


def test_real_recordings_are_as_long_as_their_list_says(shared_data: Path, need: Callable[[Path], Path]) -> None:
    clips = need(shared_data / "audio")
    with open(clips / "clips.csv", newline="") as file:
        listed = list(csv.DictReader(file))
    assert len(listed) > 40
    for clip in listed:
        info = sound_info(clips / clip["path"])
        wanted = (int(clip["frames"]), int(clip["sample_rate"]), int(clip["channels"]))
        assert (info.frames, info.rate, info.channels) == wanted
        assert info.seconds == pytest.approx(float(clip["seconds"]), abs=0.006)
    orcas = recordings(clips / "whales" / "orca-ford-osborne")
    frames = {clip["path"].rpartition("/")[2]: int(clip["frames"]) for clip in listed}
    assert [len(array) for array in orcas.arrays] == [frames[name] for name in names(orcas)]
    wind = clips / "noise" / "wind.ogg"
    assert sum(len(block) for block in sound_blocks(wind, 100_000)) == frames["wind.ogg"]
