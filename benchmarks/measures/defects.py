"""Pits in the surface of ball screws: pictures of good parts only to learn from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from common import data, mean_spread
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score

from hourglass import ImageAutoencoder
from hourglass.core.fitted import FittedModel
from hourglass.core.fitting import fit_model
from hourglass.data.files import read
from hourglass.data.pixels import recoloured
from hourglass.data.samples import Packed, oddest_parts
from measures import Measure

TRAINED_ON, SEEDS, SIDE = 700, range(3), 64
HALVED = 230, 565
STEPS = 400
"""On tiles, of which a step takes many: a third of what the recipe takes by itself."""


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


def pictures(fast: bool) -> Measure:
    """Recipe `defects` on tiles of pictures at half their size; a picture is as odd as its oddest tile, PCA's too."""
    folder = data("defects_bsdata")
    normal, pitting = (_grey(folder / name)[: 12 if fast else None] for name in ("normal", "pitting"))
    masks = _grey(folder / "masks")[: len(pitting)]
    values: dict[str, list[float]] = {"picture": [], "pixel": [], "PCA-40": []}
    for seed in SEEDS if not fast else range(1):
        order = np.random.default_rng(seed).permutation(len(normal))
        good, train = normal[order[: len(normal) // 3]], normal[order[len(normal) // 3 :]]
        test, odd = np.concatenate([good, pitting]), np.arange(len(good) + len(pitting)) >= len(good)
        plan = ImageAutoencoder(
            recipe="defects",
            tile=SIDE,
            size=HALVED,
            seed=seed,
            **({"epochs": 1} if fast else {"training": {"steps": STEPS}}),
        ).plan()
        model = fit_model(train, plan, calibrate=False)
        packed, learned = model.format.pack(test), model.format.pack(train)
        values["picture"].append(float(roc_auc_score(odd, oddest_parts(model.score(packed), packed.groups))))
        left = residual(learned.samples * 255, packed.samples * 255, seed)
        values["PCA-40"].append(float(roc_auc_score(odd, oddest_parts(left, packed.groups))))
        drawn = _maps(model, model.format.pack(pitting))
        values["pixel"].append(float(roc_auc_score(masks[:, ::2, ::2].ravel() > 0, drawn.ravel())))
    shown = {name: mean_spread(found) for name, found in values.items()}
    line = f"whole pictures: AUROC {shown['picture']} (PCA-40 {shown['PCA-40']}), pixel AUROC {shown['pixel']}"
    reached = np.mean(values["picture"]) > np.mean(values["PCA-40"])
    return Measure((17,), "defects", line, "picture AUROC above PCA's", bool(reached), values)


def _grey(folder: Path) -> np.ndarray:
    """The pictures of a folder, in the order of their names, grey."""
    return np.stack([recoloured(_channels_last(each)[None], 1)[0, :, :, 0] for each in read(folder).arrays])


def _channels_last(pixels: np.ndarray) -> np.ndarray:
    return pixels if pixels.ndim == 3 else pixels[:, :, None]


def _maps(model: FittedModel, packed: Packed) -> np.ndarray:
    """How odd each pixel of each picture is."""
    tiles, cells = packed.places.tiles, model.cell_errors(packed.samples)[0]
    parts = np.split(cells.reshape(-1, SIDE, SIDE, 1), tiles.starts[1:-1])
    return np.stack([tiles.stitched(part, picture)[:, :, 0] for picture, part in enumerate(parts)])


def residual(train: np.ndarray, test: np.ndarray, seed: int) -> np.ndarray:
    """Mean squared residual of PCA with 40 components."""
    flat, judged = (pictures.reshape(len(pictures), -1) / 255 for pictures in (train, test))
    pca = PCA(40, random_state=seed).fit(flat)
    return np.asarray(np.square(judged - pca.inverse_transform(pca.transform(judged))).mean(axis=1))


MEASURES = {"defects": patches, "defects-pictures": pictures}
