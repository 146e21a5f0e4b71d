"""The recipes that ship: each is an experiment that builds, with the layers of the system that it reproduces."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from hourglass import AudioAutoencoder, ImageAutoencoder, SeriesAutoencoder, TableAutoencoder, recipes
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
    "digits-conv": (10, 128),
    "digits-variational": (30, 128),
    "spectrogram-denoising": (None, 16),
}
SYSTEMS = {
    **{"daily-profile": 1, "ecg": 2, "compact": 3, "digits-64": 4, "digits-sigmoid": 5, "digits-deep": 6},
    **{"digits-conv": 7, "digits-variational": 8, "denoising-gaussian": 9, "denoising-salt-pepper": 10},
    **{"denoising-masking": 11, "spectrogram-denoising": 12, "sparse": 13, "contractive": 14, "stacked": 15},
    **{"features-for-supervision": 16, "defects": 17, "adversarial": 18},
}
SHAPES = {"table": (30,), "series": (140, 1), "image": (1, 28, 28), "audio": (1, 64, 64)}
ESTIMATORS = {
    "table": TableAutoencoder,
    "series": SeriesAutoencoder,
    "image": ImageAutoencoder,
    "audio": AudioAutoencoder,
}


def planned(name: str) -> Experiment:
    return Experiment.from_json(recipes.load(name)["experiment"])


def built(name: str) -> Autoencoder:
    shape = (72, 1) if name == "daily-profile" else SHAPES[planned(name).modality]
    return build(planned(name), Layout(shape))


def layers(network: Autoencoder, kind: type[nn.Module] = nn.Linear) -> list[Any]:
    return [part for side in (network.encoder, network.decoder) for part in side.modules() if isinstance(part, kind)]


def test_there_is_a_recipe_for_each_system_reproduced_so_far() -> None:
    assert {name: recipes.load(name)["system"] for name in recipes.names()} == SYSTEMS
    assert recipes.names() == list(SYSTEMS)


@pytest.mark.parametrize("name", recipes.names())
def test_a_recipe_says_what_it_is_for(name: str) -> None:
    recipe = recipes.load(name)
    assert recipe["name"] == name
    keys = ["name", "measured", "system", "title", "data", "figure", "experiment"]
    assert list(recipe) == keys + (["pipeline"] if name in ("stacked", "features-for-supervision") else [])
    assert all(len(recipe[key]) > 5 for key in ("title", "data", "figure"))


@pytest.mark.parametrize("name", recipes.names())
def test_a_recipe_opens_with_a_sentence(name: str) -> None:
    text = Path(recipes.__file__).with_name(f"{name}.toml").read_text(encoding="utf-8")
    assert re.match(r"# [A-Z][^\n]{20,}\.\n", text)


@pytest.mark.parametrize("name", WIDTHS)
def test_the_layers_are_those_of_the_system(name: str) -> None:
    linear = layers(built(name))
    assert (linear[0].in_features, *(layer.out_features for layer in linear)) == WIDTHS[name]


@pytest.mark.parametrize("name", SCHEDULES)
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
    estimator = ESTIMATORS[planned(name).modality]
    assert estimator(recipe=name).plan() == planned(name)
    assert estimator(recipe=name, epochs=3).plan().training == planned(name).training.replace(epochs=3)


def test_a_daily_profile_drops_units_after_both_encoder_layers_only() -> None:
    network = built("daily-profile")
    drops = [part.p for part in layers(network, nn.Dropout)]
    assert drops == [0.5]  # after the hidden layer; the other lies after the code
    assert [part.p for part in network.bottleneck.modules() if isinstance(part, nn.Dropout)] == [0.5]
    assert not [part for part in network.decoder.modules() if isinstance(part, nn.Dropout)]
    assert planned("daily-profile").format.window == "1d"


@pytest.mark.parametrize("name", ["daily-profile", "ecg", "digits-64", "digits-sigmoid", "digits-deep", "digits-conv"])
def test_what_lies_between_0_and_1_comes_out_of_a_sigmoid(name: str) -> None:
    assert isinstance(list(built(name).decoder.modules())[-1], nn.Sigmoid)
    assert planned(name).format.scaling == ("unit" if planned(name).modality == "image" else "min-max")


@pytest.mark.parametrize("name", ["denoising-gaussian", "features-for-supervision"])
@pytest.mark.parametrize("modality", ESTIMATORS)
def test_a_recipe_without_a_modality_takes_them_all(name: str, modality: str) -> None:
    assert ESTIMATORS[modality](recipe=name).plan().modality == modality


def test_convolutional_digits_have_the_layers_of_the_system() -> None:
    found = [(layer.in_channels, layer.out_channels) for layer in layers(built("digits-conv"), nn.Conv2d)]
    assert found == [(1, 16), (16, 8), (8, 8), (8, 16), (16, 1)]


def test_spectrograms_pass_through_the_layers_of_the_system() -> None:
    network, plan = built("spectrogram-denoising"), planned("spectrogram-denoising")
    down, up = layers(network, nn.Conv2d), layers(network, nn.ConvTranspose2d)
    assert [(layer.in_channels, layer.out_channels) for layer in down] == [(1, 32), (32, 64), (64, 128)]
    assert [(layer.in_channels, layer.out_channels) for layer in up] == [(128, 64), (64, 32), (32, 1)]
    assert {(layer.kernel_size, layer.stride, layer.padding) for layer in down} == {((3, 3), (1, 1), (1, 1))}
    shapes = {(layer.kernel_size, layer.stride, layer.padding, layer.output_padding) for layer in up}
    assert shapes == {((3, 3), (2, 2), (1, 1), (1, 1))}
    assert [type(part) for part in network.encoder.modules() if isinstance(part, nn.MaxPool2d)] == [nn.MaxPool2d] * 3
    assert isinstance(list(network.decoder.modules())[-1], nn.Sigmoid)
    assert network.encode(torch.zeros(1, 1, 64, 64)).shape == (1, 128 * 8 * 8)
    assert (plan.corruption.scale, plan.corruption.low, plan.corruption.high) == (0.5, 0, 1)
    assert (plan.loss.name, plan.format.view, plan.format.bins, plan.format.frames) == ("squared", "magnitude", 64, 64)


def test_variational_digits_have_two_heads_and_the_full_bound() -> None:
    network, plan = built("digits-variational"), planned("digits-variational")
    widths = [(layer.in_features, layer.out_features) for layer in layers(network)]
    assert widths == [(784, 256), (256, 4), (2, 256), (256, 784)]
    assert (plan.bottleneck.beta, plan.bottleneck.warm_up, plan.loss.name) == (1.0, 0.0, "bernoulli")


def test_one_scale_for_all_values_where_all_are_of_one_kind() -> None:
    over = {name: planned(name).format.over for name in ("daily-profile", "ecg", "compact")}
    assert over == {"daily-profile": "channel", "ecg": "all", "compact": "column"}


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
    plan = plan.replace(training=plan.training.replace(epochs=8, batch_size=16, validation=0.0))
    if name in ("digits-conv", "defects"):
        plan = plan.replace(format=plan.format.replace(size=(4, 5)))
    data: np.ndarray = random.normal(size=(40, 1)) * random.normal(size=(1, 20)) + 0.1 * random.normal(size=(40, 20))
    if plan.modality == "series":
        plan = plan.replace(format=plan.format.replace(window="row"))
    if plan.modality == "audio":
        plan = plan.replace(format=plan.format.replace(fft=64, bins=8, frames=8))
    model = fit_model(data, plan, calibrate=False)
    assert np.isfinite(model.detect(data).rows.score).all()
    errors = [terms["reconstruction"] for terms in model.history.training]
    assert errors[-1] < errors[0]


@pytest.mark.parametrize(("name", "words"), [("daily-profil", "did you mean 'daily-profile'"), ("qqq", "known: .*ecg")])
def test_an_unknown_recipe_gets_a_hint(name: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        recipes.load(name)


@pytest.mark.parametrize("name", ["../ecg", "", ".", "ecg.toml"])
def test_a_name_is_not_a_path(name: str) -> None:
    with pytest.raises(UsageError, match="no recipe called"):
        recipes.load(name)
