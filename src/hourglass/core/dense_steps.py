"""The training step of a plain dense stack, its forward and backward pass written out.

Of a layer with inputs h, weights W and biases b, z = h W' + b and its output is f(z). Back comes g, the gradient of the
output; then g f'(z) is that of z, its product with h that of W, its sum over rows that of b, and its product with W
that of h.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from hourglass.core.bottlenecks import PlainCode
from hourglass.core.flat_adamw import FlatAdamW
from hourglass.core.losses import absolute, bernoulli, squared
from hourglass.core.model import Autoencoder, Player, misses_none
from hourglass.core.networks.dense import layers_of
from hourglass.core.parallel import ALONE, Team
from hourglass.core.penalties import CodeTerm
from hourglass.settings import Training

_aten = torch.ops.aten


@dataclass(frozen=True)
class _Activation:
    """How a layer's output is had from z, and the gradient of z from the output's."""

    forward: Callable[[Tensor, Tensor], object]
    """(z, output): fills the output."""
    backward: Callable[[Tensor, Tensor], object]
    """(gradient, kept): multiplies the gradient by the slope, in place."""
    keeps_z: bool = False
    """Whether the slope is read from z; otherwise from the output, which then takes the place of z."""


_ACTIVATIONS: dict[type[nn.Module], Callable[[Any], _Activation]] = {
    nn.ReLU: lambda module: _Activation(
        lambda z, output: torch.relu_(z),
        lambda grad, output: _aten.threshold_backward.grad_input(grad, output, 0, grad_input=grad),
    ),
    nn.LeakyReLU: lambda module: _Activation(
        lambda z, output: functional.leaky_relu_(z, module.negative_slope),
        lambda grad, output: _aten.leaky_relu_backward.grad_input(
            grad, output, module.negative_slope, True, grad_input=grad
        ),
    ),
    nn.ELU: lambda module: _Activation(
        lambda z, output: functional.elu_(z, module.alpha),
        lambda grad, output: _aten.elu_backward.grad_input(grad, module.alpha, 1, 1, True, output, grad_input=grad),
    ),
    nn.Sigmoid: lambda module: _Activation(
        lambda z, output: torch.sigmoid_(z),
        lambda grad, output: _aten.sigmoid_backward.grad_input(grad, output, grad_input=grad),
    ),
    nn.Tanh: lambda module: _Activation(
        lambda z, output: torch.tanh_(z),
        lambda grad, output: _aten.tanh_backward.grad_input(grad, output, grad_input=grad),
    ),
    nn.SiLU: lambda module: _Activation(
        lambda z, output: _aten.silu.out(z, out=output),
        lambda grad, z: _aten.silu_backward.grad_input(grad, z, grad_input=grad),
        keeps_z=True,
    ),
    nn.GELU: lambda module: _Activation(
        lambda z, output: _aten.gelu.out(z, approximate=module.approximate, out=output),
        lambda grad, z: _aten.gelu_backward.grad_input(grad, z, approximate=module.approximate, grad_input=grad),
        keeps_z=True,
    ),
}


@dataclass(frozen=True)
class _Slope:
    """How far an output is from what is wanted, and which way it must go."""

    fill: Callable[[Tensor, Tensor, Tensor], float]
    """(output, wanted, gradient): sums the loss and fills its gradient, which may stand where the output did."""
    factor: float = 1.0
    """What the gradient is still to be multiplied by."""


def _squared(output: Tensor, wanted: Tensor, gradient: Tensor) -> float:
    flat = torch.sub(output, wanted, out=gradient).view(-1)
    return torch.dot(flat, flat).item()


def _absolute(output: Tensor, wanted: Tensor, gradient: Tensor) -> float:
    loss = torch.sub(output, wanted, out=gradient).abs().sum().item()
    gradient.sign_()
    return loss


def _bernoulli(output: Tensor, wanted: Tensor, gradient: Tensor) -> float:
    loss = bernoulli(output, wanted).sum().item()
    torch.sigmoid(output, out=gradient).sub_(wanted.clamp(0, 1))
    return loss


_SLOPES: dict[Any, _Slope] = {
    squared: _Slope(_squared, 2.0),
    absolute: _Slope(_absolute),
    bernoulli: _Slope(_bernoulli),
}


@dataclass(frozen=True)
class DensePlan:
    """What the written-out step needs to know of a model."""

    model: Autoencoder
    layers: list[tuple[nn.Linear, _Activation | None]]
    coded: int
    """The layer that gives the code."""
    slope: _Slope


def dense_plan(model: object, players: list[Player], samples: Tensor | tuple[Tensor, ...]) -> DensePlan | None:
    """What the written-out step makes of a model and its samples; None where they are not for it."""
    if not isinstance(model, Autoencoder) or isinstance(samples, tuple) or len(players) != 1 or players[0].slower:
        return None
    slope = _SLOPES.get(getattr(model.loss, "pointwise", None))
    encoder, decoder = layers_of(model.encoder), layers_of(model.decoder)
    if slope is None or encoder is None or decoder is None or not isinstance(model.bottleneck, PlainCode):
        return None
    if model.pooled is not torch.mean:
        return None
    inward = _paired([*encoder, model.bottleneck.dropout, model.bottleneck.activate])
    outward = _paired(decoder)
    if not inward or not outward or not all(isinstance(penalty, CodeTerm) for penalty in model.penalties):
        return None
    plan = DensePlan(model, inward + outward, len(inward) - 1, slope)
    return plan if _fits(samples, model) and _hides_nothing(model, samples) else None


def _paired(modules: list[nn.Module]) -> list[tuple[nn.Linear, _Activation | None]] | None:
    """Each linear layer with the activation after it; None where there is anything else."""
    layers: list[tuple[nn.Linear, _Activation | None]] = []
    for module in modules:
        if isinstance(module, nn.Identity) or (isinstance(module, nn.Dropout) and module.p == 0):
            continue
        if type(module) is nn.Linear:
            layers.append((module, None))
        elif type(module) in _ACTIVATIONS and layers and layers[-1][1] is None:
            layers[-1] = (layers[-1][0], _ACTIVATIONS[type(module)](module))
        else:
            return None
    return layers


def _fits(samples: Tensor, model: Autoencoder) -> bool:
    """Whether all is of one type on the CPU, all weights learn, and no number is missing."""
    alike = all(weight.dtype == samples.dtype and weight.requires_grad for weight in model.parameters())
    places = {samples.device.type, *(weight.device.type for weight in model.parameters())}
    known = samples.dtype in (torch.float32, torch.float64)
    return alike and places == {"cpu"} and known and misses_none(samples)


def _hides_nothing(model: Autoencoder, samples: Tensor) -> bool:
    """Whether the loss is on all numbers: asked of one row, with a generator of its own."""
    return model.corruption(samples[:1], torch.Generator().manual_seed(0))[1] is None


class _Layer:
    """A layer's weights and their gradients, as views of the flat ones."""

    def __init__(self, activation: _Activation | None, tensors: list[Tensor], gradients: list[Tensor]) -> None:
        self.activation = activation
        self.weight, self.bias = tensors
        self.weight_gradient, self.bias_gradient = gradients
        self.turned = self.weight.t()


