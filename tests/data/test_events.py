from __future__ import annotations

import numpy as np
import pyarrow as pa

from hourglass.data.events import Event, find_events


def test_touching_rows_are_one_event_with_its_peak() -> None:
    flagged = np.array([0, 1, 1, 1, 0, 0, 1], bool)
    score = np.array([9.0, 1, 3, 2, 0, 0, 5])
    found = find_events(flagged, score, pa.array(range(7)))
    assert found == [Event(1, 3, 2, 3.0, "1", "3", "2"), Event(6, 6, 6, 5.0, "6", "6", "6")]


def test_events_follow_time_and_not_the_order_of_rows() -> None:
    times = pa.array([1800, 0, 5400, 3600], pa.timestamp("s"))
    found = find_events(np.array([True, False, False, True]), np.array([1.0, 0, 0, 2.0]), times)
    assert found == [Event(0, 3, 3, 2.0, "1970-01-01 00:30", "1970-01-01 01:00", "1970-01-01 01:00")]


def test_plain_numbers_may_be_times() -> None:
    (event,) = find_events(np.array([False, True]), np.array([0.0, 1.0]), pa.array([0.25, 0.5]))
    assert event.peak_label == "0.5"


def test_a_missing_score_is_no_peak() -> None:
    (event,) = find_events(np.array([True, True]), np.array([np.nan, 1.0]), pa.array([0, 1]))
    assert event.peak == 1


def test_nothing_flagged_is_no_event() -> None:
    assert find_events(np.zeros(3, bool), np.zeros(3), pa.array(range(3))) == []
    assert find_events(np.zeros(0, bool), np.zeros(0), pa.array([], pa.int64())) == []
