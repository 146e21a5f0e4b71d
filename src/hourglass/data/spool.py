"""Packed samples on disk, for training on more than fits in memory: written once, read back in random order."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Self, final

import numpy as np
import torch
from torch import Tensor

from hourglass.errors import DataError

_STRIPE = 1 << 16
"""Bytes, or one sample, that are read from one place: fewer would be found slowly, more would be neighbours."""


@final
class Spool:
    """Samples in a file without a name, so that nothing is left of it whatever happens.

    `example` are some of them, in memory; where numbers are missing from any sample, some are missing from these.
    `gap` is the first sample that lacks a number.
    """

    def __init__(self, folder: Path, shape: tuple[int, ...], window: int) -> None:
        """In a folder with room for all; `window` bytes of it are in memory at a time."""
        self.shape, self.rows, self.example = shape, 0, torch.empty(0, *shape)
        self.gap: np.ndarray | None = None
        self._bytes = 4 * math.prod(shape)
        self._window, self._folder = max(1, window // self._bytes), folder
        try:
            self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  closed by the context below
        except OSError as error:
            raise self._fault(error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *fault: object) -> None:
        self._file.close()

    def append(self, samples: np.ndarray, own: slice = slice(None)) -> None:
        """Write further samples (n, *shape), float32, or those of them that are one's own.

        What others hold may become the `gap` too. `DataError` where the disk is full.
        """
        try:
            self._file.write(np.ascontiguousarray(samples[own], dtype=np.float32).data)
            self._file.flush()
        except OSError as error:
            raise self._fault(error) from error
        self.rows += len(samples[own])
        if self.gap is None and bool((lacking := np.isnan(samples).any(axis=tuple(range(1, samples.ndim)))).any()):
            self.gap = samples[lacking.argmax()].copy()

    def windows(self, multiple: int, generator: torch.Generator) -> Iterator[Tensor]:
        """Every sample once, in stripes from random places, as many at a time as memory holds.

        All windows but the last have a multiple of so many samples. A window is only good until the next one.
        """
        stripe = max(1, _STRIPE // self._bytes)
        size = max(self._window // multiple, 1) * multiple
        held = np.empty((min(size, self.rows) + stripe, *self.shape), dtype=np.float32)
        filled = 0
        device = generator.device
        for place in torch.randperm(math.ceil(self.rows / stripe), generator=generator, device=device).tolist():
            filled += self._read_into(held[filled:], place * stripe, stripe)
            if filled >= size:
                yield torch.from_numpy(held[:size])
                held[: filled - size] = held[size:filled]
                filled -= size
        if filled:
            yield torch.from_numpy(held[:filled])

    def _read_into(self, room: np.ndarray, start: int, rows: int) -> int:
        """Read a stripe from a sample on; returns how many samples it has, fewer at the end of the file."""
        rows = min(rows, self.rows - start)
        wanted, done = room[:rows].data.cast("B"), 0
        while done < len(wanted):
            self._file.seek(start * self._bytes + done)
            got = self._file.readinto(wanted[done:])
            if not got:
                how = "leave the folder alone while a fit is at work, and fit again"
                raise DataError("the packed rows were cut short while they were read", where=str(self._folder), how=how)
            done += got
        return rows

    def _fault(self, error: OSError) -> DataError:
        how = "free some disk space, or write the model to a folder on another disk"
        what = f"cannot hold the packed rows: {error.strerror or error}"
        return DataError(what, where=str(self._folder), how=how)