class _Pass:
    """The buffers for batches of so many rows."""

    def __init__(self, layers: list[_Layer], like: Tensor, rows: int, factor: float) -> None:
        self.layers, self.ones = layers, like.new_ones(rows)
        self.zs = [like.new_empty(rows, len(layer.weight)) for layer in layers]
        pairs = list(zip(layers, self.zs, strict=True))
        self.outputs = [torch.empty_like(z) if _keeps_z(layer) else z for layer, z in pairs]
        self.single = rows == 1
        if self.single:  # the gradient of z is that of the biases
            self.gradients = [layer.bias_gradient.unsqueeze(0) for layer in layers]
        else:
            self.gradients = [torch.empty_like(z) for z in self.zs]
        self.turned = [gradient.t() for gradient in self.gradients]
        self.numbers = self.zs[-1].numel()
        self.share = like.new_tensor(factor / self.numbers)  # a number of Python's own is cast at every step

    def forward(self, inputs: Tensor) -> Tensor:
        """What the last layer says."""
        for layer, z, output in zip(self.layers, self.zs, self.outputs, strict=True):
            torch.addmm(layer.bias, inputs, layer.turned, out=z)
            if layer.activation:
                layer.activation.forward(z, output)
            inputs = output
        return inputs

    def backward(self, last: int, first: int, inputs: Tensor) -> None:
        """From the gradient of the output of layer `last`, those of all weights down to layer `first`.

        The gradient of the inputs of `first` is left with the layer before it; `inputs` are those of the first of all.
        """
        for index in range(last, first - 1, -1):
            layer, gradient, turned = self.layers[index], self.gradients[index], self.turned[index]
            if layer.activation:
                layer.activation.backward(gradient, self.zs[index])
            torch.mm(turned, self.outputs[index - 1] if index else inputs, out=layer.weight_gradient)
            if not self.single:
                torch.mv(turned, self.ones, out=layer.bias_gradient)
            if index:
                torch.mm(gradient, layer.weight, out=self.gradients[index - 1])


