"""Shards and fits on Ray: the same bits, whatever is killed, and no door open. A process with a time limit has it."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from hourglass.core.checkpoints import load_model, save_model
from hourglass.core.fitted import DETECTOR
from hourglass.core.fitting import fit_model
from hourglass.core.kinds import experiment
from hourglass.core.parallel import ALONE, Team
from hourglass.data.files import read
from hourglass.errors import DataError, HourglassError, MissingExtraError, UsageError
from hourglass.interfaces import cluster, large_fits, operations, remote_fits, teams
from hourglass.interfaces.options import Fit
from hourglass.settings import Training

LIMIT = 600
"""Seconds: many times what it takes, since a cluster that hangs must fail and not be waited for."""


def table(rows: int, seed: int) -> pa.Table:
    random = np.random.default_rng(seed)
    x = random.normal(size=rows)
    return pa.table({"x": x, "y": 2 * x + 30 * (np.arange(rows) % 100 == 0), "z": random.normal(size=rows)})


TOGETHER = ["--kind", "plain", "--epochs", "200", "--set", "training.patience=0"]
SCRIPT = """
import json, os, random, signal, subprocess, sys, threading, time
from pathlib import Path
folder = Path(sys.argv[1])

from hourglass.interfaces import cluster
from hourglass.interfaces.cli import run

def listening():
    done = subprocess.run(["ss", "-ltnH"], capture_output=True, text=True)
    return {line.split()[3] for line in done.stdout.splitlines()}

def workers():
    done = subprocess.run(["ps", "-eo", "pid,ppid,command"], capture_output=True, text=True).stdout.splitlines()[1:]
    rows = [line.split(None, 2) for line in done]
    children = {os.getpid()}
    while True:
        more = children | {int(pid) for pid, parent, _ in rows if int(parent) in children}
        if more == children:
            break
        children = more
    return [(int(pid), command) for pid, _, command in rows if int(pid) in children and command.startswith("ray::")]

def kill_one(killed, name, begun):
    while not killed and not stop.is_set():
        for pid in [pid for pid, command in workers() if name in command and begun.exists()][:1]:
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)
        time.sleep(0.2)

def watch(begun):
    for _ in range(3_000):
        if begun.exists():
            opened.extend(sorted(listening() - before) if before is not None else [])
            return
        time.sleep(0.1)

before = listening() if subprocess.run(["which", "ss"], capture_output=True).returncode == 0 else None
home = set(Path.home().glob(".ray/*"))
with cluster.cluster("ray") as ray:
    opened = sorted(listening() - before) if before is not None else []
    killed, stop = [], threading.Event()
    killer = threading.Thread(target=kill_one, args=(killed, "_guarded", folder))
    killer.start()
    model = str(folder / "model.safetensors")
    codes = [run(["detect", model, str(folder / "in"), "-o", str(folder / "ray"), "--on", "ray", "--quiet"])]
    stop.set()
    killer.join()
    codes.append(run(["encode", model, str(folder / "in"), "-o", str(folder / "codes"), "--on", "ray", "--quiet"]))
    fit = ["fit", str(folder / "train.parquet"), "-o", str(folder / "fitted"), "--kind", "plain", "--epochs", "2"]
    codes.append(run([*fit, "--on", "ray", "--quiet"]))
    tune = ["tune", str(folder / "train.parquet"), "-o", str(folder / "tuned"), "--trials", "2", "--epochs", "1"]
    codes.append(run([*tune, "--kinds", "plain,deep", "--modality", "table", "--on", "ray", "--quiet"]))
    lost, stop = [], threading.Event()
    killer = threading.Thread(target=kill_one, args=(lost, "RayTrainWorker", folder / "team.resume.safetensors"))
    killer.start()
    together = ["fit", str(folder / "train.parquet"), *json.loads(sys.argv[2]), "--on", "ray", "--workers"]
    codes.append(run([*together, "2", "-o", str(folder / "team"), "--quiet"]))
    stop.set()
    killer.join()
    watcher = threading.Timer(0, watch, [folder / "again.resume.safetensors"])
    watcher.start()
    codes.append(run([*together, "2", "-o", str(folder / "again"), "--quiet"]))
    watcher.join()
    codes.append(run([*together, "999", "-o", str(folder / "crowd"), "--quiet"]))
