"""From data to a fitted model: format, network, training, scorers, calibration."""

from __future__ import annotations

import hashlib
import itertools
import math
import platform
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
import torch

from hourglass._version import __version__
from hourglass.core.chunks import single_precision
from hourglass.core.doubts import doubts, telling_the_farthest
from hourglass.core.fitted import HELD_OUT, OUT_OF_FOLD, TRAINING, Calibration, FittedModel
from hourglass.core.kinds import Experiment, build, choose_device
from hourglass.core.model import Autoencoder
from hourglass.core.parallel import ALONE, Team
from hourglass.core.priors import fit_prior
from hourglass.core.scores import Combination, Scorer, raw_scores, scorer_named
from hourglass.core.thresholds import rows_needed, threshold
from hourglass.core.training import History, Keeper, Report, Samples, Stream, in_memory, train
from hourglass.core.units import MOST_SAMPLES, unit_report
from hourglass.data.formats import Data, Format
from hourglass.data.samples import Layout, Packed, oddest_parts
from hourglass.errors import DataError, TrainingError, UsageError

Keep = Callable[[dict[str, Any]], Keeper]
"""Given what makes two trainings the same, as JSON values: what keeps this one, and knows where it was cut off."""

_ENOUGH = 1_000
"""Samples scored out of fold after which no further fold is fitted."""
_FEWEST_HELD_OUT = 100
"""Held-out rows below which a threshold, though right in the mean, hangs on one or two of them."""
_FEWEST = 4
"""Samples below which there are no folds: two of two samples each are the least."""
_HASHED = 1_024
"""Samples hashed at a time."""
_SMALL = 400
"""Samples up to which there are ten folds, so that a fold's network sees as large a share as the real one."""


def fit_model(
    data: Data,
    plan: Experiment,
    *,
    seen: Data | None = None,
    noise: Data | None = None,
    calibrate: bool = True,
    report: Report | None = None,
    keep: Keep | None = None,
    team: Team = ALONE,
) -> FittedModel:
    """Fit an autoencoder to `data` (an array or a frame) as the experiment `plan` says.

    `seen`: a noisy twin of each sample, which the encoder sees in its place. `noise`: samples of noise alone, for a
    corruption that mixes them in. `calibrate`: where the held-out samples are too few for the asked false-alarm rate,
    score the training samples out of fold (a further, smaller fit a fold). `report(epoch, epochs, terms)` is called
    after each epoch, and with the number of the fold and no terms after each fold. `keep`: training is kept while it
    runs, or goes on where it was cut off. `team`: who trains together, each given the same; the first has the model,
    and the others `Dismissed` raised. The caller's random state is left as it was.
    """
    _check_detection(plan)
    form = plan.format.fit(data)
    packed = form.pack(data)
    count = len(packed.samples)
    if packed.row_count < 2:
        how = "give more rows, or pictures; for a series, a shorter --window"
        raise DataError("got 1 sample, wanted at least 2", where=getattr(data, "source", "fit"), how=how)
    digest = _digest(packed.samples)
    kept, held_out = split(packed, plan.training.validation, plan.training.seed)
    if len(held_out):
        rescaled = form.rescaled(data, kept)
        form, packed = (rescaled, rescaled.pack(data)) if rescaled is not form else (form, packed)
    train = picked(packed.samples, kept)
    _check_range(train, plan)
    device = choose_device(plan.training.device)
    material = _Material.of(form, packed, seen, noise)
    keeper = keep and keep(_identity(plan, [digest, *material.digests()], device, team))
    with telling_the_farthest(form, packed.samples):
        shown, apart = material.at(kept, device), material.at(held_out, device)
        trained = _Trained.on(material, shown, apart, plan, form.layout, report, keeper, team)
    raw, groups, source = _calibrate(form.layout, material, held_out, trained, plan, calibrate, report)
    card = {"samples": count, "sha256": digest} | ({"pairs": True} if seen is not None else {}) | _of_team(team)
    combination = Combination.fit(raw)
    calibration = Calibration(oddest_parts(combination(raw), groups), source, packed.overlap + 1)
    return trained.model(plan, form, combination, calibration, train, card)


