"""The measurements that `benchmarks/systems.py` runs: one function a figure, `(fast) -> Measure`."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Measure:
    """One figure: what was found, in words and as numbers, and what was wanted."""

    systems: tuple[int, ...]
    """Rows of the table of systems that it belongs to."""
    recipe: str
    line: str
    """What was found beside its baseline, in one sentence."""
    wanted: str = ""
    reached: bool | None = None
    """Whether what was wanted was reached; None where nothing was set."""
    values: dict[str, float | list[float]] = field(default_factory=dict)
