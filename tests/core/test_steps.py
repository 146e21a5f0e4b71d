"""The written-out step against autograd's: the same gradient, the same training, and nothing left behind."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from hourglass.core import steps, training
from hourglass.core.bottlenecks import Plain
from hourglass.core.checkpoints import model_bytes, model_from_bytes
from hourglass.core.corruptions import (
    Binarise,
    BlindSpots,
    Blocks,
    GaussianNoise,
    Masking,
    NoCorruption,
    SaltAndPepper,
    Swap,
    ToldMasking,
)
from hourglass.core.dense_steps import WrittenOutStep, dense_plan
from hourglass.core.fitting import fit_model
from hourglass.core.kinds import KINDS, Experiment, build, experiment
from hourglass.core.losses import Absolute, Bernoulli, Huber, Loss, NormalLikelihood, Squared
from hourglass.core.model import Autoencoder, total
from hourglass.core.networks.activations import ACTIVATIONS
from hourglass.core.networks.dense import Dense
from hourglass.core.penalties import Contraction, KLSparsity, L1Activity, L2Activity
from hourglass.core.steps import denormals_flushed, step_for
from hourglass.core.training import History, train
from hourglass.data.samples import Layout
from hourglass.errors import TrainingError
from hourglass.settings import Training

SIZE = 6
SETTINGS = Training(epochs=6, batch_size=20, learning_rate=0.02)
CORRUPTIONS = (NoCorruption(), GaussianNoise(), SaltAndPepper(), Masking(), Swap(), Binarise())
PENALTIES = {"l1": L1Activity(weight=0.1), "l2": L2Activity(weight=0.1), "kl-sparsity": KLSparsity(weight=0.1)}


def plan_of(**parts: Any) -> Experiment:
    given = {"network": Dense(layers=(8,)), "bottleneck": Plain(size=3), "loss": Squared(), **parts}
    return experiment(kind="deep").replace(**given)


def network(dtype: torch.dtype = torch.float32, shape: tuple[int, ...] = (SIZE,), **parts: Any) -> Autoencoder:
    torch.manual_seed(0)
    return build(plan_of(**parts), Layout(shape)).to(dtype)


def samples(rows: int = 90, seed: int = 1, shape: tuple[int, ...] = (SIZE,)) -> Tensor:
    """Numbers around 0.5, some beyond 0 and 1."""
    generator = torch.Generator().manual_seed(seed)
    factors, noise = torch.randn(rows, 2, generator=generator), torch.randn(rows, *shape, generator=generator)
    mixing = torch.randn(2, *shape, generator=torch.Generator().manual_seed(7))
    return 0.5 + 0.3 * torch.tensordot(factors, mixing, dims=1) + 0.05 * noise


def weights(model: nn.Module) -> Tensor:
    return torch.cat([weight.detach().flatten() for weight in model.parameters()])


def written_out(model: Autoencoder, x: Tensor) -> WrittenOutStep:
    plan = dense_plan(model, model.players(), x)
    assert plan is not None
    return WrittenOutStep(plan, SETTINGS)


def step_name(model: Autoencoder, x: Any) -> str:
    with step_for(model, model.players(), x, SETTINGS) as step:
        return step.name


@pytest.fixture
def by_autograd(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From the call on, the autograd step is the only one."""
    return lambda: monkeypatch.setattr(steps, "dense_plan", lambda *given: None)


@st.composite
def stacks(draw: st.DrawFn) -> Experiment:
    names = st.sampled_from(sorted(ACTIVATIONS))
    code = draw(names)
    penalties = draw(st.sets(st.sampled_from(sorted(PENALTIES))))
    if code != "sigmoid":
        penalties.discard("kl-sparsity")
    loss: Loss = draw(st.sampled_from([Squared(), Absolute(), Bernoulli()]))
    return plan_of(
        network=Dense(
            layers=tuple(draw(st.lists(st.integers(1, 9), max_size=3))),
            activation=draw(names),
            output="linear" if isinstance(loss, Bernoulli) else draw(names),
        ),
        bottleneck=Plain(size=draw(st.integers(1, 5)), activation=code),
        loss=loss,
        penalties=tuple(PENALTIES[name] for name in sorted(penalties)),
        corruption=draw(st.sampled_from(CORRUPTIONS)),
    )


