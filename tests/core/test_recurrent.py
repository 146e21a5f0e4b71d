"""Recurrent networks: what is read and written at each step."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from hourglass.core.kinds import build, experiment, latent_size
from hourglass.core.networks.recurrent import Recurrent
from hourglass.data.samples import Layout
from hourglass.errors import UsageError

SHAPES = [(12, 2), (1, 1), (3, 7, 5), (1, 1, 4)]
SETTINGS = [Recurrent(width=8), Recurrent(width=8, cell="lstm", layers=2, bidirectional=False)]


def built(
    settings: Recurrent, shape: tuple[int, ...], hidden: int = 5, code: int = 5, told: bool = False
) -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    return settings.build(Layout(shape), hidden, code, told)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("settings", SETTINGS, ids=["gru", "lstm"])
@pytest.mark.parametrize("told", [False, True])
def test_samples_of_any_size_come_back_in_it_and_every_weight_learns(
    settings: Recurrent, shape: tuple[int, ...], told: bool
) -> None:
    encoder, decoder = built(settings, shape, hidden=10, told=told)
    x, mask = torch.randn(6, *shape), torch.rand(6, *shape) < 0.3
    hidden = encoder(x, mask)
    output = decoder(hidden[:, :5])
    assert hidden.shape == (6, 10)
    assert output.shape == x.shape
    (output.square().sum() + hidden.sum()).backward()
    weights = [*encoder.parameters(), *decoder.parameters()]
    assert all(weight.grad is not None and torch.isfinite(weight.grad).all() for weight in weights)


@pytest.mark.parametrize("settings", [Recurrent(width=8, layers=2), SETTINGS[1]], ids=["gru", "lstm"])
def test_the_code_is_read_off_each_directions_last_state(settings: Recurrent) -> None:
    encoder, _ = built(settings, (9, 2))
    x = torch.randn(4, 9, 2)
    _, state = encoder.read(x)  # type: ignore[operator]
    state = state[0] if isinstance(state, tuple) else state
    last = torch.cat([*state[-2:]], dim=1) if settings.bidirectional else state[-1]
    torch.testing.assert_close(encoder(x, None), encoder.head(last))  # type: ignore[operator]


def test_a_picture_is_the_series_of_its_rows() -> None:
    pictures, writer = built(SETTINGS[0], (3, 7, 5))
    series, other = built(SETTINGS[0], (7, 15))
    x = torch.randn(4, 3, 7, 5)
    rows = torch.stack([x[:, :, row].flatten(1) for row in range(7)], dim=1)
    code = pictures(x, None)
    torch.testing.assert_close(code, series(rows, None))
    written = writer(code)
    as_rows = torch.stack([written[:, :, row].flatten(1) for row in range(7)], dim=1)
    torch.testing.assert_close(as_rows, other(code))


def test_a_told_encoder_reads_the_mask_and_none_means_nothing_hidden() -> None:
    encoder, _ = built(SETTINGS[0], (12, 2), told=True)
    x, nothing = torch.randn(2, 12, 2), torch.zeros(2, 12, 2, dtype=torch.bool)
    assert torch.equal(encoder(x, None), encoder(x, nothing))
    assert not torch.equal(encoder(x, None), encoder(x, ~nothing))


@pytest.mark.parametrize("settings", SETTINGS, ids=["gru", "lstm"])
def test_a_row_does_not_depend_on_its_batch(settings: Recurrent) -> None:
    encoder, decoder = built(settings, (12, 2))
    x = torch.randn(64, 12, 2)
    with torch.inference_mode():
        whole = encoder(x, None)
        torch.testing.assert_close(encoder(x.flip(0), None).flip(0), whole, rtol=1e-7, atol=1e-7)
        torch.testing.assert_close(decoder(whole[:3]), decoder(whole)[:3], rtol=1e-5, atol=1e-6)


def test_a_few_samples_can_be_learned_by_heart() -> None:
    both = nn.ModuleList(built(Recurrent(width=32), (12, 2), 16, 16))
    x = torch.randn(8, 12, 2)
    optimizer = torch.optim.Adam(both.parameters(), lr=2e-2)
    for _ in range(150):
        loss = functional.mse_loss(both[1](both[0](x, None)), x)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1


@pytest.mark.parametrize("kind", ["recurrent", "denoising+recurrent", "contractive+recurrent", "recurrent+variational"])
@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_kinds_with_it_give_finite_terms_codes_and_gradients(kind: str, cell: str) -> None:
    plan = experiment("series", kind).replace(network=Recurrent(width=8, cell=cell))
    layout = Layout((20, 2))
    model = build(plan, layout)
    x = torch.rand(5, 20, 2)
    x[0, 0] = torch.nan
    terms = model.terms(x, torch.Generator().manual_seed(0))
    assert all(torch.isfinite(term) for term in terms.values())
    torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]
    assert torch.isfinite(model.encoder.head.weight.grad).all()
    assert model.encode(x).shape == (5, latent_size(plan, layout))


def test_a_table_is_refused_by_name() -> None:
    with pytest.raises(UsageError, match=r"recurrent.*takes series or pictures.*a table"):
        build(experiment("table", "recurrent"), Layout((6,)))
