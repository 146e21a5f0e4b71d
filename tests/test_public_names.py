"""What `from hourglass import ...` offers: one sorted list, each name there, each explained."""

import pytest

import hourglass

EXPLAINED = [name for name in hourglass.__all__ if name != "__version__"]  # a text cannot carry a docstring


def test_the_list_is_sorted_and_has_no_twins() -> None:
    assert list(hourglass.__all__) == sorted(set(hourglass.__all__))


def test_completion_sees_the_names_before_they_are_loaded() -> None:
    assert set(hourglass.__all__) <= set(dir(hourglass))


@pytest.mark.parametrize("name", EXPLAINED)
def test_a_public_name_can_be_imported_and_is_explained(name: str) -> None:
    thing = getattr(hourglass, name)
    own = vars(thing).get("__doc__") if isinstance(thing, type) else thing.__doc__
    assert own, f"hourglass.{name} has no docstring of its own"


def test_the_package_explains_itself() -> None:
    assert hourglass.__doc__


def test_an_unknown_name_is_an_attribute_error_that_names_it() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        hourglass.no_such_name  # noqa: B018
