"""`hourglass tune`: candidates are tried on held-out rows, without labels, and the best is fitted and saved."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

from hourglass.core.checkpoints import save_model
from hourglass.core.kinds import Experiment
from hourglass.data.files import read
from hourglass.data.samples import unique_notices
from hourglass.interfaces.cluster import crew
from hourglass.interfaces.describing import describe
from hourglass.interfaces.learning import Listener, Nobody, learn, material, planned
from hourglass.interfaces.operations import Outcome, interrupted, read_notices
from hourglass.interfaces.options import Tune
from hourglass.interfaces.outputs import MODEL, check_place
from hourglass.interfaces.signals import heeded
from hourglass.settings import Search


def tune(request: Tune, listener: Listener | None = None) -> Outcome:
    """Search for the kind, latent size and window that suit a file, then fit that model to all of it and save it."""
    from hourglass.estimators import tuning

    listener = listener or Nobody()
    check_place(request.output, MODEL, "--output", request.data)
    asked = {name: getattr(request, name) for name in ("trials", "timeout", "kinds")}
    how = Search(**{name: value for name, value in asked.items() if value is not None})
    data = read(request.data, skip_bad=request.skip_bad)
    for notice in read_notices(data):
        listener.note(notice)
    _, plan, train = material(request, data, listener)

    def plan_of(parameters: tuning.Parameters) -> Experiment:
        return planned(request.replace(**parameters), plan.modality)

    def progress(done: int, total: int) -> None:
        listener.progress("tuning", done, total)

    fixed = request.kind is not None or request.recipe is not None
    with crew(request.on) if request.on else nullcontext() as helpers:
        found = tuning.search(train, plan_of, how, fixed_kind=fixed, progress=progress, crew=helpers)
    ended = _ended(found, how)
    listener.note(ended)
    if found.stopped == "interrupted":
        heeded()
    model, _ = learn(request.replace(**found.best.parameters), data, listener)
    model.card["tuning"] = found.as_json()
    path = save_model(model, request.output)
    document = {"model": str(path), "output": str(path), **describe(model)}
    document["notices"] = unique_notices([*read_notices(data), ended, *document["notices"]])
    return Outcome(document, model, found.stopped == "interrupted" or interrupted(model))


def _ended(found: Any, how: Search) -> str:
    """How the search ended, in a sentence."""
    tried = f"{len(found.trials)} of {how.trials} candidates tried"
    reason = {
        "timeout": "time was up",
        "interrupted": "interrupted",
        "exhausted": "no further one was proposed",
    }.get(found.stopped)
    best = found.best
    chosen = f"{best.kind}, {best.latent} numbers a code" + (f", window {best.window}" if best.window else "")
    return f"{tried}{f' ({reason})' if reason else ''}; the best, {chosen}, is fitted to all rows"


def tune_lines(document: dict[str, Any]) -> list[str]:
    """What was tried, one candidate a line, the chosen one marked; below, what the figures are."""
    trials = document["trials"]
    windowed = any(trial["window"] for trial in trials)
    width = max(len(trial["kind"]) for trial in trials) + 2
    planted = dict.fromkeys(name for trial in trials for name in trial["planted"])
    window_title = f"{'window':>8}" if windowed else ""
    header = f"  {'kind':<{width}}{'latent':>6}{window_title}{'error':>8}{'AUROC':>8}{'stability':>11}{'objective':>11}"
    lines = [
        f"{'*' if place == document['best'] else ' '} {trial['kind']:<{width}}{trial['latent']:>6}"
        + (f"{trial['window'] or '':>8}" if windowed else "")
        + _figures(trial)
        for place, trial in enumerate(trials)
    ]
    what = f"AUROC: held-out rows with {', '.join(planted)} planted, against those left alone" if planted else ""
    error = "error: held-out, over that of PCA of the same size"
    chosen = f"chosen (*) by {document['objective']}, seed {document['seed']}; no label was used"
    return [header, *lines, error, *filter(None, [what]), chosen]


def _figures(trial: dict[str, Any]) -> str:
    if trial["failed"]:
        return f"  failed: {trial['failed']}"
    error = "" if trial["error"] is None else f"{trial['error']:.3f}"
    auroc = sum(trial["planted"].values()) / len(trial["planted"])
    return f"{error:>8}{auroc:>8.4f}{trial['stability']:>11.4f}{trial['objective']:>11.4f}"
