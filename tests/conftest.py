"""What every test shares: one thread, the array checks of SciPy, hypothesis without a clock, the way to real data."""

import os
from collections.abc import Callable
from pathlib import Path

# Before any import of torch, SciPy or scikit-learn, which read these once.
os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", SCIPY_ARRAY_API="1")

import hypothesis
import pytest

# A deadline would make a slow machine fail tests; see the rule on timed tests.
hypothesis.settings.register_profile("hourglass", deadline=None, print_blob=True)
hypothesis.settings.load_profile("hourglass")

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def need() -> Callable[[Path], Path]:
    """The path itself, or a skip that names what is absent: `need(shared_data / "mnist")`."""

    def present(path: Path) -> Path:
        if not path.exists():
            pytest.skip(f"needs {path.name}, which is not among the shared data of this machine")
        return path

    return present


@pytest.fixture(scope="session")
def shared_data(need: Callable[[Path], Path]) -> Path:
    """The folder of real data beside the repository; a test that asks for it is skipped where there is none."""
    return need(SHARED_DATA)
