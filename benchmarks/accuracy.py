"""Anomalies in tables: our default detector and others on the same rows, over sets of ADBench.

    python benchmarks/accuracy.py [--protocol one-class|unsupervised] [--seeds 3] [--jobs 2] [--sets NAME ...]

`one-class` is DTE's protocol: train on half of the normal rows (at most 5,000), test on the rest and all anomalies;
sets with at least 1,000 rows. `unsupervised`: at most 10,000 rows of a set, anomalies among them, are both trained on
and judged, by what `hourglass detect DATA` does (contaminated training; out-of-fold scores up to about 1,000 rows);
all sets. AUROC and average precision, mean over seeds. All methods get the same rows on the same scale, and nothing is
tuned to a set. `without neighbours` are our scores but for the one that stores training rows; it and single scorers
are by the network that was trained on all rows. PCA has as many components as our code has numbers; kNN is the distance
to the fifth nearest row; PyOD's methods have its defaults, and stand where it is installed. Also the realised
false-alarm rate on held-out normal rows, for three asked rates.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from importlib import import_module
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from common import data, save
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.neighbors import NearestNeighbors

from hourglass import AnomalyDetector, TableAutoencoder
from hourglass.core.fitted import FittedModel
from hourglass.core.scores import Combination, raw_scores
from hourglass.estimators.baselines import Baselines

ONE_CLASS, UNSUPERVISED = PROTOCOLS = ("one-class", "unsupervised")
RATES = (0.01, 0.05, 0.1)
MOST_TRAINING_ROWS, MOST_ROWS, FEWEST_ROWS = 5_000, 10_000, 1_000
NEIGHBOURS = 5
OURS, ALONE = "Hourglass", "without neighbours"
SHOWN = (OURS, ALONE, "kNN", "isolation forest", "PCA", "PyOD ECOD", "PyOD AutoEncoder")
PYOD = {"PyOD ECOD": "ecod.ECOD", "PyOD PCA": "pca.PCA", "PyOD AutoEncoder": "auto_encoder.AutoEncoder"}

Rows = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Training rows, judged rows, and which of these are anomalies."""


