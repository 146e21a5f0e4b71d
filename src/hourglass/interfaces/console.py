"""Talk with a person: everything here goes to stderr, so that stdout holds data and nothing else."""

from __future__ import annotations

import os
import sys
import time
import traceback
from typing import Any, Self

from hourglass.errors import HourglassError
from hourglass.interfaces.signals import insist

_SLOW = 0.1
"""Seconds between two redraws of the progress bar: short epochs should not wait for the terminal."""


class Console:
    """Says what happens while a verb is at work; draws a progress bar where stderr is a terminal."""

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet
        self._said: set[str] = set()
        self._bar: Any = None
        self._task: Any = None
        self._drawn = 0.0
        self._training = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *fault: object) -> None:
        self._close()

    def say(self, line: str) -> None:
        """One line of talk."""
        self._close()
        if not self.quiet:
            print(visible(line), file=sys.stderr)

    def note(self, notice: str) -> None:
        """Something that was decided, or accepted although odd; said once."""
        if notice not in self._said:
            self._said.add(notice)
            self.say(f"note: {notice}")

    def epoch(self, epoch: int, epochs: int, terms: dict[str, float]) -> None:
        """One epoch, or one fold (no terms), is over: a bar on a terminal, else one line at the start."""
        insist()
        if self.quiet:
            return
        if not sys.stderr.isatty():
            if not self._training:
                print(f"training for at most {epochs:,} epochs", file=sys.stderr)
            if not terms and epoch == 1:
                fits = "1 further fit" if epochs == 1 else f"{epochs} further fits"
                print(f"calibrating by {fits}: too few rows were held out", file=sys.stderr)
            self._training = True
            return
        self._bar = self._bar or _bar()
        if self._task is None or (not terms and epoch == 1):
            self._task = self._bar.add_task("training" if terms else "calibrating", total=epochs, terms="")
        if not terms or epoch == epochs or time.monotonic() - self._drawn > _SLOW:
            words = "  ".join(f"{name} {value:.4g}" for name, value in terms.items())
            self._bar.update(self._task, completed=epoch, total=epochs, terms=words)
            self._drawn = time.monotonic()

    def progress(self, what: str, done: int, total: int) -> None:
        """So much of some long work is done: a bar on a terminal, nothing elsewhere."""
        if self.quiet or not sys.stderr.isatty():
            return
        self._bar = self._bar or _bar()
        if self._task is None:
            self._task = self._bar.add_task(what, total=total, terms="")
        self._bar.update(self._task, description=what, completed=done, total=total)

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
        self._bar = self._task = None
        self._training = False


def _bar() -> Any:
    from rich.console import Console as RichConsole
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    words, terms = TextColumn("{task.description}"), TextColumn("{task.fields[terms]}")
    columns = (words, BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), terms)
    bar = Progress(*columns, console=RichConsole(stderr=True))  # rich keeps to NO_COLOR and TERM=dumb
    bar.start()
    return bar


def complain(error: BaseException, debug: bool = False) -> None:
    """One block on stderr: what went wrong, where, and how to mend it."""
    if debug:
        traceback.print_exception(error)
    if isinstance(error, HourglassError):  # a line break in the name of a file is none in the message
        return _print_error(str(HourglassError(error.what, where=error.where.replace("\n", "\\n"), how=error.how)))
    fault = f"{type(error).__name__}: {error}".splitlines()[0]
    how = "report it with the command and what the data look like" if debug else "--debug shows where"
    _print_error(f"{fault}\nhint: this is a fault of Hourglass; {how}")


def complain_of_usage(message: str, command: str) -> None:
    """An option or argument that the command line itself could not read."""
    _print_error(f"{message}\nhint: {command} --help lists what it takes")


def _print_error(text: str) -> None:
    plain = not sys.stderr.isatty() or "NO_COLOR" in os.environ or os.environ.get("TERM") == "dumb"
    print(("error: " if plain else "\033[1;31merror:\033[0m ") + visible(text), file=sys.stderr)


_TURNS = (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
"""Marks that turn the direction of text."""
_ORDERS = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if code != ord("\n")}
_ORDERS |= {code: f"\\u{code:04x}" for code in _TURNS}


