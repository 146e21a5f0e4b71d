"""What is done to a dense network before it is trained as a whole: its layers are trained one after the other.

Greedy layer-wise pre-training: each layer of the encoder, with the layer of the decoder that mirrors it, learns to give
back what the layer below makes of the samples; then the whole, "unrolled" network is trained as always. Hinton and
Salakhutdinov 2006, Reducing the dimensionality of data with neural networks; Bengio et al. 2007, Greedy layer-wise
training of deep networks.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from hourglass.core.boltzmann import BoltzmannMachine
from hourglass.core.bottlenecks import Bottleneck
from hourglass.core.corruptions import Corruption, GaussianNoise
from hourglass.core.losses import Squared
from hourglass.core.model import Autoencoder, Code
from hourglass.core.networks.dense import Dense
from hourglass.core.networks.network import Network
from hourglass.core.penalties import KLSparsity, Penalty
from hourglass.core.training import Report, Trainable, train
from hourglass.data.samples import Layout
from hourglass.errors import TrainingError, UsageError
from hourglass.settings import Part, Training, option


@dataclass(frozen=True)
class Pair:
    """A layer of the encoder and the one of the decoder that mirrors it, as they stand in the network."""

    layout: Layout
    """Of what the lower side sees and gives back."""
    down: nn.Linear
    bottleneck: nn.Module
    """What follows upon `down`: an activation, or (the last pair) the network's own bottleneck."""
    width: int
    """Numbers that `bottleneck` gives."""
    up: Any
    output: nn.Module
    """What follows upon `up`: an activation."""
    loss: Any


@dataclass(frozen=True)
class Layer:
    """A pair as the loop trains it."""

    model: Trainable
    encode: Callable[[Tensor], Tensor]
    """What the next pair sees."""
    settle: Callable[[], None]
    """Puts what was learned into the network."""


Pretrain = Callable[[Autoencoder, Layout, Tensor, Tensor, Training, Report | None], list[str]]
"""(network, layout, samples, held-out samples, training, report) -> what was odd, one sentence each."""


@dataclass(frozen=True)
class Pretraining(Part):
    """How a network's layers are trained before the whole is."""

    slot = "pretraining"

    @abstractmethod
    def check(self, network: Network, bottleneck: Bottleneck) -> None:
        """Raise `UsageError` where the parts of a network do not allow it."""

    @abstractmethod
    def build(self) -> Pretrain:
        """The function that does it."""


@dataclass(frozen=True)
class NoPretraining(Pretraining):
    """The network is trained as a whole from its first weights on."""

    name = "none"

    def check(self, network: Network, bottleneck: Bottleneck) -> None: ...

    def build(self) -> Pretrain:
        return lambda *given: []


@dataclass(frozen=True)
class StackedAutoencoders(Pretraining):
    """Each layer is trained as an autoencoder of one hidden layer.

    By its parts it is a plain, denoising (Vincent et al. 2010), sparse or contractive one.
    """

    name = "autoencoders"
    corruption: Corruption = option(GaussianNoise(), "what is done to what a layer sees; none makes plain ones")
    penalties: tuple[Penalty, ...] = option((), "further terms of a layer's objective, such as kl-sparsity")
    epochs: int | None = option(None, "passes over the rows for each layer (default: as for the whole network)", low=1)

    def check(self, network: Network, bottleneck: Bottleneck) -> None:
        _check_dense(self, network)
        if self.corruption.tells:
            how = "use --set pretraining.corruption=masking, or gaussian"
            what = f"a layer cannot be told what was hidden, as {self.corruption.name} does"
            raise UsageError(what, where="pretraining.corruption", how=how)
        for penalty in self.penalties:
            if penalty.needs:
                how = "name it as a penalty of the whole network: --set penalties=..."
                raise UsageError(f"{penalty.name} is not for single layers", where="pretraining.penalties", how=how)
        if any(penalty.name == KLSparsity.name for penalty in self.penalties):
            _check_sigmoid("kl-sparsity needs layers that give numbers between 0 and 1", network, bottleneck)

    def build(self) -> Pretrain:
        return lambda *given: _greedily(self._layer, {"epochs": self.epochs}, *given)

    def _layer(self, pair: Pair, samples: Tensor) -> Layer:
        penalties = [penalty.build(pair.width, pair.loss.count) for penalty in self.penalties]
        shape = tuple(samples.shape[1:])
        model = Autoencoder(
            _Down(pair.down), _Up(pair.up, pair.output, shape), self.corruption.build(pair.layout), pair.bottleneck,
            pair.loss, penalties,
        )  # fmt: skip
        return Layer(model, model.encode, lambda: None)  # it learns where it stands


@dataclass(frozen=True)
class StackedBoltzmann(Pretraining):
    """Each layer is trained as a restricted Boltzmann machine, by contrastive divergence (a deep belief network).

    For samples between 0 and 1 add --set network.output=sigmoid or --set loss=bernoulli: units that see them are then
    on or off, and the decoder that they become needs that sigmoid. Other samples should have unit variance.
    """

    name = "boltzmann"
    steps: int = option(1, "rounds of the chain (the k of CD-k)", low=1)
    visible: str = option(
        "auto",
        "units that see the samples (auto: bernoulli where these, and what the decoder gives, are from 0 to 1)",
        choices=("auto", "bernoulli", "gaussian"),
    )
    learning_rate: float = option(0.02, "the largest step size for each layer", low=0)
    epochs: int | None = option(None, "passes over the rows for each layer (default: as for the whole network)", low=1)

    def check(self, network: Network, bottleneck: Bottleneck) -> None:
        _check_dense(self, network)
        _check_sigmoid("the hidden units of a Boltzmann machine are sigmoid units", network, bottleneck)

    def build(self) -> Pretrain:
        asked = {"epochs": self.epochs, "learning_rate": self.learning_rate}
        return lambda *given: _greedily(self._layer, asked, *given)

    def _layer(self, pair: Pair, samples: Tensor) -> Layer:
        binary = self.visible == "bernoulli" or (
            self.visible == "auto" and _passes_sigmoid(pair) and _within_0_and_1(samples)
        )
        visible = samples[0].numel()
        machine = BoltzmannMachine(visible, pair.width, gaussian=not binary, steps=self.steps).to(samples.device)
        machine.start(samples)
        return Layer(machine, machine.encode, lambda: _unrolled(machine, pair))