def one_class(X: np.ndarray, odd: np.ndarray, seed: int) -> Rows:
    normal = np.random.default_rng(seed).permutation(np.flatnonzero(~odd))
    train, rest = normal[: len(normal) // 2], normal[len(normal) // 2 :]
    test = np.concatenate([rest, np.flatnonzero(odd)])
    return X[train[:MOST_TRAINING_ROWS]], X[test], odd[test]


def unsupervised(X: np.ndarray, odd: np.ndarray, seed: int) -> Rows:
    chosen = np.random.default_rng(seed).permutation(len(X))[:MOST_ROWS]
    return X[chosen], X[chosen], odd[chosen]


SPLITS: dict[str, Callable[[np.ndarray, np.ndarray, int], Rows]] = {ONE_CLASS: one_class, UNSUPERVISED: unsupervised}


def ours(model: FittedModel, samples: np.ndarray) -> dict[str, np.ndarray]:
    """Our score, each scorer's own, and the combination without neighbours."""
    raw = raw_scores(model.network, model.scorers, samples)
    names = [scorer.name for scorer in model.scorers]
    rest = [place for place, name in enumerate(names) if not name.endswith("neighbours")]
    whole = model.combination
    alone = Combination(whole.centre[rest], whole.spread[rest])(raw[:, rest])
    return {OURS: whole(raw), ALONE: alone} | dict(zip(names, raw.T, strict=True))


def others(model: FittedModel, train: np.ndarray, test: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """What other methods make of the same rows, scaled as ours are."""
    baselines = Baselines.fit(train, model.latent_size, seed).scores(test)
    nearest = NearestNeighbors(n_neighbors=NEIGHBOURS).fit(train)
    found = {"PCA": baselines["pca"], "isolation forest": baselines["isolation forest"]}
    found["kNN"] = nearest.kneighbors(test)[0][:, -1]
    for name, place in PYOD.items() if find_spec("pyod") else ():
        module, method = place.split(".")
        torch.manual_seed(seed)
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            detector = getattr(import_module(f"pyod.models.{module}"), method)().fit(train)
            found[name] = np.nan_to_num(detector.decision_function(test))  # its PCA divides by eigenvalues of 0
    return found


def run(X: np.ndarray, odd: np.ndarray, seed: int, protocol: str) -> dict[str, list[float]]:
    """AUROC and average precision of each method; our realised false-alarm rates and seconds."""
    train, test, odd = SPLITS[protocol](X, odd, seed)
    start = time.perf_counter()
    same = protocol == UNSUPERVISED
    model = AnomalyDetector(TableAutoencoder(seed=seed, contaminated=same)).fit(train).model_
    samples = model.format.pack(test).samples
    scores = ours(model, samples)
    if same:
        scores[OURS] = model.detect(test, reasons="none", own=True).rows.score
    seconds = time.perf_counter() - start
    scores |= others(model, model.format.pack(train).samples, samples, seed)
    result = {name: [roc_auc_score(odd, each), average_precision_score(odd, each)] for name, each in scores.items()}
    if protocol == ONE_CLASS:
        normal = scores[OURS][~odd]
        for rate in RATES:
            result[f"false alarms at {rate}"] = [float((normal > model.threshold(rate).value).mean())]
    return result | {"seconds": [seconds]}


def run_set(task: tuple[Path, int, str]) -> dict[str, list[float]]:
    """One set with one seed."""
    torch.set_num_threads(1)
    path, seed, protocol = task
    with np.load(path, allow_pickle=False) as file:
        return run(file["X"].astype(np.float64), file["y"] == 1, seed, protocol)


def sets(asked: list[str] | None, protocol: str) -> list[Path]:
    """The sets of a protocol, in ADBench's order."""
    found = sorted(data("adbench").glob("*.npz"), key=lambda path: int(path.name.split("_")[0]))
    named = [path for path in found if not asked or any(word in path.stem for word in asked)]
    fewest = FEWEST_ROWS if protocol == ONE_CLASS else 0
    return [path for path in named if len(np.load(path, allow_pickle=False)["y"]) >= fewest]


Figures = dict[str, dict[str, list[list[float]]]]
"""By set and method: a pair for each seed."""


def summary(figures: Figures) -> list[str]:
    """AUROC of each set; means over sets of AUROC and average precision, with their deviations over seeds."""
    names = list(next(iter(figures.values())))
    shown = [name for name in SHOWN if name in names]
    lines = [f"{'AUROC, mean over seeds':24}" + "".join(f"{name:>19}" for name in shown)]
    for one, figure in figures.items():
        lines.append(f"{one:24}" + "".join(f"{np.mean([pair[0] for pair in figure[name]]):19.4f}" for name in shown))
    seeds = len(next(iter(figures.values()))[OURS])
    lines += ["", f"{len(figures)} sets, {seeds} seeds; mean over sets (spread: deviation of that mean over seeds)"]
    lines.append(f"  {'':24}{'AUROC':>18}{'average precision':>20}")
    for name in names:
        table = np.array([figures[one][name] for one in figures])  # sets x seeds x figures
        means = table.mean(axis=0)
        values = [f"{mean:.4f} ± {spread:.4f}" for mean, spread in zip(means.mean(0), means.std(0), strict=True)]
        lines.append(f"  {name:24}" + "".join(f"{value:>18}  " for value in values))
    return lines


def verdict(figures: Figures, baseline: str) -> str:
    """Whether our mean AUROC is at least that of a baseline."""
    ours, theirs = (np.mean([pair[0] for one in figures.values() for pair in one[name]]) for name in (OURS, baseline))
    return f"wanted a mean AUROC of at least the {baseline}'s: {'reached' if ours >= theirs else 'MISSED'}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--protocol", choices=PROTOCOLS, default=ONE_CLASS)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=1, help="processes, of one thread each")
    parser.add_argument("--sets", nargs="*", help="only these sets, by a part of their names; nothing is kept")
    asked = parser.parse_args()
    paths = sets(asked.sets, asked.protocol)
    tasks = [(path, seed, asked.protocol) for path in paths for seed in range(asked.seeds)]
    figures: Figures = {path.stem: {} for path in paths}
    with ProcessPoolExecutor(asked.jobs, get_context("spawn")) as pool:
        for (path, _, _), result in zip(tasks, pool.map(run_set, tasks), strict=True):
            for name, values in result.items():
                figures[path.stem].setdefault(name, []).append(values)
            print(path.stem, {name: round(values[0], 4) for name, values in result.items()}, flush=True)
    lines = summary(figures)
    if asked.protocol == UNSUPERVISED:
        lines.append(verdict(figures, "isolation forest"))
    if asked.sets:
        print("\n".join(lines))
        return
    command = f"python benchmarks/accuracy.py --protocol {asked.protocol} --seeds {asked.seeds} --jobs {asked.jobs}"
    save(f"accuracy_{asked.protocol.replace('-', '_')}", command, figures, lines)


if __name__ == "__main__":
    main()
