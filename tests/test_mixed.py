"""What `benchmarks/mixed.py` plants in a table: one wrong cell a row, and nothing that it does not tell of."""

from __future__ import annotations

import copy
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

CELLS: dict[str, list[Any]] = {
    "word": ["alpha", "beta", "gamma", None] * 25,
    "count": [*range(100)],
    "length": [None, 1.5, 2.25, 10.0] * 25,
    "flag": [True, False] * 50,
}


@pytest.fixture
def mixed(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[1] / "benchmarks"))
    return import_module("mixed")


def changed(cells: dict[str, list[Any]]) -> np.ndarray:
    return np.array([[a != b for a, b in zip(CELLS[name], cells[name], strict=True)] for name in CELLS]).T


@pytest.mark.parametrize("name", ["swaps", "typos", "gaps"])
def test_what_is_told_is_what_was_changed(mixed: ModuleType, name: str) -> None:
    cells = copy.deepcopy(CELLS)
    wrong = getattr(mixed, name)(cells, np.random.default_rng(0))
    np.testing.assert_array_equal(wrong, changed(cells))
    assert wrong.sum() in {"swaps": {10}, "typos": {10}, "gaps": {8 + 10 + 8 + 10}}[name]
    assert name == "gaps" or wrong.sum(axis=1).max() == 1


def test_swaps_leave_each_column_what_it_holds(mixed: ModuleType) -> None:
    cells = copy.deepcopy(CELLS)
    mixed.swaps(cells, np.random.default_rng(1))
    assert all(sorted(map(str, cells[name])) == sorted(map(str, CELLS[name])) for name in CELLS)


def test_typos_keep_a_cell_s_type(mixed: ModuleType) -> None:
    cells = copy.deepcopy(CELLS)
    wrong = mixed.typos(cells, np.random.default_rng(2))
    before, after = (np.array([each[name] for name in CELLS], dtype=object).T[wrong] for each in (CELLS, cells))
    assert [*map(type, before)] == [*map(type, after)]
    assert all(sorted(a) == sorted(b) for a, b in zip(before, after, strict=True) if isinstance(a, str))
    assert all(len(str(b)) == len(str(a)) + 1 for a, b in zip(before, after, strict=True) if not isinstance(a, str))


def test_rare_cells_are_those_far_out_and_seldom_seen(mixed: ModuleType) -> None:
    assert mixed.rarity(["a", "a", "a", "b", None], ["a", "b", "c", None]).round(3).tolist() == [
        *(-np.log([4 / 5, 2 / 5, 1 / 5])).round(3),
        0.0,
    ]
    numbers = mixed.rarity([0.0, 1.0, 2.0], [1.0, 2.0, 9.0, None])
    np.testing.assert_allclose(numbers, [0.0, -np.log(3 / 4), -np.log(1 / 4), 0.0], atol=1e-12)
