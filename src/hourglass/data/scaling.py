"""Numbers in a user's units to numbers that a network learns well from, and back.

    Scaler              abstract: forward packs, inverse unpacks; NaN (missing) passes through both
    ├── Affine          abstract: subtract, divide, soften the tails
    │   ├── Standardise     mean 0, standard deviation 1
    │   └── MinMax          0 to 1
    ├── Quantile        share of training values below, 0 to 1
    └── Identity        as they are

Scalers are modules with float64 buffers, so that they can be saved, moved and exported with the network. The
subtraction happens in float64, before the cast to float32: float32 has 7 digits, and an offset of 1e9 would leave none
for the signal.

What lies far outside the training data is compressed, not clipped: the logarithm keeps 1e30 finite, and first in rank.
A constant column is scaled by 1 % of its value (by 1 where that is 0), so that a later change in it shows.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn

from hourglass.errors import DataError, ModelFileError, UsageError
from hourglass.settings import did_you_mean

OVER = ("column", "all")

LINEAR = 20.0
"""Packed values up to this size are left as they are; beyond, only their logarithm grows."""
INTERVALS = 256
"""Pieces of a quantile scaler; a power of two, for its search."""

_LARGEST = torch.tensor(np.finfo(np.float64).max)
_LARGEST_PACKED = float(np.finfo(np.float32).max)
_SMALLEST_SCALE = 1e-300
_CACHED = 1 << 16
"""Numbers handled at a time: few enough that the intermediate results stay in the processor's cache."""


class Scaler(nn.Module, ABC):
    """Packs numbers for a network and unpacks what it gives back, with what it learned from training data."""

    learned: ClassVar[tuple[str, ...]]
    """Names of the float64 buffers. Their first dimension is the columns, or 1 where one scale serves all."""

    @classmethod
    @abstractmethod
    def fit(cls, numbers: np.ndarray, over: str = "column") -> Self:
        """Learn from `numbers`, (rows, columns), NaN = missing; over "all" is one scale for all columns together."""

    @abstractmethod
    def forward(self, numbers: Tensor) -> Tensor:
        """Numbers in units, float64 (..., columns), as packed numbers, float32 of the same shape."""

    @abstractmethod
    def inverse(self, packed: Tensor) -> Tensor:
        """Packed numbers, (..., columns), in units, float64; always finite where `packed` is."""

    def scale(self, numbers: np.ndarray) -> np.ndarray:
        """`forward` for an array of shape (rows, ..., columns), in chunks of rows."""
        return _chunked(self, numbers, np.float64, np.float32)

    def unscale(self, packed: np.ndarray) -> np.ndarray:
        """`inverse` for an array of shape (rows, ..., columns), in chunks of rows."""
        return _chunked(self.inverse, packed, np.float32, np.float64)

    def tensors(self) -> dict[str, Tensor]:
        """What was learned, for a model file."""
        return {name: getattr(self, name).detach().cpu() for name in self.learned}

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor]) -> Self:
        """The scaler that `tensors` describes; `ModelFileError` where it does not describe one."""
        if sorted(tensors) != sorted(cls.learned):
            raise ModelFileError(f"the scaler has the tensors {sorted(tensors)}, wanted {sorted(cls.learned)}")
        for name, tensor in tensors.items():
            if tensor.dtype != torch.float64 or not bool(torch.isfinite(tensor).all()):
                raise ModelFileError(f"the scaler's tensor {name!r} is not made of finite float64 numbers")
        try:
            return cls(*(tensors[name] for name in cls.learned))
        except ValueError as error:
            raise ModelFileError(f"the scaler's tensors do not fit together: {error}") from error


class Affine(Scaler):
    """Subtracts `offset` and divides by twice `half_scale`, then softens what lies beyond 20.

    Everything is done on halves, since the difference of two float64 numbers may be twice the largest one.
    """

    learned = ("offset", "half_scale")
    offset: Tensor
    half_scale: Tensor

    def __init__(self, offset: Tensor, half_scale: Tensor) -> None:
        super().__init__()
        if offset.ndim != 1 or offset.shape != half_scale.shape or bool((half_scale <= 0).any()):
            raise ValueError("wanted one offset and one positive scale for each column")
        self.register_buffer("offset", offset)
        self.register_buffer("half_scale", half_scale)

    def forward(self, numbers: Tensor) -> Tensor:
        return soften((numbers * 0.5 - self.offset * 0.5) / self.half_scale).to(torch.float32)

    def inverse(self, packed: Tensor) -> Tensor:
        return _doubled(harden(packed.to(torch.float64)) * self.half_scale + self.offset * 0.5)


