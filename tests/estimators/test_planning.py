"""From parameters to an experiment: recipe, then kind, then parts, then the short words; and `set_params`."""

import inspect
from typing import Any

import pytest

from hourglass import AnomalyDetector, SeriesAutoencoder, TableAutoencoder
from hourglass.core.bottlenecks import Plain, TopK
from hourglass.core.corruptions import GaussianNoise, Masking
from hourglass.core.kinds import experiment
from hourglass.core.losses import Huber
from hourglass.core.networks.dense import Dense
from hourglass.core.penalties import Contraction, L1Activity
from hourglass.errors import UsageError
from hourglass.estimators.planning import PARTS, SHORT, change, plan
from hourglass.settings import Detection, Settings, Training

CHOICES = ("kind", "recipe")


@pytest.mark.parametrize("estimator", [TableAutoencoder, SeriesAutoencoder])
def test_every_parameter_is_a_choice_a_part_or_a_short_word(estimator: type) -> None:
    parameters = inspect.signature(estimator).parameters
    assert set(parameters) <= {*CHOICES, *SHORT, *PARTS}
    assert {*CHOICES, *PARTS} <= set(parameters)
    assert all(parameter.default is None for parameter in parameters.values())
    for word in set(parameters) & set(SHORT):
        slot, option = SHORT[word]
        part = getattr(experiment(estimator.modality), slot)
        assert hasattr(part, option), word


def test_both_estimators_have_the_same_parameters_but_for_the_window() -> None:
    table, series = (list(inspect.signature(each).parameters) for each in (TableAutoencoder, SeriesAutoencoder))
    assert [name for name in series if name != "window"] == table


def test_nothing_asked_is_the_default_kind() -> None:
    assert TableAutoencoder().plan() == experiment("table")
    assert SeriesAutoencoder().plan() == experiment("series")
    assert TableAutoencoder(kind="denoising+variational").plan() == experiment("table", "denoising+variational")


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("latent", 5), ("layers", (32, 16)), ("epochs", 7), ("batch_size", 9), ("learning_rate", 0.5), ("seed", 3),
        ("device", "cpu"), ("window", "24"), ("scaling", "quantile"),
    ],
)  # fmt: skip
def test_a_short_word_sets_its_option_and_no_other(word: str, value: Any) -> None:
    slot, option = SHORT[word]
    usual = experiment("series")
    asked = plan("series", {word: value})
    assert getattr(getattr(asked, slot), option) == value
    assert asked == usual.replace(**{slot: getattr(usual, slot).replace(**{option: value})})


def test_a_short_word_goes_before_a_part_and_a_part_before_the_kind() -> None:
    asked = TableAutoencoder("denoising", corruption=Masking(rate=0.4), bottleneck=Plain(size=9), latent=4).plan()
    assert asked.corruption == Masking(rate=0.4)
    assert asked.bottleneck.size == 4


@pytest.mark.parametrize(
    ("given", "slot", "wanted"),
    [
        ({"corruption": "masking"}, "corruption", Masking()),
        ({"kind": "denoising", "corruption": {"scale": 0.7}}, "corruption", GaussianNoise(scale=0.7)),
        ({"kind": "denoising", "corruption": {"is": "masking", "rate": 0.2}}, "corruption", Masking(rate=0.2)),
        ({"loss": "huber"}, "loss", Huber()),
        ({"loss": {"is": "huber", "delta": 2}}, "loss", Huber(delta=2.0)),
        ({"bottleneck": "top-k"}, "bottleneck", TopK()),
        ({"network": {"layers": "64, 32"}, "kind": "deep"}, "network", Dense(layers=(64, 32))),
        ({"penalties": "l1"}, "penalties", (L1Activity(),)),
        ({"penalties": ["l1", Contraction(probes=2)]}, "penalties", (L1Activity(), Contraction(probes=2))),
        ({"kind": "contractive", "penalties": []}, "penalties", ()),
        ({"training": {"epochs": 4}}, "training", Training(epochs=4)),
        ({"detection": {"folds": 3}}, "detection", Detection(folds=3)),
        ({"format": {"scaling": "min-max"}}, "format", experiment("table").format.replace(scaling="min-max")),
    ],
)
def test_a_part_is_given_as_settings_a_name_or_options(given: dict[str, Any], slot: str, wanted: Any) -> None:
    assert getattr(TableAutoencoder(**given).plan(), slot) == wanted


@pytest.mark.parametrize("window", [{"window": 48}, {"format": {"window": 48}}, {"window": "48"}])
def test_a_window_is_a_number_or_a_word(window: dict[str, Any]) -> None:
    assert SeriesAutoencoder(**window).plan().format.window == "48"
    assert change(experiment("series"), "format", {"window": 48}).format.window == "48"


