"""How large a step is, and of how many rows, where nobody says."""

from __future__ import annotations

import math

_RATE, _ENOUGH_ROWS = 2e-3, 4
_FEW_STEPS = 1_500
"""Below, how far the weights go in all counts for more than how small the last steps are."""


def rate_at(share: float, schedule: str, steps: int = _FEW_STEPS) -> float:
    """The step size, as a share of the largest, when `share` of a training of so many steps is over.

    One cycle goes up and then down; the fewer steps there are, the longer it stays up.
    """
    if schedule == "constant":
        return 1.0
    warm_up, top = (0.15, max(0.15, 0.8 * (1 - steps / _FEW_STEPS))) if schedule == "one-cycle" else (0.0, 0.0)
    if share < warm_up:
        return 0.04 + 0.96 * share / warm_up
    down = max(0.0, share - top) / (1 - top)
    return 0.002 + 0.998 * 0.5 * (1 + math.cos(math.pi * down))


def default_rate(batch_size: int) -> float:
    """The largest step size: with few rows a step, in proportion to their root (Malladi et al. 2022).

    >>> [default_rate(rows) for rows in (256, 4, 1)]
    [0.002, 0.002, 0.001]
    """
    return _RATE * min(1.0, math.sqrt(batch_size / _ENOUGH_ROWS))


def default_batch_size(rows: int) -> int:
    """A power of two, about a 25th of the rows, 16 to 256."""
    return int(2 ** min(8, max(4, round(math.log2(max(rows, 1) / 25)))))
