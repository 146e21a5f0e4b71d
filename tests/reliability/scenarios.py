"""What is done to processes of their own: each scenario forks, kills or signals, and prints what came of it as JSON.

    python -m scenarios '[["NAME", "ARGUMENT", ...], ...]'

Each scenario has a forked process of its own, since a fresh one spends its first seconds on imports. Children end by
`os._exit`, never by returning.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tiny

from hourglass.core.checkpoints import TrainingFile, load_model, save_model, training_place
from hourglass.core.training import Keeper
from hourglass.data.locking import alone
from hourglass.interfaces.cli import main as command

EPOCHS = 30
"""One batch each, so that every step is kept."""


def forked(work: Callable[[], object]) -> int:
    """The number of a child that does some work."""
    child = os.fork()
    if not child:
        try:
            work()
        except BaseException:
            traceback.print_exc()
        os._exit(0)
    return child


def apart(scenario: str, *words: Any) -> Any:
    """What came of a scenario that has a process of its own."""
    reading, writing = os.pipe()

    def play() -> None:
        with os.fdopen(writing, "w") as pipe:
            json.dump(globals()[scenario](*words), pipe)

    child = forked(play)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        found = pipe.read()
    os.waitpid(child, 0)
    return json.loads(found)


def killed(child: int, after: float) -> None:
    time.sleep(after)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def keeping(place: Path, resume: bool, known: list[dict[str, Any]] | None = None) -> Callable[[dict[str, Any]], Keeper]:
    def keep(identity: dict[str, Any]) -> Keeper:
        if known is not None:
            known.append(identity)
        return TrainingFile(place, resume, identity, pause=0.0)

    return keep


def kills(modality: str, count: int, folder: str) -> dict[str, Any]:
    """Fits that go on where the last was killed, each killed at a random moment; the last may come to its end."""
    path = Path(folder) / f"{modality}.safetensors"
    place, known = training_place(path), list[dict[str, Any]]()
    start = time.monotonic()
    whole = tiny.fingerprint(tiny.fit(modality, epochs=EPOCHS, batch_size=64, keep=keeping(place, False, known)))
    took = time.monotonic() - start
    place.unlink()

    def again_and_again() -> None:
        while True:
            save_model(tiny.fit(modality, epochs=EPOCHS, batch_size=64, keep=keeping(place, True)), path)
            place.unlink()

    draw, midway, models = random.Random(modality), 0, 0
    for _ in range(count):
        killed(forked(again_and_again), draw.uniform(0.05, 0.6) * took)
        if place.exists():
            midway += TrainingFile(place, True, known[0]).found is not None
        if path.exists():
            models += tiny.fingerprint(load_model(path)) == whole
        else:
            models += 1
    last = tiny.fit(modality, epochs=EPOCHS, batch_size=64, keep=keeping(place, True))
    return {
        "kills": count,
        "models": models,
        "midway": midway,
        "left behind": [each.name for each in Path(folder).iterdir() if each.name.endswith(".tmp")],
        "same": tiny.fingerprint(last) == whole,
    }


def reads(count: int, folder: str) -> dict[str, Any]:
    """A model read again and again while another process replaces it by another one and back."""
    path = Path(folder) / "model.safetensors"
    one, other = tiny.fit("table", seed=1), tiny.fit("table", seed=2)
    known = {tiny.fingerprint(one), tiny.fingerprint(other)}
    save_model(one, path)

    def replace() -> None:
        while True:
            for each in (other, one):
                save_model(each, path)

    child, seen = forked(replace), list[str]()
    try:
        seen = [tiny.fingerprint(load_model(path)) for _ in range(count)]
    finally:
        killed(child, 0.0)
    return {"reads": len(seen), "known": sum(each in known for each in seen), "kinds": len(set(seen))}


def signals(name: str, count: int, folder: str) -> dict[str, Any]:
    """Long fits of the command line, each sent a signal at a random moment of its training."""
    data = Path(folder) / "data.csv"
    data.write_text("a,b\n" + "".join(f"{a:.4f},{b:.4f}\n" for a, b in tiny.waves(60, 2)))
    draw, ends = random.Random(name), list[dict[str, Any]]()
    for turn in range(count):
        path, talk = Path(folder) / f"{turn}.safetensors", Path(folder) / f"{turn}.txt"
        words = ["fit", data, "-o", path, "--kind", "denoising", "--epochs", 10**6, "--set", "training.patience=0"]

        def fit(talk: Path = talk, words: list[Any] = words) -> None:
            os.dup2(os.open(talk, os.O_WRONLY | os.O_CREAT), 2)
            sys.argv = ["hourglass", *map(str, words)]
            command()

        child = forked(fit)
        while not talk.exists() or "training for at most" not in talk.read_text():
            time.sleep(0.01)
        time.sleep(draw.uniform(0, 0.5))
        os.kill(child, getattr(signal, name))
        start = time.monotonic()
        status = os.waitpid(child, 0)[1]
        loaded = load_model(path) if path.exists() else None
        ends.append(
            {
                "code": os.waitstatus_to_exitcode(status),
                "seconds": time.monotonic() - start,
                "best": loaded.history.best_epoch if loaded else 0,
                "resumable": training_place(path).exists(),
                "talk": talk.read_text(),
            }
        )
    return {"ends": ends}


def lock(folder: str) -> dict[str, Any]:
    """A lock whose holder is killed."""
    path, ready = Path(folder) / "model.safetensors", Path(folder) / "ready"

    def hold() -> None:
        with alone(path):
            ready.touch()
            time.sleep(600)

    child = forked(hold)
    while not ready.exists():
        time.sleep(0.01)
    try:
        with alone(path):
            refusal = ""
    except Exception as fault:
        refusal = str(fault)
    killed(child, 0.0)
    left = [each.name for each in Path(folder).iterdir()]
    with alone(path):
        pass
    return {"holder": child, "refusal": refusal, "left": left, "after": [each.name for each in Path(folder).iterdir()]}


def determinism(folder: str) -> dict[str, Any]:
    """Fits of the same data by several readers, in a process with whatever settings it has."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from hourglass.core.fitting import fit_model
    from hourglass.data.files import read

    table = tiny.table().table
    columns = ",".join(table.column_names)
    rows = "".join(f"{row['amount']!r},{row['weight']!r},{row['town']}\n" for row in table.to_pylist())
    (Path(folder) / "data.csv").write_text(f"{columns}\n{rows}")
    pq.write_table(table, Path(folder) / "data.parquet", row_group_size=7)
    found = {}
    for threads in (1, 3):
        pa.set_cpu_count(threads)
        for name in ("data.csv", "data.parquet"):
            model = fit_model(read(Path(folder) / name), tiny.plan("table"), calibrate=False)
            found[f"{name}, {threads} threads"] = tiny.fingerprint(model)
    return found | {modality: tiny.fingerprint(tiny.fit(modality)) for modality in tiny.MODALITIES}


