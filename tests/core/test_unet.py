"""U-nets: any size of sample, what passes the code and what goes past it, and what a mask sees and does."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from hourglass.core.bottlenecks import Gaussian
from hourglass.core.corruptions import ToldMasking
from hourglass.core.kinds import build, experiment, latent_size
from hourglass.core.model import Autoencoder
from hourglass.core.networks.floors import NoiseFloors
from hourglass.core.networks.unet import UNet
from hourglass.core.penalties import DeadUnits
from hourglass.data.samples import Layout
from hourglass.errors import UsageError
from hourglass.settings import Detection

SHAPES = [(1, 28, 28), (3, 7, 13), (2, 1, 10), (1, 1, 1), (140, 1), (9, 3), (1, 2), (2, 12, 20)]
SMALL = UNet(channels=(4, 6), depth=1)
TILES = Layout((2, 12, 20))


def built(settings: UNet, layout: Layout, told: bool = False) -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    return settings.build(layout, 10, 5, told)


def model_of(settings: UNet, shape: tuple[int, ...], **parts: object) -> Autoencoder:
    torch.manual_seed(0)
    return build(experiment("series").replace(network=settings, **parts), Layout(shape)).eval()


def spectrograms(rows: int = 3, seed: int = 0) -> Tensor:
    return torch.randn(rows, *TILES.shape, generator=torch.Generator().manual_seed(seed))


def mean_level(x: Tensor) -> Tensor:
    return x.square().sum(1).log().mean(2, keepdim=True) / 3


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("head", ["values", "residual", "mask"])
@pytest.mark.parametrize("told", [False, True])
@pytest.mark.parametrize("fold", [1, 2])
def test_samples_of_any_size_come_back_in_it_and_every_weight_learns(
    shape: tuple[int, ...], head: str, told: bool, fold: int
) -> None:
    if head == "mask" and not Layout(shape).complex:
        return
    settings = (UNet() if min(shape[-2:]) < 9 else SMALL).replace(head=head, fold=fold)
    encoder, decoder = built(settings, Layout(shape), told)
    x, mask = torch.randn(6, *shape), torch.rand(6, *shape) < 0.3
    hidden, skips = encoder.with_skips(x, mask)  # type: ignore[operator]
    assert hidden.shape == (6, 10)
    assert torch.equal(encoder(x, mask), hidden)
    output = decoder(hidden[:, :5], *skips)
    assert output.shape == x.shape
    (output.square().sum() + hidden.sum()).backward()
    weights = [*encoder.parameters(), *decoder.parameters()]
    assert all(weight.grad is not None and torch.isfinite(weight.grad).all() for weight in weights)


def test_it_is_the_written_formula() -> None:
    encoder, decoder = built(UNet(channels=(4,), depth=1, head="values"), Layout((1, 8, 6)))
    x = torch.randn(3, 1, 8, 6)

    def stage(maps: Tensor, w: Tensor, b: Tensor) -> Tensor:
        return functional.leaky_relu(functional.conv2d(maps, w, b, padding=1), 0.1)

    first, first_bias, bottom, bottom_bias, inward, inward_bias = encoder.parameters()
    own = stage(x, first, first_bias)
    below = stage(functional.max_pool2d(own, 2), bottom, bottom_bias)
    code, skips = encoder.with_skips(x, None)  # type: ignore[operator]
    torch.testing.assert_close(code, functional.linear(below.mean((2, 3)), inward, inward_bias))
    weights = dict(decoder.named_parameters())
    below = below + functional.linear(code[:, :5], weights["outward.weight"], weights["outward.bias"])[:, :, None, None]
    joined = torch.cat([below.repeat_interleave(2, 2).repeat_interleave(2, 3), own], 1)
    maps = stage(joined, weights["stages.0.0.weight"], weights["stages.0.0.bias"])
    wanted = functional.conv_transpose2d(maps, weights["last.weight"], weights["last.bias"])
    torch.testing.assert_close(decoder(code[:, :5], *skips), wanted)


def test_training_starts_at_what_was_seen_or_at_nothing() -> None:
    x = torch.randn(4, 1, 16, 16)
    assert (model_of(UNet(), (1, 16, 16)).reconstruct(x) - x).abs().max() < 0.3
    assert model_of(UNet(head="values"), (1, 16, 16)).reconstruct(x).abs().max() < 0.3


def test_details_go_past_the_code_and_the_code_says_what_the_whole_is_like() -> None:
    model = model_of(SMALL, (1, 16, 16))
    x = torch.randn(2, 1, 16, 16)
    hidden, skips = model.encoder.with_skips(x, None)
    output = model.decoder(hidden, *skips)
    assert not torch.allclose(model.decoder(hidden + 1, *skips), output)
    torch.testing.assert_close(model.decoder(hidden.flip(0), *(skip.flip(0) for skip in skips)), output.flip(0))
    assert not torch.allclose(model.decoder(hidden, *(skip.flip(0) for skip in skips)), output)


def test_the_padding_is_not_part_of_the_code() -> None:
    """A wide sample that is padded by a copy of its last column has the code of what is there."""
    encoder, _ = built(UNet(channels=(4,), depth=1, kernel=1), Layout((1, 8, 7)))
    x = torch.randn(2, 1, 8, 7)
    maps = encoder.with_skips(x, None)[1][1]  # type: ignore[operator]
    assert maps.shape[2:] == (4, 4)
    torch.testing.assert_close(encoder(x, None), encoder.inward(maps.mean((2, 3))))  # type: ignore[operator]


def test_a_mask_is_between_0_and_1_and_the_same_for_both_parts() -> None:
    model = model_of(SMALL.replace(head="mask"), TILES.shape)
    x = spectrograms()
    share = model.reconstruct(x) / x
    assert 0 < share.min() < share.max() < 1
    torch.testing.assert_close(share[:, 0], share[:, 1])
    assert torch.equal(model.reconstruct(torch.zeros_like(x)), torch.zeros_like(x))


def test_a_mask_does_not_depend_on_the_level_nor_on_phases() -> None:
    model = model_of(SMALL.replace(head="mask"), TILES.shape)
    x = spectrograms() + 3 * spectrograms(seed=1).sign()  # no bin near silence
    mask = model.reconstruct(x) / x
    torch.testing.assert_close(model.reconstruct(5 * x) / (5 * x), mask, rtol=1e-4, atol=1e-5)
    turned = torch.stack([-x[:, 1], x[:, 0]], dim=1)
    torch.testing.assert_close(model.reconstruct(turned) / turned, mask, rtol=1e-5, atol=1e-6)


def test_bins_are_shown_above_the_floors_of_their_frequency() -> None:
    floors, x = NoiseFloors(3), torch.ones(1, 2, 5, 8)
    x[:, :, 2, 1] = 7.0
    shown = floors(x)[0]
    assert shown.shape == (floors.numbers, 5, 8)
    assert (shown[:-1].flatten(1).argmax(1) == 2 * 8 + 1).all()
    assert shown[-1, :, 0].tolist() == [-1, -0.5, 0, 0.5, 1]
    torch.testing.assert_close(shown[:3, [0, 4]], torch.zeros(3, 2, 8), atol=1e-5, rtol=0)
    assert (shown[3, 2, 1] - shown[3, 2, 0]).item() == pytest.approx(math.log(49) / 3, abs=1e-3)


def test_the_colour_of_what_is_heard_changes_nothing() -> None:
    x, gains = spectrograms(seed=5), torch.linspace(1, 30, TILES.shape[1])[:, None]
    for made_from in (NoiseFloors(3), model_of(replace(SMALL, head="mask"), TILES.shape).encoder.describe):
        torch.testing.assert_close(made_from(30 * x * gains)[:, :3], made_from(900 * x)[:, :3], atol=1e-3, rtol=0)


def test_a_floor_can_be_learned_that_calls_do_not_raise() -> None:
    floors, x = NoiseFloors(3), spectrograms(rows=1, seed=6).repeat(1, 1, 1, 4)
    called = x.clone()
    called[..., 20:40] *= 30
    with torch.no_grad():
        for layer, weight in ((floors.counting[0], -1.0), (floors.counting[2], 3.0)):
            layer.weight.zero_()
            layer.weight[:, 0, 1, 1] = weight
    raised = (floors(x) - floors(called))[0, :3, :, :16]
    assert raised.abs().mean() < (mean_level(called) - mean_level(x)).mean() / 2


def test_a_gap_changes_next_to_nothing_around_it() -> None:
    floors, x = NoiseFloors(3), spectrograms(seed=3)
    gap = x.clone()
    gap[..., 12:] = 0
    torch.testing.assert_close(floors(gap)[..., :12], floors(x[..., :12]), atol=5e-3, rtol=0)
    assert torch.isfinite(floors(0 * x)).all()


def test_a_told_encoder_reads_the_mask_and_none_means_nothing_hidden() -> None:
    encoder, _ = built(SMALL, Layout((1, 12, 12)), told=True)
    x, nothing = torch.randn(2, 1, 12, 12), torch.zeros(2, 1, 12, 12, dtype=torch.bool)
    assert torch.equal(encoder(x, None), encoder(x, nothing))
    assert not torch.equal(encoder(x, None), encoder(x, ~nothing))


@pytest.mark.parametrize("shape", [(1, 16, 16), (30, 2)], ids=str)
def test_a_row_does_not_depend_on_its_batch(shape: tuple[int, ...]) -> None:
    model = model_of(UNet(), shape)
    x = torch.randn(64, *shape)
    with torch.inference_mode():
        whole, alone = model.reconstruct(x), model.reconstruct(x.flip(0)).flip(0)
    torch.testing.assert_close(alone, whole, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("shape", [(1, 12, 12), (20, 2)], ids=str)
@pytest.mark.parametrize("kind", ["u-net", "denoising+u-net", "u-net+variational", "noise2void", "contractive+u-net"])
def test_kinds_with_it_give_finite_terms_and_codes_of_the_size_they_say(kind: str, shape: tuple[int, ...]) -> None:
    plan = experiment("series", kind)
    model = build(plan, Layout(shape))
    x = torch.rand(5, *shape)
    x[0, 0] = torch.nan
    assert all(torch.isfinite(term) for term in model.terms(x, torch.Generator().manual_seed(0)).values())
    assert model.encode(x).shape == (5, latent_size(plan, Layout(shape)))
    assert model.reconstruct(x).shape == x.shape


def test_skips_stand_once_a_draw_beside_the_codes() -> None:
    model = model_of(SMALL, (1, 12, 12), bottleneck=Gaussian(size=2, draws=3), corruption=ToldMasking())
    x = torch.randn(4, 1, 12, 12)
    trace = model(x, corrupt=True, generator=torch.Generator().manual_seed(0))
    assert trace.output.shape == trace.x.shape == (12, 1, 12, 12)
    one = model.decoder(trace.code.value[:3], *(each[:1].expand(3, *each.shape[1:]) for each in _skips(model, trace)))
    torch.testing.assert_close(one, trace.output[:3])


def _skips(model: Autoencoder, trace: object) -> tuple[Tensor, ...]:
    return model.encoder.with_skips(trace.seen[::3], trace.hidden[::3])[1]  # type: ignore[attr-defined,no-any-return]


# What cannot be


def test_a_code_alone_is_refused_by_name() -> None:
    model = model_of(SMALL, (1, 12, 12))
    with pytest.raises(UsageError, match="skips makes nothing of a code alone"):
        model.decode(model.encode(torch.zeros(1, 1, 12, 12)))


@pytest.mark.parametrize(
    ("kind", "changes", "words"),
    [
        ("variational", {"detection": Detection(scorers=("reconstruction-probability",))}, "reconstruction-prob"),
        ("top-k", {"penalties": (DeadUnits(),)}, "dead-units"),
    ],
)
def test_what_asks_the_decoder_of_codes_alone_is_refused_before_training(
    kind: str, changes: dict[str, object], words: str
) -> None:
    with pytest.raises(UsageError, match=f"{words}.*skips"):
        build(experiment("image", f"u-net+{kind}").replace(**changes), Layout((1, 12, 12)))


@pytest.mark.parametrize(
    ("settings", "shape", "words"),
    [
        (UNet(head="mask"), (1, 12, 12), r"complex spectrograms.*\(1, 12, 12\)"),
        (UNet(head="mask"), (12, 2), "complex spectrograms"),
        (UNet(kernel=2), (1, 12, 12), "odd"),
        (UNet(channels=(4,) * 9), (1, 12, 12), "9 stages"),
        (UNet(), (6,), r"u-net.*takes series or pictures.*a table"),
    ],
)
def test_what_cannot_be_is_refused(settings: UNet, shape: tuple[int, ...], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        settings.build(Layout(shape), 4, 4, told=False)
