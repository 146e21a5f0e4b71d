"""First weights by name."""

from __future__ import annotations

from typing import TypeVar

from torch import nn
from torch.nn.modules.conv import _ConvNd

INITIALISATIONS = ("default", "xavier", "kaiming", "normal")

Layer = TypeVar("Layer", bound=nn.Linear | _ConvNd)


def initialised(layer: Layer, initialisation: str, deviation: float) -> Layer:
    """The layer with its first weights drawn as asked, its biases 0; `default` leaves torch's own of both."""
    if initialisation != "default" and layer.bias is not None:
        nn.init.zeros_(layer.bias)
    if initialisation == "xavier":
        nn.init.xavier_uniform_(layer.weight)
    elif initialisation == "kaiming":
        nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
    elif initialisation == "normal":
        nn.init.normal_(layer.weight, std=deviation)
    return layer


def begun_at(layer: nn.Module, bias: float | None) -> nn.Module:
    """The layer with every bias at a number; None leaves them.

    A sigmoid that begins at one half first learns to be 0 where samples mostly are, and has no slope left for the rest.
    """
    if bias is not None:
        nn.init.constant_(layer.bias, bias)  # type: ignore[arg-type]
    return layer
