"""Name the odd days of a series that nobody labelled."""

from __future__ import annotations

import numpy as np
import pandas as pd

from hourglass import AnomalyDetector, SeriesAutoencoder


def visits(days: int) -> pd.DataFrame:
    """Made-up hourly visits to a shop; on day 40 it opened four hours late."""
    rng = np.random.default_rng(0)
    hours = pd.date_range("2026-01-01", periods=24 * days, freq="h")
    daily = np.clip(np.sin((hours.hour.to_numpy() - 8) / 12 * np.pi), 0, None) * 100
    daily[40 * 24 + 8 : 40 * 24 + 12] = 0
    return pd.DataFrame({"time": hours, "visits": daily + rng.normal(0, 3, len(hours))})


def main() -> None:
    """Print the day whose hours score as least normal."""
    series = visits(90)
    detector = AnomalyDetector(SeriesAutoencoder(window="1d", epochs=40), false_alarm_rate=0.02).fit(series)
    hours = detector.score_samples(series)
    odd = series["time"].dt.date[np.argmin(hours)]
    print(f"the oddest day is {odd}")


if __name__ == "__main__":
    main()
