"""The first three systems: odd days, abnormal heart beats, anomalies in a table."""

from __future__ import annotations

import numpy as np
from accuracy import one_class
from common import data
from days import taxi, temperatures
from sklearn.metrics import roc_auc_score

from hourglass import AnomalyDetector, SeriesAutoencoder, TableAutoencoder
from hourglass.estimators.baselines import Baselines
from hourglass.estimators.evaluation import evaluate
from measures import Measure


def daily_profile(fast: bool) -> Measure:
    """Labelled windows of nyc_taxi that the recipe finds, and days that it names in a year of temperatures."""
    parameters = {"recipe": "daily-profile", **({"epochs": 5} if fast else {})}
    _, hit, pca = taxi(parameters, 0)
    named = temperatures(parameters, 0)
    line = (
        f"nyc_taxi: {hit} of 5 labelled windows among its 12 oddest days (PCA-10: {pca[10]}); "
        f"a year of temperatures: {', '.join(named) or 'no day'} named"
    )
    return Measure((1,), "daily-profile", line, values={"windows": hit, "days": len(named)})


def heart_beats(fast: bool) -> Measure:
    """The recipe `ecg` on the official split, normal training beats only, a false-alarm rate of .05."""
    with np.load(data("ecg5000/ecg5000.npz"), allow_pickle=False) as file:
        train, test, odd = file["X_train"][file["y_train"] == 1], file["X_test"], file["y_test"] != 1
    autoencoder = SeriesAutoencoder(recipe="ecg", **({"epochs": 5} if fast else {}))
    detector = AnomalyDetector(autoencoder, false_alarm_rate=0.05).fit(train)
    found = evaluate(detector.model_, test, odd)
    packed = detector.model_.format.pack
    rivals = Baselines.fit(packed(train).samples, 16, 0).scores(packed(test).samples)
    pca, forest = (float(roc_auc_score(odd, rivals[name])) for name in ("pca", "isolation forest"))
    figures = {name: found[name] for name in ("auroc", "accuracy", "precision", "recall")}
    words = ", ".join(f"{name} {value:.3f}" for name, value in figures.items())
    line = f"ECG5000: {words} (AUROC of PCA-16 {pca:.3f}, isolation forest {forest:.3f})"
    reached = figures["auroc"] >= 0.99 and figures["accuracy"] >= 0.96
    return Measure((2,), "ecg", line, "AUROC .99, accuracy .96", reached, {**figures, "pca": pca, "forest": forest})


def compact(fast: bool) -> Measure:
    """The recipe `compact` on heart-rate recordings (cardio), half of the normal rows to learn from."""
    with np.load(data("adbench/6_cardio.npz"), allow_pickle=False) as file:
        train, test, odd = one_class(file["X"], file["y"] == 1, 0)
    model = AnomalyDetector(TableAutoencoder(recipe="compact", **({"epochs": 5} if fast else {}))).fit(train).model_
    packed = model.format.pack
    own = float(roc_auc_score(odd, model.score(packed(test))))
    rivals = Baselines.fit(packed(train).samples, 8, 0).scores(packed(test).samples)
    pca, forest = (float(roc_auc_score(odd, rivals[name])) for name in ("pca", "isolation forest"))
    line = f"cardio: AUROC {own:.3f} (PCA-8 {pca:.3f}, isolation forest {forest:.3f})"
    return Measure((3,), "compact", line, values={"auroc": own, "pca": pca, "forest": forest})


MEASURES = {"daily-profile": daily_profile, "ecg": heart_beats, "compact": compact}
