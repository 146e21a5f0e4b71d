"""Which numbers of a code say anything: active units of variational models, dead units of sparse ones."""

from __future__ import annotations

import torch
from torch import Tensor

from hourglass.core.chunks import chunk_rows
from hourglass.core.model import Autoencoder

_ACTIVE = 0.01
_MOVES = 0.01
MOST_SAMPLES = 2_000
"""Samples that are enough for a report."""


def unit_report(network: Autoencoder, samples: Tensor) -> dict[str, int]:
    """How many code numbers are `active` (codes drawn from a distribution), or else `dead`.

    Few active ones are called posterior collapse.
    """
    with torch.inference_mode():
        drawn = network.code_of(samples[:1]).posterior is not None
    if drawn:
        return {"active": int(active_units(network, samples).sum())}
    return {"dead": int(dead_units(network, samples).sum())}


def active_units(network: Autoencoder, samples: Tensor) -> Tensor:
    """Which code numbers vary over the samples: Var E[z | x] > 0.01 (Burda et al. 2016). Booleans, shape (latent,).

    The others collapsed to the prior: they carry nothing, and the decoder does without them.
    """
    return _codes(network, samples).var(0, correction=0) > _ACTIVE


def dead_units(network: Autoencoder, samples: Tensor) -> Tensor:
    """Which code numbers never move: by at most a hundredth of what the liveliest does. Booleans, shape (latent,)."""
    codes = _codes(network, samples)
    reach = codes.amax(0) - codes.amin(0)
    return reach <= _MOVES * reach.max()


@torch.inference_mode()
def _codes(network: Autoencoder, samples: Tensor) -> Tensor:
    rows = chunk_rows(samples[0].numel())
    return torch.cat([network.encode(chunk) for chunk in torch.split(samples, rows)])
