import warnings

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from hourglass.core.fitted import FittedModel
from hourglass.data.samples import Frame
from hourglass.errors import DataError
from hourglass.estimators.anomaly import AnomalyDetector
from hourglass.estimators.baselines import Baselines
from hourglass.estimators.evaluation import decisions, evaluate, ranking, row_scores
from hourglass.estimators.metrics.affiliation import affiliation
from hourglass.estimators.metrics.nab import nab_score
from hourglass.estimators.metrics.oracles import oracle_f1
from hourglass.estimators.metrics.ranges import range_figures
from hourglass.estimators.metrics.volumes import volumes
from hourglass.estimators.modalities import SeriesAutoencoder, TableAutoencoder

FIRST = ["auroc", "average_precision", "accuracy", "precision", "recall", "f1", "false_alarm_rate", "threshold"]


def line(seed: int, count: int, noise: float = 0.05) -> np.ndarray:
    """Rows near a line in four dimensions."""
    generator = np.random.default_rng(seed)
    return np.outer(generator.normal(size=count), [1.0, 2.0, -1.0, 0.5]) + noise * generator.normal(size=(count, 4))


TRAIN = line(0, 300)
DATA = np.vstack([line(1, 80), line(2, 20, noise=0.12)])
LABELS = np.arange(100) >= 80


@pytest.fixture(scope="module")
def model() -> FittedModel:
    return AnomalyDetector(TableAutoencoder(kind="plain", latent=1, epochs=80), 0.05).fit(TRAIN).model_


def test_the_contract_keys_come_first_and_in_order(model: FittedModel) -> None:
    result = evaluate(model, DATA, LABELS)
    assert list(result)[:8] == FIRST
    assert result["rows"] == 100
    assert result["anomalies"] == 20


def test_every_figure_is_scikit_learns(model: FittedModel) -> None:
    result, found = evaluate(model, DATA, LABELS), model.detect(DATA)
    flagged, score = found.is_anomaly, found.rows.score
    assert result["auroc"] == pytest.approx(metrics.roc_auc_score(LABELS, score))
    assert result["average_precision"] == pytest.approx(metrics.average_precision_score(LABELS, score))
    assert result["accuracy"] == pytest.approx(metrics.accuracy_score(LABELS, flagged))
    assert result["f1"] == pytest.approx(metrics.f1_score(LABELS, flagged))
    assert result["false_alarm_rate"] == pytest.approx(flagged[~LABELS].mean())
    assert result["threshold"] == found.threshold.value
    assert 0.75 < result["auroc"] < 1


def test_another_rate_moves_the_threshold_and_not_the_ranking(model: FittedModel) -> None:
    strict, loose = evaluate(model, DATA, LABELS, rate=0.02), evaluate(model, DATA, LABELS, rate=0.3)
    assert strict["threshold"] > loose["threshold"]
    assert strict["recall"] <= loose["recall"]
    assert strict["auroc"] == loose["auroc"]


def test_the_baselines_are_fitted_on_the_training_rows_where_they_are_given(model: FittedModel) -> None:
    given_rows, own = evaluate(model, DATA, LABELS, train=TRAIN), evaluate(model, DATA, LABELS)
    assert given_rows["baselines"]["fitted_on"] == "training rows"
    assert own["baselines"]["fitted_on"] == "evaluated rows"
    pack = model.format.pack
    for rows, result in ((TRAIN, given_rows), (DATA, own)):
        scores = Baselines.fit(pack(rows).samples, 1, seed=0).scores(pack(DATA).samples)
        for name in ("pca", "isolation forest"):
            assert result["baselines"][name] == ranking(LABELS, scores[name])
    assert given_rows["baselines"]["pca"] != own["baselines"]["pca"]


@pytest.mark.parametrize("truth", [False, True])
def test_where_all_rows_are_of_one_class_the_ranking_is_undefined_and_said_so(model: FittedModel, truth: bool) -> None:
    result = evaluate(model, DATA, np.full(100, truth))
    assert result["auroc"] is None
    assert result["average_precision"] is None
    assert result["baselines"]["pca"] == {"auroc": None, "average_precision": None}
    assert any("auroc is undefined" in notice for notice in result["notices"])
    assert (result["recall"] is None) is not truth
    assert (result["false_alarm_rate"] is None) is truth


@pytest.mark.parametrize("labels", [LABELS[1:], np.full(100, "odd"), np.arange(100), np.full(100, np.nan)])
def test_labels_that_do_not_fit_are_refused(model: FittedModel, labels: np.ndarray) -> None:
    with pytest.raises(DataError, match="labels"):
        evaluate(model, DATA, labels)


