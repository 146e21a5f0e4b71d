"""Dense networks of any widths, the decoder a mirror of the encoder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from hourglass.core.networks.activations import ACTIVATIONS, activation
from hourglass.core.networks.network import Network
from hourglass.core.networks.weights import INITIALISATIONS, initialised
from hourglass.data.samples import Layout
from hourglass.errors import UsageError
from hourglass.settings import option

_ACTIVATIONS = tuple(sorted(ACTIVATIONS))


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
    unit_norm: bool = option(False, "whether what each unit adds to the output has length 1 (the last layer's columns)")
    initialisation: str = option("default", "first weights", choices=INITIALISATIONS)
    deviation: float = option(0.05, "standard deviation of the first weights, for initialisation=normal", low=0)

    def build(self, layout: Layout, hidden: int, code: int, told: bool) -> tuple[nn.Module, nn.Module]:
        widths = self.layers or ()
        down = [layout.size * (2 if told else 1), *widths, hidden]
        up = [code, *reversed(widths), layout.size]
        encoder = _Encoder(self._stack(down, self.dropout, None), told)
        tied = [layer.weight for layer in encoder.stack if isinstance(layer, nn.Linear)] if self.tied else None
        last = [activation(self.output)] if self.output != "linear" else []
        dropout = self.dropout if self.decoder_dropout else 0.0
        stack = self._stack(up, dropout, tied)
        if self.unit_norm:
            stack[-1] = self._unit_norm(*up[-2:])
        return encoder, _Decoder(nn.Sequential(*stack, *last), layout.shape)

    def code_size(self, layout: Layout) -> int | None:
        return None

    def _stack(self, widths: list[int], dropout: float, tied: list[Tensor] | None) -> nn.Sequential:
        layers: list[nn.Module] = []
        for index, (inputs, outputs) in enumerate(pairwise(widths)):
            layers.append(_Tied(tied[-1 - index], inputs, outputs) if tied else self._linear(inputs, outputs))
            if index < len(widths) - 2:
                layers.append(activation(self.activation))
                layers += [nn.Dropout(dropout)] if dropout else []
        return nn.Sequential(*layers)

    def _unit_norm(self, inputs: int, outputs: int) -> nn.Linear:
        if self.tied:
            what, how = "a decoder cannot be both tied and of unit norm", "leave out network.tied or network.unit_norm"
            raise UsageError(what, where="network", how=how)
        return initialised(_UnitNorm(inputs, outputs), self.initialisation, self.deviation)

    def _linear(self, inputs: int, outputs: int) -> nn.Linear:
        return initialised(nn.Linear(inputs, outputs), self.initialisation, self.deviation)


class _Encoder(nn.Module):
    def __init__(self, stack: nn.Sequential, told: bool) -> None:
        super().__init__()
        self.stack, self.told = stack, told

    def forward(self, seen: Tensor, mask: Tensor | None) -> Tensor:
        return self.stack(self._inputs(seen, mask))  # type: ignore[no-any-return]

    def _inputs(self, seen: Tensor, mask: Tensor | None) -> Tensor:
        flat = seen.flatten(1)
        if not self.told:
            return flat
        told = torch.zeros_like(flat) if mask is None else mask.flatten(1).to(flat.dtype)
        return torch.cat([flat, told], dim=1)

    def by_layer(self, seen: Tensor, mask: Tensor | None) -> Iterator[Tensor]:
        """What the hidden layers give, first to last, and then what `forward` does; each is computed when asked for."""
        z = self._inputs(seen, mask)
        for layer in self.stack:
            z = layer(z)
            if not isinstance(layer, nn.Linear | nn.Dropout):
                yield z
        yield z


class _Decoder(nn.Module):
    def __init__(self, stack: nn.Sequential, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.stack, self.shape = stack, shape

    def forward(self, code: Tensor) -> Tensor:
        return self.stack(code).unflatten(1, self.shape)  # type: ignore[no-any-return]


def layers_of(half: nn.Module) -> list[nn.Module] | None:
    """The layers that an encoder or a decoder is the mere sequence of; None where it is more, as one that is told."""
    if isinstance(half, _Decoder) or (isinstance(half, _Encoder) and not half.told):
        return list(half.stack)
    return None


class _UnitNorm(nn.Linear):
    """A layer whose columns are divided by their lengths: an atom's size is left to its unit (Gao et al. 2024)."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x, functional.normalize(self.weight, dim=0), self.bias)


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
