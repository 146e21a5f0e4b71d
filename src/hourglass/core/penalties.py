"""What else a code is asked to be: `(model, trace, generator) -> scalar`, a term of the objective.

A penalty may own parameters and `opponent_terms(model, batch, generator)`: the loop trains those against the model.
One that is `auxiliary` is trained on, and does not choose the best epoch.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from hourglass.core.model import Autoencoder, Trace, union
from hourglass.settings import Part, option


@dataclass(frozen=True)
class Penalty(Part):
    """A further term of the objective."""

    slot = "penalty"
    sparse: ClassVar[bool] = False
    """Whether it keeps most numbers of a code near zero, so that a code may be as wide as the sample."""
    needs: ClassVar[str] = ""
    """Which field of `Code` the bottleneck must fill for it."""
    decodes: ClassVar[bool] = False
    """Whether it asks what the decoder makes of codes alone."""
    weight: float = option(1e-3, "what the term is multiplied by", low=0)

    @abstractmethod
    def build(self, code: int, cells: int) -> nn.Module:
        """The module that computes the term, for codes of `code` numbers."""


class Term(nn.Module):
    """A penalty without state: a weight and a formula."""

    def __init__(
        self, name: str, weight: float, formula: Callable[[Autoencoder, Trace, torch.Generator | None], Tensor]
    ) -> None:
        super().__init__()
        self.name, self.weight, self.formula = name, weight, formula

    def forward(self, model: Autoencoder, trace: Trace, generator: torch.Generator | None = None) -> Tensor:
        return self.weight * self.formula(model, trace, generator)


class CodeTerm(nn.Module):
    """A penalty on codes alone, without state: a weight and a formula of the codes, shape (n, latent)."""

    def __init__(self, name: str, weight: float, formula: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.name, self.weight, self.formula = name, weight, formula

    def forward(self, model: Autoencoder, trace: Trace, generator: torch.Generator | None = None) -> Tensor:
        return self.of(trace.code.value)

    def of(self, codes: Tensor) -> Tensor:
        """The term that these codes make."""
        return self.weight * self.formula(codes)


@dataclass(frozen=True)
class KLSparsity(Penalty):
    """Each sigmoid unit's mean activation over the batch is pulled to `rho`: sum of KL(rho || mean) (Ng 2011)."""

    name = "kl-sparsity"
    sparse = True
    weight: float = option(1e-2, "what the term is multiplied by", low=0)
    rho: float = option(0.05, "wanted mean activation", low=1e-4, high=0.9999)

    def build(self, code: int, cells: int) -> nn.Module:
        return CodeTerm(self.name, self.weight, lambda codes: kl_sparsity(codes, self.rho))


@dataclass(frozen=True)
class L1Activity(Penalty):
    """Absolute code values, summed over units and averaged over samples."""

    name = "l1"
    sparse = True

    def build(self, code: int, cells: int) -> nn.Module:
        return CodeTerm(self.name, self.weight, lambda codes: codes.abs().sum(1).mean())


@dataclass(frozen=True)
class L2Activity(Penalty):
    """Squared code values, summed over units and averaged over samples."""

    name = "l2"
    weight: float = option(1e-4, "what the term is multiplied by", low=0)

    def build(self, code: int, cells: int) -> nn.Module:
        return CodeTerm(self.name, self.weight, lambda codes: codes.square().sum(1).mean())


@dataclass(frozen=True)
class Contraction(Penalty):
    """Squared Frobenius norm of the encoder's Jacobian, averaged over samples (Rifai et al. 2011, contractive).

    Exact where the encoder is one layer; a Hutchinson estimate, E ||v J||^2 over random signs v, where it is deep.
    """

    name = "contraction"
    weight: float = option(0.1, "what the term is multiplied by", low=0)
    probes: int = option(1, "random vectors a sample, for deep encoders", low=1)

    def build(self, code: int, cells: int) -> nn.Module:
        return Term(self.name, self.weight / cells, self._norm)

    def _norm(self, model: Autoencoder, trace: Trace, generator: torch.Generator | None) -> Tensor:
        parts = [part for part in model.encoder.modules() if not list(part.children())]
        if len(parts) == 1 and isinstance(parts[0], nn.Linear):
            return exact_contraction(model, trace, parts[0])
        return hutchinson_contraction(model, trace, self.probes, generator)


