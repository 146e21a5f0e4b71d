"""Codes of few values: each piece of a code is one of a list of vectors (codebook), or one of a few levels.

Gradients pass a choice as if it were not there (straight-through, Bengio et al. 2013).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from hourglass.core.bottlenecks import Bottleneck
from hourglass.core.model import Code
from hourglass.errors import UsageError
from hourglass.settings import option

_DEAD = 0.1
"""An entry chosen less than this share of its equal part is taken for dead."""


@dataclass(frozen=True)
class Codebook(Bottleneck):
    """Each piece of a code is replaced by the nearest of learned vectors (van den Oord et al. 2017, vector-quantised).

    The vectors follow the mean of the pieces that chose them. The first are pieces of the first batch, far from each
    other; those that nothing chooses any more are put on badly matched pieces of the batch at hand. Term:
    `commitment` times the squared distance between pieces and vectors, summed over the code, a cell: the encoder stays
    near what it chose.
    """

    name = "codebook"
    entries: int = option(64, "vectors that each piece of a code is chosen from", low=2, high=65_536)
    groups: int | None = option(None, "pieces of a code, each with its own vectors (default: of two numbers)", low=1)
    commitment: float = option(0.25, "weight of the distance between what the encoder says and what is chosen", low=0)
    decay: float = option(0.95, "share of a vector's running mean that a batch leaves in place", low=0, high=0.9999)

    def build(self, size: int, cells: int) -> nn.Module:
        groups = self.groups or (size if size % 2 else size // 2)
        if size % groups:
            what = f"got {groups}, wanted a divisor of the latent size, {size}"
            raise UsageError(what, where="bottleneck.groups", how="change groups or the latent size")
        return _CodebookCode(self, groups, size // groups, cells)


@dataclass(frozen=True)
class FiniteScalar(Bottleneck):
    """Each number of a code is squeezed into (-1, 1) and rounded to one of `levels` values there (Mentzer et al. 2023).

    The levels halve (-1, 1), cut it in three, ...: tanh(number) becomes the middle of its interval. No term, nothing
    learned.
    """

    name = "finite-scalar"
    levels: tuple[int, ...] = option((8,), "values of a code number: one for all, or one a number", low=2, high=65_536)

    def build(self, size: int, cells: int) -> nn.Module:
        if len(self.levels) not in (1, size):
            what = f"got {len(self.levels)} levels, wanted one, or one for each of the {size} code numbers"
            raise UsageError(what, where="bottleneck.levels", how="change levels or the latent size")
        return _FiniteScalarCode(self.levels * (size // len(self.levels)))


class _CodebookCode(nn.Module):
    """Pieces have shape (n, groups, width), choices (n, groups)."""

    entries: Tensor
    counts: Tensor
    sums: Tensor
    started: Tensor

    def __init__(self, settings: Codebook, groups: int, width: int, cells: int) -> None:
        super().__init__()
        self.settings, self.groups, self.cells = settings, groups, cells
        entries = torch.randn(groups, settings.entries, width)
        self.register_buffer("entries", entries)
        self.register_buffer("counts", torch.ones(groups, settings.entries))
        self.register_buffer("sums", entries.clone())
        self.register_buffer("started", torch.tensor(False))

    def forward(self, hidden: Tensor, generator: torch.Generator | None) -> Code:
        pieces = self._pieces(hidden)
        # an opponent's pass, a penalty's second one and validation must leave the vectors alone
        learning = generator is not None and self.training and torch.is_grad_enabled()
        if learning and not bool(self.started):
            self._start(pieces.detach(), generator)
        chosen = self._nearest(pieces)
        found = self._entries_at(chosen)
        if learning:
            self._follow(pieces.detach(), found, chosen, generator)
        # exactly the vector, with the gradient of the piece
        value = (found + (pieces - pieces.detach())).flatten(1)
        if generator is None:
            return Code(value)
        distance = (pieces - found).square().sum((1, 2)).mean() / self.cells
        return Code(value, {"commitment": self.settings.commitment * distance})

    def indices(self, hidden: Tensor) -> Tensor:
        """Which vector each piece of what the encoder said is replaced by. Shape (n, groups)."""
        return self._nearest(self._pieces(hidden))

    def project(self, code: Tensor) -> Tensor:
        """The nearest codes that the decoder may be given."""
        return self._entries_at(self.indices(code)).flatten(1)

    def perplexity(self) -> Tensor:
        """How many vectors of each group are in use: exp of the entropy of their shares. Shape (groups,)."""
        shares = self.counts / self.counts.sum(1, keepdim=True)
        entropy: Tensor = torch.special.entr(shares).sum(1)
        return entropy.exp()

    def _pieces(self, hidden: Tensor) -> Tensor:
        # len(hidden) would fix the number of samples of an exported graph
        return hidden.reshape(-1, self.groups, hidden.shape[1] // self.groups)

    def _nearest(self, pieces: Tensor) -> Tensor:
        # multiplied out, small distances between codes far from 0 would be lost
        centre = self.entries.mean(1)
        entries = self.entries - centre.unsqueeze(1)
        alike = torch.einsum("ngw,gew->nge", pieces - centre, entries)
        lengths: Tensor = entries.square().sum(2)
        return (lengths - 2 * alike).argmin(2)

    def _entries_at(self, chosen: Tensor) -> Tensor:
        found: Tensor = self.entries[torch.arange(self.groups, device=chosen.device), chosen]
        return found

    @torch.no_grad()
    def _start(self, pieces: Tensor, generator: torch.Generator | None) -> None:
        """Pieces of the batch, each drawn by its squared distance from those drawn before (k-means++)."""
        far = torch.full(pieces.shape[:2], torch.inf, device=pieces.device)
        for entry in range(self.settings.entries):
            self.entries[:, entry] = _drawn(pieces, far, 1, generator)[:, 0]
            far = far.minimum((pieces - self.entries[:, entry]).square().sum(2))
        self.counts.fill_(self._equal_part(pieces))
        self.sums.copy_(self.entries * self.counts.unsqueeze(2))
        self.started.fill_(True)

    @torch.no_grad()
    def _follow(self, pieces: Tensor, found: Tensor, chosen: Tensor, generator: torch.Generator | None) -> None:
        """Move the running means towards the pieces that chose them; put dead ones on pieces of this batch."""
        choices = functional.one_hot(chosen, self.settings.entries).to(pieces.dtype)
        counts = self.counts.lerp(choices.sum(0), 1 - self.settings.decay)
        sums = self.sums.lerp(torch.einsum("nge,ngw->gew", choices, pieces), 1 - self.settings.decay)
        part = self._equal_part(pieces)
        dead = counts < _DEAD * part
        instead = _drawn(pieces, (pieces - found).square().sum(2), self.settings.entries, generator)
        self.counts.copy_(counts.masked_fill(dead, part))
        self.sums.copy_(torch.where(dead.unsqueeze(2), part * instead, sums))
        self.entries.copy_(self.sums / self.counts.unsqueeze(2))

    def _equal_part(self, pieces: Tensor) -> float:
        return len(pieces) / self.settings.entries


def _drawn(pieces: Tensor, weights: Tensor, count: int, generator: torch.Generator | None) -> Tensor:
    """Pieces of each group drawn by weights (n, groups); alike where these are all 0 or infinite."""
    weights = weights.nan_to_num(posinf=1.0).T + 1e-12
    rows = torch.multinomial(weights, count, replacement=True, generator=generator)
    return pieces.transpose(0, 1).gather(1, rows.unsqueeze(2).expand(-1, -1, pieces.shape[2]))


class _FiniteScalarCode(nn.Module):
    levels: Tensor

    def __init__(self, levels: tuple[int, ...]) -> None:
        super().__init__()
        self.register_buffer("levels", torch.tensor(levels, dtype=torch.float32), persistent=False)

    def forward(self, hidden: Tensor, generator: torch.Generator | None) -> Code:
        squeezed = hidden.tanh()
        return Code(self.project(squeezed).detach() + (squeezed - squeezed.detach()))

    def project(self, code: Tensor) -> Tensor:
        """The nearest codes that the decoder may be given."""
        index = ((code + 1) / 2 * self.levels).floor().clamp(min=0).minimum(self.levels - 1)
        return (2 * index + 1) / self.levels - 1

    def indices(self, hidden: Tensor) -> Tensor:
        """Which of its levels each number of what the encoder said is rounded to. Shape (n, latent)."""
        return ((self.project(hidden.tanh()) + 1) / 2 * self.levels).floor().long()