class Standardise(Affine):
    """Mean 0 and standard deviation 1 on the training data (population standard deviation, as scikit-learn's).

    >>> import numpy as np
    >>> scaler = Standardise.fit(np.array([[1e9 + 1.0], [1e9 + 3.0]]))
    >>> scaler.scale(np.array([[1e9 + 2.5]])).item(), scaler.unscale(np.array([[2.0]])).item() - 1e9
    (0.5, 4.0)
    """

    @classmethod
    def fit(cls, numbers: np.ndarray, over: str = "column") -> Self:
        return cls.of(*moments(_columns(numbers, over)))

    @classmethod
    def of(cls, mean: np.ndarray, deviation: np.ndarray) -> Self:
        """The scaler of columns with this mean and population standard deviation."""
        return cls(torch.from_numpy(mean), torch.from_numpy(_positive(deviation * 0.5, mean)))


class MinMax(Affine):
    """From 0, the smallest training value, to 1, the largest; or between given limits (0 and 255 for pictures)."""

    @classmethod
    def fit(
        cls, numbers: np.ndarray, over: str = "column", low: float | None = None, high: float | None = None
    ) -> Self:
        return cls.of(*extremes(_columns(numbers, over)), low, high)

    @classmethod
    def of(cls, smallest: np.ndarray, largest: np.ndarray, low: float | None = None, high: float | None = None) -> Self:
        """The scaler of columns with these smallest and largest numbers, where no limits are given."""
        start = smallest if low is None else np.full_like(smallest, low)
        end = largest if high is None else np.full_like(largest, high)
        # One given limit may lie on the wrong side of the data: the span is then that of a constant, never negative.
        half = np.maximum(end * 0.5 - start * 0.5, 0.0)
        return cls(torch.from_numpy(start), torch.from_numpy(_positive(half, start)))


class Quantile(Scaler):
    """The share of training values below a number: uniform in [0, 1] on the training data, whatever their distribution.

    Linear between 257 stored quantiles; the middle of its share for a value that fills several. Beyond the training
    range by d ranges: 1 + log(1 + d) above, -log(1 + d) below.
    """

    learned = ("points",)
    points: Tensor
    half_range: Tensor
    middles: Tensor

    def __init__(self, points: Tensor) -> None:
        super().__init__()
        if points.ndim != 2 or points.shape[1] != INTERVALS + 1 or bool((points.diff() < 0).any()):
            raise ValueError(f"wanted {INTERVALS + 1} ascending quantiles for each column")
        table = points.numpy()
        half_range = _positive(table[:, -1] * 0.5 - table[:, 0] * 0.5, table[:, 0])
        self.register_buffer("points", points)
        self.register_buffer("half_range", torch.from_numpy(half_range), persistent=False)
        self.register_buffer("middles", torch.from_numpy(np.stack([_middles(row) for row in table])), persistent=False)

    @classmethod
    def fit(cls, numbers: np.ndarray, over: str = "column") -> Self:
        columns = (column[~np.isnan(column)] for column in _columns(numbers, over).T)
        return cls(torch.from_numpy(np.stack([_quantiles(column.astype(np.float64)) for column in columns])))

    def forward(self, numbers: Tensor) -> Tensor:
        value, points = numbers * 0.5, self.points * 0.5
        above, below = (value - points[:, -1]) / self.half_range, (points[:, 0] - value) / self.half_range
        share = torch.where(above > 0, 1 + _log1p(above), self._position(value, points) / INTERVALS)
        share = torch.where(below > 0, -_log1p(below), share)
        return torch.where(numbers.isnan(), numbers, share).to(torch.float32)

    def inverse(self, packed: Tensor) -> Tensor:
        share, points = packed.to(torch.float64), self.points * 0.5
        position = share.nan_to_num().clamp(0, 1) * INTERVALS
        interval = position.floor().clamp(max=INTERVALS - 1)
        place = self._rows() + interval.to(torch.int64)
        start, end = _taken(points, place), _taken(points, place + 1)
        value = start + (position - interval) * (end - start)
        value = torch.where(share > 1, points[:, -1] + _expm1(share - 1) * self.half_range, value)
        value = torch.where(share < 0, points[:, 0] - _expm1(-share) * self.half_range, value)
        return torch.where(share.isnan(), share, _doubled(value))

    def _position(self, value: Tensor, points: Tensor) -> Tensor:
        """Where values inside the range lie from 0 to 256: between two quantiles, or amid several equal ones."""
        place = self._rows() + torch.zeros_like(value, dtype=torch.int64)
        step = INTERVALS // 2
        while step:  # a binary search without branches, since ONNX has no searchsorted
            place = torch.where(_taken(points, place + step) <= value, place + step, place)
            step //= 2
        start, end = _taken(points, place), _taken(points, place + 1)
        # clamped, since dividing by the span of subnormal quantiles may overflow
        between = place - self._rows() + ((value - start) / (end - start)).clamp(0, 1)
        amid = torch.where(value == start, _taken(self.middles, place), _taken(self.middles, place + 1))
        return torch.where((value == start) | (value == end), amid, between)

    def _rows(self) -> Tensor:
        """Where each column's quantiles begin in the flattened table of them."""
        return torch.arange(self.points.shape[0], device=self.points.device) * (INTERVALS + 1)


