"""Anomalies in real series: our default detector beside other methods on the same windows.

    python benchmarks/series_accuracy.py [nab smd asd smap_msl ucr_anomaly ecg5000] [--seeds 3] [--fast]

A detector learns from the training part that a set comes with; of NAB's files (realKnownCause) from the first 15 %
(which hold a labelled window of machine_temperature). The rest is judged, and no option is set for a set. VUS-PR
(buffers of up to a window) is the mean of a set's series; it forgives near misses, so chance is shown too. PCA is
sub-sequence PCA with as many components as our code has numbers; it and the isolation forest get our windows, and
their scores are brought to rows as ours are. PyOD's PCA, weighted over all components, is what TSB-AD calls Sub-PCA;
it stands where PyOD is installed, for a single channel.

NAB's standard score is of alarms as they come: each row is judged by the window that ends there, and a flag within a
window's length of the last one is the same alarm. Given at our threshold, which knows no label; and at the one limit
for all files that is best for the labels, as in published tables.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
import warnings
from collections.abc import Callable, Iterator
from datetime import datetime
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from common import data, mean_spread, save
from sklearn.metrics import roc_auc_score

from hourglass import AnomalyDetector, SeriesAutoencoder
from hourglass.core.fitted import FittedModel
from hourglass.core.watching import Watch
from hourglass.data.files import from_object, read
from hourglass.data.samples import Frame, Packed
from hourglass.estimators.evaluation import Timeline, decisions, fit_baselines, row_scores
from hourglass.estimators.metrics.nab import nab_points

LEARNING = 0.15
ALARM_RATE = 0.01
WAYS = ("scores", "likelihood")
LIMITS = np.linspace(0.5, 10, 39).tolist()
"""Of scores that are on one scale in all files: the limit is chosen from these where the labels choose it."""
NEAR = 100
"""Steps beside the labelled range in which the highest score counts as found (UCR)."""
OURS = "Hourglass"
Figures = dict[str, dict[str, Any]]
"""By method, by figure."""


class Case(NamedTuple):
    """One series: what is learned from, what is judged, and which of its rows are anomalies."""

    name: str
    train: Frame
    test: Frame
    odd: np.ndarray


def nab() -> Iterator[Case]:
    ranges = json.loads(data("nab/labels/combined_windows.json").read_text())
    for path in sorted(data("nab/data/realKnownCause").glob("*.csv")):
        frame = read(path)
        times = np.array(frame.table.column("timestamp").to_pylist())
        odd = np.zeros(len(times), dtype=bool)
        for edges in ranges[f"realKnownCause/{path.name}"]:
            start, end = map(datetime.fromisoformat, edges)
            odd |= (times >= start) & (times <= end)
        yield Case(path.stem, *(split(frame, int(LEARNING * len(times)))), odd[int(LEARNING * len(times)) :])


def split(frame: Frame, rows: int) -> tuple[Frame, Frame]:
    """The first rows of a frame, and the others."""
    first, rest = frame.table.slice(0, rows), frame.table.slice(rows)
    return dataclasses.replace(frame, table=first), dataclasses.replace(frame, table=rest)


def machines(corpus: str) -> Iterator[Case]:
    for path in sorted(data(corpus).glob("*.npz")):
        with np.load(path, allow_pickle=False) as file:
            yield Case(path.stem, table(file["train"]), table(file["test"]), file["test_label"] == 1)


def table(values: np.ndarray) -> Frame:
    """Steps (steps, channels) as named columns."""
    return from_object(pa.table({f"channel{place}": column for place, column in enumerate(values.T.astype(float))}))


def ucr_anomaly() -> Iterator[Case]:
    """Rows of the training part, first and last row of the anomaly: they stand in the file's name."""
    for path in sorted(data("ucr_anomaly").glob("*.txt")):
        learned, first, last = map(int, path.stem.split("_")[-3:])
        values = np.loadtxt(path).reshape(-1, 1)
        odd = np.zeros(len(values), dtype=bool)
        odd[first : last + 1] = True
        yield Case(path.stem, table(values[:learned]), table(values[learned:]), odd[learned:])


CORPORA: dict[str, Callable[[], Iterator[Case]]] = {
    "nab": nab,
    "smd": lambda: machines("smd"),
    "asd": lambda: machines("asd"),
    "smap_msl": lambda: machines("smap_msl"),
    "ucr_anomaly": ucr_anomaly,
}


