"""Mixed tables: cells that were swapped or mistyped are found, and missing ones filled in; Adult, titanic, penguins.

    python benchmarks/mixed.py [--seeds 3] [--tables NAME ...]

The default detector learns from half of the rows (at most 5,000), as they are, and judges as many others, of which a
tenth have one wrong cell. Swaps: two rows have exchanged a cell, so that each word and number is a usual one. Typos:
two letters of a word have changed places, or a digit of a number was typed twice. Average precision over rows, beside
an isolation forest on the same rows one-hot encoded and standardised; over cells, beside how rare a cell is in its own
column. Gaps: a tenth of the known cells is hidden and filled in from the others, beside each column's median or most
frequent word; the error of numbers is in deviations of their column, root mean squared and mean absolute.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
from common import data, mean_spread, save
from sklearn.metrics import average_precision_score

from hourglass import AnomalyDetector, TableAutoencoder
from hourglass.core.fitted import FittedModel
from hourglass.data.files import from_object, read
from hourglass.estimators.baselines import Baselines

TABLES = {"adult": "adult-train.csv.gz", "titanic": "titanic.csv", "penguins": "penguins.csv"}
MOST_ROWS, SHARE = 5_000, 0.1

Cells = dict[str, list[Any]]
"""A table's columns; None is a missing cell."""
Wrong = Callable[[Cells, np.random.Generator], np.ndarray]
"""Makes some cells of the columns wrong, in place, and says which: a mask (rows, columns)."""


