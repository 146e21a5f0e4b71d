"""Small fitted models, made once: fitting is what these tests would otherwise spend their time on."""

from collections.abc import Callable
from functools import cache

import numpy as np
import pyarrow as pa
import pytest

from hourglass.core.fitted import FittedModel
from hourglass.core.fitting import fit_model
from hourglass.core.kinds import experiment
from hourglass.data.formats import Data
from hourglass.data.samples import Frame
from hourglass.settings import Training


def plane(rows: int, seed: int = 0) -> np.ndarray:
    """Rows (rows, 6) near a plane of two dimensions."""
    random = np.random.default_rng(seed)
    rows_on_it = random.normal(size=(rows, 2)) @ np.random.default_rng(99).normal(size=(2, 6))
    return rows_on_it + 0.1 * random.normal(size=(rows, 6))


def shop(rows: int, seed: int = 0) -> Frame:
    """A table of mixed columns that all follow one size."""
    random = np.random.default_rng(seed)
    size = random.gamma(4, 10, rows)
    town = np.array(["Ghent", "Oslo", "Turin"])[np.digitize(size, [25, 45])]
    return Frame(pa.table({"amount": size * 3, "weight": size + random.normal(size=rows), "town": town}))


def tide(steps: int, seed: int = 0) -> np.ndarray:
    """One channel with a period of 12 steps."""
    return np.sin(np.arange(steps) * np.pi / 6) + 0.1 * np.random.default_rng(seed).normal(size=steps)


MAKERS: dict[str, tuple[str, Callable[..., Data]]] = {
    "plane": ("table", plane),
    "shop": ("table", shop),
    "tide": ("series", lambda rows, seed=0: tide(4 * rows, seed)),
    "beats": ("series", lambda rows, seed=0: tide(12 * rows, seed).reshape(rows, 12)),
}
Make = Callable[..., Data]
Fit = Callable[..., FittedModel]


@pytest.fixture(scope="session")
def make() -> Make:
    """Data by name, as many rows as asked: `make("plane", 80)`."""
    return lambda name, rows, seed=0: MAKERS[name][1](rows, seed)


@pytest.fixture(scope="session")
def fitted() -> Fit:
    """A small model by name of data and kind, fitted once and shared: not to be changed."""

    @cache
    def fit(name: str, kind: str = "plain", calibrate: bool = False) -> FittedModel:
        modality, maker = MAKERS[name]
        plan = experiment(modality, kind).replace(training=Training(epochs=3, batch_size=16))
        return fit_model(maker(80), plan, calibrate=calibrate)

    return fit