def judged(case: Case, seed: int, corpus: str, fast: bool) -> Figures:
    """VUS-PR and AUROC of each method; NAB: what our alarms are worth; UCR: whether the highest score is right."""
    start = time.process_time()
    quick = {"epochs": 2} if fast else {}
    autoencoder = SeriesAutoencoder(seed=seed, **quick)
    # folds are fitted for the threshold, which has no part in the other figures
    model = (AnomalyDetector(autoencoder) if corpus == "nab" else autoencoder).fit(case.train).model_
    found = model.detect(case.test, reasons="none")
    seconds = time.process_time() - start
    packed = found.packed
    timeline = Timeline.of(packed)
    scores = {OURS: found.rows.score} | others(model, model.format.pack(case.train), packed, seed)
    figures = {name: timeline.volumes(case.odd, score) for name, score in scores.items()}
    for name, score in scores.items():
        figures[name] = {"vus_pr": figures[name]["vus_pr"], "auroc": float(roc_auc_score(case.odd, score))}
    figures[OURS] |= {"cpu seconds": seconds, "window": packed.places.steps}
    if corpus == "nab":
        figures[OURS] |= alarms(model, case)
    if corpus == "ucr_anomaly":
        places = np.flatnonzero(case.odd)
        for name, score in scores.items():
            peak = int(score.argmax())
            figures[name]["found"] = float(places[0] - NEAR <= peak <= places[-1] + NEAR)
    return figures


def others(model: FittedModel, train: Packed, test: Packed, seed: int) -> dict[str, np.ndarray]:
    """Rows' scores by other methods on our windows, and by chance."""
    found = row_scores(model, fit_baselines(model, train), test)
    if find_spec("pyod") and train.samples.shape[2] == 1:
        from pyod.models.pca import PCA

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            flat, new = (part.samples.reshape(len(part.samples), -1) for part in (train, test))
            whole = np.nan_to_num(PCA().fit(flat).decision_function(new))
        found["PyOD PCA"] = model.format.rows(whole, test.places).score
    found["chance"] = np.random.default_rng(seed).random(len(test.places.slots))
    return found


def alarms(model: FittedModel, case: Case) -> dict[str, Any]:
    """NAB's points of alarms as they come: at our threshold, and at each of many; the number of labelled windows."""
    learned, live = case.train.table.num_rows, in_order(case.test)
    odd = np.concatenate([np.zeros(learned, dtype=bool), case.odd])
    stream = dataclasses.replace(case.test, table=case.test.table.take(live))

    def points(rows: np.ndarray) -> float:
        flagged = np.zeros(len(odd), dtype=bool)
        flagged[learned + live[rows[np.diff(rows, prepend=-len(odd)) > model.format.layout.shape[0]]]] = True
        return nab_points(odd, flagged)[0]

    worth: dict[str, Any] = {"windows": nab_points(odd, np.zeros_like(odd))[1]}
    for way in WAYS:
        seen = Watch(model, ALARM_RATE, anomaly_likelihood=way == "likelihood").see(stream)
        common = seen.score if way == "likelihood" else standardised(seen.score, model.calibration.scores)
        worth[f"points, {way}"] = points(seen.rows[seen.is_anomaly])
        worth[f"points by limit, {way}"] = [points(seen.rows[common > limit]) for limit in LIMITS]
    return worth


def in_order(frame: Frame) -> np.ndarray:
    """Rows later than all before them: a stream leaves others out."""
    times = np.array(frame.table.column("timestamp").to_pylist()).astype("datetime64[s]").astype(np.int64)
    return np.flatnonzero(times > np.maximum.accumulate(np.append(-1, times[:-1])))


