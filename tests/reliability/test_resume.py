"""A training that was cut off goes on to the same bits: weights, history and calibration."""

import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from commands import Command
from tiny import MODALITIES, fingerprint, fit, plan, table, waves

from hourglass.core import training
from hourglass.core.checkpoints import TrainingFile, load_model, training_place
from hourglass.core.fitting import Keep, fit_model
from hourglass.errors import ModelFileError, TrainingError, UsageError
from hourglass.interfaces.cli import run

pytestmark = pytest.mark.reliability(4)
Turns = Callable[[int, int], int]
Counted = Callable[[int], None]

EPOCHS = 6
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    **{modality: (modality, {}) for modality in MODALITIES},
    "cosine": ("table", {"schedule": "cosine"}),
    "stopped early": ("table", {"learning_rate": 0.3, "patience": 2, "epochs": 40}),
    "without held-out rows": ("series", {"validation": 0.0}),
    # what else has a state: codebooks, opponents, drawn codes and a warm-up, layers trained before, top units
    **{
        kind: ("table", {"kind": kind})
        for kind in ("vector-quantised", "adversarial", "variational", "stacked", "dictionary", "denoising-swap")
    },
}


class CutOffError(Exception):
    """Stands for the end of the process: nothing of ours catches it."""


def keeping(place: Path, resume: bool) -> Keep:
    return lambda identity: TrainingFile(place, resume, identity, pause=0.0)


def cut_off(modality: str, step: int, place: Path, **asked: Any) -> None:
    """A training that goes on from `place`, if it can, and ends after so many steps, somewhere within an epoch."""
    rate_at, steps = training.rate_at, iter(range(step))

    def cut(*given: Any) -> float:
        if next(steps, None) is None:
            raise CutOffError
        return rate_at(*given)

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(training, "rate_at", cut)
        with pytest.raises(CutOffError):
            fit(modality, keep=keeping(place, True), **asked)


