"""The generator: what it makes looks like the data, in their units and form, and it is an estimator like any other."""

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from sklearn.base import clone
from sklearn.utils.estimator_checks import parametrize_with_checks

from hourglass import AnomalyDetector, Generator, ImageAutoencoder, SeriesAutoencoder, TableAutoencoder, load
from hourglass.core.priors import GaussianMixture
from hourglass.errors import ModelFileError, UsageError
from hourglass.settings import Training

Plane = Callable[..., np.ndarray]
Shop = Callable[..., pd.DataFrame]


@parametrize_with_checks(
    [
        Generator(TableAutoencoder(kind="plain", epochs=2)),
        Generator(TableAutoencoder(kind="plain", epochs=2), prior="empirical"),
        Generator(SeriesAutoencoder(epochs=2), prior="mixture"),
        Generator(ImageAutoencoder(epochs=2)),
    ]
)
def test_scikit_learns_checks(estimator: Any, check: Callable[[Any], None]) -> None:
    check(estimator)


@pytest.fixture(scope="module")
def generator(plane: Plane) -> Generator:
    return Generator(TableAutoencoder(kind="plain", latent=2, training=Training(epochs=40))).fit(plane(300))


@pytest.fixture(scope="module")
def shop_generator(shop: Shop) -> Generator:
    frame = shop(300).assign(paid=lambda rows: rows["amount"] > 1_200)
    days = pd.to_timedelta(frame["weight"].round(), unit="D")
    frame["opened"] = (pd.Timestamp("2024-03-01") + days).dt.date
    training = Training(epochs=30)
    return Generator(TableAutoencoder(kind="deep", latent=2, training=training), prior="mixture").fit(frame)


# What it makes


def test_new_rows_have_the_mean_and_the_covariance_of_the_reconstructed_data(
    generator: Generator, plane: Plane
) -> None:
    x, new = generator.model_.reconstruct(plane(300)), generator.sample(20_000)
    assert new.shape == (20_000, 6)
    np.testing.assert_allclose(new.mean(0), x.mean(0), atol=0.1 * x.std())
    np.testing.assert_allclose(np.cov(new.T), np.cov(x.T), atol=0.15 * np.cov(x.T).max())


def test_new_rows_of_a_table_are_rows_of_the_table(shop_generator: Generator) -> None:
    new = shop_generator.sample(200, seed=1)
    assert isinstance(new, pd.DataFrame)
    assert new.columns.tolist() == ["amount", "weight", "boxes", "hours", "town", "paid", "opened"]
    assert set(new["town"]) == {"Ghent", "Oslo", "Turin"}
    assert set(new["paid"]) == {True, False}
    assert pd.to_datetime(new["opened"]).between("2024-03-01", "2024-08-01").all()
    assert np.corrcoef(new["amount"], new["weight"])[0, 1] > 0.9
    middle = new.groupby("town")["weight"].mean()
    assert middle["Ghent"] < middle["Oslo"] < middle["Turin"]


def test_new_windows_of_a_series_have_its_period() -> None:
    day = np.sin(np.arange(24 * 40) * 2 * np.pi / 24)
    autoencoder = SeriesAutoencoder(kind="plain", window=24, latent=2, epochs=40)
    new = Generator(autoencoder, prior="empirical").fit(day).sample(5)
    assert new.shape[:2] == (5, 24)
    strength = np.abs(np.fft.rfft(new.reshape(5, 24), axis=1))
    assert (strength.argmax(1) == 1).all()


def test_the_same_seed_makes_the_same_and_another_one_others(generator: Generator) -> None:
    np.testing.assert_array_equal(generator.sample(5), generator.sample(5))
    assert not np.array_equal(generator.sample(5), generator.sample(5, seed=1))


