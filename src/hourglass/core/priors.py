"""Where new codes come from: a prior is fitted to the codes of the training samples, once the network is trained.

All of them but the flow are mixtures of Gaussians, which differ in where the Gaussians stand: at 0, at the groups of
the codes, at the codes themselves, or at what the encoder makes of learned samples.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from hourglass.core.chunks import in_chunks, single_precision
from hourglass.core.densities import (
    WIDE,
    Density,
    Mixture,
    State,
    fit_mixture,
    log_normal,
    mixture_state,
    ridge_of,
    spread,
)
from hourglass.core.flows import CouplingFlow, FlowDensity
from hourglass.core.latent_space import plane, principal_directions
from hourglass.core.model import Autoencoder, Player, split_missing
from hourglass.core.posterior import Posterior
from hourglass.core.training import train
from hourglass.errors import UsageError
from hourglass.settings import Part, Training, option

_MOST_SAMPLES = 20_000
_DRAWS = 2**14
_HELD_OUT = 10
_PULLING = ("gaussian", "mmd", "adversary")
"""Bottlenecks and penalties that pull codes to N(0, I)."""


@dataclass(frozen=True)
class Evidence:
    """What a prior is fitted to."""

    network: Autoencoder
    samples: Tensor
    """Training samples (n, ...), on the network's device."""
    codes: Tensor
    """Their codes (n, latent), float64, on the CPU; drawn, where codes are random."""
    pulled: bool
    """Whether training pulled the codes to N(0, I)."""
    seed: int


@dataclass(frozen=True)
class Prior(Part):
    """Where new codes come from."""

    slot = "prior"
    gaussian: ClassVar[bool] = False
    """Whether codes must be drawn from a normal distribution that the encoder gives."""
    coupled: ClassVar[bool] = False
    """Whether it cannot do with codes of a single number."""
    narrow: ClassVar[bool] = False
    """Whether it cannot do with codes of many numbers."""

    @abstractmethod
    def fit(self, evidence: Evidence) -> State:
        """What is learned, as tensors."""

    @abstractmethod
    def density(self, state: State) -> Density:
        """The distribution of codes that a state describes."""


@dataclass(frozen=True)
class Normal(Prior):
    """One normal distribution: N(0, I) where training pulled the codes there, else with their mean and covariance."""

    name = "normal"

    def fit(self, evidence: Evidence) -> State:
        codes = evidence.codes
        if evidence.pulled:
            return mixture_state(torch.ones(1), torch.zeros(1, codes.shape[1]), torch.ones(1, codes.shape[1]))
        return mixture_state(torch.ones(1), codes.mean(0)[None], spread(codes, ridge=1e-6)[None])

    def density(self, state: State) -> Density:
        return Mixture(state)


