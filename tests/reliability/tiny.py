"""Tiny data and plans of each modality, made by formulas: alike on every machine and with every version of NumPy."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa

from hourglass.core.fitted import FittedModel
from hourglass.core.fitting import Keep, fit_model
from hourglass.core.kinds import Experiment, experiment
from hourglass.core.networks.convolution import Convolution
from hourglass.core.networks.dense import Dense
from hourglass.data.formats import Data
from hourglass.data.samples import Frame
from hourglass.settings import Detection, Training

MODALITIES = ("table", "series", "image", "audio")


def waves(rows: int, columns: int) -> np.ndarray:
    """Numbers from -1 to 1 of no visible order, (rows, columns)."""
    return np.sin(np.outer(np.arange(1, rows + 1) ** 1.5, np.arange(1, columns + 1) * 0.7))


def table(rows: int = 40) -> Frame:
    x = waves(rows, 2)
    towns = np.array(["Ghent", "Oslo", "Turin"])[np.arange(rows) % 3]
    return Frame(pa.table({"amount": 100 + 10 * x[:, 0], "weight": x[:, 0] + 0.1 * x[:, 1], "town": towns}))


def series(rows: int = 40) -> np.ndarray:
    return np.sin(np.arange(4 * rows) * np.pi / 6) + 0.1 * waves(4 * rows, 1)[:, 0]


def pictures(rows: int = 40) -> np.ndarray:
    bars = (np.arange(6) == np.arange(rows)[:, None, None] % 6) * np.full((6, 1), 200)
    return np.asarray(bars + 20 + 20 * waves(rows, 36).reshape(rows, 6, 6), dtype=np.uint8)


def recordings(rows: int = 12) -> np.ndarray:
    pitch = 0.2 + np.arange(rows)[:, None] / 8
    return np.asarray(np.sin(pitch * np.arange(60)) + 0.1 * waves(rows, 60))


MAKERS: dict[str, Callable[..., Data]] = {
    "table": table,
    "series": series,
    "image": pictures,
    "audio": recordings,
}
SMALL = {
    "table": {"network": Dense(layers=(4,), activation="silu")},
    "series": {"network": Dense(layers=(4,))},
    "image": {"network": Convolution(channels=(2,))},
    "audio": {"network": Convolution(channels=(2,))},
}
KINDS = {"table": "masked-cell", "series": "denoising", "image": "denoising", "audio": "denoising+convolutional"}
SOUND = {"rate": 8_000, "fft": 16, "bins": 8, "frames": 16}


def plan(modality: str, kind: str | None = None, **training: Any) -> Experiment:
    """The smallest experiment of a modality; of another kind, with the networks that are its own."""
    found = experiment(modality, kind or KINDS[modality])
    if kind is None:
        found = found.replace(**SMALL[modality], bottleneck=found.bottleneck.replace(size=2))
    formats = {"audio": SOUND, "series": {"window": "12"}}.get(modality, {})
    settings = {"epochs": 3, "batch_size": 16, "seed": 5, **training}
    return found.replace(
        format=found.format.replace(**formats), training=Training(**settings), detection=Detection(0.1, folds=2)
    )


def fit(modality: str, kind: str | None = None, keep: Keep | None = None, **training: Any) -> FittedModel:
    """A tiny fitted model."""
    return fit_model(MAKERS[modality](), plan(modality, kind, **training), calibrate=False, keep=keep)


def fingerprint(model: FittedModel) -> str:
    """The sha256 of all that a fit came to, but for how long it took."""
    history = {**model.history.as_json(), "seconds": 0}
    digest = hashlib.sha256(json.dumps([history, model.format.document()], sort_keys=True).encode())
    for name, tensor in sorted(model.network.state_dict().items()):
        digest.update(name.encode() + tensor.numpy().tobytes())
    digest.update(model.calibration.scores.tobytes())
    return digest.hexdigest()
