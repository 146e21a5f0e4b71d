"""Mean, covariance and whitening, held to numpy."""

import numpy as np
import pytest
import torch

from hourglass.core.whitening import merged, whitening


@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_batches_of_rows_add_up_to_their_mean_and_covariance(offset: float) -> None:
    rows = torch.rand(1_000, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + offset
    zero = torch.zeros((), dtype=torch.float64)
    count, mean, covariance = 0, zero, zero
    for batch in rows.split([1, 64, 900, 35]):
        count, mean, covariance = merged(count, mean, covariance, batch)
    assert count == 1_000
    np.testing.assert_allclose(mean, rows.numpy().mean(axis=0))
    np.testing.assert_allclose(covariance, np.cov(rows.numpy(), rowvar=False, bias=True), rtol=1e-6, atol=1e-9)


def test_whitened_rows_are_independent_and_of_unit_size() -> None:
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(6, 6, generator=generator, dtype=torch.float64)
    covariance = mixing @ mixing.T
    turned = whitening(covariance, generator)
    whitened = turned.T @ covariance @ turned
    np.testing.assert_allclose(whitened, np.eye(6), atol=0.25)  # but for the shrinkage


def test_many_numbers_are_cut_to_128_and_none_that_never_fires_divides_by_0() -> None:
    generator = torch.Generator().manual_seed(0)
    covariance = torch.eye(200, dtype=torch.float64)
    covariance[0, 0] = 0
    turned = whitening(covariance, generator)
    assert turned.shape == (200, 128)
    assert torch.isfinite(turned).all()
    assert torch.isfinite(whitening(torch.zeros(3, 3, dtype=torch.float64), generator)).all()
