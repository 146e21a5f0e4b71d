"""`reconstruct --fill-missing`: cells are guessed from the others of their row, and nothing else changes."""

import csv
from pathlib import Path

import numpy as np

from hourglass import TableAutoencoder
from hourglass.interfaces import operations
from hourglass.interfaces.options import Fit, Reconstruct


def rows(count: int, seed: int) -> np.ndarray:
    """Three columns that one cause explains."""
    cause = np.random.default_rng(seed).normal(size=(count, 1))
    return cause @ [[1.0, 2.0, -1.0]] + 0.01 * np.random.default_rng(seed + 1).normal(size=(count, 3))


def write(path: Path, cells: list[list[str]]) -> str:
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([["name", "a", "b", "c"], *cells])
    return str(path)


def test_missing_cells_are_guessed_and_all_others_stay_as_written(tmp_path: Path) -> None:
    train, new = rows(400, 0), rows(20, 5)
    table = write(tmp_path / "train.csv", [["x", *map(str, row)] for row in train.tolist()])
    cells = [["x", *map(str, row)] for row in new.tolist()]
    for place in range(10):
        cells[place][2] = ""
    holes = write(tmp_path / "holes.csv", cells)
    model, output = str(tmp_path / "model.safetensors"), tmp_path / "filled.csv"
    operations.fit(Fit(data=table, output=model, columns=("a", "b", "c"), epochs=60))
    operations.reconstruct(Reconstruct(model=model, data=holes, output=str(output), fill_missing=True))
    with open(output, newline="") as file:
        header, *filled = csv.reader(file)
    assert header == ["name", "a", "b", "c"]
    for place, row in enumerate(filled):
        kept = [each for each in range(4) if cells[place][each]]
        assert [row[each] if each == 0 else float(row[each]) for each in kept] == [
            cells[place][each] if each == 0 else float(cells[place][each]) for each in kept
        ]
    guessed = np.array([float(row[2]) for row in filled[:10]])
    assert np.abs(guessed - new[:10, 1]).mean() < 0.3 * np.abs(new[:10, 1] - np.median(train[:, 1])).mean()


def test_arrays_are_filled_in_python() -> None:
    X = rows(60, 0)
    X[3, 1] = np.nan
    model = TableAutoencoder(epochs=2).fit(X)
    filled = model.fill_missing(X)
    assert np.isfinite(filled[3, 1])
    np.testing.assert_array_equal(np.delete(filled, 3, axis=0), np.delete(X, 3, axis=0))
