"""Denoising of pictures with clean targets, with noisy ones and with none, beside filters tuned on each picture."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import skimage.data
from common import data

from hourglass import ImageAutoencoder
from measures import Measure
from measures.digits import TEST, TRAIN, digits
from measures.filters import strongest_filter

SIGMA = 25 / 255
"""Deviation of the noise, white being 1."""
TESTED, TRAINED = 100, 8_000
SIDE = 32
PHOTOGRAPHS = ("camera", "coins", "moon", "page", "grass", "gravel", "brick", "clock")
KEPT = ("camera", "coins", "brick")

Pictures = tuple[np.ndarray, np.ndarray]
"""To train on, and kept back: (n, height, width) or (n, height, width, 3), 0 to 1."""


def mnist() -> Pictures:
    return digits(TRAIN, False)[0][:TRAINED] / 255, digits(TEST, False)[0][:TESTED] / 255


def cifar() -> Pictures:
    with np.load(data("cifar10") / "cifar10_small.npz", allow_pickle=False) as file:
        pictures = file["x_train"] / 255
    return pictures[TESTED:], pictures[:TESTED]


def photographs() -> Pictures:
    """Squares of photographs; those of three of them are kept back."""
    cut: dict[bool, list[np.ndarray]] = {False: [], True: []}
    for name in PHOTOGRAPHS:
        picture = getattr(skimage.data, name)() / 255
        rows, columns = (range(0, side - SIDE + 1, SIDE) for side in picture.shape)
        cut[name in KEPT] += [picture[row : row + SIDE, column : column + SIDE] for row in rows for column in columns]
    return np.stack(cut[False]), np.stack(cut[True])[:TESTED]


SETS: dict[str, Callable[[], Pictures]] = {"MNIST": mnist, "CIFAR-10": cifar, "photographs": photographs}


def spoilt(clean: np.ndarray, seed: int) -> np.ndarray:
    return clean + np.random.default_rng(seed).normal(scale=SIGMA, size=clean.shape)


def psnrs(name: str, fast: bool) -> dict[str, float]:
    """Mean peak signal-to-noise ratio of each way, in dB."""
    train, test = SETS[name]()
    train, test = (each[: 200 if fast else None] for each in (train, test))
    noisy, steps = spoilt(train, 0), {"epochs": 1} if fast else {}
    scale = {"format": {"scaling": "none"}}
    fitted = {
        "supervised": ImageAutoencoder("u-net", **scale, **steps).fit(noisy, clean=train),
        "Noise2Noise": ImageAutoencoder("u-net", **scale, **steps).fit(noisy, clean=spoilt(train, 1)),
        "blind": ImageAutoencoder("recorrupted", **scale, **steps).fit(noisy),
    }
    seen = spoilt(test, 2)
    found = {way: psnr(test, model.denoise(seen)) for way, model in fitted.items()}
    pairs = zip(seen, test, strict=True)
    return found | {
        "filter": float(np.mean([strongest_filter(*pair).psnr for pair in pairs])),
        "noisy": psnr(test, seen),
    }


def psnr(clean: np.ndarray, other: np.ndarray) -> float:
    """Mean over pictures, white being 1."""
    squares = np.square(clean - np.clip(other, 0, 1)).reshape(len(clean), -1).mean(axis=1)
    return float(np.mean(-10 * np.log10(squares)))


def denoising(name: str) -> Callable[[bool], Measure]:
    """A set of pictures in normal noise of 25 / 255."""

    def measure(fast: bool) -> Measure:
        found = psnrs(name, fast)
        words = ", ".join(f"{way} {value:.2f}" for way, value in found.items())
        near = found["Noise2Noise"] >= found["supervised"] - 0.3 and found["blind"] >= found["supervised"] - 1.5
        above = min(found["Noise2Noise"], found["blind"]) >= found["filter"] + 1
        wanted = "Noise2Noise within .3 dB, blind within 1.5 dB of supervised, both 1 dB above the best filter"
        return Measure((), "", f"{name}, noise of 25/255, PSNR in dB: {words}", wanted, near and above, found)

    return measure


MEASURES = {f"noisy-{name.lower()}": denoising(name) for name in SETS}
