"""Packed samples on disk: every one comes back once an epoch, in another order, in windows that memory holds."""

from pathlib import Path

import numpy as np
import pytest
import torch

from hourglass.data import spool as module
from hourglass.data.spool import Spool
from hourglass.errors import DataError


@pytest.fixture
def small_stripes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_STRIPE", 3 * 8)  # three samples of two numbers


def filled(folder: Path, rows: int, window: int) -> Spool:
    spool = Spool(folder, (2,), window * 8)
    numbers = np.arange(2 * rows, dtype=np.float32).reshape(rows, 2)
    for part in np.array_split(numbers, 3):
        spool.append(part)
    return spool


@pytest.mark.usefixtures("small_stripes")
@pytest.mark.parametrize(("rows", "window"), [(100, 20), (100, 1), (7, 50), (1, 8)])
def test_every_sample_comes_once_in_windows_of_whole_batches(tmp_path: Path, rows: int, window: int) -> None:
    with filled(tmp_path, rows, window) as spool:
        windows = [each.clone() for each in spool.windows(4, torch.Generator().manual_seed(0))]
    assert all(len(each) % 4 == 0 for each in windows[:-1])
    assert all(len(each) <= max(window, 4) for each in windows)
    assert sorted(torch.cat(windows)[:, 0].tolist()) == list(range(0, 2 * rows, 2))


@pytest.mark.usefixtures("small_stripes")
def test_the_order_is_another_each_time_and_the_same_for_the_same_generator(tmp_path: Path) -> None:
    with filled(tmp_path, 100, 20) as spool:
        generator = torch.Generator().manual_seed(0)
        orders = [
            torch.cat([each.clone() for each in spool.windows(4, chosen)])
            for chosen in (generator, generator, torch.Generator().manual_seed(0))
        ]
    assert not torch.equal(orders[0], orders[1])
    assert torch.equal(orders[0], orders[2])
    first = orders[0][:20, 0]
    assert first.max() - first.min() > 100  # from everywhere


def test_nothing_is_left_of_it_and_the_first_gap_is_kept(tmp_path: Path) -> None:
    with Spool(tmp_path, (2,), 1_000) as spool:
        spool.append(np.ones((2, 2), dtype=np.float32))
        assert spool.gap is None
        spool.append(np.array([[1, 2], [np.nan, 3], [np.nan, 4]], dtype=np.float32))
        assert list(tmp_path.iterdir()) == []
        assert spool.gap is not None
        assert spool.gap[1] == 3
        assert spool.rows == 5


def test_a_folder_that_cannot_hold_it_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot hold the packed rows"):
        Spool(tmp_path / "nowhere", (2,), 1_000)
