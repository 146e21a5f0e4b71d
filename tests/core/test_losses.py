"""Losses against torch's own functions, column by column."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import Tensor, distributions
from torch.nn import functional

from hourglass.core.losses import (
    Absolute,
    Bernoulli,
    Categorical,
    CellLoss,
    Huber,
    Loss,
    Mixed,
    NormalLikelihood,
    Squared,
)
from hourglass.core.model import Code, Trace
from hourglass.data.samples import Cell, Frame, Layout
from hourglass.data.tables import TableSettings
from hourglass.errors import UsageError

PLAIN = Layout((5,))
CELLS = [
    Cell("height", "number", 1, 1.0),
    Cell("weight", "number", 1, 2.5),
    Cell("smoker", "flag", 1, 0.6),
    Cell("member", "flag", 1, 0.2),
    Cell("colour", "category", 3, 1.05),
    Cell("town", "category", 7, 1.9),
    Cell("country", "category", 1, 1.0),
    Cell("size", "category", 2, 0.5),
]


def mixed_layout(order: int = 0) -> Layout:
    """The eight columns in another order for each number."""
    cells = tuple(CELLS[place] for place in np.random.default_rng(order).permutation(len(CELLS)))
    return Layout((sum(cell.width for cell in cells),), cells)


def pieces(layout: Layout) -> list[tuple[Cell, slice]]:
    """Each cell with its places in a sample."""
    stops = np.cumsum([cell.width for cell in layout.cells]).tolist()
    return [(cell, slice(stop - cell.width, stop)) for cell, stop in zip(layout.cells, stops, strict=True)]


def drawn_samples(layout: Layout, rows: int, generator: torch.Generator) -> Tensor:
    """Normal numbers, flags of 0 and 1, one-hot categories."""
    x = torch.randn(rows, layout.size, generator=generator)
    for cell, place in pieces(layout):
        if cell.kind == "flag":
            x[:, place] = (x[:, place] > 0).float()
        elif cell.kind == "category":
            x[:, place] = functional.one_hot(x[:, place].argmax(1), cell.width).float()
    return x


def traced(output: Tensor, x: Tensor, missing: Tensor | None = None, hidden: Tensor | None = None) -> Trace:
    return Trace(x, missing, hidden, x, Code(torch.zeros(len(x), 1)), output)


def mask(rows: list[list[int]]) -> Tensor:
    return torch.tensor(rows, dtype=torch.bool)


@pytest.mark.parametrize(
    ("settings", "oracle"),
    [
        (Squared(), lambda o, x: functional.mse_loss(o, x, reduction="none")),
        (Absolute(), lambda o, x: functional.l1_loss(o, x, reduction="none")),
        (Huber(delta=0.7), lambda o, x: 2 * functional.huber_loss(o, x, reduction="none", delta=0.7)),
        (Bernoulli(), lambda o, x: functional.binary_cross_entropy(o.sigmoid(), x, reduction="none")),
        (Mixed(), lambda o, x: functional.mse_loss(o, x, reduction="none")),
    ],
    ids=lambda part: part.name if isinstance(part, Loss) else "",
)
def test_pointwise_losses_are_those_of_torch(settings: Loss, oracle: Callable[[Tensor, Tensor], Tensor]) -> None:
    generator = torch.Generator().manual_seed(1)
    x, output = torch.rand(9, 5, generator=generator), 3 * torch.randn(9, 5, generator=generator)
    loss = settings.build(PLAIN)
    torch.testing.assert_close(loss.cells(output, x), oracle(output, x))
    torch.testing.assert_close(loss(traced(output, x)), oracle(output, x).mean(1))


def test_huber_is_squared_near_zero_and_straight_far_away() -> None:
    loss, zero = Huber(delta=1.0).build(Layout((1,))), torch.zeros(1, 1)
    assert loss.cells(zero + 0.1, zero).item() == pytest.approx(0.01)
    assert (loss.cells(zero + 11, zero) - loss.cells(zero + 10, zero)).item() == pytest.approx(2.0)


@pytest.mark.parametrize("order", range(4))
@pytest.mark.parametrize("numbers", ["squared", "absolute"])
def test_mixed_is_a_loop_over_columns(order: int, numbers: str) -> None:
    generator, layout = torch.Generator().manual_seed(order), mixed_layout(order)
    x, output = drawn_samples(layout, 11, generator), 2 * torch.randn(11, layout.size, generator=generator)
    loss = Mixed(numbers=numbers).build(layout)
    number_loss = functional.mse_loss if numbers == "squared" else functional.l1_loss
    costs, meanings = [], []
    for cell, place in pieces(layout):
        o, t = output[:, place], x[:, place]
        if cell.kind == "number":
            cost, meaning = number_loss(o, t, reduction="none").squeeze(1), o
        elif cell.kind == "flag":
            cost = functional.binary_cross_entropy_with_logits(o, t, reduction="none").squeeze(1)
            meaning = o.sigmoid()
        else:
            cost, meaning = functional.cross_entropy(o, t.argmax(1), reduction="none"), o.softmax(1)
        guess = cell.baseline**0.5 if numbers == "absolute" and cell.kind == "number" else cell.baseline
        costs.append(cost / guess)
        meanings.append(meaning)
    torch.testing.assert_close(loss.cells(output, x), torch.stack(costs, 1))
    torch.testing.assert_close(loss.expectation(output), torch.cat(meanings, 1))


def test_mixed_has_the_gradient_of_the_loop() -> None:
    generator, layout = torch.Generator().manual_seed(5), mixed_layout(5)
    x = drawn_samples(layout, 6, generator).double()
    output = torch.randn(6, layout.size, generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda o: Mixed().build(layout).double().cells(o, x), output)


def test_categorical_is_cross_entropy_in_nats() -> None:
    layout = Layout((5,), (Cell("colour", "category", 3, 0.3), Cell("size", "category", 2, 7.0)))
    output, x = torch.randn(4, 5), torch.tensor([[1, 0, 0, 0, 1.0]]).expand(4, 5)
    expected = [functional.cross_entropy(output[:, :3], x[:, :3]), functional.cross_entropy(output[:, 3:], x[:, 3:])]
    torch.testing.assert_close(Categorical().build(layout).cells(output, x).mean(0), torch.stack(expected))


def test_guessing_the_training_mean_costs_1_in_every_column() -> None:
    random = np.random.default_rng(0)
    table = pa.table(
        {
            "amount": random.normal(50, 9, 400),
            "often_missing": pa.array(np.where(random.random(400) < 0.4, np.nan, random.exponential(3, 400))),
            "paid": random.random(400) < 0.1,
            "town": random.choice(["Ghent", "Oslo", "Turin", "Brno"], 400, p=[0.6, 0.2, 0.15, 0.05]),
        }
    )
    form = TableSettings().fit(Frame(table))
    x = torch.from_numpy(form.pack(Frame(table)).samples)
    missing = torch.isnan(x)
    mean = x.nanmean(0)
    loss = Mixed().build(form.layout)
    guess = torch.cat(
        [
            {"number": mean[place], "flag": mean[place].logit(), "category": mean[place].clamp(min=1e-30).log()}[
                cell.kind
            ]
            for cell, place in pieces(form.layout)
        ]
    )
    costs = loss.cells(guess.expand_as(x), x.nan_to_num(0.0))
    there = ~loss.per_cell(missing)
    torch.testing.assert_close((costs * there).sum(0) / there.sum(0), torch.ones(4), rtol=1e-4, atol=1e-4)


def normal(layout: Layout, variance: str, generator: torch.Generator) -> Any:
    """A normal loss of some log-variances, in float64."""
    loss: Any = NormalLikelihood(variance=variance).build(layout).double()
    with torch.no_grad():
        loss.slow_log_variance.add_(0.1 * torch.randn(loss.slow_log_variance.shape, generator=generator))
    return loss


@pytest.mark.parametrize("variance", ["shared", "cell"])
@pytest.mark.parametrize("layout", [PLAIN, mixed_layout(2)], ids=["plain", "mixed"])
def test_normal_is_the_negative_log_likelihood_of_torch_distributions(layout: Layout, variance: str) -> None:
    generator = torch.Generator().manual_seed(4)
    loss = normal(layout, variance, generator)
    x = (
        drawn_samples(layout, 9, generator).double()
        if layout.cells
        else torch.randn(9, 5, generator=generator).double()
    )
    output = 2 * torch.randn(x.shape, generator=generator, dtype=torch.float64)
    deviation = (0.5 * loss.log_variance()).exp().expand(loss.count)
    places = pieces(layout) or [(Cell(""), slice(index, index + 1)) for index in range(5)]
    each = []
    for index, (cell, place) in enumerate(places):
        o, t = output[:, place], x[:, place]
        if cell.kind == "number":
            each.append(distributions.Normal(o, deviation[index]).log_prob(t).squeeze(1))
        elif cell.kind == "flag":
            each.append(distributions.Bernoulli(logits=o).log_prob(t).squeeze(1))
        else:
            each.append(distributions.OneHotCategorical(logits=o).log_prob(t))
    missing = torch.rand(x.shape, generator=generator) < 0.2
    there = ~loss.per_cell(missing)
    expected = -(torch.stack(each, 1) * there).sum(1) / there.sum(1).clamp(min=1)
    torch.testing.assert_close(loss(traced(output, x, missing)), expected)
    torch.testing.assert_close(loss(traced(output, x)), -torch.stack(each, 1).mean(1))


@pytest.mark.parametrize("settings", [NormalLikelihood(), Squared(), Bernoulli(), Mixed()], ids=lambda part: part.name)
def test_errors_are_never_negative_and_differ_from_the_loss_by_a_constant(settings: Loss) -> None:
    loss, x = settings.build(PLAIN), torch.rand(20, 5, generator=torch.Generator().manual_seed(0))
    trace = traced(torch.where(torch.arange(20).unsqueeze(1) < 5, x, 1 - x), x)
    difference = loss(trace) - loss.errors(trace)
    assert (loss.errors(trace) >= 0).all()
    assert (loss.cells(trace.output, x) >= 0).all()
    torch.testing.assert_close(difference, difference[:1].expand(20))
    assert bool((difference == 0).all()) == (settings.name != "normal")


@pytest.mark.parametrize("variance", ["shared", "cell"])
def test_the_learned_variance_is_the_mean_squared_error(variance: str) -> None:
    """Its maximum likelihood value, found by the steps that a short fit has."""
    deviations = torch.tensor([0.05, 0.1, 0.2, 0.4, 0.5])
    x = deviations * torch.randn(4_000, 5, generator=torch.Generator().manual_seed(0))
    loss: Any = NormalLikelihood(variance=variance).build(PLAIN)
    optimizer = torch.optim.Adam(loss.parameters(), lr=2e-3)
    for _ in range(600):
        optimizer.zero_grad()
        loss(traced(torch.zeros_like(x), x)).mean().backward()
        optimizer.step()
    wanted = x.square().mean(0) if variance == "cell" else x.square().mean().reshape(1)
    torch.testing.assert_close(loss.log_variance().exp(), wanted, rtol=0.03, atol=0)


def test_the_variance_of_what_never_varies_stays_above_0() -> None:
    loss: Any = NormalLikelihood().build(PLAIN)
    with torch.no_grad():
        loss.slow_log_variance.fill_(-100.0)
    x = torch.ones(2, 5)
    assert loss.log_variance().item() == pytest.approx(-12)
    assert torch.isfinite(loss(traced(x + 1, x))).all()


def test_missing_and_unhidden_cells_cost_nothing_and_have_no_gradient() -> None:
    loss, x = Squared().build(PLAIN), torch.arange(10.0).reshape(2, 5)
    output = torch.full((2, 5), -1.0, requires_grad=True)
    missing, hidden = mask([[1, 0, 0, 0, 0]] * 2), mask([[1, 1, 1, 0, 0]] * 2)
    cost = loss(traced(output, x, missing, hidden))
    torch.testing.assert_close(cost, ((x + 1).square()[:, 1:3]).mean(1))
    cost.sum().backward()
    assert output.grad is not None
    assert (output.grad[:, [0, 3, 4]] == 0).all()
    assert (output.grad[:, [1, 2]] != 0).all()


def test_a_sample_that_hides_nothing_is_scored_whole() -> None:
    loss, x = Squared().build(PLAIN), torch.arange(10.0).reshape(2, 5)
    hidden = mask([[0, 0, 0, 0, 0], [0, 0, 0, 0, 1]])
    torch.testing.assert_close(
        loss(traced(torch.zeros(2, 5), x, None, hidden)), torch.tensor([x[0].square().mean(), 81.0])
    )


@pytest.mark.parametrize("hidden", [None, mask([[1, 1, 0, 0, 0]])], ids=["nothing told", "some hidden"])
def test_a_row_without_any_value_costs_0(hidden: Tensor | None) -> None:
    output = torch.ones(1, 5, requires_grad=True)
    cost = Squared().build(PLAIN)(traced(output, torch.zeros(1, 5), mask([[1] * 5]), hidden))
    cost.sum().backward()
    assert cost.tolist() == [0.0]
    assert output.grad is not None
    assert (output.grad == 0).all()


def test_a_missing_category_hides_all_its_places() -> None:
    layout = Layout((4,), (Cell("town", "category", 3, 1.0), Cell("age", "number", 1, 1.0)))
    loss = Mixed().build(layout)
    output, missing = torch.randn(1, 4, requires_grad=True), mask([[1, 1, 1, 0]])
    cost = loss(traced(output, torch.zeros(1, 4), missing))
    torch.testing.assert_close(cost, output[:, 3].square())
    cost.sum().backward()
    assert output.grad is not None
    assert (output.grad[:, :3] == 0).all()


@pytest.mark.parametrize(
    ("kind", "size"), [(torch.float16, 3e4), (torch.bfloat16, 1e38), (torch.float32, 1e38), (torch.float64, 1e300)]
)
def test_extreme_logits_stay_finite(kind: torch.dtype, size: float) -> None:
    layout = Layout((4,), (Cell("town", "category", 3, 1.0), Cell("paid", "flag", 1, 1.0)))
    loss: CellLoss = Mixed().build(layout).to(kind)
    x = torch.tensor([[1, 0, 0, 1], [0, 1, 0, 0]], dtype=kind)
    output = (size * torch.tensor([[1, -1, 0, 1], [1, -1, 0, 1]], dtype=kind)).requires_grad_()
    cost = loss.cells(output, x)
    (gradient,) = torch.autograd.grad(cost.sum(), output)
    assert torch.isfinite(cost).all()
    assert torch.isfinite(gradient).all()
    assert torch.isfinite(loss.expectation(output)).all()
    assert (cost[0] == 0).all()
    assert (cost[1] >= 0.9 * size).all()


@pytest.mark.parametrize("kind", [torch.float16, torch.float64])
def test_other_precisions_agree_with_float32(kind: torch.dtype) -> None:
    layout = mixed_layout()
    generator = torch.Generator().manual_seed(3)
    x, output = drawn_samples(layout, 4, generator), torch.randn(4, layout.size, generator=generator)
    loss = Mixed().build(layout)
    tolerance = 1e-2 if kind == torch.float16 else 1e-5
    costs = loss.cells(output.to(kind), x.to(kind)).float()
    torch.testing.assert_close(costs, loss.cells(output, x), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("settings", [Squared(), Absolute(), Huber(), Bernoulli()], ids=lambda part: part.name)
def test_losses_of_plain_numbers_refuse_flags_and_categories(settings: Loss) -> None:
    with pytest.raises(UsageError, match="loss=mixed"):
        settings.build(mixed_layout())


@pytest.mark.parametrize("layout", [PLAIN, mixed_layout()], ids=["plain", "mixed"])
def test_categorical_refuses_anything_else(layout: Layout) -> None:
    with pytest.raises(UsageError, match="categories only"):
        Categorical().build(layout)
