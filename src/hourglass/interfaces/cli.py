"""The command line. Options come from the requests' fields, so that each is written once; the work is in `operations`.

Nothing heavy is imported before a verb needs it: `--help` and `recipes` load neither torch nor numpy.
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import inspect
import json
import os
import signal
import sys
import threading
import typing
from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypeVar

import typer

from hourglass._version import __version__
from hourglass.errors import HourglassError, UsageError
from hourglass.interfaces import options
from hourglass.interfaces.console import (
    Console,
    complain,
    complain_of_usage,
    evaluate_lines,
    fit_lines,
    inspect_lines,
    recipe_lines,
)

if typing.TYPE_CHECKING:
    from hourglass.interfaces.operations import Outcome

DONE, FOUND, INTERRUPTED, TERMINATED = 0, 4, 130, 143

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
                return function(_request(request, words))
            except BrokenPipeError:  # caught here, since the library would call it a failure
                return _reader_gone()

        command.__doc__ = function.__doc__
        fields = sorted(dataclasses.fields(request), key=lambda field: _rank(request, field.name))
        parameters = [_parameter(request, field) for field in fields]
        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        app.command(function.__name__.removesuffix("_model"))(command)
        return function

    return register


_ARGUMENTS: dict[type[options.Request], tuple[str, ...]] = {
    options.Fit: ("data",),
    options.Detect: ("model", "data"),
    options.Convert: ("model", "data"),
    options.Decode: ("model", "codes"),
    options.Evaluate: ("model", "data"),
    options.Inspect: ("model",),
    options.Recipes: ("recipe",),
    options.Demo: (),
}
_COMMON = {field.name for field in dataclasses.fields(options.Request)}
_METAVARS = {
    **{"set": "PART.FIELD=VALUE", "label": "COLUMN", "time": "COLUMN", "columns": "A,B,C", "normal": "VALUE"},
    **dict.fromkeys(("output", "save", "report", "train"), "FILE"),
}
_TYPES = {"int": "N", "float": "NUMBER", "str": "TEXT", "tuple": "N,N"}


def _rank(request: type[options.Request], name: str) -> int:
    """Where an option stands: arguments first, what all verbs share last."""
    arguments = _ARGUMENTS[request]
    return arguments.index(name) if name in arguments else len(arguments) + (name in _COMMON)


def _parameter(request: type[options.Request], field: dataclasses.Field[Any]) -> inspect.Parameter:
    """A field as typer wants it. Values stay text: the request checks them, so that every refusal reads alike."""
    doc, name = field.metadata["doc"], f"--{field.name.replace('_', '-')}"
    required = field.default is dataclasses.MISSING and request is not options.Detect  # see _model_and_data
    default: Any = inspect.Parameter.empty if required else None
    annotation: Any = str if required else str | None
    about: Any
    if field.name in _ARGUMENTS[request]:
        about = typer.Argument(metavar=field.name.upper(), help=doc, show_default=False)
    elif isinstance(field.default, bool):
        default, annotation, about = False, bool, typer.Option(name, help=doc, show_default=False)
    else:
        names = (name, "-o") if field.name == "output" else (name,)
        about = typer.Option(*names, metavar=_metavar(field), help=doc, show_default=False)
        if field.name == "set":
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
    if request is options.Detect:
        given = _model_and_data(given)
    try:
        return request(**given)
    except UsageError as error:
        where = f"--{error.where.partition('.')[2].replace('_', '-')}"
        raise UsageError(error.what, where=where, how=error.how) from None


def _model_and_data(given: dict[str, Any]) -> dict[str, Any]:
    """`detect DATA` or `detect MODEL DATA`; options about fitting mean nothing where a model is given."""
    first, second = given.pop("model", None), given.pop("data", None)
    if second is None:
        if first is None or first.lower().endswith(".safetensors"):
            got = "got no data" if first is None else "got a model, but no data"
            raise UsageError(got, where="detect", how=f"hourglass detect {first or '[MODEL]'} DATA")
        return {**given, "data": first}
    idle = [name for name, value in given.items() if value and name in options.ONLY_FOR_FITTING]
    if idle:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in idle)
        how = "leave it out, or leave the model out"
        raise UsageError(f"{names}: only for fitting, and a model was given", where="detect", how=how)
    return {**given, "model": first, "data": second}


@verb(options.Fit)
def fit(request: options.Fit) -> int:
    """Fit an autoencoder to DATA, calibrate it, and save the model."""
    from hourglass.interfaces import operations

    with Console(request.quiet) as console:
        outcome = operations.fit(request, console)
        for line in fit_lines(outcome.document):
            console.say(line)
        _told(outcome, request, console)
        console.say(f"the model is in {outcome.document['model']}")
    return _ended(outcome, console)


@verb(options.Detect)
def detect(request: options.Detect) -> int:
    """Find the anomalies of DATA and say why they are some. Without a MODEL, one is fitted to DATA first."""
    from hourglass.interfaces import operations

    with Console(request.quiet) as console:
        outcome = operations.detect(request, console)
        found = outcome.findings
        if found is not None:
            _told(outcome, request, console)
            for line in (found.summary(), *found.lines()):
                console.say(line)
    anomalies = bool(outcome.document["anomalies"])
    return _ended(outcome, console) or (FOUND if anomalies and request.fail_on_anomaly else DONE)


@verb(options.Convert)
def encode(request: options.Convert) -> int:
    """Write the codes of DATA: what the bottleneck lets through."""
    return _convert("encode", request)


@verb(options.Decode)
def decode(request: options.Decode) -> int:
    """Write the data that CODES stand for."""
    return _convert("decode", request)


@verb(options.Convert)
def reconstruct(request: options.Convert) -> int:
    """Write DATA as the model gives them back through its bottleneck."""
    return _convert("reconstruct", request)


@verb(options.Convert)
def denoise(request: options.Convert) -> int:
    """Write DATA with their noise removed."""
    return _convert("denoise", request)


def _convert(name: str, request: options.Convert | options.Decode) -> int:
    from hourglass.interfaces import operations

    if request.json and request.output is None:
        raise UsageError("--json leaves no room on stdout for the values", where=name, how="write them with -o FILE")
    with Console(request.quiet) as console:
        outcome = getattr(operations, name)(request, console)
        _told(outcome, request, console)
        if request.output:
            console.say(f"wrote {' x '.join(map(str, outcome.document['shape']))} values to {request.output}")
    return DONE


@verb(options.Evaluate)
def evaluate(request: options.Evaluate) -> int:
    """Judge MODEL on labelled DATA, beside PCA and an isolation forest."""
    from hourglass.interfaces import operations

    return _shown(operations.evaluate, request, evaluate_lines)


@verb(options.Inspect)
def inspect_model(request: options.Inspect) -> int:
    """Say what is in a model file."""
    from hourglass.interfaces import operations

    return _shown(operations.inspect, request, inspect_lines)


def _shown(operation: Callable[..., Outcome], request: R, lines: Callable[[dict[str, Any]], list[str]]) -> int:
    with Console(request.quiet) as console:
        outcome = operation(request, console)
        if request.json:
            _print_json(outcome.document)
        else:
            print("\n".join(lines(outcome.document)))
    return DONE


@verb(options.Recipes)
def recipes(request: options.Recipes) -> int:
    """List the recipes, or show one."""
    from importlib import resources

    from hourglass import recipes

    if request.recipe:
        document = recipes.load(request.recipe)
        written = resources.files(recipes).joinpath(f"{request.recipe}.toml").read_text(encoding="utf-8")
        print(json.dumps(document) if request.json else written.rstrip())
        return DONE
    shown = [recipes.load(name) for name in recipes.names()]
    if request.json:
        print(json.dumps([{key: each[key] for key in ("name", "system", "title", "data", "figure")} for each in shown]))
    else:
        print("\n".join(recipe_lines(shown)))
    return DONE


@verb(options.Demo)
def demo(request: options.Demo) -> int:
    """Fit autoencoders to a year of temperatures and to handwritten digits, and write a report."""
    from hourglass.interfaces.demo import run_demo

    with Console(request.quiet) as console:
        document = run_demo(request, console)
        if request.json:
            _print_json(document)
    return DONE


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context, version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False
) -> None:
    if version:
        print(f"hourglass {__version__}")
    elif context.invoked_subcommand is None:
        print(context.get_help())


def _told(outcome: Outcome, request: options.Request, console: Console) -> None:
    """Say what was accepted although odd, and print the document where it was asked for."""
    for notice in outcome.document["notices"]:
        console.note(notice)
    if request.json:
        _print_json(outcome.document)


def _print_json(document: Any) -> None:
    print(json.dumps(document, ensure_ascii=False, allow_nan=False))


def _ended(outcome: Outcome, console: Console) -> int:
    if outcome.interrupted:
        console.say("interrupted: training stopped early, and its best weights were kept")
    return INTERRUPTED if outcome.interrupted else DONE


def run(words: Sequence[str]) -> int:
    """Run one command line and give its exit code; every error becomes one block on stderr."""
    debug = "--debug" in words
    try:
        code = app(list(words), prog_name="hourglass", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else DONE
    except HourglassError as error:
        complain(error, debug)
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        print("interrupted: nothing was written", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        return _reader_gone()
    except MemoryError:
        complain(HourglassError("there is not enough memory", how="give fewer rows, or a smaller network"), debug)
        return HourglassError.exit_code
    except Exception as error:
        return _unexpected(error, debug)


def _reader_gone() -> int:
    """Whoever reads stdout has seen enough; what is still in the buffer must not fail when the process ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return DONE


def _unexpected(error: Exception, debug: bool) -> int:
    """The exit code for what the command line's own library raises, and for faults of ours."""
    if isinstance(error, _CLICK_USAGE):
        context = getattr(error, "ctx", None)
        complain_of_usage(error.format_message(), context.command_path if context else "hourglass")  # type: ignore[attr-defined]
        return UsageError.exit_code
    complain(error, debug)
    return HourglassError.exit_code


_CLICK_USAGE = typer.BadParameter.__mro__[1]
"""What the command line's library raises for words it cannot read; it gives the class no public name of its own."""


def _terminate(number: int, frame: object) -> None:
    raise SystemExit(TERMINATED)


def main() -> None:
    """The entry point of `hourglass`."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _terminate)
    code = run(sys.argv[1:])
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):  # a reader that has gone
            stream.flush()
    # Not sys.exit: threads of a C++ library that are still alive while Python takes itself down abort the process
    os._exit(code)
