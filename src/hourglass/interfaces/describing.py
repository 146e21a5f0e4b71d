"""A fitted model in words and numbers, as JSON values."""

from __future__ import annotations

from typing import Any

from hourglass.core.fitted import TRAINING, FittedModel
from hourglass.core.heads import Classes
from hourglass.data.audio import AudioFormat
from hourglass.data.images import ImageFormat
from hourglass.data.samples import unique_notices
from hourglass.data.series import SeriesFormat


def describe(model: FittedModel) -> dict[str, Any]:
    """What a model is, how it was trained and how it is calibrated, as JSON values."""
    plan, history, limit = model.experiment, model.history, model.threshold()
    return {
        "modality": plan.modality,
        "kind": plan.kind,
        "columns": _columns(model),
        "label": model.card.get("label"),
        "latent": model.latent_size,
        "units": model.card.get("units", {}),
        "head": head_facts(model),
        "parameters": sum(weights.numel() for weights in model.network.parameters()),
        "training": {
            "samples": model.card.get("samples"),
            "epochs": len(history.training),
            "best_epoch": history.best_epoch,
            "stopped": history.stopped,
            "seconds": round(history.seconds, 3),
            "step": history.step,
            "workers": model.card.get("workers", 1),
            "terms": (history.validation or history.training or [{}])[max(history.best_epoch - 1, 0)],
        },
        "calibration": {
            "rows": len(model.calibration.scores),
            "calibrated_on": model.calibration.source,
            "rule": plan.detection.threshold,
            "false_alarm_rate": plan.detection.false_alarm_rate,
            "reachable_rate": limit.reachable_rate,
            "threshold": limit.value,
        },
        "experiment": plan.as_json(),
        "tuning": model.card.get("tuning"),
        "data_sha256": model.card.get("sha256"),
        "versions": model.card.get("versions", {}),
        "notices": unique_notices([*fit_notices(model), *filter(None, [limit.notice])]),
    }


def head_facts(model: FittedModel) -> dict[str, Any] | None:
    """What a model learned from labels, and how well, as JSON values; None where it was taught none."""
    head = model.head
    if head is None:
        return None
    meaning = head.meaning
    what = {"classes": meaning.labels.tolist()} if isinstance(meaning, Classes) else {"numbers": meaning.outputs}
    return {
        "task": meaning.task,
        **what,
        "labelled": head.settings["labelled"],
        "frozen": head.tuned is None,
        "held_out": head.judged,
    }


def _columns(model: FittedModel) -> dict[str, Any] | list[dict[str, str]]:
    form = model.format
    if isinstance(form, SeriesFormat):
        steps = f"{form.rule.steps} steps"
        window = steps if form.rule.calendar is None else f"{form.rule.word} ({steps})"
        return {"channels": list(form.schema.channels), "time": form.schema.time, "window": window}
    if isinstance(form, ImageFormat):
        return {"channels": list(form.channel_names), "size": list(form.size), "tile": form.settings.tile}
    if isinstance(form, AudioFormat):
        tiling, second = form.tiling, form.transform.hop / form.rate
        tile = {"bins": tiling.height, "frames": tiling.width, "seconds": round(tiling.width * second, 4)}
        tile["hertz"] = tiling.height * form.rate / form.transform.fft
        return {"rate": form.rate, "view": form.settings.view, "fft": form.transform.fft, "tile": tile}
    return [{"name": cell.name, "kind": cell.kind} for cell in form.layout.cells]


def fit_notices(model: FittedModel) -> list[str]:
    """What was accepted although odd while a model was fitted."""
    notices = [*model.format.notices, *model.history.notices]
    if model.calibration.source == TRAINING:
        notices.append("the threshold comes from scores of training rows, which are too low: it may flag too much")
    return notices
