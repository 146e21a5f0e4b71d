"""Data to try the service with: what installed packages bring along, and sound that is made up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from importlib import util
from pathlib import Path

import numpy as np
import pyarrow as pa

from hourglass.data.samples import Recordings
from hourglass.data.sound_writing import write_recordings
from hourglass.data.synthesis import call_clip, joined, mixed, pink
from hourglass.data.writing import write_array, write_table
from hourglass.interfaces.demo import hourly_temperatures
from hourglass.interfaces.service.bodies import Sent
from hourglass.interfaces.service.faults import Refusal

_RATE, _SNR = 16_000, 5.0


@dataclass(frozen=True)
class Example:
    """A file that can be made."""

    name: str
    modality: str
    file: str
    write: Callable[[Path], object]
    needs: str = "numpy"
    """The package that brings it."""

    @property
    def is_here(self) -> bool:
        """Whether the package is installed."""
        return util.find_spec(self.needs) is not None


async def example(name: str, folder: Path) -> Sent:
    """An example as if a client had sent it, its file in `folder`; `Refusal` for one that is not offered."""
    found = next((each for each in EXAMPLES if each.name == name and each.is_here), None)
    if found is None:
        known = ", ".join(each.name for each in EXAMPLES if each.is_here)
        raise Refusal(f"there is no example {name[:64]!a}", where="path", how=f"known: {known}", status=404)
    folder.mkdir(mode=0o700)
    own = f"00000{Path(found.file).suffix}"
    await asyncio.to_thread(found.write, folder / own)
    return Sent(folder=folder, files=[(own, found.file)])


def _cells(path: Path) -> None:
    """569 tumours, 30 measurements of their cells' nuclei (Wisconsin, 1995); what they were is left out."""
    from sklearn.datasets import load_breast_cancer

    cells = load_breast_cancer()
    names = [str(name) for name in cells.feature_names]
    write_table(pa.table(dict(zip(names, cells.data.T, strict=True))), path)


def _digits(path: Path) -> None:
    """1,797 handwritten digits of 8 x 8 pixels."""
    from sklearn.datasets import load_digits

    write_array((load_digits().images * 15).astype(np.uint8), path)


def _calls(path: Path) -> None:
    """20 seconds of birds' calls that are made up, in pink noise."""
    random = np.random.default_rng(0)
    kinds = ("chirp", "trill", "whistle", "harmonic_stack")
    calls = joined([call_clip(kinds[place % 4], 2.5, _RATE, random) for place in range(8)])
    noisy = mixed(calls, pink(len(calls), _RATE, random), _SNR)[0]
    sound = (0.7 * noisy / np.abs(noisy).max()).astype(np.float32)
    write_recordings(Recordings([sound[:, None]], [_RATE], pa.table({"name": ["calls.wav"]}), "calls.wav"), path)


EXAMPLES = (
    Example("cells", "table", "cells.csv", _cells, "sklearn"),
    Example("temperatures", "series", "temperatures.csv", lambda path: write_table(hourly_temperatures().table, path),
            "vega_datasets"),
    Example("digits", "image", "digits.npy", _digits, "sklearn"),
    Example("calls", "audio", "calls.wav", _calls),
)  # fmt: skip
