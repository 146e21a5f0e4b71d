"""Active and dead code numbers of networks whose codes are known."""

import torch

from hourglass.core.bottlenecks import Gaussian, TopK
from hourglass.core.kinds import build, experiment
from hourglass.core.model import Autoencoder
from hourglass.core.networks.dense import Dense
from hourglass.core.units import active_units, dead_units, unit_report
from hourglass.data.samples import Layout


def scaled(bottleneck: Gaussian | TopK, *scales: float) -> Autoencoder:
    """An encoder whose code numbers are the sample's, each times its scale."""
    plan = experiment(kind="plain").replace(network=Dense(layers=()), bottleneck=bottleneck)
    model = build(plan, Layout((len(scales),))).eval()
    with torch.no_grad():
        model.encoder.stack[0].weight.zero_()
        model.encoder.stack[0].weight[: len(scales)] = torch.diag(torch.tensor(scales))
        model.encoder.stack[0].bias.fill_(0.3)
    return model


def samples(rows: int = 6_000, size: int = 4) -> torch.Tensor:
    return torch.randn(rows, size, generator=torch.Generator().manual_seed(0))


def test_a_unit_is_active_where_its_posterior_mean_varies_by_more_than_a_hundredth() -> None:
    model = scaled(Gaussian(size=4), 1.0, 0.12, 0.08, 0.0)
    assert active_units(model, samples()).tolist() == [True, True, False, False]


def test_a_unit_is_dead_where_it_never_moves_beside_the_liveliest() -> None:
    assert dead_units(scaled(Gaussian(size=4), 50.0, 1.0, 0.1, 0.0), samples()).tolist() == [False, False, True, True]


def test_units_that_never_fire_are_dead() -> None:
    model = scaled(TopK(size=4, k=1), 1.0, 1.0, 1.0, 1.0)
    with torch.no_grad():
        model.encoder.stack[0].bias[2] = -100.0
    assert dead_units(model, samples()).tolist() == [False, False, True, False]


def test_a_report_counts_the_active_of_drawn_codes_and_the_dead_of_others() -> None:
    assert unit_report(scaled(Gaussian(size=4), 1.0, 0.12, 0.08, 0.0), samples()) == {"active": 2}
    model = scaled(TopK(size=4, k=1), 1.0, 1.0, 1.0, 1.0)
    with torch.no_grad():
        model.encoder.stack[0].bias[2] = -100.0
    assert unit_report(model, samples()) == {"dead": 1}
