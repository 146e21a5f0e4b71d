"""Convolutional networks: the layers that were asked for, any size of sample, and what the code is."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from hourglass.core.kinds import build, experiment, latent_size
from hourglass.core.networks.convolution import Convolution
from hourglass.core.networks.grids import CONVOLUTION, Enlarging, channels_by_rule
from hourglass.data.samples import Layout
from hourglass.errors import UsageError

DIGITS = Layout((1, 28, 28))
ROW_7 = Convolution(channels=(16, 8), code="map", output="sigmoid", initialisation="normal")
ROW_12 = Convolution(channels=(32, 64, 128), code="map", up="transposed", output="sigmoid")
SHAPES = [(1, 28, 28), (3, 7, 13), (2, 1, 10), (1, 1, 1), (140, 1), (9, 3), (1, 2)]
SETTINGS = [
    Convolution(),
    Convolution(down="stride", up="transposed"),
    Convolution(residual=True, kernel=5, activation="silu"),
    Convolution(code="map", channels=(4,), up="transposed", residual=True),
]


def built(
    settings: Convolution, layout: Layout, code: int = 5, heads: int = 1, told: bool = False
) -> tuple[nn.Module, nn.Module, int]:
    torch.manual_seed(0)
    code = settings.code_size(layout) or code
    return *settings.build(layout, heads * code, code, told), code


@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("sides", [(7,), (1,), (5, 4)], ids=str)
def test_enlarging_repeats_every_place_and_then_convolves(sides: tuple[int, ...], kernel: int) -> None:
    torch.manual_seed(0)
    convolution = CONVOLUTION[len(sides)](3, 2, kernel, padding=kernel // 2).double()
    maps = torch.randn(4, 3, *sides, dtype=torch.float64, requires_grad=True)
    apart = convolution(functional.interpolate(maps, scale_factor=2))
    together = Enlarging(convolution)(maps)
    torch.testing.assert_close(together, apart, rtol=1e-12, atol=1e-12)
    wanted = [maps, convolution.weight, convolution.bias]
    pull = torch.randn_like(apart)
    gradients = [torch.autograd.grad(each, wanted, pull) for each in (apart, together)]
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-12, atol=1e-12)


def count(module: nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters())


def layers(module: nn.Module) -> list[str]:
    """Names of the layers that do something, in order, with the channels of convolutions."""
    leaves = [part for part in module.modules() if not list(part.children())]
    return [
        f"{type(part).__name__} {part.in_channels}-{part.out_channels}"
        if hasattr(part, "in_channels")
        else type(part).__name__
        for part in leaves
        if not isinstance(part, nn.Flatten | nn.Unflatten)
    ]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("settings", SETTINGS, ids=["default", "strided", "residual", "map"])
@pytest.mark.parametrize("told", [False, True])
def test_samples_of_any_size_come_back_in_it_and_every_weight_learns(
    settings: Convolution, shape: tuple[int, ...], told: bool
) -> None:
    encoder, decoder, code = built(settings, Layout(shape), heads=2, told=told)
    x, mask = torch.randn(6, *shape), torch.rand(6, *shape) < 0.3
    hidden = encoder(x, mask)
    assert hidden.shape == (6, 2 * code)
    output = decoder(hidden[:, :code])
    assert output.shape == x.shape
    (output.square().sum() + hidden.sum()).backward()
    weights = [*encoder.parameters(), *decoder.parameters()]
    assert all(weight.grad is not None and torch.isfinite(weight.grad).all() for weight in weights)


def test_row_7_is_the_notes_architecture() -> None:
    encoder, decoder, code = built(ROW_7, DIGITS)
    assert layers(encoder) == ["Conv2d 1-16", "ReLU", "MaxPool2d", "Conv2d 16-8", "ReLU", "MaxPool2d"]
    assert layers(decoder) == [
        *["Conv2d 8-8", "ReLU", "Conv2d 8-16", "ReLU"],  # both double the sides first
        *["Conv2d 16-1", "Sigmoid"],
    ]
    assert code == 8 * 7 * 7
    assert count(encoder) == 9 * (16 + 16 * 8) + 16 + 8
    assert count(decoder) == 9 * (8 * 8 + 8 * 16 + 16) + 8 + 16 + 1
    first = next(encoder.parameters())
    assert first.std().item() == pytest.approx(0.05, rel=0.2)


def test_row_12_is_the_notes_architecture() -> None:
    encoder, decoder, code = built(ROW_12, Layout((1, 64, 64)))
    assert layers(encoder)[::3] == ["Conv2d 1-32", "Conv2d 32-64", "Conv2d 64-128"]
    assert layers(decoder) == [
        *["ConvTranspose2d 128-64", "ReLU", "ConvTranspose2d 64-32", "ReLU"],
        *["ConvTranspose2d 32-1", "Sigmoid"],
    ]
    assert code == 128 * 8 * 8
    assert count(decoder) == 9 * (128 * 64 + 64 * 32 + 32) + 64 + 32 + 1


def test_the_network_is_the_written_formula() -> None:
    encoder, decoder, _ = built(Convolution(channels=(4,), output="sigmoid"), DIGITS)
    x = torch.randn(3, 1, 28, 28)
    w, b, v, c = encoder.parameters()
    maps = functional.max_pool2d(functional.conv2d(x, w, b, padding=1).relu(), 2)
    code = functional.linear(maps.flatten(1), v, c)
    torch.testing.assert_close(encoder(x, None), code)
    torch.testing.assert_close(encoder.features(x, None), [maps])  # type: ignore[operator]
    w, b, v, c, last, bias = decoder.parameters()
    maps = functional.linear(code, w, b).relu().reshape(3, 4, 14, 14)
    maps = functional.conv2d(maps.repeat_interleave(2, 2).repeat_interleave(2, 3), v, c, padding=1).relu()
    torch.testing.assert_close(decoder(code), functional.conv2d(maps, last, bias, padding=1).sigmoid())


def test_a_series_is_the_picture_of_one_column_with_its_channels_last() -> None:
    """1-d convolutions are the middle column of 2-d kernels on pictures one pixel wide (up to pooling: strided)."""
    settings = Convolution(channels=(6,), down="stride", kernel=3)
    series, _, _ = built(settings, Layout((12, 2)))
    x = torch.randn(4, 12, 2)
    w, b, v, c = series.parameters()
    kernel = torch.zeros(6, 2, 3, 3)
    kernel[:, :, :, 1] = w.detach()
    maps = functional.conv2d(x.transpose(1, 2)[..., None], kernel, b, stride=(2, 1), padding=1).relu()
    torch.testing.assert_close(series(x, None), functional.linear(maps.flatten(1), v, c))


def test_features_halve_the_sides_and_leave_the_padding_out() -> None:
    encoder, _, _ = built(Convolution(channels=(4, 8, 16)), Layout((1, 9, 20)))
    x = torch.randn(2, 1, 9, 20)
    maps = encoder.features(x, None)  # type: ignore[operator]
    assert [each.shape[1:] for each in maps] == [(4, 5, 10), (8, 3, 5), (16, 2, 3)]


def test_a_told_encoder_reads_the_mask_and_none_means_nothing_hidden() -> None:
    encoder, _, _ = built(Convolution(), DIGITS, told=True)
    x, nothing = torch.randn(2, 1, 28, 28), torch.zeros(2, 1, 28, 28, dtype=torch.bool)
    assert torch.equal(encoder(x, None), encoder(x, nothing))
    assert not torch.equal(encoder(x, None), encoder(x, ~nothing))


@pytest.mark.parametrize("shape", [(1, 16, 16), (30, 2)], ids=str)
def test_a_row_does_not_depend_on_its_batch(shape: tuple[int, ...]) -> None:
    encoder, decoder, _ = built(Convolution(residual=True), Layout(shape))
    x = torch.randn(64, *shape)
    with torch.inference_mode():
        whole, alone = encoder(x, None), encoder(x.flip(0), None).flip(0)
        torch.testing.assert_close(alone, whole, rtol=1e-7, atol=1e-7)
        torch.testing.assert_close(decoder(whole[:3]), decoder(whole)[:3], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 8, 8), (12, 2)], ids=str)
@pytest.mark.parametrize("settings", [Convolution(), Convolution(code="map", channels=(16,))], ids=["dense", "map"])
def test_a_few_samples_can_be_learned_by_heart(settings: Convolution, shape: tuple[int, ...]) -> None:
    encoder, decoder, _ = built(settings.replace(activation="silu"), Layout(shape), code=16)
    both = nn.ModuleList([encoder, decoder])
    x = torch.randn(8, *shape)
    optimizer = torch.optim.Adam(both.parameters(), lr=1e-2)
    for _ in range(120):
        loss = functional.mse_loss(decoder(encoder(x, None)), x)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1


@pytest.mark.parametrize("kind", ["convolutional", "denoising+convolutional", "convolutional+variational"])
@pytest.mark.parametrize("shape", [(1, 12, 12), (20, 2)], ids=str)
@pytest.mark.parametrize("code", ["dense", "map"])
def test_kinds_with_it_give_finite_terms_and_codes_of_the_size_they_say(
    kind: str, shape: tuple[int, ...], code: str
) -> None:
    plan = experiment("series", kind)
    plan = plan.replace(network=plan.network.replace(code=code))
    model = build(plan, Layout(shape))
    x = torch.rand(5, *shape)
    x[0, 0] = torch.nan
    assert all(torch.isfinite(term) for term in model.terms(x, torch.Generator().manual_seed(0)).values())
    assert model.encode(x).shape == (5, latent_size(plan, Layout(shape)))
    assert model.reconstruct(x).shape == x.shape


def test_a_map_fixes_the_size_of_the_code_and_another_is_refused() -> None:
    plan = experiment("series").replace(network=ROW_7)
    assert latent_size(plan, DIGITS) == 392
    same, other = (plan.replace(bottleneck=plan.bottleneck.replace(size=size)) for size in (392, 32))
    assert latent_size(same, DIGITS) == 392
    with pytest.raises(UsageError, match=r"392.*32"):
        build(other, DIGITS)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (Convolution(channels=()), "0 stages"),
        (Convolution(channels=(4,) * 6), "6 stages for samples of 28 x 28, wanted 1 to 5"),
        (Convolution(kernel=4), "odd"),
    ],
)
def test_what_cannot_be_is_refused(settings: Convolution, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        settings.build(DIGITS, 4, 4, told=False)


def test_a_table_is_refused_by_name() -> None:
    with pytest.raises(UsageError, match=r"convolution.*takes series or pictures.*a table"):
        build(experiment("table", "convolutional"), Layout((6,)))


@pytest.mark.parametrize("sides", [(1,), (7,), (8,), (28, 28), (140,), (64, 200), (3, 512)])
def test_stages_by_rule_leave_four_numbers_a_side_where_there_are(sides: tuple[int, ...]) -> None:
    stages = len(channels_by_rule(sides))
    assert 1 <= stages <= 4
    assert stages == 1 or min(sides) / 2**stages >= 4
    assert stages == 4 or min(sides) / 2**stages < 8


@pytest.mark.parametrize("up", ["upsample", "transposed"])
def test_the_output_begins_where_the_last_bias_says(up: str) -> None:
    settings = Convolution(channels=(8, 4), up=up, output="sigmoid", initialisation="kaiming", last_bias=-3.0)
    _, decoder, code = built(settings, DIGITS)
    torch.testing.assert_close(decoder(torch.zeros(1, code)), torch.full((1, 1, 28, 28), -3.0).sigmoid())
