"""Shards on Ray: the same bits, whatever is killed, and no door open. The cluster is a process with a time limit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hourglass.core.checkpoints import save_model
from hourglass.core.fitted import DETECTOR
from hourglass.core.fitting import fit_model
from hourglass.core.kinds import experiment
from hourglass.data.files import read
from hourglass.errors import MissingExtraError, UsageError
from hourglass.interfaces import cluster
from hourglass.settings import Training

LIMIT = 600
"""Seconds: many times what it takes, since a cluster that hangs must fail and not be waited for."""


def table(rows: int, seed: int) -> pa.Table:
    random = np.random.default_rng(seed)
    x = random.normal(size=rows)
    return pa.table({"x": x, "y": 2 * x + 30 * (np.arange(rows) % 100 == 0), "z": random.normal(size=rows)})


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
    return [int(pid) for pid, _, command in rows if int(pid) in children and command.startswith("ray::_guarded")]

def kill_some(killed):
    while not killed and not stop.is_set():
        for pid in workers()[:1]:
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)
        time.sleep(0.2)

before = listening() if subprocess.run(["which", "ss"], capture_output=True).returncode == 0 else None
home = set(Path.home().glob(".ray/*"))
with cluster.cluster("ray") as ray:
    opened = sorted(listening() - before) if before is not None else []
    killed, stop = [], threading.Event()
    killer = threading.Thread(target=kill_some, args=(killed,))
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
token = sorted(set(Path.home().glob(".ray/*")) - home)
found = {"opened": opened, "killed": len(killed), "codes": codes, "token": token}
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
    command = [sys.executable, "-c", SCRIPT, str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=LIMIT, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def found(folder: Path) -> dict[str, object]:
    document: dict[str, object] = json.loads((folder / "found.json").read_text())
    return document


def test_every_shard_is_scored_as_in_one_process_though_a_worker_was_killed(ran: Path) -> None:
    from hourglass.interfaces.cli import run

    assert found(ran)["killed"] == 1
    assert found(ran)["codes"] == [3, 3, 0, 0]  # one shard is broken
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
