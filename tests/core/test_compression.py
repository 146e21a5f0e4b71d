"""Rounding of codes, on decoders whose answer is known, and the frequencies that symbols are coded by."""

from __future__ import annotations

import numpy as np
import pytest

from hourglass.core.compression import Decode, Rounding, bits, frequencies, learn_rounding, sensitivity, to_whole
from hourglass.errors import UsageError

LATENT, NUMBERS = 4, 12
WEIGHTS = np.random.default_rng(0).normal(size=(LATENT, NUMBERS))


def linear(weights: np.ndarray) -> Decode:
    return lambda codes: codes.astype(np.float64) @ weights


def correlated(count: int = 3_000) -> np.ndarray:
    """Codes far from zero, correlated, of deviations that differ a hundredfold."""
    rng = np.random.default_rng(1)
    mixed = rng.normal(size=(count, LATENT)) @ rng.normal(size=(LATENT, LATENT))
    return (100 + mixed * np.array([0.1, 1, 3, 10])).astype(np.float32)


def test_the_sensitivity_of_a_linear_decoder_is_its_gram_matrix() -> None:
    metric = sensitivity(linear(WEIGHTS), correlated())
    assert metric == pytest.approx(WEIGHTS @ WEIGHTS.T, rel=1e-3, abs=1e-2)


@pytest.mark.parametrize("turned", [False, True])
def test_a_step_along_any_direction_moves_the_reconstruction_by_its_length(turned: bool) -> None:
    rounding = learn_rounding(correlated(), WEIGHTS @ WEIGHTS.T, turned).with_step(0.25)
    moves = np.linalg.norm(rounding.matrix.T @ WEIGHTS, axis=1)
    assert moves == pytest.approx(0.25, rel=0.1 if turned else 0.01)
    assert rounding.turned == turned


@pytest.mark.parametrize("turned", [False, True])
def test_rounding_costs_a_twelfth_of_the_squared_step_a_direction(turned: bool) -> None:
    codes, step = correlated(), 0.1
    rounding = learn_rounding(codes, WEIGHTS @ WEIGHTS.T, turned).with_step(step)
    given_back = rounding.codes(rounding.whole(codes))
    error = np.square((given_back - codes) @ WEIGHTS).sum(axis=1).mean()
    expected = LATENT * step**2 * (1 / 12 + (0.5 - 0.42) ** 2)
    assert error == pytest.approx(expected, rel=0.15)


def test_turned_codes_are_uncorrelated_and_take_fewer_bits() -> None:
    codes, metric = correlated(), WEIGHTS @ WEIGHTS.T
    taken = {}
    for turned in (False, True):
        whole = learn_rounding(codes, metric, turned).with_step(0.5).whole(codes)
        taken[turned] = sum(bits(column - column.min(), int(np.ptp(column)) + 1) for column in whole.T)
        if turned:
            correlation = np.corrcoef(whole.T)
            assert np.abs(correlation - np.eye(LATENT)).max() < 0.05
    assert taken[True] < 0.95 * taken[False]


def test_directions_that_are_all_zero_need_no_place() -> None:
    codes = correlated()
    rounding = learn_rounding(codes, WEIGHTS @ WEIGHTS.T, turned=True).with_step(30)
    whole = rounding.whole(codes)
    used = np.flatnonzero(whole.any(axis=0))
    assert 0 < len(used) < LATENT
    assert np.array_equal(rounding.along(used).codes(whole[:, used]), rounding.codes(whole))


@pytest.mark.parametrize("turned", [False, True])
def test_code_numbers_that_never_vary_or_do_nothing_are_harmless(turned: bool) -> None:
    codes = correlated()
    codes[:, 1] = 7.25
    weights = WEIGHTS.copy()
    weights[2] = 0
    metric = sensitivity(linear(weights), codes)
    rounding = learn_rounding(codes, metric, turned).with_step(0.01)
    given_back = rounding.codes(rounding.whole(codes))
    assert given_back[:, 1] == pytest.approx(7.25, abs=1e-3)
    assert np.abs((given_back - codes) @ weights).max() < 0.1


def test_a_decoder_that_never_answers_is_no_division_by_zero() -> None:
    codes = np.full((3, 2), 5.0, dtype=np.float32)
    rounding = learn_rounding(codes, np.zeros((2, 2)), turned=True)
    assert rounding.codes(rounding.whole(codes)) == pytest.approx(codes)


def test_steps_too_small_to_be_counted_are_refused() -> None:
    with pytest.raises(UsageError, match="take a larger step"):
        to_whole(np.array([3e9]))
    with pytest.raises(UsageError, match="take a larger step"):
        to_whole(np.array([np.nan]))


def test_frequencies_are_whole_and_come_to_what_was_seen() -> None:
    counts = np.array([0, 3, 1000, 1, 0])
    table = frequencies(counts)
    assert np.array_equal(table, np.rint(table))
    assert (table > 0).all()
    assert table / table.sum() == pytest.approx(counts / counts.sum(), abs=0.01)
    assert table[0] > table[4]  # next to 3 is likelier than next to 1
    assert np.array_equal(counts, [0, 3, 1000, 1, 0])


@pytest.mark.parametrize(("count", "over"), [(300, 1.08), (10_000, 1.01)])
def test_bits_come_near_the_entropy(count: int, over: float) -> None:
    symbols = np.rint(np.random.default_rng(0).normal(20, 2, size=count)).astype(int)
    shares = np.bincount(symbols) / count
    entropy = -count * (shares[shares > 0] * np.log2(shares[shares > 0])).sum()
    assert entropy <= bits(symbols, 41) <= over * entropy + 40


def test_lengths_are_stored_within_a_seventh_of_a_percent() -> None:
    rounding = Rounding(np.zeros(1, np.float32), np.zeros(1, np.int16), np.ones((1, 1), np.int8), np.zeros(1, np.int16))
    for step in (1e-4, 0.3, 77.0):
        assert rounding.with_step(step).matrix.item() == pytest.approx(step, rel=1.4e-3)
