"""An autoencoder: network + corruption + bottleneck + loss + penalties, and its objective as a sum of named terms."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from hourglass.core.posterior import Posterior
from hourglass.errors import UsageError

Corrupt = Callable[[Tensor, torch.Generator | None], tuple[Tensor, Tensor | None]]
Batch = Tensor | tuple[Tensor, Tensor]
"""Samples; or samples and their twins, which the encoder sees in their place."""


@dataclass(frozen=True)
class Code:
    """What passes the bottleneck: `value` (n, latent) goes to the decoder, `terms` join the objective."""

    value: Tensor
    terms: dict[str, Tensor] = field(default_factory=dict)
    posterior: Posterior | None = None
    """The distributions that codes are drawn from, where they are random."""
    offered: Tensor | None = None
    """What the encoder gave for every number of the code, where the bottleneck lets only a few pass."""
    draws: int = 1
    """Codes drawn for each sample. They stand next to each other: all rows of the trace are samples times draws."""
    cost: Tensor | None = None
    """Where there are several draws, log q(z | x) - log p(z) of each, weighted, a cell. Shape (n * draws,)."""


@dataclass(frozen=True)
class Trace:
    """One pass through an autoencoder. Tensors have the shape of the samples, but for the code.

    Where a sample has several codes (`code.draws`), its row stands so many times.
    """

    x: Tensor
    """The clean samples, missing numbers set to 0."""
    missing: Tensor | None
    """True where the sample has no number: never part of a loss."""
    hidden: Tensor | None
    """True where the corruption hid a number that must be guessed: the loss is then on these alone."""
    seen: Tensor
    """What the encoder saw."""
    code: Code
    output: Tensor
    """What the decoder said, on the loss's own scale (see `Loss.expectation`)."""


@dataclass(frozen=True)
class Slower:
    """Parameters that take smaller steps than the others of their player, or start later."""

    parameters: list[nn.Parameter]
    rate: float = 1.0
    """Their share of the learning rate."""
    start: float = 0.0
    """The share of training before which they stand still."""


@dataclass(frozen=True)
class Player:
    """Parameters, and the terms `(batch, generator) -> {name: scalar}` whose sum they are trained to make small."""

    parameters: list[nn.Parameter]
    """Those that move at the full learning rate, from the start."""
    terms: Callable[[Any, torch.Generator | None], dict[str, Tensor]]
    contested: frozenset[str] = frozenset()
    """Terms that say nothing of which epoch was better, as those that another player learns to raise."""
    slower: tuple[Slower, ...] = ()
    settled: float = 0.0
    """The share of training after which its terms no longer change of themselves: patience starts there."""


