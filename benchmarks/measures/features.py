"""Codes at work: few labels after pre-training, features for a classifier and a clustering, bytes of a file."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from hourglass import AutoencoderClassifier, ImageAutoencoder
from hourglass.core.fitted import FittedModel
from hourglass.estimators.probing import probe
from measures import Measure
from measures.digits import TEST, TRAIN, digits

SEEDS = range(5)
FEW, MANY = 1_000, 10_000


def features(fast: bool) -> Measure:
    """Logistic regression and k-means on 64 codes, on PCA-64 and on raw pixels."""
    model = ImageAutoencoder(recipe="features-for-supervision", **({"epochs": 3} if fast else {}))
    result = probed(model, fast)
    codes, pca, raw = (result[name] for name in ("codes", "pca", "raw"))
    line = (
        f"MNIST, logistic regression on 64 codes {codes['accuracy']:.4f} (PCA-64 {pca['accuracy']:.4f}, raw "
        f"{raw['accuracy']:.4f}); NMI of k-means {codes['nmi']:.3f} (PCA-64 {pca['nmi']:.3f}, raw {raw['nmi']:.3f})"
    )
    reached = codes["accuracy"] > pca["accuracy"] and codes["nmi"] > raw["nmi"]
    wanted = "accuracy above PCA-64's, NMI above raw pixels'"
    return Measure((16,), "features-for-supervision", line, wanted, reached, _flat(result))


def sigmoid_digits(fast: bool) -> Measure:
    """Clustering of the codes of the recipe `digits-sigmoid`."""
    result = probed(ImageAutoencoder(recipe="digits-sigmoid", epochs=3 if fast else 20), fast)
    codes, raw = result["codes"]["nmi"], result["raw"]["nmi"]
    line = f"MNIST, 20 epochs as advised: NMI of k-means on codes {codes:.3f} (raw pixels {raw:.3f})"
    return Measure((5,), "digits-sigmoid", line, "above raw pixels'", codes > raw, _flat(result))


def probed(model: ImageAutoencoder, fast: bool) -> dict[str, dict[str, float]]:
    """What `hourglass probe` says of a model fitted to the training digits, judged on the test digits."""
    train, labels = digits(TRAIN, fast)
    fitted = model.fit(train).model_
    result: dict[str, dict[str, float]] = probe(fitted, train, labels, test=digits(TEST, fast))["features"]
    return result


def few_labels(count: int):
    """Error with few labels after unlabelled pre-training, beside the same network from random weights."""

    def measure(fast: bool) -> Measure:
        train, labels = digits(TRAIN, fast)
        test = digits(TEST, fast)
        errors: dict[str, list[float]] = {"pretrained": [], "random": []}
        for seed in SEEDS if not fast else range(1):
            chosen = balanced(labels, count, seed)
            for start, found in errors.items():
                model = classifier(start, seed, fast, count).fit(train[chosen], labels[chosen])
                found.append(1 - float(model.score(*test)))
        pretrained, random = (float(np.mean(found)) for found in errors.values())
        fewer = 1 - pretrained / random
        line = f"MNIST, {count:,} labels: error {pretrained:.2%}, {fewer:.0%} below random weights ({random:.2%})"
        return Measure((15,), "stacked", line, "at least 25 % lower", fewer >= 0.25, errors)

    return measure


def all_labels(fast: bool) -> Measure:
    """Error with all labels after pre-training."""
    train, labels = digits(TRAIN, fast)
    error = 1 - float(classifier("pretrained", 0, fast, len(labels)).fit(train, labels).score(*digits(TEST, fast)))
    line = f"MNIST, all labels: error {error:.2%}"
    return Measure((15,), "stacked", line, "at most 1.6 %", error <= 0.016, {"error": error})


def classifier(start: str, seed: int, fast: bool, count: int) -> AutoencoderClassifier:
    """The classifier of the recipe `stacked`; or its twin from random weights, its encoder as fast as its head.

    With 100 labels each learns as suits it best of what was tried, judged on 10,000 training digits set aside.
    """
    rates: dict[str, Any] = {"encoder_rate": 0.3, "corrupt": True}
    if start == "random":
        rates |= {"encoder_rate": 1.0, "warm_up": 0.0}
    elif count < FEW:
        rates = {"encoder_rate": 0.03, "learning_rate": 0.003}
    if count > MANY:
        rates |= {"epochs": 1 if fast else 40}
    return AutoencoderClassifier(unlabelled(start, seed, fast), seed=seed, **rates)


@cache
def unlabelled(start: str, seed: int, fast: bool) -> FittedModel:
    """The recipe `stacked` without labels: fitted to all training digits once, or left at its random weights."""
    changes: dict[str, Any] = {"epochs": 2} if fast else {}
    if start == "random":
        changes = {"pretraining": "none", "epochs": 1, "learning_rate": 0.0}
    model: FittedModel = ImageAutoencoder(recipe="stacked", seed=seed, **changes).fit(digits(TRAIN, fast)[0]).model_
    return model


def balanced(labels: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Positions of `count` digits, equally many of each class."""
    random = np.random.default_rng(seed)
    each = [random.permutation(np.flatnonzero(labels == digit))[: count // 10] for digit in range(10)]
    return np.sort(np.concatenate(each))


def _flat(result: dict[str, dict[str, float]]) -> dict[str, float]:
    return {f"{name} {figure}": value for name, scores in result.items() for figure, value in scores.items()}


MEASURES = {
    "digits-sigmoid": sigmoid_digits,
    "features-for-supervision": features,
    "stacked-100": few_labels(100),
    "stacked-1000": few_labels(1_000),
    "stacked-all": all_labels,
}
