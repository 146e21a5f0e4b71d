"""Corruptions: their rates within binomial bounds, what they may touch, and that a seed repeats them."""

import pytest
import torch
from torch import Tensor

from hourglass.core.corruptions import (
    BlindSpots,
    Blocks,
    Corruption,
    GaussianNoise,
    HiddenPatches,
    Masking,
    NoCorruption,
    Recorruption,
    SaltAndPepper,
    Swap,
    ToldMasking,
    noise_deviation,
)
from hourglass.data.samples import Cell, Layout
from hourglass.errors import UsageError

LAYOUT = Layout((8,), (Cell("a"), Cell("town", "category", 4), Cell("paid", "flag"), Cell("size", "category", 2)))
PICTURE, SERIES = Layout((1, 20, 10)), Layout((30, 2))
ANYWHERE = [NoCorruption(), GaussianNoise(), SaltAndPepper(), Masking(), ToldMasking(), Swap()]
ORDERED = [HiddenPatches(), BlindSpots(), Blocks(), Recorruption()]
CASES = [(settings, layout) for settings in ANYWHERE for layout in (LAYOUT, PICTURE)]
CASES += [(settings, layout) for settings in ORDERED for layout in (SERIES, PICTURE)]


def samples(layout: Layout = LAYOUT, rows: int = 2_000) -> Tensor:
    """Samples without a zero and without two equal numbers."""
    return torch.rand(rows, *layout.shape, generator=torch.Generator().manual_seed(9)) + 1


def corrupted(settings: Corruption, layout: Layout = LAYOUT, seed: int = 0) -> tuple[Tensor, Tensor, Tensor | None]:
    x = samples(layout)
    seen, hidden = settings.build(layout)(x, torch.Generator().manual_seed(seed))
    return x, seen, hidden


def assert_share(changed: Tensor, rate: float) -> None:
    """The share of True is `rate` within five binomial standard deviations."""
    bound = 5 * (rate * (1 - rate) / changed.numel()) ** 0.5
    assert abs(changed.float().mean().item() - rate) <= bound


@pytest.mark.parametrize(("settings", "layout"), CASES, ids=lambda each: getattr(each, "name", None) or str(each.shape))
def test_a_seed_repeats_it_and_nothing_else_is_touched(settings: Corruption, layout: Layout) -> None:
    state = torch.get_rng_state()
    x, seen, hidden = corrupted(settings, layout, seed=3)
    again, other = corrupted(settings, layout, seed=3), corrupted(settings, layout, seed=4)
    assert torch.equal(seen, again[1])
    assert settings.name == "none" or not torch.equal(seen, other[1])
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(x, samples(layout))
    assert (hidden is not None) == (settings.tells or settings.name == "blind-spots")
    assert seen.shape == x.shape
    assert seen.dtype == x.dtype


def test_gaussian_noise_has_mean_0_and_the_asked_deviation() -> None:
    x, seen, _ = corrupted(GaussianNoise(scale=0.5), PICTURE)
    noise = seen - x
    assert abs(noise.mean().item()) < 5 * 0.5 / noise.numel() ** 0.5
    assert noise.std().item() == pytest.approx(0.5, rel=5 / (2 * noise.numel()) ** 0.5)


def test_gaussian_noise_stays_within_given_limits() -> None:
    seen = corrupted(GaussianNoise(scale=0.5, low=1.0, high=1.9), PICTURE)[1]
    free = corrupted(GaussianNoise(scale=0.5), PICTURE)[1]
    assert torch.equal(seen, free.clamp(1.0, 1.9))
    assert torch.equal(corrupted(GaussianNoise(scale=0.5, low=1.0), PICTURE)[1], free.clamp(min=1.0))
    with pytest.raises(UsageError, match=r"low 2 and high 1"):
        GaussianNoise(low=2.0, high=1.0).build(PICTURE)


@pytest.mark.parametrize("rate", [0.0, 0.2, 1.0])
def test_masking_zeroes_whole_cells_at_its_rate(rate: float) -> None:
    x, seen, _ = corrupted(Masking(rate=rate))
    zeroed = seen == 0
    assert torch.equal(seen[~zeroed], x[~zeroed])
    assert_share(zeroed[:, [0, 1, 5, 6]], rate)  # the cells' first places
    assert (zeroed[:, 1:5] == zeroed[:, 1:2]).all()
    assert (zeroed[:, 6:] == zeroed[:, 6:7]).all()


def test_masking_of_a_layout_without_cells_hides_numbers_one_by_one() -> None:
    _, seen, _ = corrupted(Masking(rate=0.3), PICTURE)
    assert_share(seen == 0, 0.3)


def test_told_masking_tells_exactly_what_it_zeroed() -> None:
    x, seen, hidden = corrupted(ToldMasking())
    assert hidden is not None
    assert hidden.dtype == torch.bool
    assert torch.equal(seen, torch.where(hidden, 0.0, x))
    assert (hidden[:, 1:5] == hidden[:, 1:2]).all()


