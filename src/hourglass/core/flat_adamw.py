"""The optimizer of every step: the parameters of a group, their gradients and their moments are one flat tensor each.

So clipping and AdamW are one pass each, however many layers there are. `torch.optim.AdamW` also takes a second or two
to start, since it imports torch's compiler, and 20 to 60 microseconds a step to get to the kernel that is called here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

from hourglass.core.parallel import ALONE, Team
from hourglass.settings import Training

_KERNEL: Any = getattr(torch, "_fused_adamw_", None)
"""What torch's AdamW calls in the end."""

Rate = float | Tensor
"""A learning rate; as a tensor on the device where a captured graph must read it anew at every step."""


class FlatAdamW:
    """Moves parameters that learn at one rate; until `release` they, and their gradients, are views of a flat tensor.

    AdamW (Loshchilov & Hutter 2019) with torch's default options, after their gradient was averaged over the `team`,
    and its norm clipped.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], settings: Training, team: Team = ALONE) -> None:
        self.parameters, self.most, self.team = list(parameters), settings.gradient_clip, team
        flat = self.parameters[0].detach().new_zeros(sum(each.numel() for each in self.parameters))
        self.gradient = torch.zeros_like(flat)
        self.weights, self.gradients = _views(flat, self.parameters), _views(self.gradient, self.parameters)
        for parameter, weight, gradient in zip(self.parameters, self.weights, self.gradients, strict=True):
            parameter.data = weight.copy_(parameter.detach())  # the model sees every step
            parameter.grad = gradient
        steps = torch.zeros((), dtype=torch.float32, device=flat.device)
        self.moments = [torch.zeros_like(flat), torch.zeros_like(flat), steps]
        self._move = adamw_on(flat, self.gradient, self.moments, settings.weight_decay)

    def step(self, rate: Rate) -> None:
        """Average and clip the gradient, and move the parameters against it."""
        self.team.average(self.gradient)
        if self.most:
            _clip(self.gradient, self.most)
        self._move(rate)

    def release(self) -> None:
        """Give every parameter a storage of its own again: copies and files of one would hold all."""
        for parameter in self.parameters:
            parameter.data, parameter.grad = parameter.data.clone(), None


def _views(flat: Tensor, parameters: Sequence[nn.Parameter]) -> list[Tensor]:
    """Pieces of a flat tensor in the shapes of the parameters, their axes in the same order in memory."""
    pieces = torch.split(flat, [each.numel() for each in parameters])
    return [
        piece.as_strided(each.shape, torch.empty_like(each).stride())
        for piece, each in zip(pieces, parameters, strict=True)
    ]


def _clip(gradient: Tensor, most: float) -> None:
    """Shorten a gradient to a norm of `most`; one that is NaN spoils all, as with torch's own clip."""
    if gradient.device.type != "cpu":  # to look at the norm would be to wait for it
        gradient.mul_((most / (torch.linalg.vector_norm(gradient) + 1e-6)).clamp_(max=1.0))
        return
    norm = math.sqrt(torch.dot(gradient, gradient).item())
    if not norm <= most:
        gradient.mul_(most / (norm + 1e-6))


def adamw_on(flat: Tensor, gradient: Tensor, moments: Sequence[Tensor], weight_decay: float) -> Callable[[Rate], None]:
    """AdamW, of torch's default options, on one flat tensor: a function that moves it at a learning rate.

    `moments`: the running means of the gradient and of its square, and the steps taken, all kept up to date.
    """
    mean, square, steps = moments
    one = torch.ones_like(steps)
    unused: list[Tensor] = []
    lists = [flat], [gradient], [mean], [square], unused, [steps]
    options: dict[str, Any] = {
        "amsgrad": False,
        "maximize": False,
        "beta1": 0.9,
        "beta2": 0.999,
        "weight_decay": weight_decay,
        "eps": 1e-8,
    }
    if _KERNEL is None:
        return lambda rate: adamw(*lists, fused=True, lr=rate, **options)
    move = partial(_KERNEL, *lists, **options)

    def step(rate: Rate) -> None:
        steps.add_(one)
        move(lr=rate)

    return step
