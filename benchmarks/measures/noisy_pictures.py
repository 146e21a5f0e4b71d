"""Denoising of pictures with clean targets, with noisy ones and with none, beside filters tuned on each picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
import skimage.data
from common import data
from skimage.color import rgb2gray

from hourglass import ImageAutoencoder
from hourglass.data.samples import Pictures
from measures import Measure
from measures.digits import TEST, TRAIN, digits
from measures.filters import strongest_filter

SIGMA = 25 / 255
"""Deviation of the noise, white being 1."""
TESTED, TRAINED = 100, 8_000
SIDE = 64
"""Of the tiles that photographs are cut into."""
PHOTOGRAPHS = (
    *("camera", "coins", "brick", "moon", "page", "grass", "gravel", "clock"),
    *("astronaut", "cat", "coffee", "rocket"),
)
KEPT = PHOTOGRAPHS[:3]

Several = Sequence[np.ndarray]
"""Pictures (height, width) or (height, width, 3), 0 to 1; one array where they are of one size."""


def mnist() -> tuple[Several, Several]:
    return digits(TRAIN, False)[0][:TRAINED] / 255, digits(TEST, False)[0][:TESTED] / 255


def cifar() -> tuple[Several, Several]:
    with np.load(data("cifar10") / "cifar10_small.npz", allow_pickle=False) as file:
        pictures = file["x_train"] / 255
    return pictures[TESTED:], pictures[:TESTED]


def photographs() -> tuple[Several, Several]:
    """Whole photographs in grey; three of them are kept back."""
    found = {name: grey(getattr(skimage.data, name)()) for name in PHOTOGRAPHS}
    return [found[name] for name in PHOTOGRAPHS if name not in KEPT], [found[name] for name in KEPT]


def grey(picture: np.ndarray) -> np.ndarray:
    return rgb2gray(picture) if picture.ndim == 3 else picture / 255


SETS: dict[str, Callable[[], tuple[Several, Several]]] = {"MNIST": mnist, "CIFAR-10": cifar, "photographs": photographs}


def spoilt(clean: Several, seed: int) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    return [picture + random.normal(scale=SIGMA, size=picture.shape) for picture in clean]


def given(pictures: Several) -> Pictures:
    names = [f"picture {place}" for place in range(len(pictures))]
    return Pictures([picture.astype(np.float32) for picture in pictures], pa.table({"name": names}))


def psnrs(name: str, fast: bool) -> dict[str, float]:
    """Mean peak signal-to-noise ratio of each way, in dB."""
    train, test = (each[: 200 if fast else None] for each in SETS[name]())
    tiles = {} if len({picture.shape for picture in train}) == 1 else {"tile": SIDE, "overlap": SIDE // 4}
    settings = {"format": {"scaling": "none", **tiles}} | ({"epochs": 1} if fast else {})
    noisy, again, seen = (given(spoilt(*each)) for each in ((train, 0), (train, 1), (test, 2)))
    fitted = {
        "supervised": ImageAutoencoder("u-net", **settings).fit(noisy, clean=given(train)),
        "Noise2Noise": ImageAutoencoder("u-net", **settings).fit(noisy, clean=again),
        "blind": ImageAutoencoder("recorrupted", **settings).fit(noisy),
    }
    found = {way: psnr(test, model.denoise(seen).arrays) for way, model in fitted.items()}
    best = [strongest_filter(*pair).psnr for pair in zip(seen.arrays, test, strict=True)]
    return found | {"filter": float(np.mean(best)), "noisy": psnr(test, seen.arrays)}


def psnr(clean: Several, other: Several) -> float:
    """Mean over pictures, white being 1."""
    squares = [np.mean(np.square(truth - np.clip(each, 0, 1))) for truth, each in zip(clean, other, strict=True)]
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
