"""A fitted model: format + network + scorers + calibration, and every verb on it. Knows no scikit-learn."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hourglass.core.chunks import MOST_ROWS, in_chunks
from hourglass.core.heads import Classes, Head
from hourglass.core.kinds import Experiment
from hourglass.core.latent_space import between
from hourglass.core.model import Autoencoder
from hourglass.core.priors import FittedPrior, Prior, check_prior, fit_prior
from hourglass.core.scores import CellScorer, Combination, ErrorScorer, MaskedCellScorer, Scorer, bounded, raw_scores
from hourglass.core.thresholds import Threshold, check_discovery_rate, conformal_p_values, discoveries, drift, threshold
from hourglass.core.training import History
from hourglass.data.filling import filled
from hourglass.data.formats import Data, Format, Result, Rows
from hourglass.data.samples import Frame, Packed, recut
from hourglass.errors import DataError, SchemaError, UsageError

AUTOENCODER, DETECTOR = "autoencoder", "detector"
"""What a model was fitted to be: the estimator that its file is read back into."""
HELD_OUT, OUT_OF_FOLD, TRAINING = CALIBRATED_ON = ("held-out rows", "out-of-fold scores", "training rows")

_ENOUGH_FOR_DRIFT = 200
"""Rows from which on it is asked whether they are unlike those of the calibration."""
_EXPLAINED = 4_096
"""Samples explained at a time: each of their cells is a Python object meanwhile."""


@dataclass(frozen=True)
class Reason:
    """One cell's part in a sample's anomaly score."""

    cell: str
    value: Any
    """As the user wrote it; None where missing."""
    expected: Any
    share: float
    """The cell's part of the sample's whole error, from 0 to 1."""


@dataclass(frozen=True)
class Calibration:
    """Anomaly scores of normal samples, against which a new score is judged."""

    scores: np.ndarray
    source: str
    """One of "held-out rows", "out-of-fold scores", "training rows"."""
    block: int = 1
    """Neighbouring scores that say nearly the same, as those of overlapping windows do; 1 where each is for itself."""


@dataclass(frozen=True)
class Detection:
    """What was found, one entry for each input row."""

    rows: Rows
    p_value: np.ndarray
    is_anomaly: np.ndarray
    threshold: Threshold
    reasons: dict[int, list[Reason]] = field(default_factory=dict)
    """Reasons by input row, most telling first; only for the rows they were asked for."""
    samples: np.ndarray = field(default_factory=lambda: np.empty(0))
    """Anomaly score of each sample (of each window, for a series)."""
    packed: Packed | None = None
    drift: str = ""
    """One sentence where the rows are unlike those that set the threshold."""


@dataclass
class FittedModel:
    """One trained network with all that it needs to serve: every verb works on every model."""

    experiment: Experiment
    format: Format
    network: Autoencoder
    scorers: list[Scorer]
    combination: Combination
    calibration: Calibration
    history: History
    card: dict[str, Any] = field(default_factory=dict)
    """What is worth knowing later: rows, data hash, versions, label column."""
    prior: FittedPrior | None = None
    """Where new codes come from; None in models saved before priors were."""
    head: Head | None = None
    """What it learned from labels, where it was fine-tuned."""

    def __repr__(self) -> str:
        return f"FittedModel({self.experiment.modality}, {self.experiment.kind}, {self.latent_size} numbers a code)"

    def encode(self, data: Data) -> np.ndarray:
        """Codes of the samples, float32, shape (n, latent)."""
        return self.encode_samples(self.format.pack(data).samples)

    def encode_samples(self, samples: np.ndarray) -> np.ndarray:
        """Codes of packed samples, float32, shape (n, latent)."""
        return self._run(self.network.encode, samples)

    def decode(self, codes: np.ndarray) -> Result:
        """Samples made from codes (n, latent), in the data's own units."""
        codes = np.asarray(codes, dtype=np.float32)
        if codes.ndim != 2 or codes.shape[1] != self.latent_size:
            raise SchemaError(
                f"got codes of shape {codes.shape}, wanted (rows, {self.latent_size})",
                where="decode",
                how="give codes that `encode` of this model made",
            )
        if not np.isfinite(codes).all():
            how = "give codes that `encode` of this model made"
            raise SchemaError("codes must be finite, got NaN or infinity", where="decode", how=how)
        return self.format.unpack(self._run(self.network.decode, codes))

    def reconstruct(self, data: Data) -> Result:
        """The data given back through the bottleneck, in their own form and units."""
        return self.reconstruct_packed(self.format.pack(data))

    def reconstruct_packed(self, packed: Packed) -> Result:
        """Packed samples given back through the bottleneck, in the form and units of the data they come from."""
        return self.format.unpack(self._run(self.network.reconstruct, packed.samples), packed.places)

    def fill_missing(self, data: Data) -> Result:
        """The rows of a table with what the model makes of their missing cells, and nothing else changed."""
        return filled(data, self.reconstruct(data))

    def predict(self, data: Data) -> np.ndarray:
        """What the head makes of each sample: its likeliest class, or its quantities. Shape (n,) or (n, k)."""
        return self.the_head().meaning.predictions(self.head_outputs(self.format.pack(data).samples))

    def probabilities(self, data: Data) -> np.ndarray:
        """Probability of each class, float64, shape (n, classes), in the order of the head's labels."""
        meaning = self.the_head().meaning
        if not isinstance(meaning, Classes):
            raise UsageError("the model predicts quantities, not classes", where="probabilities", how="call predict")
        return meaning.probabilities(self.head_outputs(self.format.pack(data).samples))

    def head_outputs(self, samples: np.ndarray) -> np.ndarray:
        """The head's outputs for packed samples, float64, shape (n, outputs)."""
        head = self.the_head()
        return self._run(lambda x: head.outputs(self.network, x), samples).astype(np.float64)

    def the_head(self) -> Head:
        """What it learned from labels; `UsageError` where it did not."""
        if self.head is None:
            how = "teach it labels first: hourglass finetune MODEL DATA --label COLUMN -o TUNED"
            raise UsageError("the model has not learned from labels", where="predict", how=how)
        return self.head

    def generate(self, count: int, seed: int = 0) -> Result:
        """`count` new samples in the data's own units: what the decoder makes of codes drawn from the prior."""
        if count < 1:
            raise UsageError(f"got {count} samples to make, wanted at least 1", where="generate", how="ask for more")
        return self._made_of(self._the_prior().draw(count, seed))

    def interpolate(self, data: Data, steps: int = 8) -> Result:
        """`steps` samples on the way from each sample of `data` to the next one, both reconstructed ends included.

        Where training pulled codes to N(0, I) the way is an arc, else a straight line through the codes.
        """
        codes = self.encode(data)
        if len(codes) < 2 or steps < 2:
            what = f"got {len(codes)} samples and {steps} steps, wanted at least 2 of each"
            raise UsageError(what, where="interpolate", how="a way leads from one sample to another")
        path = between(torch.from_numpy(codes), steps, self.experiment.standard_codes)
        return self._made_of(path.numpy())

    def latent_plane(self, side: int = 16) -> Result:
        """`side` x `side` samples over the plane of codes, row by row: of its two numbers, or its leading directions.

        The grid lines are at evenly spaced quantiles of the prior.
        """
        if side < 1 or self.latent_size < 2:
            what = f"got a side of {side} and codes of {self.latent_size} numbers, wanted at least 1 and 2"
            raise UsageError(what, where="latent_plane", how="fit with --latent 2")
        return self._made_of(self._the_prior().plane(side))

    def code_log_density(self, data: Data) -> np.ndarray:
        """Log density of each sample's code under the prior, in nats, float64: how usual the code is."""
        return self._the_prior().log_density(self.encode(data))

    def with_prior(self, prior: Prior, data: Data) -> FittedModel:
        """The same model with another prior, fitted to the codes of `data`."""
        plan = self.experiment.replace(prior=prior)
        check_prior(prior, plan.bottleneck)
        samples = self.format.pack(data).samples
        fitted = fit_prior(prior, self.network, samples, plan.standard_codes, plan.training.seed)
        return dataclasses.replace(self, experiment=plan, prior=fitted)

    def _the_prior(self) -> FittedPrior:
        if self.prior is None:
            how = "give the data again: --prior normal --data FILE, or with_prior(Normal(), data)"
            raise UsageError("the model was saved without a prior to draw codes from", where="prior", how=how)
        return self.prior

    def _made_of(self, codes: np.ndarray) -> Result:
        """What the decoder makes of codes, of the nearest ones that the bottleneck could have let through."""
        project = getattr(self.network.bottleneck, "project", None)
        return self.decode(codes if project is None else self._run(project, codes))

    def score(self, packed: Packed) -> np.ndarray:
        """Anomaly score of each sample, high = odd, float64, shape (n,)."""
        return self.combination(raw_scores(self.network, self.scorers, packed.samples))

    def threshold(self, rate: float | None = None, rule: str | None = None) -> Threshold:
        """The score above which a row is an anomaly, for a false-alarm rate (default: as fitted)."""
        settings = self.experiment.detection
        rate = settings.false_alarm_rate if rate is None else rate
        return threshold(self.calibration.scores, rate, rule or settings.threshold, self.calibration.block)

    def p_values(self, scores: np.ndarray) -> np.ndarray:
        """For each anomaly score, the share of normal rows that would score as high (conformal)."""
        return conformal_p_values(self.calibration.scores, scores, self.calibration.block)

    def detect(
        self,
        data: Data,
        rate: float | None = None,
        rule: str | None = None,
        reasons: str = "flagged",
        own: bool = False,
        false_discovery_rate: float | None = None,
    ) -> Detection:
        """Anomaly score, p-value and flag of every input row; reasons for the flagged ones (or "all", or "none").

        `false_discovery_rate`: instead of by a rate and a rule, flag as many rows as leave the expected share of normal
        ones among the flagged at most this.
        `own`: the data are those that the model was fitted on. Where all of them were scored out of fold, those scores
        are taken, so that no row is judged by a network that has seen it.
        """
        packed = self.format.pack(data)
        known = self.calibration.scores
        unseen = own and self.calibration.source == OUT_OF_FOLD and len(known) == packed.row_count
        samples = known if unseen and packed.groups is None else self.score(packed)
        judge = self._ranking_each() if unseen else self
        found = judge._judged(samples, packed, rate, rule, unseen, false_discovery_rate)
        if packed.rows_are_samples and reasons != "none":
            flagged = found.is_anomaly
            chosen = np.flatnonzero(flagged) if reasons == "flagged" else np.arange(len(flagged))
            found.reasons.update(zip(chosen.tolist(), self.explain_rows(data, packed, chosen), strict=True))
        return found

    def detect_blocks(
        self,
        blocks: Iterable[Frame],
        rate: float | None = None,
        rule: str | None = None,
        reasons: str = "flagged",
        false_discovery_rate: float | None = None,
    ) -> Detection:
        """`detect` of a table that comes in blocks of rows, of which only scores and the flagged rows are kept.

        Reasons for the flagged rows, or "none". `DataError` where blocks say different things, so that the whole table
        would say something else.
        """
        limit = self._lowest_limit(rate, rule, false_discovery_rate).value
        scores, samples, rows, notices = [], [], [], []
        # a row's place in its chunk has a part in how it is rounded: the chunks must be those of the whole table
        for block in recut(blocks, MOST_ROWS):
            packed = self.format.pack(block)
            scores.append(self.score(packed))
            chosen = np.flatnonzero(scores[-1] > limit)
            samples.append(packed.samples[chosen])
            rows.append(block.at(chosen))
            notices.append([*block.notices, *packed.notices])
        if not notices or any(said != notices[0] for said in notices):
            how = "give the table as a whole, to `detect`"
            raise DataError("blocks of the table have different notices", where="detect_blocks", how=how)
        kept, every = Packed(np.concatenate(samples), notices=notices[0]), np.concatenate(scores)
        found = self._judged(every, kept, rate, rule, False, false_discovery_rate)
        if reasons == "flagged":
            chosen = np.flatnonzero(found.is_anomaly[every > limit])
            told = self.explain_rows(Frame.joined(rows), kept, chosen)
            found.reasons.update(zip(np.flatnonzero(found.is_anomaly).tolist(), told, strict=True))
        return found

    def _lowest_limit(self, rate: float | None, rule: str | None, false_discovery_rate: float | None) -> Threshold:
        """The threshold; for a false discovery rate, the one of a false-alarm rate as high, which is lower or equal."""
        if false_discovery_rate is None:
            return self.threshold(rate, rule)
        if rate is not None or rule is not None:
            how = "leave the false-alarm rate and the threshold's rule out"
            raise UsageError("it sets the threshold by itself", where="false_discovery_rate", how=how)
        check_discovery_rate(false_discovery_rate)
        return self.threshold(false_discovery_rate, "conformal")

    def _judged(
        self,
        samples: np.ndarray,
        packed: Packed,
        rate: float | None,
        rule: str | None,
        unseen: bool,
        false_discovery_rate: float | None,
    ) -> Detection:
        """Scores of samples as scores, p-values and flags of rows; `unseen`: the rows are those of the calibration."""
        known, block = self.calibration.scores, self.calibration.block
        rows = self.format.rows(samples, packed.places)
        if unseen and packed.groups is not None:  # calibration scores are of rows, not of their parts
            rows = dataclasses.replace(rows, score=known)
        limit, p_values = self._lowest_limit(rate, rule, false_discovery_rate), self.p_values(rows.score)
        by_rank = (rule or self.experiment.detection.threshold) == "conformal"
        if unseen:  # a row is no evidence against itself: its rank is that among the others
            p_values = np.maximum(p_values * (len(known) + 1) - 1, 1) / len(known)
        if false_discovery_rate is not None:
            limit, by_rank = discoveries(known, rows.score, p_values, false_discovery_rate, block), True
        flagged = p_values <= limit.reachable_rate + 1e-9 if unseen and by_rank else rows.score > limit.value
        drifted = self._drift(rows.score, samples, packed)
        return Detection(rows, p_values, flagged & rows.covered, limit, {}, samples, packed, drifted)

    def _ranking_each(self) -> FittedModel:
        """The model for rows that are ranked among themselves: each counts as one, whatever its neighbours say."""
        return dataclasses.replace(self, calibration=dataclasses.replace(self.calibration, block=1))

    def _drift(self, rows: np.ndarray, samples: np.ndarray, packed: Packed) -> str:
        """What is to be said of many rows that are unlike those of the calibration, which are windows in a series."""
        if len(rows) < _ENOUGH_FOR_DRIFT or self.calibration.source == TRAINING:
            return ""
        return drift(self.calibration.scores, samples if packed.ordered else rows, packed.overlap + 1)

    def explain_rows(self, data: Data, packed: Packed, chosen: np.ndarray, most: int = 5) -> list[list[Reason]]:
        """`explain` for the chosen samples of `data`, with the cells as they stand there where samples are rows."""
        reasons = self.explain(packed.samples[chosen], most)
        if not reasons or not isinstance(data, Frame) or not packed.rows_are_samples:
            return reasons
        return _as_given(reasons, data.at(chosen))

    def explain(self, samples: np.ndarray, most: int = 5) -> list[list[Reason]]:
        """For each packed sample, its most telling cells: value, expectation in units, share of the error."""
        parts = (samples[start : start + _EXPLAINED] for start in range(0, len(samples), _EXPLAINED))
        return [reasons for part in parts for reasons in self._explained(part, most)]

    def _explained(self, samples: np.ndarray, most: int) -> list[list[Reason]]:
        errors, expected = self.cell_errors(samples)
        errors = errors.astype(np.float64)
        shares = errors / np.maximum(errors.sum(axis=1, keepdims=True), 1e-30)
        order = np.argsort(-shares, axis=1, kind="stable")[:, :most].tolist()
        names = self.format.cell_names()
        given, wanted = self.format.rows_in_units(samples), self.format.rows_in_units(expected)
        return [
            [Reason(names[i], _rounded(values[i]), _rounded(guesses[i]), float(parts[i])) for i in places]
            for places, values, guesses, parts in zip(order, given, wanted, shares, strict=True)
        ]

    def cell_errors(self, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Error of each cell and the sample that was expected. Shapes (n, cells), (n, *layout.shape).

        Where the network learned to fill hidden cells in, a cell's expectation is what the other cells make of it.
        """
        by_cell = [scorer for scorer in self.scorers if isinstance(scorer, CellScorer)] or [self._cell_scorer()]
        scorer = max(by_cell, key=lambda scorer: scorer.name == MaskedCellScorer.name)

        def both(x: Tensor) -> Tensor:
            errors, expected = scorer.cells(self.network, x)
            return torch.cat([bounded(errors), expected.flatten(1)], dim=1)

        joined = self._run(both, samples)
        count = joined.shape[1] - self.format.layout.size
        return joined[:, :count], joined[:, count:].reshape(len(samples), *self.format.layout.shape)

    def _cell_scorer(self) -> CellScorer:
        """What tells of cells where no scorer does."""
        if self.experiment.corruption.tells:
            seed = self.experiment.training.seed
            return MaskedCellScorer(MaskedCellScorer.learn(self.network, torch.empty(0), seed))
        return ErrorScorer({})

    @cached_property
    def latent_size(self) -> int:
        """Numbers in a code."""
        return int(self._run(self.network.encode, np.zeros((1, *self.format.layout.shape), dtype=np.float32)).shape[1])

    def _run(self, function: Callable[[Tensor], Tensor], samples: np.ndarray) -> np.ndarray:
        return in_chunks(function, samples, self.network.device)


def _as_given(reasons: list[list[Reason]], rows: Frame) -> list[list[Reason]]:
    """The reasons with cells as they stand in the user's rows: packed samples have 7 digits, and no unseen words."""
    named = {reason.cell for several in reasons for reason in several} & set(rows.table.column_names)
    given = {name: rows.table.column(name).to_pylist() for name in named}

    def told(reason: Reason, row: int) -> Reason:
        if reason.cell not in given:
            return reason
        value = given[reason.cell][row]
        return Reason(reason.cell, str(value) if hasattr(value, "isoformat") else value, reason.expected, reason.share)

    return [[told(reason, row) for reason in several] for row, several in enumerate(reasons)]


def _rounded(value: Any) -> Any:
    """A number without the digits that float32 does not have."""
    return float(f"{value:.7g}") if isinstance(value, float) else value
