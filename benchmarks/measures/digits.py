"""The digits of MNIST, and what every measurement on them needs."""

from __future__ import annotations

from functools import cache

import numpy as np
from common import data
from sklearn.decomposition import PCA

from hourglass.data.files import read
from hourglass.data.samples import Pictures

TRAIN, TEST = "train-images-idx3-ubyte.gz", "t10k-images-idx3-ubyte.gz"


@cache
def digits(part: str, fast: bool) -> tuple[np.ndarray, np.ndarray]:
    """Pictures (n, 28, 28), 0 to 255, and their labels (n,): all of a part, or a tenth of it."""
    pictures = read(data("mnist") / part)
    if not isinstance(pictures, Pictures):
        raise SystemExit(f"{part} holds no pictures")
    labels = pictures.table.column("label").to_numpy().astype(int)
    count = len(labels) // 10 if fast else len(labels)
    return np.asarray(pictures.arrays)[:count], labels[:count]


def pixels(pictures: np.ndarray) -> np.ndarray:
    """Pictures as rows of pixels from 0 to 1."""
    return np.asarray(pictures, dtype=np.float64).reshape(len(pictures), -1) / 255


def pixel_error(pictures: np.ndarray, others: np.ndarray) -> float:
    """Mean squared difference a pixel, pixels from 0 to 1."""
    return float(np.mean(np.square(pixels(pictures) - pixels(others))))


@cache
def pca_error(components: int, fast: bool) -> float:
    """PCA's mean squared error a pixel on the test digits."""
    test = pixels(digits(TEST, fast)[0])
    pca = PCA(components, random_state=0).fit(pixels(digits(TRAIN, fast)[0]))
    return float(np.mean(np.square(test - pca.inverse_transform(pca.transform(test)))))
