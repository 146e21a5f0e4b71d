"""Kills, failing disks, two writers and signals: the old model or the new one is there, whole."""

import contextlib
import errno
import os
import resource
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tiny import MODALITIES, fingerprint, fit

from hourglass.core.checkpoints import TrainingFile, load_model, model_bytes, save_model
from hourglass.core.fitted import FittedModel
from hourglass.data import writing
from hourglass.data.locking import alone
from hourglass.errors import DataError
from hourglass.interfaces.learning import Nobody
from hourglass.interfaces.resuming import resuming

pytestmark = pytest.mark.reliability(3)
Turns = Callable[[int, int], int]
Counted = Callable[[int], None]
SIGNALS = {"SIGINT": 130, "SIGTERM": 143}
forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked processes")


@pytest.fixture(scope="module")
def model() -> FittedModel:
    return fit("table", seed=2)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """An older model of the same name."""
    return save_model(fit("table", seed=1, epochs=1), tmp_path / "model")


@pytest.fixture(scope="module")
def scenarios(
    played: Callable[..., list[dict[str, Any]]], turns: Turns, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, dict[str, Any]]:
    """What came of all that needs processes to kill, by name."""
    asked: dict[str, list[Any]] = {each: ["kills", each, turns(4, 100)] for each in MODALITIES}
    asked |= {name: ["signals", name, turns(2, 25)] for name in SIGNALS}
    asked |= {"reads": ["reads", turns(60, 1_000)], "lock": ["lock"]}
    found = played([[*words, str(tmp_path_factory.mktemp(name))] for name, words in asked.items()])
    return dict(zip(asked, found, strict=True))


# Kills


@forks
@pytest.mark.parametrize("modality", MODALITIES)
def test_a_kill_at_any_moment_leaves_a_whole_model_and_a_training_to_go_on_with(
    modality: str, scenarios: dict[str, dict[str, Any]], counted: Counted
) -> None:
    found = scenarios[modality]
    counted(found["kills"])
    assert found["models"] == found["kills"]
    assert found["midway"] > 0  # they were killed while training
    assert found["same"]
    assert not [name for name in found["left behind"] if ".resume." in name]  # the next one has tidied up


@forks
def test_reads_while_a_model_is_replaced_find_one_or_the_other(
    scenarios: dict[str, dict[str, Any]], counted: Counted
) -> None:
    found = scenarios["reads"]
    counted(found["reads"])
    assert (found["known"], found["kinds"]) == (found["reads"], 2)


# What the system refuses


