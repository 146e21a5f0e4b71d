"""How unlikely the latest scores of a series are, given those before them: an option of `detect`."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import final

import numpy as np

from hourglass.core.fitted import Calibration, Detection, FittedModel
from hourglass.data.series import SeriesFormat
from hourglass.data.windows import Windows
from hourglass.errors import UsageError

LONG, SHORT = 8_000, 10
"""Rows whose scores say what is usual, and the latest ones that are judged by them."""
_FLAT = 1e-9
"""A deviation below this is what rounding leaves of scores that are all alike."""
_SMALLEST = 1e-12


@final
class AnomalyLikelihood:
    """How far the mean score of the last 10 rows lies above that of the last 8,000, in deviations of these: z.

    Lavin and Ahmad 2015 (arXiv 1510.03336) report the likelihood 1 - Q(z), the normal distribution function of z; z
    orders rows as that does, and does not end at 1. A single high score in a noisy series is usual, several in a row
    are not; and what stays high becomes usual again. Memory is bounded by the 8,000 scores.
    """

    def __init__(self, before: np.ndarray, each: int = 1, errors: bool = False) -> None:
        """`before`: scores of usual rows in the order of time, at least one; what is usual at the start.

        `each`: rows that a score stands for. `errors`: scores are errors, above 0, and are compared by their
        logarithms: one that is a hundred times as large as usual would hide all others for 8,000 rows.
        """
        self._long, self._short, self._errors = max(LONG // each, 2), max(SHORT // each, 1), errors
        self._kept = self._scaled(before)[-self._long :]

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        """z of each of the next scores, in the order in which their rows came; all are remembered."""
        joined = np.concatenate([self._kept, self._scaled(scores)])
        first = len(self._kept)
        self._kept = joined[-self._long :]
        centred = joined - joined.mean()  # sums of squares of numbers far from 0 lose their digits
        usual, squares = (_means(each, self._long)[first:] for each in (centred, np.square(centred)))
        deviation = np.sqrt(np.maximum(squares - np.square(usual), _FLAT**2))
        return np.asarray((_means(centred, self._short)[first:] - usual) / deviation)

    def _scaled(self, scores: np.ndarray) -> np.ndarray:
        return np.log(np.maximum(scores, _SMALLEST)) if self._errors else scores


def _means(values: np.ndarray, length: int) -> np.ndarray:
    """Mean of each value and of those before it, `length` in all or as many as there are."""
    sums = np.append(0.0, np.cumsum(values))
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(ends - length, 0)
    return np.asarray((sums[ends] - sums[starts]) / (ends - starts))


@dataclass(frozen=True)
class Usual:
    """What is usual in a series when a file or a stream begins: the scores of the calibration, row by row."""

    scores: np.ndarray
    """In the order of time."""
    each: int
    """Rows that a score stands for: a stream that follows the calendar has one score a window."""
    block: int
    """Neighbouring likelihoods that say nearly the same."""
    model: FittedModel

    @classmethod
    def of(cls, model: FittedModel, averaged: bool) -> Usual:
        """`averaged`: rows have the mean over the windows that cover them, as in a file, not that of the last one."""
        form = model.format
        if not isinstance(form, SeriesFormat) or form.schema.whole:
            what = "the anomaly likelihood compares a score with those just before it, and needs rows in order of time"
            raise UsageError(what, where="anomaly_likelihood", how="leave it out, or fit a series that has windows")
        rule, known = form.rule, model.calibration.scores
        together = min(model.calibration.block, len(known)) if averaged else 1
        means = np.convolve(known, np.full(together, 1 / together), mode="valid")
        times, each = (rule.stride, 1) if averaged or rule.calendar is None else (1, rule.stride)
        block = (model.calibration.block - 1) * times + max(SHORT // each, 1)
        return cls(np.repeat(means, times), each, block, model)

    def likelihood(self) -> AnomalyLikelihood:
        """A new one, which has seen no other row."""
        return AnomalyLikelihood(self.scores, self.each, errors=len(self.model.scorers) == 1)

    def calibrated(self) -> FittedModel:
        """The model with the calibration's own likelihoods in the place of its scores: thresholds and p-values of z."""
        likelihoods = self.likelihood()(self.scores)
        calibration = Calibration(likelihoods, self.model.calibration.source, self.block)
        return dataclasses.replace(self.model, calibration=calibration)


def by_likelihood(
    model: FittedModel, found: Detection, rate: float | None = None, rule: str | None = None
) -> Detection:
    """What was found in a series, its rows' scores replaced by their likelihoods z, and judged by these."""
    usual = Usual.of(model, averaged=True)
    judge = usual.calibrated()
    places = found.packed.places if found.packed is not None else None
    if not isinstance(places, Windows):
        raise UsageError("the rows are no steps of a series", where="anomaly_likelihood", how="leave it out")
    likelihood = np.zeros(len(found.rows.score))
    series = places.slots // places.length
    for each in np.unique(series):
        rows = np.flatnonzero((series == each) & found.rows.covered)
        rows = rows[np.argsort(places.slots[rows], kind="stable")]
        likelihood[rows] = usual.likelihood()(found.rows.score[rows])
    limit = judge.threshold(rate, rule)
    return dataclasses.replace(
        found,
        rows=dataclasses.replace(found.rows, score=likelihood),
        p_value=judge.p_values(likelihood),
        is_anomaly=(likelihood > limit.value) & found.rows.covered,
        threshold=limit,
    )
