"""One-file models: what is written comes back to the bit, and anything else is refused with a way to mend it."""

import builtins
import copy
import json
import math
import os
import pickle
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load, save

from hourglass.core.checkpoints import (
    FORMAT_VERSION,
    _checksum,
    _shapes,
    load_model,
    model_bytes,
    model_from_bytes,
    read_document,
    save_model,
)
from hourglass.core.fitted import FittedModel
from hourglass.data.formats import Data
from hourglass.errors import ModelFileError, UsageError

Fit = Callable[..., FittedModel]
Make = Callable[..., Data]


Document = dict[str, Any]
Tensors = dict[str, torch.Tensor]
Change = Callable[[Document, Tensors], object]


def opened(content: bytes) -> tuple[Document, Tensors]:
    """What is in a model file, read without our reader."""
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return json.loads(header["__metadata__"]["hourglass"]), load(content)


def same(one: tuple[Document, Tensors], other: tuple[Document, Tensors]) -> bool:
    return one[0] == other[0] and all(torch.equal(tensor, other[1][name]) for name, tensor in one[1].items())


def edited(content: bytes, change: Change) -> bytes:
    """The file after a change, with a new table of shapes and a new checksum: only what does not fit gives it away."""
    document, tensors = opened(content)
    change(document, tensors)
    document["shapes"] = _shapes(tensors)
    text = json.dumps(document)
    return save(tensors, {"hourglass": text, "sha256": _checksum(text, tensors)})


@pytest.fixture(scope="module")
def model(fitted: Fit) -> FittedModel:
    return fitted("shop", "denoising")


@pytest.fixture(scope="module")
def content(model: FittedModel) -> bytes:
    return model_bytes(model)


@pytest.fixture
def path(content: bytes, tmp_path: Path) -> Path:
    path = tmp_path / "shop.safetensors"
    path.write_bytes(content)
    return path


# What is written comes back


@pytest.mark.parametrize("kind", ["masked-cell", "variational"])
@pytest.mark.parametrize("name", ["plane", "shop", "tide", "beats"])
def test_what_was_read_is_written_as_it_was(fitted: Fit, name: str, kind: str) -> None:
    content = model_bytes(fitted(name, kind))
    assert same(opened(model_bytes(model_from_bytes(content))), opened(content))


def test_a_model_has_one_suffix(model: FittedModel, tmp_path: Path) -> None:
    assert save_model(model, tmp_path / "name") == tmp_path / "name.safetensors"
    assert save_model(model, str(tmp_path / "name.safetensors")) == tmp_path / "name.safetensors"
    assert [file.name for file in tmp_path.iterdir()] == ["name.safetensors"]
    assert load_model(tmp_path / "name").experiment == model.experiment
    with pytest.raises(UsageError, match=r"name\.pt.*\n.*name\.safetensors"):
        save_model(model, tmp_path / "name.pt")


def test_the_folder_of_a_model_must_be_there(model: FittedModel, tmp_path: Path) -> None:
    with pytest.raises(Exception, match="nowhere"):
        save_model(model, tmp_path / "nowhere" / "name.safetensors")


def test_any_reader_of_safetensors_sees_the_document_and_the_tensors(model: FittedModel, path: Path) -> None:
    with safe_open(path, framework="np") as file:
        document = json.loads(file.metadata()["hourglass"])
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    assert document["format_version"] == FORMAT_VERSION
    assert document == read_document(path)
    assert document["experiment"] == model.experiment.as_json()
    for name, tensor in model.network.state_dict().items():
        np.testing.assert_array_equal(weights[f"network.{name}"], tensor.numpy())


