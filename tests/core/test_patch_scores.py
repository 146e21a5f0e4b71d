"""Patch-wise distances: held to a Mahalanobis distance written with numpy, and to where in the sample they are."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from hourglass.core.checkpoints import load_model, save_model
from hourglass.core.chunks import in_chunks
from hourglass.core.fitting import fit_model
from hourglass.core.kinds import build, experiment
from hourglass.core.model import Autoencoder
from hourglass.core.networks.convolution import Convolution
from hourglass.core.patch_scores import PatchScorer
from hourglass.core.scores import ErrorScorer
from hourglass.data.samples import Layout
from hourglass.errors import UsageError
from hourglass.settings import Detection, Training

PICTURE, SERIES = Layout((2, 16, 16)), Layout((32, 3))


def network(layout: Layout, channels: tuple[int, ...] = (4, 8)) -> Autoencoder:
    torch.manual_seed(0)
    return build(experiment("series").replace(network=Convolution(channels=channels)), layout).eval()


def samples(rows: int, layout: Layout, seed: int = 2) -> Tensor:
    return torch.rand(rows, *layout.shape, generator=torch.Generator().manual_seed(seed))


def learned(model: Autoencoder, layout: Layout) -> PatchScorer:
    return PatchScorer(PatchScorer.learn(model, samples(50, layout), 0))


def described(model: Autoencoder, x: Tensor) -> np.ndarray:
    """Descriptions (n, 64, numbers) of pictures of 16 x 16, written with numpy: windows of what is left, two stages."""
    with torch.no_grad():
        left = (x - model.reconstruct(x)).double().numpy()
        fine, coarse = (each.double().numpy() for each in model.encoder.features(x, None))
    padded = np.pad(left, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (4, 4), axis=(2, 3))[:, :, ::2, ::2]
    windows = np.moveaxis(windows, 1, -1).reshape(len(x), 8, 8, -1)
    middles = np.clip((np.arange(8) + 0.5) / 2 - 0.5, 0, 3)
    low = np.minimum(middles.astype(int), 2)
    weights = np.zeros((8, 4))
    weights[np.arange(8), low] = 1 - (middles - low)
    weights[np.arange(8), low + 1] = middles - low
    maps = np.concatenate([fine, np.einsum("ij,ncjk,lk->ncil", weights, coarse, weights)], axis=1)
    return np.concatenate([windows, np.moveaxis(maps, 1, -1)], axis=3).reshape(len(x), 64, -1)


def test_distances_are_mahalanobis_under_the_shrunk_covariance_in_typical_ones() -> None:
    model, train, new = network(PICTURE), samples(50, PICTURE), samples(9, PICTURE, seed=5)
    scorer = PatchScorer(PatchScorer.learn(model, train, 0))
    seen = described(model, train)
    numbers = 2 * 16 + 4 + 8
    assert seen.shape[2] == numbers
    flat = seen.reshape(-1, numbers)
    deviation = flat.std(axis=0)
    deviation[deviation < 1e-6] = 1.0
    correlation = np.cov(flat / deviation, rowvar=False, bias=True)
    shrunk = 0.99 * correlation + 0.01 * np.trace(correlation) / numbers * np.eye(numbers)

    def squared(patches: np.ndarray) -> np.ndarray:
        difference = (patches - flat.mean(axis=0)) / deviation
        return np.einsum("npc,cd,npd->np", difference, np.linalg.inv(shrunk), difference)

    here = squared(seen).sum(axis=0)
    typical = np.sqrt((here + 10 * here.mean() / 50) / 60)
    expected = np.sqrt(squared(described(model, new))) / typical
    with torch.no_grad():
        np.testing.assert_allclose(scorer.distances(model, new).flatten(1), expected, rtol=1e-3)
        np.testing.assert_allclose(scorer(model, new), expected.max(axis=1), rtol=1e-3)  # a hundredth of 64 is one


def test_the_score_is_the_mean_of_the_hundredth_of_most_distant_patches() -> None:
    layout = Layout((1, 40, 40))
    model = network(layout)
    scorer = learned(model, layout)
    x = samples(7, layout, seed=5)
    with torch.no_grad():
        distances = scorer.distances(model, x).flatten(1).sort(dim=1).values
        torch.testing.assert_close(scorer(model, x), distances[:, -4:].mean(1))


@pytest.mark.parametrize(
    "layout", [PICTURE, SERIES, Layout((1, 9, 13)), Layout((1, 1))], ids=lambda each: str(each.shape)
)
def test_cells_are_the_distances_where_they_are_and_0_where_missing(layout: Layout) -> None:
    model = network(layout, (4, 8) if layout.size > 1 else (4,))
    scorer, x = learned(model, layout), samples(5, layout)
    x[0, 0] = torch.nan
    with torch.no_grad():
        cells, expected = scorer.cells(model, x)
        torch.testing.assert_close(expected, model.reconstruct(x))
    assert cells.shape == (5, layout.size)
    assert torch.equal(cells.reshape(x.shape) == 0, x.isnan())


def test_a_pit_is_odd_where_it_is() -> None:
    model, x = network(PICTURE), samples(6, PICTURE, seed=7)
    scorer = learned(model, PICTURE)
    x[:, :, 10:14, 3:7] = 4.0
    with torch.no_grad():
        maps = scorer.cells(model, x)[0].reshape(x.shape)
        assert (scorer(model, x) > scorer(model, samples(6, PICTURE, seed=7))).all()
    assert torch.equal(maps[:, 0], maps[:, 1])
    place = maps[:, 0].flatten(1).argmax(1)
    assert ((place // 16 >= 8) & (place // 16 <= 15) & (place % 16 >= 1) & (place % 16 <= 8)).all()


@pytest.mark.parametrize("layout", [PICTURE, SERIES, Layout((1, 9, 13))], ids=lambda each: str(each.shape))
def test_a_rows_score_does_not_depend_on_its_batch(layout: Layout) -> None:
    model = network(layout)
    x = samples(150, layout).numpy()
    score = partial(in_chunks, partial(learned(model, layout), model), device=torch.device("cpu"))
    whole, order = score(x), np.random.default_rng(0).permutation(150)
    np.testing.assert_allclose(score(x[order]), whole[order], rtol=1e-7)
    for size in (1, 7):
        np.testing.assert_allclose(score(x[150 - size :]), whole[150 - size :], rtol=1e-7)


def test_a_seed_repeats_it_and_the_callers_random_state_stays() -> None:
    model = network(PICTURE)
    state = torch.get_rng_state()
    first, second = (PatchScorer.learn(model, samples(50, PICTURE), 3) for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert torch.equal(torch.get_rng_state(), state)


def test_it_is_saved_with_the_model(tmp_path: Path) -> None:
    data = np.random.default_rng(0).normal(size=(60, 16))
    plan = experiment("series", "convolutional").replace(
        training=Training(epochs=1), detection=Detection(scorers=("error", "patches"))
    )
    model = fit_model(data, plan, calibrate=False)
    loaded = load_model(save_model(model, tmp_path / "model.safetensors"))
    assert [type(scorer) for scorer in loaded.scorers] == [ErrorScorer, PatchScorer]
    packed = model.format.pack(data)
    np.testing.assert_array_equal(loaded.score(packed), model.score(packed))


@pytest.mark.parametrize("kind", ["denoising", "recurrent", "transformer"])
@pytest.mark.parametrize("layout", [PICTURE, SERIES], ids=["picture", "series"])
def test_without_feature_maps_a_patch_is_what_is_left_of_it(kind: str, layout: Layout) -> None:
    torch.manual_seed(0)
    model = build(experiment("series", kind), layout).eval()
    scorer, x = learned(model, layout), samples(5, layout)
    assert len(scorer.state["mean"]) == (2 * 4 * 4 if layout == PICTURE else 3 * 4)
    x[0] += 3.0
    with torch.no_grad():
        scores = scorer(model, x)
    assert scores.argmax() == 0
    assert torch.isfinite(scores).all()


def test_constant_samples_have_finite_scores() -> None:
    model, x = network(PICTURE), torch.ones(20, *PICTURE.shape)
    scorer = PatchScorer(PatchScorer.learn(model, x, 0))
    assert all(torch.isfinite(tensor).all() for tensor in scorer.state.values())
    with torch.no_grad():
        assert torch.isfinite(scorer(model, samples(5, PICTURE))).all()


def test_a_table_is_refused_before_its_network_is_built() -> None:
    plan = experiment("table", "denoising").replace(detection=Detection(scorers=("patches",)))
    with pytest.raises(UsageError, match=r"detection\.scorers.*'patches'.*series or pictures"):
        build(plan, Layout((6,)))


def test_convolutions_on_pictures_are_asked_patch_by_patch() -> None:
    assert experiment("image", "convolutional").scorers() == ("patches", "error")
    assert experiment("image", "denoising").scorers() == ("error",)
    assert experiment("series", "convolutional").scorers() == ("shape-and-level",)
    asked = experiment("image", "convolutional").replace(detection=Detection(scorers=("error",)))
    assert asked.scorers() == ("error",)
