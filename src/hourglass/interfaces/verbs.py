"""Makes verbs of the command line from requests: options come from the requests' fields, so that each is written once.

Nothing heavy is imported here: `--help` and `recipes` load neither torch nor numpy.
"""

from __future__ import annotations

import csv
import dataclasses
import inspect
import os
import sys
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import typer

from hourglass.errors import DataError, UsageError
from hourglass.interfaces import options

DONE = 0

app = typer.Typer(
    name="hourglass",
    help="Fit an autoencoder to your own data, then use that one model for everything autoencoders are for.",
    rich_markup_mode=None,  # plain help: rich takes longer to import than the rest together
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)
R = TypeVar("R", bound=options.Request)
Verb = Callable[[R], int]


def verb(request: type[R]) -> Callable[[Verb[R]], Verb[R]]:
    """Make a function from a request to an exit code a verb of the command line, its options the request's fields."""

    def register(function: Verb[R]) -> Verb[R]:
        def command(**words: Any) -> int:
            try:
                return _placed(function, _request(request, words))
            except BrokenPipeError:  # caught here, since the library would call it a failure
                return reader_gone()

        command.__doc__ = function.__doc__
        fields = sorted(dataclasses.fields(request), key=lambda field: _rank(request, field.name))
        parameters = [_parameter(request, field) for field in fields]
        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        app.command(function.__name__.removesuffix("_model"))(command)
        return function

    return register


def _placed(function: Verb[R], request: R) -> int:
    """Run a verb; what is wrong with its data, and does not say where, is wrong in the file that was given."""
    try:
        return function(request)
    except DataError as error:
        given = getattr(request, "data", None)
        if error.where or not given:
            raise
        raise type(error)(error.what, where=str(given), how=error.how) from error


_COMMON = {field.name for field in dataclasses.fields(options.Request)}
_METAVARS = {
    **{"set": "PART.FIELD=VALUE", "label": "COLUMN", "time": "COLUMN", "columns": "A,B,C", "normal": "VALUE"},
    **{"kinds": "A,B", "allow_host": "NAME", "store": "DIR"},
    **dict.fromkeys(("output", "save", "report", "train", "test", "plot", "interpolate", "data"), "FILE"),
    **dict.fromkeys(("noise", "clean"), "FILE|DIR"),
}
_MODEL_OR_NONE = (options.Detect, options.Denoise)
"""Verbs of MODEL DATA that take DATA alone as well, and then fit a model first."""
_REPEATABLE = ("set", "noise", "models", "allow_host")
_SHORT = {"output": ("-o",), "number": ("-n",)}
_TYPES = {"int": "N", "float": "NUMBER", "str": "TEXT", "tuple": "N,N"}


def _rank(request: type[options.Request], name: str) -> int:
    """Where an option stands: arguments first, what all verbs share last."""
    arguments = request.arguments
    return arguments.index(name) if name in arguments else len(arguments) + (name in _COMMON)


def _parameter(request: type[options.Request], field: dataclasses.Field[Any]) -> inspect.Parameter:
    """A field as typer wants it. Values stay text: the request checks them, so that every refusal reads alike."""
    doc, name = field.metadata["doc"], f"--{field.name.replace('_', '-')}"
    required = field.default is dataclasses.MISSING and request not in _MODEL_OR_NONE  # see _model_and_data
    default: Any = inspect.Parameter.empty if required else None
    annotation: Any = str if required else str | None
    about: Any
    if field.name in request.arguments:
        several = field.name in _REPEATABLE
        metavar = field.name.removesuffix("s" * several).upper()
        about = typer.Argument(metavar=metavar, help=doc, show_default=False)
        if several:
            default, annotation = (), list[str]
    elif isinstance(field.default, bool):
        default, annotation, about = False, bool, typer.Option(name, help=doc, show_default=False)
    else:
        names = (name, *_SHORT.get(field.name, ()))
        about = typer.Option(*names, metavar=_metavar(field), help=doc, show_default=False)
        if field.name in _REPEATABLE:
            default, annotation = (), list[str]
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(field.name, kind, default=default, annotation=Annotated[annotation, about])


def _metavar(field: dataclasses.Field[Any]) -> str:
    if field.metadata["choices"]:
        return "|".join(field.metadata["choices"])
    return _METAVARS.get(field.name) or next(word for kind, word in _TYPES.items() if str(field.type).startswith(kind))


def _request(request: type[R], words: dict[str, Any]) -> R:
    """The request that the words on the command line make."""
    given = {name: value for name, value in words.items() if value is not None}
    if "columns" in given:  # a column may have a comma in its name: '"a,b",c'
        given["columns"] = tuple(next(csv.reader([given["columns"]], skipinitialspace=True), ()))
    if request in _MODEL_OR_NONE:
        given = _model_and_data(request, given)
    try:
        return request(**given)
    except UsageError as error:
        where = f"--{error.where.partition('.')[2].replace('_', '-')}"
        raise UsageError(error.what, where=where, how=error.how) from None


def _model_and_data(request: type[Any], given: dict[str, Any]) -> dict[str, Any]:
    """`detect DATA` or `detect MODEL DATA`, `denoise` likewise; with a model, options about fitting mean nothing."""
    name = request.__name__.lower()
    first, second = given.pop("model", None), given.pop("data", None)
    if second is None:
        if first is None or first.lower().endswith(".safetensors"):
            got = "got no data" if first is None else "got a model, but no data"
            raise UsageError(got, where=name, how=f"hourglass {name} {first or '[MODEL]'} DATA")
        return {**given, "data": first}
    idle = [option for option, value in given.items() if value and option in options.only_for_fitting(request)]
    if idle:
        names = ", ".join(f"--{option.replace('_', '-')}" for option in idle)
        how = "leave it out, or leave the model out"
        raise UsageError(f"{names}: only for fitting, and a model was given", where=name, how=how)
    return {**given, "model": first, "data": second}


def reader_gone() -> int:
    """Whoever reads stdout has seen enough; what is still in the buffer must not fail when the process ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return DONE
