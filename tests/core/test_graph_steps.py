"""The captured step against the autograd step, on a CUDA device; elsewhere only that it is never chosen."""

import pytest
import torch
from torch import Tensor

from hourglass.core import graph_steps, steps
from hourglass.core.bottlenecks import Gaussian
from hourglass.core.corruptions import Corruption, GaussianNoise, NoCorruption, ToldMasking
from hourglass.core.graph_steps import can_be_captured
from hourglass.core.kinds import build, experiment
from hourglass.core.model import Autoencoder
from hourglass.core.networks.dense import Dense
from hourglass.core.training import History, train
from hourglass.data.samples import Layout
from hourglass.errors import TrainingError
from hourglass.settings import Training

SIZE, SETTINGS = 6, Training(epochs=6, batch_size=20, learning_rate=0.02)
on_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device here")


def network(corruption: Corruption | None = None) -> Autoencoder:
    torch.manual_seed(0)
    plan = experiment(kind="deep").replace(network=Dense(layers=(8,)), corruption=corruption or NoCorruption())
    return build(plan, Layout((SIZE,)))


def samples(rows: int = 90) -> Tensor:
    return torch.randn(rows, SIZE, generator=torch.Generator().manual_seed(1))


def weights(model: Autoencoder) -> Tensor:
    return torch.cat([weight.detach().flatten().cpu() for weight in model.parameters()])


def trained(corruption: Corruption | None = None) -> tuple[History, Tensor]:
    """On the device; 90 rows leave a smaller last batch."""
    model = network(corruption).cuda()
    history = train(model, samples().cuda(), SETTINGS, samples(41).cuda())
    return history, weights(model)


def test_on_a_processor_nothing_is_captured() -> None:
    model = network()
    assert not can_be_captured(model, model.players(), samples())


@on_cuda
@pytest.mark.parametrize("corruption", [None, GaussianNoise(), ToldMasking()], ids=["none", "gaussian", "told masking"])
def test_it_trains_as_autograd_does(corruption: Corruption | None, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, reached = trained(corruption)
    monkeypatch.setattr(steps, "can_be_captured", lambda *given: False)
    theirs, expected = trained(corruption)
    assert (ours.step, theirs.step) == ("CUDA graph", "autograd")
    assert ours.validation[-1] == pytest.approx(theirs.validation[-1], rel=1e-4)
    torch.testing.assert_close(reached, expected, rtol=1e-3, atol=1e-4)


@on_cuda
def test_what_waits_for_the_device_is_left_to_autograd(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = network().cuda(), samples().cuda()
    model.corruption = lambda x, generator: (x * float(x.abs().max() < torch.inf), None)
    assert train(model, x, SETTINGS).step == "autograd"


@on_cuda
def test_what_breaks_off_the_capture_is_left_to_autograd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph_steps, "_WARM_UP", 0)  # so that nothing is refused before
    model, x = network().cuda(), samples().cuda()
    model.corruption = lambda x, generator: (x * float(x.abs().max() < torch.inf), None)
    assert train(model, x, SETTINGS).step == "autograd"


@on_cuda
def test_what_is_no_longer_finite_is_told() -> None:
    with pytest.raises(TrainingError):
        train(network().cuda(), torch.full((30, SIZE), torch.inf).cuda(), SETTINGS)


@on_cuda
def test_what_changes_from_step_to_step_is_not_captured() -> None:
    missing = samples().cuda()
    missing[3, 2] = torch.nan
    model = network().cuda()
    random = build(experiment(kind="variational").replace(bottleneck=Gaussian(size=2)), Layout((SIZE,))).cuda()
    assert can_be_captured(model, model.players(), samples().cuda())
    assert not can_be_captured(model, model.players(), missing)
    assert not can_be_captured(random, random.players(), samples().cuda())