def _check_dense(settings: Pretraining, network: Network) -> None:
    if not isinstance(network, Dense):
        what = f"layers are trained one by one in dense networks only, and this one is {network.name}"
        raise UsageError(what, where="pretraining", how="use --set network=dense, or --set pretraining=none")


def _check_sigmoid(why: str, network: Network, bottleneck: Bottleneck) -> None:
    for part, field in ((network, "activation"), (bottleneck, "activation")):
        found = getattr(part, field, bottleneck.name)
        if found != "sigmoid":
            where = f"{part.slot}.{field}"
            how = "add --set network.activation=sigmoid --set bottleneck.activation=sigmoid"
            raise UsageError(f"got {found}, wanted sigmoid: {why}", where=where, how=how)


def _greedily(
    make: Callable[[Pair, Tensor], Layer],
    asked: Mapping[str, Any],
    network: Autoencoder,
    layout: Layout,
    samples: Tensor,
    held_out: Tensor,
    training: Training,
    report: Report | None,
) -> list[str]:
    """Train each pair on what the one below makes of the samples."""
    notices: list[str] = []
    settings = training.replace(**{name: value for name, value in asked.items() if value is not None})
    for number, pair in enumerate(pairs(network, layout), start=1):
        layer = make(pair, samples)
        try:
            history = train(layer.model, samples, settings, held_out, report)
        except TrainingError as fault:
            raise TrainingError(fault.what, where=f"pre-training of layer {number}", how=fault.how) from None
        if history.stopped == "interrupted":
            raise KeyboardInterrupt  # a network of which some layers know nothing is not worth keeping
        layer.settle()
        notices += [f"pre-training of layer {number}: {notice}" for notice in history.notices]
        with torch.no_grad():
            samples, held_out = layer.encode(samples), layer.encode(held_out)
    return notices


def pairs(network: Autoencoder, layout: Layout) -> Iterator[Pair]:
    """The layers of a dense network with those that mirror them, from the samples to the code."""
    down, up = _with_activations(network.encoder.stack), _with_activations(network.decoder.stack)
    loss = network.loss
    for (layer, activation), (mirror, output) in zip(down, reversed(up), strict=True):
        last = layer is down[-1][0]
        width = mirror.in_features if isinstance(mirror, nn.Linear) else mirror.inputs
        yield Pair(layout, layer, network.bottleneck if last else _Activated(activation), width, mirror, output, loss)
        layout = Layout((width,))
        loss = Squared().build(layout).to(network.device)


def _with_activations(stack: nn.Sequential) -> list[tuple[Any, nn.Module]]:
    """Each layer of a stack with the activation that follows it, the identity where none does."""
    parts = list(stack)
    layers: list[tuple[Any, nn.Module]] = []
    for part, following in zip(parts, [*parts[1:], nn.Identity()], strict=True):
        if hasattr(part, "weight"):
            layers.append((part, nn.Identity() if hasattr(following, "weight") else following))
    return layers


class _Down(nn.Module):
    """A layer of an encoder as an encoder of its own. Inputs that it has for a mask are left out."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, seen: Tensor, mask: Tensor | None) -> Tensor:
        flat = seen.flatten(1)
        return functional.linear(flat, self.layer.weight[:, : flat.shape[1]], self.layer.bias)


class _Up(nn.Module):
    """A layer of a decoder as a decoder of its own."""

    def __init__(self, layer: nn.Module, output: nn.Module, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.layer, self.output, self.shape = layer, output, shape

    def forward(self, code: Tensor) -> Tensor:
        given: Tensor = self.output(self.layer(code))
        return given.reshape(-1, *self.shape)


class _Activated(nn.Module):
    """A hidden layer's activation as a bottleneck."""

    def __init__(self, activation: nn.Module) -> None:
        super().__init__()
        self.activation = activation

    def forward(self, hidden: Tensor, generator: torch.Generator | None) -> Code:
        return Code(self.activation(hidden))


@torch.no_grad()
def _unrolled(machine: BoltzmannMachine, pair: Pair) -> None:
    """A machine's weights and hidden biases go to the encoder; transposed, with the visible biases, to the decoder."""
    pair.down.weight[:, : machine.weight.shape[1]].copy_(machine.weight)
    pair.down.bias.copy_(machine.hidden_bias)
    if pair.up.weight is not pair.down.weight:
        pair.up.weight.copy_(machine.weight.T)
    pair.up.bias.copy_(machine.visible_bias)


def _passes_sigmoid(pair: Pair) -> bool:
    """Whether what the decoder's layer gives goes through a sigmoid, its own or the loss's: at 0 it means one half."""
    nothing = torch.zeros(1, *pair.layout.shape, device=pair.up.weight.device)
    return bool((pair.loss.expectation(pair.output(nothing)) == 0.5).all())


def _within_0_and_1(samples: Tensor) -> bool:
    known = samples[~samples.isnan()]
    return not len(known) or bool((known >= 0).all() & (known <= 1).all())