def test_told_masking_draws_a_rate_for_each_sample() -> None:
    _, _, hidden = corrupted(ToldMasking(low=0.2, high=0.6, plain=0.25), PICTURE)
    assert hidden is not None
    rates = hidden.flatten(1).float().mean(1)
    assert_share(rates == 0, 0.25)
    chosen = rates[rates > 0]
    spread = 5 * (0.25 / 200) ** 0.5  # of 200 cells a sample
    assert chosen.min() > 0.2 - spread
    assert chosen.max() < 0.6 + spread
    assert chosen.mean().item() == pytest.approx(0.4, abs=5 * 0.4 / 12**0.5 / len(chosen) ** 0.5)
    assert chosen.std().item() > 0.9 * 0.4 / 12**0.5


def test_swap_takes_values_of_the_same_column_and_whole_categories() -> None:
    x, seen, _ = corrupted(Swap(rate=0.4))
    changed = seen != x
    for column in range(LAYOUT.size):
        assert torch.isin(seen[:, column], x[:, column]).all()
    assert (changed[:, 1:5] == changed[:, 1:2]).all()
    assert_share(changed[:, [0, 1, 5, 6]], 0.4 * (1 - 1 / 2_000))  # a row may be its own partner
    town = {tuple(row) for row in x[:, 1:5].tolist()}
    assert {tuple(row) for row in seen[:, 1:5].tolist()} <= town


def test_salt_and_pepper_jump_to_the_samples_own_extremes() -> None:
    x, seen, _ = corrupted(SaltAndPepper(rate=0.3), PICTURE)
    low, high = (each.reshape(-1, 1, 1, 1) for each in (x.flatten(1).amin(1), x.flatten(1).amax(1)))
    assert ((seen == x) | (seen == low) | (seen == high)).all()
    free = (x != low) & (x != high)
    assert_share((seen == low)[free], 0.15)
    assert_share((seen == high)[free], 0.15)


def test_salt_and_pepper_jump_to_given_values() -> None:
    x, seen, _ = corrupted(SaltAndPepper(rate=0.3, low=-7.0, high=7.0), PICTURE)
    assert set(seen[seen != x].tolist()) == {-7.0, 7.0}


def test_hidden_patches_are_whole_and_as_many_in_each_sample() -> None:
    x, seen, hidden = corrupted(HiddenPatches(patch=5, rate=0.25, plain=0.3), PICTURE)
    assert hidden is not None
    assert torch.equal(seen, torch.where(hidden, 0.0, x))
    patches = hidden.reshape(-1, 4, 5, 2, 5).transpose(2, 3).reshape(-1, 8, 25)
    assert (patches.all(2) == patches.any(2)).all()
    counts = patches.all(2).sum(1)
    assert set(counts.tolist()) == {0, 2}
    assert_share(counts == 0, 0.3)
    for patch in range(8):
        assert_share(patches[:, patch, 0], 0.7 * 0.25)


def test_hidden_stretches_hide_every_channel() -> None:
    _, _, hidden = corrupted(HiddenPatches(patch=10, rate=0.4, plain=0.0), SERIES)
    assert hidden is not None
    stretches = hidden.reshape(-1, 3, 20)
    assert (stretches.all(2) == stretches.any(2)).all()
    assert (stretches.all(2).sum(1) == 1).all()


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_at_least_one_patch_stays(rate: float) -> None:
    _, _, hidden = corrupted(HiddenPatches(patch=10, rate=rate, plain=0.0), SERIES)
    assert hidden is not None
    assert (hidden.flatten(1).sum(1) == rate * 40).all()  # two of three patches, of 20 numbers each


WIDE = Layout((2, 9, 14))


@pytest.mark.parametrize("layout", [SERIES, WIDE], ids=["series", "picture"])
@pytest.mark.parametrize("radius", [1, 3])
def test_blind_spots_take_a_neighbours_value_in_every_channel(layout: Layout, radius: int) -> None:
    places = layout.shape[0] if layout is SERIES else 9 * 14
    x, seen, hidden = corrupted(BlindSpots(rate=0.1, radius=radius), layout)
    assert hidden is not None
    assert torch.equal(seen[~hidden], x[~hidden])
    channels = 2 if layout is SERIES else 1
    spots = hidden.all(channels)
    assert torch.equal(spots, hidden.any(channels))
    assert (spots.flatten(1).sum(1) == round(0.1 * places)).all()
    sides = spots.shape[1:]
    for n, *place in spots.nonzero()[:400].tolist():
        value = seen[n, place[0], 0] if layout is SERIES else seen[n, 0, place[0], place[1]]
        own = x[n, :, 0] if layout is SERIES else x[n, 0]
        near = [slice(max(0, at - radius), at + radius + 1) for at in place]
        found = (own[tuple(near)] == value).nonzero()
        assert len(found) == 1  # no two numbers are equal
        assert [int(at) + each.start for at, each in zip(found[0], near, strict=True)] != place
    for at in range(sides[0]):
        assert_share(spots[:, at], spots.float().mean().item())


