"""Data and fitted detectors that several tests read and none changes."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from hourglass import AnomalyDetector, TableAutoencoder
from hourglass.settings import Training

Plane = Callable[..., np.ndarray]
Shop = Callable[..., pd.DataFrame]


@pytest.fixture(scope="session")
def plane() -> Plane:
    """Rows (rows, 6) near a plane of two dimensions: `plane(80, seed=1)`."""

    def rows_near_it(rows: int, seed: int = 0) -> np.ndarray:
        random = np.random.default_rng(seed)
        on_it = random.normal(size=(rows, 2)) @ np.random.default_rng(99).normal(size=(2, 6))
        return on_it + 0.1 * random.normal(size=(rows, 6))

    return rows_near_it


@pytest.fixture(scope="session")
def shop() -> Shop:
    """A frame of mixed columns that all follow one size; its index does not start at 0."""

    def sales(rows: int, seed: int = 0) -> pd.DataFrame:
        random = np.random.default_rng(seed)
        size = random.gamma(8, 5, rows)
        town = np.array(["Ghent", "Oslo", "Turin"])[np.digitize(size, [30, 50])]
        factors = {"amount": 30.0, "weight": 1.0, "boxes": 0.5, "hours": 2.0}
        columns = {name: factor * (size + 0.3 * random.normal(size=rows)) for name, factor in factors.items()}
        return pd.DataFrame(columns | {"town": town}, index=pd.RangeIndex(1_000, 1_000 + rows))

    return sales


@pytest.fixture(scope="session")
def detector(plane: Plane) -> AnomalyDetector:
    """Calibrated on 300 scores out of fold."""
    training = Training(epochs=30, validation=0.2)
    return AnomalyDetector(TableAutoencoder(kind="plain", latent=2, training=training), 0.1).fit(plane(300))


@pytest.fixture(scope="session")
def shop_detector(shop: Shop) -> AnomalyDetector:
    """The default autoencoder on mixed columns."""
    training = Training(epochs=60, validation=0.25)
    return AnomalyDetector(TableAutoencoder(training=training), 0.05).fit(shop(300))