def test_a_series_is_judged_row_by_row() -> None:
    steps = np.arange(480)
    series = np.sin(2 * np.pi * steps / 24) + 0.05 * np.random.default_rng(0).normal(size=480)
    labels = (steps >= 300) & (steps < 312)
    series[labels] = 2.0
    model = AnomalyDetector(SeriesAutoencoder(kind="plain", window=24, latent=2, epochs=10), 0.05).fit(series).model_
    result = evaluate(model, series, labels)
    assert result["rows"] == 480
    packed = model.format.pack(series)
    baselines = Baselines.fit(packed.samples, 2, seed=0)
    scores = row_scores(model, baselines, packed)
    assert {name: score.shape for name, score in scores.items()} == {"pca": (480,), "isolation forest": (480,)}
    # a row's score is the mean over the windows that cover it
    covering = (packed.places.starts <= 305) & (packed.places.starts > 305 - 24)
    assert scores["pca"][305] == pytest.approx(baselines.scores(packed.samples)["pca"][covering].mean())
    along = volumes(labels, scores["pca"], 24)
    assert result["baselines"]["pca"] == ranking(labels, scores["pca"]) | along
    found = model.detect(series)
    assert list(result)[:8] == FIRST
    assert {name: result[name] for name in along} == volumes(labels, found.rows.score, 24)
    flagged = found.is_anomaly
    expected = range_figures(labels, flagged) | affiliation(labels, flagged) | {"nab_score": nab_score(labels, flagged)}
    assert {name: result[name] for name in expected} == expected
    assert "oracle" not in result


def test_rows_of_a_series_are_judged_in_the_order_of_time_and_the_oracle_is_named() -> None:
    steps = np.arange(240)
    values = np.sin(2 * np.pi * steps / 24) + 0.05 * np.random.default_rng(0).normal(size=240)
    labels = (steps >= 150) & (steps < 160)
    values[labels] = 2.0
    frame = pa.table({"time": steps, "value": values})
    model = AnomalyDetector(SeriesAutoencoder(kind="plain", window=24, latent=2, epochs=5), 0.05).fit(frame).model_
    shuffled = np.random.default_rng(1).permutation(240)
    asked = [evaluate(model, Frame(frame), labels, oracle=True)]
    asked.append(evaluate(model, Frame(frame.take(pa.array(shuffled))), labels[shuffled], oracle=True))
    score = model.detect(Frame(frame)).rows.score
    for name in ("vus_pr", "range_f1", "event_f1", "affiliation_f1", "nab_score", "oracle"):
        assert asked[1][name] == pytest.approx(asked[0][name])
    assert set(asked[0]["oracle"]) == {"oracle_f1", "oracle_nab_score", "point_adjusted_f1"}
    assert asked[0]["oracle"]["oracle_f1"] == oracle_f1(labels, score)


def test_rows_without_an_order_have_no_ranges(model: FittedModel) -> None:
    result = evaluate(model, DATA, LABELS, oracle=True)
    assert "vus_pr" not in result
    assert set(result["oracle"]) == {"oracle_f1"}
    assert result["oracle"]["oracle_f1"] >= result["f1"]


def test_several_series_have_no_common_ranges() -> None:
    series = np.random.default_rng(0).normal(size=(3, 40, 1))
    autoencoder = SeriesAutoencoder(kind="plain", window=8, latent=2, epochs=2)
    model = AnomalyDetector(autoencoder, 0.1).fit(series).model_
    result = evaluate(model, series, np.arange(120) % 40 > 30)
    assert result["rows"] == 120
    assert "vus_pr" not in result


def test_decisions_by_hand() -> None:
    labels = np.array([True] * 4 + [False] * 6)
    flagged = np.array([True, True, True, False] + [True] + [False] * 5)
    found = decisions(labels, flagged)
    assert found == {"accuracy": 0.8, "precision": 0.75, "recall": 0.75, "f1": 0.75, "false_alarm_rate": 1 / 6}


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=30))
def test_decisions_are_scikit_learns_or_none_where_those_are_undefined(pairs: list[tuple[bool, bool]]) -> None:
    labels, flagged = np.array(pairs).T
    found = decisions(labels, flagged)
    for name in ("precision", "recall", "f1"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = getattr(metrics, f"{name}_score")(labels, flagged, zero_division=np.nan)
        assert np.nan if found[name] is None else found[name] == pytest.approx(expected, nan_ok=True)
