"""The recipes that ship: each is an experiment that builds, with the layers of the system that it reproduces."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

from hourglass import SeriesAutoencoder, TableAutoencoder, recipes
from hourglass.core.fitting import fit_model
from hourglass.core.kinds import Experiment, build
from hourglass.core.model import Autoencoder
from hourglass.data.samples import Layout
from hourglass.errors import UsageError

WIDTHS = {
    "daily-profile": (72, 24, 10, 24, 72),
    "ecg": (140, 64, 32, 16, 32, 64, 140),
    "compact": (30, 8, 30),
    "digits-64": (784, 64, 784),
    "digits-sigmoid": (784, 256, 128, 256, 784),
    "digits-deep": (784, 512, 256, 60, 256, 512, 784),
}
SCHEDULES = {  # epochs, batch size
    "daily-profile": (200, 1),
    "ecg": (100, 32),
    "compact": (None, None),
    "digits-64": (50, 256),
    "digits-sigmoid": (5, 256),
    "digits-deep": (20, 256),
}


def planned(name: str) -> Experiment:
    return Experiment.from_json(recipes.load(name)["experiment"])


def built(name: str) -> Autoencoder:
    size = WIDTHS[name][0]
    return build(planned(name), Layout((size, 1) if planned(name).modality == "series" else (size,)))


def layers(network: Autoencoder, kind: type[nn.Module] = nn.Linear) -> list[Any]:
    return [part for side in (network.encoder, network.decoder) for part in side.modules() if isinstance(part, kind)]


def test_there_is_a_recipe_for_each_system_reproduced_so_far() -> None:
    assert recipes.names() == ["daily-profile", "ecg", "compact", "digits-64", "digits-sigmoid", "digits-deep"]
    systems = [recipes.load(name)["system"] for name in recipes.names()]
    assert systems == sorted(systems)


@pytest.mark.parametrize("name", recipes.names())
def test_a_recipe_says_what_it_is_for(name: str) -> None:
    recipe = recipes.load(name)
    assert recipe["name"] == name
    assert list(recipe) == ["name", "system", "title", "data", "figure", "experiment"]
    assert all(len(recipe[key]) > 5 for key in ("title", "data", "figure"))


@pytest.mark.parametrize("name", recipes.names())
def test_a_recipe_opens_with_a_sentence(name: str) -> None:
    text = Path(recipes.__file__).with_name(f"{name}.toml").read_text(encoding="utf-8")
    assert re.match(r"# [A-Z][^\n]{20,}\.\n", text)


@pytest.mark.parametrize("name", recipes.names())
def test_the_layers_are_those_of_the_system(name: str) -> None:
    linear = layers(built(name))
    assert (linear[0].in_features, *(layer.out_features for layer in linear)) == WIDTHS[name]


@pytest.mark.parametrize("name", recipes.names())
def test_training_is_as_the_system_states_it(name: str) -> None:
    training = planned(name).training
    assert (training.epochs, training.batch_size) == SCHEDULES[name]
    assert (training.learning_rate, training.schedule, training.weight_decay) == (1e-3, "constant", 0.0)  # plain Adam
    if name != "compact":  # its system states neither epochs nor rows
        assert training.validation == 0.0  # no rows taken away, so no early stop either
        assert training.gradient_clip is None


@pytest.mark.parametrize("name", recipes.names())
def test_a_recipe_survives_json(name: str) -> None:
    plan = planned(name)
    assert Experiment.from_json(json.loads(json.dumps(plan.as_json()))) == plan


@pytest.mark.parametrize("name", recipes.names())
def test_an_estimator_takes_a_recipe_by_name(name: str) -> None:
    estimator = {"table": TableAutoencoder, "series": SeriesAutoencoder}[planned(name).modality]
    assert estimator(recipe=name).plan() == planned(name)
    assert estimator(recipe=name, epochs=3).plan().training == planned(name).training.replace(epochs=3)


def test_a_daily_profile_drops_units_after_both_encoder_layers_only() -> None:
    network = built("daily-profile")
    drops = [part.p for part in layers(network, nn.Dropout)]
    assert drops == [0.5]  # after the hidden layer; the other lies after the code
    assert [part.p for part in network.bottleneck.modules() if isinstance(part, nn.Dropout)] == [0.5]
    assert not [part for part in network.decoder.modules() if isinstance(part, nn.Dropout)]
    assert planned("daily-profile").format.window == "1d"


@pytest.mark.parametrize("name", ["daily-profile", "ecg", "digits-64", "digits-sigmoid", "digits-deep"])
def test_what_lies_between_0_and_1_comes_out_of_a_sigmoid(name: str) -> None:
    assert isinstance(list(built(name).decoder.modules())[-1], nn.Sigmoid)
    assert planned(name).format.scaling == "min-max"


def test_one_scale_for_all_values_where_all_are_of_one_kind() -> None:
    over = {name: planned(name).format.over for name in recipes.names()}
    assert over == dict.fromkeys(over, "all") | {"daily-profile": "channel", "compact": "column"}


def test_first_weights_of_the_deep_digits_are_normal() -> None:
    weights = np.concatenate([layer.weight.detach().numpy().ravel() for layer in layers(built("digits-deep"))])
    assert weights.std() == pytest.approx(0.05, rel=0.01)


def test_the_compact_network_pays_for_its_code() -> None:
    (penalty,) = planned("compact").penalties
    assert (penalty.name, penalty.weight) == ("l2", 1e-4)
    assert planned("compact").bottleneck.activation == "relu"
    assert planned("compact").network.output == "linear"


@pytest.mark.parametrize("name", recipes.names())
def test_a_recipe_learns(name: str) -> None:
    random = np.random.default_rng(0)
    plan = planned(name)
    plan = plan.replace(training=plan.training.replace(epochs=2, batch_size=16))
    data: np.ndarray = random.normal(size=(40, 1)) * random.normal(size=(1, 20)) + 0.1 * random.normal(size=(40, 20))
    if plan.modality == "series":
        plan = plan.replace(format=plan.format.replace(window="row"))
    model = fit_model(data, plan, calibrate=False)
    assert np.isfinite(model.detect(data).rows.score).all()
    first, last = (sum(terms.values()) for terms in model.history.training)
    assert last < first


@pytest.mark.parametrize(("name", "words"), [("daily-profil", "did you mean 'daily-profile'"), ("qqq", "known: .*ecg")])
def test_an_unknown_recipe_gets_a_hint(name: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        recipes.load(name)


@pytest.mark.parametrize("name", ["../ecg", "", ".", "ecg.toml"])
def test_a_name_is_not_a_path(name: str) -> None:
    with pytest.raises(UsageError, match="no recipe called"):
        recipes.load(name)