class Identity(Scaler):
    """Numbers as they are; those beyond float32's range are held at its ends."""

    learned = ()

    @classmethod
    def fit(cls, numbers: np.ndarray, over: str = "column") -> Self:
        _columns(numbers, over)
        return cls()

    def forward(self, numbers: Tensor) -> Tensor:
        return numbers.clamp(-_LARGEST_PACKED, _LARGEST_PACKED).to(torch.float32)

    def inverse(self, packed: Tensor) -> Tensor:
        return packed.to(torch.float64)


SCALERS: dict[str, type[Scaler]] = {"standard": Standardise, "min-max": MinMax, "quantile": Quantile, "none": Identity}


def make_scaler(
    name: str, numbers: np.ndarray, over: str = "column", low: float | None = None, high: float | None = None
) -> Scaler:
    """The scaler called `name`, fitted on `numbers` (rows, columns); `low` and `high` fix the range of "min-max"."""
    if name not in SCALERS:
        raise UsageError(f"there is no scaling called {name!r}", how=did_you_mean(name, SCALERS))
    if low is None and high is None:
        return SCALERS[name].fit(numbers, over)
    if name != "min-max":
        raise UsageError(
            f"got a fixed range (low, high) with scaling {name!r}", how="a fixed range is for scaling 'min-max'"
        )
    if low is not None and high is not None and low >= high:
        raise UsageError(f"got a range from {low} to {high}, wanted low below high", how="swap them")
    return MinMax.fit(numbers, over, low, high)


def soften(packed: Tensor) -> Tensor:
    """z beyond 20 becomes sign(z) * (20 + log(1 + |z| - 20)): smooth, ascending, finite for every float64 number."""
    return _bent(packed, _log1p)


def harden(softened: Tensor) -> Tensor:
    """Undoes `soften`."""
    return _bent(softened, _expm1)


def _bent(numbers: Tensor, bend: Callable[[Tensor], Tensor]) -> Tensor:
    """Numbers with what lies beyond 20, on either side, put through `bend`."""
    if not torch.compiler.is_compiling() and _within(numbers):  # a graph cannot choose
        return numbers
    size = numbers.abs()
    beyond = size > LINEAR
    return torch.where(beyond, numbers.sign() * (LINEAR + bend(size - LINEAR)), numbers)


def _within(numbers: Tensor) -> bool:
    """Whether none is to be bent: a logarithm of each, for the few that need one, would cost more than all else."""
    if not numbers.numel():
        return True
    low, high = torch.aminmax(numbers)
    # NaN where one is missing: only then is each looked at, which takes six times as long
    return bool((low >= -LINEAR) & (high <= LINEAR)) or not bool((numbers.abs() > LINEAR).any())


