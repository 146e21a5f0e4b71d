"""Figures of series: worked by hand, and against slow readings of the definitions, loop by loop."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from hourglass.estimators.metrics.affiliation import affiliation
from hourglass.estimators.metrics.nab import nab_points, nab_score, oracle_nab_score, step_worth
from hourglass.estimators.metrics.oracles import oracle_f1
from hourglass.estimators.metrics.ranges import event_f1, event_recall, point_adjusted_f1, range_figures
from hourglass.estimators.metrics.volumes import soft_labels, volumes

Case = tuple[np.ndarray, np.ndarray]


def bits(word: str) -> np.ndarray:
    """`..##.` as booleans."""
    return np.array([each == "#" for each in word])


def runs(mask: np.ndarray) -> list[range]:
    """The runs of True, read step by step."""
    found: list[range] = []
    for step in np.flatnonzero(mask).tolist():
        joins = bool(found) and found[-1].stop == step
        found[-1:] = [range(found[-1].start, step + 1)] if joins else [*found[-1:], range(step, step + 1)]
    return found


def f1(labels: np.ndarray, flagged: np.ndarray) -> float:
    """F1 of steps, of which some are labelled or flagged."""
    return float(2 * (labels & flagged).sum() / (labels.sum() + flagged.sum()))


@st.composite
def pairs(draw: st.DrawFn, most: int = 30) -> Case:
    """Two masks of one length."""
    count = draw(st.integers(1, most))
    masks = st.lists(st.booleans(), min_size=count, max_size=count)
    return np.array(draw(masks)), np.array(draw(masks))


@st.composite
def scored(draw: st.DrawFn, most: int = 30) -> Case:
    """Labels of both classes, and scores with ties."""
    labels, _ = draw(pairs(most).filter(lambda case: case[0].any() and not case[0].all()))
    ranks = st.lists(st.integers(0, 6), min_size=len(labels), max_size=len(labels))
    return labels, np.array(draw(ranks)) / 2


# Ranges and events


def test_range_figures_by_hand() -> None:
    labels = bits("..####..##..")
    flagged = bits(".##.#....#.#")
    # recall: 2 of 4 in two pieces, and 1 of 2: (1/4 + 1/2) / 2; precision of four flags: (1/2 + 1 + 1 + 0) / 4
    found = range_figures(labels, flagged)
    assert found["range_recall"] == pytest.approx(3 / 8)
    assert found["range_precision"] == pytest.approx(5 / 8)
    assert found["range_f1"] == pytest.approx(2 * (3 / 8) * (5 / 8))
    assert found["event_recall"] == 1
    assert found["event_f1"] == pytest.approx(2 * 0.6 / 1.6)


def test_a_flag_over_everything_is_no_good_event() -> None:
    labels = bits("....#.....")
    assert event_recall(labels, ~labels | labels) == 1
    assert event_f1(labels, np.ones(10, dtype=bool)) == pytest.approx(0.2 / 1.1)


@given(pairs())
def test_range_figures_are_the_looped_ones(case: Case) -> None:
    def reward(wanted: np.ndarray, given_mask: np.ndarray) -> float | None:
        rewards = []
        for one in runs(wanted):
            parts = [set(one) & set(other) for other in runs(given_mask)]
            touching = [part for part in parts if part]
            rewards.append(sum(map(len, touching)) / len(one) / max(len(touching), 1))
        return float(np.mean(rewards)) if rewards else None

    labels, flagged = case
    found = range_figures(labels, flagged)
    assert found["range_recall"] == pytest.approx(reward(labels, flagged))
    assert found["range_precision"] == pytest.approx(reward(flagged, labels))


@given(pairs())
def test_events_and_point_adjustment_are_the_looped_ones(case: Case) -> None:
    labels, flagged = case
    touched = [one for one in runs(labels) if flagged[list(one)].any()]
    adjusted = flagged.copy()
    for one in touched:
        adjusted[list(one)] = True
    recall = len(touched) / len(runs(labels)) if labels.any() else None
    assert event_recall(labels, flagged) == pytest.approx(recall)
    if labels.any() or flagged.any():
        assert point_adjusted_f1(labels, flagged) == pytest.approx(f1(labels, adjusted))


def test_point_adjustment_flatters_flags_at_random() -> None:
    random = np.random.default_rng(0)
    labels = np.arange(2_000) % 1_000 < 300
    flagged = random.random(2_000) < 0.02
    assert f1(labels, flagged) < 0.1
    assert (point_adjusted_f1(labels, flagged) or 0) > 0.9


# Volumes under surfaces


def looped_areas(labels: np.ndarray, score: np.ndarray, length: int) -> tuple[float, float]:
    """The areas for one buffer, one threshold at a time."""
    count, half = len(labels), length // 2
    soft = labels.astype(float)
    reached = []
    for one in runs(labels):
        for distance in range(1, half + 1):
            for step in (one.start - distance, one.stop - 1 + distance):
                if 0 <= step < count:
                    soft[step] = min(1.0, soft[step] + math.sqrt(1 - distance / length))
        reached.append(range(max(one.start - half, 0), min(one.stop + half, count)))
    positives = (labels.sum() + soft.sum()) / 2
    points = [(0.0, 0.0)]
    area = 0.0
    for limit in sorted(set(score.tolist()), reverse=True):
        flagged = score >= limit
        existence = sum(bool(flagged[list(one)].any()) for one in reached) / len(reached)
        recall = min((soft * flagged).sum() / positives, 1.0) * existence
        area += (recall - points[-1][1]) * (soft * flagged).sum() / flagged.sum()
        points.append((((1 - soft) * flagged).sum() / (count - positives), recall))
    points.append((1.0, 1.0))
    roc = sum((x1 - x0) * (y0 + y1) / 2 for (x0, y0), (x1, y1) in itertools.pairwise(points))
    return roc, area


@settings(max_examples=60)
@given(scored(), st.integers(0, 9))
def test_volumes_are_the_means_of_the_looped_areas(case: Case, longest: int) -> None:
    labels, score = case
    expected = np.mean([looped_areas(labels, score, length) for length in range(longest + 1)], axis=0)
    found = volumes(labels, score, longest)
    assert (found["vus_roc"], found["vus_pr"]) == pytest.approx(tuple(expected))


def test_buffers_by_hand() -> None:
    soft = soft_labels(bits("...##....#"), 4)
    assert soft == pytest.approx([0, 0.5**0.5, 0.75**0.5, 1, 1, 0.75**0.5, 0.5**0.5, 0.5**0.5, 0.75**0.5, 1])
    assert soft_labels(bits("#.#"), 2) == pytest.approx([1, 1, 1])  # buffers that meet add up to no more than 1


@settings(max_examples=30)
@given(scored())
def test_without_a_buffer_and_with_one_range_the_areas_are_the_usual_ones(case: Case) -> None:
    labels, score = case
    if len(runs(labels)) > 1:
        return
    found = volumes(labels, score, 0)
    assert found["vus_roc"] == pytest.approx(metrics.roc_auc_score(labels, score))
    assert found["vus_pr"] == pytest.approx(metrics.average_precision_score(labels, score))


def test_volumes_forgive_a_lag_and_undefined_ones_are_none() -> None:
    labels = np.zeros(400, dtype=bool)
    labels[200:220] = True
    late = np.roll(labels, 10).astype(float)
    narrow, wide = volumes(labels, late, 0)["vus_pr"], volumes(labels, late, 40)["vus_pr"]
    assert narrow is not None
    assert wide is not None
    assert narrow + 0.1 < wide
    assert volumes(labels, np.zeros(400), 0) == pytest.approx({"vus_roc": 0.5, "vus_pr": 0.05})
    assert set(volumes(np.zeros(5, dtype=bool), np.arange(5.0), 3).values()) == {None}


# Affiliation


def test_affiliation_by_hand() -> None:
    """Ranges [3, 4) and [7, 10), flags [4, 5) and [8, 9): zones [0, 5.5] and [5.5, 10]."""
    labels, flagged = bits("...#...###"), bits("....#...#.")
    first = (3.5 / 5.5, 4.5 / 5.5)
    second = (1.0, (3.5 / 4.5 + 1 + 3.75 / 4.5) / 3)
    found = affiliation(labels, flagged)
    assert found["affiliation_precision"] == pytest.approx((first[0] + second[0]) / 2)
    assert found["affiliation_recall"] == pytest.approx((first[1] + second[1]) / 2)


def test_affiliation_at_its_ends() -> None:
    labels = bits("...##....#..")
    assert set(affiliation(labels, labels).values()) == {1.0}
    missed = affiliation(labels, bits("...##......."))
    assert missed["affiliation_precision"] == 1.0  # over the zones with flags
    assert missed["affiliation_recall"] == 0.5
    nothing = affiliation(labels, ~labels & labels)
    expected = {"affiliation_precision": None, "affiliation_recall": 0.0, "affiliation_f1": 0.0}
    assert nothing == expected
    assert set(affiliation(nothing_ := bits("...."), nothing_).values()) == {None}


def looped_affiliation(labels: np.ndarray, flagged: np.ndarray, fine: int = 40) -> tuple[float, float]:
    """Precision and recall on a fine grid of times, by counting."""
    grid = (np.arange(len(labels) * fine) + 0.5) / fine
    ranges = [(one.start, one.stop) for one in runs(labels)]
    away = np.array([[max(start - time, time - end, 0.0) for start, end in ranges] for time in grid])
    precisions, recalls = [], []
    for place in range(len(ranges)):
        zone = away.argmin(axis=1) == place
        near, times = away[zone, place], grid[zone]
        alarm, inside = np.repeat(flagged, fine)[zone], np.repeat(labels, fine)[zone]
        if alarm.any():
            precisions.append(np.mean([(near >= each).mean() for each in near[alarm]]))
        spread = [np.abs(times - time) for time in times[inside]]
        recalls.append(np.mean([(each >= each[alarm].min()).mean() if alarm.any() else 0.0 for each in spread]))
    return float(np.mean(precisions)) if precisions else math.nan, float(np.mean(recalls))


@settings(max_examples=25)
@given(pairs(most=10).filter(lambda case: bool(case[0].any())))
def test_affiliation_is_the_counted_one(case: Case) -> None:
    labels, flagged = case
    found, (precision, recall) = affiliation(labels, flagged), looped_affiliation(labels, flagged)
    got = math.nan if found["affiliation_precision"] is None else found["affiliation_precision"]
    assert got == pytest.approx(precision, abs=0.03, nan_ok=True)
    assert found["affiliation_recall"] == pytest.approx(recall, abs=0.03)


# The score of the Numenta Anomaly Benchmark


def sigmoid(place: float) -> float:
    return 2 / (1 + math.exp(5 * place)) - 1


LABELS = np.zeros(100, dtype=bool)
LABELS[40:50] = LABELS[70:80] = True


def flags(*steps: int) -> np.ndarray:
    return np.isin(np.arange(100), steps)


def test_what_a_step_is_worth() -> None:
    worth = step_worth(LABELS)
    assert worth[40] == pytest.approx(1)
    assert worth[45] == pytest.approx(sigmoid(-0.5) / sigmoid(-1))
    assert worth[49] == pytest.approx(sigmoid(-0.1) / sigmoid(-1))
    assert worth[39] == pytest.approx(-0.11)
    assert worth[52] == pytest.approx(0.11 * sigmoid(3 / 9))
    assert worth[79 + 18] == pytest.approx(0.11 * sigmoid(2))


def test_the_score_by_hand() -> None:
    assert nab_score(LABELS, flags()) == 0
    assert nab_score(LABELS, flags(40, 70)) == pytest.approx(100)
    assert nab_points(LABELS, flags(40, 45, 60))[0] == pytest.approx(1 - 1 + 0.11 * sigmoid(11 / 9))
    assert nab_score(LABELS, flags(3, 40, 70)) == pytest.approx(100)  # in the probation nothing counts
    assert nab_score(LABELS, flags(20, 40, 70)) == pytest.approx(100 - 25 * 0.11)
    assert nab_score(flags(2, 3), flags(2)) is None
    assert nab_points(flags(), flags(20, 60)) == (pytest.approx(-0.22), 0)


def looped_points(labels: np.ndarray, flagged: np.ndarray) -> float:
    """Points, step by step."""
    probation = min(math.floor(0.15 * len(labels)), 750)
    total, window, past, earned = 0.0, None, None, {}
    for one in runs(labels):
        earned.update({one: -1.0} if one.stop > probation else {})
    for step in range(len(labels)):
        window = next((one for one in runs(labels) if step in one), None)
        past = next((one for one in reversed(runs(labels)) if one.stop <= step), None)
        if not flagged[step] or step < probation:
            continue
        if window is not None:
            place = -(window.stop - step) / len(window)
            earned[window] = max(earned[window], sigmoid(place) / sigmoid(-1))
        else:
            place = 9 if past is None else (step - past.stop + 1) / max(len(past) - 1, 1)
            total += 0.11 * (-1 if place >= 3 else sigmoid(place))
    return total + sum(earned.values())


@given(pairs())
def test_the_points_are_the_looped_ones(case: Case) -> None:
    labels, flagged = case
    assert nab_points(labels, flagged)[0] == pytest.approx(looped_points(labels, flagged))


@given(scored())
def test_the_oracle_takes_the_best_of_all_thresholds(case: Case) -> None:
    labels, score = case
    found = [nab_score(labels, score >= limit) for limit in [*set(score.tolist()), np.inf]]
    known = [each for each in found if each is not None]
    assert oracle_nab_score(labels, score) == (pytest.approx(max(known)) if known else None)


@given(scored())
def test_the_best_f1_is_the_best_of_all_thresholds(case: Case) -> None:
    labels, score = case
    assert oracle_f1(labels, score) == pytest.approx(max(f1(labels, score >= each) for each in score))


def test_no_threshold_without_an_anomaly() -> None:
    assert oracle_f1(np.zeros(3, dtype=bool), np.arange(3.0)) is None
    assert oracle_nab_score(np.zeros(3, dtype=bool), np.arange(3.0)) is None
