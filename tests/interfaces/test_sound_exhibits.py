"""Reports on models of recordings: what is odd by name and time, tiles given and given back, what the data hold."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import soundfile
from PIL import Image

from hourglass.data.samples import Recordings
from hourglass.data.synthesis import white
from hourglass.estimators.anomaly import AnomalyDetector
from hourglass.estimators.modalities import AudioAutoencoder
from hourglass.interfaces.cli import run
from hourglass.interfaces.findings import headline
from hourglass.interfaces.maps import labels_part
from hourglass.interfaces.page import Figure, Part, Picture, Section, Table, Text
from hourglass.interfaces.report import build_section, subject_of
from hourglass.interfaces.subject import Subject

RATE, ODD = 4_000, 17


def tones(count: int = 24) -> Recordings:
    """A second of a faintly noisy tone each, in two folders; in number 17 it jumps up after half of that."""
    random = np.random.default_rng(0)
    time = np.arange(RATE) / RATE
    pitches = np.full((count, RATE), 440.0)
    pitches[ODD:, RATE // 2 :][:1] = 1500.0
    arrays = [0.3 * np.sin(2 * np.pi * pitch * time) + 0.003 * white(RATE, RATE, random) for pitch in pitches]
    names = [f"{'left' if i % 2 else 'right'}/{i:02d}.wav" for i in range(count)]
    table = pa.table({"name": names, "folder": [name.split("/")[0] for name in names]})
    return Recordings([array[:, None].astype(np.float32) for array in arrays], [RATE] * count, table)


def subject(recordings: Recordings) -> Subject:
    estimator = AudioAutoencoder("plain", latent=3, epochs=8, seed=0, format={"frames": 16, "bins": 64})
    model = AnomalyDetector(estimator, 0.1).fit(recordings).model_
    return subject_of(model, recordings, model.detect(recordings))


@pytest.fixture(scope="module")
def found() -> Subject:
    return subject(tones())


@pytest.fixture(scope="module")
def section(found: Subject) -> Section:
    return build_section("Tones", found)


def part(section: Section, title: str) -> Part:
    return next(each for each in section.parts if each.title == title)


def test_the_oddest_recording_is_named_with_the_time_of_its_oddest_tile(found: Subject, section: Section) -> None:
    assert f"The oddest is left/{ODD}.wav, " in headline(found)
    assert "24 recordings look" in headline(found)
    table = next(block for block in part(section, "What was found").blocks if isinstance(block, Table))
    assert table.header[:3] == ["recording", "oddest stretch", "score"]
    assert table.rows[0][0] == f"left/{ODD}.wav"
    start, end = (float(word.split()[0]) for word in table.rows[0][1].split(", ")[0].split(" to "))
    assert end > 0.5
    span = found.sounds.spans(found.packed.places)[int(found.order[0])]  # type: ignore[union-attr]
    assert (span.start, span.end) == (pytest.approx(start, abs=0.006), pytest.approx(end, abs=0.006))


def test_tiles_stand_over_what_the_model_gives_back(found: Subject, section: Section) -> None:
    picture = next(block for block in part(section, "Given and given back").blocks if isinstance(block, Picture))
    image = np.asarray(Image.open(io.BytesIO(picture.png)).convert("RGB")) / 255
    assert image.shape == (2 * 112 + 4, 8 * 116 - 4, 3)
    for above in (image[:112, 56], image[116:, 56]):
        brightest = np.argmax(above.sum(axis=1)) / 112  # 64 bins up to 2,000 Hz, the lowest below
        assert brightest == pytest.approx(1 - 440 / 2000, abs=0.03)
    assert part(section, "The oddest tiles")


def test_the_data_are_told_in_seconds_and_rates(section: Section) -> None:
    text, table = part(section, "The data").blocks
    assert isinstance(text, Text)
    assert isinstance(table, Table)
    assert text.words.startswith("24 recordings, 24.0 s, 1.0 to 1.0 s each; 4,000 Hz; 1 channel. The model hears 4,000")
    assert table.header == ["folder", "recordings", "flagged"]
    assert [row[:2] for row in table.rows] == [["right", "12"], ["left", "12"]]


def test_codes_are_mapped_tile_by_tile_and_coloured_by_what_recordings_are(found: Subject, section: Section) -> None:
    [figure] = part(section, "Map of the codes").blocks
    assert isinstance(figure, Figure)
    assert sum(len(trace["x"]) for trace in figure.spec["data"]) == len(found.score)
    [coloured] = labels_part(found, "folder").blocks
    assert isinstance(coloured, Figure)
    assert [trace["name"] for trace in coloured.spec["data"]] == ["left", "right"]
    assert sum(len(trace["x"]) for trace in coloured.spec["data"]) == len(found.score)


def test_of_a_single_recording_the_tiles_are_judged() -> None:
    several = tones()
    one = Recordings([np.concatenate(list(several.arrays))], [RATE], pa.table({"name": ["long.wav"]}))
    found = subject(one)
    assert f"of {len(found.score):,} tiles look" in headline(found)
    table = next(
        block for block in part(build_section("One", found), "What was found").blocks if isinstance(block, Table)
    )
    assert table.header[:2] == ["tile", "score"]
    assert table.rows[0][0].startswith("long.wav, 17.")


def test_fit_and_detect_report_on_complex_spectrograms(tmp_path: Path) -> None:
    recordings = tones(6)
    for name, array in zip(recordings.table.column("name").to_pylist(), recordings.arrays, strict=True):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(tmp_path / "in" / name, array, RATE)
    quick = [
        "--set",
        "network.channels=4,8",
        "--set",
        "format.frames=16",
        "--epochs",
        "1",
        "--device",
        "cpu",
        "--quiet",
    ]
    model, pages = str(tmp_path / "model"), [tmp_path / "fit.html", tmp_path / "detect.html"]
    source = str(tmp_path / "in")
    assert run(["fit", source, "--noise", "white", "-o", model, "--report", str(pages[0]), *quick]) == 0
    scores = str(tmp_path / "scores.csv")
    assert run(["detect", model, source, "-o", scores, "--report", str(pages[1]), "--quiet"]) == 0
    for page in pages:
        text = page.read_text(encoding="utf-8")
        for words in ("Given and given back", "finer views", "The oddest tiles", "6 recordings", "left/01.wav"):
            assert words in text
        assert "Beside simpler methods" not in text
