"""The parts of a report that are about pictures: given and given back, the oddest with their maps, learned filters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from torch import nn

from hourglass.core.chunks import in_chunks
from hourglass.data.samples import Layout, Pictures, Recordings
from hourglass.estimators.baselines import reconstruction_error
from hourglass.interfaces.drawing import coloured, sheet
from hourglass.interfaces.gallery import Gallery
from hourglass.interfaces.page import Block, Part, Picture, Table, Text
from hourglass.interfaces.subject import Subject
from hourglass.interfaces.words import counted, number_words, share_words

_SHOWN, _ODDEST = 10, 8
_SMALL, _LARGE, _TINY = 84, 112, 56
_FILTERS, _A_ROW = 45, 15
_FOLDERS = 12
_CODED = 5_000
_STILL = 1e-6
"""Of the widest code number's range, what a number's range is at most that never varies."""


def given_back_part(subject: Subject, gallery: Gallery) -> Part:
    """Ten pictures over their reconstructions."""
    chosen = np.unique(np.linspace(0, len(gallery.names) - 1, min(_SHOWN, len(gallery.names))).astype(int)).tolist()
    rows = [[gallery.given(picture) for picture in chosen], [gallery.given_back(picture) for picture in chosen]]
    error = number_words(reconstruction_error(subject.model, subject.packed.samples), 3)
    caption = f"{counted(len(chosen), 'picture')}, evenly apart: as given above, as the model gives them back below."
    words = f"Each picture passes through a code of {counted(subject.model.latent_size, 'number')}."
    scaled = f"The mean squared error of a pixel is {error} over all pictures, on the scale of the model."
    return Part("Given and given back", [Text(f"{words} {scaled}"), Picture(sheet(rows, _SMALL), caption)])


def oddest_part(subject: Subject, gallery: Gallery) -> Part:
    """The oddest pictures: as given, as given back, and where the errors lie."""
    chosen = subject.judged_order[:_ODDEST].tolist()
    rows = [[show(picture) for picture in chosen] for show in (gallery.given, gallery.given_back, gallery.heat)]
    names = ", ".join(f"{gallery.names[each]} ({number_words(float(subject.judged[each]), 3)})" for each in chosen)
    caption = f"As given, as the model gives them back, and where they differ, from yellow to red. Scores: {names}."
    return Part("The oddest pictures", [Picture(sheet(rows, _LARGE), caption)])


def filters_part(subject: Subject) -> Part | None:
    """What the first layer of the encoder looks for, where it looks at pixels."""
    layout = subject.model.format.layout
    weights = first_weights(subject.model.network.encoder, layout)
    if weights is None:
        return None
    order = np.argsort(-np.linalg.norm(weights.reshape(len(weights), -1), axis=1), kind="stable")[:_FILTERS]
    shown = [_filter(weights[place]) for place in order]
    rows = [shown[start : start + _A_ROW] for start in range(0, len(shown), _A_ROW)]
    which = f"The strongest {len(shown)} of {len(weights):,}" if len(shown) < len(weights) else f"All {len(shown)}"
    caption = f"{which} units of the first layer, as the pictures that excite them most: bright is wanted, dark not."
    return Part("What the network looks for", [Picture(sheet(rows, _TINY), caption)])


def first_weights(encoder: nn.Module, layout: Layout) -> np.ndarray | None:
    """Weights (units, channels, height, width) of the first layer, if that is one that sees pixels; else None.

    Beside the pixels it may see which of them are hidden: those weights are left out.
    """
    first = next((module for module in encoder.modules() if hasattr(module, "weight")), None)
    if len(layout.shape) != 3:
        return None
    if isinstance(first, nn.Linear) and first.in_features in (layout.size, 2 * layout.size):
        return np.asarray(first.weight.detach().cpu().numpy()[:, : layout.size].reshape(-1, *layout.shape))
    channels = layout.shape[0]
    if isinstance(first, nn.Conv2d) and first.in_channels in (channels, 2 * channels):
        return np.asarray(first.weight.detach().cpu().numpy()[:, :channels])
    return None


def _filter(weight: np.ndarray) -> np.ndarray:
    """Weights (channels, h, w) as colours, 0 in the middle."""
    largest = float(np.abs(weight).max())
    return coloured(np.moveaxis(weight, 0, -1), -largest, largest)


def units_words(subject: Subject) -> str:
    """How many code numbers never vary over the data, for kinds whose codes are sparse, or where there are some."""
    model, samples = subject.model, subject.packed.samples
    chosen = np.linspace(0, len(samples) - 1, min(len(samples), _CODED)).astype(int)
    extent = np.ptp(in_chunks(model.network.encode, samples[chosen], model.network.device), axis=0)
    dead = int((extent <= _STILL * extent.max(initial=0.0)).sum())
    plan = model.experiment
    sparse = plan.bottleneck.sparse or any(penalty.sparse for penalty in plan.penalties)
    if len(samples) < 2 or not (sparse or dead):
        return ""
    whole = f"{dead:,} of {counted(len(extent), 'code number')}"
    return f"{whole} ({share_words(dead / len(extent))}) never {'varies' if dead == 1 else 'vary'} over these data."


def pictures_profile(subject: Subject, gallery: Gallery) -> list[Block]:
    """How many pictures there are, of what size and colour, and where they lie."""
    origin = gallery.place.origin
    sizes = Counter(f"{height} x {width}" for height, width in origin.sizes)
    colours = Counter(_colour(channels) for channels in origin.channels)
    depths = Counter(_depth(kind) for kind in origin.kinds)
    listed = [listing(counts) for counts in (sizes, colours, depths)]
    seen = " x ".join(map(str, subject.model.format.layout.shape[1:]))
    tiled = f", in {counted(len(subject.score), 'tile')}" if gallery.place.tiles is not None else ""
    words = f"{counted(len(gallery.names), 'picture')}: {'; '.join(listed)}. The model sees {seen} pixels{tiled}."
    return [Text(words), *folders(subject)]


def folders(subject: Subject) -> list[Block]:
    """The folders that pictures or recordings lie in, with how many of each are flagged."""
    data, noun = subject.data, subject.judged_noun
    if not isinstance(data, Pictures | Recordings) or noun == "tile" or "folder" not in data.table.column_names:
        return []
    found = np.array([str(folder) for folder in data.table.column("folder").to_pylist()])
    rows = [
        [name, f"{count:,}", f"{int(subject.judged_flags[found == name].sum()):,}"]
        for name, count in Counter(found.tolist()).most_common(_FOLDERS)
    ]
    caption = f"The {len(rows)} largest folders." if len(set(found)) > len(rows) else ""
    return [Table(["folder", f"{noun}s", "flagged"], rows, frozenset({1, 2}), caption)]


def listing(counts: Counter[str]) -> str:
    """Words with how often each occurs, the commonest first.

    >>> listing(Counter(["grey"] * 3)), listing(Counter(["8 x 8"] * 3 + ["9 x 9"]))
    ('grey', '8 x 8 (3), 9 x 9 (1)')
    """
    if len(counts) == 1:
        return next(iter(counts))
    named = ", ".join(f"{word} ({count:,})" for word, count in counts.most_common(4))
    return named + (f" and {len(counts) - 4:,} more" if len(counts) > 4 else "")


def _colour(channels: int) -> str:
    return {1: "grey", 2: "grey with transparency", 3: "colour", 4: "colour with transparency"}.get(
        channels, counted(channels, "channel")
    )


def _depth(kind: np.dtype) -> str:
    return {"uint8": "8 bits", "uint16": "16 bits"}.get(str(kind), f"numbers of type {kind}")


def exhibits(subject: Subject, gallery: Gallery) -> Sequence[Part]:
    """What a report shows of pictures, after what was found."""
    return [given_back_part(subject, gallery), oddest_part(subject, gallery)]
