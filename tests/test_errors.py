"""The errors: their tree, their words, their exit codes, and that they survive a process boundary."""

import builtins
import copy
import pickle
import re

import pytest

from hourglass import errors
from hourglass.errors import HourglassError, MissingExtraError, UsageError, missing_extra

ALL = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, HourglassError)]


def drawn_tree() -> list[tuple[int, str, int | None]]:
    """(depth, name, exit code or None) of each line of the tree in the module's docstring."""
    line = re.compile(r"^ {4}(?P<branch>[│├└─ ]*)(?P<name>\w+Error)\b(?: +exit code (?P<code>\d+))?", re.MULTILINE)
    return [
        (len(found["branch"]) // 4, found["name"], int(found["code"]) if found["code"] else None)
        for found in line.finditer(errors.__doc__ or "")
    ]


def real_tree(kind: type[HourglassError] = HourglassError, depth: int = 0) -> list[tuple[int, str, int | None]]:
    """The same of the classes; a code is drawn only for the root and its children, the others inherit theirs."""
    children = [child for child in kind.__subclasses__() if child in ALL]  # the service has one of its own
    below = [line for child in children for line in real_tree(child, depth + 1)]
    return [(depth, kind.__name__, kind.exit_code if depth < 2 else None), *below]


def test_the_drawn_tree_is_the_tree() -> None:
    assert drawn_tree() == real_tree()
    assert len(drawn_tree()) == len(ALL)


@pytest.mark.parametrize("kind", ALL)
def test_a_drawn_exit_code_holds_for_the_whole_branch(kind: type[HourglassError]) -> None:
    codes = {name: code for depth, name, code in drawn_tree() if depth == 1}
    branch = [ancestor.__name__ for ancestor in kind.__mro__ if ancestor.__name__ in codes]
    assert kind.exit_code == (codes[branch[0]] if branch else HourglassError.exit_code)


@pytest.mark.parametrize("kind", ALL)
def test_every_error_says_what_it_means(kind: type[HourglassError]) -> None:
    assert "__doc__" in vars(kind)
    assert kind.__doc__


@pytest.mark.parametrize(
    ("name", "builtin"),
    [
        ("UsageError", "ValueError"),
        ("DataError", "ValueError"),
        ("SchemaError", "ValueError"),
        ("ModelFileError", "ValueError"),
        ("TrainingError", "RuntimeError"),
        ("MissingExtraError", "ImportError"),
    ],
)
def test_those_who_know_only_python_catch_them_too(name: str, builtin: str) -> None:
    assert issubclass(getattr(errors, name), getattr(builtins, builtin))


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize(
    ("where", "how", "text"),
    [
        ("", "", "got 3"),
        ("a.csv, line 2", "", "a.csv, line 2: got 3"),
        ("", "give 4", "got 3\nhint: give 4"),
        ("a.csv, line 2", "give 4", "a.csv, line 2: got 3\nhint: give 4"),
    ],
)
def test_the_message_is_where_what_and_a_hint(kind: type[HourglassError], where: str, how: str, text: str) -> None:
    error = kind("got 3", where=where, how=how)
    assert (error.what, error.where, error.how) == ("got 3", where, how)
    assert str(error) == text


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("again", [lambda error: pickle.loads(pickle.dumps(error)), copy.copy, copy.deepcopy])
def test_an_error_survives_the_way_from_a_worker(kind: type[HourglassError], again) -> None:
    error = kind("a 'quoted' what\nof two lines", where="dir/ä.csv", how="mend it")
    twin = again(error)
    assert type(twin) is kind
    assert str(twin) == str(error)
    assert (twin.what, twin.where, twin.how, twin.args) == (error.what, error.where, error.how, error.args)


def test_place_and_hint_are_given_by_name() -> None:
    with pytest.raises(TypeError):
        UsageError("what", "where")


def test_a_missing_extra_gives_the_pip_line() -> None:
    error = missing_extra("onnx", "onnxruntime", "export")
    assert isinstance(error, MissingExtraError)
    assert str(error) == (
        "export needs the package 'onnxruntime', which is not installed\n"
        "hint: pip install 'hourglass-autoencoder[onnx]'"
    )
