"""A flow is a density (it integrates to one) and invertible, and it learns what a normal distribution cannot say."""

import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from hourglass.core.flows import CouplingFlow, FlowDensity
from hourglass.core.training import train
from hourglass.settings import Training


def ring(rows: int, seed: int = 0) -> Tensor:
    """Codes (rows, 2) around a circle: their mean lies where there are none."""
    generator = torch.Generator().manual_seed(seed)
    angle = 2 * torch.pi * torch.rand(rows, generator=generator, dtype=torch.float64)
    radius = 3 + 0.2 * torch.randn(rows, generator=generator, dtype=torch.float64)
    return torch.stack([10 + radius * angle.cos(), radius * angle.sin()], dim=1)


def shaken(size: int, scale: float = 0.3) -> CouplingFlow:
    """A flow with weights at random, so that it does something."""
    torch.manual_seed(0)
    flow = CouplingFlow(size, couplings=4, width=16)
    flow.whiten(torch.randn(100, size, dtype=torch.float64) * 2 + 1)
    for weight in flow.parameters():
        torch.nn.init.normal_(weight, std=scale)
    return flow


@pytest.mark.parametrize("size", [2, 3, 7])
def test_the_inverse_undoes_the_flow(size: int) -> None:
    flow, codes = shaken(size), 3 * torch.randn(50, size, dtype=torch.float64)
    white, _ = flow(codes)
    torch.testing.assert_close(flow.inverse(white), codes, rtol=1e-3, atol=1e-3)
    assert (white - codes).abs().max() > 0.5


@pytest.mark.parametrize("size", [2, 5])
def test_the_determinant_is_that_of_the_jacobian(size: int) -> None:
    flow, code = shaken(size), torch.randn(1, size, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda x: flow(x)[0][0].double(), code)[:, 0]
    torch.testing.assert_close(flow(code)[1].double()[0], jacobian.det().abs().log(), rtol=1e-3, atol=1e-4)


def test_the_density_integrates_to_one() -> None:
    flow = shaken(2)
    side = torch.linspace(-30, 32, 700, dtype=torch.float64)
    grid = torch.cartesian_prod(side, side)
    with torch.no_grad():
        mass = flow.log_density(grid).double().exp().sum() * (side[1] - side[0]) ** 2
    assert float(mass) == pytest.approx(1, abs=5e-3)


def test_an_untrained_flow_is_the_normal_distribution_of_the_codes() -> None:
    codes = ring(400)
    flow = CouplingFlow(2, couplings=3, width=8)
    flow.whiten(codes, ridge=0.0)
    normal = MultivariateNormal(codes.mean(0), codes.mT.cov(correction=0))
    torch.testing.assert_close(flow.log_density(codes).double(), normal.log_prob(codes), rtol=1e-4, atol=1e-4)


def test_the_one_loop_trains_it_to_see_a_ring() -> None:
    codes, others = ring(1_500), ring(500, 1)
    torch.manual_seed(0)
    flow = CouplingFlow(2, couplings=6, width=32)
    flow.whiten(codes)
    with torch.no_grad():
        before = float(flow.log_density(others).mean())
    train(flow, codes, Training(epochs=25, learning_rate=5e-3), others)
    with torch.no_grad():
        assert float(flow.log_density(others).mean()) > before + 0.6
    state = {name: tensor.clone() for name, tensor in flow.state_dict().items()}
    draws = FlowDensity(state, CouplingFlow(2, 6, 32)).draw(1_000, torch.Generator().manual_seed(0))
    radius = (draws - torch.tensor([10.0, 0.0])).norm(dim=1)
    assert float((radius < 1.5).double().mean()) < 0.06  # of the normal distribution of the same codes: 0.22


def test_a_state_of_another_size_is_refused() -> None:
    with pytest.raises(RuntimeError):
        FlowDensity(dict(CouplingFlow(3, 4, 16).state_dict()), CouplingFlow(2, 4, 16))
