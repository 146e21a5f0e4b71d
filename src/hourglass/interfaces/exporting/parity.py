"""Whether an exported graph says what Python says, on rows that neither has seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hourglass.core.chunks import in_chunks
from hourglass.core.fitted import FittedModel
from hourglass.core.thresholds import Threshold
from hourglass.data.samples import Packed
from hourglass.errors import HourglassError
from hourglass.interfaces.exporting.forms import RawForm
from hourglass.interfaces.exporting.graph import scale_of

MOST = 1e-4
"""Difference above which nothing is exported."""
_ROWS, _FAR, _HOLES = 192, 8, 0.05
"""Fresh samples; those of them far outside of the training data; the share of missing cells in half of them."""

Run = Callable[[np.ndarray], list[np.ndarray]]
"""The graph's four outputs for raw numbers."""


@dataclass(frozen=True)
class Parity:
    """The largest differences between a graph and Python."""

    rows: int
    score: float
    """Of scores, relative to the score or to the spread of normal ones, whichever is larger."""
    reconstruction: float
    """On the packed scale, where training data have about unit size."""

    @property
    def worst(self) -> float:
        return float(np.max([self.score, self.reconstruction]))  # Python's own `max` may pass NaN over

    def check(self) -> None:
        """Refuse a difference above 1e-4."""
        if not self.worst <= MOST:
            what = f"the graph differs from Python by {self.worst:.2g} on {self.rows} fresh rows, wanted at most {MOST}"
            how = "nothing was written; use the model itself, or fit with another network or other scorers"
            raise HourglassError(what, where="export", how=how)


def compare(model: FittedModel, form: RawForm, limit: Threshold, run: Run) -> Parity:
    """Put fresh samples through Python and through the graph, all at once and the first one alone."""
    raw, packed = form.read(fresh(model))
    found = run(raw)
    single = run(raw[:1])
    given_back = in_chunks(model.network.reconstruct, packed, model.network.device)
    scores = model.score(Packed(packed))
    apart = [np.max(np.abs(each - s) / scale_of(s, model)) for each, s in ((found[1], scores), (single[1], scores[:1]))]
    score = np.inf if _misjudged(model, limit, scores, *found[2:]) else float(np.max(apart))
    reconstruction = np.max([form.distance(found[0], given_back), form.distance(single[0], given_back[:1])])
    return Parity(len(raw), score, float(reconstruction))


def fresh(model: FittedModel) -> np.ndarray:
    """Packed samples as the training data might have been: noise, what the network makes of it, far ones, with holes.

    Shape (n, *layout.shape), float32; half of the samples have missing cells. The same for a model each time.
    """
    layout, random = model.format.layout, np.random.default_rng(0)
    noise = random.normal(size=(_ROWS // 2, *layout.shape)).astype(np.float32)
    near = in_chunks(model.network.reconstruct, noise, model.network.device) + 0.1 * noise
    samples = np.concatenate([noise, near]).astype(np.float32)
    samples[-_FAR:] *= np.geomspace(10, 1e4, _FAR, dtype=np.float32).reshape(-1, *[1] * len(layout.shape))
    cells = layout.cell_of()
    holes = (random.random((_ROWS, int(cells[-1]) + 1)) < _HOLES)[:, cells].reshape(samples.shape)
    holes[::2] = False
    return np.where(holes, np.float32(np.nan), samples)


def _misjudged(
    model: FittedModel, limit: Threshold, scores: np.ndarray, p_values: np.ndarray, flags: np.ndarray
) -> bool:
    """Whether a p-value or a flag is none that Python could have given a score so near."""
    margin = 2 * MOST * scale_of(scores, model)
    least, most = model.p_values(scores + margin), model.p_values(scores - margin)
    likely = (p_values >= least - 1e-12) & (p_values <= most + 1e-12)
    flagged = (flags | (scores - margin <= limit.value)) & (~flags | (scores + margin > limit.value))
    return not bool((likely & flagged).all())
