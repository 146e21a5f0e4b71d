"""ECG5000: abnormal beats found by the recipe `ecg`, trained on the 292 normal training beats only.

Threshold: conformal at a false-alarm rate of .05 from out-of-fold scores of those beats. Positive = abnormal.
Beside it: PCA of the same size and an isolation forest on the same beats.
"""

from __future__ import annotations

import numpy as np
from common import data, mean_spread, save
from sklearn.metrics import roc_auc_score

from hourglass import AnomalyDetector, SeriesAutoencoder
from hourglass.estimators.baselines import Baselines
from hourglass.estimators.evaluation import evaluate

SEEDS = range(5)
RATE = 0.05


def main() -> None:
    with np.load(data("ecg5000/ecg5000.npz"), allow_pickle=False) as file:
        train, test, odd = file["X_train"][file["y_train"] == 1], file["X_test"], file["y_test"] != 1
    rows = []
    for seed in SEEDS:
        detector = AnomalyDetector(SeriesAutoencoder(recipe="ecg", seed=seed), false_alarm_rate=RATE).fit(train)
        rows.append(evaluate(detector.model_, test, odd))
        packed = detector.model_.format.pack
        baselines = Baselines.fit(packed(train).samples, 16, seed).scores(packed(test).samples)
        rows[-1] |= {name: roc_auc_score(odd, score) for name, score in baselines.items()}
    names = ("auroc", "accuracy", "precision", "recall", "f1", "false_alarm_rate", "pca", "isolation forest")
    figures = {name: [float(row[name]) for row in rows] for name in names}
    lines = [f"ECG5000, {len(train)} training beats, {len(test)} test beats, {len(rows)} seeds, rate {RATE}"]
    lines += [f"  {name}: {mean_spread(values)}" for name, values in figures.items()]
    save("ecg", "python benchmarks/ecg.py", figures, lines)


if __name__ == "__main__":
    main()