token = sorted(set(Path.home().glob(".ray/*")) - home)
found = {"opened": opened, "killed": len(killed), "lost": len(lost), "codes": codes, "token": token}
(folder / "found.json").write_text(json.dumps(found, default=str))
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a local cluster has scored shards, a worker killed and one shard broken, and fitted."""
    pytest.importorskip("ray")
    folder = tmp_path_factory.mktemp("ray")
    (folder / "in").mkdir()
    pq.write_table(table(300, 99), folder / "train.parquet")
    plan = experiment("table", "plain").replace(training=Training(epochs=2))
    fitted = fit_model(read(folder / "train.parquet"), plan)  # type: ignore[arg-type]
    fitted.card["task"] = DETECTOR
    save_model(fitted, folder / "model")
    for seed in range(4):
        pq.write_table(table(9_000, seed), folder / f"in/{seed}.parquet")
    (folder / "in/broken.parquet").write_bytes(b"PAR1 and no more")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", SCRIPT, str(folder), json.dumps(TOGETHER)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=LIMIT, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def found(folder: Path) -> dict[str, object]:
    document: dict[str, object] = json.loads((folder / "found.json").read_text())
    return document


def test_every_shard_is_scored_as_in_one_process_though_a_worker_was_killed(ran: Path) -> None:
    from hourglass.interfaces.cli import run

    assert found(ran)["killed"] == 1
    assert found(ran)["codes"] == [3, 3, 0, 0, 0, 0, 2]  # one shard is broken, and for 999 workers there is no room
    for verb, place in (("detect", "ray"), ("encode", "codes")):
        assert run([verb, str(ran / "model.safetensors"), str(ran / "in"), "-o", str(ran / "here"), "--quiet"]) == 3
        names = sorted(each.name for each in (ran / "here").iterdir())
        assert names == sorted(each.name for each in (ran / place).iterdir())
        for name in set(names) - {"_manifest.json"}:
            assert pq.read_table(ran / place / name).equals(pq.read_table(ran / "here" / name))


def test_a_fit_on_ray_is_the_fit_here(ran: Path) -> None:
    from hourglass.interfaces.cli import run

    words = ["fit", str(ran / "train.parquet"), "-o", str(ran / "alone"), "--kind", "plain", "--epochs", "2", "--quiet"]
    assert run(words) == 0
    frame = read(ran / "train.parquet")
    models = [cluster.model_from_bytes((ran / f"{name}.safetensors").read_bytes()) for name in ("fitted", "alone")]
    scores = [model.detect(frame, reasons="none").rows.score for model in models]  # type: ignore[arg-type]
    assert np.array_equal(*scores)


def test_two_workers_give_the_model_of_one_whichever_is_killed(ran: Path) -> None:
    from hourglass.interfaces.cli import run

    assert found(ran)["lost"] == 1
    assert run(["fit", str(ran / "train.parquet"), "-o", str(ran / "one"), *TOGETHER, "--quiet"]) == 0
    killed, again, one = (load_model(ran / f"{name}.safetensors") for name in ("team", "again", "one"))
    for name, tensor in killed.network.state_dict().items():
        assert torch.equal(tensor, again.network.state_dict()[name])
    losses = [min(sum(terms.values()) for terms in model.history.validation) for model in (killed, one)]
    assert losses[0] == pytest.approx(losses[1], rel=0.01)
    assert killed.card["workers"] == 2
    assert not [each for each in ran.iterdir() if "resume" in each.name or each.name.startswith(".")]


def test_a_fault_of_the_user_is_told_as_without_ray(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pq.write_table(table(60, 0), tmp_path / "in.parquet")
    monkeypatch.setattr(teams, "_team", lambda: contextlib.nullcontext(ALONE))
    right = Fit(data=str(tmp_path / "in.parquet"), output=str(tmp_path / "out"), epochs=1, kind="plain", workers=2)
    for wrong in (right.replace(columns=("nothing",)), right.replace(learning_rate=1e30, epochs=9)):
        with pytest.raises(HourglassError) as here:
            operations.fit(wrong)
        teams._work({"request": wrong, "place": str(tmp_path)})
        with pytest.raises(type(here.value)) as there:
            teams._outcome(tmp_path, None)
        assert str(there.value) == str(here.value)
        teams._work({"request": right, "place": str(tmp_path)})  # begun again, it has nothing to do
        assert not (tmp_path / "out.safetensors").exists()
        (tmp_path / "end.json").unlink()


def test_workers_that_are_lost_too_often_are_told_of(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="training broke off 21 times: it was full"):
        teams._outcome(tmp_path, RuntimeError("a trace\nit was full"))
    with pytest.raises(DataError, match="no worker said why"):
        teams._outcome(tmp_path, RuntimeError())


@pytest.mark.parametrize("memory", [None, "64MB"])
def test_the_others_help_and_write_nothing(tmp_path: Path, memory: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large_fits, "_COPIES", 10**6)
    monkeypatch.setattr(Team, "gathered", lambda team, number: [number])
    monkeypatch.setattr(Team, "average", lambda team, tensor: None)
    monkeypatch.setattr(Team, "follow", lambda team, tensors: None)
    pq.write_table(table(60, 0), tmp_path / "in.parquet")
    data, output = str(tmp_path / "in.parquet"), str(tmp_path / "out")
    request = Fit(data=data, output=output, epochs=1, kind="plain", modality="table", memory=memory)
    operations.help_fit(request, Team(1, 2))
    assert [each.name for each in tmp_path.iterdir()] == ["in.parquet"]


@pytest.mark.parametrize(("workers", "all_processors"), [(3, 2), (1_000, 64), (2, 1)])
def test_workers_for_whom_there_is_no_room_are_refused(workers: int, all_processors: int) -> None:
    with pytest.raises(UsageError, match="has room for"):
        teams.processors_each(workers, all_processors)


def test_workers_are_those_of_ray(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--workers: workers are processes on Ray"):
        remote_fits.fit(Fit(data=str(tmp_path), output=str(tmp_path / "m"), workers=2))


def test_candidates_are_tried_on_ray(ran: Path) -> None:
    tuned = cluster.model_from_bytes((ran / "tuned.safetensors").read_bytes()).card["tuning"]
    assert [trial["failed"] for trial in tuned["trials"]] == ["", ""]


def test_a_local_cluster_listens_on_loopback_only_and_leaves_no_token(ran: Path) -> None:
    opened = found(ran)["opened"]
    assert isinstance(opened, list)
    assert all(place.startswith(("127.", "[::1]", "[::ffff:127.")) for place in opened)
    assert found(ran)["token"] == []


@pytest.mark.parametrize("address", ["spark", "http://host", "rays://host:1"])
def test_only_ray_is_known(address: str) -> None:
    with pytest.raises(UsageError, match="wanted ray or ray://HOST:10001"), cluster.cluster(address):
        pass


def test_without_ray_the_pip_line_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"hourglass-autoencoder\[ray\]"), cluster.cluster("ray"):
        pass
    assert not set(cluster._LOCAL) & set(os.environ)
