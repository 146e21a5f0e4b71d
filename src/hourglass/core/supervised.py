"""Labels teach a fitted model: a layer on its code, and the encoder below it, by the one training loop."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hourglass.core.chunks import single_precision
from hourglass.core.fitted import FittedModel
from hourglass.core.heads import Classes, Head, Meaning, encoder_copy
from hourglass.core.model import Code, Player, Slower, split_missing, union
from hourglass.core.training import Report, train
from hourglass.data.formats import Data
from hourglass.errors import DataError, TrainingError, UsageError
from hourglass.settings import Training, Tuning

_FEWEST_HELD_OUT = 50
"""Held-out rows below which the epoch that they choose is a worse one than the last."""


class Supervised(nn.Module):
    """A head, and the encoder that it sits on unless that is frozen, as the loop trains them.

    Batches are (samples, targets), or (codes, targets) where the encoder is frozen.
    """

    def __init__(self, head: Head, tuning: Tuning) -> None:
        super().__init__()
        self.head, self.tuning = head, tuning

    def terms(self, batch: tuple[Tensor, Tensor], generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """The loss of what the labels mean."""
        x, target = batch
        return self.head.meaning.loss(self.head(self._codes(x, generator)), target)

    def _codes(self, x: Tensor, generator: torch.Generator | None) -> Tensor:
        tuned = self.head.tuned
        if tuned is None:
            return x
        if not (self.tuning.corrupt and self.training):
            return tuned.encode(x)
        known, missing = split_missing(x)
        seen, hidden = tuned.corruption(known, generator)
        code: Code = tuned.bottleneck(tuned.encoder(seen, union(hidden, missing)), None)
        return code.value

    def players(self) -> list[Player]:
        """One: the head's layer at the full learning rate, the encoder at its share of it, once it has warmed up."""
        tuned, tuning = self.head.tuned, self.tuning
        encoder = [] if tuned is None else list(tuned.parameters())
        slower = (Slower(encoder, tuning.encoder_rate, tuning.warm_up),) if encoder else ()
        return [Player(list(self.head.linear.parameters()), self.terms, self.head.meaning.contested, slower)]

    def set_progress(self, share: float) -> None:
        """Tell the encoder's parts how far training is."""
        if self.head.tuned is not None:
            self.head.tuned.set_progress(share)


def taught_by(rows: int, asked: Mapping[str, Any]) -> Training:
    """How so many labelled rows are learned from; `asked` are options that somebody named, None for those nobody did.

    By large steps of the new layer (the encoder takes its share of them), and on to the end of the schedule, whose
    small last steps help most. A tenth of the rows is held out, or none where that were too few to choose by.
    """
    share = 0.1 if 0.1 * rows >= _FEWEST_HELD_OUT else 0.0
    named = {name: value for name, value in asked.items() if value is not None}
    return Training(learning_rate=0.01, patience=0, validation=share).replace(**named)


def fine_tune(
    model: FittedModel,
    samples: np.ndarray,
    y: np.ndarray,
    meaning: Meaning,
    tuning: Tuning,
    training: Training,
    report: Report | None = None,
) -> FittedModel:
    """The same model with a head that learned the labels `y` of packed `samples`.

    A share of them (`training.validation`) chooses the best epoch: of each class alike, where the labels are classes.
    """
    if tuning.freeze and tuning.corrupt:
        what = "an encoder that is left as it is need not see corrupted samples"
        raise UsageError(what, where="tuning.corrupt", how="leave out one of freeze and corrupt")
    target = meaning.target(y)
    kept, held_out = split_labelled(target.numpy(), training.validation, training.seed, isinstance(meaning, Classes))
    device, codes = model.network.device, model.encode_samples(samples)
    with single_precision(), torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(training.seed)
        head = Head(meaning, codes.shape[1], None if tuning.freeze else encoder_copy(model.network)).to(device)
        _standardise(head, torch.from_numpy(codes[kept]).to(device))
        x = torch.from_numpy(codes if tuning.freeze else samples).to(device)
        labelled = [(x[chosen], target.to(device)[chosen]) for chosen in map(torch.from_numpy, (kept, held_out))]
        try:
            head.history = train(Supervised(head, tuning), labelled[0], training, labelled[1], report)
        except TrainingError as fault:
            raise TrainingError(fault.what, where="fine-tuning", how=fault.how) from None
    tuned = dataclasses.replace(model, head=head, card=dict(model.card))
    head.settings = {"tuning": tuning.as_json(), "training": training.as_json(), "labelled": len(samples)}
    head.judged = _judged(tuned, samples, target.numpy(), kept, held_out)
    return tuned


def labelled_samples(model: FittedModel, data: Data, labels: np.ndarray) -> np.ndarray:
    """Packed samples of `data`, one for each label. Raises `DataError` where labels and samples do not go together."""
    packed = model.format.pack(data)
    if model.experiment.modality == "series" and packed.places is not None:
        how = "fit the autoencoder to data that are one window a row"
        raise DataError("a series that is cut into windows has no labels of its own", where="labels", how=how)
    if packed.groups is not None and len(packed.samples) != len(labels):
        how = "fit the autoencoder to whole pictures; of recordings, cut out one call each and ask for longer tiles"
        raise DataError("tiles of pictures or recordings have no labels of their own", where="labels", how=how)
    if len(packed.samples) != len(labels):
        what = f"got {len(labels):,} labels for {len(packed.samples):,} samples"
        raise DataError(what, where="labels", how="give one label for each sample; a window is one")
    return packed.samples


def split_labelled(target: np.ndarray, share: float, seed: int, classes: bool) -> tuple[np.ndarray, np.ndarray]:
    """Positions to train on and held-out ones, drawn at random; of each class the same share, rounded."""
    order = np.random.default_rng(seed).permutation(len(target))
    groups = [order[target[order] == each] for each in np.unique(target)] if classes else [order]
    held = [group[: round(share * len(group))] for group in groups]
    held_out = np.sort(np.concatenate(held))
    return np.setdiff1d(order, held_out), held_out


def _standardise(head: Head, codes: Tensor) -> None:
    """Centre each number of the codes and bring them all to one scale.

    Not each to its own: a number that hardly moves in a few labelled rows would drown the others in new ones.
    """
    spread = codes.std(0, correction=0).square().mean().sqrt()
    head.centre.copy_(codes.mean(0))
    head.spread.fill_(spread if spread > 0 else 1.0)


def _judged(
    model: FittedModel, samples: np.ndarray, target: np.ndarray, kept: np.ndarray, held_out: np.ndarray
) -> dict[str, Any]:
    """Figures on the held-out rows, beside what knowing no feature gets; none where no row was held out."""
    head = model.head
    if head is None or not len(held_out):
        return {}
    outputs = model.head_outputs(samples[held_out])
    return {"rows": len(held_out), **head.meaning.figures(outputs, target[held_out], target[kept])}