def _keeps_z(layer: _Layer) -> bool:
    return layer.activation is not None and layer.activation.keeps_z


class WrittenOutStep:
    """A step without a graph: its products go into buffers, and nothing is made anew but the corruption."""

    name = "written out"

    def __init__(self, plan: DensePlan, settings: Training, team: Team = ALONE) -> None:
        self.model, self.coded, self.slope = plan.model, plan.coded, plan.slope
        self.optimizer = FlatAdamW([each for linear, _ in plan.layers for each in linear.parameters()], settings, team)
        weights, gradients = self.optimizer.weights, self.optimizer.gradients
        self.layers = [
            _Layer(activation, weights[2 * index : 2 * index + 2], gradients[2 * index : 2 * index + 2])
            for index, (_, activation) in enumerate(plan.layers)
        ]
        self.passes: dict[int, _Pass] = {}

    def __call__(
        self, batch: Tensor, share: float, rate: float, generator: torch.Generator
    ) -> Mapping[str, Tensor | float]:
        terms = self.differentiate(batch, generator)
        self.optimizer.step(rate)
        return terms

    def differentiate(self, batch: Tensor, generator: torch.Generator) -> dict[str, float]:
        """The terms of a batch; their gradient is left with the optimizer."""
        rows = len(batch)
        if rows not in self.passes:
            self.passes[rows] = _Pass(self.layers, self.optimizer.gradient, rows, self.slope.factor)
        run = self.passes[rows]
        seen, _ = self.model.corruption(batch, generator)
        wanted, inputs = self.model.wanted(batch, seen).flatten(1), seen.flatten(1)
        terms = {"reconstruction": self.slope.fill(run.forward(inputs), wanted, run.gradients[-1]) / run.numbers}
        run.gradients[-1].mul_(run.share)
        run.backward(len(self.layers) - 1, self.coded + 1, inputs)
        for penalty in self.model.penalties:
            terms[penalty.name] = _pull(penalty, run.outputs[self.coded], run.gradients[self.coded])
        run.backward(self.coded, 0, inputs)
        return terms

    @property
    def moments(self) -> list[Tensor]:
        """What the optimizer remembers of past gradients."""
        return self.optimizer.moments

    def release(self) -> None:
        """Let the model have its parameters back."""
        self.optimizer.release()


def _pull(penalty: CodeTerm, codes: Tensor, gradient: Tensor) -> float:
    """A penalty's term, its gradient added to that of the codes: few numbers, which autograd may have."""
    with torch.enable_grad():
        codes = codes.detach().requires_grad_()
        term = penalty.of(codes)
    gradient.add_(torch.autograd.grad(term, codes)[0])
    return term.item()
