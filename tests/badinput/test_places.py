"""Places where no file is, or none that may be read or written: refused at once, whatever the verb."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

import pytest
from commands import Command
from refusals import QUICK, READERS, check_refused, files_below, given, plain_table

pytestmark = pytest.mark.reliability(1)

Models = Callable[[str], Path]


def link(target: str) -> Callable[[Path], None]:
    return lambda path: path.symlink_to(target)


PLACES: dict[str, tuple[Callable[[Path], object] | None, str, tuple[str, ...]]] = {
    "nothing": (None, "data.csv", ("data.csv", "there is no such file")),
    "nothing in no folder": (None, "none/data.csv", ("none/data.csv", "its folder does not exist")),
    "a folder of tables": (lambda path: path.mkdir(), "data.csv", ("is a folder without pictures",)),
    "a file for a folder": (lambda path: path.write_text(plain_table()), "data.csv/a.csv", ("data.csv/a.csv",)),
    "a link to nothing": (link("none.csv"), "data.csv", ("is a link to 'none.csv', which cannot be reached",)),
    "a link to itself": (link("data.csv"), "data.csv", ("data.csv", "link")),
    "a named pipe": (os.mkfifo, "data.csv", ("is a pipe or device, wanted a file",)),
    "a link to a pipe": (lambda path: (os.mkfifo(path.with_name("p")), path.symlink_to("p")), "data.csv", ("pipe",)),
    "a name of 300 letters": (None, "a" * 300 + ".csv", ("cannot be read",)),
    "a name with a zero byte": (None, "a\0b.csv", ("cannot be read",)),
}
ADDRESSES = {
    "a web address": "https://example.org/data.csv",
    "an object store": "s3://bucket/data.parquet",
    "a file address": "file:///etc/hostname",
}


@pytest.mark.parametrize("verb", ["fit", "detect with a model", "compress"])
@pytest.mark.parametrize("name", PLACES)
def test_a_place_without_a_file_is_refused(
    hourglass: Command, model_of: Models, tmp_path: Path, out: Path, name: str, verb: str
) -> None:
    make, file, says = PLACES[name]
    if make is not None:
        make(tmp_path / "data.csv")
    done = given(hourglass, verb, f"{tmp_path}/{file}", out, model_of("numbers"))
    check_refused(done, says, out)


@pytest.mark.parametrize(
    ("name", "verb"),
    [(name, verb) for verb in READERS for name in ADDRESSES if (name, verb) != ("an object store", "fit")],
)
def test_an_address_is_no_file(hourglass: Command, model_of: Models, out: Path, name: str, verb: str) -> None:
    done = given(hourglass, verb, ADDRESSES[name], out, model_of("numbers"))
    check_refused(done, ("is an address, wanted a file", "download it first"), out)


@pytest.mark.parametrize("device", ["/dev/null", "/dev/zero"])
def test_a_device_is_no_file(hourglass: Command, out: Path, device: str) -> None:
    check_refused(given(hourglass, "fit", device, out), ("is a pipe or device",), out)


MODELS: dict[str, tuple[Callable[[Path], object], str]] = {
    "nothing": (lambda path: None, "there is no such model file"),
    "a folder": (lambda path: path.mkdir(), "this is not a file"),
    "a named pipe": (os.mkfifo, "this is not a file"),
    "a link to nothing": (link("none.safetensors"), "there is no such model file"),
    "a table": (lambda path: path.write_text(plain_table()), "not a Hourglass model"),
    "nothing in a file": (lambda path: path.write_bytes(b""), "not a Hourglass model"),
    "a pickle": (lambda path: path.write_bytes(b"\x80\x04\x95\x05\0\0\0\0\0\0\0]\x94."), "not a Hourglass model"),
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("verb", ["detect with a model", "evaluate", "compress"])
def test_a_place_without_a_model_is_refused(
    hourglass: Command, samples: Path, tmp_path: Path, out: Path, name: str, verb: str
) -> None:
    make, says = MODELS[name]
    model = tmp_path / "model.safetensors"
    make(model)
    check_refused(given(hourglass, verb, samples / "numbers.csv", out, model), (says, "model.safetensors"), out)


class _Header(ctypes.Structure):
    _fields_: ClassVar = [("version", ctypes.c_uint32), ("process", ctypes.c_int)]


_CAPABILITIES = 0x20080522
"""The version of the system's interface to what a process may do."""
_READ_AND_WRITE_ALL = 0b110
"""The rights to pass over who may read and write a file, and who may search a folder."""


@pytest.fixture
def without_rights() -> Iterator[None]:
    """Without the administrator's right to read and write everything; as somebody else, nothing is to be given up."""
    system, header, rights = ctypes.CDLL(None, use_errno=True), _Header(_CAPABILITIES, 0), (ctypes.c_uint32 * 6)()
    if os.geteuid() != 0:
        yield
        return
    if system.capget(ctypes.byref(header), rights) != 0:
        pytest.skip("needs a system on which the administrator can give up rights")
    before = rights[0]
    rights[0] = before & ~_READ_AND_WRITE_ALL
    if system.capset(ctypes.byref(header), rights) != 0:
        pytest.skip("needs a system on which the administrator can give up rights")
    yield
    rights[0] = before
    system.capset(ctypes.byref(header), rights)


