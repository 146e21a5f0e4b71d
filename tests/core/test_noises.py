"""Mixed-in noise: its level against the oracle, where it comes from, and what made noise is like."""

import pytest
import torch
from torch import Tensor

from hourglass.core.noises import (
    Noise,
    band,
    centred,
    equaliser,
    hum,
    patter,
    rolled,
    spectral_noise,
    spectrum,
    swell,
)
from hourglass.data.samples import Layout
from hourglass.errors import UsageError

TILES, SERIES, PICTURES, TABLE = Layout((2, 32, 24)), Layout((40, 2)), Layout((1, 12, 10)), Layout((30,))
LAYOUTS = [TILES, SERIES, PICTURES, TABLE]
ALWAYS = {"plain": 0.0, "low": 6.0, "high": 6.0}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def samples(layout: Layout, rows: int = 50, seed: int = 1) -> Tensor:
    return torch.randn(rows, *layout.shape, generator=seeded(seed))


def mixed(settings: Noise, layout: Layout, bank: Tensor | None = None, seed: int = 0) -> tuple[Tensor, Tensor]:
    corrupt = settings.build(layout)
    if bank is not None:
        corrupt.take_noise(bank)  # type: ignore[attr-defined]
    x = samples(layout)
    seen, hidden = corrupt(x, seeded(seed))
    assert hidden is None
    return x, (seen - x).double()


def power(noise: Tensor, layout: Layout) -> Tensor:
    """The mean of |X|^2 over bins for spectrograms, of squares elsewhere. Shape (n,)."""
    bins = noise.square().sum(1) if layout.complex else noise.square()
    return bins.flatten(1).mean(1)


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda each: str(each.shape))
@pytest.mark.parametrize("made", [0.0, 1.0])
@pytest.mark.parametrize("decibels", [-5.0, 0.0, 12.0])
def test_noise_is_as_loud_as_asked_whatever_the_sample_and_the_bank(
    layout: Layout, made: float, decibels: float
) -> None:
    bank = samples(layout, 7, seed=2) * torch.linspace(0.5, 9, 7).reshape(-1, *[1] * len(layout.shape))
    _, noise = mixed(Noise(low=decibels, high=decibels, made=made, plain=0.0), layout, bank)
    ratio = -10 * power(noise, layout).log10()
    torch.testing.assert_close(ratio, torch.full_like(ratio, decibels), atol=1e-4, rtol=0)


@pytest.mark.parametrize("layout", [SERIES, PICTURES], ids=lambda each: str(each.shape))
def test_recorded_noise_is_a_piece_of_the_bank_or_two_of_them(layout: Layout) -> None:
    bank = samples(layout, 5, seed=2)
    _, noise = mixed(Noise(made=0.0, **ALWAYS), layout, bank)
    basis = centred(bank).flatten(1).double()
    shares = torch.linalg.lstsq(basis.T, noise.flatten(1).T).solution.T
    torch.testing.assert_close(shares @ basis, noise.flatten(1), atol=1e-5, rtol=0)
    pieces = (shares.abs() > 1e-4).sum(1)
    assert set(pieces.tolist()) == {1, 2}
    assert 0.05 < (pieces == 2).float().mean() < 0.6


def test_recorded_spectrograms_are_begun_anew_and_coloured_smoothly() -> None:
    bank = samples(TILES, 1, seed=2)
    _, noise = mixed(Noise(made=0.0, **ALWAYS), TILES, bank)
    rolls = torch.stack([bank[0].roll(shift, 2) for shift in range(24)]).double()
    found = 0
    for each in noise:
        gains = each / rolls
        alike = (gains - gains.mean((1, 3), keepdim=True)).abs().amax((1, 2, 3)) < 1e-3  # one gain a bin, for all time
        if alike.any():  # not a sum of two
            decibels = 20 * gains[alike][0][0, :, 0].log10()
            assert decibels.diff().abs().max() < 10
            assert decibels.max() - decibels.min() < 60
            found += 1
    assert found > 25


def test_a_pause_of_the_recording_stays_quiet() -> None:
    bank = samples(TILES, 4, seed=2) * 1e-3
    _, noise = mixed(Noise(made=0.0, **ALWAYS), TILES, bank)
    assert power(noise, TILES).max() < 1e-3


def test_all_noise_is_made_where_none_was_recorded() -> None:
    _, noise = mixed(Noise(made=0.0, **ALWAYS), SERIES)
    assert (power(noise, SERIES) > 0).all()


def test_ratios_are_spread_evenly_and_some_samples_stay_as_they_are() -> None:
    corrupt = Noise(low=-10, high=30, plain=0.25).build(TABLE)
    x = samples(TABLE, 4_000)
    noise = power(corrupt(x, seeded())[0] - x, TABLE)
    assert (noise == 0).float().mean().item() == pytest.approx(0.25, abs=5 * (0.25 * 0.75 / 4_000) ** 0.5)
    ratios = -10 * noise[noise > 0].log10()
    assert ratios.min() > -10.01
    assert ratios.max() < 30.01
    assert ratios.mean().item() == pytest.approx(10, abs=1)
    assert ratios.std().item() == pytest.approx(40 / 12**0.5, rel=0.05)


def test_made_noise_is_asked_for_by_its_share() -> None:
    corrupt = Noise(made=0.4, plain=0.0).build(SERIES)
    loud = torch.zeros(1, 40, 2)
    loud[0, 5] = 1.0
    corrupt.take_noise(loud)  # type: ignore[attr-defined]
    x = samples(SERIES, 2_000)
    noise = (corrupt(x, seeded())[0] - x).flatten(1)
    made = noise.abs().amax(1) / noise.abs().median(1).values < 20  # a recorded one is a single click
    assert made.float().mean().item() == pytest.approx(0.4, abs=0.06)


