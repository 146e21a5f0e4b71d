"""Find the odd rows of a table of mixed columns, and say why they are odd."""

from __future__ import annotations

import numpy as np
import pandas as pd

from hourglass import AnomalyDetector, TableAutoencoder


def orders(rows: int) -> pd.DataFrame:
    """Made-up orders: the amount follows from the goods and their number."""
    rng = np.random.default_rng(0)
    goods, number = rng.choice(["tea", "rice", "gold"], rows, p=[0.6, 0.35, 0.05]), rng.integers(1, 9, rows)
    price = pd.Series(goods).map({"tea": 4.0, "rice": 2.0, "gold": 900.0}).to_numpy()
    return pd.DataFrame({"goods": goods, "number": number, "amount": price * number * rng.normal(1, 0.02, rows)})


def main() -> None:
    """Judge two new orders, of which one costs far too much."""
    new = pd.DataFrame({"goods": ["tea", "tea"], "number": [3, 3], "amount": [12.1, 2700.0]})
    detector = AnomalyDetector(TableAutoencoder(epochs=30)).fit(orders(1200))
    for row, (p_value, reasons) in enumerate(zip(detector.p_values(new), detector.explain(new), strict=True)):
        why = reasons[0]
        verdict = f"odd: {why.cell} is {why.value}, expected {why.expected}" if p_value <= 0.01 else "normal"
        print(f"row {row}: p = {p_value:.3f}, {verdict}")


if __name__ == "__main__":
    main()
