"""Models as they are served: swapped in whole, never mixed, never lost to a bad file."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from serving import connected, fit, numbers, rows, running, wait_for

from hourglass import load
from hourglass.data.columns import table_of
from hourglass.data.samples import Frame
from hourglass.errors import ModelFileError, UsageError
from hourglass.interfaces.service import app
from hourglass.interfaces.service.models import Models, named

BODY = {"rows": rows(3)}
SWAPS = 15


@pytest.fixture(autouse=True)
def _quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "_LOOK", 0.02)


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two models of the same columns that score differently."""
    place = tmp_path_factory.mktemp("twins")
    data = Frame(table_of(numbers(), ["a", "b", "c"]))
    for seed in (1, 2):
        fit(place / f"{seed}.safetensors", "table", data, seed=seed)
    return place / "1.safetensors", place / "2.safetensors"


def replace(path: Path, new: Path) -> None:
    """As `save_model` does: a file beside it, and one rename."""
    beside = path.with_suffix(".tmp")
    shutil.copyfile(new, beside)
    beside.rename(path)


def test_swaps_under_load_mix_no_answer(twins: tuple[Path, Path], tmp_path: Path) -> None:
    served = tmp_path / "m.safetensors"
    replace(served, twins[0])
    wanted = {}
    for twin in twins:
        detection = load(twin).model_.detect(
            Frame(table_of(np.array([[*row.values()] for row in BODY["rows"]]), ["a", "b", "c"]))
        )
        wanted[_version(twin)] = detection.rows.score
    answers: list[dict[str, Any]] = []
    over = threading.Event()

    with running(served) as service:

        def ask() -> None:
            with connected(service.url) as client:
                while not over.is_set():
                    answers.append(client.post("/v1/models/m/detect", json=BODY).raise_for_status().json())

        threads = [threading.Thread(target=ask) for _ in range(2)]
        for thread in threads:
            thread.start()
        for swap in range(SWAPS):
            replace(served, twins[(swap + 1) % 2])
            wait_for(lambda: service.service.models["m"].version == _version(served))
        over.set()
        for thread in threads:
            thread.join()
    assert {answer["version"] for answer in answers} == set(wanted)
    for answer in answers:
        np.testing.assert_allclose(answer["scores"]["anomaly_score"], wanted[answer["version"]], rtol=1e-6)


def _version(path: Path) -> str:
    import hashlib

    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


def test_a_bad_new_file_leaves_the_old_one_serving(twins: tuple[Path, Path], tmp_path: Path) -> None:
    served = tmp_path / "m.safetensors"
    replace(served, twins[0])
    with running(served) as service:
        client = service.client
        before = client.post("/v1/models/m/detect", json=BODY).json()
        for spoil in (lambda: served.write_bytes(b"no model"), lambda: served.unlink()):
            spoil()
            problems = wait_for(lambda: client.get("/readyz").json()["problems"])
            assert problems[0]["model"] == "m"
            assert str(tmp_path) not in str(problems)
            assert client.post("/v1/models/m/detect", json=BODY).json() == before
            assert 'hourglass_model_problem{model="m"} 1.0' in client.get("/metrics").text
        replace(served, twins[1])
        wait_for(lambda: not client.get("/readyz").json()["problems"])
        assert client.post("/v1/models/m/detect", json=BODY).json()["version"] == _version(twins[1])


def test_whatever_a_new_file_breaks_leaves_the_old_one_serving(
    twins: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copyfile(twins[0], tmp_path / "m.safetensors")
    models = Models()
    models.add("m", tmp_path / "m.safetensors")
    with monkeypatch.context() as patched:
        patched.setattr("hourglass.interfaces.service.models.model_from_bytes", lambda *_, **__: [][0])
        replace(tmp_path / "m.safetensors", twins[1])
        models.refresh()
    assert (models["m"].version, models["m"].problem) == (_version(twins[0]), "it cannot be loaded: IndexError")
    replace(tmp_path / "m.safetensors", twins[1])
    models.refresh()
    assert (models["m"].version, models["m"].problem) == (_version(twins[1]), "")


def test_a_name_is_the_stem_and_stems_differ(tmp_path: Path, twins: tuple[Path, Path]) -> None:
    (tmp_path / "x").mkdir()
    for place in (tmp_path / "1.safetensors", tmp_path / "x" / "1.safetensors"):
        shutil.copyfile(twins[0], place)
    assert list(named([str(tmp_path / "1"), str(twins[1])])) == ["1", "2"]
    with pytest.raises(UsageError, match="two models are called '1'"):
        named([str(tmp_path / "1.safetensors"), str(tmp_path / "x" / "1.safetensors")])


@pytest.mark.parametrize("stem", ["a b", "ünı", ".hidden", "a" * 65, "x;y"], ids=ascii)
def test_a_stem_that_is_no_id_is_refused(stem: str) -> None:
    with pytest.raises(UsageError, match="rename the file"):
        named([f"/nowhere/{stem}.safetensors"])


def test_a_file_that_is_not_there_or_no_model_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "bad.safetensors").write_bytes(b"bad")
    with pytest.raises(ModelFileError, match="cannot be read"):
        Models().add("none", tmp_path / "none.safetensors")
    with pytest.raises(ModelFileError, match="no"):
        Models().add("bad", tmp_path / "bad.safetensors")