@dataclass(frozen=True)
class Gathered:
    """What rows that do not fit in memory together have become."""

    form: Format
    stream: Stream
    """The samples to train on."""
    held_out: np.ndarray
    """Samples that were not trained on."""
    count: int
    """Rows in all."""
    digest: str
    """The hash of all samples."""


def fit_stream(
    gathered: Gathered,
    plan: Experiment,
    *,
    report: Report | None = None,
    keep: Keep | None = None,
    team: Team = ALONE,
) -> FittedModel:
    """Fit an autoencoder to more samples than fit in memory, as `fit_model` does to fewer.

    In a team, the stream is a worker's share of the samples, and all else that of all.
    What scorers, prior and pre-training need of the training samples they learn from those in memory.
    """
    _check_detection(plan)
    stream, held_out = gathered.stream, gathered.held_out
    sample = stream.example.numpy()
    _check_range(sample, plan)
    device = choose_device(plan.training.device)
    stream.example, held = stream.example.to(device), torch.from_numpy(held_out).to(device)
    keeper = keep and keep(_identity(plan, [gathered.digest], device, team))
    material = _Material(Packed(sample))
    with telling_the_farthest(gathered.form, sample):
        trained = _Trained.on(material, stream, held, plan, gathered.form.layout, report, keeper, team)
    raw = trained.scores(held_out if len(held_out) else sample)
    combination = Combination.fit(raw)
    calibration = Calibration(combination(raw), HELD_OUT if len(held_out) else TRAINING)
    card = {"samples": gathered.count, "sha256": gathered.digest} | _of_team(team)
    return trained.model(plan, gathered.form, combination, calibration, sample, card)


def _identity(plan: Experiment, digests: list[str], device: torch.device, team: Team) -> dict[str, Any]:
    """What makes two trainings the same, as JSON values."""
    return {"experiment": plan.as_json(), "samples": digests, "device": device.type, **_of_team(team)}


def _of_team(team: Team) -> dict[str, Any]:
    return {"workers": team.size} if team.size > 1 else {}


@dataclass(frozen=True)
class _Material:
    """What there is to train on."""

    packed: Packed
    twins: np.ndarray | None = None
    """What the encoder sees in the place of each sample."""
    noise: np.ndarray | None = None
    """Samples of noise, which the corruption mixes in."""

    @classmethod
    def of(cls, form: Format, packed: Packed, seen: Data | None, noise: Data | None) -> _Material:
        twins = None if seen is None else form.pack_like(seen, packed.places).samples
        if twins is not None and len(twins) != len(packed.samples):
            what = f"got {len(twins):,} noisy samples for {len(packed.samples):,} clean ones"
            raise DataError(what, where="seen", how="give the noisy twin of each, as long, and in the same order")
        return cls(packed, twins, None if noise is None else form.pack(noise).samples)

    def digests(self) -> list[str]:
        """The hashes of what is given beside the samples."""
        return [_digest(each) for each in (self.twins, self.noise) if each is not None]

    def at(self, chosen: np.ndarray, device: torch.device) -> Samples:
        """The chosen samples, each with its twin where there are twins."""
        x = torch.from_numpy(picked(self.packed.samples, chosen)).to(device)
        return x if self.twins is None else (x, torch.from_numpy(picked(self.twins, chosen)).to(device))

    def give_noise(self, network: Autoencoder, plan: Experiment, device: torch.device) -> None:
        """Hand the noise to the corruption; `UsageError` where that has no use for it."""
        if self.noise is None:
            return
        if not hasattr(network.corruption, "take_noise"):
            what = f"the corruption {plan.corruption.name!r} mixes no recorded noise in, and some is given"
            raise UsageError(what, where="noise", how="add --set corruption=noise, or leave the noise out")
        network.corruption.take_noise(torch.from_numpy(self.noise).to(device))


