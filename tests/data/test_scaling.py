"""Scalers against scikit-learn's, against their own inverse, and at the ends of float64's range."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sklearn.preprocessing import MinMaxScaler, QuantileTransformer, StandardScaler

from hourglass.data.scaling import (
    INTERVALS,
    SCALERS,
    Identity,
    MinMax,
    Quantile,
    Standardise,
    harden,
    make_scaler,
    moments,
    soften,
)
from hourglass.errors import DataError, ModelFileError, UsageError

LEARNING = [Standardise, MinMax, Quantile]


def clean(rows: int = 2000) -> np.ndarray:
    draw = np.random.default_rng(0)
    return np.column_stack([draw.normal(5, 2, rows), draw.exponential(3, rows), draw.uniform(-1, 1, rows)])


def with_gaps(numbers: np.ndarray) -> np.ndarray:
    return np.where(np.random.default_rng(1).random(numbers.shape) < 0.2, np.nan, numbers)


# --- oracles


@pytest.mark.parametrize(("ours", "theirs"), [(Standardise, StandardScaler()), (MinMax, MinMaxScaler())])
@pytest.mark.parametrize("gaps", [False, True])
def test_packs_as_scikit_learn(ours, theirs, gaps):
    numbers = with_gaps(clean()) if gaps else clean()
    np.testing.assert_allclose(ours.fit(numbers).scale(numbers), theirs.fit_transform(numbers), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("gaps", [False, True])
def test_quantiles_as_scikit_learn(gaps):
    numbers = with_gaps(clean()) if gaps else clean()
    theirs = QuantileTransformer(n_quantiles=INTERVALS + 1, subsample=None).fit(numbers)
    ours = Quantile.fit(numbers)
    np.testing.assert_allclose(ours.scale(numbers), theirs.transform(numbers), atol=1e-6)
    shares = np.random.default_rng(2).random((100, 3)).astype(np.float32)
    np.testing.assert_allclose(ours.unscale(shares), theirs.inverse_transform(shares.astype(float)), rtol=1e-6)


def test_ties_inside_the_range_as_scikit_learn():
    numbers = np.concatenate([np.linspace(-1, 0, 300), np.zeros(400), np.linspace(0.01, 1, 300)])[:, None]
    theirs = QuantileTransformer(n_quantiles=INTERVALS + 1, subsample=None).fit(numbers)
    np.testing.assert_allclose(Quantile.fit(numbers).scale(numbers), theirs.transform(numbers), atol=1e-6)


@pytest.mark.parametrize("kind", LEARNING)
def test_one_scale_for_all_columns_is_that_of_all_numbers_together(kind):
    numbers = clean()
    together = kind.fit(numbers.reshape(-1, 1)).scale(numbers.reshape(-1, 1)).reshape(numbers.shape)
    np.testing.assert_array_equal(kind.fit(numbers, over="all").scale(numbers), together)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, bool])
@pytest.mark.parametrize("kind", LEARNING)
def test_other_number_types_give_the_same_scale(kind, dtype):
    numbers = (clean() * 10 % 200).astype(dtype)
    given, converted = kind.fit(numbers).tensors(), kind.fit(numbers.astype(np.float64)).tensors()
    assert all(torch.equal(given[name], converted[name]) for name in converted)


# --- float64 where it matters


def test_a_large_offset_does_not_destroy_the_signal():
    signal = clean()
    for kind in LEARNING:
        near, far = kind.fit(signal).scale(signal), kind.fit(signal + 1e9).scale(signal + 1e9)
        np.testing.assert_allclose(far, near, atol=1e-5)
        back = kind.fit(signal + 1e9).unscale(far)
        np.testing.assert_allclose(back - 1e9, signal, atol=1e-3)


def test_a_large_offset_destroys_it_in_float32():
    """The test above can fail: the subtraction in float32 leaves nothing."""
    signal = clean()
    scaler = Standardise.fit(signal + 1e9)
    cast_first = (torch.tensor(signal + 1e9).float() - scaler.offset.float()) / (2 * scaler.half_scale.float())
    assert abs(cast_first.numpy() - Standardise.fit(signal).scale(signal)).max() > 0.5


def test_input_float64_output_float32_and_buffers_float64():
    for name in SCALERS:
        scaler = make_scaler(name, clean())
        assert scaler(torch.tensor(clean())).dtype == torch.float32
        assert scaler.inverse(scaler(torch.tensor(clean()))).dtype == torch.float64
        assert all(buffer.dtype == torch.float64 for buffer in scaler.to("cpu").eval().buffers())


@pytest.mark.parametrize("kind", LEARNING)
def test_numbers_up_to_1e308_do_not_overflow(kind):
    numbers = np.array([[-1e308], [-1e308], [-1e308], [1e308]])
    scaler = kind.fit(numbers)
    packed = scaler.scale(numbers)
    assert np.isfinite(packed).all()
    np.testing.assert_allclose(scaler.unscale(packed) / 1e308, numbers / 1e308, rtol=1e-6)


def test_moments_of_huge_and_tiny_numbers_are_those_of_plain_ones():
    plain = clean()
    for factor in (2.0**1010, 2.0**-1000):
        mean, deviation = moments(plain * factor)
        np.testing.assert_allclose(mean, moments(plain)[0] * factor, rtol=1e-14)
        np.testing.assert_allclose(deviation, moments(plain)[1] * factor, rtol=1e-14)
    np.testing.assert_allclose(moments(plain), (plain.mean(0), plain.std(0)), rtol=1e-13)


# --- missing and constant


@pytest.mark.parametrize("name", SCALERS)
def test_missing_numbers_pass_through_both_ways(name):
    numbers = with_gaps(clean())
    scaler = make_scaler(name, numbers)
    packed = scaler.scale(numbers)
    np.testing.assert_array_equal(np.isnan(packed), np.isnan(numbers))
    np.testing.assert_array_equal(np.isnan(scaler.unscale(packed)), np.isnan(numbers))


@pytest.mark.parametrize("kind", LEARNING)
@pytest.mark.parametrize("value", [0.0, 0.1, -7.0, 1e9, 1e308, 5e-324])
def test_constant_columns_are_divided_by_one_percent_of_their_value(kind, value):
    numbers = np.full((7, 1), value)
    scaler = kind.fit(numbers)
    packed, moved = scaler.scale(numbers), scaler.scale(numbers + (abs(value) * 0.01 or 1.0))
    np.testing.assert_allclose(scaler.unscale(packed), numbers, rtol=0, atol=1e-300)
    if value != 5e-324:  # below what a scale can resolve
        np.testing.assert_allclose(abs(moved - packed), np.log(2) + 0.5 if kind is Quantile else 1, atol=1e-6)


@pytest.mark.parametrize("kind", LEARNING)
def test_an_empty_column_gets_the_unit_scale(kind):
    scaler = kind.fit(np.full((4, 1), np.nan))
    assert np.isnan(scaler.scale(np.full((2, 1), np.nan))).all()
    assert np.isfinite(scaler.scale(np.array([[3.0]]))).all()


def test_nothing_to_learn_from_is_refused():
    with pytest.raises(DataError, match="no rows"):
        Standardise.fit(np.empty((0, 3)))
    with pytest.raises(UsageError, match="did you mean 'column'"):
        Standardise.fit(clean(), over="columm")
    with pytest.raises(UsageError, match="did you mean 'standard'"):
        make_scaler("standart", clean())


# --- soft tails


def test_tails_are_the_identity_up_to_20_and_logarithmic_beyond():
    z = torch.tensor([-20.0, 0.0, 20.0, 21.0, -120.0], dtype=torch.float64)
    expected = [-20, 0, 20, 20 + np.log(2), -20 - np.log(101)]
    np.testing.assert_allclose(soften(z), expected, rtol=1e-15)


def test_missing_numbers_do_not_keep_others_from_being_softened() -> None:
    z = torch.tensor([torch.nan, 1e6, -3.0], dtype=torch.float64)
    np.testing.assert_allclose(soften(z), [np.nan, 20 + np.log1p(1e6 - 20), -3.0], rtol=1e-15)
    assert soften(z[:0]).shape == (0,)


@given(st.floats(-1e300, 1e300))
def test_tails_are_invertible(z):
    there = soften(torch.tensor([z], dtype=torch.float64))
    np.testing.assert_allclose(harden(there).item(), z, rtol=1e-11)


@pytest.mark.parametrize("kind", LEARNING)
def test_monstrous_numbers_stay_finite_and_rank_first(kind):
    scaler = kind.fit(clean()[:, :1])
    ladder = np.array([[-1.7e308], [-1e30], [-1e20], [-1e9], [0.0], [5.0], [9.0], [1e9], [1e20], [1e30], [1.7e308]])
    packed = scaler.scale(ladder)
    assert np.isfinite(packed).all()
    assert (np.diff(packed[:, 0]) > 0).all()
    np.testing.assert_allclose(scaler.unscale(packed)[1:-1], ladder[1:-1], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", SCALERS)
def test_whatever_a_network_says_is_a_finite_number_in_units(name):
    scaler = make_scaler(name, clean() * 1e300)
    said = np.array([[-3e38, -1e4, -30.0], [30.0, 1e4, 3e38]], dtype=np.float32)
    assert np.isfinite(scaler.unscale(said)).all()


def test_identity_is_held_inside_float32():
    assert np.isfinite(Identity().scale(np.array([[1e300, -1e300]]))).all()
    np.testing.assert_array_equal(Identity().scale(np.array([[1.5, -2.0]])), [[1.5, -2.0]])


# --- round trips

COLUMNS = arrays.arrays(np.float64, st.tuples(st.integers(1, 30), st.integers(1, 3)), elements=st.floats(-1e12, 1e12))


@pytest.mark.parametrize("kind", LEARNING)
@given(COLUMNS)
def test_unscale_undoes_scale(kind, numbers):
    scaler = kind.fit(numbers)
    span = np.ptp(numbers, axis=0) + abs(numbers).max(axis=0) * 1e-12
    assert (abs(scaler.unscale(scaler.scale(numbers)) - numbers) <= span * 2e-5 + 1e-300).all()


@pytest.mark.parametrize("kind", LEARNING)
@given(COLUMNS, st.lists(st.floats(-1e300, 1e300), min_size=2, max_size=8))
def test_scale_keeps_the_order_inside_and_outside_the_training_range(kind, numbers, asked):
    scaler = kind.fit(numbers[:, :1])
    packed = scaler.scale(np.sort(np.array([*asked, *numbers[:, 0]]))[:, None])
    assert (np.diff(packed[:, 0]) >= 0).all()


def test_pictures_and_windows_scale_like_rows():
    numbers = clean().reshape(-1, 4, 5, 3)
    scaler = Standardise.fit(clean())
    np.testing.assert_array_equal(scaler.scale(numbers), scaler.scale(clean()).reshape(numbers.shape))
    np.testing.assert_array_equal(scaler.scale(numbers), scaler(torch.tensor(numbers)).numpy())


def test_read_only_arrays_and_no_rows_are_fine():
    numbers = clean()
    numbers.flags.writeable = False
    assert Standardise.fit(numbers).scale(numbers).shape == numbers.shape
    assert Standardise.fit(numbers).scale(numbers[:0]).shape == (0, 3)


# --- fixed ranges


def test_a_fixed_range_is_kept_whatever_the_data():
    scaler = make_scaler("min-max", clean(), over="all", low=0, high=255)
    np.testing.assert_allclose(scaler.scale(np.array([[0.0, 51.0, 255.0]])), [[0, 0.2, 1]], rtol=1e-6)


def test_half_a_fixed_range_learns_the_other_half():
    scaler = make_scaler("min-max", np.array([[2.0], [6.0]]), low=0)
    np.testing.assert_allclose(scaler.scale(np.array([[3.0]])), [[0.5]])
    assert np.isfinite(make_scaler("min-max", np.array([[2.0]]), low=5).scale(np.array([[2.0]]))).all()


def test_a_fixed_range_that_cannot_be_is_refused():
    with pytest.raises(UsageError, match="low below high"):
        make_scaler("min-max", clean(), low=1, high=1)
    with pytest.raises(UsageError, match="fixed range"):
        make_scaler("standard", clean(), low=0)


# --- saved and exported


@pytest.mark.parametrize("name", SCALERS)
def test_restored_scalers_give_the_same_bits(name):
    scaler = make_scaler(name, with_gaps(clean()))
    again = SCALERS[name].from_tensors(scaler.tensors())
    np.testing.assert_array_equal(again.scale(clean()), scaler.scale(clean()))
    assert set(scaler.tensors()) == set(scaler.state_dict())


def test_damaged_tensors_are_refused():
    good = Standardise.fit(clean()).tensors()
    for bad in (
        {},
        {"offset": good["offset"]},
        {**good, "offset": good["offset"].float()},
        {**good, "offset": good["offset"][:2]},
        {**good, "half_scale": good["half_scale"] * 0},
        {**good, "half_scale": good["half_scale"] * torch.nan},
    ):
        with pytest.raises(ModelFileError):
            Standardise.from_tensors(bad)
    points = Quantile.fit(clean()).tensors()["points"]
    for bad in (points[:, :-1], points.flip(1), points[0]):
        with pytest.raises(ModelFileError, match="quantiles"):
            Quantile.from_tensors({"points": bad})


@pytest.mark.parametrize("name", SCALERS)
def test_scalers_are_exportable_graphs(name):
    numbers = with_gaps(clean(50))
    scaler = make_scaler(name, numbers)
    rows = torch.export.Dim("rows", min=2)
    graph = torch.export.export(scaler, (torch.tensor(numbers),), dynamic_shapes=({0: rows},)).module()
    other = torch.tensor(with_gaps(clean(7)) * 1e5)
    np.testing.assert_array_equal(graph(other).numpy(), scaler(other).numpy())
