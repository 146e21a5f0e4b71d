"""Rows judged as they come, in bounded memory: those of a table each by itself, those of a series by their past."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from hourglass.core.adaptation import Adaptation
from hourglass.core.anomaly_likelihood import AnomalyLikelihood, Usual
from hourglass.core.fitted import FittedModel, Reason
from hourglass.data.formats import Data
from hourglass.data.rolling import Rolling
from hourglass.data.samples import Packed
from hourglass.data.series import SeriesFormat
from hourglass.errors import UsageError

_RECENT, _RECENT_WINDOWS = 1_000, 20
"""Rows that are remembered of what is usual, and windows, since those that overlap say nearly the same."""


@dataclass(frozen=True)
class Verdicts:
    """What is to be said of new rows: one entry for each that was judged."""

    rows: np.ndarray
    """Their positions among the new ones; of a series, those at which a window ends."""
    score: np.ndarray
    p_value: np.ndarray
    is_anomaly: np.ndarray
    packed: Packed
    data: Data


@final
class Watch:
    """Judges rows one by one or in blocks, as they come: the verdicts are the same.

    A row of a table, or of a series whose rows are windows, gets the score that `detect` gives it. A step of another
    series gets the score of the window that ends there, which the calibration scores, those of windows, are right for:
    `detect` has later steps too, and takes the mean over all windows that cover it. `adapt`: see `Adaptation`;
    `anomaly_likelihood`: see `AnomalyLikelihood`, whose z then is the score.
    """

    def __init__(
        self,
        model: FittedModel,
        rate: float | None = None,
        rule: str | None = None,
        adapt: bool = False,
        anomaly_likelihood: bool = False,
    ) -> None:
        if (modality := model.experiment.modality) not in ("table", "series"):
            what = f"the model is for the modality {modality}, wanted a table or a series"
            raise UsageError(what, where="stream", how="rows come one by one, pictures and recordings in files")
        if adapt and anomaly_likelihood:
            what = "a drift and the anomaly likelihood both follow what is usual"
            raise UsageError(what, where="stream", how="leave one of them out")
        self.model = self._calibrated = model
        self._likelihood: AnomalyLikelihood | None = None
        if anomaly_likelihood:
            usual = Usual.of(model, averaged=False)
            self._calibrated, self._likelihood = usual.calibrated(), usual.likelihood()
        self.threshold = self._calibrated.threshold(rate, rule)
        rolls = isinstance(model.format, SeriesFormat) and not model.format.schema.whole
        self._rolling = Rolling(model.format) if rolls and isinstance(model.format, SeriesFormat) else None
        size = max(_RECENT, _RECENT_WINDOWS * model.format.layout.shape[0]) if rolls else _RECENT
        self._adaptation = Adaptation(model.calibration.scores, self.threshold.value, size) if adapt else None

    @property
    def counts_steps(self) -> bool:
        """Whether each row is the next step of a series, whose time is not known."""
        return self._rolling is not None and self._rolling.form.sampling is None

    @property
    def notices(self) -> list[str]:
        """What is to be known of the verdicts."""
        return [*filter(None, [self.threshold.notice]), *([] if self._rolling is None else self._rolling.notices)]

    def see(self, data: Data) -> Verdicts:
        """Judge the next rows; nothing is taken in where an error is raised."""
        packed, rows = self._samples(data)
        score = self.model.format.rows(self.model.score(packed), None).score if len(rows) else np.empty(0)
        score = score if self._likelihood is None else self._likelihood(score)
        usual = score if self._adaptation is None else self._adaptation(score)
        return Verdicts(rows, score, self._calibrated.p_values(usual), usual > self.threshold.value, packed, data)

    def _samples(self, data: Data) -> tuple[Packed, np.ndarray]:
        if self._rolling is None:
            packed = self.model.format.pack(data)
            return packed, np.arange(len(packed.samples))
        ended = self._rolling.feed(data)
        return Packed(ended.samples, ordered=True), ended.rows

    def explain(self, seen: Verdicts, chosen: np.ndarray, most: int = 5) -> list[list[Reason]]:
        """For each of the chosen verdicts, the most telling cells of its row or window."""
        return self.model.explain_rows(seen.data, seen.packed, chosen, most)
