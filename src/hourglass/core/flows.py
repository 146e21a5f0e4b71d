"""A flow: an invertible network that turns codes into standard normal numbers, and draws of those into new codes."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from hourglass.core.densities import Density, State, spread
from hourglass.core.model import Player

_STEEPEST = 2.0
"""Largest logarithm of what a coupling multiplies a number by: unbounded ones overflow far away from the codes."""


class CouplingFlow(nn.Module):
    """Affine couplings, each of which moves half of a code by what the other half says (Dinh et al. 2017, RealNVP).

    log p(z) = log N(f(z); 0, I) + log |det df/dz|. Codes are first made white by their mean and covariance, so that an
    untrained flow is the normal distribution of the codes. Trained by the loop: its term is the mean of -log p(z).
    """

    centre: Tensor
    scale: Tensor

    def __init__(self, size: int, couplings: int, width: int) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(size, dtype=torch.float64))
        self.register_buffer("scale", torch.eye(size, dtype=torch.float64))
        order = torch.randperm(size)
        pieces = []
        for place in range(couplings):
            order = order.flip(0) if place % 2 else torch.randperm(size)
            pieces.append(_Coupling(order, width))
        self.couplings = nn.ModuleList(pieces)

    def whiten(self, codes: Tensor, ridge: float = 1e-4) -> None:
        """Take the mean and the covariance of codes (n, latent) as those that come out white."""
        self.centre.copy_(codes.mean(0))
        self.scale.copy_(spread(codes.double(), ridge))

    def forward(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        """White numbers (n, latent) of codes, and log |det| of the map at each."""
        centred = (codes.double() - self.centre).mT
        white = torch.linalg.solve_triangular(self.scale, centred, upper=False).mT.float()
        log_det = -self.scale.diagonal().log().sum().float().expand(len(white))
        for coupling in self.couplings:
            white, more = coupling(white)
            log_det = log_det + more
        return white, log_det

    def inverse(self, white: Tensor) -> Tensor:
        """The codes that `forward` turns into these numbers, float64."""
        for coupling in reversed(self.couplings):
            white = coupling.inverse(white)  # type: ignore[operator]
        codes = white.double() @ self.scale.mT + self.centre
        return codes

    def log_density(self, codes: Tensor) -> Tensor:
        """log p(z) of each code, in nats."""
        white, log_det = self(codes)
        density: Tensor = log_det - 0.5 * white.square().sum(1) - 0.5 * white.shape[1] * math.log(2 * math.pi)
        return density

    def terms(self, batch: Tensor, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        return {"negative log-likelihood": -self.log_density(batch).mean()}

    def players(self) -> list[Player]:
        return [Player(list(self.parameters()), self.terms)]

    def set_progress(self, share: float) -> None:
        """Nothing changes over training."""


class _Coupling(nn.Module):
    """Moves some numbers of a code: u_b = (z_b - t(z_a)) exp(-s(z_a)), u_a = z_a. Untrained, it moves nothing."""

    kept: Tensor
    moved: Tensor

    def __init__(self, order: Tensor, width: int) -> None:
        super().__init__()
        half = len(order) // 2
        self.register_buffer("kept", order[:half].clone())
        self.register_buffer("moved", order[half:].clone())
        last = nn.Linear(width, 2 * (len(order) - half))
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.net = nn.Sequential(nn.Linear(half, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), last)

    def forward(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        shift, log_scale = self._move(codes)
        moved = (codes[:, self.moved] - shift) * (-log_scale).exp()
        return codes.index_copy(1, self.moved, moved), -log_scale.sum(1)

    def inverse(self, codes: Tensor) -> Tensor:
        shift, log_scale = self._move(codes)
        return codes.index_copy(1, self.moved, codes[:, self.moved] * log_scale.exp() + shift)

    def _move(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        shift, steepness = self.net(codes[:, self.kept]).chunk(2, dim=1)
        return shift, _STEEPEST * (steepness / _STEEPEST).tanh()


class FlowDensity(Density):
    """The distribution of what a trained flow makes of standard normal draws."""

    def __init__(self, state: State, flow: CouplingFlow) -> None:
        super().__init__(state)
        flow.load_state_dict(state)
        self.flow = flow.eval()

    @torch.inference_mode()
    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        return self.flow.inverse(torch.randn(count, len(self.flow.centre), generator=generator))

    @torch.inference_mode()
    def log_density(self, codes: Tensor) -> Tensor:
        return self.flow.log_density(codes).double()