class Autoencoder(nn.Module):
    """A network trained to give its input back, through a bottleneck, from a corrupted view of it.

    Where the encoder has `with_skips`, details of what it saw go past the bottleneck to the decoder.
    """

    # nn.Module would have them all be Tensor | Module
    encoder: Any
    decoder: Any
    bottleneck: Any
    loss: Any
    penalties: Any

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        corruption: Corrupt,
        bottleneck: nn.Module,
        loss: nn.Module,
        penalties: Sequence[Any] = (),
        pull: float = 0.0,
        pooled: Callable[[Tensor], Tensor] = torch.mean,
    ) -> None:
        super().__init__()
        self.encoder, self.decoder, self.bottleneck, self.loss = encoder, decoder, bottleneck, loss
        self.corruption, self.pull, self.pooled = corruption, pull, pooled
        self.penalties = nn.ModuleList(penalties)
        self.complete = False
        """Whether samples are known to miss no number: none is looked for, since a GPU's answer must be waited for."""

    def forward(self, x: Tensor, corrupt: bool = False, generator: torch.Generator | None = None) -> Trace:
        known, missing = (x, None) if self.complete else split_missing(x)
        seen, hidden = self.corruption(known, generator) if corrupt else (known, None)
        return self.pass_through(self.wanted(known, seen), missing, seen, hidden, generator if corrupt else None)

    def wanted(self, known: Tensor, seen: Tensor) -> Tensor:
        """What must be given back of samples that are seen so."""
        return torch.lerp(known, seen, self.pull) if self.pull else known  # of 1, exactly what is seen

    def training_trace(self, batch: Batch, generator: torch.Generator | None = None) -> Trace:
        """The trace of a batch as it is trained on: corrupted; of twins where there are some, to give the samples."""
        if not isinstance(batch, tuple):
            return self.forward(batch, corrupt=True, generator=generator)
        (known, missing), (twin, unseen) = (split_missing(each) for each in batch)
        seen, hidden = self.corruption(twin, generator)
        return self.pass_through(known, union(missing, unseen), seen, hidden, generator)

    def pass_through(
        self, x: Tensor, missing: Tensor | None, seen: Tensor, hidden: Tensor | None, generator: torch.Generator | None
    ) -> Trace:
        """The trace of `x` when the encoder sees `seen`, told what is hidden. A generator makes codes random."""
        mask = union(hidden, missing)
        inward, skips = self.encoder.with_skips(seen, mask) if self.has_skips else (self.encoder(seen, mask), ())
        code: Code = self.bottleneck(inward, generator)
        x, missing, hidden, seen, *skips = (_repeated(each, code.draws) for each in (x, missing, hidden, seen, *skips))
        return Trace(x, missing, hidden, seen, code, self.decoder(code.value, *skips))

    def terms(self, batch: Batch, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Every term of the objective by name; training minimises their sum."""
        trace = self.training_trace(batch, generator or _global_generator(self.device))
        losses = self.loss(trace)
        return {
            "reconstruction": self.pooled(losses),
            **trace.code.terms,
            **importance_gain(losses, trace.code, self.loss.count),
            **{penalty.name: penalty(self, trace, generator) for penalty in self.penalties},
        }

    def encode(self, x: Tensor) -> Tensor:
        """Codes of `x`, shape (n, latent): the mean where codes are random, so that two calls agree."""
        return self.code_of(x).value

    def code_of(self, x: Tensor) -> Code:
        """What the bottleneck makes of `x`, uncorrupted, without drawing: value, posterior and the like."""
        known, missing = split_missing(x)
        code: Code = self.bottleneck(self.encoder(known, missing), None)
        return code

    def decode(self, code: Tensor) -> Tensor:
        """Samples, on the packed scale, that the decoder makes of `code`; `UsageError` as `output_of`."""
        expected: Tensor = self.loss.expectation(self.output_of(code))
        return expected

    def output_of(self, code: Tensor) -> Tensor:
        """What the decoder says of `code`, on the loss's own scale; `UsageError` where a code is not all it takes."""
        if self.has_skips:
            what = "a network with skips makes nothing of a code alone: its decoder also takes what the encoder saw"
            raise UsageError(what, where="decode", how="fit with another network, such as --set network=convolution")
        output: Tensor = self.decoder(code)
        return output

    def reconstruct(self, x: Tensor) -> Tensor:
        """Samples given back through the bottleneck, uncorrupted, on the packed scale."""
        expected: Tensor = self.loss.expectation(self(x).output)
        return expected

    @property
    def has_skips(self) -> bool:
        """Whether the decoder takes more than the code."""
        return hasattr(self.encoder, "with_skips")

    def players(self) -> list[Player]:
        """Who is trained: the autoencoder on its own objective, then each penalty's opponent on its own."""
        opponents = [penalty for penalty in self.penalties if hasattr(penalty, "opponent_terms")]
        aside = [penalty for penalty in self.penalties if getattr(penalty, "auxiliary", False)]
        contested = frozenset(penalty.name for penalty in [*opponents, *aside])
        theirs = {id(weight) for opponent in opponents for weight in opponent.parameters()}
        own = [weight for weight in self.parameters() if id(weight) not in theirs]
        settled = max((getattr(part, "warm_up", 0.0) for part in self.modules()), default=0.0)
        return [Player(own, self.terms, contested, settled=settled)] + [
            Player(list(opponent.parameters()), partial(opponent.opponent_terms, self)) for opponent in opponents
        ]

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def set_progress(self, share: float) -> None:
        """Tell the parts that change over training (a warm-up) how far it is, from 0 to 1."""
        for part in self.modules():
            if hasattr(part, "progress"):
                part.__dict__["progress"] = share


def total(terms: dict[str, Tensor]) -> Tensor:
    """The objective: the sum of its terms."""
    return torch.stack(list(terms.values())).sum()


def importance_gain(losses: Tensor, code: Code, cells: int) -> dict[str, Tensor]:
    """What weighing several codes a sample by their likelihood takes off the objective (Burda et al. 2016).

    With losses l = -log p(x | z) and costs c = log q(z | x) - log p(z), both a cell, their mean l + c is the negative
    ELBO, and with this term, never above 0, the sum is -log(mean over draws of exp(-cells (l + c))) / cells.
    """
    if code.cost is None:
        return {}
    each = (losses + code.cost).reshape(-1, code.draws)
    joint = (math.log(code.draws) - torch.logsumexp(-cells * each, 1)) / cells
    return {"importance": (joint - each.mean(1)).mean()}


def misses_none(samples: Tensor) -> bool:
    """Whether there are samples, and no number of theirs is missing."""
    # amin passes NaN on; min does too, but would copy windows, which are views
    return samples.numel() > 0 and not bool(samples.amin().isnan())


def split_missing(x: Tensor) -> tuple[Tensor, Tensor | None]:
    """`x` with missing numbers (NaN) set to 0, and where they were; None where nothing is missing."""
    can_choose = not torch.compiler.is_compiling()  # a graph cannot
    if can_choose and not bool(torch.isnan(x.sum())):  # five times as fast as to look at each
        return x, None
    missing = torch.isnan(x)
    if can_choose and not bool(missing.any()):
        return x, None
    return x.masked_fill(missing, 0.0), missing


def _global_generator(device: torch.device) -> torch.Generator:
    return torch.cuda.default_generators[device.index or 0] if device.type == "cuda" else torch.default_generator


def _repeated(rows: Any, times: int) -> Any:
    return rows if rows is None or times == 1 else rows.repeat_interleave(times, 0)


def union(first: Tensor | None, second: Tensor | None) -> Tensor | None:
    """Where either mask is True; None stands for a mask without any."""
    if first is None or second is None:
        return second if first is None else first
    return first | second
