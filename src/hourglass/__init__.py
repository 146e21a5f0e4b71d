"""Fit an autoencoder to your own data and use that one model for everything autoencoders are for.

>>> import hourglass
>>> "AnomalyDetector" in hourglass.__all__
True
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from hourglass._version import __version__ as __version__

if TYPE_CHECKING:
    from hourglass.core.checkpoints import load_model
    from hourglass.core.fitted import FittedModel
    from hourglass.estimators.anomaly import AnomalyDetector
    from hourglass.estimators.finetuning import AutoencoderClassifier, AutoencoderRegressor
    from hourglass.estimators.generation import Generator
    from hourglass.estimators.loading import load
    from hourglass.estimators.modalities import AudioAutoencoder, ImageAutoencoder, SeriesAutoencoder, TableAutoencoder
    from hourglass.estimators.tuning import tune

__all__ = [
    "AnomalyDetector",
    "AudioAutoencoder",
    "AutoencoderClassifier",
    "AutoencoderRegressor",
    "FittedModel",
    "Generator",
    "ImageAutoencoder",
    "SeriesAutoencoder",
    "TableAutoencoder",
    "load",
    "load_model",
    "tune",
]

_HOMES = {
    "AnomalyDetector": "estimators.anomaly",
    "AudioAutoencoder": "estimators.modalities",
    "AutoencoderClassifier": "estimators.finetuning",
    "AutoencoderRegressor": "estimators.finetuning",
    "FittedModel": "core.fitted",
    "Generator": "estimators.generation",
    "ImageAutoencoder": "estimators.modalities",
    "SeriesAutoencoder": "estimators.modalities",
    "TableAutoencoder": "estimators.modalities",
    "load": "estimators.loading",
    "load_model": "core.checkpoints",
    "tune": "estimators.tuning",
}


def __getattr__(name: str) -> Any:
    """Public names are imported when first used, so that `import hourglass` stays light."""
    if name not in _HOMES:
        raise AttributeError(f"module 'hourglass' has no attribute {name!r}")
    return getattr(import_module(f"hourglass.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