def moments(columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and population standard deviation of each column without its NaN; 0 and 0 for a column with nothing else.

    Numbers are first divided by a power of two, which is exact, so that no sum or square overflows.
    """

    def average(term: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        total = sum(np.nansum(term(part.astype(np.float64)), axis=0) for part in _parts(columns))
        return np.asarray(total / count)

    low, high = extremes(columns)
    exponent = np.frexp(np.maximum(np.abs(low), np.abs(high)))[1]
    count = np.maximum(len(columns) - np.isnan(columns).sum(axis=0), 1)
    mean = average(lambda part: np.ldexp(part, -exponent))
    mean = mean + average(lambda part: np.ldexp(part, -exponent) - mean)  # what rounding of the long sum lost
    deviation = np.sqrt(average(lambda part: np.square(np.ldexp(part, -exponent) - mean)))
    constant = low == high  # a mean may round to just beside the constant
    return np.where(constant, low, np.ldexp(mean, exponent)), np.where(constant, 0.0, np.ldexp(deviation, exponent))


def extremes(columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Smallest and largest number of each column without its NaN; 0 and 0 for a column with nothing else."""
    low, high = np.fmin.reduce(columns, axis=0), np.fmax.reduce(columns, axis=0)
    return np.nan_to_num(low.astype(np.float64)), np.nan_to_num(high.astype(np.float64))


def _parts(array: np.ndarray) -> Iterator[np.ndarray]:
    """The array in pieces of whole rows, each small enough for the processor's cache."""
    rows = max(1, _CACHED // max(1, math.prod(array.shape[1:])))
    return (array[start : start + rows] for start in range(0, len(array), rows))


def _quantiles(column: np.ndarray) -> np.ndarray:
    if not column.size:
        return np.zeros(INTERVALS + 1)
    exponent = np.frexp(np.abs(column).max())[1]  # as for moments: a difference of two numbers may overflow
    quantiles = np.quantile(np.ldexp(column, -exponent), np.linspace(0, 1, INTERVALS + 1))
    return np.maximum.accumulate(np.ldexp(quantiles, exponent))  # interpolation may round to just below


def _middles(row: np.ndarray) -> np.ndarray:
    """For each quantile the mean place of those equal to it."""
    return (np.searchsorted(row, row, "left") + np.searchsorted(row, row, "right") - 1) / 2


def _taken(table: Tensor, places: Tensor) -> Tensor:
    return table.flatten().index_select(0, places.flatten()).view(places.shape)


def _positive(half: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Half a scale that can be divided by: half of 1 % of a constant column's value, or of 1 where that is 0."""
    constant = np.where(value == 0, 0.5, np.abs(value) * 0.005)
    return np.maximum(np.where(half > 0, half, constant), _SMALLEST_SCALE)


def _columns(numbers: np.ndarray, over: str) -> np.ndarray:
    if over not in OVER:
        raise UsageError(f"got over={over!r}, wanted one of {', '.join(OVER)}", how=did_you_mean(over, OVER))
    if not len(numbers):
        raise DataError("got no rows to learn a scale from", how="give at least one row, better hundreds")
    return numbers.reshape(-1, 1) if over == "all" else numbers


def _chunked(scale: Callable[[Tensor], Tensor], source: np.ndarray, taken: type, given: type) -> np.ndarray:
    result: np.ndarray = np.empty(source.shape, dtype=given)
    with torch.inference_mode():
        for part, place in zip(_parts(source), _parts(result), strict=True):
            # what cannot be written to, as memory maps and Arrow buffers, is copied: a tensor may not share it
            place[...] = scale(torch.from_numpy(np.require(part, taken, "W"))).numpy()
    return result


def _log1p(distance: Tensor) -> Tensor:
    return torch.log1p(_finite(distance.clamp(0)))


def _expm1(distance: Tensor) -> Tensor:
    return torch.expm1(distance.clamp(0))


def _doubled(half: Tensor) -> Tensor:
    """Twice `half`, held inside float64's range; NaN stays."""
    return _finite(half * 2)


def _finite(numbers: Tensor) -> Tensor:
    """Numbers, infinite ones as the largest there are; NaN stays."""
    # not clamp, whose limits would be float32 in a graph
    return numbers.minimum(_LARGEST).maximum(-_LARGEST)