class Failing:
    """Counts what a save asks of the system, and fails it at one of these."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, number: int, error: int) -> None:
        self.number, self.error, self.asked = number, error, 0
        monkeypatch.setattr(writing, "open", self._opened, raising=False)
        for name in ("fsync", "replace", "open", "chmod"):
            monkeypatch.setattr(os, name, self._failing(getattr(os, name)))

    def count(self) -> None:
        self.asked += 1
        if self.asked == self.number:
            raise OSError(self.error, os.strerror(self.error))

    def _failing(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            self.count()
            return function(*given, **named)

        return call

    def _opened(self, *given: Any, **named: Any) -> Any:
        self.count()
        return FailingFile(open(*given, **named), self)


class FailingFile:
    """A file that may fail when half of what is written is written."""

    def __init__(self, file: Any, failing: Failing) -> None:
        self.file, self.failing = file, failing

    def write(self, content: bytes) -> None:
        self.file.write(content[: len(content) // 2])
        self.failing.count()
        self.file.write(content[len(content) // 2 :])

    def flush(self) -> None:
        self.failing.count()
        self.file.flush()

    def fileno(self) -> int:
        return int(self.file.fileno())

    def __enter__(self) -> "FailingFile":
        return self

    def __exit__(self, *fault: object) -> None:
        self.file.close()


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC], ids=["input/output error", "disk full"])
def test_the_nth_call_that_fails_leaves_the_old_model_or_the_new_one(
    error: int, model: FittedModel, saved: Path, counted: Counted
) -> None:
    old, new = saved.read_bytes(), model_bytes(model)
    refusals = []
    for number in range(1, 50):
        saved.write_bytes(old)
        with pytest.MonkeyPatch.context() as monkeypatch:
            failing = Failing(monkeypatch, number, error)
            try:
                save_model(model, saved)
            except DataError as fault:
                refusals.append(str(fault))
                assert saved.read_bytes() == old
            else:
                assert saved.read_bytes() == new
        assert [each.name for each in saved.parent.iterdir()] == [saved.name]
        if failing.asked < number:
            break
    counted(number)
    assert len(refusals) >= 5  # open, write, flush, fsync, replace
    for refusal in refusals:
        assert refusal.startswith(f"{saved}: cannot be written: {os.strerror(error)} (")
        assert f" bytes are free, {len(new):,} needed)" in refusal


def test_a_training_that_cannot_be_kept_goes_on_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = fit("table", epochs=5)
    with monkeypatch.context() as broken:
        Failing(broken, 4, errno.ENOSPC)
        place = tmp_path / "model.resume.safetensors"
        model = fit("table", epochs=5, keep=lambda identity: TrainingFile(place, False, identity, pause=0.0))
    assert model.history.notices[0].startswith("the training cannot be resumed should it be cut off")
    assert str(place) in model.history.notices[0]
    model.history.notices.clear()
    assert fingerprint(model) == fingerprint(whole)


@contextlib.contextmanager
def at_most_a_kilobyte() -> Iterator[None]:
    """No file may grow beyond, a log of these tests neither: a limit that even root keeps to."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_024, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_file_that_may_not_grow_leaves_the_old_model(model: FittedModel, saved: Path) -> None:
    old, words = saved.read_bytes(), r"File too large \([0-9,]+ bytes are free, [0-9,]+ needed\)"
    with pytest.raises(DataError, match=words), at_most_a_kilobyte():
        save_model(model, saved)
    assert saved.read_bytes() == old
    assert [each.name for each in saved.parent.iterdir()] == [saved.name]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 32 kB, which only root can make."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=32k", "hourglass-test", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, check=False).returncode
    except OSError:
        done = 1
    if done:
        pytest.skip("needs a file system of its own, which cannot be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_leaves_the_old_model(model: FittedModel, small_disk: Path) -> None:
    path = small_disk / "model.safetensors"
    content = model_bytes(model)
    path.write_bytes(b"the old one" + bytes(32_768 - len(content) // 2 - 4_096 - 11))
    old = path.read_bytes()
    with pytest.raises(DataError, match=r"model\.safetensors: .*No space left on device \([0-9,]+ bytes are free, "):
        save_model(model, path)
    assert path.read_bytes() == old
    assert [each.name for each in small_disk.iterdir()] == [path.name]


def test_a_read_only_folder_is_refused_and_left_as_it_is(model: FittedModel, small_disk: Path) -> None:
    path = small_disk / "model.safetensors"
    path.write_bytes(b"the old one")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(DataError, match=r"model\.safetensors: cannot be written: Read-only file system"):
        save_model(model, path)
    with pytest.raises(DataError, match=r"model\.safetensors: cannot be written: Read-only file system"), alone(path):
        pass
    assert path.read_bytes() == b"the old one"


# Two writers


@forks
def test_a_second_writer_is_refused_by_the_number_of_the_first_and_a_killed_one_forgotten(
    scenarios: dict[str, dict[str, Any]],
) -> None:
    found = scenarios["lock"]
    assert f"model.safetensors: process {found['holder']} is at work on it\nhint: " in found["refusal"]
    assert ".model.safetensors.lock" in found["left"]  # of the killed one
    assert found["after"] == ["ready"]


def test_two_saves_at_once_leave_one_of_both(model: FittedModel, saved: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    models = [model, load_model(saved)]
    with ThreadPoolExecutor(2) as pool:
        for _ in range(10):
            list(pool.map(lambda each: save_model(each, saved), models))
            assert fingerprint(load_model(saved)) in {fingerprint(each) for each in models}
    assert [each.name for each in saved.parent.iterdir()] == [saved.name]


def test_the_next_fit_removes_what_a_killed_one_left(saved: Path) -> None:
    half = saved.with_name(f".{saved.name}.0123456789ab.tmp")
    half.write_bytes(b"half a model")
    with resuming(str(saved), False, Nobody()):
        assert not half.exists()


# Signals


@forks
@pytest.mark.parametrize("name", SIGNALS)
def test_a_signal_saves_the_best_so_far_and_says_how_to_go_on(
    name: str, scenarios: dict[str, dict[str, Any]], counted: Counted
) -> None:
    ends = scenarios[name]["ends"]
    counted(len(ends))
    for end in ends:
        assert end["code"] == SIGNALS[name], end["talk"]
        assert end["best"] > 0
        assert end["seconds"] < 5
        assert end["resumable"]
        assert "best weights were kept" in end["talk"]
        assert "--resume" in end["talk"]
        assert "Traceback" not in end["talk"]
