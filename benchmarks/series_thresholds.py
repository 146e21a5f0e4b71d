"""Whether thresholds of series keep their promise: realised false-alarm rates on clean stretches that follow.

    python benchmarks/series_thresholds.py [--fast]

Series of known laws, 20 draws each: learned from 1,000 or 10,000 steps, judged on the 20,000 that follow. Window and
stride are the default ones. The score is what PCA with 8 components leaves of a window, not an autoencoder's: it is the
rule that is judged. It is calibrated as a model is: by the last tenth of the windows or, where they are too few for the
rate, out of fold. `rows`: steps of a file, each the mean over the windows that cover it. `stream`: each step by the
window that ends there. `plain` takes windows as if they shared no steps; `blocks` is what models do.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator

import numpy as np
from common import save
from scipy.signal import lfilter

from hourglass.core.fitting import apart_from, split
from hourglass.core.thresholds import conformal, rows_needed
from hourglass.data.samples import Packed
from hourglass.data.series import SeriesSettings
from hourglass.data.windows import cut

RATES, SLACK = (0.01, 0.05), 0.005
LENGTHS, JUDGED, FOLDS, COMPONENTS, PERIOD = (1_000, 10_000), 20_000, 5, 8, 24
Draw = Callable[[int, np.random.Generator], np.ndarray]
Score = Callable[[np.ndarray], np.ndarray]
Shares = dict[str, list[float]]
"""Realised rates by way of judging, one for each draw; `promised`: whether the rate could be promised."""


def memory(share: float, steps: int, random: np.random.Generator) -> np.ndarray:
    """AR(1) with standard deviation 1."""
    noise = random.normal(size=steps + 2_000) * (1 - share**2) ** 0.5
    return np.asarray(lfilter([1], [1, -share], noise)[2_000:])


def wave(steps: int, random: np.random.Generator, swell: float = 0.0, share: float = 0.0) -> np.ndarray:
    """A period of 24 steps in noise; `swell`: its height wanders; `share`: the noise has a memory."""
    turns = 2 * np.pi * np.arange(steps) / PERIOD
    height = 1 + swell * memory(0.995, steps, random)
    return height * np.sin(turns) + 0.5 * np.sin(2 * turns + 1) + 0.3 * memory(share, steps, random)


SIGNALS: dict[str, Draw] = {
    "white noise": lambda steps, random: memory(0.0, steps, random),
    "AR(1), .5": lambda steps, random: memory(0.5, steps, random),
    "AR(1), .9": lambda steps, random: memory(0.9, steps, random),
    "AR(1), .99": lambda steps, random: memory(0.99, steps, random),
    "periodic": wave,
    "periodic, swelling": lambda steps, random: wave(steps, random, swell=0.2),
    "periodic, AR(1) noise": lambda steps, random: wave(steps, random, share=0.9),
}


def left_over(windows: np.ndarray) -> Score:
    """What PCA, fitted to windows, leaves of others: the mean square."""
    flat = windows.reshape(len(windows), -1)
    mean = flat.mean(axis=0)
    axes = np.linalg.svd(flat - mean, full_matrices=False)[2][:COMPONENTS]

    def score(others: np.ndarray) -> np.ndarray:
        centred = others.reshape(len(others), -1) - mean
        return np.asarray(np.square(centred - centred @ axes.T @ axes).mean(axis=1))

    return score


def calibrated(packed: Packed, rate: float, block: int) -> tuple[Score, np.ndarray]:
    """A score, and the calibration scores, as `fit_model` has them."""
    kept, held = split(packed, 0.1, 0)
    if len(held) >= rows_needed(rate, block=block):
        score = left_over(packed.samples[kept])
        return score, score(packed.samples[held])
    folds = np.array_split(np.arange(len(packed.samples)), FOLDS)
    known = [left_over(packed.samples[apart_from(fold, packed)])(packed.samples[fold]) for fold in folds]
    return left_over(packed.samples), np.concatenate(known)


def realised(draw: Draw, steps: int, rate: float, seed: int) -> dict[str, float]:
    series = draw(steps + JUDGED, np.random.default_rng(seed))
    form = SeriesSettings().fit(series[:steps])
    packed, clean = form.pack(series[:steps]), form.pack(series[steps:])
    scaled = form.scaler.scale(series[steps:, None])
    windows = cut(scaled, np.arange(JUDGED + 1 - form.rule.steps), form.rule.steps)
    found = {}
    for way, block in (("plain", 1), ("blocks", packed.overlap + 1)):
        score, known = calibrated(packed, rate, block)
        rows, stream = form.rows(score(clean.samples), clean.places).score, score(windows)
        limit = conformal(known, rate, block)
        found |= {
            f"rows {way}": float((rows > limit.value).mean()),
            f"stream {way}": float((stream > limit.value).mean()),
        }
    return found | {"promised": float(not limit.notice)}


def lines(found: dict[str, Shares]) -> Iterator[str]:
    names = [name for name in next(iter(found.values())) if name != "promised"]
    yield f"{'realised rate, mean over draws':52}" + "".join(f"{name:>16}" for name in names) + f"{'promised':>12}"
    for case, shares in found.items():
        means = [float(np.mean(shares[name])) for name in names]
        yield f"{case:52}" + "".join(f"{mean:16.4f}" for mean in means) + f"{np.mean(shares['promised']):12.0%}"
    promised = {case: shares for case, shares in found.items() if np.mean(shares["promised"]) > 0.5}
    for name in names:
        kept = [np.mean(shares[name]) <= float(case.split()[1]) + SLACK for case, shares in promised.items()]
        yield f"{name}: within rate + {SLACK:g} in {sum(kept)} of {len(kept)} where blocks can promise it"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fast", action="store_true", help="2 draws; nothing is kept")
    fast = parser.parse_args().fast
    found: dict[str, Shares] = {}
    for rate in RATES:
        for steps in LENGTHS:
            for name, draw in SIGNALS.items():
                runs = [realised(draw, steps, rate, seed) for seed in range(2 if fast else 20)]
                case = f"rate {rate:g} from {steps:,} steps of {name}"
                found[case] = {figure: [run[figure] for run in runs] for figure in runs[0]}
    if fast:
        print("\n".join(lines(found)))
    else:
        save("series_thresholds", "python benchmarks/series_thresholds.py", found, [*lines(found)])


if __name__ == "__main__":
    main()
