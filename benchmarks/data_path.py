"""What the path of data costs: a large CSV to scores, scoring in memory, a cold start, a small fit as a whole process.

CPU seconds on one thread, each beside a control that ran in the same round, the minimum over rounds: other work on the
machine then tells on both alike. Whole processes are measured with all that they import, compiled as an installed
package is; their memory is the most that they held. `--fast`: a tenth of the rows.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # Arrow's threads too, here and in the processes that are started
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

import numpy as np
import pyarrow as pa
from common import HOURGLASS, Cost, process, save
from pyarrow import csv
from sklearn.neural_network import MLPRegressor

from hourglass import AnomalyDetector, TableAutoencoder
from hourglass.core.scores import raw_scores

FAST = "--fast" in sys.argv
LARGE, SCORED, ROUNDS = (100_000, 50_000, 2) if FAST else (1_000_000, 200_000, 5)
WINDOW = 256
PYTHON = [sys.executable, "-c"]


def here(work: Callable[[], object]) -> Callable[[], Cost]:
    """Measures some work of this process."""

    def measure() -> Cost:
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        return Cost(time.perf_counter() - wall, time.process_time() - cpu)

    return measure


def interleaved(works: dict[str, Callable[[], Cost]]) -> dict[str, Cost]:
    """The least that each cost, over rounds in which each ran once."""
    rounds = [{name: work() for name, work in works.items()} for _ in range(ROUNDS)]
    return {name: min((each[name] for each in rounds), key=lambda cost: cost.cpu) for name in works}


def numbers(rows: int, columns: int) -> np.ndarray:
    """Rows of columns that share eight hidden causes, six decimals."""
    random = np.random.default_rng(rows)
    causes = np.random.default_rng(0).normal(size=(8, columns))
    return np.round(random.normal(size=(rows, 8)) @ causes + 0.1 * random.normal(size=(rows, columns)), 6)


def write(path: Path, rows: int, columns: int) -> str:
    table = pa.table({f"c{place}": column for place, column in enumerate(numbers(rows, columns).T)})
    csv.write_csv(table, path)
    return str(path)


def processes(folder: Path) -> dict[str, Cost]:
    """Large CSV to scores, cold start, small fit; controls: reading that CSV, importing torch. A long series, once."""
    os.environ["PYTHONPYCACHEPREFIX"] = str(folder / "compiled")
    large, small, wide, long = (
        write(folder / f"{rows}x{columns}.csv", rows, columns)
        for rows, columns in ((LARGE, 30), (5_000, 30), (5_000, 140), (LARGE, 1))
    )
    model, scores = str(folder / "model.safetensors"), str(folder / "scores.parquet")
    process(HOURGLASS, "fit", small, "--kind", "plain", "--epochs", "20", "-o", model)
    fit = ("fit", wide, "-o", str(folder / "wide"), "--kind", "plain", "--epochs", "10")
    windows = ("--modality", "series", "--window", str(WINDOW), "--set", "format.stride=1", "--batch-size", "512")
    series = ("fit", long, "-o", str(folder / "long"), *windows, "--kind", "plain", "--epochs", "1")
    return {"windows": process(HOURGLASS, *series)} | interleaved(
        {
            "read the CSV": lambda: process(*PYTHON, f"import pyarrow.csv as c; c.read_csv({large!r})"),
            "detect": lambda: process(HOURGLASS, "detect", model, large, "-o", scores),
            "import torch": lambda: process(*PYTHON, "import torch"),
            "cold detect": lambda: process(HOURGLASS, "detect", model, small, "-o", str(folder / "scores.csv")),
            "fit": lambda: process(HOURGLASS, *fit),
        }
    )


def scoring() -> dict[str, Cost]:
    """Scores of rows in memory; control: scikit-learn's predictions of the same network, and their squared errors."""
    X = numbers(SCORED, 30).astype(np.float32)
    plain = AnomalyDetector(TableAutoencoder(kind="plain", layers=(16,), latent=8, epochs=2)).fit(X[:5_000])
    default = AnomalyDetector(TableAutoencoder(epochs=2)).fit(X[:5_000])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it has not converged
        peer = MLPRegressor(hidden_layer_sizes=(16, 8, 16), max_iter=2).fit(X[:5_000], X[:5_000])
    model, tenth = plain.model_, X[: SCORED // 10]
    samples = model.format.pack(X).samples
    return interleaved(
        {
            "scikit-learn predict": here(lambda: peer.predict(X)),
            "scikit-learn scores": here(lambda: np.square(peer.predict(X) - X).mean(axis=1)),
            "network": here(lambda: raw_scores(model.network, model.scorers, samples)),
            "score_samples": here(lambda: plain.score_samples(X)),
            "default detector": here(lambda: default.score_samples(tenth)),
        }
    )


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        costs = processes(Path(folder)) | scoring()
    seconds = {name: cost.cpu for name, cost in costs.items()}
    rate = {name: SCORED / seconds[name] / 1e6 for name in ("scikit-learn predict", "network", "score_samples")}
    detect, start = seconds["detect"] / seconds["read the CSV"], seconds["cold detect"] - seconds["import torch"]
    lines = [
        f"{LARGE:,} x 30 CSV to scores: {seconds['detect']:.2f} s, {detect:.2f} x reading it with pyarrow; "
        f"{costs['detect'].memory:.0f} MiB",
        *(f"{name}, 30-16-8-16-30, {SCORED:,} rows: {value:.2f} million rows/s" for name, value in rate.items()),
        f"network and errors: {seconds['scikit-learn scores'] / seconds['network']:.2f} x scikit-learn's with errors, "
        f"{seconds['scikit-learn predict'] / seconds['network']:.2f} x without",
        f"default detector, 30 columns: {SCORED / 10 / seconds['default detector']:,.0f} rows/s",
        f"cold start: detect of a small CSV takes {start:.2f} s longer than the {seconds['import torch']:.2f} s of "
        f"import torch; {costs['cold detect'].memory:.0f} MiB, {costs['import torch'].memory:.0f} of them torch",
        f"10 epochs on 5,000 x 140: {seconds['fit']:.2f} s, {seconds['fit'] / seconds['import torch']:.2f} x importing "
        f"torch; {costs['fit'].memory:.0f} MiB",
        f"one epoch on all windows of {WINDOW} steps in {LARGE:,}: {costs['windows'].memory:.0f} MiB, where they alone "
        f"would take {LARGE * WINDOW * 4 / 2**20:.0f}",
    ]
    figures = {name: cost._asdict() for name, cost in costs.items()}
    save("data_path", "python benchmarks/data_path.py", figures | {"rounds": ROUNDS, "rows": LARGE}, lines)


if __name__ == "__main__":
    main()
