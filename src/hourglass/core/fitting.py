"""From data to a fitted model: format, network, training, scorers, calibration."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
import torch

from hourglass._version import __version__
from hourglass.core.fitted import HELD_OUT, OUT_OF_FOLD, TRAINING, Calibration, FittedModel
from hourglass.core.kinds import Experiment, build, choose_device
from hourglass.core.model import Autoencoder
from hourglass.core.scores import Combination, Scorer, raw_scores, scorer_named
from hourglass.core.thresholds import rows_needed
from hourglass.core.training import History, Report, train
from hourglass.data.formats import Data, Format
from hourglass.data.samples import Packed
from hourglass.errors import DataError, UsageError


@dataclass(frozen=True)
class _Trained:
    network: Autoencoder
    scorers: list[Scorer]
    history: History


def fit_model(
    data: Data, experiment: Experiment, *, calibrate: bool = True, report: Report | None = None
) -> FittedModel:
    """Fit an autoencoder to `data` (an array or a frame) as the experiment says.

    `calibrate`: where the held-out rows are too few for the asked false-alarm rate, score the training rows out of
    fold too
    (as many further, smaller fits as there are folds). The caller's random state is left as it was.
    """
    form = experiment.format.fit(data)
    packed = form.pack(data)
    samples = packed.samples
    if len(samples) < 2:
        raise DataError(
            f"got {len(samples)} samples, wanted at least 2",
            where="fit",
            how="give more rows; for a series, a shorter --window",
        )
    _check_range(samples, experiment)
    kept, held_out = split(
        len(samples), experiment.training.validation, experiment.training.seed, packed.places is not None
    )
    device = choose_device(experiment.training.device)
    trained = _fit_network(samples, kept, held_out, experiment, form, device, report)
    raw, source = _calibration_scores(packed, held_out, trained, experiment, form, calibrate)
    combination = Combination.fit(raw)
    calibration = Calibration(combination(raw), source)
    card = {"samples": len(samples), "sha256": _digest(samples), "notices": form.notices, "versions": versions()}
    network, scorers, history = trained.network, trained.scorers, trained.history
    return FittedModel(experiment, form, network, scorers, combination, calibration, history, card)


def _check_range(samples: np.ndarray, experiment: Experiment) -> None:
    if experiment.loss is not None and experiment.loss.unit_interval:
        low, high = float(np.nanmin(samples, initial=0)), float(np.nanmax(samples, initial=0))
        if low < 0 or high > 1:
            span = f"the data, scaled, go from {low:.3g} to {high:.3g}"
            what = f"the {experiment.loss.name} loss takes numbers from 0 to 1; {span}"
            raise UsageError(what, where="loss", how="add --set format.scaling=min-max")


def split(count: int, share: float, seed: int, ordered: bool) -> tuple[np.ndarray, np.ndarray]:
    """Positions to train on, and held-out ones: drawn at random, or the last where samples are ordered in time."""
    held = round(count * share)
    if share > 0:
        held = min(max(held, 1), count - 1)
    order = np.arange(count) if ordered else np.random.default_rng(seed).permutation(count)
    return np.sort(order[: count - held]), np.sort(order[count - held :])


def _fit_network(
    samples: np.ndarray,
    kept: np.ndarray,
    held_out: np.ndarray,
    experiment: Experiment,
    form: Format,
    device: torch.device,
    report: Report | None,
) -> _Trained:
    settings = experiment.training
    x = torch.from_numpy(np.ascontiguousarray(samples[kept])).to(device)
    held = torch.from_numpy(np.ascontiguousarray(samples[held_out])).to(device)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(settings.seed)
        network = build(experiment, form.layout).to(device)
        history = train(network, x, settings, held, report)
    kinds = [scorer_named(name) for name in experiment.scorers()]
    return _Trained(network, [kind(kind.learn(network, x, settings.seed)) for kind in kinds], history)


def _calibration_scores(
    packed: Packed, held_out: np.ndarray, trained: _Trained, experiment: Experiment, form: Format, calibrate: bool
) -> tuple[np.ndarray, str]:
    """Raw scores (n, scorers) of samples, and which samples they are: not trained on, wherever that is possible."""
    samples = packed.samples
    enough = len(held_out) >= rows_needed(experiment.detection.false_alarm_rate)
    interrupted = trained.history.stopped == "interrupted"
    if enough or (len(held_out) and (not calibrate or interrupted)):
        return raw_scores(trained.network, trained.scorers, samples[held_out]), HELD_OUT
    if not calibrate or interrupted or len(samples) < 2 * experiment.detection.folds:
        return raw_scores(trained.network, trained.scorers, samples), TRAINING
    return _out_of_fold(packed, experiment, form, trained), OUT_OF_FOLD


def _out_of_fold(packed: Packed, experiment: Experiment, form: Format, trained: _Trained) -> np.ndarray:
    """Each sample's raw scores from a network that was not trained on it, trained for as long as the real one was."""
    settings = experiment.training.replace(
        epochs=max(trained.history.best_epoch, 1), validation=0.0, batch_size=trained.history.batch_size
    )
    plan = experiment.replace(training=settings)
    samples = packed.samples
    raw = np.empty((len(samples), len(trained.scorers)), dtype=np.float32)
    nothing = np.empty(0, dtype=np.int64)
    for fold in _folds(
        len(samples), experiment.detection.folds, None if packed.overlapping else experiment.training.seed
    ):
        others = np.setdiff1d(np.arange(len(samples)), fold)
        fitted = _fit_network(samples, others, nothing, plan, form, trained.network.device, None)
        raw[fold] = raw_scores(fitted.network, fitted.scorers, samples[fold])
    return raw


def _folds(count: int, folds: int, seed: int | None) -> Iterator[np.ndarray]:
    """Positions of each fold: drawn at random, or stretches of neighbours where there is no seed."""
    order = np.arange(count) if seed is None else np.random.default_rng(seed).permutation(count)
    yield from (np.sort(part) for part in np.array_split(order, folds))


def _digest(samples: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(samples).tobytes()).hexdigest()


def versions() -> dict[str, Any]:
    """Versions of what a result depends on."""
    packages = {package: version(package) for package in ("torch", "numpy", "pyarrow")}
    return {"hourglass": __version__, "python": platform.python_version(), **packages}
