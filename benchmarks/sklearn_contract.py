"""scikit-learn's own checks: how many of `check_estimator`'s fail, without any list of expected failures.

Beside it, PyOD's AutoEncoder where it is installed.
"""

from __future__ import annotations

import os
import warnings
from typing import Any

os.environ["SCIPY_ARRAY_API"] = "1"

from common import save
from sklearn.utils.estimator_checks import check_estimator

from hourglass import AnomalyDetector, SeriesAutoencoder, TableAutoencoder


def checked(estimator: Any) -> tuple[int, int]:
    """How many checks failed, of how many."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = check_estimator(estimator, on_fail=None, on_skip=None)
    return sum(result["status"] == "failed" for result in results), len(results)


def main() -> None:
    estimators: dict[str, Any] = {
        "TableAutoencoder": TableAutoencoder(epochs=2),
        "SeriesAutoencoder": SeriesAutoencoder(epochs=2),
        "AnomalyDetector(TableAutoencoder)": AnomalyDetector(TableAutoencoder(epochs=2)),
        "AnomalyDetector(SeriesAutoencoder)": AnomalyDetector(SeriesAutoencoder(epochs=2)),
    }
    try:
        from pyod.models.auto_encoder import AutoEncoder

        estimators["PyOD AutoEncoder"] = AutoEncoder(epoch_num=2, verbose=0)
    except ImportError:
        print("PyOD is not installed: pip install -e '.[bench]' puts it beside ours")
    figures = {name: checked(estimator) for name, estimator in estimators.items()}
    lines = [f"  {name}: {failed} of {count} checks fail" for name, (failed, count) in figures.items()]
    save("sklearn_contract", "python benchmarks/sklearn_contract.py", figures, ["check_estimator", *lines])


if __name__ == "__main__":
    main()
