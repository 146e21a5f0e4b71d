"""Paths and planes through the codes."""

import pytest
import torch
from torch.distributions import Normal

from hourglass.core.latent_space import between, plane, principal_directions


def test_a_straight_path_holds_both_ends_and_even_steps() -> None:
    codes = torch.tensor([[0.0, 0.0], [3.0, 6.0], [3.0, 0.0]])
    path = between(codes, 4, spherical=False)
    torch.testing.assert_close(path[:4], torch.tensor([[0.0, 0], [1, 2], [2, 4], [3, 6]]))
    torch.testing.assert_close(path[4:], torch.tensor([[3.0, 6], [3, 4], [3, 2], [3, 0]]))


def test_an_arc_keeps_the_length_and_turns_evenly() -> None:
    codes = torch.tensor([[2.0, 0.0], [0.0, 2.0]])
    angles = torch.linspace(0, torch.pi / 2, 5)
    expected = 2 * torch.stack([angles.cos(), angles.sin()], dim=1)
    torch.testing.assert_close(between(codes, 5, spherical=True), expected)


@pytest.mark.parametrize("end", [[1.0, 0.0], [-1.0, 0.0], [2.0, 0.0]])
def test_where_there_is_no_arc_the_way_is_straight(end: list[float]) -> None:
    codes = torch.tensor([[1.0, 0.0], end])
    torch.testing.assert_close(between(codes, 6, spherical=True), between(codes, 6, spherical=False))


def test_one_step_is_the_start() -> None:
    codes = torch.randn(3, 4)
    torch.testing.assert_close(between(codes, 1, spherical=False), codes[:-1])


def test_the_directions_are_those_of_principal_components() -> None:
    generator = torch.Generator().manual_seed(0)
    codes = torch.randn(500, 5, generator=generator, dtype=torch.float64) * torch.tensor([0.1, 3.0, 0.2, 1.5, 0.1])
    directions = principal_directions(codes + 7)
    torch.testing.assert_close(directions, torch.eye(5, dtype=torch.float64)[[1, 3]], rtol=0, atol=0.05)
    assert torch.equal(principal_directions(torch.randn(9, 2)), torch.eye(2))
    assert principal_directions(torch.eye(2, 4)).shape == (2, 4)


def test_the_grid_lies_at_the_quantiles_of_the_draws() -> None:
    draws = torch.randn(50_000, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2 + 1
    grid = plane(draws, torch.zeros(2, dtype=torch.float64), torch.eye(2, dtype=torch.float64), 5).reshape(5, 5, 2)
    expected = 1 + 2 * Normal(0.0, 1.0).icdf((torch.arange(5) + 0.5) / 5).double()
    torch.testing.assert_close(grid[0, :, 0], expected, rtol=0, atol=0.05)
    torch.testing.assert_close(grid[:, 2, 1], expected.flip(0), rtol=0, atol=0.05)  # drawn upwards, as axes are
    assert (grid[1:, :, 0] == grid[0, :, 0]).all()


def test_the_grid_spans_the_directions_through_the_centre() -> None:
    draws = torch.randn(1_000, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    directions = torch.eye(4, dtype=torch.float64)[[3, 1]]
    centre = torch.tensor([9.0, 0.0, 8.0, 0.0], dtype=torch.float64)
    grid = plane(draws, centre, directions, 3)
    assert (grid[:, [0, 2]] == centre[[0, 2]]).all()
    assert (grid[:, [1, 3]].std(0) > 0.5).all()
