"""Scorers against brute force, and a score that is a row's own."""

from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor

from hourglass.core.chunks import chunk_rows, in_chunks
from hourglass.core.corruptions import HiddenPatches
from hourglass.core.kinds import build, experiment
from hourglass.core.model import Autoencoder
from hourglass.core.networks.dense import Dense
from hourglass.core.networks.transformer import PatchTransformer
from hourglass.core.scores import (
    Combination,
    ErrorScorer,
    FarNeighbourScorer,
    MaskedCellScorer,
    NeighbourScorer,
    _partitions,
    raw_scores,
    scorer_named,
)
from hourglass.data.samples import Cell, Layout
from hourglass.errors import UsageError

SMALL = PatchTransformer(patch=3, width=8, heads=2)
MIXED = Layout((7,), (Cell("a"), Cell("town", "category", 3), Cell("b"), Cell("paid", "flag"), Cell("c")))


def network(layout: Layout) -> Autoencoder:
    """An untrained masked-cell network: what a scorer may see does not depend on training."""
    torch.manual_seed(0)
    plan = experiment(kind="masked-cell")
    return build(plan.replace(network=Dense(layers=(32, 32), activation="silu")), layout).eval()


def samples(rows: int, layout: Layout = MIXED) -> Tensor:
    x = torch.rand(rows, layout.size, generator=torch.Generator().manual_seed(2)).round(decimals=3)
    x[::7, 0] = torch.nan
    return x


def masked_cells(model: Autoencoder) -> MaskedCellScorer:
    return MaskedCellScorer(MaskedCellScorer.learn(model, torch.empty(0), 0))


def test_a_cell_never_sees_itself() -> None:
    """Another value, or none, in one cell changes its own expectation by exactly 0, and some other cell's by more."""
    model, x = network(MIXED), samples(4)
    scorer = masked_cells(model)
    _, expected = scorer.cells(model, x)
    cell_of = MIXED.cell_of()
    for cell in range(len(MIXED.cells)):
        for value in (0.5, -3.0, torch.nan):
            changed = x.clone()
            changed[:, cell_of == cell] = value
            own = torch.from_numpy(cell_of == cell)
            difference = scorer.cells(model, changed)[1] - expected
            assert (difference[:, own] == 0).all()
            assert (difference[:, ~own] != 0).any()


@pytest.mark.parametrize("layout", [MIXED, Layout((1,)), Layout((3,)), Layout((20,))], ids=["mixed", "1", "3", "20"])
def test_each_cell_is_hidden_once_a_partition(layout: Layout) -> None:
    model = network(layout)
    masks = masked_cells(model).state["masks"]
    cell_of = torch.from_numpy(layout.cell_of())
    count = int(cell_of[-1]) + 1
    assert (masks.sum(0) == 2).all()
    assert len(masks) == sum(min(groups, count) for groups in (3, 4))
    for cell in range(count):  # a category's places go together
        places = masks[:, cell_of == cell]
        assert (places == places[:, :1]).all()


def test_masked_cells_are_a_loop_over_masks() -> None:
    model, x = network(MIXED), samples(5)
    scorer = masked_cells(model)
    known, missing = x.nan_to_num(0.0), x.isnan()
    errors, expected = torch.zeros(5, 5), torch.zeros(5, 7)
    with torch.no_grad():
        for mask in scorer.state["masks"]:
            output = model.decoder(model.encoder(torch.where(mask, 0.0, known), mask | missing))
            errors += model.loss.cells(output, known) * model.loss.per_cell(mask[None] & ~missing) / 2
            expected += model.loss.expectation(output) * mask / 2
        ours = scorer.cells(model, x)
        torch.testing.assert_close(ours[0], errors)
        torch.testing.assert_close(ours[1], expected)
        there = ~model.loss.per_cell(missing)
        torch.testing.assert_close(scorer(model, x), (errors * there).sum(1) / there.sum(1))


def test_a_partition_ends_where_every_number_has_been_hidden() -> None:
    """So that masks from any model file are taken apart as they were made."""
    model = network(MIXED)
    parts = _partitions(masked_cells(model).state["masks"])
    assert [len(part) for part in parts] == [3, 4]
    assert all((part.sum(0) == 1).all() for part in parts)


def test_where_whole_patches_were_hidden_in_training_they_are_in_scoring() -> None:
    layout = Layout((1, 12, 12))
    model = build(
        experiment("series", "masked-patches").replace(corruption=HiddenPatches(patch=3), network=SMALL), layout
    )
    masks = masked_cells(model).state["masks"].reshape(-1, 4, 3, 4, 3).transpose(2, 3).reshape(-1, 16, 9)
    assert (masks.all(2) == masks.any(2)).all()
    assert (masks.all(2).sum(0) == 2).all()
    assert masks.all(2).sum(1).tolist() == [6, 5, 5] + [4] * 4


