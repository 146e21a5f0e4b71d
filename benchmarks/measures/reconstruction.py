"""Reconstruction and denoising of digits: the recipes as specified, and the best dense networks found."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from hourglass import ImageAutoencoder
from measures import Measure
from measures.digits import TEST, TRAIN, digits, pca_error, pixel_error

DENSE = {"kind": "deep", "layers": (1024, 512), "network": {"activation": "silu"}}
DENSE_TRAINING = {"learning_rate": 2e-3, "batch_size": 256, "weight_decay": 0.0, "validation": 0.0}


def recipe(name: str, system: int, components: int, wanted: float | None) -> Measure:
    """Test error of a recipe as specified, beside PCA of its size."""

    def measure(fast: bool) -> Measure:
        train, test = digits(TRAIN, fast)[0], digits(TEST, fast)[0]
        model = ImageAutoencoder(recipe=name, **({"epochs": 3} if fast else {})).fit(train)
        error, pca = pixel_error(test, model.reconstruct(test)), pca_error(components, fast)
        return Measure(
            (system,),
            name,
            f"MNIST, test MSE a pixel {error:.4f} (PCA-{components}: {pca:.4f})",
            "" if wanted is None else f"at most {wanted:.4f}",
            None if wanted is None else error <= wanted,
            {"error": error, "pca": pca},
        )

    return measure


def best_dense(latent: int, wanted: float, goal: float, epochs: int):
    """Test error of the best dense network found for a latent size."""

    def measure(fast: bool) -> Measure:
        train, test = digits(TRAIN, fast)[0], digits(TEST, fast)[0]
        training = {**DENSE_TRAINING, "epochs": 3 if fast else epochs}
        model = ImageAutoencoder(**DENSE, latent=latent, training=training).fit(train)
        error, pca = pixel_error(test, model.reconstruct(test)), pca_error(latent, fast)
        line = f"MNIST, best dense network through {latent}: test MSE a pixel {error:.5f} (PCA: {pca:.4f})"
        return Measure((), "", line, f"at most {wanted} (goal {goal})", error <= wanted, {"error": error, "pca": pca})

    return measure


def hinton(fast: bool) -> Measure:
    """Summed squared error of the 784-1000-500-250-30 network of Hinton and Salakhutdinov (2006)."""
    train, test = digits(TRAIN, fast)[0], digits(TEST, fast)[0]
    training = {**DENSE_TRAINING, "epochs": 3 if fast else 70}
    model = ImageAutoencoder(
        kind="deep", layers=(1000, 500, 250), network={"activation": "silu"}, latent=30, training=training
    ).fit(train)
    error, pca = (784 * each for each in (pixel_error(test, model.reconstruct(test)), pca_error(30, fast)))
    line = f"MNIST, 784-1000-500-250-30: squared error summed over a picture {error:.3f} (PCA-30: {pca:.2f})"
    return Measure((), "", line, "at most 3.3 (goal 3.0)", error <= 3.3, {"error": error, "pca": pca})


NOISES = {
    "denoising-gaussian": ("Gaussian noise of .5, clipped to [0, 1]", 9),
    "denoising-salt-pepper": ("salt-and-pepper noise on a quarter of the pixels", 10),
    "denoising-masking": ("half of the pixels set to zero", 11),
}


def noisy(name: str, pictures: np.ndarray, seed: int) -> np.ndarray:
    """Pictures (n, 28, 28), 0 to 255, with the noise that a recipe is about."""
    random = np.random.default_rng(seed)
    clean, draw = pictures / 255, random.random(pictures.shape)
    if name == "denoising-gaussian":
        spoilt = np.clip(clean + random.normal(scale=0.5, size=clean.shape), 0, 1)
    elif name == "denoising-salt-pepper":
        spoilt = np.where(draw < 0.125, 0.0, np.where(draw > 0.875, 1.0, clean))
    else:
        spoilt = np.where(draw < 0.5, 0.0, clean)
    return np.asarray(spoilt * 255)


def best_filter(noised: np.ndarray, clean: np.ndarray) -> tuple[str, float]:
    """The Gaussian or median filter that comes nearest to the clean pictures, chosen on them: the strongest rival."""
    tried = {f"Gaussian {width}": ndimage.gaussian_filter(noised, (0, width, width)) for width in (0.5, 0.75, 1, 1.5)}
    tried |= {f"median {side}": ndimage.median_filter(noised, (1, side, side)) for side in (2, 3, 5)}
    errors = {name: pixel_error(clean, filtered) for name, filtered in tried.items()}
    best = min(errors, key=errors.__getitem__)
    return best, errors[best]


def denoising(name: str):
    """Error of denoised test digits to the clean ones, beside that of the noisy ones and of the best filter."""

    def measure(fast: bool) -> Measure:
        train, test = digits(TRAIN, fast)[0], digits(TEST, fast)[0]
        model = ImageAutoencoder(recipe=name, **({"epochs": 3} if fast else {})).fit(train)
        spoilt = noisy(name, test, seed=1)
        before, after = pixel_error(test, spoilt), pixel_error(test, model.denoise(spoilt))
        rival, filtered = best_filter(spoilt, test)
        words, system = NOISES[name]
        line = f"MNIST, {words}: MSE {before:.4f} noisy, {after:.4f} denoised (best filter, {rival}: {filtered:.4f})"
        return Measure(
            (system,),
            name,
            line,
            "at most a third of the noisy input's, and better than the filter",
            after <= before / 3 and after < filtered,
            {"noisy": before, "denoised": after, "filter": filtered},
        )

    return measure


MEASURES = {
    "digits-64": recipe("digits-64", 4, 64, 0.0055),
    "digits-deep": recipe("digits-deep", 6, 60, None),
    "digits-conv": recipe("digits-conv", 7, 392, None),
    "dense-16": best_dense(16, 0.0085, 0.0077, 40),
    "dense-32": best_dense(32, 0.0048, 0.0042, 50),
    "dense-64": best_dense(64, 0.0030, 0.0023, 60),
    "dense-30": hinton,
    **{name: denoising(name) for name in NOISES},
}
