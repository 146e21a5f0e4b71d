"""Sparse and contractive codes: what their penalties promise, measured."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from hourglass import ImageAutoencoder, TableAutoencoder
from hourglass.core.units import dead_units
from measures import Measure
from measures.digits import TEST, TRAIN, digits, pixel_error

ATOMS, SIZE, ACTIVE = 512, 64, 8


def sparse(fast: bool) -> Measure:
    """Mean activation and dead units of the recipe `sparse`."""
    train, test = digits(TRAIN, fast)[0], digits(TEST, fast)[0]
    model = ImageAutoencoder(recipe="sparse", **({"epochs": 3} if fast else {})).fit(train)
    rho = model.plan().penalties[0].rho
    mean = float(model.transform(test).mean())
    dead = float(dead_units(model.model_.network, _packed(model, test)).float().mean())
    error = pixel_error(test, model.reconstruct(test))
    line = f"MNIST: mean activation {mean:.4f} (rho {rho}), {dead:.1%} dead units, test MSE a pixel {error:.4f}"
    reached = abs(mean / rho - 1) <= 0.2 and dead < 0.05
    wanted = "mean activation within 20 % of rho, under 5 % dead"
    return Measure((13,), "sparse", line, wanted, reached, {"mean": mean, "dead": dead, "error": error})


def dictionary(fast: bool) -> Measure:
    """Share of the atoms of a made-up dictionary that the kind `dictionary` finds again."""
    random = np.random.default_rng(0)
    atoms = random.normal(size=(ATOMS, SIZE))
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    rows = 5_000 if fast else 50_000
    chosen = np.argsort(random.random((rows, ATOMS)), axis=1)[:, :ACTIVE]
    weights = np.zeros((rows, ATOMS), dtype=np.float32)
    np.put_along_axis(weights, chosen, random.uniform(0.5, 1.5, size=chosen.shape).astype(np.float32), axis=1)
    model = TableAutoencoder(
        kind="dictionary",
        latent=ATOMS,
        scaling="none",
        bottleneck={"k": ACTIVE},
        training={"epochs": 12, "batch_size": 256, "validation": 0.0, "learning_rate": 1e-2},
    ).fit(weights @ atoms)
    columns = _decoder_columns(model)
    nearest = np.abs(atoms @ (columns / np.linalg.norm(columns, axis=0))).max(axis=1)
    found = float((nearest > 0.9).mean())
    line = f"{ATOMS} atoms in {SIZE} dimensions, {ACTIVE} active: {found:.1%} found (cosine above .9)"
    return Measure((13,), "", line, "at least 90 %", found >= 0.9, {"found": found})


def contractive(fast: bool) -> Measure:
    """Jacobian norm and error of the recipe `contractive` beside its twin without the penalty."""
    train, test = digits(TRAIN, fast)[0], digits(TEST, fast)[0]
    changes: dict[str, Any] = {"epochs": 3} if fast else {}
    norms, errors = [], []
    for penalties in ({}, {"penalties": ()}):
        model = ImageAutoencoder(recipe="contractive", **changes, **penalties).fit(train)
        norms.append(jacobian_norm(model.model_.network, _packed(model, test[:200])))
        errors.append(pixel_error(test, model.reconstruct(test)))
    (norm, plain_norm), (error, plain_error) = norms, errors
    twin = f"plain twin: {plain_norm:.3f}, {plain_error:.5f}"
    line = f"MNIST: mean squared Jacobian norm {norm:.3f} at MSE {error:.5f} ({twin})"
    wanted = "at most half the norm at 10 % higher MSE or less"
    reached = norm <= plain_norm / 2 and error <= 1.1 * plain_error
    values = {"norm": norm, "plain_norm": plain_norm, "error": error, "plain_error": plain_error}
    return Measure((14,), "contractive", line, wanted, reached, values)


def jacobian_norm(network: Any, samples: torch.Tensor) -> float:
    """Mean squared Frobenius norm of the Jacobian of the codes, by automatic differentiation."""

    def code(x: torch.Tensor) -> torch.Tensor:  # `encode` looks for missing numbers, which vmap cannot
        return network.bottleneck(network.encoder(x.unsqueeze(0), None), None).value.squeeze(0)

    with torch.no_grad():
        jacobians = torch.func.vmap(torch.func.jacrev(code))(samples)
    return float(jacobians.flatten(1).square().sum(1).mean())


def _packed(model: Any, pictures: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(model.model_.format.pack(pictures).samples)


def _decoder_columns(model: TableAutoencoder) -> np.ndarray:
    """What each code number adds to a sample: decoder applied to unit codes, less its bias. Shape (size, units)."""
    codes = np.eye(ATOMS, dtype=np.float32)
    made = np.asarray(model.inverse_transform(np.vstack([codes, np.zeros((1, ATOMS))])))
    return (made[:-1] - made[-1]).T


MEASURES = {"sparse": sparse, "dictionary": dictionary, "contractive": contractive}