@dataclass(frozen=True)
class GaussianMixture(Prior):
    """Several normal distributions, each with a mean and a covariance of its own, fitted to the codes."""

    name = "mixture"
    narrow = True
    components: int | None = option(
        None, "normal distributions (default: one for each ten codes a number of a code, at most 10)", low=1
    )
    ridge: float = option(1e-3, "share of the codes' variance added to each one's, against overfitting", low=0, high=1)

    def fit(self, evidence: Evidence) -> State:
        codes = evidence.codes
        count = self.components or max(1, min(10, len(codes) // (10 * codes.shape[1])))
        generator = torch.Generator().manual_seed(evidence.seed)
        parts, _ = fit_mixture(codes, min(count, len(codes)), ridge_of(codes, self.ridge), generator)
        return mixture_state(*parts)

    def density(self, state: State) -> Density:
        return Mixture(state)


@dataclass(frozen=True)
class Empirical(Prior):
    """The codes of training samples, each moved a little (a smoothed bootstrap).

    With noise h a draw is m + sqrt(1 - h^2) (z - m) + h e, e ~ N(0, S): mean m and covariance S of the codes stay
    (West 1993). By default h = (4 / (n (latent + 2)))^(1 / (latent + 4)) (Silverman 1986).
    """

    name = "empirical"
    most: int = option(2_000, "codes that are kept", low=1)
    noise: float | None = option(None, "how far codes are moved; 0: not at all (default: by rule)", low=0, high=1)

    def fit(self, evidence: Evidence) -> State:
        codes = evidence.codes
        size = codes.shape[1]
        kept = codes[: max(1, min(self.most, 2**20 // size))]
        rule = (4 / (len(kept) * (size + 2))) ** (1 / (size + 4))
        noise = self.noise if self.noise is not None else min(1.0, rule)
        means = codes.mean(0) + (1 - noise**2) ** 0.5 * (kept - codes.mean(0))
        return mixture_state(torch.ones(len(kept)) / len(kept), means, noise * spread(codes, ridge=1e-6)[None])

    def density(self, state: State) -> Density:
        return Mixture(state)


@dataclass(frozen=True)
class Vamp(Prior):
    """What the encoder makes of a few learned samples, mixed (Tomczak and Welling 2018, VampPrior).

    p(z) = 1/K sum_k q(z | u_k). The pseudo-inputs u_k start as training samples and are moved, the network standing
    still, until codes drawn from the training samples' own q(z | x) are likely.
    """

    name = "vamp"
    gaussian = True
    components: int = option(64, "pseudo-inputs", low=1)
    epochs: int | None = option(None, "passes over the training codes (default: enough for about 1,500 steps)", low=1)

    def fit(self, evidence: Evidence) -> State:
        samples, network = evidence.samples, evidence.network
        with _standing_still(network):
            with torch.no_grad():
                pieces = [posterior_of(network, piece) for piece in torch.split(samples, 1024)]
            mean = torch.cat([each.mean for each in pieces])
            log_variance = torch.cat([each.log_variance for each in pieces])
            learned = _PseudoInputs(network, split_missing(samples[: self.components])[0])
            train(learned, (mean, log_variance), Training(epochs=self.epochs, seed=evidence.seed))
            with torch.no_grad():
                centres, scales = learned.components()
        return mixture_state(torch.ones(len(centres)) / len(centres), centres, scales)

    def density(self, state: State) -> Density:
        return Mixture(state)


@dataclass(frozen=True)
class Flow(Prior):
    """A small invertible network that makes codes of standard normal numbers, trained by maximum likelihood."""

    name = "flow"
    coupled = narrow = True
    couplings: int = option(6, "steps, each of which moves half of a code by the other half", low=2)
    width: int = option(64, "units in each of a step's two hidden layers", low=1)
    epochs: int | None = option(None, "passes over the training codes (default: enough for about 1,500 steps)", low=1)

    def fit(self, evidence: Evidence) -> State:
        codes = evidence.codes
        flow = CouplingFlow(codes.shape[1], self.couplings, self.width)
        flow.whiten(codes)
        kept, held_out = torch.split(codes, [len(codes) - len(codes) // _HELD_OUT, len(codes) // _HELD_OUT])
        train(flow, kept, Training(epochs=self.epochs, seed=evidence.seed), held_out)
        return {name: tensor.detach().clone() for name, tensor in flow.state_dict().items()}

    def density(self, state: State) -> Density:
        with single_precision(), torch.random.fork_rng(devices=[]):
            return FlowDensity(state, CouplingFlow(len(state["centre"]), self.couplings, self.width))


@dataclass(frozen=True)
class FittedPrior:
    """A prior as it was fitted, and the plane through the codes that shows most of them."""

    settings: Prior
    state: State
    centre: Tensor
    """Mean of the training codes; 0 where codes have at most two numbers."""
    directions: Tensor
    """Two directions (2, latent) in which training codes differ most."""

    @cached_property
    def density(self) -> Density:
        """The distribution of codes."""
        return self.settings.density(self.state)

    def draw(self, count: int, seed: int = 0) -> np.ndarray:
        """New codes (count, latent), float32; the same for the same seed."""
        return self.density.draw(count, torch.Generator().manual_seed(seed)).float().numpy()

    def log_density(self, codes: np.ndarray) -> np.ndarray:
        """Log density of each code, in nats, float64."""
        return self.density.log_density(torch.as_tensor(codes, dtype=torch.float64)).numpy()

    def plane(self, side: int) -> np.ndarray:
        """Codes (side * side, latent) on a grid over the plane, as dense as the prior is (see `latent_space.plane`)."""
        draws = self.density.draw(_DRAWS, torch.Generator().manual_seed(0))
        return plane(draws, self.centre.double(), self.directions.double(), side).float().numpy()

    def tensors(self) -> State:
        """Everything learned, by name, as `restore` takes it."""
        learned = {f"density.{name}": tensor for name, tensor in self.state.items()}
        return {"centre": self.centre, "directions": self.directions, **learned}

    @classmethod
    def restore(cls, settings: Prior, tensors: State, size: int) -> FittedPrior:
        """The prior of codes of `size` numbers that `tensors` described; `ValueError` where they do not fit."""
        state = {
            name.removeprefix("density."): tensor for name, tensor in tensors.items() if name.startswith("density.")
        }
        fitted = cls(settings, state, tensors["centre"], tensors["directions"])
        drawn = fitted.draw(1)
        if drawn.shape[1] != size or fitted.centre.shape != (size,) or fitted.directions.shape != (min(2, size), size):
            raise ValueError("its prior is not for codes of this size")
        return fitted


def fit_prior(prior: Prior, network: Autoencoder, samples: np.ndarray, pulled: bool, seed: int) -> FittedPrior:
    """The prior fitted to the codes of training samples (n, ...), of at most 20,000 of them drawn at random.

    `pulled`: see `pulled_to_normal`. The caller's random state is left as it was.
    """
    order = np.random.default_rng(seed).permutation(len(samples))[:_MOST_SAMPLES]
    means = torch.from_numpy(in_chunks(network.encode, samples[order], network.device)).double()
    _check_size(prior, means.shape[1])
    x = torch.from_numpy(samples[order]).to(network.device)
    codes = means + _noise(network, x, torch.Generator().manual_seed(seed))
    with single_precision(), torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        state = prior.fit(Evidence(network, x, codes, pulled, seed))
    directions = principal_directions(means)
    centre = means.mean(0) if means.shape[1] > 2 else torch.zeros(means.shape[1])
    return FittedPrior(prior, state, centre.float(), directions.float())


def _noise(network: Autoencoder, x: Tensor, generator: torch.Generator) -> Tensor | float:
    """How far codes are drawn from their means, where they are random: the decoder has learned to read draws."""
    with torch.no_grad():
        if network.code_of(x[:1]).posterior is None:
            return 0.0

    def deviations(piece: Tensor) -> Tensor:
        return (0.5 * posterior_of(network, piece).log_variance).exp()

    reach = torch.from_numpy(in_chunks(deviations, x.cpu().numpy(), network.device)).double()
    return reach * torch.randn(reach.shape, generator=generator, dtype=torch.float64)


def pulled_to_normal(bottleneck: Any, penalties: Any) -> bool:
    """Whether training pulls codes to N(0, I): by the bottleneck's KL term, or by a penalty."""
    weights = [(bottleneck.name, getattr(bottleneck, "beta", 1.0)), *((part.name, part.weight) for part in penalties)]
    return any(name in _PULLING and weight > 0 for name, weight in weights)


def check_prior(prior: Prior, bottleneck: Any) -> None:
    """`UsageError` where the codes of such a bottleneck cannot have this prior."""
    if prior.gaussian and bottleneck.gives != "posterior":
        what = f"the prior {prior.name} is for codes drawn from a normal distribution, and here they are not"
        how = "fit with --kind variational, or take --prior mixture"
        raise UsageError(f"{what} (bottleneck: {bottleneck.name})", where="prior", how=how)


def _check_size(prior: Prior, size: int) -> None:
    if (prior.coupled and size < 2) or (prior.narrow and size > WIDE):
        least = 2 if prior.coupled else 1
        what = f"the prior {prior.name} takes codes of {least} to {WIDE} numbers, and these have {size}"
        raise UsageError(what, where="prior", how="take --prior normal or --prior empirical")


def posterior_of(network: Autoencoder, x: Tensor) -> Posterior:
    """The normal distribution that the encoder gives each sample's code."""
    given = network.code_of(x).posterior
    if given is None:
        how = "take the prior normal, mixture, empirical or flow, or fit a variational kind"
        raise UsageError("the codes of this model are not drawn from a distribution", where="prior", how=how)
    return given


class _PseudoInputs(nn.Module):
    """The learned samples of a `Vamp` prior. Its term is the mean of -log p(z), z drawn from the samples' q(z | x)."""

    def __init__(self, network: Autoencoder, start: Tensor) -> None:
        super().__init__()
        self.inputs = nn.Parameter(start.clone())
        self.posterior = partial(posterior_of, network)  # the network is no part of what is learned

    def components(self) -> tuple[Tensor, Tensor]:
        """Means and standard deviations (k, latent)."""
        given = self.posterior(self.inputs)
        return given.mean, (0.5 * given.log_variance).exp()

    def terms(self, batch: tuple[Tensor, Tensor], generator: torch.Generator | None = None) -> dict[str, Tensor]:
        given = Posterior(*batch)
        noise = torch.randn(given.mean.shape, generator=generator, device=given.mean.device, dtype=given.mean.dtype)
        each = log_normal(given.draw(noise), *self.components())
        return {"negative log-likelihood": -(torch.logsumexp(each, dim=1) - np.log(each.shape[1])).mean()}

    def players(self) -> list[Player]:
        return [Player([self.inputs], self.terms)]

    def set_progress(self, share: float) -> None:
        """Nothing changes over training."""


@contextmanager
def _standing_still(network: Autoencoder) -> Iterator[None]:
    """No weight of the network gathers gradients here, as something before it is trained."""
    moving = [weight for weight in network.parameters() if weight.requires_grad]
    for weight in moving:
        weight.requires_grad_(False)
    try:
        yield
    finally:
        for weight in moving:
            weight.requires_grad_(True)
