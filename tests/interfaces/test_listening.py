"""The report of `denoise`: its figures are those of the files, its players play, it says where the gate is better."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from browsing import chromium, set_screen
from PIL import Image

from hourglass.data.quality import noise_floor, own_snr, segmental_snr, si_sdr
from hourglass.data.synthesis import call_clip, mixed, white
from hourglass.errors import DataError
from hourglass.interfaces import gains
from hourglass.interfaces.cli import run
from hourglass.interfaces.gains import Pair, clean_twins, measured
from hourglass.interfaces.listening import build_section, chosen, headline, write_listening
from hourglass.interfaces.page import Facts, Section, Table, Take, Takes, Text
from hourglass.interfaces.sounds import sound_files
from hourglass.interfaces.spectral_gate import gated
from hourglass.interfaces.takes import RANGE, Version, loudest_stretch, marks, takes_of

RATE = 8_000
HOSTILE = '<img src=x onerror="window.hacked=1"> "quoted"'


@dataclasses.dataclass(frozen=True)
class Clips:
    """Calls in white noise, what is left of it after denoising, and the calls alone; by name, and in files."""

    folder: Path
    before: dict[str, np.ndarray]
    after: dict[str, np.ndarray]
    clean: dict[str, np.ndarray]

    def pairs(self, truth: bool = True, after: str = "after") -> list[Pair]:
        """`after`: the folder whose files are taken to be what the model made."""
        place = lambda folder, name: str(self.folder / folder / name)  # noqa: E731
        return [
            Pair(name, place("before", name), place(after, name), place("clean", name) if truth else None)
            for name in self.before
        ]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Clips:
    """Three of 1.5 seconds; denoising has left a tenth of the noise of the first, a half of the second, and so on."""
    folder = tmp_path_factory.mktemp("clips")
    random = np.random.default_rng(0)
    sounds: dict[str, dict[str, np.ndarray]] = {"before": {}, "after": {}, "clean": {}}
    for place, left in enumerate((0.1, 0.5, 0.8)):
        call = call_clip("chirp", 1.5, RATE, random)
        noisy, noise = mixed(call, white(len(call), RATE, random), 0.0)
        clean = noisy - noise
        for which, sound in zip(sounds, (noisy, clean + left * noise, clean), strict=True):
            sounds[which][f"{place}.wav"] = (0.05 * sound).astype(np.float32)
    for which, each in sounds.items():
        (folder / which).mkdir()
        for name, sound in each.items():
            soundfile.write(folder / which / name, sound, RATE, subtype="FLOAT")
    return Clips(folder, **sounds)


def block(section: Section, kind: type, part: int = 0) -> Any:
    return next(each for each in section.parts[part].blocks if isinstance(each, kind))


def decoded(take: Take) -> tuple[np.ndarray, int]:
    return soundfile.read(io.BytesIO(take.flac))


# Figures


def test_with_twins_the_table_holds_what_the_files_give(clips: Clips) -> None:
    found = measured(clips.pairs())
    table: Table = block(build_section("Clips", found), Table)
    order = sorted(clips.before, key=lambda name: int(name[0]))  # the less noise is left, the more was gained
    assert [row[0] for row in table.rows] == order
    for row in table.rows:
        clean, versions = clips.clean[row[0]], [clips.before[row[0]], clips.after[row[0]]]
        versions.append(gated(clips.before[row[0]], RATE))  # type: ignore[arg-type]
        expected = [si_sdr(each, clean) for each in versions]
        expected += [segmental_snr(each, clean, RATE) for each in versions]
        assert row[1:] == ["1.5", *(f"{value:.1f}" for value in expected)]


def test_without_twins_the_table_holds_floors_and_own_ratios(clips: Clips) -> None:
    found = measured(clips.pairs(truth=False))
    table: Table = block(build_section("Clips", found), Table)
    for row in table.rows:
        versions = [clips.before[row[0]], clips.after[row[0]], gated(clips.before[row[0]], RATE)]
        expected = [measure(each, RATE) for measure in (noise_floor, own_snr) for each in versions]  # type: ignore[arg-type]
        assert row[2:] == [f"{value:.1f}" for value in expected]
    drops = [noise_floor(clips.before[name], RATE) - noise_floor(clips.after[name], RATE) for name in clips.before]
    assert found.document()["noise_floor"]["gain"] == pytest.approx(np.median(drops), abs=0.006)
    assert f"the noise floor falls by {np.median(drops):.1f} dB" in headline(found)
    assert "no proof of quality" in headline(found)
    assert "no proof of quality" in table.caption


def test_the_medians_are_said_and_told(clips: Clips) -> None:
    found = measured(clips.pairs())
    rises = [si_sdr(clips.after[n], clips.clean[n]) - si_sdr(clips.before[n], clips.clean[n]) for n in clips.before]
    median = float(np.median(rises))
    assert median == pytest.approx(20 * np.log10(1 / 0.5), abs=0.1)  # a half of the noise
    assert headline(found).startswith(
        f"In the median of 3 recordings, the signal-to-distortion ratio (SI-SDR) rises by {median:.1f} dB; with the "
    )
    assert found.document()["si_sdr"]["gain"] == pytest.approx(median, abs=0.006)
    assert set(found.document()) == {"si_sdr", "segmental_snr"}
    facts: Facts = block(build_section("Clips", found), Facts)
    assert ("3", "recordings") in facts.pairs
    assert (f"{median:.1f} dB", "median gain in SI-SDR") in facts.pairs


def test_one_recording_has_no_median_and_worse_is_said_to_fall(clips: Clips) -> None:
    pair = clips.pairs()[0]
    worse = measured([dataclasses.replace(pair, before=pair.after, after=pair.before)])
    assert re.match(r"The signal-to-distortion ratio \(SI-SDR\) falls by 20\.\d dB", headline(worse))


def test_only_the_first_minute_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gains, "gated", lambda signal, rate: None)
    sound = white(70 * 500, 500, np.random.default_rng(0)).astype(np.float32)
    after = np.where(np.arange(len(sound)) < 60 * 500, sound, 0)
    for name, each in (("a", sound), ("b", after)):
        soundfile.write(tmp_path / f"{name}.wav", each, 500, subtype="FLOAT")
    pair = Pair("a.wav", str(tmp_path / "a.wav"), str(tmp_path / "b.wav"))
    [found] = measured([pair]).found
    assert found.before == found.after
    assert found.seconds == 70


# The gate


def test_where_the_gate_is_better_that_is_said(clips: Clips) -> None:
    idle = measured(clips.pairs(after="before"))
    rises = [
        si_sdr(gated(sound, RATE), clips.clean[name]) - si_sdr(sound, clips.clean[name])  # type: ignore[arg-type]
        for name, sound in clips.before.items()
    ]
    better = sum(rise > 0 for rise in rises)
    assert better >= 2
    [notice] = idle.notices
    assert f"better than the model on {better} of 3 recordings, by SI-SDR" in notice
    assert f"(median gain {np.median(rises):.1f} dB, of the model 0.0 dB)" in notice
    said = [each.words for each in build_section("Clips", idle).parts[0].blocks if isinstance(each, Text)]
    assert any(notice in words for words in said)


def test_where_the_model_is_better_nothing_is_said(clips: Clips) -> None:
    assert not measured(clips.pairs(after="clean")).notices


def test_without_truth_the_gate_is_never_called_better(clips: Clips) -> None:
    [notice] = measured(clips.pairs(truth=False, after="before")).notices
    assert "lowers the noise floor more" in notice
    assert "better" not in notice


def test_without_the_gate_the_report_says_how_to_get_it(clips: Clips, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gains, "gated", lambda signal, rate: None)
    found = measured(clips.pairs())
    section = build_section("Clips", found)
    assert found.notices == [gains.NO_GATE]
    assert "pip install 'hourglass-autoencoder[gate]'" in block(section, Text).words
    assert "gate" not in " ".join(block(section, Table).header)
    assert [take.name for take in block(section, Takes, 1).takes] == ["Before", "Clean twin", "Denoised"]


# Players and pictures


def test_every_version_of_a_recording_can_be_heard(clips: Clips) -> None:
    section = build_section("Clips", measured(clips.pairs()))
    assert [part.title for part in section.parts[1:]] == ["0.wav", "1.wav", "2.wav"]
    for name, part in zip(clips.before, section.parts[1:], strict=True):
        takes: Takes = part.blocks[0]  # type: ignore[assignment]
        assert [take.name for take in takes.takes] == ["Before", "Clean twin", "Denoised", "Spectral gate"]
        before, rate = decoded(takes.takes[0])
        clean, _ = decoded(takes.takes[1])
        assert rate == RATE
        assert abs(before).max() == pytest.approx(0.9, abs=1e-3)
        factor = 0.9 / abs(clips.before[name]).max()
        np.testing.assert_allclose(before, factor * clips.before[name], atol=1e-4)
        np.testing.assert_allclose(clean, factor * clips.clean[name], atol=1e-4)  # as loud as it is beside the first
        assert takes.takes[0].words.startswith(f"SI-SDR {si_sdr(clips.before[name], clips.clean[name]):.1f} dB, ")


def test_a_tone_is_a_bright_line_at_its_frequency() -> None:
    tone = np.sin(2 * np.pi * 3000 * np.arange(2 * RATE) / RATE)
    loud, quiet = takes_of([Version("loud", "", tone, RATE), Version("quiet", "", 0.01 * tone, RATE)])
    pictures = [np.asarray(Image.open(io.BytesIO(take.png)).convert("L"), dtype=float) for take in (loud, quiet)]
    rows = [picture.mean(axis=1) for picture in pictures]
    from_above = np.argmax(rows[0]) / len(rows[0])
    assert from_above == pytest.approx(1 - 3000 / 4000, abs=0.02)
    assert np.argmax(rows[0]) == np.argmax(rows[1])
    indices = np.asarray(Image.open(io.BytesIO(quiet.png)))
    assert indices.max() == pytest.approx(255 * (1 - 40 / RANGE), abs=4)  # 40 dB below the loudest of the first
    assert loud.hertz[-1] == (100.0, "4 kHz")
    assert loud.seconds[-1] == (100.0, "2 s")


def test_silence_and_a_single_sample_have_players() -> None:
    for signal in (np.zeros(RATE), np.array([0.3])):
        [take] = takes_of([Version("x", "", signal, RATE)])
        assert np.isfinite(decoded(take)[0]).all()


@pytest.mark.parametrize(("rate", "played"), [(500, 8_000), (16_000, 16_000), (96_000, 22_050)])
def test_players_have_rates_that_browsers_play_and_that_stay_small(rate: int, played: int) -> None:
    sound = white(2 * rate, rate, np.random.default_rng(0))
    [take] = takes_of([Version("x", "", sound, rate)])
    samples, found = decoded(take)
    assert found == played
    assert len(samples) / found == pytest.approx(2, abs=1e-3)
    assert len(take.flac) < 2.1 * 2 * played + 10_000
    assert len(take.png) < 100_000


def test_ten_seconds_of_a_long_recording_are_played_where_it_is_loudest() -> None:
    sound = np.full((30 * 500, 2), 0.01)
    sound[13 * 500 : 21 * 500, 1] = 1
    stretch = loudest_stretch(sound, 500)
    assert stretch.stop - stretch.start == 10 * 500
    assert stretch.start <= 13 * 500
    assert stretch.stop >= 21 * 500
    assert loudest_stretch(sound[:700], 500) == slice(0, 700)


def test_the_louder_channel_of_a_long_recording_is_heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gains, "gated", lambda signal, rate: None)
    random = np.random.default_rng(0)
    sound = 0.01 * white(2 * 12 * 44_100, 44_100, random).reshape(-1, 2)
    sound[5 * 44_100 :, 1] *= 20
    soundfile.write(tmp_path / "a.wav", sound, 44_100)
    pair = Pair("a.wav", str(tmp_path / "a.wav"), str(tmp_path / "a.wav"))
    path = tmp_path / "report.html"
    found = write_listening(path, "Long", [pair])
    takes: Takes = block(build_section("Long", found), Takes, 1)
    assert "the loudest 10 seconds of what is left, 2.0 s to 12.0 s, channel 2 of 2" in takes.caption
    assert len(decoded(takes.takes[0])[0]) == 10 * 22_050
    assert path.stat().st_size < 2 * 700_000  # white noise, which does not compress, heard twice


def test_of_many_recordings_the_best_the_middle_and_the_worst_are_shown() -> None:
    assert chosen(np.array([3.0, 1.0, 2.0])) == [0, 2, 1]
    gained = np.random.default_rng(0).permutation(101).astype(float)
    assert sorted(gained[chosen(gained)]) == [0, 1, 50, 51, 99, 100]


@pytest.mark.parametrize("end", [0.013, 0.5, 1.0, 3.7, 9.99, 11.025, 48.0])
def test_marks_are_few_round_and_within(end: float) -> None:
    found = marks(end, "s")
    assert 3 <= len(found) <= 6
    assert all(0 <= place <= 100 for place, _ in found)
    for place, words in found:
        assert float(words.removesuffix(" s")) == pytest.approx(end * place / 100, rel=1e-3, abs=1e-9)


# The page


def test_the_page_fetches_nothing_and_runs_nothing(clips: Clips, tmp_path: Path) -> None:
    pairs = [dataclasses.replace(pair, name=HOSTILE) for pair in clips.pairs()]
    write_listening(tmp_path / "r.html", HOSTILE, pairs)
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    [policy] = re.findall(r'Content-Security-Policy" content="([^"]+)"', text)
    assert "default-src 'none'; script-src &#39;none&#39;;".replace("'", "&#39;") in policy
    assert "media-src data:" in policy
    assert "<script" not in text
    assert "http" not in re.sub(r'http-equiv="[^"]+"', "", text)
    assert HOSTILE not in text
    sources = re.findall(r'src="([^"]{0,30})', text)
    assert len(sources) == 3 * 4 * 2
    assert all(re.match(r"data:(audio/flac|image/png);base64,", source) for source in sources)
    assert len(text) < 3 * 4 * 200_000
    [first, *_] = re.findall(r"data:audio/flac;base64,([^\"]+)", text)
    assert soundfile.read(io.BytesIO(base64.b64decode(first)))[1] == RATE


# Twins


def test_twins_have_the_same_names_whatever_their_suffix(clips: Clips, tmp_path: Path) -> None:
    files = sound_files(str(clips.folder / "before"))
    assert files is not None
    assert clean_twins(files, None) == {}
    found = clean_twins(files, str(clips.folder / "clean"))
    assert found == {name: str(clips.folder / "clean" / name) for name in clips.before}
    for name, sound in clips.clean.items():
        soundfile.write(tmp_path / name.replace(".wav", ".flac"), sound, RATE)
    found = clean_twins(files, str(tmp_path))
    assert found == {name: str(tmp_path / name.replace(".wav", ".flac")) for name in clips.before}
    single = sound_files(str(clips.folder / "before" / "0.wav"))
    assert single is not None
    assert clean_twins(single, str(tmp_path / "1.flac")) == {"0.wav": str(tmp_path / "1.flac")}


def test_missing_and_unlike_twins_are_named(clips: Clips, tmp_path: Path) -> None:
    files = sound_files(str(clips.folder / "before"))
    assert files is not None
    soundfile.write(tmp_path / "0.wav", clips.clean["0.wav"], RATE)
    with pytest.raises(DataError, match=r"no clean twin of 1\.wav, 2\.wav"):
        clean_twins(files, str(tmp_path))
    for name, sound in clips.clean.items():
        soundfile.write(tmp_path / name, sound[: -(name == "1.wav") or None], RATE)
    with pytest.raises(
        DataError, match=r"1\.wav: has 11,999 frames of 1 channel at 8,000 Hz, and its noisy twin 12,000"
    ):
        clean_twins(files, str(tmp_path))
    with pytest.raises(DataError, match="no recording and no folder"):
        clean_twins(files, str(tmp_path / "nowhere"))


# In a browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium("--mute-audio") as driven:
        yield driven


_LOADED = """
const [done] = arguments, every = [...document.querySelectorAll('audio')];
Promise.all(every.map((audio) => audio.readyState ? 0 : new Promise((ready) => {
  audio.onloadedmetadata = audio.onerror = ready; audio.load();
}))).then(() => done(every.map((audio) => [audio.duration, audio.error && audio.error.message])));
"""


@pytest.mark.browser
@pytest.mark.parametrize("width", [1200, 390])
def test_a_browser_can_play_every_recording(browser: Any, clips: Clips, tmp_path: Path, width: int) -> None:
    write_listening(tmp_path / "r.html", HOSTILE, clips.pairs())
    set_screen(browser, width)
    browser.get((tmp_path / "r.html").as_uri())
    found = browser.execute_async_script(_LOADED)
    assert len(found) == 12
    for duration, error in found:
        assert error is None
        assert duration == pytest.approx(1.5, abs=0.01)
    assert browser.get_log("browser") == []
    drawn = browser.execute_script("return [...document.images].map((image) => image.naturalWidth)")
    assert drawn == [480] * 12
    assert browser.execute_script("return window.hacked") is None
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width


# By the command line

QUICK = ("--set", "network.channels=4,8", "--set", "network.head=values", "--epochs", "1", "--device", "cpu")


@pytest.fixture(scope="module")
def model(clips: Clips) -> Path:
    """A model that must make sound up, trained for a moment, so that the gate beats it."""
    path = clips.folder / "model.safetensors"
    assert run(["fit", f"{clips.folder}/clean", "--noise", "white", "-o", str(path), "--quiet", *QUICK]) == 0
    return path


def test_denoise_writes_the_report_and_tells_its_figures(
    clips: Clips, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page, out = tmp_path / "r.html", tmp_path / "out"
    words = ["denoise", model, clips.folder / "before", "-o", out, "--report", page, "--clean", clips.folder / "clean"]
    assert run([*map(str, words), "--json"]) == 0
    printed = capsys.readouterr()
    told = json.loads(printed.out)
    rises = []
    for name, clean in clips.clean.items():
        written = soundfile.read(out / name, dtype="float32")[0]
        rises.append(si_sdr(written, clean) - si_sdr(clips.before[name], clean))
    assert told["gains"]["si_sdr"]["gain"] == pytest.approx(np.median(rises), abs=0.006)
    assert told["report"] == str(page)
    [notice] = [each for each in told["notices"] if "gate" in each]
    assert "better than the model" in notice
    assert f"note: {notice}" in printed.err
    assert f"the report is in {page}: {told['headline']}" in printed.err
    assert notice in (text := page.read_text(encoding="utf-8"))
    assert told["headline"] in text


def test_denoise_of_a_single_file_reports_without_a_truth(
    clips: Clips, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out, page = clips.folder / "before" / "0.wav", tmp_path / "out.flac", tmp_path / "r.html"
    assert run(["denoise", str(model), str(source), "-o", str(out), "--report", str(page), "--json"]) == 0
    written = soundfile.read(out, dtype="float32")[0]
    drop = noise_floor(clips.before["0.wav"], RATE) - noise_floor(written, RATE)
    told = json.loads(capsys.readouterr().out)
    assert told["gains"]["noise_floor"]["gain"] == pytest.approx(drop, abs=0.006)
    assert told["noise_floor_drop"] == told["gains"]["noise_floor"]["gain"]
    assert page.read_text(encoding="utf-8").count("<audio") == 3


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["before", "-o", "OUT", "--clean", "clean"], "add --report"),
        (["before", "-o", "OUT", "--report", "r.html", "--clean", "none"], "no recording and no folder"),
        (["before", "-o", "OUT.npy", "--report", "r.html"], "recordings that are written"),
        (["-", "--report", "r.html"], "leave --json, --report"),
    ],
    ids=["clean alone", "no twins", "numbers", "pipe"],
)
def test_what_cannot_be_reported_is_refused(
    clips: Clips, model: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    placed = [word if word.startswith("-") else str(clips.folder / word) for word in words]
    assert run(["denoise", str(model), *placed]) in (2, 3)
    assert said in capsys.readouterr().err
    assert not (clips.folder / "OUT").exists()
