"""Model choice without labels: kinds, latent sizes and windows are tried on held-out rows, and the best is fitted."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import numpy as np
from sklearn.base import clone
from sklearn.metrics import roc_auc_score

from hourglass.core.fitted import FittedModel
from hourglass.core.fitting import fit_model
from hourglass.core.kinds import Experiment, latent_size
from hourglass.data.formats import Data
from hourglass.errors import TrainingError, UsageError, missing_extra
from hourglass.estimators.base import BaseAutoencoder
from hourglass.estimators.baselines import pca_error, rank_correlation, reconstruction_error
from hourglass.estimators.inputs import as_data
from hourglass.estimators.planting import Ground, Window, ground
from hourglass.settings import Search

KINDS_TRIED: dict[str, tuple[str, ...]] = {
    "table": ("masked-cell", "denoising", "deep", "variational"),
    "series": ("denoising", "deep", "variational"),
}
OBJECTIVE = "(2 planted AUROC - 1) x stability"
_SMALLEST, _LARGEST = 8, 64
"""Latent sizes, of samples with many numbers, between which the search is: an eighth to a half of few numbers."""
_PATIENCE = 10
"""Proposals a trial after which a search that only proposes what it has tried is over."""

Parameters = Mapping[str, Any]
"""What the search sets, by the names of the estimators' parameters: `kind`, `latent`, `window`."""
PlanOf = Callable[[Parameters], Experiment]
Progress = Callable[[int, int], None]
"""Called after each trial with its number (from 1) and the number of trials."""
A = TypeVar("A", bound=BaseAutoencoder)


@dataclass(frozen=True)
class Trial:
    """One candidate and how it did on the held-out rows."""

    parameters: dict[str, Any]
    kind: str
    latent: int
    window: int | None
    """Steps; None where samples are rows."""
    error: float | None
    """Held-out squared error over that of PCA with as long a code; None where PCA makes none."""
    planted: dict[str, float]
    """AUROC of rows with something planted against rows left alone, by what was planted; mean of the two fits."""
    stability: float
    """Spearman correlation of the held-out rows' scores by two fits."""
    failed: str = ""

    @property
    def objective(self) -> float:
        """What is maximised: 1 is perfect, 0 as good as chance in either factor."""
        gain = 2 * float(np.mean(list(self.planted.values()) or [0.5])) - 1
        return max(gain, 0.0) * max(self.stability, 0.0)

    def as_json(self) -> dict[str, Any]:
        return {**vars(self), "objective": self.objective}


@dataclass(frozen=True)
class Candidate:
    """What is to be tried."""

    parameters: dict[str, Any]
    plan: Experiment
    window: int | None
    """Steps; None where samples are rows."""


class Crew(Protocol):
    """Who tries candidates."""

    size: int
    """How many are tried at a time; the search proposes so many before it hears of any."""

    def try_out(self, ground: Ground, candidates: Sequence[Candidate]) -> Iterable[Trial]:
        """The trial of each candidate, in their order; see `tried`."""


class Alone:
    """Tries one candidate after another, in this process."""

    size = 1

    def try_out(self, ground: Ground, candidates: Sequence[Candidate]) -> Iterable[Trial]:
        return (tried(ground, each) for each in candidates)


@dataclass
class Tuning:
    """What a search tried, in order; the first is what `fit` would have taken."""

    seed: int
    trials: list[Trial] = field(default_factory=list)
    stopped: str = ""
    """Why it ended early: "", "timeout", "interrupted" or "exhausted"."""

    @property
    def best(self) -> Trial:
        """The trial with the largest objective; of equals, the first."""
        trained = [trial for trial in self.trials if not trial.failed]
        if not trained:
            what = f"no candidate could be trained; the first: {self.trials[0].failed}"
            raise TrainingError(what, where="tune", how="a smaller learning rate may help: --learning-rate")
        return max(trained, key=lambda trial: trial.objective)

    def as_json(self) -> dict[str, Any]:
        """What a model's card keeps."""
        tried = [trial.as_json() for trial in self.trials]
        place = self.trials.index(self.best)
        return {"objective": OBJECTIVE, "seed": self.seed, "stopped": self.stopped, "best": place, "trials": tried}


