"""Penalties that make codes normal or independent: against double loops, and known distributions."""

from itertools import product

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

from hourglass.core.bottlenecks import Gaussian, Plain, TopK
from hourglass.core.kinds import build, experiment
from hourglass.core.matching import MeanDiscrepancy, TotalCorrelation, squared_discrepancy, total_correlation
from hourglass.core.model import Code, Trace
from hourglass.core.penalties import DeadUnits, Penalty
from hourglass.core.posterior import Posterior
from hourglass.data.samples import Layout
from hourglass.errors import UsageError


def drawn(rows: int, size: int, seed: int = 0) -> Tensor:
    return torch.randn(rows, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def traced(code: Code) -> Trace:
    return Trace(code.value, None, None, code.value, code, code.value)


def kernel(a: Tensor, b: Tensor) -> float:
    """The mean of seven inverse multiquadratic kernels, by hand."""
    scales = [2 * len(a) * width for width in (0.1, 0.2, 0.5, 1, 2, 5, 10)]
    return sum(scale / (scale + float((a - b).square().sum())) for scale in scales) / 7


def test_the_discrepancy_is_a_double_loop_over_pairs() -> None:
    a, b = drawn(6, 3), 1 + 2 * drawn(6, 3, 1)
    apart = [(i, j) for i, j in product(range(6), repeat=2) if i != j]
    within = sum(kernel(a[i], a[j]) + kernel(b[i], b[j]) for i, j in apart) / len(apart)
    between = sum(kernel(a[i], b[j]) for i, j in product(range(6), repeat=2)) / 36
    assert squared_discrepancy(a, b).item() == pytest.approx(within - 2 * between)


def test_the_discrepancy_has_no_bias() -> None:
    """Of draws of one distribution its mean is 0, which that of the plain double mean is not."""
    each = torch.stack([squared_discrepancy(drawn(10, 2, seed), drawn(10, 2, seed + 5_000)) for seed in range(400)])
    assert abs(each.mean()) < 4 * each.std() / 400**0.5
    assert squared_discrepancy(drawn(500, 2), 1 + drawn(500, 2, 1)) > 0.05


def test_the_mmd_term_compares_codes_with_draws_of_the_generator() -> None:
    codes = drawn(20, 3)
    generator = torch.Generator().manual_seed(7)
    term = MeanDiscrepancy(weight=2.0).build(3, 1)(None, traced(Code(codes)), generator)
    torch.testing.assert_close(term, 2.0 * squared_discrepancy(codes, drawn(20, 3, 7)))


def test_a_single_row_has_no_discrepancy_and_a_gradient() -> None:
    codes = drawn(1, 3).requires_grad_()
    term = MeanDiscrepancy().build(3, 1)(None, traced(Code(codes)), None)
    assert term.item() == 0
    term.backward()


def test_total_correlation_is_a_double_loop_over_the_batch() -> None:
    posterior = Posterior(drawn(5, 3), drawn(5, 3, 1))
    code = posterior.draw(drawn(5, 3, 2))
    expected = 0.0
    for row in code:
        densities = Normal(posterior.mean, (0.5 * posterior.log_variance).exp()).log_prob(row).exp()
        expected += (densities.prod(1).mean().log() - densities.mean(0).log().sum()).item() / 5
    term = TotalCorrelation(weight=2.0).build(3, 4)(None, traced(Code(code, posterior=posterior)), None)
    assert total_correlation(code, posterior).item() == pytest.approx(expected)
    assert term.item() == pytest.approx(2.0 * expected / 4)


@pytest.mark.parametrize("correlation", [0.0, 0.6, 0.9])
def test_total_correlation_of_a_normal_mixture_is_that_of_its_covariance(correlation: float) -> None:
    """Means of covariance C under posteriors of variance v: q(z) = N(0, C + v I), whose value is known."""
    mean = drawn(1_500, 2) @ torch.linalg.cholesky(torch.tensor([[1, correlation], [correlation, 1]]).double()).T
    posterior = Posterior(mean, torch.full_like(mean, 0.3).log())
    exact = -0.5 * torch.tensor(1 - (correlation / 1.3) ** 2).log().item()
    found = total_correlation(posterior.draw(drawn(1_500, 2, 1)), posterior).item()
    assert found == pytest.approx(exact, abs=0.03)


@pytest.mark.parametrize(
    ("penalty", "able", "unable"),
    [
        (TotalCorrelation(), Gaussian(size=2), Plain(size=2)),
        (DeadUnits(), TopK(size=2), Gaussian(size=2)),
    ],
    ids=["total-correlation", "dead-units"],
)
def test_a_penalty_that_a_bottleneck_cannot_serve_is_refused(penalty: Penalty, able: Plain, unable: Plain) -> None:
    plan = experiment().replace(penalties=(penalty,))
    with pytest.raises(UsageError, match=f"{penalty.name} cannot be had with the bottleneck {unable.name}") as fault:
        build(plan.replace(bottleneck=unable), Layout((6,)))
    assert f"bottleneck={able.name}" in fault.value.how
    build(plan.replace(bottleneck=able), Layout((6,)))