def test_loading_runs_no_code(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("code was run")

    def evaluate(code: Any, *scopes: Any) -> Any:  # `typing` looks our own annotations up, compiled
        return refuse() if isinstance(code, str | bytes) else kept(code, *scopes)

    kept = builtins.eval
    for owner, name in (
        (pickle, "load"),
        (pickle, "loads"),
        (pickle, "Unpickler"),
        (torch, "load"),
        (builtins, "exec"),
    ):
        monkeypatch.setattr(owner, name, refuse)
    monkeypatch.setattr(builtins, "eval", evaluate)
    loaded = load_model(path)
    monkeypatch.undo()
    assert loaded.latent_size > 0


def test_loading_leaves_the_random_state_alone(path: Path) -> None:
    before = torch.get_rng_state()
    load_model(path)
    assert torch.equal(torch.get_rng_state(), before)


# Damage


def damaged(content: bytes) -> Iterator[bytes]:
    """Single bytes changed anywhere, half of them in the header; and files cut short or with something behind."""
    draw = random.Random(7)
    header = 8 + int.from_bytes(content[:8], "little")
    for turn in range(300):
        position = draw.randrange(header) if turn % 2 else draw.randrange(len(content))
        flipped = bytes([content[position] ^ draw.randrange(1, 256)])
        yield content[:position] + flipped + content[position + 1 :]
    for length in (0, 1, 7, 8, 9, header - 1, header, header + 1, len(content) - 1):
        yield content[:length]
    yield content + b"\0"


def test_a_damaged_file_is_refused_or_gives_the_same_bits(content: bytes) -> None:
    refusals = []
    for damage in damaged(content):
        try:
            loaded = model_from_bytes(damage, where="shop.safetensors")
        except ModelFileError as fault:
            refusals.append(fault)
        else:
            assert same(opened(model_bytes(loaded)), opened(content))
    assert all(fault.where == "shop.safetensors" and fault.how for fault in refusals)
    assert len(refusals) > 290  # a changed space between words of the header is no damage


# Edits


def first_weight(tensors: Tensors) -> str:
    return next(
        name
        for name, tensor in sorted(tensors.items())
        if name.startswith("network.enc") and tensor.ndim == 2 and len(set(tensor.shape)) == 2
    )


CHANGES: dict[str, Change] = {
    "a renamed tensor": lambda document, tensors: tensors.update(
        {"network.encoder.other": tensors.pop(first_weight(tensors))}
    ),
    "a missing tensor": lambda document, tensors: tensors.pop(first_weight(tensors)),
    "one tensor more": lambda document, tensors: tensors.update({"network.more": torch.ones(1)}),
    "a transposed tensor": lambda document, tensors: tensors.update(
        {first_weight(tensors): tensors[first_weight(tensors)].T.contiguous()}
    ),
    "weights of another type": lambda document, tensors: tensors.update(
        {first_weight(tensors): tensors[first_weight(tensors)].to(torch.complex64)}
    ),
    "a NaN": lambda document, tensors: tensors[first_weight(tensors)].__setitem__((0, 0), torch.nan),
    "an infinite score": lambda document, tensors: tensors["calibration.scores"].__setitem__(0, torch.inf),
    "no scores": lambda document, tensors: tensors.update({"calibration.scores": torch.zeros(0, dtype=torch.float64)}),
    "scores of a wrong shape": lambda document, tensors: tensors.update(
        {"calibration.scores": torch.zeros(2, 2, dtype=torch.float64)}
    ),
    "a spread for another scorer": lambda document, tensors: tensors.update(
        {"calibration.spread": torch.ones(2, dtype=torch.float64)}
    ),
    "a lost scorer": lambda document, tensors: document["scorers"].clear(),
    "an unknown scorer": lambda document, tensors: document.update(scorers=["guess"]),
    "other widths": lambda document, tensors: document["experiment"]["network"].update(layers=[7]),
    "another latent size": lambda document, tensors: document["experiment"]["bottleneck"].update(size=5),
    "an unknown part": lambda document, tensors: document["experiment"].update(loss={"is": "guess"}),
    "an unknown option": lambda document, tensors: document["experiment"]["training"].update(epoch=3),
    "another modality": lambda document, tensors: document["experiment"].update(modality="series"),
    "a lost column": lambda document, tensors: document["format"]["columns"].pop(),
    "no experiment": lambda document, tensors: document.pop("experiment"),
    "an unknown source": lambda document, tensors: document.update(calibrated_on="a guess"),
    "a card that is none": lambda document, tensors: document.update(card="x"),
    "a card of some features": lambda document, tensors: document["card"].update(features="some"),
    "an infinite setting": lambda document, tensors: document["experiment"]["training"].update(learning_rate=math.inf),
    "an odd history": lambda document, tensors: document["history"].update(colour="blue"),
    "no version": lambda document, tensors: document.pop("format_version"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_an_edit_that_does_not_fit_is_refused(content: bytes, name: str) -> None:
    with pytest.raises(ModelFileError) as caught:
        model_from_bytes(edited(content, CHANGES[name]), where="shop.safetensors")
    assert caught.value.where == "shop.safetensors"
    assert caught.value.how


def test_an_edit_without_the_checksum_is_refused(content: bytes) -> None:
    # as long as before, so that the header's length still holds
    with pytest.raises(ModelFileError, match="checksum"):
        model_from_bytes(content.replace(b'\\"false_alarm_rate\\": 0.01', b'\\"false_alarm_rate\\": 0.02', 1))


def leaves(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    pairs = document.items() if isinstance(document, dict) else enumerate(document)
    for key, value in pairs:
        yield (*path, key)
        if isinstance(value, dict | list):
            yield from leaves(value, (*path, key))


def test_no_edit_of_the_document_ends_in_anything_but_a_model_or_a_refusal(content: bytes) -> None:
    draw = random.Random(3)
    document, _ = opened(content)
    places = list(leaves({key: value for key, value in document.items() if key != "shapes"}))
    for place in draw.sample(places, min(150, len(places))):
        value = copy.deepcopy(draw.choice([None, True, -1, 0, 3, 1e300, "x", [], [1], {}, {"is": "x"}]))

        def change(document: Document, _: Tensors, place: Any = place, value: Any = value) -> None:
            for key in place[:-1]:
                document = document[key]
            document[place[-1]] = value

        try:
            model_from_bytes(edited(content, change), where="shop.safetensors")
        except ModelFileError:
            continue


def test_a_model_of_a_newer_hourglass_says_to_upgrade(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "new.safetensors"
    path.write_bytes(edited(content, lambda document, _: document.update(format_version=FORMAT_VERSION + 1)))
    with pytest.raises(ModelFileError, match=r"new\.safetensors: .*format 2.*up to 1\n.*pip install -U"):
        load_model(path)


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (lambda path: None, "no such model file"),
        (lambda path: path.mkdir(), "not a file"),
        (lambda path: path.write_bytes(b""), "not a Hourglass model"),
        (lambda path: path.write_text("amount,town\n1,Ghent\n"), "not a Hourglass model"),
        (lambda path: path.write_bytes((2**62).to_bytes(8, "little") + b"{}"), "not a Hourglass model"),
        (lambda path: path.write_bytes(b"\x02\0\0\0\0\0\0\0{}"), "not a Hourglass model"),
        (lambda path: path.write_bytes(pickle.dumps({"a": 1})), "not a Hourglass model"),
        (lambda path: path.write_bytes(b"\xf0\xff\0\0\0\0\0\0" + b"[" * 65_520), "not a Hourglass model"),
    ],
)
def test_what_is_no_model_is_refused_by_name(tmp_path: Path, write: Callable[[Path], object], words: str) -> None:
    path = tmp_path / "thing.safetensors"
    write(path)
    with pytest.raises(ModelFileError, match=rf"thing\.safetensors: .*{words}.*\nhint: .*hourglass fit"):
        load_model(path)


def test_a_file_larger_than_any_model_is_not_read(tmp_path: Path) -> None:
    with open(tmp_path / "huge.safetensors", "wb") as file:
        file.truncate(5 * 2**30)  # which takes no room
    with pytest.raises(ModelFileError, match=r"larger than any model"):
        load_model(tmp_path / "huge.safetensors")


# Writing


def test_weights_that_are_not_finite_are_not_written(fitted: Fit, path: Path, content: bytes) -> None:
    broken = replace(fitted("shop", "denoising"), network=copy.deepcopy(fitted("shop", "denoising").network))
    with torch.no_grad():
        next(broken.network.parameters())[0] = torch.nan
    with pytest.raises(ModelFileError, match="not finite in network"):
        save_model(broken, path)
    assert path.read_bytes() == content
    assert [file.name for file in path.parent.iterdir()] == [path.name]


SAVE_AND_DIE = """
import os, random, signal, sys, time
from hourglass.core.checkpoints import load_model, save_model

path = sys.argv[1]
model = load_model(path)
for turn in range(10):
    before = os.stat(path).st_ino
    child = os.fork()
    while not child:
        model.card["turn"] = model.card.get("turn", 0) + 1
        save_model(model, path)
    while os.stat(path).st_ino == before:
        time.sleep(0.001)
    time.sleep(random.Random(turn).random() * 0.05)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    print(load_model(path).card.get("turn", 0))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills a forked process")
def test_a_kill_while_saving_leaves_a_model(path: Path) -> None:
    command = [sys.executable, "-c", SAVE_AND_DIE, str(path)]
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": "src"}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    turns = [int(line) for line in done.stdout.split()]
    assert len(turns) == 10
    assert max(turns) > 0  # they were killed while saving
    save_model(load_model(path), path)  # nothing that was left behind blocks the next
