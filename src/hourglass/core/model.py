"""An autoencoder: network + corruption + bottleneck + loss + penalties, and its objective as a sum of named terms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

Corrupt = Callable[[Tensor, torch.Generator | None], tuple[Tensor, Tensor | None]]


@dataclass(frozen=True)
class Code:
    """What passes the bottleneck: `value` (n, latent) goes to the decoder, `terms` join the objective."""

    value: Tensor
    terms: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Trace:
    """One pass through an autoencoder. Tensors have the shape of the samples, but for the code."""

    x: Tensor
    """The clean samples, missing numbers set to 0."""
    missing: Tensor | None
    """True where the sample has no number: never part of a loss."""
    hidden: Tensor | None
    """True where the corruption hid a number and told the network so: the loss is then on these."""
    seen: Tensor
    """What the encoder saw."""
    code: Code
    output: Tensor
    """What the decoder said, on the loss's own scale (see `Loss.expectation`)."""


@dataclass(frozen=True)
class Player:
    """Parameters, and the terms `(x, generator) -> {name: scalar}` whose sum they are trained to make small."""

    parameters: list[nn.Parameter]
    terms: Callable[[Tensor, torch.Generator | None], dict[str, Tensor]]


class Autoencoder(nn.Module):
    """A network trained to give its input back, through a bottleneck, from a corrupted view of it."""

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
    ) -> None:
        super().__init__()
        self.encoder, self.decoder, self.bottleneck, self.loss = encoder, decoder, bottleneck, loss
        self.corruption = corruption
        self.penalties = nn.ModuleList(penalties)

    def forward(self, x: Tensor, corrupt: bool = False, generator: torch.Generator | None = None) -> Trace:
        known, missing = split_missing(x)
        seen, hidden = self.corruption(known, generator) if corrupt else (known, None)
        return self.pass_through(known, missing, seen, hidden, generator if corrupt else None)

    def pass_through(
        self, x: Tensor, missing: Tensor | None, seen: Tensor, hidden: Tensor | None, generator: torch.Generator | None
    ) -> Trace:
        """The trace of `x` when the encoder sees `seen`, told what is hidden. A generator makes codes random."""
        code = self.bottleneck(self.encoder(seen, union(hidden, missing)), generator)
        return Trace(x, missing, hidden, seen, code, self.decoder(code.value))

    def terms(self, x: Tensor, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Every term of the objective by name; training minimises their sum."""
        trace = self(x, corrupt=True, generator=generator or _global_generator(x.device))
        return {
            "reconstruction": self.loss(trace).mean(),
            **trace.code.terms,
            **{penalty.name: penalty(self, trace, generator) for penalty in self.penalties},
        }

    def encode(self, x: Tensor) -> Tensor:
        """Codes of `x`, shape (n, latent): the mean where codes are random, so that two calls agree."""
        known, missing = split_missing(x)
        code: Code = self.bottleneck(self.encoder(known, missing), None)
        return code.value

    def decode(self, code: Tensor) -> Tensor:
        """Samples, on the packed scale, that the decoder makes of `code`."""
        expected: Tensor = self.loss.expectation(self.decoder(code))
        return expected

    def reconstruct(self, x: Tensor) -> Tensor:
        """Samples given back through the bottleneck, uncorrupted, on the packed scale."""
        return self.decode(self.encode(x))

    def players(self) -> list[Player]:
        """Who is trained: the autoencoder on its own objective, then each penalty's opponent on its own."""
        opponents = [penalty for penalty in self.penalties if hasattr(penalty, "opponent_terms")]
        theirs = {id(weight) for opponent in opponents for weight in opponent.parameters()}
        own = [weight for weight in self.parameters() if id(weight) not in theirs]
        return [Player(own, self.terms)] + [
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


def split_missing(x: Tensor) -> tuple[Tensor, Tensor | None]:
    """`x` with missing numbers (NaN) set to 0, and where they were; None where nothing is missing."""
    missing = torch.isnan(x)
    if not bool(missing.any()):
        return x, None
    return x.masked_fill(missing, 0.0), missing


def _global_generator(device: torch.device) -> torch.Generator:
    return torch.cuda.default_generators[device.index or 0] if device.type == "cuda" else torch.default_generator


def union(first: Tensor | None, second: Tensor | None) -> Tensor | None:
    """Where either mask is True; None stands for a mask without any."""
    if first is None or second is None:
        return second if first is None else first
    return first | second
