"""The kinds of autoencoder, as a table: a row names the parts that make it what it is.

Rows compose: `denoising+variational` takes the corruption of the one and the bottleneck of the other.

>>> parts_of("denoising+variational")["corruption"]
GaussianNoise(scale=0.3, low=None, high=None)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from hourglass.core.activation_scores import ActivationScorer
from hourglass.core.bottlenecks import Bottleneck, Gaussian, Plain, TopK
from hourglass.core.corruptions import (
    BlindSpots,
    Corruption,
    GaussianNoise,
    HiddenPatches,
    Masking,
    NoCorruption,
    Recorruption,
    SaltAndPepper,
    Swap,
    ToldMasking,
)
from hourglass.core.level_scores import ShapeAndLevelScorer
from hourglass.core.likelihood import check_random_codes
from hourglass.core.losses import Loss, Mixed, NormalLikelihood, Squared
from hourglass.core.matching import Adversary, MeanDiscrepancy, TotalCorrelation
from hourglass.core.model import Autoencoder
from hourglass.core.networks.convolution import Convolution
from hourglass.core.networks.dense import Dense
from hourglass.core.networks.network import Network
from hourglass.core.networks.recurrent import Recurrent
from hourglass.core.networks.transformer import PatchTransformer
from hourglass.core.networks.unet import UNet
from hourglass.core.noises import Noise
from hourglass.core.patch_scores import PatchScorer
from hourglass.core.penalties import Contraction, DeadUnits, KLSparsity, Penalty
from hourglass.core.pretraining import NoPretraining, Pretraining, StackedAutoencoders
from hourglass.core.priors import Normal, Prior, check_prior, pulled_to_normal
from hourglass.core.quantised import Codebook, FiniteScalar
from hourglass.core.scores import check_scorers, scorer_named
from hourglass.core.spectral import SignalDistortion, Spectral
from hourglass.core.trimming import Trimming
from hourglass.data.audio import AudioSettings
from hourglass.data.formats import FormatSettings
from hourglass.data.images import ImageSettings
from hourglass.data.samples import Layout
from hourglass.data.series import SeriesSettings
from hourglass.data.tables import TableSettings
from hourglass.errors import UsageError
from hourglass.settings import Detection, Settings, Training, did_you_mean, option

KINDS: dict[str, dict[str, Any]] = {
    "plain": {"network": Dense(layers=())},
    "deep": {},
    "denoising": {"corruption": GaussianNoise()},
    "denoising-salt-and-pepper": {"corruption": SaltAndPepper()},
    "denoising-masking": {"corruption": Masking()},
    "denoising-swap": {"corruption": Swap()},
    "masked-cell": {"corruption": ToldMasking(), "network": Dense(layers=(256, 256), activation="silu")},
    "convolutional": {"network": Convolution()},
    "recurrent": {"network": Recurrent()},
    # a picture costs what hundreds of rows do, and its pixels are as many examples
    "u-net": {"network": UNet(), "training": Training(batch_size=32)},
    # with its residual head, a network had first to learn to take what it saw away again
    "noise2void": {"corruption": BlindSpots(), "network": UNet(head="values"), "training": Training(batch_size=32)},
    "recorrupted": {"corruption": Recorruption(), "network": UNet(), "training": Training(batch_size=32)},
    "mask": {
        "format": AudioSettings(view="complex"),
        "network": UNet(channels=(24, 32, 48), fold=4, head="mask"),
        "corruption": Noise(),
        "loss": Spectral(),
        "penalties": (SignalDistortion(),),
        "training": Training(batch_size=4, steps=2_500),  # a tile of sound costs what hundreds of rows do
    },
    "transformer": {"network": PatchTransformer()},
    "masked-patches": {"corruption": HiddenPatches(), "network": PatchTransformer()},
    "sparse": {"bottleneck": Plain(activation="sigmoid"), "penalties": (KLSparsity(),)},
    "top-k": {"bottleneck": TopK()},
    "dictionary": {
        "network": Dense(layers=(), unit_norm=True),
        "bottleneck": TopK(),
        "penalties": (DeadUnits(),),
    },
    "contractive": {"bottleneck": Plain(activation="sigmoid"), "penalties": (Contraction(),)},
    # with the squared loss, beta 1 would stand for so noisy a decoder that codes die
    "variational": {"bottleneck": Gaussian(), "loss": NormalLikelihood()},
    "importance-weighted": {"bottleneck": Gaussian(draws=5), "loss": NormalLikelihood()},
    "total-correlation": {
        "bottleneck": Gaussian(),
        "loss": NormalLikelihood(),
        "penalties": (TotalCorrelation(),),
    },
    "info-variational": {"bottleneck": Gaussian(beta=0.01), "penalties": (MeanDiscrepancy(),)},
    "wasserstein": {"penalties": (MeanDiscrepancy(),)},
    "adversarial": {"penalties": (Adversary(),)},
    "vector-quantised": {"bottleneck": Codebook()},
    "finite-scalar": {"bottleneck": FiniteScalar()},
    "stacked": {"pretraining": StackedAutoencoders()},
}

DEFAULT_KIND = {"table": "masked-cell", "series": "denoising", "image": "denoising", "audio": "mask"}
FORMATS: dict[str, type[FormatSettings]] = {
    each.name: each for each in (TableSettings, SeriesSettings, ImageSettings, AudioSettings)
}
SLOTS: dict[str, type[Any]] = {
    "network": Network, "corruption": Corruption, "bottleneck": Bottleneck, "loss": Loss, "format": FormatSettings,
    "prior": Prior, "pretraining": Pretraining,
}  # fmt: skip


@dataclass(frozen=True)
class Experiment(Settings):
    """Everything that defines a fit: the five parts, the data format, the training, the detection."""

    name = "experiment"
    modality: str = option("table", "what the data are", choices=tuple(FORMATS))
    kind: str = option("deep", "the rows of the table of kinds that it was made from")
    network: Network = option(Dense(), "the encoder and the decoder")
    corruption: Corruption = option(NoCorruption(), "what is done to samples before the encoder sees them")
    bottleneck: Bottleneck = option(Plain(), "what the code must pass")
    loss: Loss | None = option(
        None, "what a difference costs (default: squared; mixed where there are flags or categories)"
    )
    penalties: tuple[Penalty, ...] = option((), "further terms of the objective")
    format: FormatSettings = option(TableSettings(), "how data become samples")
    pretraining: Pretraining = option(NoPretraining(), "how its layers are trained before the whole is")
    training: Training = option(Training(), "how the network is trained")
    prior: Prior = option(Normal(), "where new codes come from")
    detection: Detection = option(Detection(), "how odd is an anomaly")

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Experiment:
        """The experiment that `as_json` described, or a recipe file: what is left out has its default."""
        given = dict(document)
        for word in ("modality", "kind"):
            if not isinstance(given.get(word, ""), str):
                raise UsageError(f"got {given[word]!r} for the {word}, wanted text", how=f'{word} = "NAME"')
        modality = given.get("modality", "table")
        base = experiment(modality, given.pop("kind", None))
        for slot in (*SLOTS, "penalties", "training", "detection"):
            if slot in given:
                given[slot] = _part_from_json(base, slot, given[slot])
        return base.replace(**given)

    @property
    def standard_codes(self) -> bool:
        """Whether training pulls codes to N(0, I)."""
        return pulled_to_normal(self.bottleneck, self.penalties)

    def scorers(self) -> tuple[str, ...]:
        """What is measured to find anomalies: as asked, or by what the network learned and what it sees.

        One that fills hidden cells in is asked to, unless it learned from anomalies too, which it then fills in as
        well; convolutions on pictures are asked patch by patch; windows of a series have a shape and a level.
        """
        if self.detection.scorers:
            return self.detection.scorers
        if self.corruption.tells:
            by_layer = isinstance(self.network, Dense) and self.modality != "image"
            whole = ActivationScorer.name if by_layer else "error"
            return (whole, "far-neighbours") if self.training.contaminated else ("masked-cell", whole, "neighbours")
        if self.modality == "series":
            return (ShapeAndLevelScorer.name,)
        patches = self.modality == "image" and isinstance(self.network, Convolution)
        return (PatchScorer.name, "error") if patches else ("error",)


def experiment(modality: str = "table", kind: str | None = None) -> Experiment:
    """The experiment of a kind (or several, joined by `+`) for a modality, with its default options."""
    if modality not in FORMATS:
        raise UsageError(f"there is no modality called {modality!r}", how=did_you_mean(modality, FORMATS))
    kind = kind or DEFAULT_KIND[modality]
    parts = parts_of(kind)
    form = parts.setdefault("format", FORMATS[modality]())
    if not isinstance(form, FORMATS[modality]):
        how = f"give another kind, or --modality {form.name} where the data are that"
        raise UsageError(f"the kind {kind!r} is for the modality {form.name}, not {modality}", where="kind", how=how)
    return Experiment(modality=modality, kind=kind, **parts)


def parts_of(kind: str) -> dict[str, Any]:
    """The parts that a kind names; two kinds that name the same part differently do not compose."""
    parts: dict[str, Any] = {}
    for name in kind.split("+"):
        if name not in KINDS:
            raise UsageError(f"there is no kind called {name!r}", how=did_you_mean(name, KINDS))
        for slot, part in KINDS[name].items():
            if slot == "penalties":
                parts[slot] = parts.get(slot, ()) + part
            elif parts.setdefault(slot, part) != part:
                what = f"the kinds in {kind!r} name the {slot} differently: {parts[slot]} and {part}"
                raise UsageError(what, how="leave one out")
    return parts


def build(plan: Experiment, layout: Layout) -> Autoencoder:
    """The untrained network of an experiment. Its first weights come from torch's global seed."""
    plan.network.check(layout)
    check_scorers(plan.scorers(), layout)
    _check_patches(plan)
    _check_penalties(plan)
    _check_skips(plan)
    plan.pretraining.check(plan.network, plan.bottleneck)
    check_prior(plan.prior, plan.bottleneck)
    check_random_codes(plan.scorers(), plan.bottleneck)
    _check_trimming(plan)
    if getattr(plan.network, "output", "linear") != "linear" and (
        layout.mixed or getattr(plan.loss, "unit_interval", 0)
    ):
        what = "the loss of these data applies its own sigmoid or softmax, and so would the network"
        raise UsageError(what, where="network.output", how="leave it linear: --set network.output=linear")
    size = latent_size(plan, layout)
    network = plan.network
    if isinstance(network, Dense) and network.layers is None:
        network = network.replace(layers=funnel(layout.size, size))
    loss = (plan.loss or (Mixed() if layout.mixed else Squared())).build(layout)
    hidden = plan.bottleneck.heads * size
    encoder, decoder = network.build(layout, hidden, size, plan.corruption.tells)
    penalties = [penalty.build(size, loss.count) for penalty in plan.penalties]
    bottleneck = plan.bottleneck.build(size, loss.count)
    corruption, pull = plan.corruption.build(layout), plan.corruption.pull
    pooled = Trimming() if plan.training.contaminated else torch.mean
    model = Autoencoder(encoder, decoder, corruption, bottleneck, loss, penalties, pull, pooled)
    # so convolutions keep channels last in memory: 1.2 times as fast, and 1.4 times where nothing learns
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def latent_size(plan: Experiment, layout: Layout) -> int:
    """Numbers in a code: as asked, or a quarter of a sample's numbers, 2 to 32 (1 for a sample of fewer than 4).

    A code that is kept sparse is as wide as the sample, at most 256; a network whose code is its own feature map fixes
    the size.
    """
    fixed, asked = plan.network.code_size(layout), plan.bottleneck.size
    if fixed and asked and asked != fixed:
        what = f"this network's code is its last feature map, {fixed} numbers, and {asked} are asked for"
        how = "leave the size out, change network.channels, or add --set network.code=dense"
        raise UsageError(what, where="bottleneck.size", how=how)
    if size := fixed or asked:
        return size
    if plan.bottleneck.sparse or any(penalty.sparse for penalty in plan.penalties):
        return min(256, layout.size)
    return max(min(2, layout.size // 2), min(32, layout.size // 4), 1)


def _check_patches(plan: Experiment) -> None:
    sides = [getattr(part, "patch", None) for part in (plan.network, plan.corruption) if hasattr(part, "patch")]
    if len(set(sides)) > 1:
        what = f"network.patch is {sides[0]} and corruption.patch is {sides[1]}, and only whole patches are left out"
        asked = sides[0] or sides[1]
        raise UsageError(what, how=f"give both the same: --set network.patch={asked} --set corruption.patch={asked}")


def _check_trimming(plan: Experiment) -> None:
    if plan.training.contaminated and getattr(plan.bottleneck, "draws", 1) > 1:
        what = f"contaminated training leaves out samples, and {plan.bottleneck.name} weighs several draws of each"
        raise UsageError(what, where="training.contaminated", how="leave it out, or add --set bottleneck.draws=1")


def _check_penalties(plan: Experiment) -> None:
    names = [penalty.name for penalty in plan.penalties]
    if len(set(names)) < len(names):
        raise UsageError(f"a penalty is named twice: {', '.join(names)}", where="penalties", how="name each once")
    if KLSparsity.name in names and getattr(plan.bottleneck, "activation", "") != "sigmoid":
        how = "add --set bottleneck.activation=sigmoid, or use the penalty l1"
        raise UsageError("kl-sparsity needs codes between 0 and 1", where="penalties", how=how)
    for penalty in plan.penalties:
        if penalty.needs and penalty.needs != plan.bottleneck.gives:
            able = [name for name, part in Bottleneck.table.items() if getattr(part, "gives", "") == penalty.needs]
            what = f"{penalty.name} cannot be had with the bottleneck {plan.bottleneck.name}"
            raise UsageError(what, where="penalties", how=f"add --set bottleneck={' or '.join(able)}")


def _check_skips(plan: Experiment) -> None:
    parts: tuple[Any, ...] = (*plan.penalties, *map(scorer_named, plan.scorers()))
    asking = [part.name for part in parts if part.decodes]
    if plan.network.skips and asking:
        what = f"{asking[0]} asks what the decoder makes of a code alone, and {plan.network.name} has skips past it"
        raise UsageError(what, where="network", how="use another network, such as --set network=convolution")


def funnel(size: int, latent: int) -> tuple[int, ...]:
    """Two hidden widths that narrow evenly (in ratio) from a sample to its code, 8 to 512 units wide."""
    ratio = (latent / size) ** (1 / 3)
    return tuple(max(8, min(512, round(size * ratio**step))) for step in (1, 2))


def choose_device(name: str) -> torch.device:
    """The device to compute on: `auto` takes a GPU where there is one."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as fault:
        known = name.split(":")[0] in ("cpu", "cuda", "mps")
        what = f"the device {name!r} cannot be used" + (f": {str(fault).splitlines()[0]}" if known else "")
        raise UsageError(
            what, how="wanted auto, cpu, cuda, cuda:1 or mps; auto takes a GPU where there is one"
        ) from None
    return device


def _part_from_json(base: Experiment, slot: str, document: Any) -> Any:
    """A slot's new value: a named part replaces the kind's own, options without a name change it."""
    current = getattr(base, slot)
    if slot == "penalties":
        if not isinstance(document, list | tuple):
            raise UsageError(f"got {document!r} for the penalties, wanted a list", how="give them as [NAME, ...]")
        return tuple(Penalty.from_json(each) for each in document)
    if isinstance(document, Mapping) and "is" not in document and current is not None:
        return current.replace(**document)
    if slot not in SLOTS:
        raise UsageError(f"got {document!r} for {slot}, wanted its options by name", how="{OPTION: VALUE, ...}")
    return SLOTS[slot].from_json(document) if document is not None else None
