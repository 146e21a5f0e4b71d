"""Model choice without labels: what is planted, what is held out, what is varied, and what is chosen."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hourglass import ImageAutoencoder, SeriesAutoencoder, TableAutoencoder, tune
from hourglass.data.samples import Cell, Layout
from hourglass.errors import DataError, MissingExtraError, TrainingError, UsageError
from hourglass.estimators.planting import EVENTS, TABLE_CHANGES, ground
from hourglass.estimators.tuning import Trial

pytest.importorskip("optuna", reason="the extra `tune` is not installed")


def causes(rows: int = 200, seed: int = 0) -> np.ndarray:
    """Rows of 12 columns with exactly three causes, and a little noise."""
    random = np.random.default_rng(seed)
    mixing = np.linalg.qr(np.random.default_rng(99).normal(size=(12, 3)))[0].T
    return random.normal(size=(rows, 3)) @ mixing + 0.01 * random.normal(size=(rows, 12))


def wave(steps: int = 1_600) -> np.ndarray:
    """A series of period 20."""
    noise = 0.1 * np.random.default_rng(0).normal(size=steps)
    return np.sin(np.arange(steps) * 2 * np.pi / 20) + noise


QUICK: dict[str, Any] = {"kind": "plain", "epochs": 3}


# What is planted


@pytest.mark.parametrize("name", TABLE_CHANGES)
def test_every_other_held_out_row_of_a_table_is_tampered_with(name: str) -> None:
    found = ground(causes(), TableAutoencoder(**QUICK).plan())
    planted = found.planted[name]
    changed = ~np.isclose(np.asarray(planted.data), np.asarray(found.held_out), atol=1e-5)
    np.testing.assert_array_equal(planted.touched, np.arange(50) % 2 == 1)
    np.testing.assert_array_equal(changed.any(axis=1), planted.touched)


def test_a_swapped_cell_stands_in_another_row_too() -> None:
    rows, layout = np.arange(60, dtype=np.float32).reshape(10, 6), Layout((6,))
    swapped = TABLE_CHANGES["one cell swapped"](rows, layout, np.random.default_rng(0))
    assert ((swapped != rows).sum(axis=1) == 1).all()
    assert all(set(swapped[:, column]) <= set(rows[:, column]) for column in range(6))


def test_a_category_is_swapped_as_a_whole_and_gets_no_noise() -> None:
    layout = Layout((5,), (Cell("n"), Cell("c", "category", 4)))
    rows = np.column_stack([np.arange(40), np.eye(4)[np.arange(40) % 4]]).astype(np.float32)
    swapped = TABLE_CHANGES["one cell swapped"](rows, layout, np.random.default_rng(0))
    np.testing.assert_array_equal(swapped[:, 1:].sum(axis=1), 1)
    assert (swapped[:, 1:] != rows[:, 1:]).any()
    noisy = TABLE_CHANGES["noise"](rows, layout, np.random.default_rng(0))
    np.testing.assert_array_equal(noisy[:, 1:], rows[:, 1:])
    assert np.std(noisy[:, 0] - rows[:, 0]) == pytest.approx(rows[:, 0].std() / 2, rel=0.4)


@pytest.mark.parametrize("name", EVENTS)
def test_the_touched_steps_of_a_series_are_those_that_changed(name: str) -> None:
    found = ground(wave(), SeriesAutoencoder(**QUICK).plan())
    planted, before = found.planted[name], np.asarray(found.held_out).ravel()
    np.testing.assert_array_equal(np.asarray(planted.data).ravel() != before, planted.touched)
    assert 0 < planted.touched.mean() < 0.3


def test_the_last_steps_of_a_series_are_held_out() -> None:
    found = ground(wave(), SeriesAutoencoder(**QUICK).plan())
    joined = np.concatenate([np.asarray(found.train), np.asarray(found.held_out)], axis=1)
    np.testing.assert_array_equal(joined.ravel(), wave())
    assert [window.steps for window in found.windows if window] == [20, 40]


def test_rows_that_are_windows_are_drawn() -> None:
    found = ground(wave().reshape(-1, 20), SeriesAutoencoder(**QUICK).plan())
    assert (len(np.asarray(found.train)), len(np.asarray(found.held_out)), found.windows) == (60, 20, (None,))
    assert all(each.touched.tolist() == [False, True] * 10 for each in found.planted.values())


def test_no_row_is_both_trained_on_and_held_out() -> None:
    found = ground(np.arange(400.0).reshape(200, 2), TableAutoencoder(**QUICK).plan())
    train, held_out = (set(np.asarray(data)[:, 0]) for data in (found.train, found.held_out))
    assert (len(train), len(held_out), train & held_out) == (150, 50, set())


def test_a_frame_of_mixed_columns_can_be_tampered_with() -> None:
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"a": random.normal(size=80), "b": random.choice(["x", "y", "z"], 80)})
    tuned = tune(TableAutoencoder(**QUICK), frame, trials=2)
    assert len(tuned.tuning_["trials"]) == 2


# What is chosen


def test_the_objective_is_one_for_a_perfect_candidate_and_zero_at_chance() -> None:
    def objective(auroc: float, stability: float) -> float:
        return Trial({}, "plain", 1, None, None, {"a": auroc, "b": auroc}, stability).objective

    assert [objective(1, 1), objective(0.5, 1), objective(1, 0), objective(0.3, -0.2)] == [1, 0, 0, 0]
    assert objective(0.75, 0.5) == 0.25


def test_three_causes_want_more_than_one_number() -> None:
    tuned = tune(TableAutoencoder(kind="plain", epochs=25, batch_size=32, learning_rate=0.02), causes(), trials=4)
    by_size = {trial["latent"]: trial["objective"] for trial in tuned.tuning_["trials"]}
    assert 1 in by_size
    assert by_size[tuned.latent] > 2 * by_size[1]
    assert tuned.transform(causes()).shape[1] == tuned.latent >= 3


def test_a_search_repeats_exactly_and_leaves_the_estimator_alone() -> None:
    asked = TableAutoencoder(epochs=2, seed=7)
    one, other = (tune(asked, causes(80), trials=3, kinds=("plain", "deep")) for _ in range(2))
    assert one.tuning_ == other.tuning_
    assert one.tuning_["seed"] == 7
    np.testing.assert_array_equal(one.transform(causes()), other.transform(causes()))
    assert (asked.kind, asked.latent, hasattr(asked, "model_")) == (None, None, False)
    assert one.model_.card["tuning"] == one.tuning_


def test_the_first_candidate_is_what_fit_would_take() -> None:
    tuned = tune(TableAutoencoder(**QUICK), causes(80), trials=1)
    assert tuned.tuning_["trials"][0]["latent"] == TableAutoencoder(**QUICK).fit(causes(80)).model_.latent_size


def test_the_window_that_was_chosen_is_fitted() -> None:
    tuned = tune(SeriesAutoencoder(**QUICK), wave(), trials=4)
    tried = tuned.tuning_["trials"]
    assert {trial["window"] for trial in tried} == {20, 40}
    assert tuned.model_.format.layout.shape[0] == tried[tuned.tuning_["best"]]["window"]


def test_what_is_given_stays() -> None:
    tuned = tune(SeriesAutoencoder(**QUICK, window=16, latent=2), wave(), trials=4)
    assert [(trial["window"], trial["latent"]) for trial in tuned.tuning_["trials"]] == [(16, 2)]
    assert tuned.tuning_["stopped"] == "exhausted"


# When it ends early, or not at all


def test_ctrl_c_keeps_the_best_so_far() -> None:
    def stop(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    tuned = tune(TableAutoencoder(**QUICK), causes(80), trials=4, progress=stop)
    assert (len(tuned.tuning_["trials"]), tuned.tuning_["stopped"]) == (2, "interrupted")
    assert tuned.reconstruct(causes()).shape == (200, 12)


def test_a_timeout_ends_the_search_after_a_trial() -> None:
    tuned = tune(TableAutoencoder(**QUICK), causes(80), trials=4, timeout=0)
    assert (len(tuned.tuning_["trials"]), tuned.tuning_["stopped"]) == (1, "timeout")


def test_candidates_that_cannot_be_trained_are_told() -> None:
    with pytest.raises(TrainingError, match="no candidate could be trained"):
        tune(TableAutoencoder(**QUICK, learning_rate=1e38, training={"gradient_clip": None}), causes(80), trials=1)


@pytest.mark.parametrize(
    ("asked", "kinds", "message"),
    [
        (TableAutoencoder(kind="plain"), ("deep",), "leave one out"),
        (TableAutoencoder(), ("depe",), "there is no kind called 'depe'"),
        (ImageAutoencoder(), None, "modality image cannot be compared yet"),
    ],
    ids=["a kind and kinds", "an unknown kind", "pictures"],
)
def test_what_cannot_be_searched_is_refused(asked: Any, kinds: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        tune(asked, np.ones((60, 16)) * np.arange(60)[:, None], kinds=kinds, trials=2)


@pytest.mark.parametrize(
    ("asked", "data"), [(TableAutoencoder(), causes(30)), (SeriesAutoencoder(window=20), wave(240))]
)
def test_too_few_data_are_refused(asked: Any, data: np.ndarray) -> None:
    with pytest.raises(DataError, match="wanted at least"):
        tune(asked, data, trials=1)


def test_without_optuna_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingExtraError, match=r"hourglass-autoencoder\[tune\]"):
        tune(TableAutoencoder(**QUICK), causes(80), trials=1)
