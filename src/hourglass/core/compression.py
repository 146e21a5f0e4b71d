"""Codes as whole numbers, and how likely each whole number is: what a compressed file is made of.

    codes -> Rounding -> whole numbers -> frequencies, block by block -> an entropy coder (interfaces/coding.py)

Rounding moves a code; what counts is how far that moves the reconstruction. So codes are first turned and stretched
until a step in any direction moves the reconstruction alike, and until what is rounded is uncorrelated: then one step
for all directions is the best there is (transform coding: Goyal 2001), and each direction is coded by itself.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hourglass.errors import UsageError

LEVELS = 31
"""A direction is stored in whole 31sts of its largest number."""
OCTAVE = 256
"""A length is stored as its logarithm to base 2 in whole 256ths: within .14 %."""
_FURTHEST = 2**15 - 1
TO_NEAREST = 0.42
"""Of a step, what is rounded up begins .42 below it: numbers near 0 are many, and 0 is the cheapest to say."""
_LARGEST = 2**31 - 1
_PROBED_NUMBERS = 2**25
_MOST_PROBED = 128
_NUDGE = 0.05
"""Of a code number's deviation, how far it is moved to see what the decoder makes of it."""
_LEAST_SENSITIVITY = 1e-8

Decode = Callable[[np.ndarray], np.ndarray]
"""From codes, float32 (n, latent), to packed samples (n, ...)."""


@dataclass(frozen=True)
class Rounding:
    """Codes as whole numbers of steps: code = centre + rows * levels @ (columns * whole numbers).

    Everything in it is coarse enough to be stored in few bytes, and stored as it is used: reading a file repeats
    nothing that was learned.
    """

    centre: np.ndarray
    """About the mean code, float32 (latent,); the last byte of each number is 0."""
    row_octaves: np.ndarray
    """About the deviation of each code number, int16 (latent,): 256 times its logarithm to base 2."""
    levels: np.ndarray
    """The directions, int8 (latent, directions), from -31 to 31."""
    column_octaves: np.ndarray
    """Length of a step along each direction, int16 (directions,), as 256 logarithms to base 2."""

    @cached_property
    def matrix(self) -> np.ndarray:
        """What one step along each direction adds to a code, float64 (latent, directions)."""
        rows, columns = (np.exp2(octaves / OCTAVE) for octaves in (self.row_octaves, self.column_octaves))
        return np.asarray(rows[:, None] * self.levels * columns)

    @property
    def turned(self) -> bool:
        """Whether directions are others than the code numbers themselves, each by itself."""
        return not np.array_equal(self.levels, np.eye(len(self.centre), dtype=np.int8))

    def whole(self, codes: np.ndarray) -> np.ndarray:
        """The whole numbers of steps, int64 (n, directions), that stand for codes (n, latent)."""
        return to_whole((codes.astype(np.float64) - self.centre) @ np.linalg.pinv(self.matrix, rcond=1e-12).T)

    def codes(self, whole: np.ndarray) -> np.ndarray:
        """The codes, float32 (n, latent), that whole numbers stand for."""
        return np.asarray(self.centre + whole @ self.matrix.T, dtype=np.float32)

    def with_step(self, step: float) -> Rounding:
        """The same directions, a step so many times as long."""
        columns = self.column_octaves + np.rint(OCTAVE * np.log2(step))
        return dataclasses.replace(self, column_octaves=np.clip(columns, -_FURTHEST, _FURTHEST).astype(np.int16))

    def along(self, used: np.ndarray) -> Rounding:
        """The same for the directions at `used` only: others, along which all is rounded to 0, need no place."""
        return dataclasses.replace(self, levels=self.levels[:, used], column_octaves=self.column_octaves[used])


def to_whole(steps: np.ndarray) -> np.ndarray:
    """Numbers of steps rounded to whole ones, a little towards 0.

    >>> to_whole(np.array([0.5, 0.6, -1.5, -1.6]))
    array([ 0,  1, -1, -2])
    """
    if not (np.isfinite(steps).all() and np.abs(steps).max(initial=0) < _LARGEST):
        raise UsageError("the codes are more than 2 billion steps wide", where="compress", how="take a larger step")
    return np.asarray(np.sign(steps) * np.floor(np.abs(steps) + TO_NEAREST), dtype=np.int64)