@dataclass(frozen=True)
class _Trained:
    """A trained network and the scorers that go with it."""

    network: Autoencoder
    scorers: list[Scorer]
    history: History

    @classmethod
    def on(
        cls,
        material: _Material,
        samples: Samples | Stream,
        held: Samples,
        plan: Experiment,
        layout: Layout,
        report: Report | None = None,
        keeper: Keeper | None = None,
        team: Team = ALONE,
    ) -> _Trained:
        """Trained on `samples`; those `held` out choose the best epoch."""
        seed = plan.training.seed
        x, apart = (each[0] if isinstance(each, tuple) else each for each in (in_memory(samples), held))
        device = x.device
        # every GPU, since manual_seed seeds them all
        with single_precision(), torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            torch.manual_seed(seed)
            network = build(plan, layout).to(device)
            material.give_noise(network, plan, device)
            notices: list[str] = []
            if not (keeper and keeper.found):  # a training that goes on had its layers trained before
                notices = plan.pretraining.build()(network, layout, x, apart, plan.training, report)
            history = train(network, samples, plan.training, held, report, keeper, notices, team)
        team.dismiss()
        kinds = [scorer_named(name) for name in plan.scorers()]
        return cls(network, [kind(kind.learn(network, x, seed)) for kind in kinds], history)

    def scores(self, samples: np.ndarray) -> np.ndarray:
        """Raw scores (n, scorers)."""
        return raw_scores(self.network, self.scorers, samples)

    def model(
        self,
        plan: Experiment,
        form: Format,
        combination: Combination,
        calibration: Calibration,
        train: np.ndarray,
        card: dict[str, Any],
    ) -> FittedModel:
        """The model that it is part of, its prior learned from the samples `train`."""
        units = unit_report(self.network, torch.from_numpy(train[:MOST_SAMPLES]).to(self.network.device))
        self.history.notices.extend(doubts(plan, form, self.history, units, calibration.scores, train))
        card = {**card, "notices": form.notices, "versions": versions(), "units": units}
        prior = fit_prior(plan.prior, self.network, train, plan.standard_codes, plan.training.seed)
        return FittedModel(plan, form, self.network, self.scorers, combination, calibration, self.history, card, prior)