@pytest.mark.parametrize("case", CASES)
def test_it_ends_in_the_same_bits(case: str, tmp_path: Path, turns: Turns, counted: Counted) -> None:
    modality, asked = CASES[case]
    asked = {"epochs": EPOCHS, **asked}
    place = tmp_path / "model.resume.safetensors"
    model = fit(modality, keep=keeping(place, False), **asked)
    whole, draw = fingerprint(model), random.Random(case)
    steps = len(model.history.training) * -(-model.card["samples"] * 9 // 10 // model.history.batch_size)
    count = turns(1, 20)
    counted(count)
    for _ in range(count):
        place.unlink()
        for _ in range(2):  # cut off, and again on the way
            cut_off(modality, draw.randrange(1, steps // 2), place, **asked)
        resumed = fit(modality, keep=keeping(place, True), **asked)
        assert fingerprint(resumed) == whole


def test_where_it_was_cut_off_tells(tmp_path: Path) -> None:
    """The oracle: a training that forgets what its optimizer knew ends in other bits."""
    place = tmp_path / "model.resume.safetensors"
    whole = fingerprint(fit("series", epochs=EPOCHS))
    cut_off("series", 10, place, epochs=EPOCHS)

    def forgetful(identity: dict[str, Any]) -> TrainingFile:
        file = TrainingFile(place, True, identity)
        assert file.found is not None
        for name, tensor in file.found.tensors.items():
            if name.startswith("moments"):
                tensor.zero_()
        return file

    assert fingerprint(fit("series", epochs=EPOCHS, keep=forgetful)) != whole


def test_seldom_is_enough(tmp_path: Path) -> None:
    """Written after the first epoch, and then once a second has passed."""
    place = tmp_path / "model.resume.safetensors"
    fit("table", epochs=20, keep=lambda identity: TrainingFile(place, False, identity, pause=3600.0))
    with pytest.raises(UsageError) as caught:
        TrainingFile(place, True, {"experiment": 1})
    assert "experiment" in str(caught.value)
    header = place.read_bytes()[:20_000].decode(errors="replace")
    assert re.search(r'\\"epoch\\": 1,', header)


# What it refuses


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seed": 6}, r"experiment\.training\.seed was 5 then and is 6 now"),
        ({"epochs": 7}, r"experiment\.training\.epochs was 6 then and is 7 now"),
        ({"kind": "deep"}, r"experiment\.bottleneck"),
    ],
    ids=["seed", "epochs", "kind"],
)
def test_another_training_is_refused_by_what_is_other(change: dict[str, Any], words: str, tmp_path: Path) -> None:
    place = tmp_path / "model.resume.safetensors"
    fit("table", epochs=EPOCHS, keep=keeping(place, False))
    with pytest.raises(UsageError, match=rf"model\.resume\.safetensors: .*{words}(.|\n)*--resume"):
        fit("table", keep=keeping(place, True), **{"epochs": EPOCHS, **change})


def test_other_data_are_refused(tmp_path: Path) -> None:
    place = tmp_path / "model.resume.safetensors"
    fit("table", keep=keeping(place, False))
    with pytest.raises(UsageError, match=r"samples was"):
        fit_model(table(41), plan("table"), calibrate=False, keep=keeping(place, True))


def test_a_damaged_training_is_refused(tmp_path: Path) -> None:
    place = tmp_path / "model.resume.safetensors"
    fit("table", keep=keeping(place, False))
    content = place.read_bytes()
    place.write_bytes(content[:-9] + b"\1" + content[-8:])
    with pytest.raises(ModelFileError, match=r"model\.resume\.safetensors: the checksum does not hold"):
        fit("table", keep=keeping(place, True))


def test_a_training_that_does_not_fit_the_network_is_refused(tmp_path: Path) -> None:
    place = tmp_path / "model.resume.safetensors"
    fit("table", keep=keeping(place, False))

    def lost(identity: dict[str, Any]) -> TrainingFile:
        file = TrainingFile(place, True, identity)
        assert file.found is not None
        file.found.tensors.pop("moments.0")
        return file

    with pytest.raises(TrainingError, match=r"does not fit this one \(KeyError(.|\n)*--resume"):
        fit("table", keep=lost)


# From the command line


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "data.csv"
    path.write_text("a,b,c\n" + "".join(f"{a:.4f},{b:.4f},{c:.4f}\n" for a, b, c in waves(200, 3)))
    return path


ASKED = ("--kind", "denoising", "--epochs", "150", "--set", "training.patience=0", "--false-alarm-rate", "0.1")


def test_a_killed_command_goes_on_to_the_same_model(
    data: Path, tmp_path: Path, environment: dict[str, str], hourglass: Command
) -> None:
    model, whole = tmp_path / "model.safetensors", tmp_path / "whole.safetensors"
    place = training_place(model)
    script = "from hourglass.interfaces.cli import main; main()"
    endless = [sys.executable, "-c", script, "fit", str(data), "-o", str(model), *ASKED]
    process = subprocess.Popen(endless, env=environment, stderr=subprocess.DEVNULL)
    while not place.exists():
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not model.exists()
    done = hourglass("fit", data, "-o", model, *ASKED, "--resume")
    assert done.code == 0
    assert "going on after epoch" in done.err
    assert not place.exists()
    assert run(["fit", str(data), "-o", str(whole), *ASKED, "--quiet"]) == 0
    assert fingerprint(load_model(model)) == fingerprint(load_model(whole))
    assert sorted(each.name for each in tmp_path.iterdir()) == ["data.csv", "model.safetensors", "whole.safetensors"]


def test_what_there_is_to_go_on_with_is_said(data: Path, tmp_path: Path, hourglass: Command) -> None:
    model, quick = tmp_path / "model.safetensors", ("--kind", "plain", "--epochs", "2", "--false-alarm-rate", "0.1")
    place = training_place(model)
    assert f"there is no {place} to go on from" in hourglass("fit", data, "-o", model, *quick, "--resume").err
    fit("table", keep=keeping(place, False))
    assert "another training was cut off" in hourglass("fit", data, "-o", model, *quick, "--resume").err
    assert f"--resume would have gone on from {place}" in hourglass("fit", data, "-o", model, *quick).err
    assert not place.exists()
