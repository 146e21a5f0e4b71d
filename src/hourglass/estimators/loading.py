"""Reads any model file back into the estimator that it was saved from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hourglass.core.checkpoints import load_model
from hourglass.estimators.anomaly import AnomalyDetector
from hourglass.estimators.base import Saved
from hourglass.estimators.finetuning import AutoencoderClassifier, AutoencoderRegressor
from hourglass.estimators.generation import Generator
from hourglass.estimators.modalities import MODALITIES

_WRAPPERS: tuple[type[Saved], ...] = (AnomalyDetector, Generator, AutoencoderClassifier, AutoencoderRegressor)
TASKS: dict[str, type[Saved]] = {each.task: each for each in _WRAPPERS}
"""The estimators that wrap an autoencoder, by what a model's card calls them."""


def load(path: str | Path, device: str = "auto") -> Any:
    """The fitted estimator in a model file: an autoencoder of its modality, or what was made of one."""
    model = load_model(path, device)
    kind = TASKS.get(str(model.card.get("task")), MODALITIES[model.experiment.modality])
    return kind._of(model, str(path))
