"""Bytes of compressed data beside PCA's codes through the same rounding and the same coder, at equal error."""

from __future__ import annotations

import numpy as np
from common import data

from hourglass import ImageAutoencoder, SeriesAutoencoder
from hourglass.core.compression import to_whole
from hourglass.interfaces.codec import Compressed, compress_data
from hourglass.interfaces.coding import encode_codes
from hourglass.interfaces.differences import Target
from measures import Measure
from measures.digits import TEST, TRAIN, digits, pixels

WANTED = 0.75
# The variational kind with a squared loss is trained on what a compressed file costs: its KL term is the rate. Noise of
# a step's rounding on every code number, step^2 / 12, is the best at beta = step^2 / 6.
RATE = {"kind": "variational", "loss": "squared", "network": {"activation": "silu"}}


def pca_bytes(train: np.ndarray, test: np.ndarray, error: float) -> int:
    """Fewest bytes of PCA's codes of `test` at that mean squared error, over the number of components and the step."""
    mean = train.mean(axis=0)
    axes = np.linalg.eigh((train - mean).T @ (train - mean))[1][:, ::-1]
    codes = (test - mean) @ axes
    left_out = np.append(np.cumsum(np.square(codes).sum(axis=0)[::-1])[::-1], 0) / codes.size
    sizes = []
    for components in np.unique(np.geomspace(4, test.shape[1], 16).astype(int)):
        if left_out[components] < error:
            step = _longest_step(codes[:, :components], (error - left_out[components]) * codes.size)
            kept = codes[:, :components]
            sizes.append(len(encode_codes(kept[:, to_whole(kept / step).any(axis=0)], step)))
    return min(sizes)


def _longest_step(codes: np.ndarray, squares: float) -> float:
    """The longest step whose rounding costs at most so many squares."""
    short, long = 1e-4, 1e3
    for _ in range(40):
        step = np.sqrt(short * long)
        fits = np.square(to_whole(codes / step) * step - codes).sum() <= squares
        short, long = (step, long) if fits else (short, step)
    return float(short)


def own_bytes(made: Compressed) -> int:
    """What a file takes of codes and of how to read them; its header would be the same around PCA's."""
    return made.sections["codes"] + made.sections["rounding"]


def measured(name: str, own: int, pca: int, made: Compressed, error: float) -> Measure:
    each = f"{len(made.content) / made.samples:.2f} bytes a sample in the file"
    line = f"{name} at a mean squared error of {error:.4g}: {own:,} bytes of codes ({each}), PCA's {pca:,}"
    saved = f"{line} ({own / pca - 1:+.0%})"
    values = {"bytes": float(own), "pca_bytes": float(pca), "file_bytes": float(len(made.content)), "error": error}
    return Measure((), "", saved, "at least 25 % fewer bytes", own <= WANTED * pca, values)


def digits_compressed(fast: bool) -> Measure:
    """Test digits of MNIST, pixels from 0 to 1."""
    train, test = pixels(digits(TRAIN, fast)[0]), pixels(digits(TEST, fast)[0])
    training = {"epochs": 3 if fast else 20, "batch_size": 256, "learning_rate": 2e-3, "weight_decay": 0.0}
    model = ImageAutoencoder(**RATE, bottleneck={"beta": 0.08}, latent=64, layers=(1024, 512), training=training)
    fitted = model.fit(train.reshape(-1, 28, 28)).model_
    made = compress_data(fitted, "", test.reshape(-1, 28, 28), target=None if fast else Target(0.008, relative=False))
    error = float(made.error["mean_squared"] or 0)
    return measured("MNIST", own_bytes(made), pca_bytes(train, test, error), made, error)


def beats_compressed(fast: bool) -> Measure:
    """500 heart beats that the model has not seen, after 4,500 that it has."""
    arrays = np.load(data("ecg5000") / "ecg5000.npz")
    train, test = arrays["X_test"].astype(np.float64), arrays["X_train"].astype(np.float64)
    training = {"epochs": 10 if fast else 200, "batch_size": 128, "patience": 0, "validation": 0.02}
    model = SeriesAutoencoder(**RATE, bottleneck={"beta": 0.15}, latent=24, layers=(512, 256), training=training)
    fitted = model.set_params(window="row").fit(train).model_
    made = compress_data(fitted, "", test, target=None if fast else Target(0.02, relative=False))
    error = float(made.error["mean_squared"] or 0)
    return measured("ECG5000", own_bytes(made), pca_bytes(train, test, error), made, error)


MEASURES = {"compression-digits": digits_compressed, "compression-beats": beats_compressed}
