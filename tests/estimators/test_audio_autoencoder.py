"""Autoencoders of sound as estimators: what they take, pairs and noise, saved models, detectors."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import hourglass
from hourglass import AnomalyDetector, AudioAutoencoder, ImageAutoencoder, SeriesAutoencoder, TableAutoencoder
from hourglass.data.samples import Recordings
from hourglass.errors import DataError, UsageError

SMALL = {"fft": 64, "frames": 16}
RATE = 2_000


def small(kind: str = "mask", **changes: Any) -> AudioAutoencoder:
    options = {"epochs": 3, "rate": RATE, "format": SMALL, "network": {"channels": (4, 8)}}
    return AudioAutoencoder(kind, **(options | changes))


def beeps(count: int, frames: int = 900, seed: int = 0) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    pitch = random.uniform(100, 400, size=count)
    swell = np.sin(np.pi * np.arange(frames) / frames)
    return [np.sin(2 * np.pi * each * np.arange(frames) / RATE) * swell for each in pitch]


def noise(count: int, frames: int, scale: float = 0.5, seed: int = 9) -> np.ndarray:
    return np.random.default_rng(seed).normal(scale=scale, size=(count, frames))


def as_recordings(arrays: list[np.ndarray], rate: int = RATE) -> Recordings:
    names = [f"{place}.wav" for place in range(len(arrays))]
    each = [array[:, None].astype(np.float32) for array in arrays]
    return Recordings(each, [rate] * len(arrays), pa.table({"name": names}))


def test_the_default_kind_removes_noise() -> None:
    plan = AudioAutoencoder().plan()
    assert (plan.modality, plan.kind, plan.corruption.name, plan.format.view) == ("audio", "mask", "noise", "complex")
    assert AudioAutoencoder(rate=RATE).plan().format.rate == RATE
    assert AudioAutoencoder("convolutional").plan().format.view == "magnitude"


def test_every_form_of_recordings_gives_its_own_form_back() -> None:
    signals = beeps(6)
    model = small().fit(as_recordings(signals))
    found = model.reconstruct(as_recordings(signals))
    assert isinstance(found, Recordings)
    expected = [array[:, 0] for array in found.arrays]
    assert [each.shape for each in model.reconstruct(signals)] == [each.shape for each in signals]
    np.testing.assert_allclose(model.reconstruct(signals), expected, atol=1e-5)
    np.testing.assert_allclose(model.reconstruct(np.stack(signals)), expected, atol=1e-5)
    np.testing.assert_allclose(model.reconstruct(signals[0]), expected[0], atol=1e-5)
    stereo = model.reconstruct([np.column_stack([signals[0], signals[1][:900]]), signals[2][:300].astype(np.float32)])
    assert [each.shape for each in stereo] == [(900, 2), (300,)]
    assert [each.dtype for each in stereo] == [np.float64, np.float32]


def test_a_code_for_each_tile_and_a_mask_makes_nothing_of_it() -> None:
    model = small(latent=3).fit(beeps(6))
    assert model.transform(beeps(2)).shape == (2 * 5, 3)
    with pytest.raises(UsageError, match="skips"):
        model.inverse_transform(np.zeros((1, 3)))


def test_recorded_noise_of_any_length_is_mixed_in() -> None:
    signals = np.stack(beeps(8))
    plain, noisy = small().fit(signals), small().fit(signals, noise=noise(3, 700))
    assert noisy.n_features_in_ == 900
    assert plain.model_.history.training != noisy.model_.history.training
    with pytest.raises(UsageError, match="mixes no recorded noise"):
        small("convolutional").fit(signals, noise=noise(3, 700))


def test_pairs_teach_what_is_noise() -> None:
    clean = np.stack(beeps(12, 400))
    noisy = clean + noise(12, 400)
    options = {"corruption": "none", "epochs": 12, "batch_size": 8, "learning_rate": 1e-2, "seed": 1}
    model = small("u-net", format=SMALL | {"view": "complex"}, **options)
    model.fit(noisy, clean=clean)
    unseen = np.stack(beeps(6, 400, seed=5))
    given = unseen + noise(6, 400, seed=6)
    assert np.mean((model.reconstruct(given) - unseen) ** 2) < 0.7 * np.mean((given - unseen) ** 2)


@pytest.mark.parametrize("estimator", [TableAutoencoder, SeriesAutoencoder, ImageAutoencoder])
def test_pairs_teach_other_modalities_too(estimator: Any) -> None:
    random = np.random.default_rng(0)
    clean = random.normal(size=(160, 1)) * np.sin(np.arange(16) / 2)
    noisy = clean + random.normal(scale=0.5, size=clean.shape)
    model = estimator("plain", latent=2, epochs=20, learning_rate=2e-2).fit(noisy, clean=clean)
    given = clean + random.normal(scale=0.5, size=clean.shape)
    assert np.mean((model.denoise(given) - clean) ** 2) < 0.5 * np.mean((given - clean) ** 2)


def test_twins_that_are_none_are_refused() -> None:
    with pytest.raises(DataError, match="got 3 recordings for 4"):
        small().fit(beeps(3), clean=beeps(4))
    with pytest.raises(DataError, match="4 noisy samples for 3 clean ones"):
        TableAutoencoder("plain", epochs=1).fit(np.eye(4), clean=np.eye(4)[:3])


def test_a_saved_model_gives_the_same_sound(tmp_path: Path) -> None:
    signals = beeps(5)
    model = small("denoising+convolutional", format=SMALL | {"bins": 32}, latent=3).fit(signals)
    again = hourglass.load(model.save(tmp_path / "model.safetensors"))
    assert isinstance(again, AudioAutoencoder)
    np.testing.assert_array_equal(again.transform(signals), model.transform(signals))
    np.testing.assert_array_equal(again.reconstruct(signals), model.reconstruct(signals))
    assert again.plan() == model.plan()
    assert model.inverse_transform(model.transform(signals)).shape == (25, 1, 32, 16)


def test_a_detector_judges_recordings_and_never_fits_folds() -> None:
    detector = AnomalyDetector(small("denoising+convolutional", format=SMALL | {"bins": 32}, epochs=8)).fit(beeps(30))
    assert detector.model_.calibration.source == "held-out rows"
    hiss = list(noise(2, 900))
    scores = detector.score_samples([*beeps(4, seed=3), *hiss])
    assert scores.shape == (6,)
    assert scores[4:].max() < scores[:4].min()


def test_a_path_is_read_first() -> None:
    with pytest.raises(UsageError, match="wanted recordings"):
        AudioAutoencoder().fit("calls")
