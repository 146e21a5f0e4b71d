"""How well a model finds known anomalies, beside what PCA and an isolation forest find on the same split."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score

from hourglass.core.fitted import FittedModel
from hourglass.data.formats import Data
from hourglass.data.samples import Packed, unique_notices
from hourglass.data.windows import Windows
from hourglass.errors import DataError
from hourglass.estimators.baselines import Baselines
from hourglass.estimators.metrics.affiliation import affiliation
from hourglass.estimators.metrics.nab import nab_score, oracle_nab_score
from hourglass.estimators.metrics.oracles import oracle_f1
from hourglass.estimators.metrics.ranges import point_adjusted_f1, range_figures
from hourglass.estimators.metrics.volumes import volumes


def evaluate(
    model: FittedModel,
    data: Data,
    labels: np.ndarray,
    *,
    train: Data | None = None,
    rate: float | None = None,
    oracle: bool = False,
) -> dict[str, Any]:
    """Judge the model's flags and scores on rows whose truth is known: `labels` (rows,), True = anomaly.

    `rate` is the false-alarm rate of the threshold (default: as fitted). The baselines are fitted on `train`, or,
    without it, on the evaluated rows themselves. A figure that the labels leave undefined is None, with a notice.
    A series that was cut into windows gets the figures of ranges too. `oracle` adds, under that name, figures that
    the labels themselves had a hand in.
    """
    found = model.detect(data, rate=rate, reasons="none")
    labels = checked_labels(labels, len(found.rows.score))
    packed = found.packed if found.packed is not None else model.format.pack(data)
    score, timeline = found.rows.score, Timeline.of(packed)
    result = ranking(labels, score) | decisions(labels, found.is_anomaly)
    along = {} if timeline is None else timeline.figures(labels, score, found.is_anomaly)
    missing = [f"{name} is undefined: {_WHY[name]}" for name, value in (result | along).items() if value is None]
    baselines = fit_baselines(model, packed if train is None else model.format.pack(train))
    rivals = row_scores(model, baselines, packed)
    return result | {
        "threshold": found.threshold.value,
        **along,
        "rows": len(labels),
        "anomalies": int(labels.sum()),
        **({"oracle": oracle_figures(labels, score, found.is_anomaly, timeline)} if oracle else {}),
        "baselines": {name: all_rankings(labels, score, timeline) for name, score in rivals.items()}
        | {"fitted_on": "evaluated rows" if train is None else "training rows"},
        "notices": unique_notices(filter(None, [*packed.notices, found.threshold.notice, *missing])),
    }


@dataclass(frozen=True)
class Timeline:
    """The order in which the rows of one series follow each other, and how far a flag may lie beside a range."""

    order: np.ndarray
    window: int
    """Steps of a window: the longest buffer of the volumes."""

    @classmethod
    def of(cls, packed: Packed) -> Timeline | None:
        """None where rows are not the steps of one series: ranges would reach from one series into the next."""
        places = packed.places
        if not isinstance(places, Windows) or places.total != places.length:
            return None
        return cls(np.argsort(places.slots, kind="stable"), places.steps)

    def figures(self, labels: np.ndarray, score: np.ndarray, flagged: np.ndarray) -> dict[str, float | None]:
        """What scores and flags of the rows, in the order that they were given in, are worth for whole ranges."""
        labels, flagged = labels[self.order], flagged[self.order]
        return {
            **self.volumes(labels, score[self.order]),
            **range_figures(labels, flagged),
            **affiliation(labels, flagged),
            "nab_score": nab_score(labels, flagged),
        }

    def volumes(self, labels: np.ndarray, score: np.ndarray) -> dict[str, float | None]:
        """VUS of steps in time order, with buffers of up to a window."""
        return volumes(labels, score, self.window)


def all_rankings(labels: np.ndarray, score: np.ndarray, timeline: Timeline | None) -> dict[str, float | None]:
    """`ranking`, and the volumes where the rows are the steps of a series."""
    order = slice(None) if timeline is None else timeline.order
    return ranking(labels, score) | ({} if timeline is None else timeline.volumes(labels[order], score[order]))


def oracle_figures(
    labels: np.ndarray, score: np.ndarray, flagged: np.ndarray, timeline: Timeline | None
) -> dict[str, float | None]:
    """Figures at the thresholds that the labels like best, and with flags that the labels have spread out."""
    best = {"oracle_f1": oracle_f1(labels, score)}
    if timeline is None:
        return best
    labels, score, flagged = (rows[timeline.order] for rows in (labels, score, flagged))
    adjusted = point_adjusted_f1(labels, flagged)
    return best | {"oracle_nab_score": oracle_nab_score(labels, score), "point_adjusted_f1": adjusted}


_ONE_CLASS = "it needs both normal rows and anomalies"
_NO_ANOMALY = "no row is an anomaly"
_WHY = {
    "auroc": _ONE_CLASS,
    "average_precision": _ONE_CLASS,
    "vus_roc": _ONE_CLASS,
    "vus_pr": _ONE_CLASS,
    "range_precision": "no row was flagged",
    "affiliation_precision": "no row was flagged, or is an anomaly",
    **dict.fromkeys(("range_recall", "range_f1", "event_recall", "event_f1"), _NO_ANOMALY),
    **dict.fromkeys(("affiliation_recall", "affiliation_f1"), _NO_ANOMALY),
    "nab_score": "no row is an anomaly after the first 15 %, where a detector may still learn",
    "precision": "no row was flagged",
    "recall": _NO_ANOMALY,
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