def tune(
    autoencoder: A,
    X: Any,
    *,
    trials: int = 12,
    kinds: Sequence[str] | None = None,
    timeout: float | None = None,
    progress: Progress | None = None,
) -> A:
    """The autoencoder whose kind, latent size and window suit `X` best, chosen without labels and fitted to all of it.

    `autoencoder` is left as it was; what it says of kind, latent size or window stays as it says. The result has the
    chosen ones as its parameters and `tuning_`: what was tried, with which figures. How it is chosen: see `search`.
    """
    best: A = clone(autoencoder)

    def plan_of(parameters: Parameters) -> Experiment:
        asked: A = clone(autoencoder)
        return asked.set_params(**parameters).plan()

    given = autoencoder.get_params(deep=False)
    fixed = given["kind"] is not None or given["recipe"] is not None
    data = as_data(best, X, fitting=True, modality=best.modality)
    how = Search(trials=trials, kinds=None if kinds is None else tuple(kinds), timeout=timeout)
    found = search(data, plan_of, how, fixed_kind=fixed, progress=progress)
    best.set_params(**found.best.parameters).fit(X)
    best.tuning_ = best.model_.card["tuning"] = found.as_json()
    return best


def search(
    data: Data,
    plan_of: PlanOf,
    how: Search,
    *,
    fixed_kind: bool = False,
    progress: Progress | None = None,
    crew: Crew | None = None,
) -> Tuning:
    """Try candidates on `data`, proposed by optuna's TPE; the first is what `plan_of({})` asks for.

    A candidate is trained twice, from two seeds, on three quarters of the rows, and judged on the rest (the last of a
    series). An error on held-out rows alone cannot choose: it falls with each further number in the code, down to the
    identity, which finds nothing. So it is set against the error of the same rows with something wrong planted in every
    other one (`planting.TABLE_CHANGES`, `planting.EVENTS`): AUROC. What is wrong is made from the rows themselves, so
    that no label is needed; real anomalies may be of another sort. A score that depends on the seed is noise to that
    extent: stability, the rank correlation of the untouched rows' scores by the two fits. Maximised is
    (2 AUROC - 1) x stability, since both factors are 1 at best and 0 at chance. The error relative to PCA of the same
    size is reported, and has no say.

    Ctrl-C after the first trial, as a timeout does, ends the search with what was found.
    """
    plan = plan_of({})
    space = _Space.of(plan, ground(data, plan), how.kinds, fixed_kind)
    for kind in space.kinds:
        plan_of(space.parameters(kind, 1, None))  # refused before anything is trained
    tuning, start = Tuning(plan.training.seed), time.monotonic()
    try:
        for trial in _trials(space, plan_of, how.trials, tuning, crew or Alone()):
            tuning.trials.append(trial)
            if progress:
                progress(len(tuning.trials), how.trials)
            if how.timeout is not None and time.monotonic() - start >= how.timeout:
                tuning.stopped = "" if len(tuning.trials) == how.trials else "timeout"
                break
    except KeyboardInterrupt:
        if not tuning.trials:
            raise
        tuning.stopped = "interrupted"
    return tuning


