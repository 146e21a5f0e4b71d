"""What a fitted model learned from labels: a layer on the code, and an encoder tuned with it.

The encoder is a copy: the autoencoder that it came from stays as it was, so that its other verbs go on working.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from hourglass.core.chunks import single_precision
from hourglass.core.model import Autoencoder
from hourglass.core.training import History
from hourglass.errors import DataError, ModelFileError

CLASSIFIER, REGRESSOR = "classifier", "regressor"
_LABEL_KINDS = "biufUO"
"""NumPy's letters for flags, whole numbers, floats, text, and text as Python has it."""


@dataclass(frozen=True)
class Classes:
    """Labels are one of several classes: flags, words or numbers."""

    task: ClassVar[str] = CLASSIFIER
    contested: ClassVar[frozenset[str]] = frozenset({"cross-entropy"})
    labels: np.ndarray
    """The classes, sorted, shape (k,). Column i of the outputs is the log-odds of class i."""

    @classmethod
    def of(cls, y: np.ndarray) -> Classes:
        """The different labels of `y` (n,). Raises `DataError` where they are not all words, or numbers, or flags."""
        plain = all(isinstance(each, str | bool | int | float) for each in y.tolist())
        if y.dtype.kind not in _LABEL_KINDS or not plain:
            what = f"got labels of type {y.dtype}, wanted words, numbers or flags"
            raise DataError(what, where="labels", how="write each label as a word, such as str(label)")
        try:
            return cls(np.unique(y))
        except TypeError:
            how = "write each label as a word, such as str(label)"
            raise DataError("got words and numbers as labels, wanted one of them", where="labels", how=how) from None

    @property
    def outputs(self) -> int:
        return len(self.labels)

    def target(self, y: np.ndarray) -> Tensor:
        """The place of each label among the classes, int64, shape (n,)."""
        return torch.from_numpy(np.searchsorted(self.labels, y))

    def loss(self, outputs: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Cross-entropy, in nats, which is learned from; Brier score, a constant, which tells the better epoch.

        Cross-entropy would not: it rises as soon as a few wrong samples are wrong with confidence, while the others
        still get better.
        """
        missed = functional.one_hot(target, self.outputs) - outputs.detach().softmax(1)
        return {"cross-entropy": functional.cross_entropy(outputs, target), "brier": missed.square().sum(1).mean()}

    def predictions(self, outputs: np.ndarray) -> np.ndarray:
        """The likeliest class of each sample."""
        return np.asarray(self.labels[outputs.argmax(1)])

    def probabilities(self, outputs: np.ndarray) -> np.ndarray:
        """Probability of each class, shape (n, k)."""
        odds = np.exp(outputs - outputs.max(axis=1, keepdims=True))
        return np.asarray(odds / odds.sum(axis=1, keepdims=True))

    def figures(self, outputs: np.ndarray, target: np.ndarray, seen: np.ndarray) -> dict[str, float]:
        """Share of samples that are right, and that of always naming the most frequent class `seen` in training."""
        most = np.bincount(seen, minlength=self.outputs).argmax()
        return {"accuracy": float((outputs.argmax(1) == target).mean()), "majority": float((target == most).mean())}

    def as_json(self) -> dict[str, Any]:
        return {"task": self.task, "dtype": self.labels.dtype.str, "labels": self.labels.tolist()}


@dataclass(frozen=True)
class Quantities:
    """Labels are numbers, one or several a sample; the network learns them standardised."""

    task: ClassVar[str] = REGRESSOR
    contested: ClassVar[frozenset[str]] = frozenset()
    centre: np.ndarray
    spread: np.ndarray
    """Standard deviation of each, 1 where it is 0. Shape (k,), float64, as the centre."""
    single: bool = True
    """Whether they came as one column without a name, and predictions have shape (n,)."""

    @classmethod
    def of(cls, y: np.ndarray) -> Quantities:
        """Those of labels (n,) or (n, k)."""
        columns = y.reshape(len(y), -1).astype(np.float64)
        spread = columns.std(axis=0)
        return cls(columns.mean(axis=0), np.where(spread > 0, spread, 1.0), y.ndim == 1)

    @property
    def outputs(self) -> int:
        return len(self.centre)

    def target(self, y: np.ndarray) -> Tensor:
        """The standardised labels, float32, shape (n, k)."""
        return torch.from_numpy(((y.reshape(len(y), -1) - self.centre) / self.spread).astype(np.float32))

    def loss(self, outputs: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Squared error, in variances of the labels."""
        return {"squared": (outputs - target).square().mean()}

    def predictions(self, outputs: np.ndarray) -> np.ndarray:
        """Labels in their own units, float64, shape (n,) or (n, k)."""
        values = outputs * self.spread + self.centre
        return np.asarray(values[:, 0] if self.single else values)

    def figures(self, outputs: np.ndarray, target: np.ndarray, seen: np.ndarray) -> dict[str, float]:
        """R squared: 1 minus the squared error over that of always naming the mean, averaged over the columns."""
        total = np.square(target - target.mean(axis=0)).sum(axis=0)
        left = np.square(outputs - target).sum(axis=0)
        explained = 1 - left / np.where(total > 0, total, 1.0)
        return {"r2": float(np.where(total > 0, explained, (left <= 0).astype(float)).mean())}

    def as_json(self) -> dict[str, Any]:
        return {
            "task": self.task,
            "centre": self.centre.tolist(),
            "spread": self.spread.tolist(),
            "single": self.single,
        }


Meaning = Classes | Quantities


def meaning_from_json(document: Mapping[str, Any]) -> Meaning:
    """The meaning that `as_json` described."""
    if document["task"] == REGRESSOR:
        centre, spread = (np.array(document[name], dtype=np.float64) for name in ("centre", "spread"))
        if centre.shape != spread.shape or centre.ndim != 1 or not (np.isfinite(centre) & (spread > 0)).all():
            raise ModelFileError("the scale of its labels is no scale")
        return Quantities(centre, spread, bool(document["single"]))
    labels, kind = document["labels"], np.dtype(str(document["dtype"]))
    plain = isinstance(labels, list) and all(isinstance(each, str | bool | int | float) for each in labels)
    if document["task"] != CLASSIFIER or kind.kind not in _LABEL_KINDS or not plain or not labels:
        raise ModelFileError("its labels are not a list of words or numbers")
    return Classes(np.array(labels, dtype=kind))


class Head(nn.Module):
    """Codes to outputs: a linear layer on codes that were standardised when it was made.

    `tuned` is the encoder that goes with it; None where codes are those of the autoencoder itself.
    """

    centre: Tensor
    spread: Tensor

    def __init__(self, meaning: Meaning, code: int, tuned: Autoencoder | None) -> None:
        super().__init__()
        self.meaning, self.tuned = meaning, tuned
        self.linear = nn.Linear(code, meaning.outputs)
        nn.init.zeros_(self.linear.weight)  # so that no class, and no direction of the code, is favoured at first
        nn.init.zeros_(self.linear.bias)
        self.register_buffer("centre", torch.zeros(code))
        self.register_buffer("spread", torch.ones(code))
        self.judged: dict[str, float] = {}
        """How well it does on labelled rows that were held out of training (they chose the best epoch)."""
        self.settings: dict[str, Any] = {}
        """How it was trained: settings as JSON by name, and the number of labelled rows."""
        self.history = History()

    def forward(self, codes: Tensor) -> Tensor:
        """Outputs for codes (n, code), shape (n, meaning.outputs)."""
        outputs: Tensor = self.linear((codes - self.centre) / self.spread)
        return outputs

    def outputs(self, network: Autoencoder, x: Tensor) -> Tensor:
        """Outputs for packed samples; `network` is the autoencoder that the head was made for."""
        return self((network if self.tuned is None else self.tuned).encode(x))  # type: ignore[no-any-return]

    def document(self) -> dict[str, Any]:
        """What is no tensor, as plain JSON."""
        return {
            "meaning": self.meaning.as_json(),
            "frozen": self.tuned is None,
            "judged": self.judged,
            "settings": self.settings,
            "history": self.history.as_json(),
        }

    @classmethod
    def restore(cls, document: Mapping[str, Any], tensors: Mapping[str, Tensor], network: Autoencoder) -> Head:
        """The head of `network` that `document` and its tensors describe."""
        tuned = None if document["frozen"] else encoder_copy(network)
        with single_precision(), torch.random.fork_rng(devices=[]):
            made = cls(meaning_from_json(document["meaning"]), len(tensors["centre"]), tuned)
        made.load_state_dict(dict(tensors))
        made.judged, made.settings = dict(document["judged"]), dict(document["settings"])
        made.history = History(**document["history"])
        return made.to(network.device).eval()


def encoder_copy(network: Autoencoder) -> Autoencoder:
    """A copy of an autoencoder that can encode, and nothing else."""
    tuned = copy.deepcopy(network)
    tuned.decoder, tuned.loss, tuned.penalties = nn.Identity(), nn.Identity(), nn.ModuleList()
    return tuned
