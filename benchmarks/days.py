"""Odd days: labelled windows of NAB's nyc_taxi among its 12 oddest, and a year of hourly temperatures at .01.

Beside it: PCA with 2, 5 and 10 components on the same days.
"""

from __future__ import annotations

import argparse
import json
from datetime import datetime

import numpy as np
import pyarrow as pa
from common import data, mean_spread, save
from sklearn.decomposition import PCA
from vega_datasets import data as vega

from hourglass import AnomalyDetector, SeriesAutoencoder
from hourglass.data.files import from_object, read

MOST = 12
SEEDS = range(3)
MODELS = {
    "default model": {"window": "1d"},
    "daily-profile": {"recipe": "daily-profile"},
}


def windows_hit(days: list[str], scores: np.ndarray) -> int:
    """How many of the labelled windows hold at least one of the highest-scored days."""
    labels = json.loads(data("nab/labels/combined_windows.json").read_text())["realKnownCause/nyc_taxi.csv"]
    top = [datetime.fromisoformat(days[i]).date() for i in np.argsort(-scores)[:MOST]]
    return sum(
        any(datetime.fromisoformat(start).date() <= day <= datetime.fromisoformat(end).date() for day in top)
        for start, end in labels
    )


def taxi(parameters: dict[str, str], seed: int) -> tuple[int, int, dict[int, int]]:
    """Windows hit by `detect DATA`, by `fit` and then `detect MODEL`, and by PCA of several sizes on the same days."""
    frame = read(data("nab/data/realKnownCause/nyc_taxi.csv"))
    model = AnomalyDetector(SeriesAutoencoder(**parameters, seed=seed)).fit(frame).model_
    found = model.detect(frame, reasons="none", own=True)
    days = [model.format.window_label(found.packed.places, i) for i in range(len(found.samples))]
    flat = found.packed.samples.reshape(len(found.samples), -1)
    pca = {}
    for size in (2, 5, 10):
        fitted = PCA(size).fit(flat)
        pca[size] = windows_hit(days, ((fitted.inverse_transform(fitted.transform(flat)) - flat) ** 2).mean(1))
    return windows_hit(days, found.samples), windows_hit(days, model.score(found.packed)), pca


def temperatures(parameters: dict[str, str], seed: int) -> list[str]:
    """The days of a year of hourly temperatures that are flagged at a false-alarm rate of .01."""
    frame = from_object(pa.Table.from_pandas(vega.seattle_temps(), preserve_index=False))
    model = AnomalyDetector(SeriesAutoencoder(**parameters, seed=seed)).fit(frame).model_
    found = model.detect(frame, reasons="none", own=True)
    flagged = np.flatnonzero(found.samples > found.threshold.value)
    return [model.format.window_label(found.packed.places, i) for i in flagged]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=len(SEEDS))
    parser.add_argument("--models", nargs="*", choices=MODELS, default=[*MODELS], help="only these models")
    asked = parser.parse_args()
    seeds = range(asked.seeds)
    figures, lines = (
        {},
        [f"nyc_taxi: labelled windows (of 5) among the {MOST} highest-scored days; seattle_temps: days named at .01"],
    )
    for name, parameters in ((name, MODELS[name]) for name in asked.models):
        runs = [taxi(parameters, seed) for seed in seeds]
        named = [temperatures(parameters, seed) for seed in seeds]
        unseen, seen, pca = ([run[place] for run in runs] for place in range(3))
        figures[name] = {"detect DATA": unseen, "fit, detect MODEL": seen, "pca": pca[0], "days": named}
        lines += [
            f"  {name}: {mean_spread(unseen)} windows by `detect DATA`, {mean_spread(seen)} by `fit`, `detect MODEL`;"
            f" PCA-2/5/10 on the same days {list(pca[0].values())}",
            f"    temperatures: {[len(days) for days in named]} days named, first seed: {', '.join(named[0])}",
        ]
    models = "" if asked.models == [*MODELS] else " --models " + " ".join(f"'{name}'" for name in asked.models)
    save("days", f"python benchmarks/days.py --seeds {asked.seeds}{models}", figures, lines)


if __name__ == "__main__":
    main()
