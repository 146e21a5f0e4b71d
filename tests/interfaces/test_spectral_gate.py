from __future__ import annotations

import sys

import numpy as np
import pytest

from hourglass.data.quality import si_sdr
from hourglass.interfaces.spectral_gate import gated

RATE = 16000
SETTINGS: list[dict[str, object]] = [{}, {"stationary": True, "prop_decrease": 0.8}]


@pytest.fixture(scope="module", autouse=True)
def _installed() -> None:
    pytest.importorskip("noisereduce", reason="needs the extra gate")


@pytest.mark.parametrize(
    ("settings", "wanted"), [*zip(SETTINGS, (0.5, 3.0), strict=True)], ids=["moving", "stationary"]
)
def test_a_short_tone_in_noise_gets_clearer(settings: dict[str, object], wanted: float) -> None:
    random = np.random.default_rng(0)
    clean = np.zeros(2 * RATE)
    clean[RATE : RATE + 3000] = np.sin(0.7 * np.arange(3000)) * np.hanning(3000)
    noisy = (clean + 0.2 * random.standard_normal(len(clean))).astype(np.float32)
    cleaned = gated(noisy, RATE, **settings)
    assert cleaned is not None
    assert cleaned.dtype == np.float32
    assert si_sdr(cleaned, clean) > si_sdr(noisy, clean) + wanted


@pytest.mark.parametrize("settings", SETTINGS, ids=["moving", "stationary"])
@pytest.mark.parametrize("shape", [(1,), (10,), (1023,), (4000,), (4000, 2)], ids=str)
@pytest.mark.parametrize("rate", [400, 48000])
def test_any_length_and_rate_goes_through_quietly(
    shape: tuple[int, ...], rate: int, settings: dict[str, object]
) -> None:
    for sound in (np.zeros(shape), np.random.default_rng(0).standard_normal(shape)):
        cleaned = gated(sound, rate, **settings)
        assert cleaned is not None
        assert cleaned.shape == shape
        assert np.isfinite(cleaned).all()


def test_channels_are_gated_by_themselves() -> None:
    sound = np.random.default_rng(0).standard_normal((5000, 2))
    both, second = gated(sound, RATE), gated(sound[:, 1], RATE)
    assert both is not None
    assert second is not None
    np.testing.assert_array_equal(both[:, 1], second)


def test_where_it_is_not_installed_there_is_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "noisereduce", None)
    assert gated(np.zeros(2000), RATE) is None
