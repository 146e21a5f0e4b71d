"""The autograd step captured as a CUDA graph: all its kernels start with one call, where each else waits for Python.

A small network's step on a GPU is mostly the time that Python takes to ask for it. What is captured is the step itself,
random draws and optimizer included, so both train alike. It is written to torch's documented interface; its speed is
not measured yet.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from hourglass.core.autograd_steps import AutogradStep
from hourglass.core.bottlenecks import PlainCode
from hourglass.core.model import Autoencoder, Player, misses_none
from hourglass.core.penalties import CodeTerm

_WARM_UP = 3
"""Steps before the capture: in them libraries choose their kernels and take their memory."""

Terms = Mapping[str, Tensor | float]


def can_be_captured(model: Autoencoder, players: list[Player], samples: Tensor | tuple[Tensor, ...]) -> bool:
    """Whether every step on these samples is the same kernels, all on a CUDA device.

    Bottlenecks and penalties that change over training would be captured as they are at one moment; recurrent layers
    want their weights in a memory of their own.
    """
    if isinstance(samples, tuple) or samples.device.type != "cuda":
        return False
    steady = isinstance(model.bottleneck, PlainCode) and all(isinstance(each, CodeTerm) for each in model.penalties)
    steady = steady and model.pooled is torch.mean
    recurrent = any(isinstance(part, nn.RNNBase) for part in model.modules())
    return steady and not recurrent and misses_none(samples) and len(players) == 1 and not players[0].slower


class GraphStep:
    """Replays the autograd step on batches as large as the first; a smaller last one is left to autograd.

    So are all, where a step turns out to wait for the GPU, which no graph can. The terms that it gives are overwritten
    by the next step.
    """

    name = "CUDA graph"

    def __init__(self, model: Autoencoder, by_autograd: AutogradStep) -> None:
        self.model, self.by_autograd = model, by_autograd
        self.stream = torch.cuda.Stream(model.device)  # type: ignore[no-untyped-call]
        self.rate = torch.zeros((), device=model.device)
        self.batch: Tensor | None = None
        self.graph: torch.cuda.CUDAGraph | None = None
        self.terms: Terms = {}
        self.warm = 0

    def __call__(self, batch: Tensor, share: float, rate: float, generator: torch.Generator) -> Terms:
        if self.batch is None:
            self.batch = torch.empty_like(batch)
        if self.name == AutogradStep.name or len(batch) != len(self.batch):
            return self.by_autograd(batch, share, rate, generator)
        self.batch.copy_(batch)
        self.rate.fill_(rate)
        if self.graph is not None:
            self.graph.replay()
            return self.terms
        kept = generator.clone_state()
        try:
            return self._first_steps(share, generator)
        except RuntimeError:  # it waits for the GPU; any other fault comes again
            self.name, self.graph = AutogradStep.name, None
            generator.graphsafe_set_state(kept)  # a new state: the old one may still be part of a broken capture
            return self.by_autograd(batch, share, rate, generator)

    def _first_steps(self, share: float, generator: torch.Generator) -> Terms:
        if self.warm < _WARM_UP:
            self.warm += 1
            with _aside(self.stream), _never_waiting():
                return self._learn(share, generator)
        self.graph = torch.cuda.CUDAGraph()
        self.graph.register_generator_state(generator)
        with torch.cuda.graph(self.graph, stream=self.stream):
            self.terms = self._learn(share, generator)
        self.graph.replay()
        return self.terms

    def _learn(self, share: float, generator: torch.Generator) -> Terms:
        self.model.complete = True
        try:
            return self.by_autograd(self.batch, share, self.rate, generator)
        finally:
            self.model.complete = False

    @property
    def moments(self) -> list[Tensor]:
        """What the optimizer remembers of past gradients."""
        return self.by_autograd.moments

    def release(self) -> None:
        """Let the model have its parameters back."""
        self.graph, self.terms = None, {}
        self.by_autograd.release()


@contextmanager
def _aside(stream: Any) -> Iterator[None]:
    """On another stream, as captures are, each waiting for what the other has under way."""
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        yield
    torch.cuda.current_stream().wait_stream(stream)


@contextmanager
def _never_waiting() -> Iterator[None]:
    """What would wait for the GPU raises a `RuntimeError` instead."""
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)
