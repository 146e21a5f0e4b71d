"""How far a complex spectrogram is from another, as ears and listening tests have it."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from hourglass.core.losses import CellLoss, Loss
from hourglass.core.model import Autoencoder, Trace
from hourglass.core.penalties import Penalty, Term
from hourglass.data.samples import Layout
from hourglass.errors import UsageError
from hourglass.settings import option

_SILENT = 1e-5
"""Power at which compression stops: below it the root would be infinitely steep."""
_QUIET = 1e-3
"""Mean square of a sample below which it is too quiet for a ratio of it to say anything."""
_BOUND = 1e-3
"""30 dB: where the ratio flattens out on both sides."""
_NOTHING = 1e-12


@dataclass(frozen=True)
class Spectral(Loss):
    """Difference of compressed spectrograms: of the magnitudes, and of the complex numbers (Braun and Tashev 2021).

    (1 - p) (|Y|^c - |X|^c)^2 + p | |Y|^c e^(i phase of Y) - |X|^c e^(i phase of X) |^2 for each bin, half of it on its
    real and half on its imaginary part. Compression, c, makes quiet bins count beside loud ones; p is `phase`.
    """

    name = "spectral"
    compression: float = option(0.3, "power that magnitudes are raised to; 1 leaves them as they are", low=0.05, high=1)
    phase: float = option(0.3, "share of the difference that takes phases into account", low=0, high=1)

    def build(self, layout: Layout) -> CellLoss:
        if not layout.complex:
            what = f"the loss 'spectral' takes complex spectrograms, and samples of shape {layout.shape} are none"
            raise UsageError(what, where="loss", how="use --set loss=squared; for sound, --set format.view=complex")
        return _SpectralLoss(self, layout)


class _SpectralLoss(CellLoss):
    def __init__(self, settings: Spectral, layout: Layout) -> None:
        super().__init__(settings, layout)
        self.compression, self.phase = settings.compression, settings.phase

    def cells(self, output: Tensor, x: Tensor) -> Tensor:
        (size, parts), (wanted_size, wanted) = (compressed(each, self.compression) for each in (output, x))
        magnitude = (size - wanted_size).square() / 2
        return ((1 - self.phase) * magnitude + self.phase * (parts - wanted).square()).flatten(1)

    def constant(self) -> None:
        return None

    def expectation(self, output: Tensor) -> Tensor:
        return output


def compressed(spectrogram: Tensor, power: float) -> tuple[Tensor, Tensor]:
    """|X|^power, (n, 1, bins, frames), and X with that magnitude, (n, 2, bins, frames), both smooth at 0."""
    energy = spectrogram.square().sum(1, keepdim=True) + _SILENT
    return energy ** (power / 2), spectrogram * energy ** ((power - 1) / 2)


@dataclass(frozen=True)
class SignalDistortion(Penalty):
    """What is left of the noise, and what was lost of the signal: the negative SI-SDR in dB (Le Roux et al. 2019).

    Output y and sample x as vectors: 10 log10(|a x|^2 / |y - a x|^2) with a = <y, x> / |x|^2, so that loudness does not
    matter; flattened beyond 30 dB either way, and averaged over the samples that are not silent.
    """

    name = "si-sdr"
    weight: float = option(0.05, "what a dB costs", low=0)

    def build(self, code: int, cells: int) -> nn.Module:
        return Term(self.name, self.weight, lambda model, trace, generator: _distortion(model, trace))


def _distortion(model: Autoencoder, trace: Trace) -> Tensor:
    output, x = model.loss.expectation(trace.output), trace.x
    output = output if trace.missing is None else output.masked_fill(trace.missing, 0.0)
    heard = (x.flatten(1).square().mean(1) > _QUIET).to(x.dtype)
    return -(bounded_ratio(output.flatten(1), x.flatten(1)) * heard).sum() / heard.sum().clamp(min=1.0)


def bounded_ratio(output: Tensor, x: Tensor) -> Tensor:
    """SI-SDR in dB of outputs (n, numbers), from -30 to 30; 0 where the output or the sample is silent. Shape (n,)."""
    energy = x.square().sum(1)
    share = (output * x).sum(1) / energy.clamp(min=_NOTHING)
    signal = share.square() * energy
    rest = (output - share[:, None] * x).square().sum(1)
    floor = _BOUND * (signal + rest) + 1e-9 * energy + _NOTHING
    return 10 * ((signal + floor) / (rest + floor)).log10()
