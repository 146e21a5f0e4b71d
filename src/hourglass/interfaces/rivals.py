"""The part of a report that says what PCA and an isolation forest make of the same data, and when they do as well."""

from __future__ import annotations

import numpy as np

from hourglass.estimators.baselines import Baselines, rank_correlation, reconstruction_error
from hourglass.estimators.evaluation import fit_baselines, ranking, row_scores
from hourglass.interfaces.page import Part, Table, Text
from hourglass.interfaces.subject import Subject
from hourglass.interfaces.words import counted, number_words

OWN, PCA = "autoencoder", "pca"
_AS_GOOD = 1.05
"""Up to this ratio of errors, PCA's are as good."""
_ALIKE = 0.9
"""From this rank correlation on, two rankings are much alike."""
_CLOSE = 0.005
"""Up to this difference, two AUROCs are as good."""

Quality = dict[str, dict[str, float | None]]


def rivals_part(subject: Subject) -> Part:
    """The methods side by side, under a sentence that tells when the simpler one does as well."""
    return Part("Beside simpler methods", rivals(subject))


def rivals(subject: Subject) -> tuple[Text, Table]:
    """The sentence, and the methods side by side."""
    model, samples = subject.model, subject.packed.samples
    baselines = fit_baselines(model, subject.packed if subject.train is None else model.format.pack(subject.train))
    errors = {OWN: reconstruction_error(model, samples), PCA: baselines.reconstruction_error(samples)}
    scores = {OWN: subject.score, **baselines.scores(samples)}
    quality = _quality(subject, baselines)
    auroc = {name: value for name, each in quality.items() if (value := each["auroc"]) is not None}
    verdict = by_labels(auroc) if auroc else by_errors(errors, rank_correlation(subject.score, scores[PCA]))
    table = _table(subject, scores, errors, quality, baselines.components)
    return Text(verdict), table


def _quality(subject: Subject, baselines: Baselines) -> Quality:
    """How well each method ranks the rows whose truth is known; nothing where it is not, or all alike."""
    if subject.labels is None or subject.labels.all() or not subject.labels.any():
        return {}
    rivals = row_scores(subject.model, baselines, subject.packed)
    by_row = {OWN: subject.detection.rows.score, **rivals}
    return {name: ranking(subject.labels, score) for name, score in by_row.items()}


def _table(
    subject: Subject, scores: dict[str, np.ndarray], errors: dict[str, float], quality: Quality, components: int
) -> Table:
    most = min(len(subject.score), max(10, int(subject.flagged.sum())))
    rows = [
        [
            f"PCA, {counted(components, 'component')}" if name == PCA else name,
            number_words(errors[name], 3) if name in errors else "",
            number_words(rank_correlation(subject.score, score), 2),
            f"{shared(subject.score, score, most)} of {most}",
            *(number_words(value, 3) for value in quality.get(name, {}).values()),
        ]
        for name, score in scores.items()
    ]
    header = ["method", "reconstruction error", "rank correlation", f"same among the {most} oddest"]
    header += ["AUROC", "average precision"] if quality else []
    fitted = "training" if subject.train is not None else "same"
    caption = (
        f"PCA and the isolation forest were fitted on the {fitted} {subject.noun}s. The error is the mean squared one "
        "of a number, after scaling; ranks are those of the anomaly scores, compared with the autoencoder's."
    )
    return Table(header, rows, frozenset(range(1, len(header))), caption)


def by_labels(auroc: dict[str, float]) -> str:
    """Which method to take, where the truth is known.

    >>> by_labels({"autoencoder": 0.9, "pca": 0.91, "isolation forest": 0.8})
    'By the labels, PCA does as well as the autoencoder (AUROC 0.91 against 0.9): it is the simpler choice here.'
    """
    rival = max((name for name in auroc if name != OWN), key=auroc.__getitem__)
    name = "PCA" if rival == PCA else f"the {rival}"
    figures = f"AUROC {number_words(auroc[rival], 3)} against {number_words(auroc[OWN], 3)}"
    if auroc[rival] >= auroc[OWN] - _CLOSE:
        return f"By the labels, {name} does as well as the autoencoder ({figures}): it is the simpler choice here."
    return f"By the labels, the autoencoder does better than {name}, the better of the simpler methods ({figures})."


def by_errors(errors: dict[str, float], correlation: float) -> str:
    """Which method to take, as far as that can be said without labels."""
    figures = f"error {number_words(errors[PCA], 3)} against {number_words(errors[OWN], 3)}"
    unknown = "Only labels can say whose ranking is the better one."
    if errors[PCA] > _AS_GOOD * errors[OWN]:
        return f"PCA of the same size gives the data back less well than the autoencoder ({figures}). {unknown}"
    as_good = f"PCA of the same size gives the data back at least as well ({figures})"
    if correlation >= _ALIKE:
        return f"{as_good} and ranks them much alike: the simpler method does as well here."
    return f"{as_good}, but ranks them otherwise. {unknown}"


def shared(one: np.ndarray, other: np.ndarray, most: int) -> int:
    """How many samples are among the `most` oddest by both scores.

    >>> shared(np.array([5.0, 4.0, 1.0]), np.array([5.0, 1.0, 4.0]), 2)
    1
    """
    first, second = (np.argsort(-score, kind="stable")[:most] for score in (one, other))
    return len(np.intersect1d(first, second))
