"""Model files, damaged, edited and hostile, and those of earlier versions; and nothing that runs what a file says."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from golden import GOLDEN, compared, golden_folders
from mutations import MUTATIONS, fuzz, opened, signed, verdict
from tiny import MODALITIES, fit

from hourglass.core.checkpoints import TrainingFile, load_model, model_bytes, model_from_bytes
from hourglass.errors import ModelFileError

pytestmark = pytest.mark.reliability(2)
Turns = Callable[[int, int], int]
Counted = Callable[[int], None]


@pytest.fixture(scope="module")
def contents() -> dict[str, bytes]:
    """A small model file of each modality."""
    return {modality: model_bytes(fit(modality)) for modality in MODALITIES}


@pytest.mark.parametrize("modality", MODALITIES)
def test_a_flip_of_any_byte_is_refused_or_changes_nothing(
    contents: dict[str, bytes], modality: str, turns: Turns, counted: Counted
) -> None:
    content = contents[modality]
    places = range(0, len(content), turns(61, 1))
    counted(len(places))
    taken = [
        verdict(content[:place] + bytes([content[place] ^ 1 << place % 8]) + content[place + 1 :], content)
        for place in places
    ]
    assert taken.count("refused") > 0.98 * len(places)  # a space between words of the header may be another space


def test_a_mutated_file_is_refused_by_name_or_is_the_same_model(
    contents: dict[str, bytes], turns: Turns, counted: Counted
) -> None:
    count = turns(20_000, 200_000)
    counted(count)
    taken = fuzz([*contents.values()], count, seed=11)
    assert taken["refused"] > 0.9 * count
    assert taken["the same model"] > 0  # the very bytes of a file, drawn onto themselves


@pytest.mark.parametrize("modality", MODALITIES)
def test_an_edited_and_newly_signed_file_is_refused_by_name_or_fits_together(
    contents: dict[str, bytes], modality: str, turns: Turns, counted: Counted
) -> None:
    count = turns(60, 2_000)
    counted(count)
    assert fuzz([contents[modality]], count, seed=12, share_edited=1.0)["refused"] > 0


def test_every_mutation_can_be_noticed(contents: dict[str, bytes]) -> None:
    """The fuzzer's own oracle: a loader that took whatever comes would be found out by each mutation."""
    import random

    content = contents["table"]
    assert all(any(change(content, random.Random(seed)) != content for seed in range(9)) for change in MUTATIONS)
    other = contents["series"]
    with pytest.raises(AssertionError, match="another model"):
        verdict(other, content)


# By name


def absurd(content: bytes, slot: str, **values: object) -> bytes:
    document, tensors = opened(content)
    document["experiment"][slot].update(values)
    return signed(document, tensors)


@pytest.mark.parametrize(
    ("slot", "values"),
    [
        ("network", {"layers": [10**9]}),
        ("network", {"layers": [300_000]}),
        ("network", {"layers": [64] * 20_000}),
        ("bottleneck", {"size": 10**12}),
        ("bottleneck", {"is": "codebook", "entries": 10**9}),
    ],
    ids=["a billion units", "300,000 units", "20,000 layers", "a trillion codes", "a billion entries"],
)
def test_an_absurd_size_is_refused_before_memory_is_taken(
    contents: dict[str, bytes], slot: str, values: dict[str, object]
) -> None:
    with pytest.raises(ModelFileError):
        model_from_bytes(absurd(contents["table"], slot, **values))


def test_an_absurd_window_is_refused(contents: dict[str, bytes]) -> None:
    document, tensors = opened(contents["series"])
    changed = json.loads(json.dumps(document["format"]).replace("12", str(10**10)))
    assert changed != document["format"]
    with pytest.raises(ModelFileError):
        model_from_bytes(signed({**document, "format": changed}, tensors))


def test_a_name_that_stands_twice_is_refused(contents: dict[str, bytes]) -> None:
    from safetensors.torch import save

    from hourglass.core.checkpoints import _checksum

    _, tensors = opened(contents["table"])
    content = contents["table"]
    text = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]["hourglass"]
    twice = text.replace('"card":', '"card": {}, "card":', 1)
    with pytest.raises(ModelFileError, match="not a Hourglass model"):
        model_from_bytes(save(tensors, {"hourglass": twice, "sha256": _checksum(twice, tensors)}))


