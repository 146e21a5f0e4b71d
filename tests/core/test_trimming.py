"""Contaminated training: what is explained worst does not train, and so is not learned."""

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor

from hourglass import AnomalyDetector, TableAutoencoder
from hourglass.core.bottlenecks import Plain
from hourglass.core.corruptions import GaussianNoise
from hourglass.core.kinds import Experiment, build, experiment
from hourglass.core.model import Autoencoder
from hourglass.core.networks.dense import Dense
from hourglass.core.training import train
from hourglass.core.trimming import Trimming
from hourglass.data.samples import Layout
from hourglass.errors import UsageError
from hourglass.settings import Training

SIZE, ROWS, ODD = 8, 200, 20
SETTINGS = Training(epochs=40, batch_size=50, learning_rate=0.01)


def plan_of(contaminated: bool, **parts: Any) -> Experiment:
    given = {"network": Dense(layers=(16,)), "bottleneck": Plain(size=3), **parts}
    return experiment(kind="deep").replace(training=SETTINGS.replace(contaminated=contaminated), **given)


def network(contaminated: bool, **parts: Any) -> Autoencoder:
    torch.manual_seed(0)
    return build(plan_of(contaminated, **parts), Layout((SIZE,)))


def samples() -> Tensor:
    """Rows in a plane; the first tenth are gross outliers."""
    generator = torch.Generator().manual_seed(1)
    plane = torch.randn(ROWS, 2, generator=generator) @ torch.randn(2, SIZE, generator=generator)
    outliers = 4 * torch.randn(ODD, SIZE, generator=generator)
    return torch.cat([outliers, plane[ODD:]])


def test_the_largest_tenth_is_left_out_of_the_mean_once_training_has_warmed_up() -> None:
    losses = torch.arange(20.0).flip(0).requires_grad_()
    trimming = Trimming()
    assert trimming(losses) == losses.mean()
    trimming.progress = Trimming.warm_up
    trimming(losses).backward()
    assert trimming(losses) == losses[2:].mean()
    assert losses.grad is not None
    assert losses.grad.tolist() == [0.0] * 2 + [pytest.approx(1 / 18)] * 18
    assert trimming(losses[:4]) == losses[:4].mean()
    assert trimming(losses[:1]) == losses[0]


def test_trimmed_samples_have_no_gradient_in_the_objective() -> None:
    x = samples().requires_grad_()
    model = network(True)
    model.set_progress(1.0)
    model.terms(x)["reconstruction"].backward()
    with torch.no_grad():
        worst = model.loss(model(x)).topk(ROWS // 10).indices
    assert x.grad is not None
    still = (x.grad == 0).all(1).nonzero().flatten()
    assert sorted(still.tolist()) == sorted(worst.tolist())


def test_the_terms_are_the_plain_ones_where_nothing_is_trimmed() -> None:
    plain, trimming = network(False), network(True)
    trimming.set_progress(0.0)
    assert trimming.terms(samples())["reconstruction"] == plain.terms(samples())["reconstruction"]
    assert trimming.state_dict().keys() == plain.state_dict().keys()


def test_gross_outliers_are_not_learned() -> None:
    ratios = {}
    for contaminated in (False, True):
        model = network(contaminated)
        history = train(model, samples(), plan_of(contaminated).training)
        assert history.step == ("autograd" if contaminated else "written out")
        with torch.no_grad():
            errors = model.loss(model(samples()))
        ratios[contaminated] = float(errors[:ODD].mean() / errors[ODD:].mean())
    assert ratios[True] > 3 * ratios[False] > 3


def test_held_out_samples_are_trimmed_too() -> None:
    held_out = samples()
    model = network(True, corruption=GaussianNoise(scale=0.0))
    history = train(model, samples()[ODD:], SETTINGS.replace(epochs=3), held_out)
    with torch.no_grad():
        errors = model.loss(model(held_out))
    best = history.validation[history.best_epoch - 1]["reconstruction"]
    assert best == pytest.approx(float(errors.sort().values[: -ROWS // 10].mean()), rel=1e-4)


def test_several_draws_cannot_be_trimmed() -> None:
    plan = experiment(kind="importance-weighted").replace(training=Training(contaminated=True))
    with pytest.raises(UsageError, match="draws"):
        build(plan, Layout((SIZE,)))


def test_an_estimator_is_told_of_it_in_one_word() -> None:
    model = TableAutoencoder(kind="plain", latent=2, epochs=3, contaminated=True)
    assert model.plan().training.contaminated
    model.fit(np.asarray(samples(), dtype=np.float64))
    assert isinstance(model.model_.network.pooled, Trimming)
    assert not TableAutoencoder().plan().training.contaminated


def test_a_detector_that_learned_from_anomalies_finds_them_and_says_which_cells() -> None:
    """A swarm of equal outliers: to the nearest of its kind there is no distance, and it is filled in well."""
    generator = np.random.default_rng(0)
    rows = generator.normal(size=(ROWS, 2)) @ generator.normal(size=(2, SIZE))
    swarm = ODD // 2
    rows[:swarm] = rows[0]
    rows[:swarm, 3] += 8
    model = AnomalyDetector(TableAutoencoder(epochs=8, contaminated=True, detection={"folds": 2})).fit(rows).model_
    assert [scorer.name for scorer in model.scorers] == ["activations", "far-neighbours"]
    found = model.detect(rows, reasons="all", own=True)
    assert roc_auc_score(np.arange(ROWS) < swarm, found.rows.score) > 0.95
    assert {found.reasons[row][0].cell for row in range(swarm)} == {"x3"}