@settings(max_examples=60)
@given(stacks(), st.integers(1, 7), st.integers(1, 9), st.integers(0, 1_000))
def test_its_gradient_is_that_of_autograd(plan: Experiment, size: int, rows: int, seed: int) -> None:
    torch.manual_seed(seed)
    model = build(plan, Layout((size,))).double()
    x = samples(rows, seed, (size,)).double()
    terms = model.terms(x, torch.Generator().manual_seed(seed))
    total(terms).backward()  # type: ignore[no-untyped-call]
    expected = {name: weight.grad for name, weight in model.named_parameters()}
    step = written_out(model, x)
    for _ in range(2):  # a buffer that remembers would show
        got = step.differentiate(x, torch.Generator().manual_seed(seed))
    assert got == pytest.approx({name: float(term.detach()) for name, term in terms.items()}, rel=1e-10)
    places = {id(weight): name for name, weight in model.named_parameters()}
    for parameter, gradient in zip(step.optimizer.parameters, step.optimizer.gradients, strict=True):
        torch.testing.assert_close(gradient, expected[places.pop(id(parameter))], rtol=1e-10, atol=1e-12)
    assert not places


def both(by_autograd: Callable[[], None], dtype: torch.dtype, **parts: Any) -> Iterator[tuple[History, Tensor]]:
    """The history and the weights of a training by each step; 90 and 41 rows leave a smaller last batch."""
    for restrict in (lambda: None, by_autograd):
        restrict()
        model = network(dtype, **parts)
        history = train(model, samples(90).to(dtype), SETTINGS, samples(41, seed=2).to(dtype))
        yield history, weights(model)


WHOLE: dict[str, dict[str, Any]] = {
    "plain": {},
    "sparse": {"bottleneck": Plain(size=3, activation="sigmoid"), "penalties": (KLSparsity(), L1Activity())},
    "denoising": {"corruption": GaussianNoise(), "network": Dense(layers=(8, 5), activation="silu")},
    "swap": {"corruption": Swap(), "loss": Absolute()},
    "binarise": {"corruption": Binarise(), "loss": Bernoulli()},
}


@pytest.mark.parametrize("parts", WHOLE.values(), ids=WHOLE)
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.float64, 1e-9)], ids=["single", "double"]
)
def test_a_whole_training_is_the_same_to_rounding(
    parts: dict[str, Any], dtype: torch.dtype, tolerance: float, by_autograd: Callable[[], None]
) -> None:
    (ours, reached), (theirs, expected) = both(by_autograd, dtype, **parts)
    assert (ours.step, theirs.step) == ("written out", "autograd")
    for mine, other in zip([*ours.training, *ours.validation], [*theirs.training, *theirs.validation], strict=True):
        assert list(mine) == list(other)
        assert mine == pytest.approx(other, rel=tolerance)
    torch.testing.assert_close(reached, expected, rtol=100 * tolerance, atol=10 * tolerance)


def test_windows_and_pictures_in_a_dense_stack_are_flattened(by_autograd: Callable[[], None]) -> None:
    histories = []
    for restrict in (lambda: None, by_autograd):
        restrict()
        model = network(shape=(5, 2), corruption=Blocks())
        histories.append(train(model, samples(shape=(5, 2)), SETTINGS))
    assert [each.step for each in histories] == ["written out", "autograd"]
    assert histories[0].training[-1] == pytest.approx(histories[1].training[-1], rel=1e-4)


@pytest.mark.parametrize("clip", [None, 0.01])
def test_gradients_are_clipped_alike(clip: float | None, by_autograd: Callable[[], None]) -> None:
    plan = Training(epochs=3, batch_size=1, learning_rate=0.02, gradient_clip=clip)
    ends = []
    for restrict in (lambda: None, by_autograd):
        restrict()
        model = network(torch.float64)
        train(model, samples(30).double(), plan)
        ends.append(weights(model))
    torch.testing.assert_close(*ends, rtol=1e-8, atol=1e-10)


FAST = {
    "plain",
    "deep",
    "denoising",
    "denoising-salt-and-pepper",
    "denoising-masking",
    "denoising-swap",
    "sparse",
    "stacked",
}


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "mask"])
def test_which_kinds_are_written_out(kind: str) -> None:
    shape = (16, 2) if type(experiment(kind=kind).network) is not Dense else (SIZE,)
    modality = "table" if len(shape) == 1 else "series"
    model = build(experiment(modality, kind), Layout(shape))
    assert step_name(model, samples(shape=shape)) == ("written out" if kind in FAST else "autograd")


REFUSED: dict[str, dict[str, Any]] = {
    "tied": {"network": Dense(layers=(8,), tied=True)},
    "unit norm": {"network": Dense(layers=(8,), unit_norm=True)},
    "dropout": {"network": Dense(layers=(8,), dropout=0.1)},
    "dropout of the code": {"bottleneck": Plain(size=3, dropout=0.1)},
    "huber": {"loss": Huber()},
    "learned variance": {"loss": NormalLikelihood()},
    "contraction": {"penalties": (Contraction(),)},
    "told masking": {"corruption": ToldMasking()},
    "blind spots": {"corruption": BlindSpots(), "shape": (5, 2)},
}


