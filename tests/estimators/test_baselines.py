import numpy as np
import pytest
from sklearn.ensemble import IsolationForest

from hourglass.estimators.baselines import TREES, Baselines

GENERATOR = np.random.default_rng(0)
SAMPLES = GENERATOR.normal(size=(80, 6)) @ GENERATOR.normal(size=(6, 6))
ODD = np.vstack([SAMPLES[:20], 30 * np.ones((1, 6))])


def residual_by_svd(train: np.ndarray, samples: np.ndarray, latent: int) -> np.ndarray:
    axes = np.linalg.svd(train - train.mean(axis=0))[2][:latent]
    centred = samples - train.mean(axis=0)
    return np.square(centred - centred @ axes.T @ axes).mean(axis=1)


@pytest.mark.parametrize("latent", [1, 3])
def test_the_pca_score_is_the_residual_of_the_singular_value_decomposition(latent: int) -> None:
    scores = Baselines.fit(SAMPLES, latent, seed=0).scores(ODD)
    np.testing.assert_allclose(scores["pca"], residual_by_svd(SAMPLES, ODD, latent), rtol=1e-8)


def test_the_reconstruction_error_is_the_mean_of_the_scores_where_nothing_is_missing() -> None:
    fitted = Baselines.fit(SAMPLES, 2, seed=0)
    assert fitted.reconstruction_error(ODD) == pytest.approx(fitted.scores(ODD)["pca"].mean())


def test_the_forest_score_is_scikit_learns_with_the_sign_turned() -> None:
    forest = IsolationForest(n_estimators=TREES, random_state=7).fit(SAMPLES)
    scores = Baselines.fit(SAMPLES, 2, seed=7).scores(ODD)
    np.testing.assert_allclose(scores["isolation forest"], -forest.score_samples(ODD))


@pytest.mark.parametrize("name", ["pca", "isolation forest"])
def test_what_lies_far_away_scores_highest(name: str) -> None:
    assert np.argmax(Baselines.fit(SAMPLES, 2, seed=0).scores(ODD)[name]) == 20


def test_windows_are_flattened() -> None:
    windows = Baselines.fit(SAMPLES.reshape(80, 3, 2), 2, seed=0)
    flat = Baselines.fit(SAMPLES, 2, seed=0)
    for name, scores in windows.scores(ODD.reshape(-1, 3, 2)).items():
        np.testing.assert_array_equal(scores, flat.scores(ODD)[name])


def test_there_are_as_many_components_as_directions_at_most() -> None:
    plane = GENERATOR.normal(size=(50, 2)) @ GENERATOR.normal(size=(2, 5))
    fitted = Baselines.fit(plane, latent=4, seed=0)
    assert fitted.components == 2
    np.testing.assert_allclose(fitted.scores(plane)["pca"], 0, atol=1e-20)


@pytest.mark.parametrize("samples", [np.full((10, 3), 2.0), np.full((1, 3), 2.0)], ids=["constant", "one row"])
def test_samples_that_do_not_vary_have_no_component_and_no_residual(samples: np.ndarray) -> None:
    fitted = Baselines.fit(samples, latent=2, seed=0)
    assert fitted.components == 0
    np.testing.assert_array_equal(fitted.scores(samples)["pca"], np.zeros(len(samples)))


def test_a_missing_number_counts_as_0_and_its_residual_not_at_all() -> None:
    fitted = Baselines.fit(np.outer([-1.0, 1.0], [1.0, 0.0]), latent=1, seed=0)
    samples = np.array([[0.5, 3.0], [0.5, np.nan], [np.nan, np.nan]])
    np.testing.assert_allclose(fitted.scores(samples)["pca"], [4.5, 0, 0], atol=1e-12)
    assert fitted.reconstruction_error(samples) == pytest.approx(3.0)  # 9 over the 3 known numbers
    assert np.isfinite(fitted.scores(samples)["isolation forest"]).all()


def test_one_seed_gives_one_result() -> None:
    one, same, other = (Baselines.fit(SAMPLES, 2, seed).scores(ODD)["isolation forest"] for seed in (3, 3, 4))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()
