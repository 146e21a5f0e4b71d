"""Running a network over many samples, so that a row's result does not depend on its neighbours."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

_NUMBERS, _MOST_NUMBERS = 2**18, 2**20
_STEP = 64
MOST_ROWS = 8_192
"""Rows in the largest chunk."""


def chunk_rows(size: int) -> int:
    """Rows in a chunk, for samples of `size` numbers: a power of two, 64 to 8,192; fewer for large pictures.

    A convolution makes many numbers of each pixel: 64 pictures of a megapixel would fill the memory.
    """
    rows = min(MOST_ROWS, max(_NUMBERS // size, min(_STEP, _MOST_NUMBERS // size), 1))
    return int(2 ** (rows.bit_length() - 1))


@contextmanager
def single_precision() -> Iterator[None]:
    """Tensors and layers made here are float32, whatever default the caller has set for their own work."""
    callers = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(callers)


@contextmanager
def on_threads(number: int) -> Iterator[None]:
    """Torch works on so many threads here; with others, products are cut into other parts, which round differently."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)  # the same number too: until one is set, MKL may take fewer at times
    try:
        yield
    finally:
        torch.set_num_threads(before)


@single_precision()
@torch.inference_mode()
def in_chunks(function: Callable[[Tensor], Tensor], samples: np.ndarray, device: torch.device) -> np.ndarray:
    """`function` of the samples, so many at a time, joined.

    The last chunk is filled up with zeros to a multiple of 64 (of a chunk, where that is smaller): matrix products of
    few or odd rows round differently, and a row's score must not depend on how many rows came with it.
    """
    rows = chunk_rows(int(np.prod(samples.shape[1:])))
    step = min(_STEP, rows)
    results = []
    for start in range(0, max(len(samples), 1), rows):
        chunk = samples[start : start + rows]
        # copied, since a matrix product also rounds by where in memory its numbers lie, and a tensor's own are aligned
        filled = torch.empty((-len(chunk) % step + len(chunk), *samples.shape[1:]))
        filled.numpy()[: len(chunk)], filled[len(chunk) :] = chunk, 0.0
        results.append(function(filled.to(device))[: len(chunk)].cpu().numpy())
    return np.concatenate(results)
