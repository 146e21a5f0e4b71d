"""Layers trained one by one: each as what it says, on what the layer below makes of the samples, into the network."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from hourglass.core.bottlenecks import Gaussian, Plain, TopK
from hourglass.core.corruptions import Masking, NoCorruption
from hourglass.core.fitting import fit_model
from hourglass.core.kinds import Experiment, build, experiment
from hourglass.core.losses import Bernoulli, Loss
from hourglass.core.model import Autoencoder
from hourglass.core.networks.dense import Dense
from hourglass.core.penalties import Contraction, KLSparsity, Penalty
from hourglass.core.pretraining import NoPretraining, Pretraining, StackedAutoencoders, StackedBoltzmann, pairs
from hourglass.core.training import train
from hourglass.data.samples import Layout
from hourglass.errors import TrainingError, UsageError
from hourglass.estimators.planning import plan_with
from hourglass.settings import Training

SIZE = 10
LAYOUT = Layout((SIZE,))
SETTINGS = Training(epochs=25, batch_size=20, learning_rate=0.01)
PLAIN = StackedAutoencoders(corruption=NoCorruption())


def samples(rows: int = 200, seed: int = 1) -> Tensor:
    """Rows near a plane of three dimensions."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(3, SIZE, generator=torch.Generator().manual_seed(7))
    return torch.randn(rows, 3, generator=generator) @ mixing + 0.05 * torch.randn(rows, SIZE, generator=generator)


def plan(pretraining: Pretraining, activation: str = "tanh", **parts: object) -> Experiment:
    given = {"network": Dense(layers=(8, 6), activation=activation), "bottleneck": Plain(size=3), **parts}
    return experiment(kind="deep").replace(pretraining=pretraining, **given)


def sigmoid(pretraining: Pretraining) -> Experiment:
    return plan(pretraining, "sigmoid", bottleneck=Plain(size=5, activation="sigmoid"))


def made(wanted: Experiment) -> Autoencoder:
    torch.manual_seed(0)
    return build(wanted, LAYOUT)


def pretrained(wanted: Experiment, x: Tensor, training: Training = SETTINGS) -> Autoencoder:
    network = made(wanted)
    wanted.pretraining.build()(network, LAYOUT, x, x[:0], training, None)
    return network


def error(network: Autoencoder, x: Tensor) -> float:
    with torch.no_grad():
        return float((network.reconstruct(x) - x).square().mean())


def test_a_single_layer_learns_exactly_what_training_it_does() -> None:
    """An autoencoder of one hidden layer, pre-trained as such, is that autoencoder trained."""
    wanted = plan(StackedAutoencoders(corruption=Masking(rate=0.2)), network=Dense(layers=()))
    alone = made(wanted.replace(corruption=Masking(rate=0.2)))
    train(alone, samples(), SETTINGS)
    for name, weight in pretrained(wanted, samples()).state_dict().items():
        torch.testing.assert_close(weight, alone.state_dict()[name], atol=1e-4, rtol=1e-3)  # another step, to rounding


def test_unrolled_layers_give_samples_back_before_the_whole_is_trained() -> None:
    x = samples()
    assert error(made(plan(PLAIN)), x) > 0.9 * x.var()
    assert error(pretrained(plan(PLAIN), x), x) < 0.3 * x.var()


def test_a_layer_sees_what_the_trained_one_below_makes_of_the_samples() -> None:
    """The second pair of layers, trained by hand on the codes of the first, ends the same but for rounding."""
    wanted, x = plan(PLAIN, network=Dense(layers=(8,), activation="tanh")), samples()
    first = pretrained(wanted, x).encoder.stack[0]
    codes = torch.tanh(first(x)).detach()
    upper = Autoencoder.__new__(Autoencoder)
    upper = build(experiment(kind="plain").replace(bottleneck=Plain(size=3)), Layout((8,)))
    network = made(wanted)
    upper.encoder.stack[0] = network.encoder.stack[2]
    upper.decoder.stack = torch.nn.Sequential(network.decoder.stack[0], torch.nn.Tanh())
    train(upper, codes, SETTINGS)
    both = pretrained(wanted, x)
    for found, wished in (
        (both.encoder.stack[2], upper.encoder.stack[0]),
        (both.decoder.stack[0], upper.decoder.stack[0]),
    ):
        torch.testing.assert_close(found.weight, wished.weight, atol=1e-4, rtol=1e-3)


def test_pairs_mirror_each_other_and_end_at_the_bottleneck() -> None:
    network = made(plan(PLAIN))
    found = list(pairs(network, LAYOUT))
    assert [(pair.layout.size, pair.width) for pair in found] == [(10, 8), (8, 6), (6, 3)]
    assert [(pair.up.in_features, pair.up.out_features) for pair in found] == [(8, 10), (6, 8), (3, 6)]
    assert [type(pair.output).__name__ for pair in found] == ["Identity", "Tanh", "Tanh"]
    assert found[-1].bottleneck is network.bottleneck
    assert found[0].loss is network.loss