def test_a_way_leads_from_one_row_to_the_next(generator: Generator, plane: Plane) -> None:
    x = plane(3, seed=4)
    way = generator.interpolate(x, steps=5)
    assert way.shape == (10, 6)
    ends = generator.model_.reconstruct(x)
    np.testing.assert_allclose(way[[0, 4, 5, 9]], ends[[0, 1, 1, 2]], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(np.diff(way[:5], axis=0), np.tile((ends[1] - ends[0]) / 4, (4, 1)), atol=1e-4)


@pytest.mark.parametrize(("rows", "steps"), [(1, 5), (3, 1)])
def test_a_way_needs_two_ends(generator: Generator, plane: Plane, rows: int, steps: int) -> None:
    with pytest.raises(UsageError, match="at least 2"):
        generator.interpolate(plane(rows), steps=steps)


def test_the_plane_of_the_codes_is_drawn_row_by_row(generator: Generator, shop_generator: Generator) -> None:
    assert generator.plane(4).shape == (16, 6)
    assert len(shop_generator.plane(3)) == 9
    codes = generator.model_.encode(generator.plane(4)).reshape(4, 4, 2)
    assert (np.diff(codes[:, :, 0], axis=1) > 0).all()
    assert (np.diff(codes[:, :, 1], axis=0) < 0).all()


def test_a_line_has_no_plane(plane: Plane) -> None:
    with pytest.raises(UsageError, match="codes of 1 numbers"):
        Generator(TableAutoencoder(kind="plain", latent=1, epochs=2)).fit(plane(60)).plane(4)


def test_a_usual_code_has_more_density_than_an_odd_one(generator: Generator, plane: Plane) -> None:
    density = generator.code_log_density(np.concatenate([plane(50, 3), 6 * plane(50, 3)]))
    assert density.shape == (100,)
    assert np.median(density[:50]) > density[50:].mean() + 5


# Bottlenecks that let only some codes through


@pytest.mark.parametrize("kind", ["top-k", "sparse", "contractive"])
def test_only_codes_that_the_bottleneck_lets_through_are_decoded(plane: Plane, kind: str) -> None:
    model = Generator(TableAutoencoder(kind=kind, latent=6, epochs=3)).fit(plane(80)).model_
    assert np.isfinite(model.generate(30)).all()
    if kind == "top-k":
        project = model.network.bottleneck.project
        codes = model._run(project, model.prior.draw(30) if model.prior else np.empty(0))
        assert ((codes != 0).sum(1) == 2).all()
        np.testing.assert_array_equal(model.generate(30), model.decode(codes))


# An estimator like any other


def test_the_given_autoencoder_stays_as_it_was_and_its_prior_gives_way(plane: Plane) -> None:
    autoencoder = TableAutoencoder(kind="plain", epochs=2, prior="empirical")
    generator = Generator(autoencoder, GaussianMixture(components=2)).fit(plane(60))
    assert autoencoder.prior == "empirical"
    assert not hasattr(autoencoder, "model_")
    assert generator.model_.experiment.prior == GaussianMixture(components=2)


@pytest.mark.parametrize(
    ("generator", "words"),
    [
        (Generator(TableAutoencoder), "for example Generator"),
        (Generator(AnomalyDetector()), "wanted an autoencoder"),
        (Generator(prior="norml"), "did you mean 'normal'"),
        (Generator(TableAutoencoder(kind="plain"), prior="vamp"), "prior vamp"),
    ],
)
def test_what_cannot_be_is_refused_before_training(generator: Generator, words: str, plane: Plane) -> None:
    def trained(*_: object) -> None:
        raise AssertionError("trained first")

    with pytest.raises(UsageError, match=words):
        generator.fit(plane(40), report=trained)


@pytest.mark.parametrize("prior", ["normal", "mixture", "empirical", "flow"])
def test_a_saved_generator_is_read_back_as_one(plane: Plane, prior: str, tmp_path: Path) -> None:
    options = {"is": "flow", "epochs": 2} if prior == "flow" else prior
    before = Generator(TableAutoencoder(kind="plain", latent=2, epochs=2), options).fit(plane(80))
    after = load(before.save(tmp_path / "new"))
    assert isinstance(after, Generator)
    np.testing.assert_array_equal(after.sample(9, seed=2), before.sample(9, seed=2))
    assert after.prior == before.model_.experiment.prior
    assert Generator.load(tmp_path / "new").n_features_in_ == 6
    with pytest.raises(ModelFileError, match="modality"):
        SeriesAutoencoder.load(tmp_path / "new")


def test_a_loaded_generator_of_a_frame_makes_an_arrow_table(shop_generator: Generator, tmp_path: Path) -> None:
    new = load(shop_generator.save(tmp_path / "shop")).sample(4)
    assert isinstance(new, pa.Table)
    assert new.column_names == shop_generator.sample(4).columns.tolist()


def test_polars_in_polars_out(shop: Shop) -> None:
    frame = pl.from_pandas(shop(60))
    generator = Generator(TableAutoencoder(kind="plain", epochs=2)).fit(frame)
    assert isinstance(generator.sample(3), pl.DataFrame)
    assert isinstance(generator.interpolate(frame[:2], steps=3), pl.DataFrame)


@pytest.mark.parametrize(
    "twin", [copy.deepcopy, lambda fitted: pickle.loads(pickle.dumps(fitted))], ids=["copy", "pickle"]
)
def test_a_copy_makes_the_same(twin: Callable[[Any], Any], generator: Generator) -> None:
    np.testing.assert_array_equal(twin(generator).sample(7), generator.sample(7))
    assert not [name for name in vars(clone(generator)) if name.endswith("_")]