@pytest.mark.parametrize("parts", REFUSED.values(), ids=REFUSED)
def test_what_it_cannot_do_is_left_to_autograd(parts: dict[str, Any]) -> None:
    assert step_name(network(**parts), samples(shape=parts.get("shape", (SIZE,)))) == "autograd"


def test_samples_it_cannot_take_are_left_to_autograd() -> None:
    x, gap = samples(), samples()
    gap[5, 2] = torch.nan
    model, frozen = network(), network()
    next(frozen.parameters()).requires_grad_(False)
    assert step_name(model, x) == "written out"
    assert [step_name(model, each) for each in (gap, (x, x), x.double())] == ["autograd"] * 3
    assert step_name(frozen, x) == "autograd"


def test_the_module_keeps_its_parameters_each_with_a_storage_of_its_own() -> None:
    model = network()
    before, names = list(model.parameters()), list(model.state_dict())
    assert train(model, samples(), SETTINGS, samples(30, seed=2)).step == "written out"
    assert list(model.state_dict()) == names
    assert all(mine is first for mine, first in zip(model.parameters(), before, strict=True))
    assert all(weight.requires_grad and weight.is_leaf for weight in before)
    assert all(weight.untyped_storage().nbytes() == 4 * weight.numel() for weight in before)


def test_while_it_runs_the_model_sees_every_step() -> None:
    model, x = network(), samples()
    first = weights(model)
    with step_for(model, model.players(), x, SETTINGS) as step:
        step(x, 0.5, 0.01, torch.Generator())
        assert not torch.equal(weights(model), first)
        moved = weights(model)
    assert torch.equal(weights(model), moved)


def test_a_saved_model_says_which_step_made_it_and_scores_the_same() -> None:
    fitted = fit_model(samples().numpy(), plan_of(training=SETTINGS), calibrate=False)
    again = model_from_bytes(model_bytes(fitted))
    assert again.history.step == "written out"
    torch.testing.assert_close(weights(again.network), weights(fitted.network), rtol=0, atol=0)


@pytest.mark.parametrize("block", [1, 3 * 20 * SIZE])
def test_shuffling_block_by_block_changes_nothing(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def trained() -> Tensor:
        model = network(corruption=GaussianNoise())
        train(model, samples(), SETTINGS)
        return weights(model)

    whole = trained()
    monkeypatch.setattr(training, "_BLOCK", block)
    assert torch.equal(trained(), whole)


def flushes() -> bool:
    return float(torch.tensor(1e-30) * 1e-10) == 0.0


@pytest.fixture(params=[False, True], ids=["kept", "flushed"])
def callers(request: pytest.FixtureRequest) -> Iterator[bool]:
    """What the caller has set for denormals."""
    assert not flushes()
    torch.set_flush_denormal(request.param)
    yield request.param
    torch.set_flush_denormal(False)


def test_denormals_are_flushed_in_training_and_the_callers_setting_is_put_back(callers: bool) -> None:
    seen: list[bool] = []
    train(network(), samples(), SETTINGS, report=lambda *given: seen.append(flushes()))
    assert seen == [True] * SETTINGS.epochs
    assert flushes() == callers


def test_denormals_are_as_before_after_an_error_too(callers: bool) -> None:
    with pytest.raises(TrainingError):
        train(network(), torch.full((30, SIZE), torch.inf), SETTINGS)
    assert flushes() == callers
    with pytest.raises(KeyError), denormals_flushed():
        raise KeyError
    assert flushes() == callers


def after(calls: int, then: Callable[[Tensor], Tensor]) -> Callable[..., tuple[Tensor, None]]:
    """A corruption that does nothing so many times while training, and then something else."""
    left = iter(range(calls))
    return lambda x, generator: (x if len(x) != 20 or next(left, None) is not None else then(x), None)


def interrupted(x: Tensor) -> Tensor:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("then", "stopped"), [(interrupted, "interrupted"), (lambda x: x * torch.nan, "diverged")], ids=["Ctrl-C", "NaN"]
)
def test_what_ends_it_early_leaves_the_best_weights(then: Callable[[Tensor], Tensor], stopped: str) -> None:
    """Five steps an epoch: the third of them breaks off."""
    seen: list[Tensor] = []
    model = network()
    model.corruption = after(12, then)
    history = train(model, samples(100), SETTINGS, samples(30, seed=2), lambda *given: seen.append(weights(model)))
    assert (history.step, history.stopped, len(history.training)) == ("written out", stopped, 2)
    assert torch.equal(weights(model), seen[history.best_epoch - 1])


def test_every_element_wise_corruption_is_written_out() -> None:
    for corruption in CORRUPTIONS:
        assert step_name(network(corruption=corruption), samples()) == "written out"
