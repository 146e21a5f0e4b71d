"""Dense networks of any widths, the decoder a mirror of the encoder."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from hourglass.core.networks.activations import ACTIVATIONS, activation
from hourglass.data.samples import Layout
from hourglass.settings import Part, option

_ACTIVATIONS = tuple(sorted(ACTIVATIONS))


@dataclass(frozen=True)
class Network(Part):
    """The encoder and the decoder."""

    slot = "network"

    @abstractmethod
    def build(self, layout: Layout, hidden: int, code: int, told: bool) -> tuple[nn.Module, nn.Module]:
        """Encoder `(seen, mask) -> (n, hidden)` and decoder `(n, code) -> (n, *layout.shape)`.

        `told`: the encoder also takes the mask of hidden and missing numbers as inputs.
        """


@dataclass(frozen=True)
class Dense(Network):
    """Fully connected layers: inputs, then `layers`, then the code, and the same widths back."""

    name = "dense"
    layers: tuple[int, ...] | None = option(None, "widths of the encoder's hidden layers (default: by rule)", low=1)
    activation: str = option("relu", "activation of the hidden layers", choices=_ACTIVATIONS)
    output: str = option("linear", "activation of the last layer", choices=_ACTIVATIONS)
    dropout: float = option(0.0, "share of hidden units dropped while training", low=0, high=0.95)
    decoder_dropout: bool = option(True, "whether the decoder's hidden layers drop units too")
    tied: bool = option(False, "whether the decoder uses the encoder's weights, transposed")
    initialisation: str = option("default", "first weights", choices=("default", "xavier", "kaiming", "normal"))
    deviation: float = option(0.05, "standard deviation of the first weights, for initialisation=normal", low=0)

    def build(self, layout: Layout, hidden: int, code: int, told: bool) -> tuple[nn.Module, nn.Module]:
        widths = self.layers or ()
        down = [layout.size * (2 if told else 1), *widths, hidden]
        up = [code, *reversed(widths), layout.size]
        encoder = _Encoder(self._stack(down, self.dropout, None), told)
        tied = [layer.weight for layer in encoder.stack if isinstance(layer, nn.Linear)] if self.tied else None
        last = [activation(self.output)] if self.output != "linear" else []
        dropout = self.dropout if self.decoder_dropout else 0.0
        return encoder, _Decoder(nn.Sequential(*self._stack(up, dropout, tied), *last), layout.shape)

    def _stack(self, widths: list[int], dropout: float, tied: list[Tensor] | None) -> nn.Sequential:
        layers: list[nn.Module] = []
        for index, (inputs, outputs) in enumerate(pairwise(widths)):
            layers.append(_Tied(tied[-1 - index], inputs, outputs) if tied else self._linear(inputs, outputs))
            if index < len(widths) - 2:
                layers.append(activation(self.activation))
                layers += [nn.Dropout(dropout)] if dropout else []
        return nn.Sequential(*layers)

    def _linear(self, inputs: int, outputs: int) -> nn.Linear:
        layer = nn.Linear(inputs, outputs)
        if self.initialisation != "default":
            nn.init.zeros_(layer.bias)
        if self.initialisation == "xavier":
            nn.init.xavier_uniform_(layer.weight)
        elif self.initialisation == "kaiming":
            nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
        elif self.initialisation == "normal":
            nn.init.normal_(layer.weight, std=self.deviation)
        return layer


class _Encoder(nn.Module):
    def __init__(self, stack: nn.Sequential, told: bool) -> None:
        super().__init__()
        self.stack, self.told = stack, told

    def forward(self, seen: Tensor, mask: Tensor | None) -> Tensor:
        flat = seen.flatten(1)
        if self.told:
            told = torch.zeros_like(flat) if mask is None else mask.flatten(1).to(flat.dtype)
            flat = torch.cat([flat, told], dim=1)
        return self.stack(flat)  # type: ignore[no-any-return]


class _Decoder(nn.Module):
    def __init__(self, stack: nn.Sequential, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.stack, self.shape = stack, shape

    def forward(self, code: Tensor) -> Tensor:
        return self.stack(code).unflatten(1, self.shape)  # type: ignore[no-any-return]


class _Tied(nn.Module):
    """A layer that uses another's weight, transposed; the bias is its own.

    The other may have further inputs (the mask) or outputs (the second head of a variational code): the first count.
    """

    def __init__(self, weight: Tensor, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight, self.inputs, self.outputs = weight, inputs, outputs
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.weight[: self.inputs, : self.outputs].T, self.bias)