def test_a_recipe_is_a_start_that_words_change() -> None:
    asked = TableAutoencoder(recipe="compact", latent=3).plan()
    assert asked.bottleneck == Plain(size=3, activation="relu")
    assert asked.kind == "plain"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"recipe": "compct"}, "did you mean 'compact'"),
        ({"recipe": "compact", "kind": "deep"}, "both a recipe .* and a kind"),
        ({"recipe": "ecg"}, "modality series, not table"),
        ({"kind": "denoisng"}, "did you mean 'denoising'"),
        ({"kind": 3}, "wanted its name"),
        ({"recipe": 3}, "wanted its name"),
        ({"latent": 0}, "at least 1"),
        ({"latent": "wide"}, "whole number"),
        ({"scaling": "stndard"}, "did you mean 'standard'"),
        ({"corruption": {"rat": 0.3}, "kind": "denoising-masking"}, "did you mean 'rate'"),
        ({"loss": {"delta": 2}}, "NAME one of"),
        ({"network": 3}, "NAME one of"),
        ({"training": 3}, "training"),
        ({"penalties": 3}, "NAME one of"),
    ],
)
def test_what_cannot_be_is_refused_with_a_hint(given: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        TableAutoencoder(**given).plan()


# set_params


def test_an_option_of_a_part_is_set_whether_the_part_was_given_or_not() -> None:
    of_the_kind = TableAutoencoder(kind="denoising-masking").set_params(corruption__rate=0.6)
    assert of_the_kind.get_params()["corruption"] == Masking(rate=0.6)
    given = TableAutoencoder(corruption=Masking(rate=0.1)).set_params(corruption__rate=0.6)
    assert given.plan().corruption == Masking(rate=0.6)
    together = TableAutoencoder().set_params(corruption__rate=0.6, kind="denoising-masking")
    assert together.plan().corruption == Masking(rate=0.6)
    penalty = TableAutoencoder(kind="contractive").set_params(penalties__contraction__weight=0.5)
    assert penalty.plan().penalties == (Contraction(weight=0.5),)


@pytest.mark.parametrize(
    ("given", "nested", "slot", "option"),
    [
        ({"latent": 3}, {"bottleneck__size": 2}, "bottleneck", "size"),
        ({"epochs": 3}, {"training__epochs": 2}, "training", "epochs"),
        ({"layers": (3,), "kind": "deep"}, {"network__layers": (2,)}, "network", "layers"),
    ],
)
def test_what_is_set_later_stands(given: dict[str, Any], nested: dict[str, Any], slot: str, option: str) -> None:
    (value,) = nested.values()
    estimator = TableAutoencoder(**given).set_params(**nested)
    assert getattr(getattr(estimator.plan(), slot), option) == value
    estimator.set_params(**given)
    assert getattr(getattr(estimator.plan(), slot), option) == given[next(iter(given))]


def test_setting_one_option_leaves_the_others_as_they_were_asked() -> None:
    estimator = TableAutoencoder(latent=3, epochs=4).set_params(bottleneck__activation="tanh")
    assert estimator.plan().bottleneck == TableAutoencoder(latent=3).plan().bottleneck.replace(activation="tanh")
    assert estimator.plan().training.epochs == 4


@pytest.mark.parametrize(
    ("nested", "words"),
    [
        ({"corruption__rat": 0.3}, "masking has no option 'rat'\nhint: did you mean 'rate'"),
        ({"corupt__rate": 0.3}, "no parameter 'corupt__rate'\nhint: did you mean 'corruption'"),
        ({"latnt": 3}, "no parameter 'latnt'\nhint: did you mean 'latent'"),
        ({"latent__size": 3}, "no parameter 'latent__size'"),
        ({"loss__delta": 3}, "name one first"),
        ({"penalties__l1__weight": 3}, "no penalty 'l1' here"),
        ({"corruption__rate": 7}, "at most 1"),
    ],
)
def test_unknown_names_are_refused_with_a_hint(nested: dict[str, Any], words: str) -> None:
    estimator = TableAutoencoder(kind="denoising-masking")
    before = estimator.get_params()
    with pytest.raises(UsageError, match=words):
        estimator.set_params(**nested)
    assert estimator.get_params() == before


def test_a_detector_without_an_autoencoder_takes_options_of_the_default_one() -> None:
    detector = AnomalyDetector().set_params(autoencoder__latent=3, autoencoder__corruption__low=0.2)
    assert detector.autoencoder.plan().bottleneck.size == 3
    assert detector.autoencoder.plan().corruption.low == 0.2


@pytest.mark.parametrize("estimator", [TableAutoencoder("contractive"), SeriesAutoencoder(window="1d", latent=3)])
def test_an_estimator_made_from_an_experiment_asks_for_the_same(estimator: Any) -> None:
    wanted = estimator.plan()
    again = type(estimator).from_experiment(wanted)
    assert again.plan() == wanted
    assert all(isinstance(getattr(again, slot), Settings | tuple | None) for slot in PARTS)
