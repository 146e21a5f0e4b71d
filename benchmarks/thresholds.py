"""Whether thresholds keep their promises: false-alarm rates, false discoveries and small rates, on real and drawn data.

Tables: 10 sets of ADBench, 20 splits each. The score is the mean distance to the 5 nearest training rows
(standardised), not an autoencoder's: it is the rule that is judged, whose promise holds for any score, and this one
costs seconds a split. Normal rows are split into training, calibration and test rows; calibration is by held-out rows,
or by five folds of all but the test rows (out of fold). Discoveries are made among the normal test rows and all
anomalies.

Tails: peaks-over-threshold at 1e-3 on samples of ten laws whose true tails are known.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator

import numpy as np
from common import data, mean_spread, save
from scipy import stats
from sklearn.neighbors import NearestNeighbors

from hourglass.core.thresholds import conformal, conformal_p_values, discoveries, peaks_over_threshold

SETS = (
    *("2_annthyroid", "6_cardio", "20_letter", "23_mammography", "26_optdigits"),
    *("27_PageBlocks", "28_pendigits", "30_satellite", "38_thyroid", "41_Waveform"),
)
RATES = (0.01, 0.05, 0.1)
DISCOVERY_RATE, SMALL_RATE, SLACK = 0.1, 1e-3, 0.005
MOST_ROWS, FOLDS, NEAREST = 4_000, 5, 5
TAILS = {
    "normal": stats.norm(),
    "exponential": stats.expon(),
    "lognormal": stats.lognorm(1),
    "Pareto": stats.pareto(3),
    "uniform": stats.uniform(),
    "gamma": stats.gamma(2),
    "Weibull": stats.weibull_min(1.5),
    "t5": stats.t(5),
    "logistic": stats.logistic(),
    "beta": stats.beta(2, 5),
}
Score = Callable[[np.ndarray], np.ndarray]


def near_score(train: np.ndarray) -> Score:
    """Mean distance of standardised rows to the 5 nearest of `train`."""
    centre, spread = train.mean(axis=0), train.std(axis=0)
    spread = np.where(spread > 0, spread, 1)
    near = NearestNeighbors(n_neighbors=NEAREST, algorithm="brute").fit((train - centre) / spread)
    return lambda rows: near.kneighbors((rows - centre) / spread)[0].mean(axis=1)


def out_of_fold(train: np.ndarray) -> np.ndarray:
    """Each row's score by the other folds."""
    parts = np.array_split(np.arange(len(train)), FOLDS)
    return np.concatenate([near_score(np.delete(train, part, axis=0))(train[part]) for part in parts])


def judge(X: np.ndarray, odd: np.ndarray, seed: int) -> Iterator[tuple[str, dict[str, float]]]:
    """Of one split, by way of calibration: realised rates, false discovery proportion, power, small rate."""
    normal = np.random.default_rng(seed).permutation(np.flatnonzero(~odd))[:MOST_ROWS]
    train, held, test = (X[part] for part in np.array_split(normal, 3))
    anomalies, both = X[odd], np.concatenate([train, held])
    apart, whole = near_score(train), near_score(both)
    yield "held out", figures(apart(held), apart(test), apart(anomalies))
    yield "out of fold", figures(out_of_fold(both), whole(test), whole(anomalies))


def figures(known: np.ndarray, clean: np.ndarray, odd: np.ndarray) -> dict[str, float]:
    found = {f"alarms at {rate:g}": float((clean > conformal(known, rate).value).mean()) for rate in RATES}
    scores = np.concatenate([clean, odd])
    flagged = scores > discoveries(known, scores, conformal_p_values(known, scores), DISCOVERY_RATE).value
    false = int(flagged[: len(clean)].sum())
    found["false discoveries"] = false / max(int(flagged.sum()), 1)
    found["anomalies found"] = float(flagged[len(clean) :].mean())
    return found


def tails(rows: int, draws: int) -> dict[str, list[float]]:
    """Realised rates by law, one for each draw."""
    random = np.random.default_rng(rows)
    return {
        name: [
            float(law.sf(peaks_over_threshold(law.rvs(rows, random_state=random), SMALL_RATE).value))
            for _ in range(draws)
        ]
        for name, law in TAILS.items()
    }


def tables(splits: int, sets: tuple[str, ...]) -> dict[str, dict[str, dict[str, list[float]]]]:
    """Figures by calibration, set and name, one for each split."""
    result: dict[str, dict[str, dict[str, list[float]]]] = {}
    for name in sets:
        with np.load(data("adbench") / f"{name}.npz", allow_pickle=False) as file:
            X, odd = file["X"].astype(np.float64), file["y"] == 1
        for seed in range(splits):
            for way, found in judge(X, odd, seed):
                for figure, value in found.items():
                    result.setdefault(way, {}).setdefault(name, {}).setdefault(figure, []).append(value)
    return result


def table_lines(found: dict[str, dict[str, dict[str, list[float]]]]) -> Iterator[str]:
    for way, sets in found.items():
        count = len(next(iter(next(iter(sets.values())).values())))
        yield f"calibration {way}; {len(sets)} sets, {count} splits: mean over all, and the set with the largest mean"
        for figure in next(iter(sets.values())):
            means = {name: float(np.mean(values[figure])) for name, values in sets.items()}
            worst = max(means, key=lambda name: means[name])
            yield f"  {figure:18} {np.mean(list(means.values())):.4f}   {means[worst]:.4f} {worst}"
        yield f"  {verdict(sets)}"


def verdict(sets: dict[str, dict[str, list[float]]]) -> str:
    """Whether the means over all sets keep the bounds."""

    def mean(figure: str) -> float:
        return float(np.mean([np.mean(values[figure]) for values in sets.values()]))

    kept = all(mean(f"alarms at {rate:g}") <= rate + SLACK for rate in RATES)
    found = mean("false discoveries") <= DISCOVERY_RATE
    words = {True: "kept", False: "MISSED"}
    return f"rate + {SLACK:g}: {words[kept]}; false discovery rate {DISCOVERY_RATE:g}: {words[found]}"


def tail_lines(rows: int, found: dict[str, list[float]]) -> Iterator[str]:
    within = {name: [SMALL_RATE / 2 <= rate <= 2 * SMALL_RATE for rate in rates] for name, rates in found.items()}
    a_draw = np.sum(list(within.values()), axis=0).tolist()
    on_average = sum(SMALL_RATE / 2 <= np.mean(rates) <= 2 * SMALL_RATE for rates in found.values())
    yield f"peaks over threshold at {SMALL_RATE:g}, {rows:,} calibration rows, {len(a_draw)} draws"
    yield f"  tails within a factor of 2: {mean_spread(a_draw)} of {len(found)} in a draw; {on_average} in the mean"
    for name, rates in found.items():
        yield f"  {name:12} mean {np.mean(rates):.5f}, within in {np.mean(within[name]):.0%} of the draws"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fast", action="store_true", help="3 splits of 3 sets, 5 draws; nothing is kept")
    fast = parser.parse_args().fast
    found = tables(3 if fast else 20, SETS[:3] if fast else SETS)
    drawn = {rows: tails(rows, 5 if fast else 50) for rows in (2_000, 5_000, 10_000)}
    lines = [*table_lines(found), *(line for rows, rates in drawn.items() for line in tail_lines(rows, rates))]
    if fast:
        print("\n".join(lines))
    else:
        result = {"tables": found, "tails": {str(rows): rates for rows, rates in drawn.items()}}
        save("thresholds", "python benchmarks/thresholds.py", result, lines)


if __name__ == "__main__":
    main()