@dataclass(frozen=True)
class DeadUnits(Penalty):
    """Units that nothing switches on any more learn to give back what the others leave over (Gao et al. 2024, AuxK).

    Of the units that did not fire for `steps` steps, the `k` that the encoder gave most reconstruct the residual: the
    term is `weight` times their squared error, a cell. Only for bottlenecks that let few numbers of a code pass.
    """

    name = "dead-units"
    needs = "offered"
    decodes = True
    weight: float = option(1 / 32, "what the term is multiplied by", low=0)
    steps: int = option(50, "steps without firing after which a unit counts as dead", low=1)
    k: int | None = option(None, "dead units used at a time (default: half of the units)", low=1)

    def build(self, code: int, cells: int) -> nn.Module:
        return _DeadUnits(self, code)


class _DeadUnits(nn.Module):
    quiet: Tensor
    """Steps since each unit fired."""
    auxiliary = True
    """Not part of how good an epoch was: it is 0 until the first units die, which is no better."""

    def __init__(self, settings: DeadUnits, code: int) -> None:
        super().__init__()
        self.name, self.settings = settings.name, settings
        self.k = min(settings.k or -(-code // 2), code)
        self.register_buffer("quiet", torch.zeros(code, dtype=torch.long))

    def forward(self, model: Autoencoder, trace: Trace, generator: torch.Generator | None = None) -> Tensor:
        if self.training and torch.is_grad_enabled():
            self.quiet.add_(1).masked_fill_((trace.code.value != 0).any(0), 0)
        dead = self.quiet >= self.settings.steps
        offered = cast(Tensor, trace.code.offered).masked_fill(~dead, -torch.inf).topk(self.k, dim=1)
        values = offered.values.masked_fill(offered.values.isneginf(), 0.0)
        code = torch.zeros_like(trace.code.value).scatter(1, offered.indices, values)
        # what they add to an empty code: the decoder's bias is the others' already
        given = model.decoder(code) - model.decoder(torch.zeros_like(code[:1]))
        left = (trace.x - model.loss.expectation(trace.output)).detach()
        error: Tensor = (left - given).square() * dead.any()
        return self.settings.weight * (error if trace.missing is None else error * ~trace.missing).mean()


def kl_sparsity(activations: Tensor, rho: float) -> Tensor:
    """Sum over units of rho log(rho / m) + (1 - rho) log((1 - rho) / (1 - m)), m the unit's mean over samples."""
    mean = activations.mean(0).clamp(1e-6, 1 - 1e-6)
    wanted = torch.full_like(mean, rho)
    return (wanted * (wanted / mean).log() + (1 - wanted) * ((1 - wanted) / (1 - mean)).log()).sum()


def exact_contraction(model: Autoencoder, trace: Trace, layer: nn.Linear) -> Tensor:
    """||J||^2 of a one-layer encoder: sum over units of f'(a)^2 times the squared length of the unit's weights."""
    training = torch.is_grad_enabled()
    with torch.enable_grad():
        before = model.encoder(trace.seen, union(trace.hidden, trace.missing))
        after = model.bottleneck(before, None).value
        # the code is elementwise in `before`, so the gradient of its sum is each unit's own slope
        (slope,) = torch.autograd.grad(after.sum(), before, create_graph=training)
    lengths = layer.weight[:, : trace.x[0].numel()].square().sum(1)
    norms: Tensor = slope.square() @ lengths
    return norms.mean()


def hutchinson_contraction(model: Autoencoder, trace: Trace, probes: int, generator: torch.Generator | None) -> Tensor:
    """An unbiased estimate of ||J||^2 from `probes` random sign vectors a sample."""
    training = torch.is_grad_enabled()
    with torch.enable_grad():
        seen = trace.seen.detach().requires_grad_()
        code = model.bottleneck(model.encoder(seen, union(trace.hidden, trace.missing)), None).value
        pulled: list[Tensor] = []
        for _ in range(probes):
            signs = torch.randint(0, 2, code.shape, generator=generator, device=code.device).to(code.dtype) * 2 - 1
            pulled += torch.autograd.grad(code, seen, signs, create_graph=training, retain_graph=True)
    return torch.stack([each.flatten(1).square().sum(1).mean() for each in pulled]).mean()