def test_the_error_is_the_plain_loss_and_missing_cells_have_none() -> None:
    model, x = network(MIXED), samples(20)
    cells, expected = ErrorScorer({}).cells(model, x)
    missing = x.isnan()
    assert (cells[missing[:, 0], 0] == 0).all()
    torch.testing.assert_close(ErrorScorer({})(model, x), cells.sum(1) / (5 - missing[:, 0].float()))
    torch.testing.assert_close(expected, model.reconstruct(x))


@pytest.mark.parametrize("offset", [0, 100])
@pytest.mark.parametrize(("kind", "rank"), [(NeighbourScorer, 5), (FarNeighbourScorer, 20)])
def test_neighbours_is_the_distance_to_a_near_one_as_the_first_layer_sees_them(
    kind: type[NeighbourScorer | FarNeighbourScorer], rank: int, offset: float
) -> None:
    """Also where activations are far from 0 and near each other, which |a|^2 - 2ab + |b|^2 in float32 would lose."""
    model = network(MIXED)
    with torch.no_grad():
        model.encoder.stack[0].bias += offset  # type: ignore[union-attr,index,operator]
    x, new = samples(200), samples(250)[200:]
    scorer = kind(kind.learn(model, x, 0))

    def seen(x: Tensor) -> np.ndarray:
        told = torch.cat([x.nan_to_num(0.0), x.isnan().float()], dim=1)
        return torch.nn.functional.silu(model.encoder.stack[0](told)).double().numpy()

    with torch.no_grad():
        stored, asked = seen(x), seen(new)
        distances = np.linalg.norm((asked[:, None] - stored[None]) / stored.std(axis=0), axis=2)
        ours = scorer(model, new).numpy()
    np.testing.assert_allclose(ours, np.sort(distances, axis=1)[:, rank - 1], rtol=2e-3)


@pytest.mark.parametrize("rows", [2, 4])
def test_fewer_samples_than_neighbours_work(rows: int) -> None:
    model = network(MIXED)
    scorer = NeighbourScorer(NeighbourScorer.learn(model, samples(rows), 0))
    with torch.no_grad():
        assert torch.isfinite(scorer(model, samples(9))).all()


def test_at_most_2000_samples_are_stored() -> None:
    assert len(NeighbourScorer.learn(network(MIXED), samples(2_500), 0)["stored"]) == 2_000


@pytest.mark.parametrize("name", ["error", "masked-cell", "activations", "neighbours", "far-neighbours"])
@pytest.mark.parametrize("layout", [MIXED, Layout((140,))], ids=["7 numbers", "140 numbers"])
def test_a_rows_score_does_not_depend_on_its_batch(name: str, layout: Layout) -> None:
    model = network(layout)
    kind = scorer_named(name)
    scorer = kind(kind.learn(model, samples(100, layout), 0))
    rows = max(512, chunk_rows(layout.size) + 9)
    x = samples(rows, layout).numpy()
    score = partial(in_chunks, partial(scorer, model), device=torch.device("cpu"))
    whole = score(x)
    order = np.random.default_rng(0).permutation(rows)
    np.testing.assert_allclose(score(x[order]), whole[order], rtol=1e-7)
    for size in (1, 7, 512):
        np.testing.assert_allclose(score(x[rows - size :]), whole[rows - size :], rtol=1e-7)


def test_no_rows_have_no_scores() -> None:
    model = network(MIXED)
    assert raw_scores(model, [ErrorScorer({}), masked_cells(model)], np.empty((0, 7), np.float32)).shape == (0, 2)


def test_several_scorers_are_the_mean_robust_z_of_their_logs() -> None:
    raw = np.random.default_rng(0).lognormal(size=(200, 3)).astype(np.float32)
    logs = np.log(raw.astype(np.float64) + 1e-12)
    centre = np.median(logs, axis=0)
    spread = 1.4826 * np.median(np.abs(logs - centre), axis=0)
    new = np.array([[1.0, 2.0, 0.0]], dtype=np.float32)
    expected = ((np.log(new.astype(np.float64) + 1e-12) - centre) / spread).mean(axis=1)
    np.testing.assert_allclose(Combination.fit(raw)(new), expected)


def test_one_scorer_alone_stays_as_it_is() -> None:
    raw = np.array([[0.5], [2.0]], dtype=np.float32)
    assert Combination.fit(raw)(raw).tolist() == [0.5, 2.0]


def test_a_scorer_that_is_mostly_constant_does_not_divide_by_0() -> None:
    raw = np.ones((50, 2), dtype=np.float32)
    raw[:5, 0] = 3.0
    assert np.isfinite(Combination.fit(raw)(raw)).all()


def test_an_unknown_scorer_gets_the_nearest_known_one() -> None:
    with pytest.raises(UsageError, match="did you mean 'neighbours'"):
        scorer_named("neighbors")
