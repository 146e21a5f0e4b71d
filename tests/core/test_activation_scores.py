"""The path of a reconstruction through the encoder: held to a Mahalanobis distance written with numpy."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hourglass.core.activation_scores import ActivationScorer
from hourglass.core.kinds import build, experiment
from hourglass.core.model import Autoencoder
from hourglass.core.networks.dense import Dense
from hourglass.core.networks.recurrent import Recurrent
from hourglass.data.samples import Layout

TABLE = Layout((5,))


def network(layout: Layout = TABLE, kind: str = "masked-cell", layers: tuple[int, ...] = (7, 6)) -> Autoencoder:
    torch.manual_seed(0)
    part = Dense(layers=layers, activation="silu") if len(layout.shape) == 1 else Recurrent()
    return build(experiment("table" if len(layout.shape) == 1 else "series", kind).replace(network=part), layout).eval()


def samples(rows: int, layout: Layout = TABLE, seed: int = 2) -> Tensor:
    return torch.randn(rows, *layout.shape, generator=torch.Generator().manual_seed(seed))


def outputs(model: Autoencoder, x: Tensor) -> list[np.ndarray]:
    """The sample, two hidden layers and the code, each by the layers themselves."""
    first, _, second, _, code = model.encoder.stack
    told = torch.cat([x, torch.zeros_like(x)], dim=1)
    one = nn.functional.silu(first(told))
    two = nn.functional.silu(second(one))
    return [each.double().numpy() for each in (x, one, two, code(two))]


@torch.no_grad()
def test_the_score_is_mahalanobis_of_what_reconstruction_changes_on_every_layer() -> None:
    model, train, new = network(), samples(400), samples(9, seed=5)
    scorer = ActivationScorer(ActivationScorer.learn(model, train, 0))

    def differences(x: Tensor) -> np.ndarray:
        pairs = zip(outputs(model, x), outputs(model, model.reconstruct(x)), strict=True)
        return np.concatenate([before - after for before, after in pairs], axis=1)

    seen = differences(train)
    deviation = seen.std(axis=0)
    correlation = np.cov(seen / deviation, rowvar=False, bias=True)
    share = len(deviation) / (len(deviation) + 400)
    shrunk = (1 - share) * correlation + share * np.eye(len(deviation))
    away = (differences(new) - seen.mean(axis=0)) / deviation
    expected = np.einsum("nc,cd,nd->n", away, np.linalg.inv(shrunk), away) / len(deviation)
    np.testing.assert_allclose(scorer(model, new), expected, rtol=1e-3)


@torch.no_grad()
def test_a_row_that_breaks_what_columns_have_in_common_is_the_oddest() -> None:
    cause = samples(500)[:, :1]
    model, train = network(), cause.repeat(1, 5) + 0.05 * samples(500, seed=3)
    scorer = ActivationScorer(ActivationScorer.learn(model, train, 0))
    broken = train[:20].clone()
    broken[7, 0] += 4
    assert int(scorer(model, broken).argmax()) == 7


@torch.no_grad()
@pytest.mark.parametrize("layout", [TABLE, Layout((12, 2))], ids=["dense", "recurrent"])
def test_missing_cells_and_few_rows_give_finite_scores(layout: Layout) -> None:
    model = network(layout) if layout is TABLE else network(layout, "denoising")
    holes = samples(3, layout)
    holes[0].view(-1)[0] = float("nan")
    holes[1] = float("nan")
    scorer = ActivationScorer(ActivationScorer.learn(model, holes, 0))
    assert bool(torch.isfinite(scorer(model, holes)).all())


def test_more_numbers_than_128_are_cut_to_as_many() -> None:
    state = ActivationScorer.learn(network(layers=(90, 80)), samples(50), 0)
    assert state["whitening"].shape == (5 + 90 + 80 + 2, 128)
    assert state["mean"].shape == (177,)
