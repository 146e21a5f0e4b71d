"""The verb `denoise`: recordings are streamed, file by file; everything else is reconstructed.

Without a model, one is fitted to the noisy data first.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from hourglass.core.checkpoints import load_model, save_model
from hourglass.core.fitted import FittedModel
from hourglass.core.fitting import versions
from hourglass.core.streams import audio_format
from hourglass.data.excerpts import read_excerpts
from hourglass.data.files import read
from hourglass.data.formats import Data
from hourglass.data.samples import Recordings, unique_notices
from hourglass.data.sound import SOUNDS
from hourglass.data.times import counted
from hourglass.errors import SchemaError, UsageError
from hourglass.interfaces.describing import fit_notices
from hourglass.interfaces.gains import clean_twins, pairs_of
from hourglass.interfaces.learning import Listener, Nobody, learn
from hourglass.interfaces.listening import headline, write_listening
from hourglass.interfaces.operations import Outcome, interrupted, model_path, read_notices, reconstructed
from hourglass.interfaces.options import Denoise
from hourglass.interfaces.outputs import HTML, MODEL, VALUES, check_place
from hourglass.interfaces.pictures import check_is_file
from hourglass.interfaces.sounds import SoundFiles, clean, sound_files


def denoise(request: Denoise, listener: Listener | None = None) -> Outcome:
    """Write the data with their noise removed, by a model that learned to, or that is fitted to them on the way."""
    listener = listener or Nobody()
    _check(request)
    files = sound_files(request.data)
    if files is not None and Path(check_is_file(request.output, "recordings")).suffix.lower() in ("", *SOUNDS):
        return _of_files(request, files, listener)
    if request.report:
        how = "give recordings, and a file or folder for recordings with -o; or leave it out"
        raise UsageError("the report of denoising is on recordings that are written", where="--report", how=how)
    model = load_model(model_path(request.model), request.device or "auto") if request.model else None
    data = read(request.data, skip_bad=request.skip_bad or model is not None)
    for notice in read_notices(data):
        listener.note(notice)
    said: list[str] = []
    if model is None:
        model, said = _taught(request, data, listener)
    elif isinstance(data, Recordings) != (model.experiment.modality == "audio"):
        got = "recordings" if isinstance(data, Recordings) else "no recordings"
        what = f"got {got}, and the model is for the modality {model.experiment.modality}"
        raise SchemaError(what, where=request.data, how="give a model that was fitted to such data, or leave it out")
    return _told(request, model, reconstructed(model, data, request, listener).document, said)


def _of_files(request: Denoise, files: SoundFiles, listener: Listener) -> Outcome:
    output = str(request.output)
    _check_apart(files, output)
    twins = clean_twins(files, request.clean)
    said: list[str] = []
    if request.model:
        model = load_model(model_path(request.model), request.device or "auto")
        audio_format(model)
    else:
        model, said = _taught(request, read_excerpts(files.folder, files.names), listener)
    cleaned = clean(model, files, output, listener)
    document = {"model": request.model or request.save, "output": output, **cleaned.document()}
    notices = cleaned.notices
    if request.report:
        names = [file["name"] for file in cleaned.files]
        heard = write_listening(request.report, Path(request.data).name, pairs_of(files, names, output, twins))
        document |= {"report": request.report, "headline": headline(heard), "gains": heard.document()}
        notices = [*notices, *heard.notices]
    return _told(request, model, {**document, "notices": notices, "versions": versions()}, said)


def _taught(request: Denoise, data: Data, listener: Listener) -> tuple[FittedModel, list[str]]:
    """A model fitted to noisy data alone, kept where that is asked for, and what was odd about it."""
    model, _ = learn(request, data, listener)
    if request.save:
        save_model(model, request.save)
    return model, fit_notices(model)


def _told(request: Denoise, model: FittedModel, document: dict[str, Any], said: list[str]) -> Outcome:
    notices = [*said, *document["notices"], *(untrained(model) if request.model else [])]
    document = document | {"notices": unique_notices(notices)}
    return Outcome(document, model, not request.model and interrupted(model))


def untrained(model: FittedModel) -> list[str]:
    """What is to be said of a model that nobody taught to remove noise."""
    if model.experiment.corruption.name != "none" or model.card.get("pairs"):
        return []
    return ["the model was not trained to remove noise, so this is its plain reconstruction; fit with --kind denoising"]


def denoise_lines(document: dict[str, Any]) -> list[str]:
    """What was written, and what was gained, in words."""
    if "recordings" not in document:
        shape = " x ".join(map(str, document["shape"]))
        return [f"wrote {shape} values to {document['output']}"] if document["output"] else []
    number, drop = document["recordings"], document["noise_floor_drop"]
    of_all = f", in the median of {counted(number, 'recording')}" if number > 1 else ""
    fell = f"fell by {drop:.1f} dB" if drop >= 0 else f"rose by {-drop:.1f} dB"
    reported = [f"the report is in {document['report']}: {document['headline']}"] if "report" in document else []
    return [
        f"wrote {counted(number, 'recording')}, {document['seconds']:,.1f} s, to {document['output']}",
        f"the noise floor {fell}{of_all} (estimated; a lower floor is no proof of quality: listen)",
        *reported,
    ]


def _check(request: Denoise) -> None:
    raw = [name for name in ("rate", "channels", "bits") if getattr(request, name) is not None]
    if raw:
        names = ", ".join(f"--{name}" for name in raw)
        raise UsageError(f"{names}: only for raw sound on stdin", where="denoise", how="files say it themselves")
    check_place(request.output, VALUES, "--output", request.data, request.model)
    check_place(request.save, MODEL, "--save", request.data)
    check_place(request.report, HTML, "--report", request.data, request.model)
    if request.clean and not request.report:
        raise UsageError("clean twins are for the report", where="--clean", how="add --report FILE.html")


def _check_apart(files: SoundFiles, output: str) -> None:
    """Refuse a folder within the one that is read: the next run would take results for recordings."""
    there, here = (os.path.join(os.path.realpath(path), "") for path in (output, files.folder))
    if not Path(output).suffix and not files.single and there.startswith(here):
        raise UsageError(f"{output!r} lies in the folder that is read", where="--output", how="give a folder beside it")
    if Path(output).suffix and not files.single:
        how = f"give a folder: -o {Path(output).with_suffix('')}"
        raise UsageError(f"{output!r} is a file, and a folder is read", where="--output", how=how)
