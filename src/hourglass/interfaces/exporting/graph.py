"""One module from raw numbers to reconstruction, anomaly score, p-value and flag, and its graph."""

from __future__ import annotations

import copy
from typing import final

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from hourglass.core.chunks import single_precision
from hourglass.core.fitted import FittedModel
from hourglass.core.scores import bounded
from hourglass.core.thresholds import Threshold
from hourglass.errors import HourglassError
from hourglass.interfaces.exporting.forms import RawForm

OUTPUTS = ("reconstruction", "anomaly_score", "p_value", "is_anomaly")
_TRACED = 3
"""Samples that a graph is traced with; it takes any number."""
_ROUNDING = 1e-5
"""What a graph may be off by: as much of a score, or of the deviation of normal ones, is no difference to it."""


@final
class Judge(nn.Module):
    """What a fitted model makes of raw numbers, by the functions that Python scores with."""

    known: Tensor
    p_values: Tensor
    limit: Tensor

    def __init__(self, model: FittedModel, form: RawForm, limit: Threshold) -> None:
        super().__init__()
        self.form, self.network = form, copy.deepcopy(model.network).cpu().eval()
        self.scorers, self.combination = model.scorers, model.combination
        known = np.sort(model.calibration.scores)
        # rows alike have one score in Python: a graph that rounds otherwise must not take theirs for a higher one
        self.register_buffer("known", torch.from_numpy(known + _ROUNDING * scale_of(known, model)))
        # of scores up to the first known one, up to the next, and so on, and beyond the last
        self.register_buffer("p_values", torch.from_numpy(model.p_values(np.append(known, np.inf))))
        self.register_buffer("limit", torch.tensor(limit.value + _ROUNDING * scale_of(limit.value, model)).double())

    def forward(self, raw: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Of float64 (n, *sizes): raw numbers given back, and (n,) scores, p-values (both float64) and flags."""
        x = self.form.pack(raw)
        scores = bounded(torch.stack([scorer(self.network, x) for scorer in self.scorers], dim=1))
        score = self.combination.joined(scores)
        p_value = self.p_values[_below(self.known, score)]
        return self.form.unpack(self.network.reconstruct(x)), score, p_value, score > self.limit


def scale_of(scores: np.ndarray | float, model: FittedModel) -> np.ndarray:
    """What a difference of scores is measured by: their size, or the deviation of normal ones where that is larger."""
    least = max(float(model.calibration.scores.std()), float(np.finfo(np.float32).tiny))
    return np.maximum(np.abs(scores), least)


def _below(ascending: Tensor, values: Tensor) -> Tensor:
    """How many of ascending numbers are below each value: a binary search without branches, as graphs have no other."""
    count = len(ascending)
    place = torch.zeros_like(values, dtype=torch.int64)
    step = 1 << count.bit_length() - 1
    while step:
        further = place + step
        below = (further <= count) & (ascending[(further - 1).clamp(max=count - 1)] < values)
        place = torch.where(below, further, place)
        step //= 2
    return place


@single_precision()
def traced(judge: Judge) -> ExportedProgram:
    """The graph, for any number of samples. `HourglassError` where a part of the model cannot be traced."""
    example = torch.zeros(_TRACED, *judge.form.sizes, dtype=torch.float64)
    try:
        return torch.export.export(judge, (example,), dynamic_shapes=({0: Dim(judge.form.samples, min=1)},))
    except Exception as fault:  # torch names no common class
        raise untranslatable(fault) from fault


def untranslatable(fault: Exception) -> HourglassError:
    """The error for a part that has no place in a graph."""
    first = next(iter(str(fault).strip().splitlines()), "")
    how = "fit with another kind, network or scorer; those that Hourglass brings are exported"
    return HourglassError(f"a part of the model has no graph: {type(fault).__name__}: {first}", where="export", how=how)