def test_a_training_is_no_model_and_a_model_no_training(tmp_path: Path) -> None:
    kept = tmp_path / "tiny.resume.safetensors"
    model = tmp_path / "tiny.safetensors"
    model.write_bytes(model_bytes(fit("table", keep=lambda identity: TrainingFile(kept, False, identity, pause=0.0))))
    with pytest.raises(ModelFileError, match=r"tiny\.resume\.safetensors: .*cut off.*\nhint: .*--resume"):
        load_model(kept)
    with pytest.raises(ModelFileError, match=r"tiny\.safetensors: this is a model"):
        TrainingFile(model, True, {})


# Golden models


@pytest.mark.parametrize("modality", MODALITIES)
@pytest.mark.parametrize("folder", golden_folders(), ids=lambda folder: folder.name)
def test_models_of_earlier_versions_give_what_they_gave(folder: Path, modality: str) -> None:
    for name, (now, then) in compared(folder, modality).items():
        np.testing.assert_allclose(now, then, rtol=1e-4, atol=1e-5, err_msg=f"{modality}: {name}")


def test_there_are_golden_models() -> None:
    assert golden_folders(), f"{GOLDEN} is empty: python tests/reliability/golden.py makes the models of this version"


# Nothing is run

FIT_AND_DETECT_PATCHED = """
import builtins, pickle, sys
import numpy as np, torch
import joblib, yaml

def refused(name):
    def refuse(*_, **__):
        raise AssertionError(f"{name} was called")
    return refuse

def only_from_elsewhere(name, kept):
    def call(code, *scopes):
        caller = sys._getframe(1).f_globals.get("__name__", "")
        if caller.startswith(("hourglass", "safetensors")) or (caller.startswith("torch") and isinstance(code, bytes)):
            raise AssertionError(f"{name} was called from {caller}")
        frame = sys._getframe(1)
        scopes = scopes or (frame.f_globals, frame.f_locals)  # as where it stands
        return kept(code, *scopes)
    return call

import tiny
from hourglass import AnomalyDetector, TableAutoencoder, load
from hourglass.interfaces.cli import run
calls = [(pickle, "load"), (pickle, "loads"), (pickle, "Unpickler"), (torch, "load"), (joblib, "load"), (yaml, "load")]
for owner, name in calls:
    setattr(owner, name, refused(f"{owner.__name__}.{name}"))
builtins.eval, builtins.exec = (only_from_elsewhere(each.__name__, each) for each in (eval, exec))
opened = np.load
np.load = lambda *a, **k: refused("np.load(allow_pickle=True)")() if k.get("allow_pickle") else opened(*a, **k)

folder = sys.argv[1]
for name in tiny.MODALITIES:
    from hourglass.core.checkpoints import load_model, save_model
    path = save_model(tiny.fit(name), f"{folder}/{name}")
    load_model(path).detect(tiny.MAKERS[name]())
x = tiny.waves(40, 3)
np.save(f"{folder}/x.npy", x)
quick = ("--kind", "plain", "--epochs", "2", "--false-alarm-rate", "0.1", "--quiet")
AnomalyDetector(TableAutoencoder(kind="plain", epochs=2)).fit(x).save(f"{folder}/detector")
load(f"{folder}/detector.safetensors").predict(x)
assert run(["fit", f"{folder}/x.npy", "-o", f"{folder}/y", "--modality", "series", "--window", "row", *quick]) == 0
assert run(["detect", f"{folder}/y", f"{folder}/x.npy", "-o", f"{folder}/s.csv", "--quiet"]) == 0
print("done")
"""


def test_a_whole_run_calls_nothing_that_runs_what_a_file_says(tmp_path: Path, environment: dict[str, str]) -> None:
    command = [sys.executable, "-c", FIT_AND_DETECT_PATCHED, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
