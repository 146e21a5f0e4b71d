"""Ways through the space of codes: from one code to the next, and over a plane of it."""

from __future__ import annotations

import torch
from torch import Tensor

_MOST_CODES, _MOST_NUMBERS = 2_000, 2**21
"""What the principal directions are found from: more takes long and changes little."""


def between(codes: Tensor, steps: int, spherical: bool) -> Tensor:
    """`steps` codes from each code to the one after it, both ends included. Shape ((n - 1) * steps, latent).

    `spherical`: along the arc, so that codes on the way are as long as standard normal ones are (White 2016):
    sin((1 - t) w) / sin(w) a + sin(t w) / sin(w) b, w the angle between a and b. Else along the straight line.
    """
    start, end = codes[:-1, None], codes[1:, None]
    share = torch.linspace(0, 1, steps, dtype=codes.dtype)[:, None]
    path = start + share * (end - start)
    if spherical:
        cosine = torch.cosine_similarity(start, end, dim=2)[:, :, None]
        angle = cosine.clamp(-1, 1).arccos()
        arc = (((1 - share) * angle).sin() * start + (share * angle).sin() * end) / angle.sin()
        path = torch.where(angle.sin() > 1e-3, arc, path)  # no arc is the shortest between opposite codes
    return path.flatten(0, 1)


def principal_directions(codes: Tensor) -> Tensor:
    """Two directions of unit length in which codes (n, latent) differ most; the axes themselves for two numbers."""
    size = codes.shape[1]
    if size <= 2:
        return torch.eye(size, dtype=codes.dtype)
    chosen = codes[: max(2, min(_MOST_CODES, _MOST_NUMBERS // size))]
    _, _, directions = torch.linalg.svd(chosen - chosen.mean(0), full_matrices=False)
    directions = torch.nn.functional.pad(directions, (0, 0, 0, 1))[:2]  # two codes differ in one direction only
    largest = directions.gather(1, directions.abs().argmax(1, keepdim=True))
    return torch.where(largest < 0, -directions, directions)  # a direction is as good as its opposite: choose one


def plane(draws: Tensor, centre: Tensor, directions: Tensor, side: int) -> Tensor:
    """Codes on a grid of `side` x `side` over two directions (2, latent), row by row, the first number growing along.

    Grid lines are where the draws (n, latent) have their evenly spaced quantiles, so that each field is as likely.
    """
    shares = (torch.arange(side, dtype=draws.dtype) + 0.5) / side
    across, down = torch.quantile((draws - centre) @ directions.mT, shares, dim=0).mT
    rows, columns = torch.meshgrid(down.flip(0), across, indexing="ij")
    grid: Tensor = centre + torch.stack([columns, rows], dim=2).flatten(0, 1) @ directions
    return grid
