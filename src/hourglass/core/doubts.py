"""What makes a finished training doubtful, in sentences: divergence, codes that say nothing, scores all alike."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from hourglass.core.kinds import Experiment, latent_size
from hourglass.core.training import History
from hourglass.data.formats import Format
from hourglass.errors import TrainingError


def doubts(
    plan: Experiment, form: Format, history: History, units: dict[str, int], scores: np.ndarray, samples: np.ndarray
) -> list[str]:
    """What a user should know before they trust a model; `units` as `unit_report` has them, `scores` calibrate it."""
    found = [farthest(form, samples)] if history.stopped == "diverged" else []
    if units.get("active", 1) == 0:
        beta = getattr(plan.bottleneck, "beta", 1.0)
        remedy = f"a smaller weight of the KL term may wake them: --set bottleneck.beta={beta / 10:g}"
        found.append(f"no number of a code says anything (posterior collapse): {remedy}")
    dead, size = units.get("dead", 0), latent_size(plan, form.layout)
    if 2 * dead > size:
        remedy = "a smaller learning rate, another activation or a smaller --latent may help"
        found.append(f"{dead} of the {size} numbers of a code never move (dead units): {remedy}")
    if len(scores) > 1 and scores.min() == scores.max():
        remedy = "give columns that vary, or more --epochs"
        found.append(f"all {len(scores):,} calibration scores are equal, so that rows cannot be told apart: {remedy}")
    return found


def farthest(form: Format, samples: np.ndarray) -> str:
    """Which cell holds the number that is farthest from what is usual, in a sentence."""
    size = np.maximum(np.fmax.reduce(samples), -np.fmin.reduce(samples)).reshape(-1)
    place = int(np.nan_to_num(size).argmax())
    name = form.cell_names()[int(form.layout.cell_of()[place])]
    return f"the number that is farthest from usual is in {name!r}: {size[place]:.3g} after scaling"


@contextmanager
def telling_the_farthest(form: Format, samples: np.ndarray) -> Iterator[None]:
    """A training that fails in this block also says which cell of the samples may be the cause."""
    try:
        yield
    except TrainingError as fault:
        raise TrainingError(f"{fault.what}; {farthest(form, samples)}", where=fault.where, how=fault.how) from fault
