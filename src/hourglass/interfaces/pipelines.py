"""What a recipe does after the fit, where it is a pipeline: teach the model labels, or judge its codes by them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hourglass import recipes
from hourglass.interfaces.learning import Listener
from hourglass.interfaces.operations import Outcome
from hourglass.interfaces.options import Finetune, Fit, Probe

Step = Callable[..., tuple[Outcome, list[str]]]


def follow(request: Fit, outcome: Outcome, listener: Listener) -> list[str]:
    """Take the recipe's next step, once a label is named; what it did joins the outcome's document. Lines to say."""
    options = dict(recipes.load(request.recipe).get("pipeline", {})) if request.recipe else {}
    then = options.pop("then", None)
    if then is None or outcome.interrupted:
        return []
    if request.label is None:
        return [f"this recipe goes on with `hourglass {then}` where labels are named: --label COLUMN"]
    done, lines = _STEPS[then](request, str(outcome.document["model"]), listener, **options)
    outcome.document["pipeline"] = {then: done.document}
    return lines


def _finetune(request: Fit, model: str, listener: Listener, **options: Any) -> tuple[Outcome, list[str]]:
    from hourglass.interfaces import finetuning

    named: dict[str, Any] = {"data": request.data, "label": request.label, "skip_bad": request.skip_bad}
    asked = Finetune(model=model, output=model, **named, **options)
    done = finetuning.finetune(asked, listener)
    return done, finetuning.finetune_lines(done.document)[:1]  # the fit says itself where the model is


def _probe(request: Fit, model: str, listener: Listener) -> tuple[Outcome, list[str]]:
    from hourglass.interfaces import probing

    done = probing.probe(Probe(model=model, data=request.data, label=request.label), listener)
    return done, probing.probe_lines(done.document)


_STEPS: dict[str, Step] = {"finetune": _finetune, "probe": _probe}
