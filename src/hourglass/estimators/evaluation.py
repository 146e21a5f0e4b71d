"""How well a model finds known anomalies, beside what PCA and an isolation forest find on the same split."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score

from hourglass.core.fitted import FittedModel
from hourglass.data.formats import Data
from hourglass.data.samples import Packed, unique_notices
from hourglass.errors import DataError
from hourglass.estimators.baselines import Baselines


def evaluate(
    model: FittedModel, data: Data, labels: np.ndarray, *, train: Data | None = None, rate: float | None = None
) -> dict[str, Any]:
    """Judge the model's flags and scores on rows whose truth is known: `labels` (rows,), True = anomaly.

    `rate` is the false-alarm rate of the threshold (default: as fitted). The baselines are fitted on `train`, or,
    without it, on the evaluated rows themselves. A figure that the labels leave undefined is None, with a notice.
    """
    found = model.detect(data, rate=rate, reasons="none")
    labels = checked_labels(labels, len(found.rows.score))
    packed = found.packed if found.packed is not None else model.format.pack(data)
    result = ranking(labels, found.rows.score) | decisions(labels, found.is_anomaly)
    missing = [f"{name} is undefined: {_WHY[name]}" for name, value in result.items() if value is None]
    baselines = fit_baselines(model, packed if train is None else model.format.pack(train))
    rivals = row_scores(model, baselines, packed)
    return result | {
        "threshold": found.threshold.value,
        "rows": len(labels),
        "anomalies": int(labels.sum()),
        "baselines": {name: ranking(labels, score) for name, score in rivals.items()}
        | {"fitted_on": "evaluated rows" if train is None else "training rows"},
        "notices": unique_notices(filter(None, [*packed.notices, found.threshold.notice, *missing])),
    }


_ONE_CLASS = "it needs both normal rows and anomalies"
_WHY = {
    "auroc": _ONE_CLASS,
    "average_precision": _ONE_CLASS,
    "precision": "no row was flagged",
    "recall": "no row is an anomaly",
    "f1": "no row is an anomaly, and none was flagged",
    "false_alarm_rate": "no row is normal",
    "accuracy": "there are no rows",
}


def checked_labels(labels: np.ndarray, count: int) -> np.ndarray:
    """The labels as booleans, one for each of `count` rows."""
    labels = np.asarray(labels)
    if labels.shape != (count,) or labels.dtype.kind not in "bui" or not np.isin(labels, (0, 1)).all():
        raise DataError(
            f"got labels of {labels.dtype} and shape {labels.shape}, wanted {count:,} that are true or false",
            where="labels",
            how="give one for each row, True where it is an anomaly",
        )
    return labels.astype(bool)


def ranking(labels: np.ndarray, score: np.ndarray) -> dict[str, float | None]:
    """How well scores, high = odd, put the anomalies first; None where all rows are of one class.

    >>> ranking(np.array([False, True, False, True]), np.array([1.0, 2.0, 3.0, 4.0]))["auroc"]
    0.75
    """
    if labels.all() or not labels.any():
        return {"auroc": None, "average_precision": None}
    return {
        "auroc": float(roc_auc_score(labels, score)),
        "average_precision": float(average_precision_score(labels, score)),
    }


def decisions(labels: np.ndarray, flagged: np.ndarray) -> dict[str, float | None]:
    """How good the flags are, from the counts of hits, false alarms, misses and rows rightly passed.

    >>> decisions(np.array([True, True, False, False]), np.array([True, False, True, False]))["precision"]
    0.5
    """
    hits, false_alarms = int((flagged & labels).sum()), int((flagged & ~labels).sum())
    misses, passed = int((~flagged & labels).sum()), int((~flagged & ~labels).sum())
    return {
        "accuracy": _share(hits + passed, len(labels)),
        "precision": _share(hits, hits + false_alarms),
        "recall": _share(hits, hits + misses),
        "f1": _share(2 * hits, 2 * hits + false_alarms + misses),
        "false_alarm_rate": _share(false_alarms, false_alarms + passed),
    }


def fit_baselines(model: FittedModel, packed: Packed) -> Baselines:
    """The baselines of a model: PCA with a code as long as the model's own."""
    return Baselines.fit(packed.samples, model.latent_size, model.experiment.training.seed)


def row_scores(model: FittedModel, baselines: Baselines, packed: Packed) -> dict[str, np.ndarray]:
    """The baselines' scores of samples, carried back to the input rows as the model's own are."""
    scores = baselines.scores(packed.samples)
    return {name: model.format.rows(score, packed.places).score for name, score in scores.items()}


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
