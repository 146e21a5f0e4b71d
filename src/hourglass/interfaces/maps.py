"""The map of the codes: codes as points in the plane, coloured by how odd they are or by what they are."""

from __future__ import annotations

from collections import Counter

import numpy as np

from hourglass.core.chunks import in_chunks
from hourglass.errors import UsageError
from hourglass.interfaces.figures import label_map, latent_map
from hourglass.interfaces.labels import label_column
from hourglass.interfaces.page import Part
from hourglass.interfaces.subject import Subject
from hourglass.interfaces.words import share_words

MOST_POINTS = 5_000
MOST_LABELS = 24
"""Different labels that can be told apart; the rarer ones share a name."""


def codes_part(subject: Subject) -> Part:
    """The codes as points in the plane, coloured by their samples' anomaly scores."""
    chosen, drawn = _drawn_points(subject)
    score = subject.score[chosen]
    points, axes = plane_of(_codes(subject, chosen), score)
    names = [subject.name(int(i)) for i in chosen]
    caption = f"{_caption(subject)}, coloured by its anomaly score; diamonds are flagged.{_axes(subject)}{drawn}"
    return Part("Map of the codes", [latent_map(points, score, subject.flagged[chosen], names, axes, caption)])


def labels_part(subject: Subject, column: str) -> Part:
    """The codes as points in the plane, coloured by a column of the data."""
    return _groups_part(subject, _labels(subject, column), column)


def clusters_part(subject: Subject, clusters: np.ndarray) -> Part:
    """The codes as points in the plane, coloured by their cluster, a number for each sample."""
    return _groups_part(subject, clusters.astype(str), "cluster")


def _groups_part(subject: Subject, words: np.ndarray, what: str) -> Part:
    """The codes as points, coloured by a word for each sample; beyond the commonest words, "other"."""
    common = Counter(words.tolist()).most_common()
    kept = [word for word, _ in common[: MOST_LABELS - (len(common) > MOST_LABELS)]]
    labels = np.where(np.isin(words, kept), words, "other")
    chosen, drawn = _drawn_points(subject)
    points, axes = plane_of(_codes(subject, chosen), subject.score[chosen])
    names = [subject.name(int(i)) for i in chosen]
    caption = f"{_caption(subject)}, coloured by its {what}.{_axes(subject)}{drawn}"
    return Part("Map of the codes", [label_map(points, labels[chosen], names, axes, caption)])


def _codes(subject: Subject, chosen: np.ndarray) -> np.ndarray:
    network = subject.model.network
    return in_chunks(network.encode, subject.packed.samples[chosen], network.device).astype(np.float64)


def _labels(subject: Subject, column: str) -> np.ndarray:
    """The label of each sample as text, a tile's being that of the whole."""
    given, samples = label_column(subject.data, column).to_pylist(), len(subject.score)
    words = np.array(["missing" if value is None else str(value) for value in given])
    words = words if subject.packed.groups is None else words[subject.packed.groups]
    if len(words) != samples:
        what = f"column {column!r} has {len(words):,} values, and there are {samples:,} samples"
        how = "leave --label out: samples that are cut from rows have no label of their own"
        raise UsageError(what, where="--label", how=how)
    return words


def _caption(subject: Subject) -> str:
    return f"Each point is the code of a {subject.noun}"


def _axes(subject: Subject) -> str:
    return " Axes are the principal ones of the codes." if subject.model.latent_size > 2 else ""


def _drawn_points(subject: Subject) -> tuple[np.ndarray, str]:
    """The samples to draw, and a sentence on which they are where they are not all."""
    count = len(subject.score)
    if count <= MOST_POINTS:
        return np.arange(count), ""
    oddest, others = np.split(subject.order, [MOST_POINTS // 10])
    generator = np.random.default_rng(subject.model.experiment.training.seed)
    drawn = np.append(oddest, generator.choice(others, MOST_POINTS - len(oddest), replace=False))
    which = f"the oddest {len(oddest)}, the others at random"
    return np.sort(drawn), f" Drawn are {MOST_POINTS:,} of {count:,}: {which}."


def plane_of(codes: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, tuple[str, str]]:
    """Codes as points of the plane and the names of its axes; beyond two numbers, along their principal axes."""
    if codes.shape[1] == 1:
        return np.column_stack([codes[:, 0], score]), ("code", "anomaly score")
    if codes.shape[1] == 2:
        return codes, ("code 1", "code 2")
    centred = codes - codes.mean(axis=0)
    variance, axes = np.linalg.eigh(centred.T @ centred)
    shares = variance[::-1][:2] / max(float(variance.sum()), 1e-30)
    words = [f"axis {i + 1} ({share_words(max(share, 0.0))} of variance)" for i, share in enumerate(shares)]
    return centred @ axes[:, ::-1][:, :2], (words[0], words[1])
