"""Small models, and one service with all of them; nothing is collected where the extra is not installed."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from hourglass.data.columns import table_of
from hourglass.data.samples import Frame, Pictures, Recordings

if find_spec("fastapi") is None or find_spec("httpx") is None:
    collect_ignore_glob = ["test_*.py"]
else:
    from httpx import Client
    from serving import Running, fit, numbers, running


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models: `plain` (numbers), `mixed` (words and flags), `waves` (a series), `dots` (pictures), `tones` (sound)."""
    place = tmp_path_factory.mktemp("models")
    random = np.random.default_rng(0)
    words = {"amount": random.normal(100, 10, 80), "goods": random.choice(["tea", "gold"], 80),
             "sold": random.integers(0, 2, 80) == 1}  # fmt: skip
    times = np.datetime64("2026-01-01") + np.arange(400) * np.timedelta64(1, "h")
    wave = {"time": times.astype("datetime64[s]"), "level": np.sin(np.arange(400) / 4) + 0.05 * random.normal(size=400)}
    dots = Pictures(
        list(random.integers(0, 255, (40, 8, 8)).astype(np.uint8)), pa.table({"name": [f"{i}.png" for i in range(40)]})
    )
    tones = Recordings(
        [np.sin(np.arange(16_000) / 9).astype(np.float32)[:, None]], [8_000], pa.table({"name": ["t.wav"]})
    )
    fit(place / "plain.safetensors", "table", Frame(table_of(numbers(), ["a", "b", "c"])))
    fit(place / "mixed.safetensors", "table", Frame(pa.table(words)))
    fit(place / "waves.safetensors", "series", Frame(pa.table(wave)), window="24")
    fit(place / "dots.safetensors", "image", dots)
    fit(place / "tones.safetensors", "audio", tones, kind="plain")
    return place


@pytest.fixture(scope="session")
def service(folder: Path) -> Iterator[Running]:
    """One service with all models, for tests that leave it as it was."""
    with running(*sorted(folder.glob("*.safetensors"))) as made:
        yield made


@pytest.fixture
def client(service: Running) -> Client:
    return service.client