def swaps(cells: Cells, random: np.random.Generator) -> np.ndarray:
    """A tenth of the rows have, in pairs, exchanged a cell in which they differ."""
    wrong, names = _nothing(cells), [*cells]
    for one, other in random.permutation(len(wrong))[: _some(len(wrong)) // 2 * 2].reshape(-1, 2):
        differ = [name for name in names if _known_and_unlike(cells[name][one], cells[name][other])]
        if differ:
            name = str(random.choice(differ))
            cells[name][one], cells[name][other] = cells[name][other], cells[name][one]
            wrong[[one, other], names.index(name)] = True
    return wrong


def typos(cells: Cells, random: np.random.Generator) -> np.ndarray:
    """A tenth of the rows have a cell that was mistyped, so that it says something else."""
    wrong, names = _nothing(cells), [*cells]
    for row in random.permutation(len(wrong))[: _some(len(wrong))]:
        for name in random.permutation(names):
            value = cells[name][row]
            mistyped = value if isinstance(value, bool | None) else _mistyped(value, random)
            if mistyped != value:
                cells[name][row], wrong[row, names.index(name)] = mistyped, True
                break
    return wrong


def gaps(cells: Cells, random: np.random.Generator) -> np.ndarray:
    """A tenth of the known cells are missing."""
    wrong = _nothing(cells)
    for place, column in enumerate(cells.values()):
        known = [row for row, value in enumerate(column) if value is not None]
        for row in random.choice(known, _some(len(known)), replace=False):
            column[row], wrong[row, place] = None, True
    return wrong


def _mistyped(value: float | str, random: np.random.Generator) -> float | str:
    letters = list(str(value))
    if isinstance(value, str):
        at = int(random.integers(max(1, len(letters) - 1)))
        letters[at : at + 2] = letters[at : at + 2][::-1]
        return "".join(letters)
    digits = [place for place, letter in enumerate(letters) if letter.isdigit()]
    at = int(random.choice(digits))
    return type(value)("".join([*letters[:at], letters[at], *letters[at:]]))


def _known_and_unlike(one: object, other: object) -> bool:
    return one is not None and other is not None and one != other


def _nothing(cells: Cells) -> np.ndarray:
    return np.zeros((len(next(iter(cells.values()))), len(cells)), dtype=bool)


def _some(count: int) -> int:
    return round(SHARE * count)


PLANTED: dict[str, Wrong] = {"swaps": swaps, "typos": typos}


def rarity(known: list[Any], given: list[Any]) -> np.ndarray:
    """How rare each given cell is in its column: minus the log of the share of known ones at least as far out."""
    known = [value for value in known if value is not None]
    if isinstance(known[0], str | bool):
        counts = {value: known.count(value) for value in {*known}}
        as_rare = np.array([len(known) if value is None else counts.get(value, 0) for value in given])
    else:
        centre = np.median(known)
        far = np.sort(np.abs(np.array(known) - centre))
        distance = np.array([0.0 if value is None else abs(value - centre) for value in given])
        as_rare = len(far) - np.searchsorted(far, distance)
    return -np.log((1 + as_rare) / (1 + len(known)))


def found(model: FittedModel, train: pa.Table, given: pa.Table, wrong: np.ndarray, seed: int) -> dict[str, float]:
    """Average precision of ours and the baseline's scores, over rows and over cells."""
    packed = model.format.pack(from_object(given))
    samples = model.format.pack(from_object(train)).samples
    forest = Baselines.fit(samples, model.latent_size, seed).scores(packed.samples)["isolation forest"]
    used = [given.column_names.index(name) for name in model.format.cell_names()]
    rare = [rarity(train.column(place).to_pylist(), given.column(place).to_pylist()) for place in used]
    rows, cells = wrong.any(axis=1), wrong[:, used]
    scores = {
        "rows, ours": (rows, model.score(packed)),
        "rows, isolation forest": (rows, forest),
        "cells, ours": (cells, model.cell_errors(packed.samples)[0]),
        "cells, rarity": (cells, np.stack(rare, axis=1)),
    }
    return {name: average_precision_score(true.ravel(), score.ravel()) for name, (true, score) in scores.items()}


def filled(
    model: FittedModel, train: pa.Table, whole: pa.Table, given: pa.Table, hidden: np.ndarray
) -> dict[str, float]:
    """Errors of hidden cells as the model fills them in, and as the median or the most frequent word does."""
    ours = model.fill_missing(from_object(given))
    numbers: dict[str, list[np.ndarray]] = {"ours": [], "median, mode": []}
    words: dict[str, list[np.ndarray]] = {"ours": [], "median, mode": []}
    for place, column in ((given.column_names.index(column.name), column) for column in model.format.columns):
        at = np.flatnonzero(hidden[:, place])
        known = [value for value in train.column(place).to_pylist() if value is not None]
        true, guess = ([table.column(place)[row].as_py() for row in at.tolist()] for table in (whole, ours))
        if column.cell == "number":
            spread = np.std(known) or 1.0
            numbers["ours"].append((np.array(guess) - true) / spread)
            numbers["median, mode"].append((np.median(known) - true) / spread)
        else:
            mode = max({*known}, key=known.count)
            words["ours"].append(np.array([one == other for one, other in zip(guess, true, strict=True)]))
            words["median, mode"].append(np.array([mode == each for each in true]))
    result = {}
    for name in numbers:
        off, right = np.concatenate(numbers[name]), np.concatenate(words[name])
        result[f"RMSE, {name}"] = float(np.sqrt(np.square(off).mean()))
        result[f"MAE, {name}"] = float(np.abs(off).mean())
        result[f"accuracy, {name}"] = float(right.mean())
    return result


def run(table: pa.Table, seed: int) -> dict[str, float]:
    """All figures of one table and one seed."""
    random = np.random.default_rng(seed)
    rows = random.permutation(table.num_rows)
    half = min(MOST_ROWS, len(rows) // 2)
    train, judged = table.take(rows[:half]), table.take(rows[half : 2 * half])
    model = AnomalyDetector(TableAutoencoder(seed=seed)).fit(train).model_
    figures: dict[str, float] = {}
    for task, change in (PLANTED | {"gaps": gaps}).items():
        cells = judged.to_pydict()
        wrong = change(cells, random)
        given = pa.table(cells, schema=judged.schema)
        result = (
            filled(model, train, judged, given, wrong) if task == "gaps" else found(model, train, given, wrong, seed)
        )
        figures |= {f"{task}: {name}": value for name, value in result.items()}
    return figures


WANTED = (
    ("swaps: rows", "isolation forest", 1),
    ("typos: rows", "isolation forest", 1),
    ("swaps: cells", "rarity", 1),
    ("typos: cells", "rarity", 1),
    ("gaps: RMSE", "median, mode", -1),
    ("gaps: MAE", "median, mode", -1),
    ("gaps: accuracy", "median, mode", 1),
)
"""Figures with their baselines; 1 where more is better, -1 where less is."""


def summary(figures: dict[str, dict[str, list[float]]]) -> list[str]:
    lines = []
    for table, values in figures.items():
        lines.append(f"{table}: {len(next(iter(values.values())))} seeds")
        for name, baseline, better in WANTED:
            ours, theirs = values[f"{name}, ours"], values[f"{name}, {baseline}"]
            kept = better * (np.mean(ours) - np.mean(theirs)) > 0
            line = f"  {name:16} {mean_spread(ours)}   {baseline} {mean_spread(theirs)}"
            lines.append(f"{line}   {'better' if kept else 'MISSED'}")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--tables", nargs="*", choices=TABLES, help="only these; nothing is kept")
    asked = parser.parse_args()
    figures: dict[str, dict[str, list[float]]] = {}
    for name in asked.tables or TABLES:
        table = read(data("tables") / TABLES[name]).table
        for seed in range(asked.seeds):
            for figure, value in run(table, seed).items():
                figures.setdefault(name, {}).setdefault(figure, []).append(value)
    if asked.tables:
        print("\n".join(summary(figures)))
    else:
        save("mixed", f"python benchmarks/mixed.py --seeds {asked.seeds}", figures, summary(figures))


if __name__ == "__main__":
    main()
