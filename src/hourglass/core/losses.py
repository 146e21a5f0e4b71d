"""How far an output is from the sample, cell by cell; a sample's loss is the mean over the cells that count.

The cells that count are those not missing and, where the network was told what is hidden, the hidden ones.
A loss that is a negative log-likelihood may go below 0; its errors, which scorers read, do not.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from hourglass.core.model import Trace, union
from hourglass.data.samples import Layout
from hourglass.errors import UsageError
from hourglass.settings import Part, option


@dataclass(frozen=True)
class Loss(Part):
    """What a difference between output and sample costs."""

    slot = "loss"
    unit_interval: ClassVar[bool] = False
    """Whether it takes numbers from 0 to 1 only."""
    density: ClassVar[bool] = False
    """Whether it is -log p(sample | output), in nats a cell."""

    @abstractmethod
    def build(self, layout: Layout) -> CellLoss:
        """The module that scores outputs for samples of this layout."""


class CellLoss(nn.Module):
    """A loss over cells. Final classes give `cells`, `constant` and `expectation`; the rest is the same for all."""

    cell_of: Tensor
    first: Tensor

    def __init__(self, settings: Loss, layout: Layout) -> None:
        super().__init__()
        self.settings = settings
        cell_of = torch.from_numpy(layout.cell_of())
        self.count = int(cell_of[-1]) + 1
        self.register_buffer("cell_of", cell_of, persistent=False)
        first = torch.ones(len(cell_of), dtype=torch.bool)
        first[1:] = cell_of[1:] != cell_of[:-1]
        self.register_buffer("first", first.nonzero().squeeze(1), persistent=False)

    @abstractmethod
    def cells(self, output: Tensor, x: Tensor) -> Tensor:
        """Error of each cell, not negative. Shape (n, cells)."""

    @abstractmethod
    def constant(self) -> Tensor | None:
        """What each cell's loss has beside its error, whatever the output. Shape (1, cells); None where nothing."""

    @abstractmethod
    def expectation(self, output: Tensor) -> Tensor:
        """What the output means, on the packed scale: numbers, or probabilities of flags and categories."""

    def forward(self, trace: Trace) -> Tensor:
        """Loss of each sample. Shape (n,)."""
        errors, constant = self.errors(trace), self.constant()
        if constant is None:
            return errors
        return errors + weighted_mean(constant, self.counting(trace.missing, trace.hidden))

    def errors(self, trace: Trace) -> Tensor:
        """Error of each sample, not negative: its loss without the constant. Shape (n,)."""
        return weighted_mean(self.cells(trace.output, trace.x), self.counting(trace.missing, trace.hidden))

    def counting(self, missing: Tensor | None, hidden: Tensor | None) -> Tensor | None:
        """Which cells count, as 0 and 1, shape (n, cells); None where all do."""
        if hidden is not None:
            hidden = self.per_cell(hidden)
            # a sample that hides nothing is scored whole
            hidden = hidden | ~hidden.any(1, keepdim=True)
        there = None if missing is None else ~self.per_cell(missing)
        counting = union(hidden, there) if hidden is None or there is None else hidden & there
        return None if counting is None else counting.float()

    def per_cell(self, mask: Tensor) -> Tensor:
        """A mask of numbers as a mask of cells: a cell's first place speaks for it."""
        flat = mask.flatten(1)
        return flat if flat.shape[1] == self.count else flat[:, self.first]


def weighted_mean(cells: Tensor, weights: Tensor | None) -> Tensor:
    """Mean over cells of each sample, under weights; a sample without any weight has loss 0."""
    if weights is None:
        return cells.mean(1)
    return (cells * weights).sum(1) / weights.sum(1).clamp(min=1.0)


_Pointwise = Callable[[Tensor, Tensor], Tensor]


