"""`hourglass encode --plot`: the map of the codes as one HTML file that needs no network."""

from __future__ import annotations

from pathlib import Path

from hourglass.core.checkpoints import load_model
from hourglass.core.fitting import versions
from hourglass.data.files import read
from hourglass.data.samples import unique_notices
from hourglass.interfaces import operations
from hourglass.interfaces.learning import Listener
from hourglass.interfaces.maps import codes_part, labels_part
from hourglass.interfaces.options import Encode
from hourglass.interfaces.outputs import HTML, check_place
from hourglass.interfaces.page import Section, write_page
from hourglass.interfaces.subject import Subject
from hourglass.interfaces.words import counted


def plot(request: Encode, listener: Listener | None = None) -> operations.Outcome:
    """Draw the map of the codes of a file's samples; write the codes too where a place for them is named."""
    check_place(request.plot, HTML, "--plot", request.data, request.model)
    model = load_model(operations.model_path(request.model), request.device or "auto")
    data = read(request.data)
    subject = Subject(model, data, model.detect(data, reasons="none"), model.format.pack(data))
    part = codes_part(subject) if request.label is None else labels_part(subject, request.label)
    headline = f"The codes of {counted(len(subject.score), subject.noun)}, {model.latent_size} numbers each."
    write_page(str(request.plot), "Map of the codes", [Section(Path(request.data).name, headline, [part])])
    if request.output is not None:
        document = operations.encode(request, listener).document
    else:
        shape = [len(subject.score), model.latent_size]
        notices = unique_notices(getattr(data, "notices", ()))
        document = {"model": request.model, "output": None, "shape": shape, "notices": notices, "versions": versions()}
    return operations.Outcome({**document, "plot": request.plot}, model)
