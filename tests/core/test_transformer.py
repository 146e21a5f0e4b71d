"""Patches and the transformer over them: what is hidden is not seen, and what comes with a row does not matter."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from hourglass.core.corruptions import HiddenPatches
from hourglass.core.kinds import build, experiment, latent_size
from hourglass.core.networks.patches import patch_of, patch_places, patch_side, place_in_patches
from hourglass.core.networks.transformer import PatchTransformer, _Block, sinusoids
from hourglass.data.samples import Layout
from hourglass.errors import UsageError

PICTURE = Layout((1, 12, 12))
SHAPES = [(1, 28, 28), (3, 7, 13), (2, 1, 10), (1, 1, 1), (140, 1), (9, 3), (1, 2)]
SMALL = PatchTransformer(width=16, heads=2)


def built(
    settings: PatchTransformer, layout: Layout = PICTURE, hidden: int = 5, code: int = 5, told: bool = True
) -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    return settings.build(layout, hidden, code, told)


def masked(rows: int, layout: Layout = PICTURE, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Samples, and a mask that hides half of the patches of most of them."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, *layout.shape, generator=generator)
    _, hidden = HiddenPatches().build(layout)(x, generator)
    assert hidden is not None
    return x, hidden


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("side", [None, 1, 2])
def test_cutting_into_patches_loses_nothing_and_joins_neighbours(shape: tuple[int, ...], side: int | None) -> None:
    layout = Layout(shape)
    side = min(patch_side(layout, None, "") if side is None else side, max(shape))
    places = patch_places(layout, side)
    numbers = np.sort(places.reshape(-1))[: layout.size]
    np.testing.assert_array_equal(numbers, np.arange(layout.size))
    flat = np.append(np.random.default_rng(0).normal(size=layout.size), np.nan)
    np.testing.assert_array_equal(flat[places].reshape(-1)[place_in_patches(places, layout.size)], flat[:-1])
    owner = patch_of(layout, side).reshape(shape)
    if len(shape) == 2:
        np.testing.assert_array_equal(owner, np.arange(shape[0])[:, None].repeat(shape[1], 1) // side)
    else:
        rows, columns = np.arange(shape[1])[:, None] // side, np.arange(shape[2]) // side
        expected = rows * -(-shape[2] // side) + columns
        np.testing.assert_array_equal(owner, np.broadcast_to(expected, shape))


@pytest.mark.parametrize(("shape", "patches"), [((140, 1), 16), ((1, 28, 28), 49), ((3, 64, 64), 64), ((1, 1, 10), 10)])
def test_patches_by_rule_are_at_most_16_or_64(shape: tuple[int, ...], patches: int) -> None:
    layout = Layout(shape)
    assert len(patch_places(layout, patch_side(layout, None, ""))) == patches


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("told", [False, True])
def test_samples_of_any_size_come_back_in_it_and_every_weight_learns(shape: tuple[int, ...], told: bool) -> None:
    encoder, decoder = built(SMALL, Layout(shape), hidden=10, told=told)
    x, hidden = masked(6, Layout(shape))
    codes = encoder(x, hidden)
    output = decoder(codes[:, :5])
    assert codes.shape == (6, 10)
    assert output.shape == x.shape
    (output.square().sum() + codes.sum()).backward()
    weights = [*encoder.parameters(), *decoder.parameters()]
    assert all(weight.grad is not None and torch.isfinite(weight.grad).all() for weight in weights)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("side", [None, 5])
def test_hidden_content_cannot_influence_the_code(training: bool, side: int | None) -> None:
    encoder, _ = built(SMALL.replace(patch=side))
    encoder.train(training)
    x, hidden = masked(8)
    other = torch.where(hidden, 100.0, x)
    assert torch.equal(encoder(other, hidden), encoder(x, hidden))
    assert not torch.equal(encoder(x + 1.0, hidden), encoder(x, hidden))


def test_leaving_hidden_patches_out_is_the_same_as_not_attending_to_them() -> None:
    """Training leaves them out, scoring does not: rows with none, some, and all of their patches hidden."""
    encoder, _ = built(SMALL)
    x, hidden = masked(12)
    hidden[3], hidden[5] = True, False
    hidden[7] = torch.rand(1, 12, 12) < 0.5
    torch.testing.assert_close(encoder.train()(x, hidden), encoder.eval()(x, hidden), rtol=1e-5, atol=1e-6)


def test_hidden_patches_are_not_encoded_while_training() -> None:
    lengths = []
    encoder, _ = built(SMALL)
    encoder.blocks[0].register_forward_hook(  # type: ignore[union-attr,index]
        lambda block, given, result: lengths.append(tuple(given[0].shape[:2]))
    )
    x, hidden = masked(40)
    whole = int((~hidden.flatten(1).any(1)).sum())
    patches = len(patch_places(PICTURE, patch_side(PICTURE, None, "")))
    encoder.train()(x, hidden)
    assert sorted(lengths) == sorted([(whole, patches + 1), (40 - whole, patches // 2 + 1)])


@pytest.mark.parametrize("training", [True, False])
def test_a_row_does_not_depend_on_its_batch(training: bool) -> None:
    encoder, decoder = built(SMALL)
    encoder.train(training)
    x, hidden = masked(16)
    hidden[2] = True
    whole = encoder(x, hidden)
    for row in range(16):
        alone = encoder(x[row : row + 1], hidden[row : row + 1])
        torch.testing.assert_close(alone, whole[row : row + 1], rtol=1e-5, atol=2e-6)
    torch.testing.assert_close(decoder(whole[:3]), decoder(whole)[:3], rtol=1e-5, atol=2e-6)


def test_a_told_encoder_reads_a_partly_hidden_patch_and_none_means_nothing_hidden() -> None:
    encoder, _ = built(SMALL)
    x = torch.randn(2, 1, 12, 12)
    nothing = torch.zeros_like(x, dtype=torch.bool)
    torch.testing.assert_close(encoder(x, None), encoder(x, nothing))
    one = nothing.clone()
    one[:, 0, 0, 0] = True
    assert not torch.equal(encoder(x, one), encoder(x.masked_fill(one, 0.0), nothing))


def test_a_block_is_torchs_transformer_layer() -> None:
    torch.manual_seed(0)
    ours = _Block(16, 4)
    theirs = nn.TransformerEncoderLayer(16, 4, 64, 0.0, "gelu", batch_first=True, norm_first=True)
    weights = iter([ours.mix, ours.join, ours.each[1], ours.each[3], ours.norm, ours.each[0]])
    for name in ("self_attn.in_proj", "self_attn.out_proj", "linear1", "linear2", "norm1", "norm2"):
        layer = next(weights)
        joint = "_" if name.endswith("in_proj") else "."
        for kind in ("weight", "bias"):
            theirs.get_parameter(f"{name}{joint}{kind}").data = getattr(layer, kind).data
    tokens, hidden = torch.randn(3, 7, 16), torch.rand(3, 7) < 0.3
    hidden[:, 0] = False
    torch.testing.assert_close(ours(tokens, hidden), theirs(tokens, src_key_padding_mask=hidden))


def test_sinusoids_are_the_papers() -> None:
    table = sinusoids(50, 8)
    assert table[0].tolist() == [0, 1] * 4
    torch.testing.assert_close(table[7, 4], torch.tensor(7 / 10_000 ** (4 / 8)).sin())
    torch.testing.assert_close(table[7, 5], torch.tensor(7 / 10_000 ** (4 / 8)).cos())
    fixed, _ = built(SMALL.replace(positions="sinusoidal"))
    learned, _ = built(SMALL)
    assert set(learned.state_dict()) - set(fixed.state_dict()) == {"positions"}


@pytest.mark.parametrize("shape", [(1, 8, 8), (20, 2)], ids=str)
def test_a_few_samples_can_be_learned_by_heart(shape: tuple[int, ...]) -> None:
    both = nn.ModuleList(built(SMALL, Layout(shape), 16, 16, told=False))
    x = torch.randn(8, *shape)
    optimizer = torch.optim.Adam(both.parameters(), lr=1e-2)
    for _ in range(40):
        loss = functional.mse_loss(both[1](both[0](x, None)), x)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1


@pytest.mark.parametrize(
    "kind", ["transformer", "masked-patches", "denoising+transformer", "masked-patches+variational"]
)
@pytest.mark.parametrize("shape", [(1, 12, 12), (20, 2)], ids=str)
def test_kinds_with_it_give_finite_terms_and_codes(kind: str, shape: tuple[int, ...]) -> None:
    plan = experiment("series", kind)
    model = build(plan, Layout(shape))
    x = torch.rand(5, *shape)
    x[0, 0] = torch.nan
    x[1] = torch.nan
    assert all(torch.isfinite(term) for term in model.terms(x, torch.Generator().manual_seed(0)).values())
    assert model.encode(x).shape == (5, latent_size(plan, Layout(shape)))
    assert model.reconstruct(x).shape == x.shape


def test_its_encoder_has_a_second_derivative() -> None:
    model = build(experiment("series", "contractive+transformer"), Layout((20, 2)))
    term = model.terms(torch.rand(4, 20, 2), torch.Generator().manual_seed(0))["contraction"]
    term.backward()  # type: ignore[no-untyped-call]
    assert torch.isfinite(model.encoder.embed.weight.grad).all()


@pytest.mark.parametrize(
    ("settings", "words"),
    [(SMALL.replace(width=15), r"network\.width.*multiple"), (SMALL.replace(patch=13), r"network\.patch.*12 x 12")],
)
def test_what_cannot_be_is_refused(settings: PatchTransformer, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        built(settings)


def test_patches_of_two_sizes_are_refused() -> None:
    plan = experiment("series", "masked-patches")
    with pytest.raises(UsageError, match=r"network\.patch is 3 and corruption\.patch is None"):
        build(plan.replace(network=PatchTransformer(patch=3)), Layout((20, 2)))
    build(plan.replace(network=PatchTransformer(patch=3), corruption=HiddenPatches(patch=3)), Layout((20, 2)))


def test_a_table_is_refused_by_name() -> None:
    with pytest.raises(UsageError, match=r"patch-transformer.*takes series or pictures.*a table"):
        build(experiment("table", "transformer"), Layout((6,)))
