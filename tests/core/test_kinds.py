"""The table of kinds: every row builds, learns, is written down and read back, and finds anomalies."""

import json

import numpy as np
import pyarrow as pa
import pytest
import torch
from sklearn.metrics import roc_auc_score

from hourglass.core.corruptions import GaussianNoise, Masking
from hourglass.core.fitting import fit_model
from hourglass.core.kinds import (
    FORMATS,
    KINDS,
    Experiment,
    build,
    choose_device,
    experiment,
    funnel,
    latent_size,
    parts_of,
)
from hourglass.core.penalties import Contraction, L1Activity
from hourglass.data.formats import Data
from hourglass.data.samples import Frame, Layout
from hourglass.errors import UsageError
from hourglass.settings import Training

QUICK = Training(epochs=4, batch_size=10, learning_rate=0.01, validation=0.25)


def numbers(rows: int = 160, columns: int = 10) -> np.ndarray:
    """Rows near a plane of three dimensions."""
    random = np.random.default_rng(0)
    plane = random.normal(size=(rows, 3)) @ np.random.default_rng(1).normal(size=(3, columns))
    return plane + 0.1 * random.normal(size=(rows, columns))


def mixed(rows: int = 160) -> Frame:
    x = numbers(rows, 4)
    town = np.array(["Ghent", "Oslo", "Turin"])[np.digitize(x[:, 0], [-1, 1])]
    columns = {f"n{index}": x[:, index] for index in range(4)} | {"paid": x[:, 1] > 0, "town": town}
    return Frame(pa.table(columns))


def windows(rows: int = 160) -> np.ndarray:
    """Windows of 12 steps and two channels: sines of any phase."""
    random = np.random.default_rng(0)
    phase = random.uniform(0, 6.28, (rows, 1)) + np.linspace(0, 6.28, 12)
    return np.stack([np.sin(phase), np.cos(phase)], axis=2) + 0.05 * random.normal(size=(rows, 12, 2))


DATA: dict[str, tuple[str, Data]] = {
    "numbers": ("table", numbers()),
    "mixed": ("table", mixed()),
    "windows": ("series", windows()),
}


COMPOSED = [
    "denoising+variational",
    "sparse+contractive",
    "denoising+convolutional",
    "convolutional+variational",
    "denoising+u-net",
]


ANYWHERE = [kind for kind in [*KINDS, *COMPOSED] if "format" not in parts_of(kind)]
"""Kinds that are not for one modality alone."""


def taking(dimensions: int) -> list[str]:
    """The kinds whose network takes samples of so many dimensions: 1 for tables, 2 for windows."""
    return [kind for kind in ANYWHERE if dimensions in experiment(kind=kind).network.takes]


@pytest.mark.parametrize(
    ("kind", "data"), [(kind, data) for data in DATA for kind in taking(2 if data == "windows" else 1)]
)
def test_every_kind_learns_from_tables_and_windows(kind: str, data: str) -> None:
    modality, given = DATA[data]
    history = fit_model(given, experiment(modality, kind).replace(training=QUICK), calibrate=False).history
    losses = [sum(terms.values()) for terms in history.validation]
    assert len(losses) == 4
    assert min(losses[1:]) < losses[0]


@pytest.mark.parametrize("kind", [kind for kind in taking(1) if kind in KINDS])
def test_every_kind_finds_what_lies_off_the_plane(kind: str) -> None:
    plan = experiment("table", kind).replace(training=Training(epochs=40, batch_size=64))
    plan = plan.replace(bottleneck=plan.bottleneck.replace(size=3))
    x = numbers(1_000)
    model = fit_model(x[:600], plan, calibrate=False)
    odd = x[800:] + np.random.default_rng(2).normal(size=(200, 10))
    score = model.score(model.format.pack(np.concatenate([x[600:800], odd])))
    assert roc_auc_score(np.repeat([0, 1], 200), score) > 0.9


@pytest.mark.parametrize(
    ("kind", "modality"),
    [*((kind, modality) for kind in ANYWHERE for modality in ("table", "series")), ("mask", "audio")],
)
def test_an_experiment_survives_json(kind: str, modality: str) -> None:
    plan = experiment(modality, kind).replace(training=QUICK)
    assert Experiment.from_json(json.loads(json.dumps(plan.as_json()))) == plan


