"""How far an exported model is from Python, and what it costs: onnxruntime beside ours, one thread, raw rows in.

CPU seconds, the least of several rounds in which each ran once. `--fast`: a tenth of the rows, and the five detectors
only.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import onnxruntime
from common import save
from sklearn.datasets import load_digits

from hourglass import AnomalyDetector, FittedModel, ImageAutoencoder, TableAutoencoder
from hourglass.core.checkpoints import save_model
from hourglass.core.chunks import MOST_ROWS
from hourglass.core.fitting import fit_model
from hourglass.core.kinds import FORMATS, KINDS, experiment
from hourglass.interfaces.exporting.export import export
from hourglass.interfaces.options import Export
from hourglass.settings import Training

FAST = "--fast" in sys.argv
ROWS, TENTH, ROUNDS = (20_000, 2_000, 2) if FAST else (200_000, 20_000, 5)
ALL = ("error", "masked-cell", "activations", "neighbours")
DIMENSIONS = {"table": 1, "series": 2, "image": 3}
Run = Callable[[np.ndarray], Any]


def numbers(rows: int) -> np.ndarray:
    """Rows of 30 columns that share eight hidden causes."""
    random = np.random.default_rng(rows)
    causes = np.random.default_rng(0).normal(size=(8, 30))
    return random.normal(size=(rows, 8)) @ causes + 0.1 * random.normal(size=(rows, 30))


def detectors() -> dict[str, FittedModel]:
    """One of each: dense, convolutional, variational, masked (the default of a table), of all scorers together."""
    table, digits = numbers(5_000), load_digits().images
    made = {
        "dense": AnomalyDetector(TableAutoencoder(kind="plain", layers=(16,), latent=8, epochs=10)).fit(table),
        "convolutional": AnomalyDetector(ImageAutoencoder(kind="convolutional", epochs=5)).fit(digits),
        "variational": AnomalyDetector(TableAutoencoder(kind="variational", epochs=10)).fit(table),
        "masked": AnomalyDetector(TableAutoencoder(epochs=10)).fit(table),
        "ensemble": AnomalyDetector(TableAutoencoder(epochs=10).set_params(detection__scorers=ALL)).fit(table),
    }
    return {name: detector.model_ for name, detector in made.items()}


def every_kind() -> dict[str, FittedModel]:
    """A model of each kind, hardly trained, of the simplest data that it takes."""
    data = {"table": numbers(300), "series": numbers(300).reshape(150, 20, 3), "image": load_digits().images[:150]}
    plans = {}
    for kind in KINDS:
        fits = [name for name in data if KINDS[kind].get("format", FORMATS[name]()).name == name]
        fits = [name for name in fits if DIMENSIONS[name] in experiment(name, kind).network.takes]
        plans.update({f"{kind} ({name})": experiment(name, kind) for name in fits[:1]})
    training = Training(epochs=2, batch_size=32)
    return {
        name: fit_model(data[plan.modality], plan.replace(training=training), calibrate=False)
        for name, plan in plans.items()
    }


def exported(model: FittedModel, folder: Path) -> tuple[dict[str, Any], Run]:
    """What the export says, and the graph's scores of raw rows, a chunk as Python takes them at a time."""
    save_model(model, folder / "model")
    path = str(folder / "model.onnx")
    start = time.process_time()
    said = export(Export(model=str(folder / "model"), output=path)).document
    seconds = time.process_time() - start
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options)
    given = said["metadata"]["input"]["name"]

    def run(rows: np.ndarray) -> list[Any]:
        chunks = (rows[start : start + MOST_ROWS] for start in range(0, len(rows), MOST_ROWS))
        return [session.run(["anomaly_score", "is_anomaly"], {given: chunk}) for chunk in chunks]

    return {**said["difference"], "seconds": seconds, "bytes": said["bytes"]}, run


def least(works: dict[str, Callable[[], Any]]) -> dict[str, float]:
    """The least CPU seconds of each."""
    found: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(ROUNDS):
        for name, work in works.items():
            start = time.process_time()
            work()
            found[name].append(time.process_time() - start)
    return {name: min(each) for name, each in found.items()}


def main() -> None:
    made, many = detectors(), numbers(ROWS)
    few = many[:TENTH]
    with tempfile.TemporaryDirectory() as folder:
        results = {name: exported(model, Path(folder)) for name, model in made.items()}
        others = {} if FAST else {name: exported(model, Path(folder))[0] for name, model in every_kind().items()}
    dense, masked = results["dense"][1], results["masked"][1]
    costs = least(
        {
            "dense, Python": lambda: made["dense"].detect(many, reasons="none"),
            "dense, onnxruntime": lambda: dense(many),
            "masked, Python": lambda: made["masked"].detect(few, reasons="none"),
            "masked, onnxruntime": lambda: masked(few),
        }
    )
    facts = {name: facts for name, (facts, _) in results.items()}
    rates = {name: (ROWS if name.startswith("dense") else TENTH) / cost for name, cost in costs.items()}
    lines = [
        f"{name}: scores differ from Python's by {each['score']:.1e}, reconstructions by {each['reconstruction']:.1e} "
        f"on {each['rows']} fresh rows; {each['bytes'] / 1024:,.0f} KiB, written in {each['seconds']:.1f} s"
        for name, each in facts.items()
    ]
    worst = sorted(others, key=lambda name: -others[name]["score"])
    if worst:
        largest = ", ".join(f"{name} {others[name]['score']:.1e}" for name in worst[:3])
        lines.append(f"{len(others)} kinds, hardly trained: scores differ most of {largest}")
    lines += [f"{name}, 30 columns: {rate:,.0f} rows/s, raw rows to scores and flags" for name, rate in rates.items()]
    save("export", "python benchmarks/export.py", {"differences": facts | others, "rows_a_second": rates}, lines)


if __name__ == "__main__":
    main()
