"""Dense networks: their shapes, their sharing, their first weights."""

import math
from itertools import pairwise

import pytest
import torch
from torch import nn

from hourglass.core.networks.dense import Dense
from hourglass.data.samples import Layout
from hourglass.errors import UsageError


def linears(module: nn.Module) -> list[tuple[int, int]]:
    """(inputs, outputs) of each linear layer."""
    return [(layer.in_features, layer.out_features) for layer in module.modules() if isinstance(layer, nn.Linear)]


def built(
    settings: Dense, size: int = 10, hidden: int = 3, code: int = 3, told: bool = False
) -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    return settings.build(Layout((size,)), hidden, code, told)


def test_layers_are_as_asked_and_mirrored() -> None:
    encoder, decoder = built(Dense(layers=(64, 32)), 140, 16, 16)
    assert linears(encoder) == [(140, 64), (64, 32), (32, 16)]
    assert linears(decoder) == [(16, 32), (32, 64), (64, 140)]
    parameters = sum(weight.numel() for part in (encoder, decoder) for weight in part.parameters())
    widths = [140, 64, 32, 16, 32, 64, 140]
    assert parameters == sum((a + 1) * b for a, b in pairwise(widths))


def test_no_layers_is_one_layer_each_way() -> None:
    encoder, decoder = built(Dense(layers=()))
    assert linears(encoder) == [(10, 3)]
    assert linears(decoder) == [(3, 10)]


def test_the_network_is_the_written_formula() -> None:
    encoder, decoder = built(Dense(layers=(4,), activation="tanh", output="sigmoid"))
    x = torch.randn(5, 10)
    (w1, b1, w2, b2), (v1, c1, v2, c2) = encoder.parameters(), decoder.parameters()
    code = (x @ w1.T + b1).tanh() @ w2.T + b2
    torch.testing.assert_close(encoder(x, None), code)
    torch.testing.assert_close(decoder(code), ((code @ v1.T + c1).tanh() @ v2.T + c2).sigmoid())


def test_samples_of_any_shape_come_back_in_it() -> None:
    encoder, decoder = Dense(layers=(8,)).build(Layout((4, 3, 2)), 5, 5, told=False)
    code = encoder(torch.randn(7, 4, 3, 2), None)
    assert code.shape == (7, 5)
    assert decoder(code).shape == (7, 4, 3, 2)


def test_a_told_encoder_reads_the_mask_and_none_means_nothing_hidden() -> None:
    encoder, decoder = built(Dense(layers=(4,)), told=True)
    assert linears(encoder)[0] == (20, 4)
    assert linears(decoder)[-1] == (4, 10)
    x, nothing = torch.randn(2, 10), torch.zeros(2, 10, dtype=torch.bool)
    assert torch.equal(encoder(x, None), encoder(x, nothing))
    assert not torch.equal(encoder(x, None), encoder(x, ~nothing))


@pytest.mark.parametrize(("hidden", "told"), [(3, False), (6, False), (3, True), (6, True)])
def test_tied_weights_are_the_encoders_transposed(hidden: int, told: bool) -> None:
    """`hidden` 6 for a code of 3: the second head of a variational code is not mirrored; nor is the mask."""
    encoder, decoder = built(Dense(layers=(4,), activation="linear", tied=True), hidden=hidden, told=told)
    first, second = (layer.weight for layer in encoder.modules() if isinstance(layer, nn.Linear))
    code = torch.randn(5, 3)
    torch.testing.assert_close(decoder(code), code @ second[:3] @ first[:, :10])
    both = nn.ModuleList([encoder, decoder])
    mirrored = sum(weight.numel() for weight in encoder.parameters()) + 4 + 10  # and the decoder's biases
    assert sum(weight.numel() for weight in both.parameters()) == mirrored


def test_tied_weights_stay_tied_while_training() -> None:
    encoder, decoder = built(Dense(layers=(), tied=True))
    both = nn.ModuleList([encoder, decoder])
    optimizer = torch.optim.SGD(both.parameters(), lr=0.1)
    decoder(encoder(torch.randn(6, 10), None)).square().sum().backward()
    optimizer.step()
    storages = {weight.data_ptr() for weight in both.state_dict().values() if weight.dim() == 2}
    assert len(storages) == 1


@pytest.mark.parametrize(
    ("name", "deviation"),
    [
        ("default", 1 / math.sqrt(3 * 400)),
        ("xavier", math.sqrt(2 / (400 + 300))),
        ("kaiming", math.sqrt(2 / 400)),
        ("normal", 0.02),
    ],
)
def test_first_weights_have_the_papers_deviation(name: str, deviation: float) -> None:
    encoder, _ = built(Dense(layers=(300,), initialisation=name, deviation=0.02), 400)
    weight, bias = list(encoder.parameters())[:2]
    assert weight.mean().item() == pytest.approx(0, abs=5 * deviation / weight.numel() ** 0.5)
    assert weight.std().item() == pytest.approx(deviation, rel=0.02)
    assert (bias == 0).all() == (name != "default")


@pytest.mark.parametrize("in_decoder", [True, False])
def test_dropout_is_for_training_only(in_decoder: bool) -> None:
    encoder, decoder = built(Dense(layers=(40,), dropout=0.5, decoder_dropout=in_decoder))
    x, code = torch.randn(4, 10), torch.randn(4, 3)
    assert not torch.equal(encoder(x, None), encoder(x, None))
    assert torch.equal(decoder(code), decoder(code)) != in_decoder
    encoder.eval()
    decoder.eval()
    assert torch.equal(encoder(x, None), encoder(x, None))
    assert torch.equal(decoder(code), decoder(code))


def test_dropout_spares_the_code() -> None:
    encoder, _ = built(Dense(layers=(40,), dropout=0.9))
    assert (encoder(torch.randn(100, 10), None) != 0).all()


def test_the_columns_of_a_decoder_of_unit_norm_have_length_1_whatever_its_weights() -> None:
    _, decoder = built(Dense(layers=(40,), unit_norm=True))
    last = decoder.stack[-1]  # type: ignore[index]
    with torch.no_grad():
        last.weight.mul_(7.0)  # type: ignore[union-attr,operator]
    hidden = torch.eye(40)
    columns = last(hidden) - last(0 * hidden)  # type: ignore[operator]
    torch.testing.assert_close(columns.norm(dim=1), torch.ones(40))
    assert set(decoder.state_dict()) == set(built(Dense(layers=(40,)))[1].state_dict())


def test_a_decoder_is_not_both_tied_and_of_unit_norm() -> None:
    with pytest.raises(UsageError, match="both tied and of unit norm"):
        built(Dense(layers=(40,), unit_norm=True, tied=True))