def split(packed: Packed, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions to train on, and held-out ones: of rows drawn at random, or the last where they are ordered in time."""
    count = packed.row_count
    held = round(count * share)
    if share > 0:
        held = min(max(held, 1), count - 1)
    order = np.arange(count) if packed.ordered else np.random.default_rng(seed).permutation(count)
    held_out = _parts_of(order[count - held :], packed)
    return apart_from(held_out, packed), held_out


def apart_from(chosen: np.ndarray, packed: Packed) -> np.ndarray:
    """Positions of the samples that share no number with the chosen ones; where there are none, of all others."""
    everyone, near = np.arange(len(packed.samples)), chosen
    if packed.overlap and len(chosen):
        near = np.arange(chosen[0] - packed.overlap, chosen[-1] + packed.overlap + 1)
    apart = np.setdiff1d(everyone, near)
    return apart if len(apart) else np.setdiff1d(everyone, chosen)


def _parts_of(rows: np.ndarray, packed: Packed) -> np.ndarray:
    """Positions of the samples that make up the chosen rows."""
    return np.sort(rows) if packed.groups is None else np.flatnonzero(np.isin(packed.groups, rows))


def _calibrate(
    layout: Layout,
    material: _Material,
    held_out: np.ndarray,
    trained: _Trained,
    plan: Experiment,
    out_of_fold: bool,
    report: Report | None,
) -> tuple[np.ndarray, np.ndarray | None, str]:
    """Raw scores (n, scorers) of samples, the rows they are parts of, and which samples they are.

    They were not trained on, wherever that is possible.
    """
    packed, history = material.packed, trained.history
    samples, groups = packed.samples, packed.groups
    held_rows = len(held_out) if groups is None else len(np.unique(groups[held_out]))
    enough = held_rows >= max(_rows_needed(plan, packed), _FEWEST_HELD_OUT)
    wanted = out_of_fold and not enough and packed.row_count >= _FEWEST
    if wanted and history.stopped != "interrupted":
        try:
            raw = _out_of_fold(layout, material, trained, plan, report)
            known = ~np.isnan(raw).any(axis=1)
            return raw[known], None if groups is None else groups[known], OUT_OF_FOLD
        except KeyboardInterrupt:
            history.stopped = "interrupted"
            history.notices.append(
                "the out-of-fold scores were interrupted: the threshold is less sure than it could be"
            )
        except TrainingError as fault:
            history.notices.append(f"no out-of-fold scores, so the threshold is less sure: in a fold, {fault.what}")
    if len(held_out):
        return trained.scores(picked(samples, held_out)), None if groups is None else groups[held_out], HELD_OUT
    return trained.scores(samples), groups, TRAINING


def _out_of_fold(
    layout: Layout, material: _Material, trained: _Trained, plan: Experiment, report: Report | None
) -> np.ndarray:
    """Raw scores of samples by networks not trained on them, each trained for as long as the real one was.

    Of every sample where there are at most 1,000 rows; otherwise of as many folds as make that many, and NaN elsewhere.
    """
    packed = material.packed
    samples, total = packed.samples, packed.row_count
    history, device = trained.history, trained.network.device
    epochs = max(history.best_epoch, 1)
    training = plan.training.replace(epochs=epochs, validation=0.0, batch_size=history.batch_size)
    count = _fold_count(total, plan)
    wanted = min(total, max(_ENOUGH, _rows_needed(plan, packed)))
    rounds = math.ceil(count * wanted / total)
    raw = np.full((len(samples), len(trained.scorers)), np.nan, dtype=np.float32)
    folds = _folds(packed, count, plan.training.seed)
    for number, fold in enumerate(itertools.islice(folds, rounds), start=1):
        others = apart_from(fold, packed)
        shown, none = material.at(others, device), material.at(fold[:0], device)
        fitted = _Trained.on(material, shown, none, plan.replace(training=training), layout)
        if fitted.history.stopped == "interrupted":
            raise KeyboardInterrupt
        raw[fold] = fitted.scores(samples[fold])
        if report:
            report(number, rounds, {})
    return raw


def _rows_needed(plan: Experiment, packed: Packed) -> int:
    """The fewest calibration rows that can promise the asked false-alarm rate."""
    return rows_needed(plan.detection.false_alarm_rate, plan.detection.threshold, packed.overlap + 1)


def _fold_count(samples: int, plan: Experiment) -> int:
    """How many folds: so few that a fold's network sees no more than the real one, or its scores would be too low."""
    usual, held_out = 10 if samples <= _SMALL else 5, plan.training.validation
    most = max(2, int(1 / held_out + 1e-9)) if held_out else usual
    return min(plan.detection.folds or min(usual, most), samples // 2)


def _folds(packed: Packed, folds: int, seed: int) -> Iterator[np.ndarray]:
    """Positions of each fold: of rows drawn at random, or of stretches of neighbours where samples overlap."""
    count = packed.row_count
    order = np.arange(count) if packed.overlap else np.random.default_rng(seed).permutation(count)
    yield from (_parts_of(part, packed) for part in np.array_split(order, folds))


def _check_detection(plan: Experiment) -> None:
    """Refuse a rate, a rule or a scorer that cannot be before training, not after it."""
    threshold(np.zeros(1), plan.detection.false_alarm_rate, plan.detection.threshold)
    for name in plan.scorers():
        scorer_named(name)


def _check_range(samples: np.ndarray, plan: Experiment) -> None:
    bounded = [part for part in (plan.loss, plan.corruption) if part is not None and part.unit_interval]
    if not bounded:
        return
    low, high = float(np.nanmin(samples, initial=0)), float(np.nanmax(samples, initial=0))
    if low < 0 or high > 1:
        span = f"the data, scaled, go from {low:.3g} to {high:.3g}"
        what = f"{bounded[0].name} takes numbers from 0 to 1; {span}"
        raise UsageError(what, where=bounded[0].slot, how="add --set format.scaling=min-max")


def picked(samples: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """The samples at these positions: a view where they follow one another, since windows overlap, else a copy.

    A copy, too, of samples that cannot be written to, which tensors refuse to share.
    """
    if len(chosen) and samples.flags.writeable and bool((np.diff(chosen) == 1).all()):
        return np.asarray(samples[chosen[0] : chosen[-1] + 1])
    return np.asarray(samples[chosen])


def _digest(samples: np.ndarray) -> str:
    """The hash of the samples' bytes, taken piece by piece: as a whole, windows are many times their series."""
    digest = hashlib.sha256()
    for start in range(0, len(samples), _HASHED):
        digest.update(np.ascontiguousarray(samples[start : start + _HASHED]).data)
    return digest.hexdigest()


def versions() -> dict[str, Any]:
    """Versions of what a result depends on."""
    packages = {package: version(package) for package in ("torch", "numpy", "pyarrow")}
    return {"hourglass": __version__, "python": platform.python_version(), **packages}