def test_missing_numbers_of_a_recording_are_no_noise_and_its_scale_has_no_centre() -> None:
    noise = torch.full((3, 40, 2), 5.0)
    noise[:, ::2] = 7.0
    torch.testing.assert_close(centred(noise).mean((0, 1)), torch.zeros(2))
    noise[0, 0, 0] = torch.nan
    _, added = mixed(Noise(made=0.0, **ALWAYS), SERIES, noise)
    assert torch.isfinite(added).all()


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda each: str(each.shape))
def test_a_seed_repeats_it(layout: Layout) -> None:
    bank = samples(layout, 3, seed=2)
    first, again, other = (mixed(Noise(), layout, bank, seed)[1] for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("shape", [(1,), (1, 1), (1, 1, 1), (2, 1, 1), (2, 4, 4)], ids=str)
def test_the_smallest_samples_work(shape: tuple[int, ...]) -> None:
    seen, _ = Noise().build(Layout(shape))(torch.ones(9, *shape), seeded())
    assert torch.isfinite(seen).all()


# What made noise is like


def test_spectra_are_white_to_steeper_than_brown_and_half_of_them_are_bands() -> None:
    x = torch.zeros(400, 2, 64, 32)
    gains = spectrum(x, seeded())[:, 0, :, 0]
    banded = (gains == 0).any(1)
    assert 0.35 < banded.float().mean() < 0.65
    assert ((gains > 0).sum(1) >= 1).all()
    places = torch.arange(1, 65).log10()
    wide = 20 * gains[~banded].log10()
    slopes = ((wide - wide.mean(1, keepdim=True)) * (places - places.mean())).sum(1) / (
        places - places.mean()
    ).square().sum()
    assert -70 < slopes.min() < -30  # white is 0, brown 20 dB a decade, wind 40, and the equaliser bends them
    assert slopes.max() > -5
    starts = (gains > 0).to(torch.uint8).argmax(1)
    assert torch.equal((gains > 0).sum(1) - 1, 63 - (gains > 0).flip(1).to(torch.uint8).argmax(1) - starts)  # one piece


def test_gains_change_smoothly_over_frequency() -> None:
    gains = equaliser(torch.zeros(300, 2, 64, 48), seeded())
    assert gains.shape == (300, 1, 64, 1)
    decibels = 20 * gains.log10()
    assert decibels.diff(dim=2).abs().max() < 6
    assert 4 < decibels.std() < 7


def test_noise_swells_slowly_or_fast() -> None:
    gains = swell(torch.zeros(300, 2, 64, 256), seeded())
    assert gains.shape == (300, 1, 1, 256)
    decibels = 20 * gains.log10()
    assert 3 < decibels.std() < 6
    turns = (decibels.diff(dim=3).sign().diff(dim=3) != 0).sum(3).flatten().double()
    assert turns.min() <= 1
    assert 30 < turns.max() < 70


def test_a_band_has_a_middle_and_soft_edges() -> None:
    shares = band(torch.zeros(100, 2, 64, 4), seeded())
    assert shares.shape == (100, 1, 64, 1)
    assert 0 <= shares.min() < shares.max() <= 1
    assert (shares.amax(2) > 0.9).all()
    assert shares.diff(dim=2).abs().max() < 0.35


def test_hum_is_lines_at_multiples_of_one_frequency() -> None:
    lines = hum(torch.zeros(50, 2, 128, 16), seeded()).square().sum(1)
    torch.testing.assert_close(lines.std(2), torch.zeros(50, 128), atol=2e-3, rtol=0)  # steady
    for bins in (lines.mean(2) > 0).unbind():
        places = bins.nonzero().flatten().tolist()
        assert 1 <= len(places) <= 6
        assert all(abs(place - order * places[0]) <= order for order, place in enumerate(places, start=1))


def test_patter_falls_on_few_frames_and_a_drop_lasts_some() -> None:
    drops = patter(torch.zeros(200, 2, 4, 100), seeded())
    assert drops.shape == (200, 1, 1, 100)
    assert 0.1 < (drops > 0).float().mean() < 0.25


def test_noise_is_rolled_over_time_only() -> None:
    noise = samples(TILES, 40)
    begun = rolled(noise, seeded())
    torch.testing.assert_close(begun.sort(3).values, noise.sort(3).values)
    assert not torch.equal(begun, noise)
    shifts = [
        [torch.equal(each, other.roll(shift, 2)) for shift in range(24)].index(True)
        for each, other in zip(begun, noise, strict=True)
    ]
    assert len(set(shifts)) > 10


def test_made_noise_is_finite_and_differs_from_sample_to_sample() -> None:
    noise = spectral_noise(torch.zeros(300, 2, 16, 16), seeded())
    assert torch.isfinite(noise).all()
    assert (noise.square().flatten(1).sum(1) > 0).all()


def test_ratios_the_wrong_way_round_are_refused() -> None:
    with pytest.raises(UsageError, match=r"low 5 and high -5"):
        Noise(low=5, high=-5).build(SERIES)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda each: str(each.shape))
def test_it_works_on_a_gpu(layout: Layout) -> None:
    corrupt = Noise().build(layout)
    corrupt.take_noise(samples(layout, 3).cuda())  # type: ignore[attr-defined]
    seen, _ = corrupt(samples(layout).cuda(), torch.Generator("cuda").manual_seed(0))
    assert seen.is_cuda
    assert torch.isfinite(seen).all()