def loop(count: int, leaks: bool) -> dict[str, Any]:
    """Many fits: how much memory, and how many threads and handles, the process has now and then.

    `leaks`: keep something of each, as a control that the figures can tell.
    """
    import gc
    import threading

    kept: list[Any] = []
    figures = []
    for turn in range(count):
        modality = tiny.MODALITIES[turn % len(tiny.MODALITIES)]
        model = tiny.fit(modality, epochs=1)
        model.score(model.format.pack(tiny.MAKERS[modality]()))
        if leaks:
            waiting = threading.Thread(target=threading.Event().wait, daemon=True)
            waiting.start()
            kept.append((bytearray(os.urandom(1)) * 400_000, open(os.devnull), waiting))  # noqa: SIM115 (the leak)
        gc.collect()
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        handles = len(os.listdir("/proc/self/fd"))
        figures.append([pages * os.sysconf("SC_PAGE_SIZE"), len(os.listdir("/proc/self/task")), handles])
    return {"figures": figures}


def peak(rows: int) -> dict[str, Any]:
    """The most memory that a fit to so many rows took, and that scoring them took, beside the rows themselves."""
    import numpy as np

    from hourglass.core.fitting import fit_model

    data = np.random.default_rng(0).normal(size=(rows, 20))
    model = fit_model(data, tiny.plan("table", "plain", epochs=1, batch_size=256), calibrate=False)
    fitted = _most_held()
    model.detect(data, reasons="none")
    return {"data": data.nbytes, "fit": fitted, "all": _most_held()}


def _most_held() -> int:
    """Bytes. Not `ru_maxrss`, which begins with the peak of the process that started this one."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


if __name__ == "__main__":
    print(json.dumps([apart(*words) for words in json.loads(sys.argv[1])]))