class _ElementwiseLoss(CellLoss):
    """One number, one cell."""

    def __init__(
        self,
        settings: Loss,
        layout: Layout,
        pointwise: _Pointwise,
        link: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__(settings, layout)
        if layout.mixed:
            raise UsageError(
                "this loss takes plain numbers, and the data have flags or categories",
                where="loss",
                how="leave the loss out, or use --set loss=mixed",
            )
        self.pointwise, self.link = pointwise, link

    def cells(self, output: Tensor, x: Tensor) -> Tensor:
        return self.pointwise(output, x).flatten(1)

    def constant(self) -> None:
        return None

    def expectation(self, output: Tensor) -> Tensor:
        return self.link(output) if self.link else output


def squared(output: Tensor, x: Tensor) -> Tensor:
    """(output - x)^2 of each number."""
    return (output - x).square()


def absolute(output: Tensor, x: Tensor) -> Tensor:
    """|output - x| of each number."""
    return (output - x).abs()


def bernoulli(output: Tensor, x: Tensor) -> Tensor:
    """Cross-entropy in nats of numbers in [0, 1], `output` the log-odds; beyond, the squared excess is added."""
    share = x.clamp(0, 1)
    return functional.binary_cross_entropy_with_logits(output, share, reduction="none") + (x - share).square()


@dataclass(frozen=True)
class Squared(Loss):
    """Squared difference (mean squared error)."""

    name = "squared"

    def build(self, layout: Layout) -> CellLoss:
        return _ElementwiseLoss(self, layout, squared)


@dataclass(frozen=True)
class Absolute(Loss):
    """Absolute difference: less moved by a few large errors."""

    name = "absolute"

    def build(self, layout: Layout) -> CellLoss:
        return _ElementwiseLoss(self, layout, absolute)


@dataclass(frozen=True)
class Huber(Loss):
    """Squared difference up to `delta`, straight beyond it; divided so that it is the squared loss near zero."""

    name = "huber"
    delta: float = option(1.0, "where the square turns into a line", low=1e-6)

    def build(self, layout: Layout) -> CellLoss:
        def huber(output: Tensor, x: Tensor) -> Tensor:
            return 2 * functional.huber_loss(output, x, reduction="none", delta=self.delta)

        return _ElementwiseLoss(self, layout, huber)


@dataclass(frozen=True)
class Bernoulli(Loss):
    """Cross-entropy of numbers in [0, 1], in nats; the network's last layer must be linear, the sigmoid is in here."""

    name = "bernoulli"
    unit_interval = True
    density = True

    def build(self, layout: Layout) -> CellLoss:
        return _ElementwiseLoss(self, layout, bernoulli, torch.sigmoid)


@dataclass(frozen=True)
class Categorical(Loss):
    """Cross-entropy of each category cell, in nats (a softmax over its places)."""

    name = "categorical"
    density = True

    def build(self, layout: Layout) -> CellLoss:
        others = [cell.name for cell in layout.cells if cell.kind != "category"]
        if others or not layout.cells:
            raise UsageError(
                f"this loss takes categories only, and {', '.join(others[:3]) or 'the data'} are not",
                where="loss",
                how="use --set loss=mixed",
            )
        return _MixedLoss(self, layout, squared, scaled=False)


@dataclass(frozen=True)
class Mixed(Loss):
    """Numbers, flags and categories together, each cell divided by the loss of always guessing its training mean.

    So a guess costs about 1 in every column, and no column type dominates.
    """

    name = "mixed"
    numbers: str = option("squared", "loss of the plain numbers", choices=("squared", "absolute"))

    def build(self, layout: Layout) -> CellLoss:
        return _MixedLoss(self, layout, squared if self.numbers == "squared" else absolute, scaled=True)


@dataclass(frozen=True)
class NormalLikelihood(Loss):
    """Negative log-likelihood in nats of numbers around the output, with a variance that is learned too.

    -log N(x; output, v) = (x - output)^2 / 2v + (log v + log 2 pi) / 2, v one number for all cells (Rybkin et al. 2021,
    sigma-VAE) or one a cell. Flags and categories cost their cross-entropy. With a Gaussian bottleneck of `beta` 1 the
    objective is then the negative ELBO over the number of cells, and nothing is left to be tuned between the two terms.
    """

    name = "normal"
    density = True
    variance: str = option("shared", "what has a learned variance of its own", choices=("shared", "cell"))

    def build(self, layout: Layout) -> CellLoss:
        if layout.mixed:
            return _NormalLoss(self, layout, _MixedLoss(self, layout, squared, scaled=False))
        return _NormalLoss(self, layout, _ElementwiseLoss(self, layout, squared))


_LOWEST, _FIRST = -12.0, -3.5
"""Log-variances: the least there is, and the first, of a decoder so sure that codes pay before it learns to blur."""
_FASTER = 10.0


class _NormalLoss(CellLoss):
    """The errors of another loss, those of numbers divided by twice their variance."""

    number: Tensor

    def __init__(self, settings: NormalLikelihood, layout: Layout, base: CellLoss) -> None:
        super().__init__(settings, layout)
        self.base = base
        kinds = [cell.kind for cell in layout.cells] or ["number"] * self.count
        self.register_buffer("number", torch.tensor([kind == "number" for kind in kinds]), persistent=False)
        # Adam moves any weight by about the learning rate a step: unscaled, a variance would need thousands of steps
        first = torch.full((self.count if settings.variance == "cell" else 1,), _FIRST / _FASTER)
        self.slow_log_variance = nn.Parameter(first)

    def log_variance(self) -> Tensor:
        """Shape (1,) or (cells,). Bounded below: the variance of a constant column would go to 0."""
        return _LOWEST + functional.softplus(_FASTER * self.slow_log_variance - _LOWEST)

    def cells(self, output: Tensor, x: Tensor) -> Tensor:
        return self.base.cells(output, x) * torch.where(self.number, 0.5 * (-self.log_variance()).exp(), 1.0)

    def constant(self) -> Tensor:
        each = 0.5 * (self.log_variance() + math.log(2 * math.pi))
        return torch.where(self.number, each, 0.0).unsqueeze(0)

    def expectation(self, output: Tensor) -> Tensor:
        return self.base.expectation(output)


class _MixedLoss(CellLoss):
    """Places of a flat sample are split by kind once; categories of any width are done together by segment sums."""

    scale: Tensor
    number_places: Tensor
    flag_places: Tensor
    category_places: Tensor

    def __init__(self, settings: Loss, layout: Layout, number_loss: _Pointwise, scaled: bool) -> None:
        super().__init__(settings, layout)
        kinds = [cell.kind for cell in layout.cells] or ["number"] * layout.size
        baselines = [cell.baseline for cell in layout.cells] or [1.0] * layout.size
        if number_loss is absolute:  # the baseline is a variance; a guess then costs about its root
            pairs = zip(baselines, kinds, strict=True)
            baselines = [baseline**0.5 if kind == "number" else baseline for baseline, kind in pairs]
        self.number_loss = number_loss
        self.register_buffer("scale", 1.0 / torch.tensor(baselines if scaled else [1.0] * len(kinds)), persistent=False)
        for kind in ("number", "flag", "category"):
            cells = torch.tensor([index for index, name in enumerate(kinds) if name == kind], dtype=torch.long)
            self.register_buffer(
                f"{kind}_places", torch.isin(self.cell_of, cells).nonzero().squeeze(1), persistent=False
            )

    def cells(self, output: Tensor, x: Tensor) -> Tensor:
        output, x = output.flatten(1), x.flatten(1)
        each = torch.zeros_like(output)
        for places, loss in ((self.number_places, self.number_loss), (self.flag_places, bernoulli)):
            each = each.index_copy(1, places, loss(output[:, places], x[:, places]))
        places, owners = self._categories()
        if len(places):
            each = each.index_copy(1, places, -x[:, places] * self._log_shares(output[:, places], owners))
        return _segment_sum(each, self.cell_of, self.count) * self.scale

    def constant(self) -> None:
        return None

    def expectation(self, output: Tensor) -> Tensor:
        flat = output.flatten(1)
        result = flat.index_copy(1, self.flag_places, flat[:, self.flag_places].sigmoid())
        places, owners = self._categories()
        if len(places):
            result = result.index_copy(1, places, self._log_shares(flat[:, places], owners).exp())
        return result.reshape(output.shape)

    def _categories(self) -> tuple[Tensor, Tensor]:
        return self.category_places, self.cell_of[self.category_places]

    def _log_shares(self, logits: Tensor, owners: Tensor) -> Tensor:
        """Log-softmax within each category cell."""
        index = owners.expand_as(logits)
        start = torch.full((logits.shape[0], self.count), -torch.inf, dtype=logits.dtype, device=logits.device)
        peak = start.scatter_reduce(1, index, logits.detach(), "amax")
        shifted = logits - peak.gather(1, index)
        return shifted - _segment_sum(shifted.exp(), owners, self.count).gather(1, index).log()


def _segment_sum(values: Tensor, owners: Tensor, count: int) -> Tensor:
    return values.new_zeros(values.shape[0], count).index_add(1, owners, values)