@pytest.mark.parametrize("closed", ["data.csv", "."])
@pytest.mark.usefixtures("without_rights")
def test_what_may_not_be_read_is_refused(hourglass: Command, tmp_path: Path, out: Path, closed: str) -> None:
    folder = tmp_path / "closed"
    folder.mkdir()
    (folder / "data.csv").write_text(plain_table())
    (folder / closed).chmod(0o000)
    done = given(hourglass, "fit", folder / "data.csv", out)
    folder.chmod(0o700)
    check_refused(done, ("data.csv", "cannot be read: Permission denied"), out)


@pytest.mark.parametrize("mode", [0o000, 0o555])
@pytest.mark.parametrize("verb", ["fit", "detect with a model", "encode", "reconstruct", "compress", "map"])
def test_what_may_not_be_written_is_refused(
    hourglass: Command,
    model_of: Models,
    samples: Path,
    out: Path,
    request: pytest.FixtureRequest,
    verb: str,
    mode: int,
) -> None:
    model = model_of("numbers")
    request.getfixturevalue("without_rights")
    out.chmod(mode)
    done = given(hourglass, verb, samples / "numbers.csv", out, model)
    out.chmod(0o755)
    check_refused(done, ("cannot be written: Permission denied", "out/"), out)


RESULTS: dict[str, tuple[Callable[[Path], object], str, int, str]] = {
    "a folder that is not there": (lambda path: None, "none/scores.csv", 3, "its folder does not exist"),
    "a folder": (lambda path: path.mkdir(), "scores.csv", 3, "it is a folder"),
    "a named pipe": (os.mkfifo, "scores.csv", 3, "it is a pipe or device"),
    "a suffix that is no table": (lambda path: None, "scores.xlsx", 2, "wanted a name that ends in .csv"),
    "the input": (lambda path: None, "../data.csv", 2, "is read too, and would be replaced"),
    "an address": (lambda path: None, "https://example.org/scores.csv", 2, "wanted a place on this machine"),
}


@pytest.mark.parametrize("name", RESULTS)
def test_a_place_that_cannot_be_written_is_refused_before_the_work(
    hourglass: Command, model_of: Models, samples: Path, tmp_path: Path, name: str
) -> None:
    make, file, code, says = RESULTS[name]
    (tmp_path / "data.csv").write_bytes((samples / "numbers.csv").read_bytes())
    out = tmp_path / "out"
    out.mkdir()
    make(out / "scores.csv")
    before = files_below(tmp_path)
    place = file if "://" in file else out / file
    done = hourglass("detect", model_of("numbers"), tmp_path / "data.csv", "-o", place)
    assert done.code == code, done.err
    assert done.out == ""
    assert says in done.err
    assert "\nhint: " in done.err
    assert "Traceback" not in done.err
    assert files_below(tmp_path) == before


@pytest.mark.parametrize("option", ["--report", "--save"])
def test_a_second_place_is_looked_at_before_the_work_too(
    hourglass: Command, samples: Path, tmp_path: Path, out: Path, option: str
) -> None:
    name = "report.html" if option == "--report" else "model.safetensors"
    words = ("detect", samples / "numbers.csv", "-o", out / "scores.csv", option, tmp_path / "none" / name, *QUICK)
    check_refused(hourglass(*words), ("its folder does not exist", "none"), out)


WRONG_USE = {
    "nothing": (),
    "an option that is none": ("DATA", "--epoch", "3"),
    "a word for a number": ("DATA", "--epochs", "many"),
    "no epoch": ("DATA", "--epochs", "0"),
    "a rate of two": ("DATA", "--false-alarm-rate", "2"),
    "a rate of NaN": ("DATA", "--false-alarm-rate", "nan"),
    "an endless learning rate": ("DATA", "--learning-rate", "inf"),
    "a learning rate below zero": ("DATA", "--learning-rate", "-1"),
    "a number of 400 digits": ("DATA", "--epochs", "9" * 400),
    "a kind that is none": ("DATA", "--kind", "denoisin"),
    "a part that is none": ("DATA", "--set", "los=huber"),
    "an option of a part that is none": ("DATA", "--set", "loss.delt=1"),
    "a column that is none": ("DATA", "--columns", "a,z"),
    "a label that is none": ("DATA", "--label", "z"),
    "a recipe that leads elsewhere": ("DATA", "--recipe", "../../etc/passwd"),
    "a device that is none": ("DATA", "--device", "gpu7"),
}


@pytest.mark.parametrize("name", WRONG_USE)
def test_wrong_use_ends_with_2(hourglass: Command, samples: Path, out: Path, name: str) -> None:
    words = [samples / "numbers.csv" if word == "DATA" else word for word in WRONG_USE[name]]
    check_refused(hourglass("fit", *words, "-o", out / "new"), (), out, code=2)
