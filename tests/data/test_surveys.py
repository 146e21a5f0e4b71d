"""Statistics of rows that come in parts: those of the whole, whatever the parts and their order."""

import numpy as np
import pyarrow as pa
import pytest

from hourglass.data.samples import Frame
from hourglass.data.surveys import Moments, RowSample, Survey


def parts(numbers: np.ndarray) -> list[Moments]:
    return [Moments.of(part) for part in np.array_split(numbers, [1, 2, 7, 40])]


@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4], [4, 2, 0, 3, 1]])
def test_merged_moments_are_those_of_the_whole(order: list[int]) -> None:
    random = np.random.default_rng(0)
    numbers = random.normal(size=(100, 5)) * [1, 1e-9, 1e150, 1, 1] + [0, 1e9, 0, 5, 0]
    numbers[::3, 3], numbers[:, 4] = np.nan, 0.1
    found = parts(numbers)
    merged = found[order[0]]
    for place in order[1:]:
        merged = merged.merged(found[place])
    assert merged.count.tolist() == [100, 100, 100, 66, 100]
    assert np.allclose(merged.mean, np.nanmean(numbers, axis=0), rtol=1e-12, atol=0)
    scaled = np.ldexp(numbers, [0, 0, -499, 0, 0])  # no square of it is infinite
    deviation = np.ldexp(np.nanstd(scaled, axis=0), [0, 0, 499, 0, 0])
    assert np.allclose(merged.deviation[[0, 2, 3]], deviation[[0, 2, 3]], rtol=1e-12, atol=0)
    assert merged.deviation[1] == pytest.approx(deviation[1], abs=1e-6)  # 1e9 leaves 7 digits
    assert (merged.deviation[4], merged.mean[4]) == (0, 0.1)
    assert np.array_equal(merged.low, np.nanmin(numbers, axis=0))
    assert np.array_equal(merged.high, np.nanmax(numbers, axis=0))


def test_moments_of_the_largest_numbers_stay_finite() -> None:
    large = np.array([[1.7e308], [-1.7e308]])
    merged = Moments.of(large[:1]).merged(Moments.of(large[1:]))
    assert (merged.mean[0], merged.deviation[0]) == (0, 1.7e308)


def test_a_part_without_numbers_changes_nothing() -> None:
    known, nothing = Moments.of(np.array([[5.0], [7.0]])), Moments.of(np.array([[np.nan]]))
    for merged in (known.merged(nothing), nothing.merged(known)):
        assert [float(value[0]) for value in vars(merged).values()] == [2, 6, 1, 5, 7]


def test_every_row_is_drawn_as_often_as_any_other_whatever_the_parts() -> None:
    rows, drawn = 60, np.zeros(60)
    for seed in range(200):
        keys = np.random.default_rng(seed).random(rows)
        whole, left, right = RowSample(6), RowSample(6), RowSample(6)
        table = pa.table({"row": np.arange(rows)})
        for start in range(0, rows, 7):
            whole.add(Frame(table.slice(start, 7)), keys[start : start + 7])
        left.add(Frame(table.slice(0, 45)), keys[:45])
        right.add(Frame(table.slice(45)), keys[45:])
        left.merge(right)
        found = [sample.frame("drawn") for sample in (whole, left)]
        chosen = [sorted(frame.table.column("row").to_pylist()) for frame in found if frame is not None]
        assert chosen[0] == chosen[1] == sorted(np.argsort(keys)[:6].tolist())
        drawn[chosen[0]] += 1
    # 200 times 6 of 60 rows: 20 each, with a deviation of 4.2
    assert drawn.min() > 3
    assert drawn.max() < 38


def test_fewer_rows_than_asked_for_are_all_kept_in_order() -> None:
    sample = RowSample(10)
    assert sample.frame("none") is None
    sample.add(Frame(pa.table({"row": [3, 1, 2]})), np.array([0.9, 0.1, 0.5]))
    frame = sample.frame("all")
    assert frame is not None
    assert frame.table.column("row").to_pylist() == [3, 1, 2]


def test_held_out_rows_are_not_measured() -> None:
    survey = Survey(["x", "w"], RowSample(10), RowSample(10))
    frame = Frame(pa.table({"w": ["a", "b", "c"], "x": [1.0, 3.0, 100.0]}))
    survey.add(frame, np.array([0.5, 0.2, 0.1]), np.array([False, False, True]))
    held, sample = survey.held_out.frame(""), survey.sample.frame("")
    assert held is not None
    assert sample is not None
    assert (held.table.to_pylist(), sample.table.num_rows, survey.rows) == ([{"w": "c", "x": 100.0}], 2, 3)
    assert survey.moments is not None
    assert (survey.moments.count.tolist(), survey.moments.mean.tolist()) == ([2, 0], [2, 0])