def standardised(scores: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Robust z of log scores among those of the calibration, so that one limit may hold for several files."""
    logs = np.log(known + 1e-12)
    spread = 1.4826 * np.median(np.abs(logs - np.median(logs)))
    return np.asarray((np.log(scores + 1e-12) - np.median(logs)) / spread)


def corpus_lines(corpus: str, figures: dict[str, list[Figures]]) -> list[str]:
    """VUS-PR of each series and their mean, of every method; then AUROC, and what else there is of ours."""
    names = list(next(iter(figures.values()))[0])
    seeds = len(next(iter(figures.values())))
    lines = [f"{'VUS-PR, ' + str(seeds) + ' seeds':44}" + "".join(f"{name:>18}" for name in names)]
    for case, runs in figures.items():
        lines.append(f"{case[-42:]:44}" + "".join(f"{mean_of(runs, name, 'vus_pr'):18.3f}" for name in names))
    for figure in ("vus_pr", "auroc"):
        over = {
            name: [np.mean([runs[seed][name][figure] for runs in figures.values()]) for seed in range(seeds)]
            for name in names
        }
        title = f"mean {figure}, ± over seeds"
        lines.append(f"{title:44}" + "".join(f"{np.mean(v):10.3f} ± {np.std(v):.3f}" for v in over.values()))
    if corpus == "nab":
        lines += nab_lines(figures)
    if corpus == "ucr_anomaly":
        shares = {name: np.mean([mean_of(runs, name, "found") for runs in figures.values()]) for name in names}
        found = ", ".join(f"{name} {share:.0%}" for name, share in shares.items())
        lines.append(f"the highest score lies at the anomaly: {found}")
    spent = sum(mean_of(runs, OURS, "cpu seconds") for runs in figures.values())
    return [*lines, f"{spent:.0f} CPU seconds of ours a seed"]


def mean_of(runs: list[Figures], name: str, figure: str) -> float:
    """A figure's mean over seeds."""
    return float(np.mean([run[name][figure] for run in runs]))


def nab_lines(figures: dict[str, list[Figures]]) -> Iterator[str]:
    runs = [[cases[OURS] for cases in of_seed] for of_seed in zip(*figures.values(), strict=True)]  # seeds x files
    windows = sum(each["windows"] for each in runs[0])
    yield f"NAB standard score, {windows} windows, a flag within a window of the last one is the same alarm"
    for way in WAYS:
        own = [standard(sum(each[f"points, {way}"] for each in files), windows) for files in runs]
        yield f"  by {way}: {mean_spread(own)} at our threshold for {ALARM_RATE:g} false alarms"
        totals = [np.sum([each[f"points by limit, {way}"] for each in files], axis=0) for files in runs]
        best = [standard(float(total.max()), windows) for total in totals]
        yield f"  by {way}: {mean_spread(best)} at the one limit for all files that the labels like best, as published"


def standard(points: float, windows: int) -> float:
    """Points as NAB's standard score: 0 without a flag, 100 with each window found at its start."""
    return 50 * (points + windows) / windows


def ecg5000(seeds: int, fast: bool) -> tuple[dict[str, list[float]], list[str]]:
    """Abnormal heart beats: the default model, trained on the normal training beats, at a false-alarm rate of .05."""
    with np.load(data("ecg5000/ecg5000.npz"), allow_pickle=False) as file:
        train, test, odd = file["X_train"][file["y_train"] == 1], file["X_test"], file["y_test"] != 1
    figures: dict[str, list[float]] = {}
    for seed in range(seeds):
        model = AnomalyDetector(SeriesAutoencoder(seed=seed, **({"epochs": 2} if fast else {})), 0.05).fit(train).model_
        found = model.detect(test, reasons="none")
        baselines = fit_baselines(model, model.format.pack(train)).scores(found.packed.samples)
        scores = {OURS: found.rows.score} | baselines
        one = {f"AUROC {name}": float(roc_auc_score(odd, score)) for name, score in scores.items()}
        for name, value in (one | decisions(odd, found.is_anomaly)).items():
            figures.setdefault(name, []).append(value)
    lines = [f"ECG5000, {len(train)} training beats, {len(test)} test beats, {seeds} seeds, false-alarm rate .05"]
    return figures, lines + [f"  {name}: {mean_spread(values)}" for name, values in figures.items()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpora", nargs="*", help=", ".join([*CORPORA, "ecg5000"]))
    parser.add_argument("--seeds", type=int, help="default 3, 20 of ecg5000")
    parser.add_argument("--fast", action="store_true", help="2 epochs, 1 seed; nothing is kept")
    asked = parser.parse_args()
    for corpus in asked.corpora or [*CORPORA, "ecg5000"]:
        seeds = 1 if asked.fast else asked.seeds or (20 if corpus == "ecg5000" else 3)
        if corpus == "ecg5000":
            figures, lines = ecg5000(seeds, asked.fast)
        else:
            figures = {
                case.name: [judged(case, seed, corpus, asked.fast) for seed in range(seeds)]
                for case in CORPORA[corpus]()
            }
            lines = corpus_lines(corpus, figures)
        if asked.fast:
            print("\n".join(lines), flush=True)
        else:
            save(f"series_{corpus}", f"python benchmarks/series_accuracy.py {corpus} --seeds {seeds}", figures, lines)


if __name__ == "__main__":
    main()
