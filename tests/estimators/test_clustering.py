"""Groups without labels: blobs are found, numbered by their size, and their separation is what its formula says."""

import numpy as np
import pytest
from sklearn.metrics import normalized_mutual_info_score

from hourglass.estimators.clustering import k_means

CENTRES = np.array([[0.0, 0.0], [9.0, 0.0], [0.0, 9.0]])


def blobs(spread: float) -> tuple[np.ndarray, np.ndarray]:
    kinds = np.repeat([0, 1, 2], [20, 60, 40])
    return CENTRES[kinds] + np.random.default_rng(0).normal(scale=spread, size=(120, 2)), kinds


def test_blobs_are_found_and_the_largest_is_the_first() -> None:
    points, kinds = blobs(1.0)
    found = k_means(points, 3)
    assert normalized_mutual_info_score(kinds, found.groups) == 1.0
    assert found.sizes == [60, 40, 20]
    assert (found.groups[kinds == 1] == 0).all()
    np.testing.assert_array_equal(k_means(points, 3).groups, found.groups)


def test_separation_compares_the_nearest_centre_with_the_next() -> None:
    points, kinds = blobs(1.0)
    centres = np.stack([points[kinds == kind].mean(axis=0) for kind in range(3)])
    distances = np.sort(np.linalg.norm(points[:, None] - centres, axis=2), axis=1)
    assert k_means(points, 3).separation == pytest.approx((1 - distances[:, 0] / distances[:, 1]).mean())
    assert k_means(blobs(0.0)[0], 3).separation == pytest.approx(1.0)
    assert k_means(blobs(0.2)[0], 3).separation > k_means(blobs(3.0)[0], 3).separation > 0


def test_one_group_is_not_apart_from_anything() -> None:
    found = k_means(blobs(1.0)[0], 1)
    assert (found.sizes, found.separation) == ([120], 0.0)
