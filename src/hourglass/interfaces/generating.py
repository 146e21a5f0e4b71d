"""`hourglass generate`: new samples from a fitted model, ways from one sample to the next, the plane of its codes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from hourglass.core.checkpoints import load_model
from hourglass.core.fitted import FittedModel
from hourglass.core.fitting import versions
from hourglass.core.priors import Prior
from hourglass.data.files import read
from hourglass.data.formats import Data, Result
from hourglass.data.samples import Pictures, unique_notices
from hourglass.errors import UsageError
from hourglass.interfaces.learning import Listener, Nobody
from hourglass.interfaces.operations import Outcome, model_path
from hourglass.interfaces.options import Generate
from hourglass.interfaces.outputs import VALUES, check_place, write_values
from hourglass.interfaces.pictures import FILES, for_place, shape_of

_NUMBER, _STEPS = 16, 8


@dataclass(frozen=True)
class Made:
    """New samples, and how many of them stand beside one another where they are drawn as pictures."""

    values: Result
    across: int


def generate(request: Generate, listener: Listener | None = None) -> Outcome:
    """Write new samples, in the units and the form of the data that the model was fitted on."""
    _check(request)
    listener = listener or Nobody()
    model = _model(request, listener)
    between = None if request.interpolate is None else _read(request.interpolate, Nobody())
    made = make(request, model, between)
    shape = shape_of(_written(made, model, request.output))
    document: dict[str, Any] = {"model": request.model, "output": request.output, "shape": shape}
    document |= {"prior": model.experiment.prior.as_json(), "seed": request.seed or 0}
    return Outcome({**document, "notices": unique_notices(model.format.notices), "versions": versions()}, model)


def _check(request: Generate) -> None:
    """Refuse what cannot be before anything is read."""
    check_place(request.output, VALUES, "--output", request.model, request.data, request.interpolate)
    asked = [name for name in ("number", "interpolate", "plane") if getattr(request, name) is not None]
    if len(asked) > 1:
        names = " and ".join(f"--{name}" for name in asked)
        raise UsageError(f"got {names}, which are different things to make", where="generate", how="give one of them")
    for name, needs in (("steps", "interpolate"), ("data", "prior")):
        if getattr(request, name) is not None and getattr(request, needs) is None:
            raise UsageError(f"--{name} goes with --{needs}", where="generate", how=f"add --{needs}, or leave it out")


def _model(request: Generate, listener: Listener) -> FittedModel:
    """The model, with another prior where one is asked for."""
    model = load_model(model_path(request.model), request.device or "auto")
    prior = model.experiment.prior if request.prior is None else Prior.named(request.prior)
    if request.data is not None:
        model = model.with_prior(prior, _read(request.data, listener))
    elif prior.name != model.experiment.prior.name:
        what = f"the model holds the prior {model.experiment.prior.name}, and {prior.name} is fitted to codes of data"
        raise UsageError(what, where="--prior", how="add --data FILE, the data that the model was fitted on")
    if request.interpolate is None:
        listener.note(f"codes come from {_words(model)}")
    return model


def _words(model: FittedModel) -> str:
    """The prior, in words."""
    if model.experiment.prior.name != "normal":
        return f"the prior {model.experiment.prior.name}, fitted to codes of data"
    if model.experiment.standard_codes:
        return "N(0, I), to which training pulled them"
    return "a normal distribution with the mean and covariance of the training codes; --prior mixture may be closer"


def make(request: Generate, model: FittedModel, between: Data | None = None) -> Made:
    """The new samples that are asked for; with data, ways `between` one of their samples and the next."""
    if between is not None:
        steps = request.steps or _STEPS
        return Made(model.interpolate(between, steps), steps)
    if request.plane is not None:
        return Made(model.latent_plane(request.plane), request.plane)
    number = _NUMBER if request.number is None else request.number
    return Made(model.generate(number, request.seed or 0), math.ceil(math.sqrt(number)))


def _written(made: Made, model: FittedModel, path: str | None) -> Result:
    """Write what was made, and give it as it was written."""
    values = for_place(made.values, model, path)
    if isinstance(values, Pictures) and Path(str(path)).suffix.lower() in FILES:
        values = side_by_side(values, made.across)
    elif isinstance(values, np.ndarray) and not str(path).lower().endswith((".npy", ".npz")):
        values = values.reshape(len(values), -1)
    write_values(values, path, model.format.cell_names() if isinstance(values, np.ndarray) else None)
    return values


def side_by_side(pictures: Pictures, across: int, gap: int = 2) -> Pictures:
    """Pictures as one picture, `across` of them in a row, white between them."""
    first = np.asarray(pictures.arrays[0])
    white = np.iinfo(first.dtype).max if first.dtype.kind in "iu" else 1
    height, width = first.shape[0] + gap, first.shape[1] + gap
    down = -(-len(pictures) // across)
    sheet = np.full((down * height + gap, across * width + gap, *first.shape[2:]), white, dtype=first.dtype)
    for place, picture in enumerate(pictures.arrays):
        top, left = place // across * height + gap, place % across * width + gap
        sheet[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    return Pictures([sheet], pa.table({"name": ["generated.png"]}), pictures.source, pictures.notices)


def _read(path: str, listener: Listener) -> Data:
    data = read(path)
    for notice in getattr(data, "notices", ()):
        listener.note(notice)
    return data
