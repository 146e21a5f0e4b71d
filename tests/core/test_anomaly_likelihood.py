"""The anomaly likelihood: running means by definition, what is usual, alarms as promised, in files and streams."""

from __future__ import annotations

import numpy as np
import pytest

from hourglass.core import anomaly_likelihood as module
from hourglass.core.anomaly_likelihood import SHORT, AnomalyLikelihood, by_likelihood
from hourglass.core.fitted import FittedModel
from hourglass.core.fitting import fit_model
from hourglass.core.kinds import experiment
from hourglass.core.watching import Watch
from hourglass.data.series import SeriesSettings
from hourglass.errors import UsageError
from hourglass.settings import Training

WINDOW, STRIDE = 8, 5  # no factor in common with the period of 12


def waves(steps: int, seed: int) -> np.ndarray:
    return np.sin(np.arange(steps) * np.pi / 6) + 0.2 * np.random.default_rng(seed).normal(size=steps)


@pytest.fixture(scope="module")
def model() -> FittedModel:
    plan = experiment("series", "plain").replace(
        training=Training(epochs=4, batch_size=32, validation=0.4),
        format=SeriesSettings(window=str(WINDOW), stride=STRIDE),
    )
    return fit_model(waves(9_000, 0), plan, calibrate=False)


def test_it_is_what_its_paper_defines() -> None:
    scores = np.random.default_rng(0).gamma(2.0, size=60)
    found = AnomalyLikelihood(scores[:20])(scores[20:])
    for place in range(20, 60):
        past, latest = scores[: place + 1], scores[place - SHORT + 1 : place + 1]
        assert found[place - 20] == pytest.approx((latest.mean() - past.mean()) / past.std())


def test_only_so_many_scores_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LONG", 50)
    scores = 1e6 + np.random.default_rng(0).normal(size=400)
    likelihood = AnomalyLikelihood(scores[:100])
    pieces = np.concatenate([likelihood(part) for part in np.split(scores[100:], [1, 2, 30, 170])])
    assert len(likelihood._kept) == 50
    wanted = [
        (scores[end - SHORT : end].mean() - (past := scores[end - 50 : end]).mean()) / past.std()
        for end in range(101, 401)
    ]
    np.testing.assert_allclose(pieces, wanted, rtol=1e-6, atol=1e-8)


def test_a_level_that_stays_becomes_usual_and_one_that_spikes_is_not_odd_in_noise() -> None:
    random = np.random.default_rng(0)
    before = random.gamma(1.0, size=2_000)
    risen = AnomalyLikelihood(before)(before + 4)
    assert risen[: 3 * SHORT].max() > 3 > 1 > risen[-1]
    alone, together = before[:100].copy(), before[:100].copy()
    alone[50], together[50 : 50 + SHORT] = 6.0, 6.0
    assert AnomalyLikelihood(before)(alone).max() < 2 < AnomalyLikelihood(before)(together).max()


def test_a_score_that_stands_for_many_rows_is_judged_by_itself() -> None:
    """Of 3 rows each: 10 rows are 3 scores. Of 48 each: 1, among 166."""
    scores = np.random.default_rng(0).gamma(2.0, size=400)
    for each, latest, past in ((3, 3, 400), (48, 1, 166)):
        found = AnomalyLikelihood(scores[:300], each)(scores[300:])
        wanted = (scores[-latest:].mean() - scores[-past:].mean()) / scores[-past:].std()
        assert found[-1] == pytest.approx(wanted)


def test_one_enormous_error_does_not_hide_those_after_it() -> None:
    before = np.random.default_rng(0).lognormal(size=2_000)
    later = np.random.default_rng(1).lognormal(size=500)
    later[100], later[400:420] = 1e6, 100.0
    assert AnomalyLikelihood(before)(later)[400:420].max() < 1
    found = AnomalyLikelihood(before, errors=True)(later)
    assert found[405:420].min() > 2 > np.delete(found, np.r_[100:110, 400:430]).max()
    np.testing.assert_allclose(found, AnomalyLikelihood(np.log(before))(np.log(later)))


def test_scores_that_are_all_alike_are_no_division_by_nothing() -> None:
    assert (np.abs(AnomalyLikelihood(np.full(30, 0.1))(np.full(500, 0.1))) < 1e-3).all()


def test_a_file_is_judged_by_what_its_rows_have_risen_to(model: FittedModel) -> None:
    series = waves(4_000, 1)
    series[2_000:2_060] += np.where(np.arange(60) % 2, 1.0, -1.0)
    plain = model.detect(series)
    found = by_likelihood(model, plain)
    assert 2_000 <= found.rows.score.argmax() < 2_060 + SHORT
    np.testing.assert_array_equal(found.is_anomaly, found.rows.score > found.threshold.value)
    np.testing.assert_array_equal(found.is_anomaly, found.p_value <= found.threshold.reachable_rate + 1e-12)
    np.testing.assert_array_equal(found.samples, plain.samples)
    assert found.is_anomaly[2_005:2_060].any()


@pytest.mark.parametrize("rate", [0.02, 0.1])
def test_normal_rows_are_flagged_no_more_often_than_asked_in_files_and_streams(model: FittedModel, rate: float) -> None:
    series = waves(20_000, 2)
    in_file = by_likelihood(model, model.detect(series), rate).is_anomaly
    in_stream = Watch(model, rate, anomaly_likelihood=True).see(series).is_anomaly
    assert 0.2 * rate < in_file.mean() < 1.2 * rate
    # windows of the calibration lie further apart than those of a stream: their running means vary more
    assert in_stream.mean() < 1.2 * rate


def test_blocks_of_a_stream_are_judged_as_one_by_one(model: FittedModel) -> None:
    series = waves(300, 3)
    one_by_one, at_once = (Watch(model, anomaly_likelihood=True) for _ in range(2))
    seen = [one_by_one.see(series[step : step + 1]) for step in range(300)]
    whole = at_once.see(series)
    np.testing.assert_allclose(np.concatenate([each.score for each in seen]), whole.score, rtol=1e-6, atol=1e-9)
    np.testing.assert_array_equal(np.concatenate([each.is_anomaly for each in seen]), whole.is_anomaly)


def test_series_are_not_carried_on_from_one_to_the_next(model: FittedModel) -> None:
    both = np.stack([waves(200, 4), waves(200, 5)])[:, :, None]
    plan = model.experiment.replace(training=Training(epochs=2, batch_size=32))
    several = fit_model(np.stack([waves(400, seed) for seed in range(4)])[:, :, None], plan, calibrate=False)
    together = by_likelihood(several, several.detect(both)).rows.score.reshape(2, 200)
    alone = [by_likelihood(several, several.detect(each[None])).rows.score for each in both]
    np.testing.assert_allclose(together, alone, rtol=1e-6)


def test_what_has_no_order_in_time_is_refused(model: FittedModel) -> None:
    plan = model.experiment.replace(format=SeriesSettings(window="row"))
    whole = fit_model(waves(960, 0).reshape(80, 12), plan, calibrate=False)
    with pytest.raises(UsageError, match="order of time"):
        Watch(whole, anomaly_likelihood=True)
    with pytest.raises(UsageError, match="leave one of them out"):
        Watch(model, adapt=True, anomaly_likelihood=True)
