"""`hourglass encode --plot`: the map of the codes as one HTML file that needs no network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hourglass.core.fitted import FittedModel
from hourglass.data.formats import Data
from hourglass.data.samples import Packed
from hourglass.interfaces.maps import clusters_part, codes_part, labels_part
from hourglass.interfaces.options import Encode
from hourglass.interfaces.page import Section, write_page
from hourglass.interfaces.subject import Subject
from hourglass.interfaces.words import counted

if TYPE_CHECKING:
    from hourglass.estimators.clustering import Clustering


def plot(request: Encode, model: FittedModel, data: Data, packed: Packed, found: Clustering | None) -> None:
    """Draw the codes of data as points, coloured by a column, by their clusters, or by their anomaly scores."""
    subject = Subject(model, data, model.detect(data, reasons="none"), packed)
    if request.label is not None:
        part = labels_part(subject, request.label)
    else:
        part = codes_part(subject) if found is None else clusters_part(subject, found.groups)
    headline = f"The codes of {counted(len(subject.score), subject.noun)}, {model.latent_size} numbers each."
    write_page(str(request.plot), "Map of the codes", [Section(Path(request.data).name, headline, [part])])
