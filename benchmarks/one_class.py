"""Anomalies in tables, one-class protocol of DTE: train on half of the normal rows, test on the rest and all anomalies.

Sets of ADBench with at least 1,000 rows; at most 5,000 training rows each. AUROC of the default detector beside an
isolation
forest and PCA (of the model's latent size; and PyOD's, with all components, where it is installed), on the same rows.
Also the realised false-alarm rate on the held-out normal rows, for three asked rates.
"""

from __future__ import annotations

import argparse
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from common import data, save
from sklearn.metrics import roc_auc_score

from hourglass import AnomalyDetector, TableAutoencoder
from hourglass.estimators.baselines import Baselines

RATES = (0.01, 0.05, 0.1)
MOST_TRAINING_ROWS = 5_000


def split(X: np.ndarray, odd: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Training rows (normal), test rows, and which test rows are anomalies."""
    normal = np.random.default_rng(seed).permutation(np.flatnonzero(~odd))
    train, rest = normal[: len(normal) // 2], normal[len(normal) // 2 :]
    test = np.concatenate([rest, np.flatnonzero(odd)])
    return X[train[:MOST_TRAINING_ROWS]], X[test], odd[test]


def run(X: np.ndarray, odd: np.ndarray, seed: int) -> dict[str, float]:
    train, test, odd = split(X, odd, seed)
    start = time.perf_counter()
    detector = AnomalyDetector(TableAutoencoder(seed=seed)).fit(train)
    model = detector.model_
    scores = -detector.score_samples(test)
    result = {"default": roc_auc_score(odd, scores), "seconds": time.perf_counter() - start}
    for scorer, column in zip(model.scorers, raw(model, test).T, strict=True):
        result[scorer.name] = roc_auc_score(odd, column)
    baselines = Baselines.fit(model.format.pack(train).samples, model.latent_size, seed)
    for name, baseline in baselines.scores(model.format.pack(test).samples).items():
        result[name] = roc_auc_score(odd, baseline)
    result |= pyod_pca(train, test, odd)
    for rate in RATES:
        result[f"false alarms at {rate}"] = float((scores[~odd] > model.threshold(rate).value).mean())
    return result


def raw(model, X):  # type: ignore[no-untyped-def]
    from hourglass.core.scores import raw_scores

    return raw_scores(model.network, model.scorers, model.format.pack(X).samples)


def pyod_pca(train: np.ndarray, test: np.ndarray, odd: np.ndarray) -> dict[str, float]:
    try:
        from pyod.models.pca import PCA
    except ImportError:
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scores = np.nan_to_num(PCA().fit(train).decision_function(test))  # it divides by eigenvalues that may be 0
    return {"pca (PyOD)": roc_auc_score(odd, scores)}


def run_set(task: tuple[Path, int]) -> dict[str, float]:
    """One set with one seed."""
    torch.set_num_threads(1)
    path, seed = task
    with np.load(path, allow_pickle=False) as file:
        return run(file["X"].astype(np.float64), file["y"] == 1, seed)


def sets(asked: list[str] | None) -> list[Path]:
    """The sets with at least 1,000 rows, in ADBench's order."""
    found = sorted(data("adbench").glob("*.npz"), key=lambda path: int(path.name.split("_")[0]))
    named = [path for path in found if not asked or any(word in path.stem for word in asked)]
    return [path for path in named if len(np.load(path, allow_pickle=False)["y"]) >= 1000]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=1, help="processes, of one thread each")
    parser.add_argument("--sets", nargs="*", help="only these sets, by a part of their names")
    asked = parser.parse_args()
    paths = sets(asked.sets)
    tasks = [(path, seed) for path in paths for seed in range(asked.seeds)]
    figures: dict[str, dict[str, list[float]]] = {path.stem: {} for path in paths}
    with ProcessPoolExecutor(asked.jobs, get_context("spawn")) as pool:
        for (path, _), result in zip(tasks, pool.map(run_set, tasks), strict=True):
            for name, value in result.items():
                figures[path.stem].setdefault(name, []).append(value)
            print(path.stem, {name: round(value, 4) for name, value in result.items()}, flush=True)
    if asked.sets:
        print("\n".join(summary(figures)))
    else:
        save("one_class", f"python benchmarks/one_class.py --jobs {asked.jobs}", figures, summary(figures))


def summary(figures: dict[str, dict[str, list[float]]]) -> list[str]:
    """Each set's mean AUROC over seeds, and the mean over sets with its spread over seeds."""
    names = list(next(iter(figures.values())))
    shown = ("default", "pca", "isolation forest")
    lines = [f"{'AUROC, mean over seeds':24}" + "".join(f"{name:>18}" for name in shown)]
    for one, figure in figures.items():
        lines.append(f"{one:24}" + "".join(f"{np.mean(figure[name]):18.4f}" for name in shown))
    seeds = len(next(iter(figures.values()))["default"])
    lines += ["", f"{len(figures)} sets, {seeds} seeds; mean over sets (spread: deviation of that mean over seeds)"]
    width = max(map(len, names))
    for name in names:
        table = np.array([figures[one][name] for one in figures])
        lines.append(f"  {name:{width}} {table.mean():.4f} ± {table.mean(0).std():.4f}")
    return lines


if __name__ == "__main__":
    main()