@pytest.mark.parametrize("tied", [False, True])
def test_a_machine_goes_up_the_encoder_and_transposed_down_the_decoder(tied: bool) -> None:
    wanted = sigmoid(StackedBoltzmann())
    network = pretrained(wanted.replace(network=wanted.network.replace(tied=tied)), samples())  # type: ignore[attr-defined]
    found = list(pairs(network, LAYOUT))
    for pair in found:
        x = torch.rand(4, pair.width)
        expected = x @ pair.down.weight + pair.up.bias
        torch.testing.assert_close(pair.up(x), expected)
        assert pair.down.bias.abs().max() > 1e-3
        assert pair.up.bias.abs().max() > 1e-3


def test_machines_of_a_wide_network_know_something_of_the_data() -> None:
    """Binary data: the machines' way up and down, sigmoid throughout, gives back most units."""
    generator = torch.Generator().manual_seed(0)
    x = (torch.rand(300, 3, generator=generator) < 0.5).float().repeat(1, 4)
    parts = {"network": Dense(layers=(20,), activation="sigmoid", output="sigmoid")}
    wanted = plan(StackedBoltzmann(), bottleneck=Plain(size=16, activation="sigmoid"), **parts)
    torch.manual_seed(0)
    network = build(wanted, Layout((12,)))
    wanted.pretraining.build()(network, Layout((12,)), x, x[:0], SETTINGS.replace(epochs=30, learning_rate=0.03), None)
    assert ((network.reconstruct(x) > 0.5).float() == x).float().mean() > 0.95


@pytest.mark.parametrize(
    ("visible", "largest", "output", "loss", "gaussian"),
    [
        ("auto", 1.0, "sigmoid", None, False),
        ("auto", 1.0, "linear", Bernoulli(), False),
        ("auto", 1.0, "linear", None, True),  # a linear decoder would give log-odds back
        ("auto", 3.0, "sigmoid", None, True),
        ("gaussian", 1.0, "sigmoid", None, True),
        ("bernoulli", 3.0, "linear", None, False),
    ],
)
def test_visible_units_follow_the_data_and_the_decoder(
    visible: str, largest: float, output: str, loss: Loss | None, gaussian: bool
) -> None:
    settings = StackedBoltzmann(visible=visible)
    wanted = sigmoid(settings).replace(loss=loss)
    (pair, *others) = pairs(made(wanted.replace(network=wanted.network.replace(output=output))), LAYOUT)
    x = torch.rand(20, SIZE) * largest
    x[0, 0], x[1, 1] = torch.nan, largest
    assert settings._layer(pair, x).model.gaussian is gaussian  # type: ignore[attr-defined]
    if visible == "auto":
        assert not settings._layer(others[0], torch.rand(20, 8)).model.gaussian  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "wanted",
    [
        plan(StackedAutoencoders(penalties=(Contraction(),))),
        plan(StackedAutoencoders(penalties=(Contraction(),)), bottleneck=Gaussian(size=3)),
        plan(PLAIN, bottleneck=TopK(size=6, k=2)),
        plan(PLAIN, network=Dense(layers=(8, 6), tied=True, dropout=0.2)),
        plan(PLAIN, network=Dense(layers=(8, 6), tied=True), bottleneck=Gaussian(size=3)),
        plan(PLAIN, corruption=experiment(kind="masked-cell").corruption),
        sigmoid(StackedAutoencoders(penalties=(KLSparsity(),))),
        sigmoid(StackedBoltzmann(steps=3)),
        sigmoid(StackedBoltzmann()).replace(corruption=experiment(kind="masked-cell").corruption),
    ],
    ids=[
        "contractive",
        "variational",
        "top-k",
        "tied",
        "tied variational",
        "told",
        "sparse",
        "machines",
        "told machines",
    ],
)
def test_it_composes_with_every_other_part_and_with_missing_numbers(wanted: Experiment) -> None:
    x = samples(90).numpy()
    x[::7, 2] = np.nan
    model = fit_model(x, wanted.replace(training=Training(epochs=3, batch_size=16)), calibrate=False)
    assert all(torch.isfinite(weight).all() for weight in model.network.parameters())
    assert np.isfinite(model.reconstruct(x)).all()


def test_a_fit_pre_trains_and_then_trains_the_whole() -> None:
    x, few = samples().numpy(), Training(epochs=2, batch_size=20)
    stacked = StackedAutoencoders(corruption=NoCorruption(), epochs=40)
    deep = fit_model(x, plan(NoPretraining()).replace(training=few), calibrate=False)
    whole = fit_model(x, plan(stacked).replace(training=few), calibrate=False)
    assert len(whole.history.training) == 2
    first, others = whole.history.validation[0], deep.history.validation[0]
    assert first["reconstruction"] < 0.5 * others["reconstruction"]