def visible(words: str) -> str:
    r"""Words with what would give a terminal orders, or turn the words around, spelled out.

    >>> print(visible("abc\x1b[2J \u202eexe"))
    abc\x1b[2J \u202eexe
    """
    return words.translate(_ORDERS)


def fit_lines(document: dict[str, Any]) -> list[str]:
    """What was fitted and where it lies."""
    training, calibration = document["training"], document["calibration"]
    ended = {"early": ", then stopped improving", "diverged": ", then diverged", "interrupted": ", then interrupted"}
    terms = ", ".join(f"{name} {value:.4g}" for name, value in training["terms"].items())
    return [
        f"trained {training['epochs']:,} epochs on {training['samples']:,} samples in {training['seconds']:.1f} s"
        f"{ended.get(training['stopped'], '')}; best epoch {training['best_epoch']} ({terms})",
        f"threshold {calibration['threshold']:.4g} for a false-alarm rate of {calibration['false_alarm_rate']:g}, "
        f"from {calibration['rows']:,} {calibration['calibrated_on']}",
    ]


_MODALITIES = {"table": "a table", "series": "a series", "image": "pictures", "audio": "recordings"}


def value_lines(document: dict[str, Any]) -> list[str]:
    """What was written, and in what groups the codes lie."""
    lines = []
    if sizes := document.get("clusters"):
        apart = f"separation {document['separation']:.2f} (1 is far apart, 0 is on the border)"
        lines.append(f"{len(sizes)} clusters ({_listed([f'{size:,}' for size in sizes])} samples); {apart}")
    if document["output"]:
        lines.append(f"wrote {' x '.join(map(str, document['shape']))} values to {document['output']}")
    return [*lines, f"the map is in {document['plot']}"] if document.get("plot") else lines


def inspect_lines(document: dict[str, Any]) -> list[str]:
    """A model file, one fact a line."""
    label, calibration = document["label"], document["calibration"]
    normal = f" (normal: {label['normal']})" if label and label["normal"] is not None else ""
    facts = {
        "file": f"{document['file']} ({document['bytes']:,} bytes)",
        "model": f"{document['kind']} autoencoder for {_MODALITIES[document['modality']]}",
        "parts": _parts(document["experiment"]),
        **_column_facts(document["columns"]),
        **({"label": label["column"] + normal} if label else {}),
        "code": code_words(document),
        **({"head": head_words(document["head"])} if document.get("head") else {}),
        "parameters": f"{document['parameters']:,}",
        **({"tuned": tuned_words(document["tuning"])} if document.get("tuning") else {}),
        "training": fit_lines(document)[0],
        "threshold": fit_lines(document)[1].removeprefix("threshold ") + f" ({calibration['rule']})",
        "data": f"sha256 {document['data_sha256']} (after scaling)",
        "versions": ", ".join(f"{name} {version}" for name, version in document["versions"].items()),
    }
    notes = [f"note: {notice}" for notice in document["notices"]]
    return [f"{name + ':':<12}{fact}" for name, fact in facts.items()] + notes


def tuned_words(tuning: dict[str, Any]) -> str:
    """How the kind and the sizes were chosen."""
    trials = tuning["trials"]
    value = trials[tuning["best"]]["objective"]
    return f"the best of {len(trials):,} candidates without labels, by {tuning['objective']}: {value:.4g}"


def code_words(document: dict[str, Any]) -> str:
    """How long a code is, and how many of its numbers say anything."""
    units = [f"{count:,} {state}" for state, count in document["units"].items() if state == "active" or count]
    return ", ".join([f"{document['latent']:,} numbers", *units])


def head_words(head: dict[str, Any]) -> str:
    """What a model learned from labels, and how well it does on those held out."""
    classes = _listed([str(label) for label in head["classes"]]) if "classes" in head else f"{head['numbers']} of them"
    words = f"{head['task']} ({classes}), taught by {head['labelled']:,} labelled rows"
    held = head["held_out"]
    if not held:
        return words
    if "accuracy" in held:
        figures = f"accuracy {held['accuracy']:.4f}, where always naming the most frequent class gets"
        return f"{words}; {figures} {held['majority']:.4f}, on {held['rows']:,} held-out rows"
    return f"{words}; R2 {held['r2']:.4f} on {held['rows']:,} held-out rows"