def test_blind_spots_take_every_neighbour_as_often() -> None:
    settings, x = BlindSpots(rate=0.01, radius=1), torch.arange(49.0).reshape(1, 1, 7, 7).expand(60_000, 1, 7, 7)
    seen, hidden = settings.build(Layout((1, 7, 7)))(x, torch.Generator().manual_seed(0))
    assert hidden is not None
    middle = hidden[:, 0, 3, 3]
    steps = (seen[middle][:, 0, 3, 3] - 24).long()
    counts = torch.stack([steps == step for step in (-8, -7, -6, -1, 1, 6, 7, 8)]).float().mean(1)
    torch.testing.assert_close(counts, torch.full((8,), 1 / 8), atol=5 * (7 / 64 / len(steps)) ** 0.5, rtol=0)


@pytest.mark.parametrize(("layout", "sides"), [(SERIES, (15, 2)), (PICTURE, (14, 7))], ids=["series", "picture"])
def test_blocks_are_one_rectangle_anywhere(layout: Layout, sides: tuple[int, int]) -> None:
    x, seen, _ = corrupted(Blocks(share=0.5), layout)
    blank = (seen == 0).squeeze(1)
    assert torch.equal(seen[seen != 0], x[seen != 0])
    rows, columns = blank.any(2), blank.any(1)
    assert (rows.sum(1) == sides[0]).all()
    assert (columns.sum(1) == sides[1]).all()
    assert torch.equal(blank, rows[:, :, None] & columns[:, None, :])
    starts = rows.to(torch.uint8).argmax(1)
    last = blank.shape[1] - sides[0]
    assert ((rows.flip(1).to(torch.uint8).argmax(1) + starts) == last).all()  # in one piece
    for start in range(last + 1):
        assert_share(starts == start, 1 / (last + 1))


@pytest.mark.parametrize("settings", ORDERED, ids=lambda part: part.name)
def test_a_table_has_no_stretches_to_hide(settings: Corruption) -> None:
    with pytest.raises(UsageError, match=f"{settings.name}.*takes series or pictures"):
        settings.build(LAYOUT)


@pytest.mark.parametrize("settings", [*ANYWHERE, *ORDERED], ids=lambda part: part.name)
def test_one_sample_of_one_number_works(settings: Corruption) -> None:
    shape = (1, 1) if settings in ORDERED else (1,)
    seen, _ = settings.build(Layout(shape))(torch.ones(1, *shape), torch.Generator().manual_seed(0))
    assert seen.shape == (1, *shape)
    assert torch.isfinite(seen).all()


def waves(layout: Layout, rows: int = 400) -> Tensor:
    """Smooth samples."""
    sides = layout.shape[:1] if len(layout.shape) == 2 else layout.shape[1:]
    place = sum(torch.arange(side).reshape(-1, *[1] * (len(sides) - 1 - at)) for at, side in enumerate(sides))
    phase = torch.rand(rows, 1, generator=torch.Generator().manual_seed(1)) * 6
    wave = torch.sin(phase + place.flatten() / 8)  # type: ignore[union-attr]
    return (wave[:, :, None] if len(sides) == 1 else wave.reshape(rows, 1, *sides)).expand(rows, *layout.shape)


@pytest.mark.parametrize("layout", [SERIES, PICTURE], ids=["series", "pictures"])
def test_two_takes_made_of_one_have_errors_that_know_nothing_of_each_other(layout: Layout) -> None:
    clean, generator = waves(layout), torch.Generator().manual_seed(2)
    noisy = clean + 0.3 * torch.randn(clean.shape, generator=generator)
    settings = Recorruption(scale=0.3)
    seen, hidden = settings.build(layout)(noisy, generator)
    wanted = noisy + settings.pull * (seen - noisy)
    assert hidden is None
    errors = torch.stack([(seen - clean).flatten(), (wanted - clean).flatten()])
    assert torch.corrcoef(errors)[0, 1].abs() < 0.02  # without the second take, .87
    assert errors.std(1).tolist() == pytest.approx([0.3 * 1.25**0.5, 0.3 * 5**0.5], rel=0.02)


@pytest.mark.parametrize("deviation", [0.05, 0.5])
@pytest.mark.parametrize("layout", [SERIES, PICTURE], ids=["series", "pictures"])
def test_the_noise_of_smooth_samples_is_estimated(layout: Layout, deviation: float) -> None:
    clean = waves(layout)
    noisy = clean + deviation * torch.randn(clean.shape, generator=torch.Generator().manual_seed(2))
    textured = torch.cat([noisy, noisy[:100] + samples(layout, 100)])
    for x in (noisy, textured):
        assert noise_deviation(x).item() == pytest.approx(deviation, rel=0.15)
