"""The loss of complex spectrograms and the distortion of a signal: the written formulas, and finite slopes anywhere."""

import math

import pytest
import torch
from torch import Tensor

from hourglass.core.kinds import build, experiment
from hourglass.core.losses import CellLoss
from hourglass.core.model import Autoencoder
from hourglass.core.networks.convolution import Convolution
from hourglass.core.spectral import SignalDistortion, Spectral, bounded_ratio
from hourglass.data.samples import Layout
from hourglass.errors import UsageError

TILES = Layout((2, 6, 5))


def spectrograms(seed: int, rows: int = 4) -> Tensor:
    return torch.randn(rows, *TILES.shape, generator=torch.Generator().manual_seed(seed))


def built(**options: float) -> CellLoss:
    return Spectral(**options).build(TILES)


@pytest.mark.parametrize(("compression", "phase"), [(0.3, 0.3), (0.5, 0.0), (1.0, 1.0)])
def test_it_is_the_written_formula(compression: float, phase: float) -> None:
    y, x = spectrograms(0), spectrograms(1)
    cells = built(compression=compression, phase=phase).cells(y, x).reshape(y.shape)
    Y, X = torch.complex(*y.double().unbind(1)), torch.complex(*x.double().unbind(1))
    magnitude = (Y.abs() ** compression - X.abs() ** compression).square()
    both = torch.polar(Y.abs() ** compression, Y.angle()) - torch.polar(X.abs() ** compression, X.angle())
    wanted = (1 - phase) * magnitude + phase * both.abs().square()
    torch.testing.assert_close(cells.sum(1).double(), wanted, atol=2e-3, rtol=2e-3)
    real = phase * both.real.square() + (1 - phase) * magnitude / 2
    torch.testing.assert_close(cells[:, 0].double(), real, atol=2e-3, rtol=2e-3)


def test_one_with_all_of_its_phase_and_no_compression_is_the_squared_loss() -> None:
    y, x = spectrograms(0), spectrograms(1)
    cells = built(compression=1.0, phase=1.0).cells(y, x)
    torch.testing.assert_close(cells, (y - x).square().flatten(1))


def test_what_is_right_costs_nothing_and_everything_else_something() -> None:
    x = spectrograms(0)
    loss = built()
    assert loss.cells(x, x).abs().max() == 0
    assert (loss.cells(1.1 * x, x).sum(1) > 0).all()
    assert (loss.cells(-x, x).sum(1) > 0).all()
    assert torch.equal(loss.expectation(x), x)
    assert loss.constant() is None


def test_quiet_bins_count_beside_loud_ones() -> None:
    """The same relative error in bins 40 dB apart: 10,000 times apart when squared, 16 times when compressed."""
    loud, quiet = torch.ones(1, *TILES.shape), torch.full((1, *TILES.shape), 0.01)
    ratio = built().cells(2 * loud, loud).sum() / built().cells(2 * quiet, quiet).sum()
    assert 10 < ratio < 30


@pytest.mark.parametrize("scale", [0.0, 1e-30, 1e-6, 1.0, 1e6])
@pytest.mark.parametrize("wanted", [0.0, 1e-20, 1.0])
def test_slopes_are_finite_everywhere(scale: float, wanted: float) -> None:
    x = wanted * spectrograms(1)
    for function in (built().cells, lambda y, x: bounded_ratio(y.flatten(1), x.flatten(1))):
        y = (scale * spectrograms(0)).requires_grad_()
        value = function(y, x).sum()
        (slope,) = torch.autograd.grad(value, y)
        assert torch.isfinite(value)
        assert torch.isfinite(slope).all()


@pytest.mark.parametrize("shape", [(6,), (12, 2), (1, 6, 5), (3, 6, 5)], ids=str)
def test_other_samples_are_refused_by_name(shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match=r"spectral.*complex spectrograms"):
        Spectral().build(Layout(shape))


# How much noise is left


def test_the_ratio_is_that_of_signal_and_noise_whatever_the_level() -> None:
    x = spectrograms(1, 3).flatten(1)
    noise = spectrograms(2, 3).flatten(1)
    noise = noise - (noise * x).sum(1, keepdim=True) / x.square().sum(1, keepdim=True) * x
    noise = noise * (x.norm(dim=1) / noise.norm(dim=1))[:, None]
    for decibels in (-12.0, 0.0, 10.0):
        y = x + 10 ** (-decibels / 20) * noise
        wanted = torch.full((3,), decibels)
        torch.testing.assert_close(bounded_ratio(y, x), wanted, atol=0.1, rtol=0)
        torch.testing.assert_close(bounded_ratio(7 * y, x), bounded_ratio(y, x), atol=1e-3, rtol=0)
        torch.testing.assert_close(bounded_ratio(7 * y, 7 * x), bounded_ratio(y, x), atol=1e-3, rtol=0)


def test_the_ratio_is_flat_beyond_30_decibels() -> None:
    x = torch.eye(2)
    assert bounded_ratio(x, x).tolist() == pytest.approx([30, 30], abs=0.05)
    assert bounded_ratio(x.flip(0), x).tolist() == pytest.approx([-30, -30], abs=0.05)
    assert bounded_ratio(0 * x, x).tolist() == [0, 0]


def distortion(model: Autoencoder, x: Tensor) -> Tensor:
    penalty: Tensor = model.penalties[0](model, model(x))
    return penalty


def noisy_model(shape: tuple[int, ...]) -> Autoencoder:
    torch.manual_seed(0)
    plan = experiment("image").replace(network=Convolution(channels=(4,)), penalties=(SignalDistortion(weight=0.5),))
    return build(plan, Layout(shape)).eval()


def test_the_penalty_is_the_mean_over_samples_that_are_not_silent() -> None:
    model, x = noisy_model((1, 8, 8)), torch.randn(4, 1, 8, 8)
    ratios = bounded_ratio(model.reconstruct(x).flatten(1), x.flatten(1))
    assert distortion(model, x).item() == pytest.approx(-0.5 * ratios.mean().item(), rel=1e-5)
    x[1:3] = 1e-3
    two = bounded_ratio(model.reconstruct(x).flatten(1), x.flatten(1))[[0, 3]]
    assert distortion(model, x).item() == pytest.approx(-0.5 * two.mean().item(), rel=1e-5)
    assert distortion(model, 0 * x).item() == 0


def test_missing_numbers_are_no_distortion() -> None:
    model, x = noisy_model((1, 8, 8)), torch.randn(2, 1, 8, 8)
    x[0, 0, :4] = math.nan
    trace = model(x)
    given = trace.output.masked_fill(x.isnan(), 0.0)
    ratios = bounded_ratio(given.flatten(1), x.nan_to_num().flatten(1))
    assert distortion(model, x).item() == pytest.approx(-0.5 * ratios.mean().item(), rel=1e-5)
