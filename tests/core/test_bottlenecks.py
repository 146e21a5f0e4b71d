"""Bottlenecks against torch.distributions and the moments of many draws."""

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from hourglass.core.bottlenecks import Bottleneck, Gaussian, Plain, TopK
from hourglass.errors import UsageError


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def hidden(rows: int = 50, size: int = 6) -> torch.Tensor:
    return torch.randn(rows, size, generator=seeded(), dtype=torch.float64)


def expected_kl(heads: torch.Tensor) -> torch.Tensor:
    """KL to N(0, 1) of each number, by torch."""
    mean, log_variance = heads.chunk(2, 1)
    return kl_divergence(Normal(mean, (0.5 * log_variance).exp()), Normal(0.0, 1.0))


def test_gaussian_term_is_the_kl_of_a_sample_a_cell() -> None:
    code = Gaussian(beta=2.5, warm_up=0.0).build(3, cells=4)(hidden(), seeded())
    torch.testing.assert_close(code.terms["kl"], 2.5 * expected_kl(hidden()).sum(1).mean() / 4)


def test_free_bits_cost_a_constant_below_and_the_kl_above() -> None:
    heads = (torch.tensor([0.1, 3.0, 0.0, 0.0]).repeat(8, 1)).requires_grad_()  # KL .005 and 4.5 nats
    term = Gaussian(free_bits=0.5, warm_up=0.0).build(2, cells=1)(heads, seeded()).terms["kl"]
    (gradient,) = torch.autograd.grad(term, heads)
    assert term.item() == pytest.approx(0.5 + 4.5)
    assert (gradient[:, 0] == 0).all()
    assert (gradient[:, 1] > 0).all()


@pytest.mark.parametrize(("progress", "share"), [(0.0, 0.0), (0.1, 0.25), (0.4, 1.0), (1.0, 1.0)])
def test_the_weight_of_the_kl_grows_during_warm_up(progress: float, share: float) -> None:
    module, full = Gaussian(warm_up=0.4).build(3, 1), Gaussian(warm_up=0.0).build(3, 1)
    module.progress = progress
    torch.testing.assert_close(module(hidden(), seeded()).terms["kl"], share * full(hidden(), seeded()).terms["kl"])


def test_without_a_generator_the_code_is_the_mean() -> None:
    module = Gaussian().build(3, 1)
    first, second = module(hidden(), None), module(hidden(), None)
    assert torch.equal(first.value, hidden()[:, :3])
    assert torch.equal(first.value, second.value)
    assert not first.terms


def test_drawn_codes_have_the_asked_moments() -> None:
    heads = torch.tensor([[1.5, -2.0, 0.4, -3.0]]).expand(100_000, 4)
    codes = Gaussian().build(2, 1)(heads, seeded()).value
    deviation = (0.5 * heads[0, 2:]).exp()
    # five standard errors of the mean and of the standard deviation
    assert ((codes.mean(0) - heads[0, :2]).abs() < 5 * deviation / 100_000**0.5).all()
    assert ((codes.std(0) / deviation - 1).abs() < 5 / 200_000**0.5).all()
    assert abs(torch.corrcoef(codes.T)[0, 1].item()) < 5 / 100_000**0.5


def test_drawn_codes_pass_gradients_to_both_heads_and_repeat_with_the_seed() -> None:
    heads, module = hidden().requires_grad_(), Gaussian().build(3, 1)
    code = module(heads, seeded(4)).value
    (gradient,) = torch.autograd.grad(code.square().sum(), heads)
    assert (gradient != 0).all()
    assert torch.equal(code, module(heads, seeded(4)).value)
    assert not torch.equal(code, module(heads, seeded(5)).value)


def test_several_draws_stand_next_to_each_other_and_cost_their_log_ratio_a_cell() -> None:
    code = Gaussian(beta=2.0, warm_up=0.0, draws=4).build(3, cells=5)(hidden(), seeded())
    mean, log_variance = hidden().repeat_interleave(4, 0).chunk(2, 1)
    q, p = Normal(mean, (0.5 * log_variance).exp()), Normal(0.0, 1.0)
    assert code.value.shape == (200, 3)
    assert code.draws == 4
    ratio = (q.log_prob(code.value) - p.log_prob(code.value)).sum(1)
    torch.testing.assert_close(code.cost, 2.0 * ratio / 5)
    torch.testing.assert_close(code.terms["kl"], 2.0 * ratio.mean() / 5)
    assert len({tuple(row) for row in code.value.tolist()}) == 200


def test_several_draws_are_for_training_only() -> None:
    code = Gaussian(draws=4).build(3, 1)(hidden(), None)
    assert torch.equal(code.value, hidden()[:, :3])
    assert code.draws == 1
    assert code.cost is None


def test_free_bits_of_several_draws_are_refused() -> None:
    with pytest.raises(UsageError, match="free_bits=0 or draws=1"):
        Gaussian(free_bits=0.1, draws=2).build(3, 1)


@pytest.mark.parametrize("wild", [-1e4, 1e4])
def test_a_wild_log_variance_stays_finite_and_is_still_pulled_back(wild: float) -> None:
    heads = torch.tensor([[0.0, wild]], requires_grad=True)
    code = Gaussian(warm_up=0.0).build(1, 1)(heads, seeded())
    (gradient,) = torch.autograd.grad(code.terms["kl"], heads)
    assert torch.isfinite(code.value).all()
    assert torch.isfinite(code.terms["kl"])
    assert gradient[0, 1].sign() == torch.tensor(wild).sign()
    assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("k", [1, 3, 6])
def test_top_k_keeps_exactly_the_k_largest_and_their_gradient(k: int) -> None:
    heads = hidden().requires_grad_()
    code = TopK(k=k).build(6, 1)(heads, None).value
    kept = torch.zeros_like(heads, dtype=torch.bool)
    kept[torch.arange(50).unsqueeze(1), heads.argsort(1, descending=True)[:, :k]] = True
    assert torch.equal(code, torch.where(kept, heads, 0.0))
    (gradient,) = torch.autograd.grad(code.sum(), heads)
    assert torch.equal(gradient, kept.double())


def test_top_k_says_what_was_offered_and_projects_codes() -> None:
    module = TopK(k=2).build(6, 1)
    assert torch.equal(module(hidden(), None).offered, hidden())
    assert torch.equal(module.project(hidden()), module(hidden(), None).value)


@pytest.mark.parametrize(("size", "kept"), [(1, 1), (2, 1), (5, 2), (32, 8)])
def test_top_k_keeps_a_quarter_of_the_code_when_not_asked(size: int, kept: int) -> None:
    codes = TopK().build(size, 1)(hidden(size=size), None).value
    assert ((codes != 0).sum(1) == kept).all()


def test_top_k_refuses_to_keep_more_than_there_is() -> None:
    with pytest.raises(UsageError, match="at most the latent size, 4"):
        TopK(k=5).build(4, 1)


def test_plain_is_its_activation_and_drops_units_only_in_training() -> None:
    module = Plain(activation="sigmoid", dropout=0.5).build(6, 1)
    assert (module.train()(hidden(), None).value == 0).any()
    assert torch.equal(module.eval()(hidden(), None).value, hidden().sigmoid())


@pytest.mark.parametrize("settings", [Plain(), TopK(), Gaussian()], ids=lambda part: part.name)
def test_a_code_has_its_size_when_the_encoder_gives_every_head(settings: Bottleneck) -> None:
    assert settings.build(7, 1)(torch.zeros(2, 7 * settings.heads), None).value.shape == (2, 7)
