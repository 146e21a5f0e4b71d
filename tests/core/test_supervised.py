"""Heads: what they learn, what moves and when, how they are judged, and how they are written down."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from hourglass.core.checkpoints import load_model, model_bytes, model_from_bytes, save_model
from hourglass.core.fitted import FittedModel
from hourglass.core.fitting import fit_model
from hourglass.core.heads import Classes, Head, Quantities, encoder_copy, meaning_from_json
from hourglass.core.kinds import experiment
from hourglass.core.supervised import Supervised, fine_tune, split_labelled, taught_by
from hourglass.core.training import train
from hourglass.errors import ModelFileError, TrainingError
from hourglass.settings import Training, Tuning

from .conftest import Fit, plane

WORDS = Classes(np.array(["high", "low"]))
TUNING = Tuning()
SETTINGS = Training(epochs=30, batch_size=16, learning_rate=0.05, patience=0)


def signs(x: np.ndarray) -> np.ndarray:
    return np.where(x[:, 0] > 0, "high", "low")


@pytest.fixture(scope="module")
def model(fitted: Fit) -> FittedModel:
    return fitted("plane")


def taught(model: FittedModel, tuning: Tuning = TUNING, training: Training = SETTINGS, **given: Any) -> FittedModel:
    x = plane(80)
    samples = model.format.pack(x).samples
    return fine_tune(model, samples, given.get("y", signs(x)), given.get("meaning", WORDS), tuning, training)


# The loop, with several tensors and several paces


class Lines(torch.nn.Module):
    """Two slopes on the same line, the second of which may be slower."""

    def __init__(self, **slower: Any) -> None:
        super().__init__()
        self.first, self.second = torch.nn.Parameter(torch.zeros(1)), torch.nn.Parameter(torch.zeros(1))
        self.slower, self.seen = slower, []  # type: ignore[var-annotated]

    def terms(self, batch: tuple[Tensor, Tensor], generator: torch.Generator | None = None) -> dict[str, Tensor]:
        x, y = batch
        if self.training:
            self.seen.append((len(x), float(self.first.detach()), float(self.second.detach())))
        return {"squared": (x * self.first - y).square().mean() + (x * self.second - y).square().mean()}

    def players(self) -> list[Any]:
        from hourglass.core.model import Player, Slower

        return [Player([self.first], self.terms, slower=(Slower([self.second], **self.slower),))]

    def set_progress(self, share: float) -> None: ...


def line(rows: int = 40) -> tuple[Tensor, Tensor]:
    x = torch.linspace(-1, 1, rows)
    return x, 2 * x


def test_tensors_that_go_together_are_shuffled_together() -> None:
    lines = Lines()
    history = train(lines, line(), Training(epochs=60, batch_size=16, learning_rate=0.1), line(10))
    assert lines.first.item() == pytest.approx(2, abs=0.01)  # rows shuffled apart would give 0
    assert {count for count, _, _ in lines.seen} == {16, 8}
    assert history.batch_size == 16
    assert history.validation[-1]["squared"] < 1e-3


def test_slower_parameters_stand_still_until_their_start_and_then_take_smaller_steps() -> None:
    lines = Lines(rate=0.1, start=0.5)
    train(lines, line(), Training(epochs=10, batch_size=20, learning_rate=0.01, schedule="constant", weight_decay=0))
    seconds = [second for _, _, second in lines.seen]
    assert seconds[:11] == [0.0] * 11  # 20 steps: the 11th is the first that moves
    assert all(later > before for before, later in pairwise(seconds[11:]))
    firsts = [first for _, first, _ in lines.seen]
    assert seconds[-1] - seconds[-2] == pytest.approx(0.1 * (firsts[-1] - firsts[-2]), rel=0.3)


# What is learned


def test_a_frozen_encoder_with_a_linear_layer_is_a_logistic_regression(model: FittedModel) -> None:
    x = plane(80)
    training = SETTINGS.replace(epochs=300, batch_size=80, validation=0.0, weight_decay=0.0)
    y = np.where(x[:, 0] + np.random.default_rng(0).normal(size=80) > 0, "high", "low")
    ours = taught(model, Tuning(freeze=True), training, y=y)
    theirs = LogisticRegression(C=np.inf, tol=1e-8).fit(model.encode(x), y)
    np.testing.assert_allclose(ours.probabilities(x), theirs.predict_proba(model.encode(x)), atol=0.01)


def test_a_frozen_encoder_with_numbers_is_a_least_squares_line(model: FittedModel) -> None:
    x = plane(80)
    y = np.stack([x[:, 0], 100 + 5 * x[:, 1]], axis=1)
    training = SETTINGS.replace(epochs=300, batch_size=80, validation=0.0, weight_decay=0.0)
    ours = taught(model, Tuning(freeze=True), training, y=y, meaning=Quantities.of(y)).predict(x)
    codes = np.column_stack([model.encode(x), np.ones(80)])
    theirs = codes @ np.linalg.lstsq(codes, y, rcond=None)[0]
    np.testing.assert_allclose(ours, theirs, atol=0.02, rtol=0.005)


def test_the_autoencoder_stays_and_its_copy_moves(model: FittedModel) -> None:
    before = {name: weight.clone() for name, weight in model.network.state_dict().items()}
    made = taught(model)
    assert made.network is model.network
    assert model.head is None
    assert all(torch.equal(weight, before[name]) for name, weight in model.network.state_dict().items())
    tuned = made.head.tuned  # type: ignore[union-attr]
    assert not torch.equal(tuned.encoder.stack[0].weight, before["encoder.stack.0.weight"])  # type: ignore[union-attr]
    assert not [name for name in tuned.state_dict() if name.startswith("decoder")]  # type: ignore[union-attr]


def test_the_encoder_stands_still_while_the_layer_warms_up(model: FittedModel) -> None:
    made = taught(model, Tuning(warm_up=1.0, encoder_rate=1.0))
    tuned = made.head.tuned  # type: ignore[union-attr]
    assert torch.equal(tuned.encoder.stack[0].weight, model.network.encoder.stack[0].weight)  # type: ignore[union-attr]


def test_training_may_corrupt_samples_but_judging_does_not(fitted: Fit) -> None:
    model = fitted("plane", "denoising")
    head = Head(WORDS, 2, encoder_copy(model.network))
    torch.nn.init.normal_(head.linear.weight)
    x = torch.from_numpy(model.format.pack(plane(80)).samples)
    batch, target = (x, torch.zeros(80, dtype=torch.long)), torch.Generator()
    clean, noisy = Supervised(head, Tuning()), Supervised(head, Tuning(corrupt=True))

    def loss(of: Supervised, seed: int) -> float:
        return float(of.terms(batch, target.manual_seed(seed))["cross-entropy"].detach())

    assert loss(clean.train(), 0) == loss(clean, 1) == loss(noisy.eval(), 0)
    assert len({loss(noisy.train(), seed) for seed in range(3)}) == 3


@pytest.mark.parametrize("kind", ["variational", "masked-cell", "vector-quantised", "top-k", "importance-weighted"])
@pytest.mark.parametrize("corrupt", [False, True])
def test_every_bottleneck_and_corruption_can_be_taught(kind: str, corrupt: bool, fitted: Fit) -> None:
    model = fitted("plane", kind)
    made = taught(model, Tuning(corrupt=corrupt), SETTINGS.replace(epochs=3))
    again = model_from_bytes(model_bytes(made))
    np.testing.assert_array_equal(again.probabilities(plane(20, 1)), made.probabilities(plane(20, 1)))


def test_a_fit_that_diverges_is_a_training_error(model: FittedModel) -> None:
    wild = Training(epochs=3, learning_rate=1e38, schedule="constant", gradient_clip=None, weight_decay=1.0)
    with pytest.raises(TrainingError, match="fine-tuning"):
        taught(model, Tuning(encoder_rate=1.0, warm_up=0.0), wild)


def test_the_callers_random_state_is_left_alone(model: FittedModel) -> None:
    state = torch.get_rng_state()
    taught(model, training=SETTINGS.replace(epochs=2))
    assert torch.equal(torch.get_rng_state(), state)


# Held-out rows


def test_of_each_class_the_same_share_is_held_out() -> None:
    target = np.repeat([0, 1, 2, 3], [100, 20, 10, 2])
    kept, held_out = split_labelled(target, 0.2, 0, classes=True)
    assert np.bincount(target[held_out], minlength=4).tolist() == [20, 4, 2, 0]
    assert sorted([*kept, *held_out]) == list(range(132))
    assert set(target[kept]) == {0, 1, 2, 3}
    assert len(split_labelled(np.arange(100.0), 0.1, 0, classes=False)[1]) == 10
    assert len(split_labelled(np.arange(3.0), 0.1, 0, classes=False)[1]) == 0


def test_figures_are_those_of_the_held_out_rows_beside_the_most_frequent_class() -> None:
    outputs = np.array([[2.0, 1.0], [0.0, 1.0], [3.0, 0.0], [0.0, 5.0]])
    figures = WORDS.figures(outputs, np.array([0, 1, 1, 1]), seen=np.array([0, 0, 1]))
    assert figures == {"accuracy": 0.75, "majority": 0.25}
    y = np.array([[1.0, 5.0], [2.0, 5.0], [3.0, 5.0]])
    assert Quantities.of(y).figures(y, y, y) == {"r2": 1.0}
    guess = np.repeat(y.mean(axis=0)[None], 3, axis=0)
    assert Quantities.of(y).figures(guess, y, y) == {"r2": 0.5}  # the column that never changes is right


def test_of_few_labels_none_is_held_out_unless_asked() -> None:
    assert taught_by(499, {}).validation == 0.0
    assert taught_by(500, {}).validation == 0.1
    assert taught_by(100, {"validation": 0.2, "epochs": None, "seed": 4}) == Training(
        learning_rate=0.01, patience=0, validation=0.2, seed=4
    )


# Files


def test_a_model_without_a_head_is_written_as_before(model: FittedModel, tmp_path: Path) -> None:
    loaded = load_model(save_model(model, tmp_path / "model"))
    assert loaded.head is None
    assert b'"head"' not in model_bytes(model)


@pytest.mark.parametrize("freeze", [True, False])
def test_a_head_comes_back_bit_by_bit(model: FittedModel, freeze: bool, tmp_path: Path) -> None:
    made = taught(model, Tuning(freeze=freeze))
    path, state = save_model(made, tmp_path / "model"), torch.get_rng_state()
    loaded = load_model(path)
    assert torch.equal(torch.get_rng_state(), state)
    np.testing.assert_array_equal(loaded.probabilities(plane(30, 1)), made.probabilities(plane(30, 1)))
    assert loaded.head.document() == made.head.document()  # type: ignore[union-attr]
    np.testing.assert_array_equal(loaded.encode(plane(30, 1)), model.encode(plane(30, 1)))


@pytest.mark.parametrize(
    "document",
    [
        {"task": "classifier", "dtype": "|O", "labels": []},
        {"task": "classifier", "dtype": "|O", "labels": [["a"]]},
        {"task": "classifier", "dtype": "<M8[D]", "labels": ["2024-01-01"]},
        {"task": "cook", "dtype": "<i8", "labels": [1]},
        {"task": "regressor", "centre": [0.0], "spread": [0.0], "single": True},
        {"task": "regressor", "centre": [0.0], "spread": [1.0, 1.0], "single": True},
    ],
    ids=json.dumps,
)
def test_a_meaning_that_is_none_is_refused(document: dict[str, Any]) -> None:
    with pytest.raises(ModelFileError):
        meaning_from_json(document)


def test_every_kind_of_label_is_told_in_json() -> None:
    for labels in (["a", "b"], [1, 2], [True, False], [0.5, 1.5]):
        meaning = Classes(np.array(labels))
        again = meaning_from_json(json.loads(json.dumps(meaning.as_json())))
        assert isinstance(again, Classes)
        assert again.labels.dtype == meaning.labels.dtype
        assert again.labels.tolist() == labels


def test_stacked_layers_then_labels() -> None:
    """The whole way: layers one by one, the whole network, then labels."""
    plan = experiment(kind="stacked").replace(training=Training(epochs=5))
    model = fit_model(plane(200), plan, calibrate=False)
    made = taught(model)
    assert (made.predict(plane(100, 1)) == signs(plane(100, 1))).mean() > 0.9
