"""Options as data: what is taken, what is refused and with which words, and the way to JSON and back."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import json
import math
import pickle
import string
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hourglass.errors import UsageError
from hourglass.settings import Detection, Part, Settings, Training, did_you_mean, from_text, option


@dataclass(frozen=True)
class Filter(Part):
    slot = "filter"


@dataclass(frozen=True)
class Smooth(Filter):
    name = "smooth"

    width: int = option(3, "points averaged", low=1, high=99)
    edge: str = option("mirror", "what lies beyond the ends", choices=("mirror", "zero"))


@dataclass(frozen=True)
class Sharpen(Filter):
    name = "sharpen"

    strength: float | None = option(0.5, "how much", low=0)


@dataclass(frozen=True)
class Chain(Filter):
    name = "chain"

    first: Filter = option(Smooth(), "the filter that sees the data first")
    others: tuple[Filter, ...] = option((), "those after it")


@dataclass(frozen=True)
class Shape(Part):
    """Another slot, whose table must be its own."""

    slot = "shape"


@dataclass(frozen=True)
class Round(Shape):
    name = "round"


@dataclass(frozen=True)
class Everything(Settings):
    name: ClassVar[str] = "everything"

    whole: int = option(1, "a whole number", low=-5, high=5)
    number: float = option(1.0, "a number", low=-5, high=5)
    flag: bool = option(False, "yes or no")
    word: str = option("a", "some text")
    sizes: tuple[int, ...] = option((2,), "whole numbers", low=1)
    maybe: int | None = option(None, "a whole number or nothing")
    maybe_word: str | None = option("a", "text or nothing")
    maybe_sizes: tuple[int, ...] | None = option((2,), "whole numbers or nothing")
    colours: tuple[str, ...] = option((), "colours", choices=("red", "green"))
    anything: Any = option(None, "not looked at")
    part: Filter = option(Smooth(), "a filter")
    undocumented: int = 0


def refusal(**options: Any) -> str:
    """The whole message with which `Everything` refuses an option."""
    with pytest.raises(UsageError) as caught:
        Everything(**options)
    return str(caught.value)


@pytest.mark.parametrize(
    ("field", "given_value", "kept"),
    [
        ("whole", 3, 3),
        ("whole", 3.0, 3),
        ("whole", "3", 3),
        ("whole", "3e0", 3),
        ("whole", "+3", 3),
        ("whole", np.int8(3), 3),
        ("whole", np.float32(3), 3),
        ("whole", np.array(3), 3),
        ("number", 2, 2.0),
        ("number", "2", 2.0),
        ("number", ".5", 0.5),
        ("number", "-.5", -0.5),
        ("number", "5.", 5.0),
        ("number", "1e-3", 1e-3),
        ("number", np.float64(0.25), 0.25),
        ("number", np.int64(2), 2.0),
        ("flag", True, True),
        ("flag", "True", True),
        ("flag", "false", False),
        ("flag", np.bool_(True), True),
        ("word", "none", "none"),
        ("word", "3", "3"),
        ("word", np.str_("b"), "b"),
        ("sizes", 4, (4,)),
        ("sizes", [4, 2], (4, 2)),
        ("sizes", "4,2", (4, 2)),
        ("sizes", "[4, 2]", (4, 2)),
        ("sizes", " 4 , 2, ", (4, 2)),
        ("sizes", ["4", np.int64(2)], (4, 2)),
        ("maybe", None, None),
        ("maybe", "none", None),
        ("maybe", "OFF", None),
        ("maybe", "7", 7),
        ("maybe_word", "null", None),
        ("maybe_word", "nullable", "nullable"),
        ("maybe_sizes", "none", None),
        ("maybe_sizes", None, None),
        ("maybe_sizes", "4,2", (4, 2)),
        ("colours", "red,green", ("red", "green")),
        ("anything", {"a": math.nan}, {"a": math.nan}),
        ("part", "sharpen", Sharpen()),
        ("part", {"is": "sharpen", "strength": "1"}, Sharpen(strength=1.0)),
        ("part", Sharpen(strength=2), Sharpen(strength=2.0)),
    ],
)
def test_values_are_taken_where_they_fit_exactly(field: str, given_value: Any, kept: Any) -> None:
    value = getattr(Everything(**{field: given_value}), field)
    assert value == kept
    assert type(value) is type(kept)


@pytest.mark.parametrize(
    ("field", "given_value", "complaint"),
    [
        ("whole", 3.5, "got 3.5, wanted a whole number"),
        ("whole", "3.5", "got 3.5, wanted a whole number"),
        ("whole", True, "got True, wanted a whole number"),
        ("whole", "true", "got True, wanted a whole number"),
        ("whole", np.bool_(False), "got False, wanted a whole number"),
        ("whole", None, "got None, wanted a whole number"),
        ("whole", "none", "got None, wanted a whole number"),
        ("whole", "", "got '', wanted a whole number"),
        ("whole", "many", "got 'many', wanted a whole number"),
        ("whole", [1], "got [1], wanted a whole number"),
        ("whole", math.nan, "got nan, wanted a whole number"),
        ("whole", math.inf, "got inf, wanted a whole number"),
        ("whole", 6, "got 6, wanted at most 5"),
        ("whole", -6, "got -6, wanted at least -5"),
        ("number", True, "got True, wanted a number"),
        ("number", "abc", "got 'abc', wanted a number"),
        ("number", math.nan, "got nan, wanted a finite number"),
        ("number", np.float32("nan"), "got nan, wanted a finite number"),
        ("number", "NaN", "got nan, wanted a finite number"),
        ("number", "-Infinity", "got -inf, wanted a finite number"),
        ("number", "1e999", "got inf, wanted a finite number"),
        ("number", 10**400, "got inf, wanted a finite number"),
        ("number", 5.5, "got 5.5, wanted at most 5"),
        ("number", 1 + 2j, "got (1+2j), wanted a number"),
        ("flag", 1, "got 1, wanted true or false"),
        ("flag", "yes", "got 'yes', wanted true or false"),
        ("word", 3, "got 3, wanted text"),
        ("word", None, "got None, wanted text"),
        ("sizes", "4,0", "got 0, wanted at least 1"),
        ("sizes", "4,x", "got 'x', wanted a whole number"),
        ("sizes", [4, True], "got True, wanted a whole number"),
        ("sizes", None, "got None, wanted a whole number"),
        ("sizes", [[4]], "got [4], wanted a whole number"),
        ("maybe", "x", "got 'x', wanted a whole number"),
    ],
)
def test_what_does_not_fit_is_refused_with_place_value_and_hint(field: str, given_value: Any, complaint: str) -> None:
    doc = {f.name: f.metadata.get("doc") for f in dataclasses.fields(Everything)}[field]
    assert refusal(**{field: given_value}) == f"everything.{field}: {complaint}\nhint: {field}: {doc}"


def test_a_whole_number_beyond_the_floats_is_refused_by_name() -> None:
    assert refusal(maybe=10**400).endswith("wanted a finite number\nhint: maybe: a whole number or nothing")


def test_a_misspelt_choice_gets_the_nearest_one() -> None:
    assert refusal(colours="red,gren") == (
        "everything.colours: got 'gren', wanted one of red, green\nhint: did you mean 'green'?"
    )


def test_a_field_without_explanation_gets_no_empty_hint() -> None:
    assert refusal(undocumented="x") == "everything.undocumented: got 'x', wanted a whole number"


def test_the_place_of_a_part_is_its_slot() -> None:
    with pytest.raises(UsageError, match=r"^filter\.width: got 0, wanted at least 1\nhint: width: points averaged$"):
        Smooth(width=0)


def test_limits_are_part_of_the_range() -> None:
    assert Everything(whole=5, number=-5).whole == 5
    assert Detection(false_alarm_rate=0.5).false_alarm_rate == 0.5


def test_settings_are_values() -> None:
    settings = Training(epochs=3)
    assert settings == Training(epochs="3")
    assert hash(settings) == hash(Training(epochs=3.0))
    assert repr(settings).startswith("Training(epochs=3, batch_size=None, ")
    assert pickle.loads(pickle.dumps(settings)) == settings == copy.deepcopy(settings)
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.epochs = 4


def test_replace_checks_and_leaves_the_first_as_it_was() -> None:
    first = Training(epochs=3)
    assert first.replace(batch_size="32", gradient_clip="none") == Training(epochs=3, batch_size=32, gradient_clip=None)
    assert first == Training(epochs=3)
    with pytest.raises(UsageError, match=r"training\.epochs: got 0, wanted at least 1"):
        first.replace(epochs=0)


@pytest.mark.parametrize(
    ("settings", "key", "message"),
    [
        (Training(), "epoch", "training has no option 'epoch'\nhint: did you mean 'epochs'?"),
        (Detection(), "zzz", "detection has no option 'zzz'\nhint: known: false_alarm_rate, threshold, scorers, folds"),
        (Smooth(), "wdth", "smooth has no option 'wdth'\nhint: did you mean 'width'?"),
        (Filter(), "width", "Filter has no option 'width'\nhint: name another filter first, which has options"),
    ],
)
def test_an_unknown_option_gets_the_nearest_known_one(settings: Settings, key: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        settings.replace(**{key: 1})
    assert str(caught.value) == message


@pytest.mark.parametrize("cls", [Training, Detection])
def test_every_option_is_explained_and_its_default_is_within_its_limits(cls: type[Settings]) -> None:
    assert all(field.metadata["doc"] for field in dataclasses.fields(cls))
    cls()


def test_the_hint_offers_all_words_where_none_is_near() -> None:
    assert did_you_mean("smoth", ["smooth", "sharpen"]) == "did you mean 'smooth'?"
    assert did_you_mean("qqq", iter(["smooth", "sharpen"])) == "known: smooth, sharpen"


# Parts and their tables


def test_each_slot_has_its_own_table_of_named_parts() -> None:
    assert Filter.table == {"smooth": Smooth, "sharpen": Sharpen, "chain": Chain}
    assert Shape.table == {"round": Round}
    assert Part.table == {}
    assert Filter.named("sharpen") == Sharpen()


def test_naming_a_class_registers_it_and_an_unnamed_one_is_only_a_base() -> None:
    slot = dataclass(frozen=True)(type("Slot", (Part,), {"slot": "slot"}))
    base = dataclass(frozen=True)(type("Base", (slot,), {}))
    leaf = dataclass(frozen=True)(type("Leaf", (base,), {"name": "leaf"}))
    assert slot.table == {"leaf": leaf}


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("smoth", "there is no filter called 'smoth'\nhint: did you mean 'smooth'?"),
        ("round", "there is no filter called 'round'\nhint: known: chain, sharpen, smooth"),
        ({"is": "zzz"}, "there is no filter called 'zzz'\nhint: known: chain, sharpen, smooth"),
        ({"is": "smooth", "wide": 3}, "smooth has no option 'wide'\nhint: did you mean 'width'?"),
        ({"is": "smooth", "width": 0}, "filter.width: got 0, wanted at least 1\nhint: width: points averaged"),
        ({"is": "chain", "first": "zzz"}, "there is no filter called 'zzz'\nhint: known: chain, sharpen, smooth"),
    ],
)
def test_a_document_that_names_no_known_part_is_refused(document: Any, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        Filter.from_json(document)
    assert str(caught.value) == message


@pytest.mark.parametrize("document", [None, 3, [], {}, {"is": 3}, {"is": ["smooth"]}, {"width": 3}, Round()])
def test_a_document_of_another_form_is_refused(document: Any) -> None:
    with pytest.raises(UsageError, match=r"for the filter\nhint: give it as .*NAME one of \['chain', 'sharpen', 'smo"):
        Filter.from_json(document)


@pytest.mark.parametrize(
    "part",
    [
        Smooth(),
        Smooth(width=5, edge="zero"),
        Sharpen(strength=None),
        Chain(),
        Chain(first=Sharpen(), others=(Smooth(width=9), Chain(others=(Sharpen(),)))),
    ],
)
def test_a_part_comes_back_from_its_json(part: Filter) -> None:
    assert Filter.from_json(json.loads(json.dumps(part.as_json()))) == part


def test_json_is_plain_and_names_the_part() -> None:
    assert Chain(others=(Sharpen(),)).as_json() == {
        "is": "chain",
        "first": {"is": "smooth", "width": 3, "edge": "mirror"},
        "others": [{"is": "sharpen", "strength": 0.5}],
    }
    assert "is" not in Training().as_json()


fractions = st.floats(0, 0.5)
trainings = st.builds(
    Training,
    epochs=st.none() | st.integers(1, 10**6),
    learning_rate=st.floats(0, 1e3),
    gradient_clip=st.none() | st.floats(0, 1e9),
    validation=fractions,
    schedule=st.sampled_from(["one-cycle", "cosine", "constant"]),
    seed=st.integers(0, 2**32 - 1),
)
detections = st.builds(
    Detection, false_alarm_rate=fractions, scorers=st.none() | st.lists(st.text()).map(tuple), folds=st.integers(2, 20)
)


@given(trainings | detections)
def test_settings_come_back_from_their_json(settings: Settings) -> None:
    assert type(settings)().replace(**json.loads(json.dumps(settings.as_json()))) == settings


# Values as typed


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.3", 0.3),
        (".3", 0.3),
        ("007", 7.0),
        ("-2", -2),
        ("none", None),
        ("Null", None),
        ("off", None),
        ("TRUE", True),
        ("64,32", [64, 32]),
        ("a, none,.5", ["a", None, 0.5]),
        (",", []),
        ("", ""),
        ("relu", "relu"),
        ('"64,32"', "64,32"),
        ('{"is": "smooth", "width": 5}', {"is": "smooth", "width": 5}),
        ("{is: smooth}", "{is: smooth}"),
        ("1.2.3", "1.2.3"),
        ("2020-01-01", "2020-01-01"),
        ("[" * 100_000, "[" * 100_000),
    ],
    ids=lambda value: str(value)[:20],
)
def test_typed_text_means_what_a_person_expects(text: str, value: Any) -> None:
    assert from_text(text) == value
    assert type(from_text(text)) is type(value)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(json_values)
def test_json_typed_on_the_command_line_is_read_as_json(value: Any) -> None:
    assert from_text(json.dumps(value)) == value


@given(st.lists(st.integers(), min_size=2))
def test_a_comma_list_is_a_list(numbers: list[int]) -> None:
    assert from_text(",".join(map(str, numbers))) == numbers


@given(st.text() | st.text(string.digits + "+-.eE,[]{}\"' "))
def test_any_text_is_read_or_refused_but_never_a_traceback(text: str) -> None:
    from_text(text)
    for field in ("whole", "number", "flag", "sizes", "maybe", "part"):
        with contextlib.suppress(UsageError):
            Everything(**{field: text})
