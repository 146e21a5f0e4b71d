"""Training by two processes: the weights of one on whole batches, the same bits on both, and none waits for ever."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hourglass.core.corruptions import NoCorruption
from hourglass.core.kinds import build, experiment
from hourglass.core.losses import Huber
from hourglass.core.parallel import ALONE, Dismissed, Team
from hourglass.core.training import Snapshot, train
from hourglass.data.samples import Layout
from hourglass.settings import Training

LIMIT = 240
"""Seconds: many times what it takes, since workers that wait for each other must fail and not be waited for."""
CASES = {
    "whole batch, written out": ("plain", 200, 200),
    "whole batch, by autograd": ("plain", 200, 200),
    "noise": ("denoising", 203, 16),
    "masked cells": ("masked-cell", 97, 16),
    "a codebook": ("vector-quantised", 90, 16),
    "an opponent": ("adversarial", 65, 16),
    "a number missing for one": ("deep", 121, 16),
    "fewer rows than workers": ("plain", 1, 16),
}
"""Kind, rows to train on, and rows a step."""
SCRIPT = """
import json, sys
from torch.distributed import FileStore
sys.path[:0] = [sys.argv[1]]
from test_parallel import CASES, cut_off, trained
from hourglass.core.parallel import joined
rank = int(sys.argv[3])
with joined(FileStore(sys.argv[2] + "/store", 2), rank, 2) as team:
    found = {case: trained(case, team) for case in CASES}
    found["again"], found["resumed"] = trained("noise", team), cut_off("noise", team)
with open(f"{sys.argv[2]}/{rank}.json", "w") as file:
    json.dump(found, file)
"""


class Memory:
    """Keeps a snapshot of one epoch."""

    def __init__(self, epoch: int) -> None:
        self.epoch, self.found = epoch, None

    def keep(self, snapshot: Any) -> list[str]:
        kept = snapshot()
        if kept.facts["epoch"] == self.epoch:
            tensors = {name: tensor.clone() for name, tensor in kept.tensors.items()}
            self.found = Snapshot(json.loads(json.dumps(kept.facts)), tensors)
        return []


def trained(case: str, team: Team = ALONE, keeper: Any = None) -> dict[str, Any]:
    """Weights and losses after a training on made-up rows, with 40 held out."""
    kind, rows, size = CASES[case]
    plan = experiment(kind=kind)
    plan = plan.replace(bottleneck=plan.bottleneck.replace(size=2))
    plan = plan.replace(loss=Huber()) if "autograd" in case else plan
    torch.manual_seed(0)
    model = build(plan.replace(corruption=NoCorruption()) if rows == size else plan, Layout((6,)))
    mixing = torch.randn(2, 6, generator=torch.Generator().manual_seed(7))
    x = torch.randn(rows + 40, 2, generator=torch.Generator().manual_seed(1)) @ mixing
    if "missing" in case:
        x[3, 2] = torch.nan
    settings = Training(epochs=8, batch_size=size, learning_rate=0.02, schedule="constant")
    history = train(model, x[:rows], settings, x[rows:], keeper=keeper, team=team)
    weights = torch.cat([weight.detach().flatten() for weight in model.state_dict().values()])
    return {"weights": weights.tolist(), "losses": history.validation, "best": history.best_epoch, "by": history.step}


def cut_off(case: str, team: Team) -> dict[str, Any]:
    """The same training, begun again after its third epoch with what the first worker kept."""
    memory = Memory(3)
    trained(case, team, memory)
    kept = [memory.found]
    torch.distributed.broadcast_object_list(kept)
    memory.found = kept[0]
    return trained(case, team, memory)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of two workers found."""
    folder = tmp_path_factory.mktemp("team")
    words = [sys.executable, "-W", "error", "-c", SCRIPT, str(Path(__file__).parent), str(folder)]
    loopback = next(name for _, name in socket.if_nameindex() if name.startswith("lo"))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": loopback}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    workers = [subprocess.Popen([*words, rank], env=environment, stderr=subprocess.PIPE) for rank in ("0", "1")]
    try:
        said = [worker.communicate(timeout=LIMIT)[1].decode() for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
    assert [worker.returncode for worker in workers] == [0, 0], said
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in (0, 1)]


@pytest.mark.parametrize("case", CASES)
def test_both_end_with_the_same_bits(both: list[dict[str, Any]], case: str) -> None:
    first, second = both
    assert first[case] == second[case]
    assert np.isfinite(first[case]["weights"]).all()


@pytest.mark.parametrize("case", [case for case in CASES if "whole" in case])
def test_two_with_half_a_batch_are_one_with_a_whole(both: list[dict[str, Any]], case: str) -> None:
    alone, together = trained(case), both[0][case]
    assert together["by"] == alone["by"] == ("autograd" if "autograd" in case else "written out")
    np.testing.assert_allclose(together["weights"], alone["weights"], atol=1e-6)
    for one, two in zip(alone["losses"], together["losses"], strict=True):
        assert two == pytest.approx(one, abs=1e-6)


def test_the_same_seed_gives_the_same_bits_and_the_held_out_loss_of_one(both: list[dict[str, Any]]) -> None:
    assert both[0]["again"] == both[0]["noise"]
    alone, together = (sum(losses[-1].values()) for losses in (trained("noise")["losses"], both[0]["noise"]["losses"]))
    assert together == pytest.approx(alone, rel=0.2)  # 8 epochs: neither has settled


def test_a_training_that_was_cut_off_goes_on_to_the_same_bits(both: list[dict[str, Any]]) -> None:
    assert both[0]["resumed"]["weights"] == both[0]["noise"]["weights"]


@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize("before", [0, 1, 5])
def test_every_sample_is_in_one_share(size: int, before: int) -> None:
    parts = [np.arange(before, before + 20)[Team(rank, size).part(before)] for rank in range(size)]
    assert sorted(np.concatenate(parts)) == [*range(before, before + 20)]
    assert all((part % size == rank).all() for rank, part in enumerate(parts))


def test_alone_nothing_is_waited_for() -> None:
    tensor, generator = torch.ones(2), torch.Generator().manual_seed(3)
    before = generator.get_state()
    ALONE.average(tensor)
    ALONE.follow([tensor])
    ALONE.reseed(generator, 1, 1)
    ALONE.dismiss()
    assert tensor.tolist() == [1, 1]
    assert torch.equal(generator.get_state(), before)
    assert ALONE.gathered(7) == [7]


def test_the_others_are_dismissed() -> None:
    with pytest.raises(Dismissed):
        Team(1, 2).dismiss()
