"""The rivals of a denoising model in `benchmarks/measures/filters.py`: as strong as they are said to be."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from hourglass.data.synthesis import call_clip, mixed, white

RATE = 16000


@pytest.fixture(scope="module")
def filters() -> Iterator[ModuleType]:
    for package in ("noisereduce", "skimage"):
        pytest.importorskip(package, reason=f"needs {package}, of the extra bench")
    path = Path(__file__).resolve().parents[1] / "benchmarks" / "measures" / "filters.py"
    spec = importlib.util.spec_from_file_location("filters", path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["filters"] = importlib.util.module_from_spec(spec)  # its dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules["filters"]


def test_the_tuned_gate_is_the_best_of_its_grid(filters: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(filters.GATES) == 24
    monkeypatch.setattr(filters, "GATES", filters.GATES[::4])
    random = np.random.default_rng(0)
    targets = [call_clip(kind, 1, RATE, random) for kind in ("chirp", "whistle")]
    mixtures = [mixed(target, white(RATE, RATE, random), 0.0)[0] for target in targets]
    best = filters.tuned_gate(mixtures, targets, RATE)
    gains = [filters.median_gain(filters.gate(RATE, each), mixtures, targets) for each in filters.GATES]
    assert best == filters.GATES[int(np.argmax(gains))]
    assert max(gains) > 3


@pytest.mark.parametrize("channels", [0, 3])
def test_picture_filters_are_tuned_on_the_picture(filters: ModuleType, channels: int) -> None:
    blocks = np.kron(np.random.default_rng(0).random((4, 4, max(channels, 1))), np.ones((12, 12, 1)))
    clean = blocks if channels else blocks[:, :, 0]
    noisy = clean + 0.1 * np.random.default_rng(1).standard_normal(clean.shape)
    found = filters.strongest_filters(noisy, clean)
    assert all(each.psnr > 20.5 for each in found.values())  # the noise itself is at 20 dB
    for each in found.values():
        assert each.picture.shape == clean.shape
        assert each.psnr == pytest.approx(-10 * np.log10(np.mean((each.picture - clean) ** 2)))
    best = filters.strongest_filter(noisy, clean)
    assert best.filter == "total variation"  # made for pieces of one brightness
    assert best.psnr > 25


def test_a_clean_picture_is_best_left_alone(filters: ModuleType) -> None:
    clean = np.random.default_rng(0).random((20, 20))
    assert filters.strongest_filters(clean, clean)["median"].strength == 1
