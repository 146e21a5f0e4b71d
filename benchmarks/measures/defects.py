"""Pits in the surface of ball screws: pictures of good parts only to learn from."""

from __future__ import annotations

import numpy as np
from common import data, mean_spread
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score

from hourglass import ImageAutoencoder
from measures import Measure

TRAINED_ON, SEEDS = 700, range(3)


def patches(fast: bool) -> Measure:
    """Recipe `defects` on patches of 64 x 64: AUROC of pictures and of pixels, beside PCA's residual."""
    with np.load(data("defects_bsdata/patches64.npz"), allow_pickle=False) as file:
        normal, pitting, masks = (file[name] for name in ("normal", "pitting", "pitting_mask"))
    values: dict[str, list[float]] = {"picture": [], "pixel": [], "PCA-40": []}
    for seed in SEEDS if not fast else range(1):
        order = np.random.default_rng(seed).permutation(len(normal))
        train, good = normal[order[:TRAINED_ON]], normal[order[TRAINED_ON:]]
        test, odd = np.concatenate([good, pitting]), np.arange(len(good) + len(pitting)) >= len(good)
        autoencoder = ImageAutoencoder(recipe="defects", seed=seed, **({"epochs": 3} if fast else {}))
        model = autoencoder.fit(train).model_
        maps = model.cell_errors(model.format.pack(pitting).samples)[0]
        values["picture"].append(float(roc_auc_score(odd, model.score(model.format.pack(test)))))
        values["pixel"].append(float(roc_auc_score(masks.ravel() > 0, maps.ravel())))
        values["PCA-40"].append(float(roc_auc_score(odd, residual(train, test, seed))))
    shown = {name: mean_spread(found) for name, found in values.items()}
    line = f"ball-screw patches: AUROC {shown['picture']} (PCA-40 {shown['PCA-40']}), pixel AUROC {shown['pixel']}"
    reached = np.mean(values["picture"]) > max(0.94, np.mean(values["PCA-40"]))
    return Measure((17,), "defects", line, "picture AUROC above PCA's .94", bool(reached), values)


def residual(train: np.ndarray, test: np.ndarray, seed: int) -> np.ndarray:
    """Mean squared residual of PCA with 40 components."""
    flat, judged = (pictures.reshape(len(pictures), -1) / 255 for pictures in (train, test))
    pca = PCA(40, random_state=seed).fit(flat)
    return np.asarray(np.square(judged - pca.inverse_transform(pca.transform(judged))).mean(axis=1))


MEASURES = {"defects": patches}
