"""Variational and adversarial models: likelihood, active units, how near codes are to their prior."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from hourglass import ImageAutoencoder
from hourglass.core.likelihood import log_likelihood
from hourglass.core.matching import squared_discrepancy
from hourglass.core.units import active_units
from measures import Measure
from measures.digits import TEST, TRAIN, digits

NETWORK = {"layers": (500, 500), "network": {"activation": "silu"}, "latent": 40}
TRAINING = {"learning_rate": 1e-3, "batch_size": 128, "weight_decay": 0.0, "validation": 0.0}


def binary(pictures: np.ndarray) -> torch.Tensor:
    """Pictures (n, 28, 28), 0 to 255, as samples of 0 and 1, each pixel drawn with its grey value, once."""
    draw = np.random.default_rng(1).random(pictures.shape)
    return torch.from_numpy((draw < pictures / 255).astype(np.float32)).unsqueeze(1)


def negative_log_likelihood(model: ImageAutoencoder, samples: torch.Tensor, draws: int) -> float:
    """Nats a sample, by importance sampling."""
    generator = torch.Generator().manual_seed(2)
    chunks = [
        log_likelihood(model.model_.network, chunk, draws, generator).mean().item() for chunk in samples.split(500)
    ]
    return -float(np.mean(chunks))


def fitted(kind: str, epochs: int, fast: bool, **parts: Any) -> ImageAutoencoder:
    """A variational model of binarised digits."""
    training = {**TRAINING, "epochs": 3 if fast else epochs}
    return ImageAutoencoder(
        kind=kind, loss="bernoulli", corruption="binarise", training=training, **NETWORK, **parts
    ).fit(digits(TRAIN, fast)[0])


def variational(fast: bool) -> Measure:
    """Likelihood of test digits, dynamic binarisation, 40 latents."""
    model = fitted("variational", 110, fast, bottleneck={"is": "gaussian", "beta": 1.0, "size": 40})
    samples = binary(digits(TEST, fast)[0])
    nll = negative_log_likelihood(model, samples, 50 if fast else 1_000)
    active = int(active_units(model.model_.network, samples).sum())
    line = f"MNIST, binarised anew each epoch, 40 latents: {nll:.2f} nats (1,000 importance samples), {active} active"
    wanted = "at most 87.0 nats, 20 active units or more"
    return Measure((8,), "", line, wanted, nll <= 87.0 and active >= 20, {"nll": nll, "active": active})


def importance_weighted(fast: bool) -> Measure:
    """The importance-weighted bound with 5 draws beside its twin with one, equal epochs."""
    samples = binary(digits(TEST, fast)[0])
    nll = {}
    for draws in (1, 5):
        model = fitted("variational", 30, fast, bottleneck={"is": "gaussian", "draws": draws, "beta": 1.0, "size": 40})
        nll[draws] = negative_log_likelihood(model, samples, 50 if fast else 1_000)
    gain = nll[1] - nll[5]
    line = f"MNIST, IWAE-5 {nll[5]:.2f} nats, its twin with one draw {nll[1]:.2f}: {gain:.2f} better"
    return Measure((8,), "", line, "at least .8 nat", gain >= 0.8, {"one": nll[1], "five": nll[5]})


def recipe(fast: bool) -> Measure:
    """The recipe `digits-variational`: its bound on test digits."""
    train, test = digits(TRAIN, fast)[0], digits(TEST, fast)[0]
    model = ImageAutoencoder(recipe="digits-variational", **({"epochs": 3} if fast else {})).fit(train)
    samples = torch.from_numpy(model.model_.format.pack(test).samples)
    network = model.model_.network
    with torch.inference_mode():
        terms = network.terms(samples, torch.Generator().manual_seed(0))
    bound = 784 * float(sum(terms.values()))
    line = f"MNIST, 2 latents: negative ELBO {bound:.1f} nats, {int(active_units(network, samples).sum())} active"
    return Measure((8,), "digits-variational", line, values={"negative_elbo": bound})


def adversarial(fast: bool) -> Measure:
    """Distance between codes and prior of the recipe `adversarial`, beside its twin without the opponent."""
    train, test = digits(TRAIN, fast)[0], digits(TEST, fast)[0]
    changes: dict[str, Any] = {"epochs": 3} if fast else {}
    distances = []
    for parts in ({}, {"penalties": ()}):
        codes = ImageAutoencoder(recipe="adversarial", **changes, **parts).fit(train).transform(test)[:2_000]
        normal = torch.randn(codes.shape, generator=torch.Generator().manual_seed(0))
        distances.append(float(squared_discrepancy(torch.from_numpy(np.asarray(codes, dtype=np.float32)), normal)))
    line = f"MNIST: MMD between codes and N(0, I) {distances[0]:.4f} (without the opponent: {distances[1]:.4f})"
    return Measure(
        (18,),
        "adversarial",
        line,
        "smaller than without",
        distances[0] < distances[1],
        {"mmd": distances[0], "without": distances[1]},
    )


MEASURES = {
    "digits-variational": recipe,
    "variational-40": variational,
    "importance-weighted": importance_weighted,
    "adversarial": adversarial,
}