def learn_rounding(codes: np.ndarray, metric: np.ndarray, turned: bool) -> Rounding:
    """Directions for codes (n, latent), along each of which a step of 1 moves the packed reconstruction by 1.

    `metric`: see `sensitivity`. `turned`: along the principal axes of the codes as the decoder sees them, which leaves
    nothing correlated but costs latent x latent levels; otherwise along the code numbers themselves.
    """
    centre, deviation = codes.mean(axis=0, dtype=np.float64), codes.std(axis=0, dtype=np.float64)
    if not turned:
        lengths = 1 / np.sqrt(_seen(np.diag(metric)))
        return Rounding(
            _short(centre), _octaves(np.ones_like(centre)), np.eye(len(centre), dtype=np.int8), _octaves(lengths)
        )
    rows = _octaves(np.where(deviation > 0, deviation, 1.0))
    scale = np.exp2(rows / OCTAVE)
    scaled = scale[:, None] * metric * scale
    directions = _principal((codes - centre) / scale, scaled)
    levels = np.rint(LEVELS * directions / np.abs(directions).max(axis=0)).astype(np.int8)
    if np.linalg.cond(levels) > 1 / _LEAST_SENSITIVITY:
        return learn_rounding(codes, metric, turned=False)
    squares = np.einsum("ij,ik,kj->j", levels, scaled, levels)  # of what is stored, not of what was learned
    return Rounding(_short(centre), rows, levels, _octaves(1 / np.sqrt(_seen(squares))))


def _short(numbers: np.ndarray) -> np.ndarray:
    """Numbers as float32 whose last byte is 0, so that three bytes hold each."""
    return np.asarray((numbers.astype("<f4").view("<u4") & np.uint32(0xFFFFFF00)).view("<f4"))


def _octaves(lengths: np.ndarray) -> np.ndarray:
    return np.asarray(np.clip(np.rint(OCTAVE * np.log2(lengths)), -_FURTHEST, _FURTHEST).astype(np.int16))


def _principal(codes: np.ndarray, metric: np.ndarray) -> np.ndarray:
    """S^-1 V, with S the square root of the metric and V the principal axes of codes @ S."""
    squares, axes = np.linalg.eigh(metric)
    roots = np.sqrt(_seen(squares))
    seen = codes @ (axes * roots) @ axes.T
    principal = np.linalg.eigh(seen.T @ seen)[1][:, ::-1]
    return np.asarray((axes / roots) @ axes.T @ principal)


def _seen(squares: np.ndarray) -> np.ndarray:
    """Squared sensitivities, none of them 0: what the decoder does not look at would be stretched without end."""
    largest = float(squares.max(initial=0.0))
    return np.maximum(squares, _LEAST_SENSITIVITY * largest) if largest > 0 else np.ones_like(squares)


def sensitivity(decode: Decode, codes: np.ndarray) -> np.ndarray:
    """How the decoder answers to small moves of a code: the mean of J^T J over some codes, float64 (latent, latent).

    J is the Jacobian of a sample's numbers, on the packed scale, by each code number, from central differences.
    """
    deviation = codes.std(axis=0, dtype=np.float64)
    nudge = _NUDGE * np.where(deviation > 0, deviation, 1.0)
    numbers = decode(codes[:1]).size * codes.shape[1]
    most = int(np.clip(_PROBED_NUMBERS // numbers, 2, _MOST_PROBED))
    probed = codes[np.linspace(0, len(codes) - 1, min(most, len(codes))).astype(int)]
    slopes = [_slope(decode, probed, move, nudge[place]) for place, move in enumerate(np.diag(nudge))]
    jacobian = np.stack(slopes)
    return np.asarray(jacobian @ jacobian.T / len(probed), dtype=np.float64)


def _slope(decode: Decode, codes: np.ndarray, move: np.ndarray, length: float) -> np.ndarray:
    """The decoder's answer to `move`, for each unit of its length; all samples' numbers in a row."""
    above, below = (decode((codes + sign * move).astype(np.float32)) for sign in (1, -1))
    return np.asarray((above - below).ravel() / (2 * length))


def blocks(count: int) -> Iterator[slice]:
    """So many symbols in blocks that grow with what is known: all of one block are coded by the counts of those before.

    >>> [(block.start, block.stop) for block in blocks(40)]
    [(0, 8), (8, 16), (16, 24), (24, 32), (32, 40)]
    """
    start = 0
    while start < count:
        width = max(8, start // 4)
        yield slice(start, min(start + width, count))
        start += width


def frequencies(counts: np.ndarray) -> np.ndarray:
    """How likely each symbol is next, up to a factor, from how often each was seen; whole numbers, as float64.

    Counts, and a share of about 4 in so many symbols seen for what lies beside them: much at first, little later.
    Sums and products of whole numbers below 2^53 are exact, so that every machine gets the same.
    """
    spread = 2 * counts
    spread[1:] += counts[:-1]
    spread[:-1] += counts[1:]
    return np.asarray(4 * counts * (counts.sum() + 1) + 4 * (spread + 1), dtype=np.float64)


def bits(symbols: np.ndarray, size: int) -> float:
    """What symbols (n,) from 0 to `size` - 1 take, coded one block after the other by `frequencies`."""
    counts = np.zeros(size, dtype=np.int64)
    total = 0.0
    for block in blocks(len(symbols)):
        table = frequencies(counts)
        total -= float(np.log2(table[symbols[block]] / table.sum()).sum())
        counts += np.bincount(symbols[block], minlength=size)
    return total
