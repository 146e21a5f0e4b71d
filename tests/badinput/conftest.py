"""Small models of every modality, and the data that they are fitted to."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from refusals import QUICK

from hourglass.data.sound import SoundInfo
from hourglass.data.sound_writing import SoundWriter
from hourglass.interfaces.cli import run

RATE = 8_000


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """An empty folder for results."""
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


@pytest.fixture(scope="session")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data of every modality that nothing is wrong with: shop.csv, line.csv, line.npy, pictures/, sounds/."""
    folder = tmp_path_factory.mktemp("samples")
    random = np.random.default_rng(0)
    x = random.normal(size=300)
    words = np.array(["Ghent", "Oslo", "Turin"])[np.digitize(x, [-0.5, 0.5])]
    rows = [f"{a:.3f},{2 * a:.3f},{'true' if a > 0 else 'false'},{word}" for a, word in zip(x, words, strict=True)]
    (folder / "shop.csv").write_text("\n".join(["a,b,open,town", *rows]) + "\n")
    (folder / "numbers.csv").write_text("a,b\n" + "".join(f"{a:.3f},{2 * a:.3f}\n" for a in x))
    steps = np.arange(600)
    values = np.sin(steps * 2 * np.pi / 12) + 0.05 * random.normal(size=600)
    times = [datetime(2024, 1, 1) + timedelta(minutes=30 * int(step)) for step in steps]
    (folder / "line.csv").write_text(
        "time,value\n" + "".join(f"{time},{value:.4f}\n" for time, value in zip(times, values, strict=True))
    )
    np.save(folder / "line.npy", values)
    np.save(folder / "steps.npy", values[:150])
    for number in range(24):
        picture = np.clip(random.normal(128, 20, (8, 8)), 0, 255).astype(np.uint8)
        (folder / "pictures").mkdir(exist_ok=True)
        Image.fromarray(picture).save(folder / "pictures" / f"{number:02d}.png")
    (folder / "sounds").mkdir()
    for number in range(4):
        sound = (0.1 * random.normal(size=(RATE, 1))).astype(np.float32)
        with SoundWriter(folder / "sounds" / f"{number}.wav", SoundInfo(RATE, RATE, 1, "WAV", "PCM_16")) as writer:
            writer.write(sound)
    return folder


_FITS = {
    "shop": ("shop.csv",),
    "numbers": ("numbers.csv",),
    "line": ("line.csv", "--window", "12"),
    "steps": ("line.npy", "--window", "12"),
    "pictures": ("pictures",),
    "sounds": ("sounds", "--modality", "audio", "--set", "format.fft=64", "--set", "format.frames=16"),
}


@pytest.fixture(scope="session")
def model_of(samples: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The model that was fitted to one of the samples, fitted when it is first asked for."""
    folder = tmp_path_factory.mktemp("models")

    def fitted(name: str) -> Path:
        path = folder / f"{name}.safetensors"
        if not path.exists():
            data, *options = _FITS[name]
            assert run(["fit", str(samples / data), "-o", str(path), "--quiet", *options, *QUICK]) == 0
        return path

    return fitted
