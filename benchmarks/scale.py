"""Tables larger than memory, and Ray: what is held, what it costs beside the path in memory, what survives a kill.

    python benchmarks/scale.py [--gigabytes 0.4] [--kills 3] [memory] [ray] [train] [kills]

Shards of Parquet with 30 columns of eight hidden causes, one process, one thread. `memory`: `fit` (kind plain, two
epochs) and `detect` under --memory 512MB, and with all rows in memory; baseline is the same with 100 rows. `ray`: one
and two workers on this machine, each on one thread, beside one process without Ray. `kills`: `detect` on Ray while
workers are killed at random, `detect` and `fit` in one process that is killed and started again. `train`: the default
fit to one shard in one process, as a task on Ray, and by two workers together, of whom one is then killed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from common import HOURGLASS, process, save

from hourglass.core.checkpoints import load_model

COLUMNS, SHARD, GROUP, BOUND = 30, 250_000, 50_000, "512MB"
FIT = ("--kind", "plain", "--epochs", "2", "--modality", "table", "--quiet")


def write_shards(folder: Path, rows: int, shard: int = SHARD) -> None:
    folder.mkdir()
    causes = np.random.default_rng(0).normal(size=(8, COLUMNS))
    for number, start in enumerate(range(0, rows, shard)):
        noise = np.random.default_rng(number + 1)
        count = min(shard, rows - start)
        x = noise.normal(size=(count, 8)) @ causes + 0.1 * noise.normal(size=(count, COLUMNS))
        table = pa.table({f"c{place}": column for place, column in enumerate(x.T)})
        pq.write_table(table, folder / f"part-{number:04}.parquet", row_group_size=GROUP)


def memory(folder: Path, rows: int) -> dict[str, Any]:
    """Peaks and seconds of both paths."""
    write_shards(folder / "tiny", 100)
    model, out = str(folder / "m.safetensors"), str(folder / "out")
    fit = ("fit", str(folder / "in"), "-o", model, *FIT)
    detect = ("detect", model, str(folder / "in"), "-o")
    works = {
        "fit baseline": ("fit", str(folder / "tiny"), "-o", str(folder / "t.safetensors"), *FIT),
        "fit in memory": (*fit, "--memory", "1TB"),
        "fit bounded": (*fit, "--memory", BOUND),
        "detect baseline": ("detect", model, str(folder / "tiny"), "-o", str(folder / "t.parquet"), "--quiet"),
        "detect in memory": (*detect, str(folder / "s.parquet"), "--quiet"),
        "detect bounded": (*detect, out, "--quiet", "--memory", BOUND),
    }
    costs = {name: process(HOURGLASS, *words) for name, words in works.items()}
    found = {name: {**cost._asdict(), "rows a second": round(rows / cost.wall)} for name, cost in costs.items()}
    for verb in ("fit", "detect"):
        bounded, baseline, whole = (costs[f"{verb} {how}"] for how in ("bounded", "baseline", "in memory"))
        found[verb] = {
            "beyond baseline, MB": round((bounded.memory - baseline.memory) * 2**20 / 1e6),
            "cpu over in memory": round(bounded.cpu / whole.cpu, 2),
            "wall over in memory": round(bounded.wall / whole.wall, 2),
        }
    return found


WITH_RAY = """
import os, sys, time
processors, model, *folders = sys.argv[1:]
from hourglass.interfaces import cluster
from hourglass.interfaces.cli import run
if processors != "0":
    os.environ |= cluster._LOCAL
    import ray
    start = time.perf_counter()
    ray.init(num_cpus=int(processors), include_dashboard=False, log_to_driver=False, object_store_memory=256 << 20)
    print(time.perf_counter() - start)
on = ["--on", "ray"] if processors != "0" else []
for folder in folders:
    start = time.perf_counter()
    code = run(["detect", model, folder, "-o", f"{folder}-{processors}", "--quiet", *on])
    assert code == 0
    print(time.perf_counter() - start)
