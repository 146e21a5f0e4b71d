"""Any autoencoder as an anomaly detector: a wrapper, so that every modality and kind can be one."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.utils.validation import check_is_fitted

from hourglass.core.anomaly_likelihood import by_likelihood
from hourglass.core.fitted import DETECTOR, Detection, FittedModel, Reason
from hourglass.core.fitting import fit_model
from hourglass.core.training import Report
from hourglass.core.watching import Watch
from hourglass.errors import UsageError
from hourglass.estimators.base import BaseAutoencoder
from hourglass.estimators.inputs import as_data
from hourglass.estimators.modalities import MODALITIES
from hourglass.estimators.streaming import Stream
from hourglass.estimators.wrapping import Wrapper


class AnomalyDetector(Wrapper, OutlierMixin, BaseEstimator):
    """Finds the rows that an autoencoder, fitted to normal data, does not expect; says why, in the data's own units.

    Signs are scikit-learn's: `score_samples` and `decision_function` are high where a row is normal, `predict` is +1
    for normal
    and -1 for odd. The threshold comes from scores of rows that the network was not trained on (split conformal), so
    that
    about `false_alarm_rate` of new normal rows are flagged.

    Parameters
    ----------
    autoencoder : an unfitted `TableAutoencoder` or `SeriesAutoencoder`; default `TableAutoencoder()`.
    false_alarm_rate : share of normal rows that may be flagged; default 0.01. It and `threshold` stand before what the
        autoencoder's own `detection` says.
    threshold : "conformal", "quantile", "mad" or "peaks-over-threshold" (for rates below 1 / rows); default
        "conformal".

    Examples
    --------
    >>> import numpy as np
    >>> from hourglass import TableAutoencoder
    >>> X = np.random.default_rng(0).normal(size=(300, 2)) @ np.ones((2, 6))
    >>> detector = AnomalyDetector(TableAutoencoder(kind="plain", latent=1, epochs=60)).fit(X)
    >>> detector.predict([[1, 1, 1, 1, 1, 1], [9, -9, 9, -9, 9, -9]])
    array([ 1, -1])
    """

    task = DETECTOR

    def __init__(
        self, autoencoder: BaseAutoencoder | None = None, false_alarm_rate: float = 0.01, threshold: str = "conformal"
    ) -> None:
        self.autoencoder, self.false_alarm_rate, self.threshold = autoencoder, false_alarm_rate, threshold

    def fit(self, X: Any, y: Any = None, *, report: Report | None = None) -> Self:
        """Train on `X` and calibrate the threshold. `y` is ignored; `report` is called after each epoch."""
        autoencoder = self._unfitted()
        autoencoder.set_params(detection__false_alarm_rate=self.false_alarm_rate, detection__threshold=self.threshold)
        plan = autoencoder.plan()
        data = as_data(self, X, fitting=True, modality=plan.modality)
        return self._adopt(fit_model(data, plan, calibrate=plan.modality != "audio", report=report))

    def score_samples(self, X: Any) -> np.ndarray:
        """Minus the anomaly score of each row (of each step, for a series that was cut into windows): high = normal."""
        check_is_fitted(self)
        return -self.model_.detect(self._data(X), reasons="none").rows.score

    def decision_function(self, X: Any) -> np.ndarray:
        """`score_samples` minus `offset_`: below 0 where a row is an anomaly."""
        return self.score_samples(X) - self.offset_

    def predict(self, X: Any) -> np.ndarray:
        """+1 for normal rows, -1 for anomalies."""
        return np.where(self.decision_function(X) < 0, -1, 1)

    def detect(
        self,
        X: Any,
        false_discovery_rate: float | None = None,
        reasons: str = "flagged",
        anomaly_likelihood: bool = False,
    ) -> Detection:
        """Scores, p-values, flags and reasons of all rows at once.

        With a `false_discovery_rate` the flags depend on all rows: of the flagged ones, a share of at most so much is
        expected to be normal (Benjamini-Hochberg). `predict` judges each row by itself.
        `anomaly_likelihood`, for series: not a score itself is judged, but how far the mean of the last 10 lies above
        that of the last 8,000 (see `AnomalyLikelihood`).
        """
        check_is_fitted(self)
        if anomaly_likelihood and false_discovery_rate is not None:
            how = "leave one of them out"
            raise UsageError("p-values of running means are not those of rows", where="false_discovery_rate", how=how)
        found = self.model_.detect(self._data(X), reasons=reasons, false_discovery_rate=false_discovery_rate)
        return by_likelihood(self.model_, found) if anomaly_likelihood else found

    def p_values(self, X: Any) -> np.ndarray:
        """For each row, the share of normal rows that would score as high (conformal)."""
        check_is_fitted(self)
        return self.model_.detect(self._data(X), reasons="none").p_value

    def stream(self, adapt: bool = False, anomaly_likelihood: bool = False) -> Stream:
        """A new stream: its `score_one(row)` judges one row after another, in bounded memory.

        A row of a table gets the score of `score_samples`, with the sign of an anomaly score. A row of a series is the
        next step, judged by the window that ends there; until that is whole there is no score. `adapt`: scores that
        slowly rise altogether do not become a flood of alarms. `anomaly_likelihood`: see `detect`.
        """
        check_is_fitted(self)
        return Stream(Watch(self.model_, adapt=adapt, anomaly_likelihood=anomaly_likelihood))

    def explain(self, X: Any, most: int = 5) -> list[list[Reason]]:
        """For each sample (row or window), its `most` telling cells: value, expectation in units, share of error."""
        check_is_fitted(self)
        data = self._data(X)
        packed = self.model_.format.pack(data)
        return self.model_.explain_rows(data, packed, np.arange(len(packed.samples)), most)

    @classmethod
    def _of(cls, model: FittedModel, where: str) -> Self:
        settings = model.experiment.detection
        autoencoder = MODALITIES[model.experiment.modality].from_experiment(model.experiment)
        return cls(autoencoder, settings.false_alarm_rate, settings.threshold)._adopt(model)

    @property
    def offset_(self) -> float:
        """Minus the threshold: `decision_function` is `score_samples` minus this."""
        return -self.model_.threshold().value

    def _data(self, X: Any) -> Any:
        return as_data(self, X, fitting=False, modality=self.model_.experiment.modality)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags
