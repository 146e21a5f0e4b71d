"""Same seed, same bits; predictions that do not depend on company or threads; a caller whose state is left alone."""

import os
import random
import signal
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import MAKERS, MODALITIES, fingerprint, fit, waves

from hourglass.core.checkpoints import model_bytes, save_model
from hourglass.core.fitted import FittedModel
from hourglass.data.samples import Packed

pytestmark = pytest.mark.reliability(5)
Turns = Callable[[int, int], int]
Counted = Callable[[int], None]


@pytest.fixture(scope="module", params=MODALITIES)
def modality(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def model(modality: str) -> FittedModel:
    return fit(modality)


# Same bits


def test_processes_readers_and_hash_seeds_make_no_difference(
    played: Callable[..., list[dict[str, Any]]],
    tmp_path_factory: pytest.TempPathFactory,
    turns: Turns,
    counted: Counted,
) -> None:
    seeds = [str(seed) for seed in range(turns(1, 6))]  # this process has a random one
    found = [
        played([["determinism", str(tmp_path_factory.mktemp("reader"))]], PYTHONHASHSEED=seed, OMP_NUM_THREADS="1")[0]
        for seed in seeds
    ]
    counted(sum(map(len, found)))
    assert all(each == found[0] for each in found)
    for modality in MODALITIES:
        assert found[0][modality] == fingerprint(fit(modality))
    assert len(set(found[0].values())) == len(MODALITIES)  # what is read is what was made


def test_a_model_is_the_same_file_whenever_it_is_written(model: FittedModel, tmp_path: Path) -> None:
    """The library gives metadata in random order."""
    contents = {model_bytes(model) for _ in range(20)}
    assert contents == {save_model(model, tmp_path / "model").read_bytes()}


# Predictions


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def test_scores_do_not_depend_on_threads_or_company(
    modality: str, model: FittedModel, threads: Callable[[int], None], turns: Turns, counted: Counted
) -> None:
    samples = model.format.pack(MAKERS[modality]()).samples
    rows = turns(64, 1_024)
    many = np.ascontiguousarray(np.resize(samples, (rows, *samples.shape[1:])))
    threads(1)
    whole = model.score(Packed(many))
    reconstructed = model._run(model.network.reconstruct, many)
    tries = [(count, size) for count in (1, 2) for size in (1, 7, 512)]
    counted(len(tries))
    for count, size in tries:
        threads(count)
        parts = [many[start : start + size] for start in range(0, min(rows, 8 * size), size)]
        scores = np.concatenate([model.score(Packed(part)) for part in parts])
        np.testing.assert_allclose(scores, whole[: len(scores)], rtol=1e-5, atol=1e-7)
        if count == 1:
            np.testing.assert_array_equal(scores, whole[: len(scores)])
    back = np.concatenate([model._run(model.network.reconstruct, part) for part in np.array_split(many, 7)])
    np.testing.assert_allclose(back, reconstructed, rtol=1e-5, atol=1e-6)


# The caller's state


def state() -> dict[str, Any]:
    """What of a process a fit has no business with."""
    return {
        "torch's random state": torch.get_rng_state().numpy().tobytes(),
        "NumPy's random state": repr(np.random.get_state()),
        "Python's random state": random.getstate(),
        "default type": torch.get_default_dtype(),
        "threads": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "gradients": torch.is_grad_enabled(),
        "denormals": float(torch.tensor(1e-30) * 1e-10),
        "NumPy's errors": np.geterr(),
        "warnings": list(warnings.filters),
        "signals": {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)},
        "folder": os.getcwd(),
        "environment": dict(os.environ),
    }


@pytest.mark.parametrize("default", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_a_fit_leaves_the_callers_state_alone(
    modality: str, default: torch.dtype, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit(modality, epochs=1)  # what libraries set when they first run is theirs
    torch.set_default_dtype(default)
    try:
        before = state()
        model = fit(modality, epochs=2, seed=9)
        model.detect(MAKERS[modality]())
        save_model(model, tmp_path / "model")
        after = state()
    finally:
        torch.set_default_dtype(torch.float32)
    for name, value in before.items():
        assert after[name] == value, name


def test_a_fit_leaves_the_state_alone_when_it_fails() -> None:
    from hourglass import TableAutoencoder

    TableAutoencoder(kind="plain", epochs=1).fit(waves(20, 3))
    before = state()

    def stop(*given: Any) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        TableAutoencoder(kind="plain", epochs=3).fit(waves(20, 3), report=stop)
    assert state() == before