def test_options_without_a_name_change_the_kinds_part_and_a_name_replaces_it() -> None:
    changed = Experiment.from_json({"kind": "denoising", "corruption": {"scale": 0.7}, "training": {"epochs": 4}})
    assert changed.corruption == GaussianNoise(scale=0.7)
    assert changed.training == Training(epochs=4)
    replaced = Experiment.from_json({"kind": "denoising", "corruption": {"is": "masking", "rate": 0.5}})
    assert replaced.corruption == Masking(rate=0.5)
    assert Experiment.from_json({"penalties": ["l1", {"is": "contraction", "probes": 2}]}).penalties == (
        L1Activity(),
        Contraction(probes=2),
    )


def test_kinds_compose_part_by_part() -> None:
    parts = parts_of("denoising+variational")
    assert parts == {**KINDS["denoising"], **KINDS["variational"]}
    assert len(parts_of("sparse+contractive")["penalties"]) == 2


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("denoising+denoising-masking", "corruption"),
        ("sparse+variational", "bottleneck"),
        ("plain+masked-cell", "network"),
    ],
)
def test_kinds_that_name_a_part_differently_are_refused(kind: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        experiment("table", kind)


def test_a_kind_that_names_the_format_is_for_its_modality_alone() -> None:
    assert experiment("audio", "mask").format == KINDS["mask"]["format"]
    assert experiment("audio", "denoising").format == FORMATS["audio"]()
    for modality in ("table", "series", "image"):
        with pytest.raises(UsageError, match=f"'mask' is for the modality audio, not {modality}"):
            experiment(modality, "mask")


def test_a_penalty_named_twice_is_refused_rather_than_counted_once() -> None:
    with pytest.raises(UsageError, match="l1"):
        build(experiment().replace(penalties=(L1Activity(), L1Activity(weight=1.0))), Layout((4,)))


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"kind": "denoisng"}, "did you mean 'denoising'"),
        ({"modality": "tables"}, "did you mean 'table'"),
        ({"corruption": "gausian"}, "did you mean 'gaussian'"),
        ({"corruption": {"is": "masking", "rat": 0.1}}, "did you mean 'rate'"),
        ({"penalties": ["l11"]}, "did you mean 'l1'"),
        ({"trainin": {}}, "did you mean 'training'"),
        ({"training": {"epoch": 3}}, "did you mean 'epochs'"),
        ({"training": 3}, "training"),
        ({"penalties": 3}, "penalt"),
        ({"penalties": "l1"}, "penalt"),
        ({"kind": 3}, "kind"),
        ({"modality": ["table"]}, "modality"),
    ],
)
def test_what_is_unknown_gets_a_hint(document: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Experiment.from_json(document)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 30, 140, 784, 10_000])
def test_sizes_by_rule_narrow(size: int) -> None:
    latent = latent_size(experiment(), Layout((size,)))
    wide, narrow = funnel(size, latent)
    assert 1 <= latent <= min(32, max(1, size // 2))
    assert 8 <= narrow <= wide <= 512


FEW_NUMBERS = [(1,), (2,), (3,), (1, 1), (3, 1), (1, 2), (1, 1, 1), (1, 1, 3)]


@pytest.mark.parametrize(("kind", "shape"), [(kind, shape) for shape in FEW_NUMBERS for kind in taking(len(shape))])
def test_samples_of_few_numbers_build(kind: str, shape: tuple[int, ...]) -> None:
    model = build(experiment(kind=kind), Layout(shape))
    x = torch.randn(4, *shape)
    assert model.reconstruct(x).shape == x.shape
    assert all(torch.isfinite(term) for term in model.terms(x, torch.Generator()).values())


@pytest.mark.parametrize("name", ["tpu9", "cuda:99", "abacus"])
def test_a_device_that_is_not_there_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=name):
        choose_device(name)


def test_auto_always_finds_a_device() -> None:
    assert choose_device("auto").type in ("cpu", "cuda")
