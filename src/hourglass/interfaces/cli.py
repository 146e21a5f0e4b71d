"""The command line: one function a verb. Options are the requests' fields (`verbs.py`), the work is in `operations`.

Nothing heavy is imported before a verb needs it: `--help` and `recipes` load neither torch nor numpy.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import typing
from collections.abc import Callable, Sequence
from typing import Annotated, Any

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
    value_lines,
    visible,
)
from hourglass.interfaces.service import settings
from hourglass.interfaces.signals import INTERRUPTED, code_of
from hourglass.interfaces.startup import leave_pandas_out
from hourglass.interfaces.verbs import DONE, R, app, reader_gone, verb

if typing.TYPE_CHECKING:
    from hourglass.interfaces.operations import Outcome

BAD_DATA, FOUND = 3, 4


@verb(options.Fit)
def fit(request: options.Fit) -> int:
    """Fit an autoencoder to DATA, calibrate it, and save the model."""
    from hourglass.interfaces import pipelines, remote_fits

    with Console(request.quiet) as console:
        outcome = remote_fits.fit(request, console)
        for line in fit_lines(outcome.document):
            console.say(line)
        for line in pipelines.follow(request, outcome, console):
            console.say(line)
        _told(outcome, request, console)
        console.say(f"the model is in {outcome.document['model']}")
    return _ended(outcome, console)


@verb(options.Tune)
def tune(request: options.Tune) -> int:
    """Choose kind, latent size and window by held-out rows of DATA, without labels; fit and save the best model."""
    from hourglass.interfaces import tuning

    with Console(request.quiet) as console:
        outcome = tuning.tune(request, console)
        _told(outcome, request, console)
        if not request.json:
            print("\n".join(tuning.tune_lines(outcome.document["tuning"])))
        console.say(f"the model is in {outcome.document['model']}")
    return INTERRUPTED if outcome.interrupted else DONE


@verb(options.Detect)
def detect(request: options.Detect) -> int:
    """Find the anomalies of DATA and say why they are some. Without a MODEL, one is fitted to DATA first."""
    if request.data == "-":
        return _tail(request)
    if (code := _by_shards("detect", request)) is not None:
        return code
    from hourglass.interfaces import operations

    with Console(request.quiet) as console:
        outcome = operations.detect(request, console)
        found = outcome.findings
        if found is not None:
            _told(outcome, request, console)
            for line in (found.summary(), *found.lines()):
                console.say(line)
    anomalies = bool(outcome.document["anomalies"])
    if outcome.document.get("failed"):
        return _ended(outcome, console) or BAD_DATA
    return _ended(outcome, console) or (FOUND if anomalies and request.fail_on_anomaly else DONE)


def _tail(request: options.Detect) -> int:
    from hourglass.interfaces import tailing

    with Console(request.quiet) as console:
        tail = tailing.detect_pipe(request, console)
        console.say(tail.summary())
    if tail.interrupted:
        return INTERRUPTED
    return BAD_DATA if tail.broken else FOUND if tail.anomalies and request.fail_on_anomaly else DONE


@verb(options.Encode)
def encode(request: options.Encode) -> int:
    """Write the codes of DATA: what the bottleneck lets through. With --plot, draw them as a map."""
    if request.plot is None and request.label is not None:
        raise UsageError("--label colours the map of the codes", where="encode", how="add --plot FILE.html")
    return _convert("encode", request)


@verb(options.Decode)
def decode(request: options.Decode) -> int:
    """Write the data that CODES stand for."""
    return _convert("decode", request)


@verb(options.Generate)
def generate(request: options.Generate) -> int:
    """Make new samples with MODEL, or ways from one sample to the next, or the plane of its codes."""
    from hourglass.interfaces import generating

    return _values(generating.generate, request)


@verb(options.Reconstruct)
def reconstruct(request: options.Reconstruct) -> int:
    """Write DATA as the model gives them back through its bottleneck."""
    return _convert("reconstruct", request)


@verb(options.Denoise)
def denoise(request: options.Denoise) -> int:
    """Write DATA with their noise removed. Without a MODEL, one is fitted to the noisy DATA first."""
    if (code := _by_shards("denoise", request)) is not None:
        return code
    from hourglass.interfaces import denoising, pipes

    if request.data == "-":
        with Console(request.quiet) as console:
            pipes.denoise_pipe(request, console)
        return DONE
    _check_stdout("denoise", request.json, request.output)
    return _said(denoising.denoise, request, denoising.denoise_lines)


def _convert(name: str, request: options.Convert | options.Decode) -> int:
    drawn = isinstance(request, options.Encode) and request.plot is not None  # a map is of all samples together
    if isinstance(request, options.Large) and not drawn and (code := _by_shards(name, request)) is not None:
        return code
    from hourglass.interfaces import operations

    return _values(getattr(operations, name), request)


def _by_shards(name: str, request: Any) -> int | None:
    """Put the tables of a folder or a glob through a model one by one; None where that is not what is asked for."""
    from hourglass.interfaces import sharding

    operation = sharding.operation(name, request)
    return None if operation is None else _said(operation, request, sharding.score_lines)


def _values(operation: Callable[..., Outcome], request: Any) -> int:
    """Run an operation that writes values, which may go to stdout."""
    if not getattr(request, "plot", None):
        _check_stdout(operation.__name__, request.json, request.output)
    with Console(request.quiet) as console:
        outcome = operation(request, console)
        _told(outcome, request, console)
        for line in value_lines(outcome.document):
            console.say(line)
    return BAD_DATA if outcome.document.get("failed") else DONE


def _check_stdout(name: str, json: bool, output: str | None) -> None:
    if json and output is None:
        how = "write them with -o FILE"
        raise UsageError("--json leaves no room on stdout for the values", where=name, how=how)


@verb(options.Evaluate)
def evaluate(request: options.Evaluate) -> int:
    """Judge MODEL on labelled DATA, beside PCA and an isolation forest."""
    from hourglass.interfaces import operations

    return _shown(operations.evaluate, request, evaluate_lines)


@verb(options.Finetune)
def finetune(request: options.Finetune) -> int:
    """Teach MODEL the labels of DATA: a new layer on its codes, and its encoder below that."""
    from hourglass.interfaces import finetuning

    return _said(finetuning.finetune, request, finetuning.finetune_lines)


@verb(options.Convert)
def predict(request: options.Convert) -> int:
    """Write what a MODEL that was taught labels makes of DATA."""
    return _convert("predict", request)


@verb(options.Probe)
def probe(request: options.Probe) -> int:
    """Judge the codes of MODEL by their use for the labels of DATA, beside PCA and the raw samples."""
    from hourglass.interfaces import probing

    return _shown(probing.probe, request, probing.probe_lines)


@verb(options.Compress)
def compress(request: options.Compress) -> int:
    """Write DATA as a small file of codes, rounded and entropy-coded, that MODEL turns back."""
    from hourglass.interfaces import compressing

    return _said(compressing.compress, request, compressing.compress_lines)


@verb(options.Decompress)
def decompress(request: options.Decompress) -> int:
    """Write the data that the compressed FILE stands for, by the MODEL that it was compressed with."""
    from hourglass.interfaces import compressing

    return _values(compressing.decompress, request)


@verb(options.Export)
def export(request: options.Export) -> int:
    """Write MODEL as a file that other runtimes score raw numbers with: ONNX, or torch.export."""
    from hourglass.interfaces.exporting import export as exporting

    return _said(exporting.export, request, exporting.export_lines)


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
            print(visible("\n".join(lines(outcome.document))))
    return DONE


def _said(operation: Callable[..., Outcome], request: Any, lines: Callable[[dict[str, Any]], list[str]]) -> int:
    """Run an operation that writes a file, and say what is in it."""
    with Console(request.quiet) as console:
        outcome = operation(request, console)
        _told(outcome, request, console)
        for line in lines(outcome.document):
            console.say(line)
    failed, found = (outcome.document.get(fact) for fact in ("failed", "anomaly_count"))
    odd = FOUND if found and request.fail_on_anomaly else DONE
    return _ended(outcome, console) or (BAD_DATA if failed else odd)


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
        keys = ("name", "system", "title", "data", "figure", "measured")
        print(json.dumps([{key: each[key] for key in keys} for each in shown]))
    else:
        print("\n".join(recipe_lines(shown)))
    return DONE


@verb(settings.Serve)
def serve(request: settings.Serve) -> int:
    """Answer over HTTP what the other verbs answer over files, by each MODEL; fit models to uploads."""
    settings.check_installed()
    from hourglass.interfaces.service import server

    with Console(request.quiet) as console:
        server.serve(request, console)
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
        return reader_gone()
    except MemoryError:
        complain(HourglassError("there is not enough memory", how="give fewer rows, or a smaller network"), debug)
        return HourglassError.exit_code
    except Exception as error:
        return _unexpected(error, debug)


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


_LIGHT = {"--help", "-h", "--version", "recipes"}
"""Words with which nothing heavy is imported."""


def _command() -> int:
    """Run the words of this process's command line."""
    if sys.argv[1:] and not _LIGHT & set(sys.argv):
        leave_pandas_out()
    return run(sys.argv[1:])


def main() -> None:
    """The entry point of `hourglass`."""
    code = code_of(_command)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):  # a reader that has gone
            stream.flush()
    # Not sys.exit: threads of a C++ library that are still alive while Python takes itself down abort the process
    os._exit(code)