@dataclass(frozen=True)
class _Space:
    """What is varied, and on what ground."""

    ground: Ground
    kinds: tuple[str | None, ...]
    """One None where the kind is fixed."""
    latent: int | None
    """The latent size, where it is fixed."""
    usual: int
    """The latent size by rule."""
    numbers: int
    """Numbers in a sample of the usual plan."""

    @classmethod
    def of(cls, plan: Experiment, ground: Ground, kinds: tuple[str, ...] | None, fixed_kind: bool) -> _Space:
        if fixed_kind and kinds:
            raise UsageError("got a kind, or a recipe, and kinds to choose from", where="kinds", how="leave one out")
        tried = (None,) if fixed_kind else kinds or KINDS_TRIED[plan.modality]
        layout = ground.plan(plan, ground.windows[0]).format.fit(ground.train).layout
        return cls(ground, tried, plan.bottleneck.size, latent_size(plan, layout), layout.size)

    @property
    def range(self) -> tuple[int, int]:
        """The smallest and the largest latent size."""
        low = max(1, min(_SMALLEST, self.numbers // 8))
        return low, max(low, min(_LARGEST, self.numbers // 2))

    def latent_at(self, share: float) -> int:
        """The latent size so far along the way, on a log scale, from the smallest to the largest."""
        low, high = self.range
        return self.latent or round(low * (high / low) ** share)

    @property
    def first(self) -> dict[str, Any]:
        """The proposal that is what `fit` would take, or the nearest to it."""
        low, high = self.range
        share = np.log(max(self.usual, 1) / low) / np.log(high / low) if high > low else 0.0
        return {"kind": self.kinds[0] or "", "share": float(np.clip(share, 0, 1)), "window": 0}

    def chosen(self, proposal: Any) -> tuple[str | None, int, Window | None]:
        """Kind, latent size and window that optuna proposes."""
        kind = proposal.suggest_categorical("kind", [each or "" for each in self.kinds]) or None
        latent = self.latent_at(proposal.suggest_float("share", 0.0, 1.0))
        windows = self.ground.windows
        return kind, latent, windows[proposal.suggest_int("window", 0, len(windows) - 1)]

    def parameters(self, kind: str | None, latent: int, window: Window | None) -> dict[str, Any]:
        chosen = {"kind": kind, "latent": None if self.latent else latent, "window": window and window.word}
        return {name: value for name, value in chosen.items() if value is not None}


def _trials(space: _Space, plan_of: PlanOf, wanted: int, tuning: Tuning, crew: Crew) -> Iterator[Trial]:
    """As many different trials as wanted, or as there are."""
    known: dict[tuple[Any, ...], Trial] = {}
    with _study(tuning.seed, wanted) as study:
        study.enqueue_trial(space.first)
        for _ in range(_PATIENCE * wanted):
            asked = [(proposal, space.chosen(proposal)) for proposal in (study.ask() for _ in range(crew.size))]
            new = [key for key in dict.fromkeys(key for _, key in asked) if key not in known][: wanted - len(known)]
            candidates = [_candidate(space, plan_of, *key) for key in new]
            for key, trial in zip(new, crew.try_out(space.ground, candidates), strict=True):
                known[key] = trial
                yield trial
            for proposal, key in asked:
                if key in known:
                    study.tell(proposal, known[key].objective)
            if len(known) == wanted:
                return
    tuning.stopped = "exhausted"


def _candidate(space: _Space, plan_of: PlanOf, kind: str | None, latent: int, window: Window | None) -> Candidate:
    parameters = space.parameters(kind, latent, window)
    plan = space.ground.plan(plan_of(parameters), window)
    return Candidate(parameters, plan, None if window is None else window.steps)


@contextmanager
def _study(seed: int, trials: int) -> Iterator[Any]:
    """An optuna study in memory, which says nothing and repeats exactly."""
    try:
        import optuna
    except ImportError as fault:
        raise missing_extra("tune", "optuna", "tuning") from fault
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=max(3, trials // 3))
        yield optuna.create_study(direction="maximize", sampler=sampler)
    finally:
        optuna.logging.set_verbosity(before)


def tried(ground: Ground, candidate: Candidate) -> Trial:
    """A candidate's figures."""
    parameters, plan, steps = candidate.parameters, candidate.plan, candidate.window
    try:
        models = [_fitted(ground, plan, plan.training.seed + further) for further in (0, 1)]
    except TrainingError as fault:
        return Trial(parameters, plan.kind, plan.bottleneck.size or 0, steps, None, {}, 0.0, fault.what)
    planted = {
        name: float(np.mean([roc_auc_score(each.touched, _scores(model, each.data)) for model in models]))
        for name, each in ground.planted.items()
    }
    stability = rank_correlation(*(_scores(model, ground.held_out) for model in models))
    error = _relative_error(models[0], ground)
    return Trial(parameters, plan.kind, models[0].latent_size, steps, error, planted, stability)


def _fitted(ground: Ground, plan: Experiment, seed: int) -> FittedModel:
    training = plan.training.replace(seed=seed % 2**32)
    model = fit_model(ground.train, plan.replace(training=training), calibrate=False)
    if model.history.stopped == "interrupted":
        raise KeyboardInterrupt
    return model


def _scores(model: FittedModel, data: Data) -> np.ndarray:
    return model.detect(data, reasons="none").rows.score


def _relative_error(model: FittedModel, ground: Ground) -> float | None:
    train, held_out = (model.format.pack(data).samples for data in (ground.train, ground.held_out))
    pca = pca_error(train, held_out, model.latent_size, model.experiment.training.seed)
    return reconstruction_error(model, held_out) / pca if pca > _NOTHING else None


_NOTHING = 1e-12
"""A squared error on the packed scale that is rounding alone."""