def test_a_fit_repeats() -> None:
    x = samples(80).numpy()
    twice = [fit_model(x, plan(PLAIN).replace(training=Training(epochs=2)), calibrate=False).encode(x) for _ in "ab"]
    np.testing.assert_array_equal(*twice)


@pytest.mark.parametrize(("epochs", "expected"), [(None, 25), (4, 4)])
def test_layers_take_their_own_epochs_or_those_of_the_whole(epochs: int | None, expected: int) -> None:
    calls: list[tuple[int, int]] = []
    wanted = plan(PLAIN.replace(epochs=epochs))
    network = made(wanted)
    wanted.pretraining.build()(network, LAYOUT, samples(40), samples(10, 2), SETTINGS.replace(patience=0), _note(calls))
    assert calls == [(epoch, expected) for _ in range(3) for epoch in range(1, expected + 1)]


def _note(calls: list[tuple[int, int]]) -> object:
    return lambda epoch, epochs, terms: calls.append((epoch, epochs))


def test_an_interrupt_on_the_way_is_an_interrupt() -> None:
    """A network whose upper layers know nothing is not worth keeping."""

    def stop(epoch: int, epochs: int, terms: dict[str, float]) -> None:
        raise KeyboardInterrupt

    wanted = plan(PLAIN)
    with pytest.raises(KeyboardInterrupt):
        wanted.pretraining.build()(made(wanted), LAYOUT, samples(), samples()[:0], SETTINGS, stop)


def test_a_layer_that_diverges_is_named() -> None:
    wild = SETTINGS.replace(learning_rate=1e38, schedule="constant", gradient_clip=None)
    with pytest.raises(TrainingError, match="pre-training of layer 1"):
        pretrained(plan(PLAIN, activation="relu"), samples(), wild)


@pytest.mark.parametrize(
    ("wanted", "where", "words"),
    [
        (plan(StackedBoltzmann()), "network.activation", "got tanh, wanted sigmoid"),
        (plan(StackedBoltzmann(), "sigmoid"), "bottleneck.activation", "got linear, wanted sigmoid"),
        (plan(StackedBoltzmann(), "sigmoid", bottleneck=TopK()), "bottleneck.activation", "got top-k, wanted sigmoid"),
        (plan(StackedAutoencoders(penalties=(KLSparsity(),))), "network.activation", "between 0 and 1"),
        (
            plan(StackedAutoencoders(corruption=experiment(kind="masked-cell").corruption)),
            "pretraining.corruption",
            "told-masking",
        ),
        (
            plan(StackedAutoencoders(penalties=(Penalty.named("dead-units"),))),
            "pretraining.penalties",
            "dead-units is not for single layers",
        ),
    ],
    ids=["machines of tanh", "linear code", "top-k", "kl", "told", "dead units"],
)
def test_what_cannot_be_is_refused_by_name_before_any_work(wanted: Experiment, where: str, words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        build(wanted, LAYOUT)
    assert caught.value.where == where


def test_only_dense_networks_have_layers_to_stack() -> None:
    others = [name for name in type(Dense()).__mro__[1].table if name != "dense"]  # type: ignore[attr-defined]
    for name in others:
        for settings in (PLAIN, StackedBoltzmann()):
            with pytest.raises(UsageError, match=f"this one is {name}"):
                settings.check(type(Dense()).__mro__[1].named(name), Plain())  # type: ignore[attr-defined]


def test_it_is_written_down_and_read_back() -> None:
    wanted = plan(StackedAutoencoders(corruption=Masking(rate=0.4), penalties=(Contraction(weight=0.2),), epochs=7))
    assert Experiment.from_json(wanted.as_json()) == wanted
    assert Experiment.from_json({"kind": "stacked"}).pretraining == StackedAutoencoders()
    old = {key: value for key, value in wanted.as_json().items() if key != "pretraining"}
    assert Experiment.from_json(old).pretraining == NoPretraining()


def test_options_of_its_parts_can_be_set_by_name() -> None:
    given = {
        "pretraining": "autoencoders",
        "pretraining__corruption": "masking",
        "pretraining__corruption__rate": "0.4",
    }
    chosen = plan_with("table", {"kind": "deep"}, given)
    assert chosen.pretraining == StackedAutoencoders(corruption=Masking(rate=0.4))
    with pytest.raises(UsageError, match="no option 'rat'"):
        plan_with("table", {"kind": "stacked"}, {"pretraining__corruption__rat": 1})
    with pytest.raises(UsageError, match="no part called 'epochs'"):
        plan_with("table", {"kind": "stacked"}, {"pretraining__epochs__rate": 1})
    assert math.isclose(chosen.pretraining.corruption.rate, 0.4)