"""


def on_ray(folder: Path, rows: int) -> dict[str, Any]:
    """Seconds for all shards with 0 (no Ray), 1 and 2 workers, once they are warm; and cold for 400,000 rows."""
    model = fitted(folder)
    write_shards(folder / "some", 400_000, 50_000)
    write_shards(folder / "warm", 4 * 9_000, 9_000)
    found: dict[str, Any] = {}
    for workers in (0, 1, 2):
        folders = [str(folder / name) for name in ("some", "warm", "in")]
        words = [sys.executable, "-c", WITH_RAY, str(workers), model, *folders]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        *begun, cold, _, warm = map(float, done.stdout.split())
        found[f"{workers} workers"] = {
            "start of Ray, s": round(sum(begun), 2),
            "400,000 rows cold, s": round(cold, 2),
            "all rows, s": round(warm, 2),
            "rows a second": round(rows / warm),
        }
    found["two over one"] = round(found["1 workers"]["all rows, s"] / found["2 workers"]["all rows, s"], 2)
    overhead = found["2 workers"]["start of Ray, s"] + found["2 workers"]["400,000 rows cold, s"]
    found["overhead on 400,000 rows, s"] = round(overhead - found["0 workers"]["400,000 rows cold, s"], 2)
    return found


def fitted(folder: Path) -> str:
    model = str(folder / "m.safetensors")
    if not Path(model).exists():
        process(HOURGLASS, "fit", str(folder / "in/part-0000.parquet"), "-o", model, *FIT)
    return model


def train(folder: Path, wanted: int) -> dict[str, Any]:
    """Seconds and held-out loss by ways of training; and how often two workers, one of them killed, gave the same."""
    fit = [HOURGLASS, "fit", str(folder / "in/part-0000.parquet"), "--modality", "table", "--epochs", "5", "--json"]
    ways = {"one process": [], "a task on Ray": ["--on", "ray"], "two workers": ["--on", "ray", "--workers", "2"]}
    found: dict[str, Any] = {}
    for name, words in ways.items():
        start = time.perf_counter()
        done = subprocess.run([*fit, "-o", str(folder / name), *words], capture_output=True, text=True, check=True)
        training = json.loads(done.stdout)["training"]
        found[name] = {
            "seconds": round(time.perf_counter() - start, 1),
            "of which training": training["seconds"],
            "held-out loss": round(sum(training["terms"].values()), 5),
        }
    again = [*fit, "--quiet", "-o", str(folder / "lost"), *ways["two workers"]]
    whole = weights(folder / "two workers")
    begun = folder / "lost.resume.safetensors"
    same = sum(_killed(again, "RayTrainWorker", 1, begun) and weights(folder / "lost") == whole for _ in range(wanted))
    return {**found, "killed, and the same weights": same, "of": wanted}


def weights(model: Path) -> bytes:
    """All weights of a model."""
    tensors = load_model(model, "cpu").network.state_dict()
    return b"".join(tensors[name].numpy().tobytes() for name in sorted(tensors))


def kills(folder: Path, wanted: int) -> dict[str, Any]:
    """How many of as many runs as wanted ended whole, each killed at a random moment."""
    model = fitted(folder)
    write_shards(folder / "shards", 40 * 20_000, 20_000)
    detect = [HOURGLASS, "detect", model, str(folder / "shards"), "--quiet", "-o", str(folder / "killed")]
    fit = [HOURGLASS, "fit", str(folder / "in"), "-o", str(folder / "k"), *FIT[:3], "20", *FIT[4:], "--memory", BOUND]
    whole = subprocess.run([*detect[:-1], str(folder / "whole")], check=True) and digest(folder / "whole")
    return {
        "workers of detect on Ray": sum(_worker_killed(detect, folder) == whole for _ in range(wanted)),
        "drivers of detect": sum(_killed_and_resumed(detect, detect, folder) == whole for _ in range(wanted)),
        "fits": sum(_killed_and_resumed(fit, [*fit, "--resume"], folder) != "" for _ in range(wanted)),
        "of": wanted,
    }


def digest(folder: Path) -> str:
    """All scores of all shards, as one word."""
    tables = [pq.read_table(each) for each in sorted(folder.glob("*.parquet"))]
    return str(hash(pa.concat_tables(tables).column("anomaly_score").to_numpy().tobytes())) if tables else ""


def _killed_and_resumed(first: list[str], again: list[str], folder: Path) -> str:
    shutil.rmtree(folder / "killed", ignore_errors=True)
    child = subprocess.Popen(first)
    time.sleep(random.uniform(2, 12))
    child.kill()
    child.wait()
    done = subprocess.run(again, check=False).returncode == 0
    return (digest(folder / "killed") or "fitted") if done else ""


def _worker_killed(detect: list[str], folder: Path) -> str:
    """Scores of a run on Ray some of whose workers are killed."""
    shutil.rmtree(folder / "killed", ignore_errors=True)
    return digest(folder / "killed") if _killed([*detect, "--on", "ray"], "_guarded", 3, folder) else ""


def _killed(words: list[str], name: str, most: int, begun: Path) -> bool:
    """Whether a command on Ray ended well though workers were killed, one every second or so once `begun` is there."""
    child = subprocess.Popen(words, stdout=subprocess.DEVNULL)
    killed = 0
    while child.poll() is None:
        time.sleep(random.uniform(0.2, 2))
        busy = _at_work_below(child.pid, name) if begun.exists() else []
        if busy and killed < most:
            os.kill(random.choice(busy), signal.SIGKILL)
            killed += 1
    return killed > 0 and child.returncode == 0


def _at_work_below(process_id: int, name: str) -> list[int]:
    """Workers of Ray called so, among the processes that this one has started."""
    listed = subprocess.run(["ps", "-eo", "pid,ppid,command"], capture_output=True, text=True).stdout.splitlines()[1:]
    rows = [line.split(None, 2) for line in listed]
    below, found = {process_id}, 0
    while len(below) > found:
        found = len(below)
        below |= {int(child) for child, parent, _ in rows if int(parent) in below}
    called = {int(child) for child, _, words in rows if words.startswith("ray::") and name in words}
    return sorted(called & below)


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument(
        "parts", nargs="*", choices=["memory", "ray", "train", "kills", []], default=[], help="default: all"
    )
    asked.add_argument("--gigabytes", type=float, default=0.4)
    asked.add_argument("--kills", type=int, default=3)
    words = asked.parse_args()
    rows = int(words.gigabytes * 1e9 / 8 / COLUMNS)
    with tempfile.TemporaryDirectory(prefix="hourglass-scale-") as place:
        folder = Path(place)
        write_shards(folder / "in", rows, min(SHARD, max(20_000, rows // 8)))
        parts: dict[str, Callable[[], dict[str, Any]]] = {
            "memory": lambda: memory(folder, rows),
            "ray": lambda: on_ray(folder, rows),
            "train": lambda: train(folder, words.kills),
            "kills": lambda: kills(folder, words.kills),
        }
        figures = {"rows": rows, **{name: parts[name]() for name in words.parts or parts}}
    lines = json.dumps(figures, indent=1).splitlines()
    if words.parts:  # a part alone is no record
        print("\n".join(lines))
    else:
        save(
            "scale", f"python benchmarks/scale.py --gigabytes {words.gigabytes:g} --kills {words.kills}", figures, lines
        )


if __name__ == "__main__":
    main()
