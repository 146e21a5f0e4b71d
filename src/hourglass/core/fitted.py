"""A fitted model: format + network + scorers + calibration, and every verb on it. Knows no scikit-learn."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hourglass.core.chunks import in_chunks
from hourglass.core.kinds import Experiment
from hourglass.core.model import Autoencoder
from hourglass.core.scores import CellScorer, Combination, ErrorScorer, MaskedCellScorer, Scorer, bounded, raw_scores
from hourglass.core.thresholds import Threshold, conformal_p_values, threshold
from hourglass.core.training import History
from hourglass.data.formats import Data, Format, Result, Rows
from hourglass.data.samples import Frame, Packed
from hourglass.errors import SchemaError

AUTOENCODER, DETECTOR = "autoencoder", "detector"
"""What a model was fitted to be: the estimator that its file is read back into."""
HELD_OUT, OUT_OF_FOLD, TRAINING = CALIBRATED_ON = ("held-out rows", "out-of-fold scores", "training rows")


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

    def encode(self, data: Data) -> np.ndarray:
        """Codes of the samples, float32, shape (n, latent)."""
        return self._run(self.network.encode, self.format.pack(data).samples)

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
            raise SchemaError("codes must be finite, got NaN or infinity", where="decode")
        return self.format.unpack(self._run(self.network.decode, codes))

    def reconstruct(self, data: Data) -> Result:
        """The data given back through the bottleneck, in their own form and units."""
        packed = self.format.pack(data)
        return self.format.unpack(self._run(self.network.reconstruct, packed.samples), packed.places)

    def score(self, packed: Packed) -> np.ndarray:
        """Anomaly score of each sample, high = odd, float64, shape (n,)."""
        return self.combination(raw_scores(self.network, self.scorers, packed.samples))

    def threshold(self, rate: float | None = None, rule: str | None = None) -> Threshold:
        """The score above which a row is an anomaly, for a false-alarm rate (default: as fitted)."""
        settings = self.experiment.detection
        rate = settings.false_alarm_rate if rate is None else rate
        return threshold(self.calibration.scores, rate, rule or settings.threshold)

    def p_values(self, scores: np.ndarray) -> np.ndarray:
        """For each anomaly score, the share of normal rows that would score as high (conformal)."""
        return conformal_p_values(self.calibration.scores, scores)

    def detect(
        self,
        data: Data,
        rate: float | None = None,
        rule: str | None = None,
        reasons: str = "flagged",
        own: bool = False,
    ) -> Detection:
        """Anomaly score, p-value and flag of every input row; reasons for the flagged ones (or "all", or "none").

        `own`: the data are those that the model was fitted on. Where all of them were scored out of fold, those scores
        are taken, so that no row is judged by a network that has seen it.
        """
        packed = self.format.pack(data)
        unseen = self.calibration.source == OUT_OF_FOLD and len(self.calibration.scores) == len(packed.samples)
        samples = self.calibration.scores if own and unseen else self.score(packed)
        rows = self.format.rows(samples, packed.places)
        limit, p_values = self.threshold(rate, rule), self.p_values(rows.score)
        flagged = rows.score > limit.value
        if own and unseen:  # a row is no evidence against itself: its rank is that among the others
            p_values = np.maximum(p_values * (len(samples) + 1) - 1, 1) / len(samples)
            conformal = (rule or self.experiment.detection.threshold) == "conformal"
            flagged = p_values <= limit.reachable_rate + 1e-9 if conformal else flagged
        flagged &= rows.covered
        found = Detection(rows, p_values, flagged, limit, {}, samples, packed)
        if packed.places is None and reasons != "none":
            chosen = np.flatnonzero(flagged) if reasons == "flagged" else np.arange(len(flagged))
            found.reasons.update(zip(chosen.tolist(), self.explain_rows(data, packed, chosen), strict=True))
        return found

    def explain_rows(self, data: Data, packed: Packed, chosen: np.ndarray, most: int = 5) -> list[list[Reason]]:
        """`explain` for the chosen samples of `data`, with the cells as they stand there where samples are rows."""
        reasons = self.explain(packed.samples[chosen], most)
        if isinstance(data, np.ndarray) or packed.places is not None:
            return reasons
        rows = zip(chosen.tolist(), reasons, strict=True)
        return [[_as_given(reason, data, row) for reason in several] for row, several in rows]

    def explain(self, samples: np.ndarray, most: int = 5) -> list[list[Reason]]:
        """For each packed sample, its most telling cells: value, expectation in units, share of the error."""
        if not len(samples):
            return []
        errors, expected = self.cell_errors(samples)
        names = self.format.cell_names()
        return [self._reasons(names, *each, most) for each in zip(samples, errors, expected, strict=True)]

    def cell_errors(self, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Error of each cell and the sample that was expected. Shapes (n, cells), (n, *layout.shape).

        Where the network learned to fill hidden cells in, a cell's expectation is what the other cells make of it.
        """
        by_cell = [scorer for scorer in self.scorers if isinstance(scorer, CellScorer)] or [ErrorScorer({})]
        scorer = max(by_cell, key=lambda scorer: scorer.name == MaskedCellScorer.name)

        def both(x: Tensor) -> Tensor:
            errors, expected = scorer.cells(self.network, x)
            return torch.cat([errors, expected.flatten(1)], dim=1)

        joined = self._run(both, samples)
        count = joined.shape[1] - self.format.layout.size
        return bounded(joined[:, :count]), joined[:, count:].reshape(len(samples), *self.format.layout.shape)

    def _reasons(
        self, names: Sequence[str], sample: np.ndarray, errors: np.ndarray, expected: np.ndarray, most: int
    ) -> list[Reason]:
        values, expectations = self.format.cells_in_units(sample), self.format.cells_in_units(expected)
        shares = errors.astype(np.float64) / max(float(errors.sum(dtype=np.float64)), 1e-30)
        order = np.argsort(-shares, kind="stable")[:most]
        return [Reason(names[i], _rounded(values[i]), _rounded(expectations[i]), float(shares[i])) for i in order]

    @cached_property
    def latent_size(self) -> int:
        """Numbers in a code."""
        return int(self._run(self.network.encode, np.zeros((1, *self.format.layout.shape), dtype=np.float32)).shape[1])

    def _run(self, function: Callable[[Tensor], Tensor], samples: np.ndarray) -> np.ndarray:
        return in_chunks(function, samples, self.network.device)


def _as_given(reason: Reason, data: Frame, row: int) -> Reason:
    """The reason with the cell as it stands in the user's frame: packed samples have 7 digits, and no unseen words."""
    if reason.cell not in data.table.column_names:
        return reason
    value = data.table.column(reason.cell)[row].as_py()
    return dataclasses.replace(reason, value=str(value) if hasattr(value, "isoformat") else value)


def _rounded(value: Any) -> Any:
    """A number without the digits that float32 does not have."""
    return float(f"{value:.7g}") if isinstance(value, float) else value
