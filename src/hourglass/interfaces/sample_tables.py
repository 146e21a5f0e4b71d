"""What a model makes of each sample, in columns: codes and clusters, or predictions, after what samples are called."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from hourglass.core.fitted import FittedModel
from hourglass.core.heads import Classes
from hourglass.data.audio import AudioFormat
from hourglass.data.images import ImageFormat
from hourglass.data.samples import Packed
from hourglass.data.series import SeriesFormat
from hourglass.errors import UsageError

if TYPE_CHECKING:
    from hourglass.estimators.clustering import Clustering


def codes_table(model: FittedModel, packed: Packed, codes: np.ndarray, found: Clustering | None = None) -> pa.Table:
    """Codes in columns `latent0`, `latent1`, ...; before them what samples are called, and their cluster if any."""
    columns: dict[str, Any] = {**_sample_names(model, packed)}
    if found is not None:
        columns["cluster"] = found.groups
    columns |= {f"latent{place}": column for place, column in enumerate(np.ascontiguousarray(codes.T))}
    return pa.table(columns)


def clusters_of(codes: np.ndarray, count: int | None) -> Clustering | None:
    """The codes in so many groups; None where none are asked for."""
    if count is None:
        return None
    from hourglass.estimators.clustering import k_means  # scikit-learn, which few verbs need

    different = len(np.unique(codes, axis=0))
    if count > different:
        what = f"got {count:,} clusters for {different:,} different codes, wanted at most as many"
        raise UsageError(what, where="--clusters", how="ask for fewer, or give more data")
    return k_means(codes, count)


def cluster_facts(found: Clustering | None) -> dict[str, Any]:
    """What is said of clusters, as JSON values."""
    return {} if found is None else {"clusters": found.sizes, "separation": found.separation}


def predictions_table(model: FittedModel, packed: Packed) -> tuple[pa.Table, list[str]]:
    """The label of each sample and the probability of each class after what samples are called; and their columns."""
    outputs, meaning = model.head_outputs(packed.samples), model.the_head().meaning
    found = meaning.predictions(outputs)
    columns = [found] if found.ndim == 1 else list(found.T)
    names = ["prediction"] if found.ndim == 1 else [f"prediction{place}" for place in range(len(columns))]
    if isinstance(meaning, Classes):
        names += [f"probability_{label}" for label in meaning.labels.tolist()]
        columns += list(meaning.probabilities(outputs).T)
    samples: dict[str, Any] = {**_sample_names(model, packed)} or {"row": np.arange(len(found))}
    return pa.table(samples | dict(zip(names, columns, strict=True))), names


def _sample_names(model: FittedModel, packed: Packed) -> dict[str, list[Any]]:
    """What samples are called, in columns of their own: windows, pictures, stretches of recordings."""
    form = model.format
    if isinstance(form, SeriesFormat):
        return {"window": [form.window_label(packed.places, window) for window in range(len(packed.samples))]}
    if isinstance(form, AudioFormat):
        spans = form.spans(packed.places)
        shown = ("name", "channel", "start", "end", *(("low", "high") if form.is_cut_in_frequency else ()))
        return {fact: [getattr(span, fact) for span in spans] for fact in shown}
    return {"name": form.labels(packed.places)} if isinstance(form, ImageFormat) else {}
