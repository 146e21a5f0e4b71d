"""Codebooks and levels: the nearest is taken, gradients pass, vectors follow what chooses them."""

from typing import Any

import pytest
import torch
from torch import Tensor

from hourglass.core.kinds import build, experiment
from hourglass.core.model import Autoencoder
from hourglass.core.networks.dense import Dense
from hourglass.core.quantised import Codebook, FiniteScalar
from hourglass.core.training import train
from hourglass.data.samples import Layout
from hourglass.errors import UsageError
from hourglass.settings import Training


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def hidden(rows: int = 50, size: int = 6) -> Tensor:
    return torch.randn(rows, size, generator=seeded())


def codebook(size: int = 6, cells: int = 1, **options: Any) -> Any:
    torch.manual_seed(1)
    return Codebook(**options).build(size, cells).eval()


def state(module: Any) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def unchanged(module: Any, before: dict[str, Tensor]) -> bool:
    return all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())


@pytest.mark.parametrize("groups", [1, 2, 3, 6])
def test_each_piece_becomes_the_nearest_vector_of_its_group(groups: int) -> None:
    module = codebook(entries=9, groups=groups)
    pieces = hidden().reshape(50, groups, -1)
    nearest = torch.cdist(pieces.transpose(0, 1), module.entries).argmin(2).T
    assert torch.equal(module.indices(hidden()), nearest)
    expected = torch.stack([module.entries[group][nearest[:, group]] for group in range(groups)], 1).flatten(1)
    assert torch.equal(module(hidden(), None).value, expected)
    assert torch.equal(module.project(hidden()), expected)
    assert torch.equal(module.project(expected), expected)


def test_the_gradient_passes_the_choice_and_the_commitment_pulls_the_encoder() -> None:
    module, heads = codebook(entries=4, groups=2, cells=5, commitment=0.5), hidden().requires_grad_()
    code = module(heads, seeded())
    weights = torch.arange(6.0)
    (straight,) = torch.autograd.grad((code.value * weights).sum(), heads, retain_graph=True)
    assert torch.equal(straight, weights.expand(50, 6))
    away = heads - code.value.detach()
    torch.testing.assert_close(code.terms["commitment"], 0.5 * away.square().sum(1).mean() / 5)
    (pull,) = torch.autograd.grad(code.terms["commitment"], heads)
    torch.testing.assert_close(pull, 0.5 * 2 * away.detach() / 50 / 5)


def test_the_first_batch_gives_the_first_vectors() -> None:
    module = codebook(entries=16, groups=3, decay=0.9999).train()
    module(100 + hidden(), seeded())
    pieces = (100 + hidden()).reshape(50, 3, 2)
    for group in range(3):
        apart = (module.entries[group].unsqueeze(1) - pieces[:, group]).norm(dim=2)
        assert apart.amin(1).max() < 1e-3  # but for the little that one batch moves them
        assert len(apart.argmin(1).unique()) == 16  # each on a piece of its own


def test_more_vectors_than_pieces_start_on_the_same() -> None:
    module = codebook(entries=64, groups=1).train()
    module(torch.ones(1, 6), seeded())
    assert torch.equal(module.entries, torch.ones(1, 64, 6))


def test_vectors_are_the_running_mean_of_the_pieces_that_choose_them() -> None:
    module = codebook(size=1, entries=2, groups=1, decay=0.5).train()
    module.started.fill_(True)
    module.entries.copy_(torch.tensor([[[0.0], [10.0]]]))
    module.sums.copy_(torch.tensor([[[0.0], [20.0]]]))
    module.counts.copy_(torch.tensor([[2.0, 2.0]]))
    module(torch.tensor([[1.0], [2.0], [3.0], [12.0]]), seeded())
    torch.testing.assert_close(module.counts, torch.tensor([[2.5, 1.5]]))
    torch.testing.assert_close(module.sums, torch.tensor([[[3.0], [16.0]]]))
    torch.testing.assert_close(module.entries, module.sums / module.counts.unsqueeze(2))


def test_a_vector_that_nothing_chooses_is_put_on_a_piece_of_the_batch() -> None:
    module = codebook(size=2, entries=4, groups=1, decay=0.5).train()
    module(hidden(40, 2), seeded())
    module.entries[0, 3] = 1e6
    for _ in range(12):
        module(hidden(40, 2), seeded(5))
    assert module.entries.abs().max() < 10
    assert module.perplexity().item() > 2