def _parts(experiment: dict[str, Any]) -> str:
    slots = ("network", "corruption", "bottleneck", "loss", "prior")
    words = [f"{slot} {experiment[slot]['is']}" for slot in slots if experiment[slot]]
    return ", ".join([*words, *(f"penalty {penalty['is']}" for penalty in experiment["penalties"])])


def _column_facts(columns: Any) -> dict[str, str]:
    if isinstance(columns, list):
        kinds = {"number": ""}
        return {"columns": _listed([each["name"] + kinds.get(each["kind"], f" ({each['kind']})") for each in columns])}
    if "rate" in columns:
        return _sound_facts(columns)
    if "size" in columns:
        noun = "tiles" if columns["tile"] else "pictures"
        return {"channels": _listed(columns["channels"]), noun: f"{' x '.join(map(str, columns['size']))} pixels"}
    time_column = {"time": columns["time"]} if columns["time"] else {}
    return {"channels": _listed(columns["channels"]), **time_column, "window": columns["window"]}


def _sound_facts(columns: dict[str, Any]) -> dict[str, str]:
    tile, rate = columns["tile"], columns["rate"]
    cells = {"magnitude": "magnitudes", "complex": "complex numbers"}[columns["view"]]
    size = f"{tile['bins']:,} bins ({tile['hertz']:,.0f} Hz) x {tile['frames']:,} frames ({tile['seconds']:.2f} s)"
    sound = f"{rate:,} frames a second, which holds up to {rate // 2:,} Hz; spectra of {columns['fft']:,} frames"
    return {"sound": sound, "tiles": f"{cells}, {size}"}


def _listed(names: list[str], most: int = 12) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def evaluate_lines(document: dict[str, Any]) -> list[str]:
    """The figures of an evaluation, the baselines beside those that rank."""
    ranked = ("auroc", "average_precision", "accuracy", "precision", "recall", "f1", "false_alarm_rate", "threshold")
    figures = [*ranked, *(name for name in _SERIES_FIGURES if name in document)]
    rivals = {name: scores for name, scores in document["baselines"].items() if isinstance(scores, dict)}
    header = f"{'':<23}{'model':>12}" + "".join(f"{name:>20}" for name in rivals)
    rows = [
        f"{name.replace('_', ' '):<23}{_figure(document[name]):>12}"
        + "".join(f"{_figure(scores[name]) if name in scores else '':>20}" for scores in rivals.values())
        for name in figures
    ]
    counts = f"{document['anomalies']:,} anomalies in {document['rows']:,} rows"
    fitted = f"baselines fitted on the {document['baselines']['fitted_on']}"
    return [header.rstrip(), *(row.rstrip() for row in rows), f"{counts}; {fitted}", *_oracle_lines(document)]


_SERIES_FIGURES = (
    *("vus_roc", "vus_pr", "range_precision", "range_recall", "range_f1", "event_recall", "event_f1"),
    *("affiliation_precision", "affiliation_recall", "affiliation_f1", "nab_score"),
)


def _oracle_lines(document: dict[str, Any]) -> list[str]:
    """What only the labels could have told, under a line that says so."""
    known = document.get("oracle", {})
    warning = ["with the labels' help, which no detector has (for comparison with published tables only):"]
    return warning * bool(known) + [f"{name.replace('_', ' '):<23}{_figure(known[name]):>12}" for name in known]


def _figure(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4f}"


def recipe_lines(recipes: list[dict[str, Any]]) -> list[str]:
    """The recipes: what each is for, and below it what was measured."""
    width = max(len(recipe["name"]) for recipe in recipes) + 2
    lines = []
    for recipe in recipes:
        lines.append(f"{recipe['name']:<{width}}{recipe['title']}; {recipe['data']}")
        lines += [f"{'':<{width}}{recipe['measured']}"] if recipe["measured"] else []
    return lines