def test_perplexity_counts_the_vectors_in_use() -> None:
    module = codebook(entries=4, groups=2)
    module.counts.copy_(torch.tensor([[1.0, 1.0, 1.0, 1.0], [8.0, 0.0, 8.0, 0.0]]))
    torch.testing.assert_close(module.perplexity(), torch.tensor([4.0, 2.0]))


def test_only_a_training_step_of_the_autoencoder_moves_the_vectors() -> None:
    module = codebook(entries=4, groups=2)
    before = state(module)
    module(hidden(), seeded())
    assert unchanged(module, before)  # validation
    module.train()
    module(hidden(), None)
    assert unchanged(module, before)  # a penalty's own pass
    with torch.no_grad():
        module(hidden(), seeded())
    assert unchanged(module, before)  # an opponent's
    module(hidden(), seeded())
    assert not unchanged(module, before)


def clusters(rows: int = 400) -> Tensor:
    """Eight far points in 10 dimensions, with a little noise."""
    generator = seeded(3)
    centres = 2 * torch.randn(8, 10, generator=generator)
    return centres[torch.randint(8, (rows,), generator=generator)] + 0.05 * torch.randn(rows, 10, generator=generator)


def fitted(seed: int = 0) -> tuple[Autoencoder, Any]:
    torch.manual_seed(seed)
    plan = experiment(kind="vector-quantised").replace(
        bottleneck=Codebook(size=4, entries=8, groups=1), network=Dense(layers=(32,))
    )
    model = build(plan, Layout((10,)))
    train(model, clusters()[:350], Training(epochs=20, batch_size=50, learning_rate=0.01), clusters()[350:])
    return model, model.bottleneck


def test_the_loop_gives_each_cluster_a_vector_and_repeats() -> None:
    model, module = fitted()
    error = (model.reconstruct(clusters()) - clusters()).square().mean()
    assert error < 0.1 * clusters().var()
    assert module.perplexity().item() > 7
    assert all(torch.isfinite(tensor).all() for tensor in model.state_dict().values())
    again = fitted()[0].state_dict()
    assert all(torch.equal(tensor, again[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize(("size", "width"), [(1, 1), (2, 2), (5, 1), (32, 2)])
def test_pieces_are_of_two_numbers_where_the_code_is_even(size: int, width: int) -> None:
    assert codebook(size).entries.shape == (size // width, 64, width)


def test_groups_must_divide_the_code() -> None:
    with pytest.raises(UsageError, match="a divisor of the latent size, 6"):
        Codebook(groups=4).build(6, 1)


@pytest.mark.parametrize("levels", [2, 3, 8])
def test_finite_scalars_are_the_middles_of_equal_intervals(levels: int) -> None:
    module = FiniteScalar(levels=levels).build(6, 1)  # type: ignore[arg-type]
    squeezed = torch.linspace(-0.9999, 0.9999, 1_200).reshape(200, 6)
    values = module(squeezed.atanh(), None).value
    middles = (2 * torch.arange(levels) + 1) / levels - 1
    expected = middles[torch.cdist(squeezed.reshape(-1, 1), middles.reshape(-1, 1)).argmin(1)].reshape(200, 6)
    torch.testing.assert_close(values, expected)
    torch.testing.assert_close(module.project(values), values)
    assert torch.equal(middles[module.indices(squeezed.atanh())], middles[module.indices(values.atanh())])


def test_each_number_may_have_its_own_levels_and_gradients_pass() -> None:
    module = FiniteScalar(levels=(2, 3, 5)).build(3, 1)
    heads = (3 * hidden(5_000, 3)).requires_grad_()
    code = module(heads, seeded())
    assert [len(column.unique()) for column in code.value.round(decimals=4).T] == [2, 3, 5]
    assert not code.terms
    (gradient,) = torch.autograd.grad(code.value.sum(), heads)
    torch.testing.assert_close(gradient, 1 - heads.detach().tanh().square())


def test_the_largest_numbers_stay_on_the_last_level() -> None:
    module = FiniteScalar(levels=(4,)).build(2, 1)
    assert module(torch.tensor([[1e9, -1e9]]), None).value.tolist() == [[0.75, -0.75]]


def test_levels_must_fit_the_code() -> None:
    with pytest.raises(UsageError, match="one for each of the 3 code numbers"):
        FiniteScalar(levels=(4, 4)).build(3, 1)
