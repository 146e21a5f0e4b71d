"""The autoencoder: its objective as named terms, who is trained, and that a linear one finds PCA's plane."""

import numpy as np
import pytest
import torch
from torch import Tensor

from hourglass.core.bottlenecks import Gaussian, Plain
from hourglass.core.corruptions import Binarise
from hourglass.core.kinds import build, experiment
from hourglass.core.model import Autoencoder, split_missing, total, union
from hourglass.core.training import train
from hourglass.data.samples import Layout
from hourglass.errors import UsageError
from hourglass.settings import Training


def model_of(kind: str, size: int = 6) -> Autoencoder:
    torch.manual_seed(0)
    return build(experiment(kind=kind), Layout((size,)))


def samples(rows: int = 12, size: int = 6) -> Tensor:
    return torch.randn(rows, size, generator=torch.Generator().manual_seed(1))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("plain", ["reconstruction"]),
        ("variational", ["reconstruction", "kl"]),
        ("sparse+contractive", ["reconstruction", "kl-sparsity", "contraction"]),
        ("denoising+variational", ["reconstruction", "kl"]),
    ],
)
def test_the_objective_is_the_sum_of_named_terms(kind: str, names: list[str]) -> None:
    terms = model_of(kind).terms(samples(), seeded())
    assert list(terms) == names
    assert all(term.dim() == 0 and torch.isfinite(term) for term in terms.values())
    torch.testing.assert_close(total(terms), torch.stack([terms[name] for name in names]).sum())


def test_terms_are_the_parts_on_one_corrupted_pass() -> None:
    model = model_of("denoising+variational")
    trace = model(samples(), corrupt=True, generator=seeded(5))
    terms = model.terms(samples(), seeded(5))
    torch.testing.assert_close(terms["reconstruction"], model.loss(trace).mean())
    assert torch.equal(trace.x, samples())
    torch.testing.assert_close(terms["kl"], trace.code.terms["kl"])
    assert not torch.equal(trace.seen, trace.x)


@pytest.mark.parametrize("kind", ["denoising", "masked-cell", "variational", "top-k"])
def test_encode_and_reconstruct_never_corrupt_and_repeat(kind: str) -> None:
    model = model_of(kind).eval()
    trace = model(samples())
    assert torch.equal(trace.seen, samples())
    assert trace.hidden is None
    assert torch.equal(model.encode(samples()), trace.code.value)
    assert torch.equal(model.encode(samples()), model.encode(samples()))
    assert torch.equal(model.reconstruct(samples()), trace.output)


def test_missing_numbers_reach_the_encoder_as_0_and_a_told_one_as_hidden() -> None:
    x = samples()
    x[:, 2] = torch.nan
    for kind in ("plain", "masked-cell"):
        model = model_of(kind).eval()
        known, missing = split_missing(x)
        assert (known[:, 2] == 0).all()
        assert torch.equal(model.encode(x), model.bottleneck(model.encoder(known, missing), None).value)
        assert torch.isfinite(model.reconstruct(x)).all()
    assert not torch.equal(model.encode(x), model.encode(known))  # 0 seen is not the same as nothing seen


def test_masks_join() -> None:
    first, second = torch.tensor([True, False]), torch.tensor([False, False])
    assert union(None, None) is None
    assert union(first, None) is first
    assert union(None, second) is second
    assert torch.equal(union(first, second), first)  # type: ignore[arg-type]


def test_one_player_owns_every_weight_when_there_is_no_opponent() -> None:
    model = model_of("sparse")
    (player,) = model.players()
    assert {id(weight) for weight in player.parameters} == {id(weight) for weight in model.parameters()}


def test_progress_reaches_the_parts_that_warm_up() -> None:
    model = model_of("variational")
    model.set_progress(0.0)
    assert model.terms(samples(), seeded())["kl"].item() == 0
    model.set_progress(1.0)
    assert model.terms(samples(), seeded())["kl"].item() > 0


def test_codes_of_a_variational_model_are_random_only_while_corrupting() -> None:
    torch.manual_seed(0)
    model = build(experiment(kind="variational").replace(bottleneck=Gaussian(size=2)), Layout((6,)))
    means = model.encode(samples())
    drawn = model(samples(), corrupt=True, generator=seeded()).code.value
    assert means.shape == drawn.shape == (12, 2)
    assert not torch.equal(means, drawn)


def test_a_plain_linear_autoencoder_finds_the_plane_of_pca() -> None:
    """Its global minimum is PCA's subspace (Baldi and Hornik 1989): principal angles, and the same error."""
    random = np.random.default_rng(0)
    deviations = np.array([3.0, 2.0, 1.5] + [0.4] * 7)
    rotation = np.linalg.qr(random.normal(size=(10, 10)))[0]
    x = random.normal(size=(600, 10)) * deviations @ rotation
    x -= x.mean(0)
    axes = np.linalg.svd(x, full_matrices=False)[2][:3]
    torch.manual_seed(0)
    model = build(experiment(kind="plain").replace(bottleneck=Plain(size=3)), Layout((10,)))
    data = torch.from_numpy(x).float()
    train(model, data, Training(epochs=150, batch_size=100, learning_rate=0.02, weight_decay=0.0, validation=0.0))

    decoder = model.decoder.stack[0].weight.detach().double().numpy()  # type: ignore[union-attr,index]
    cosines = np.linalg.svd(axes @ np.linalg.qr(decoder)[0], compute_uv=False)
    assert np.degrees(np.arccos(cosines.min())) < 2
    error = (model.reconstruct(data) - data).square().mean().item()
    best = np.square(x - x @ axes.T @ axes).mean()
    assert best <= error * (1 + 1e-6)
    assert error < 1.01 * best


def test_what_a_redrawing_corruption_drew_is_what_must_be_given_back() -> None:
    torch.manual_seed(0)
    model = build(experiment(kind="plain").replace(corruption=Binarise()), Layout((6,)))
    grey = torch.rand(500, 6, generator=seeded())
    trace, again = model(grey, corrupt=True, generator=seeded(1)), model(grey, corrupt=True, generator=seeded(2))
    assert torch.equal(trace.x, trace.seen)
    assert set(trace.x.unique().tolist()) == {0.0, 1.0}
    assert not torch.equal(trace.x, again.x)
    torch.testing.assert_close(model.loss(trace), (trace.output - trace.x).square().mean(1))
    assert torch.equal(model(grey).x, grey)
    assert torch.equal(model.encode(grey), model(grey).code.value)


def test_every_row_of_a_trace_stands_once_a_draw() -> None:
    torch.manual_seed(0)
    plan = experiment(kind="masked-cell").replace(bottleneck=Gaussian(size=2, draws=3))
    x = samples()
    x[0, 0] = torch.nan
    model = build(plan, Layout((6,)))
    trace = model(x, corrupt=True, generator=seeded())
    for rows in (trace.x, trace.missing, trace.hidden, trace.seen):
        assert rows is not None
        assert rows.shape == trace.output.shape == (36, 6)
        assert torch.equal(rows[0::3], rows[2::3])
    assert trace.code.value.shape == (36, 2)
    assert all(torch.isfinite(term) for term in model.terms(x, seeded()).values())


# Twins, and what goes past the code


def test_of_twins_the_one_is_seen_and_the_other_must_be_given_back() -> None:
    model = model_of("denoising")
    x, twin = samples(), samples() + 5
    trace, plain = model.training_trace((x, twin), seeded(3)), model.training_trace(twin, seeded(3))
    assert torch.equal(trace.x, x)
    assert torch.equal(trace.seen, plain.seen)  # the twin, corrupted
    assert torch.equal(trace.output, plain.output)
    torch.testing.assert_close(model.terms((x, twin), seeded(3))["reconstruction"], (trace.output - x).square().mean())


def test_what_is_missing_in_either_twin_counts_for_nothing() -> None:
    model, x, twin = model_of("plain"), samples(), samples()
    x[0, 1], twin[2, 3] = torch.nan, torch.nan
    trace = model.training_trace((x, twin))
    assert trace.missing is not None
    assert trace.missing.nonzero().tolist() == [[0, 1], [2, 3]]
    assert trace.seen[2, 3] == 0
    assert torch.isfinite(model.terms((x, twin), seeded())["reconstruction"])


def test_what_the_encoder_saw_goes_past_the_code_where_a_network_has_skips() -> None:
    torch.manual_seed(0)
    model = build(experiment("series", "u-net"), Layout((16, 1))).eval()
    assert model.has_skips
    assert not model_of("plain").has_skips
    x = torch.randn(4, 16, 1)
    inward, skips = model.encoder.with_skips(x, None)
    assert torch.equal(model.reconstruct(x), model.decoder(inward, *skips))
    assert torch.equal(model.encode(x), inward)
    with pytest.raises(UsageError, match="skips"):
        model.output_of(model.encode(x))


def test_only_nan_is_missing_whatever_numbers_add_up_to() -> None:
    large = torch.tensor([[torch.inf, -torch.inf, 3e38, 3e38]])
    assert split_missing(large)[1] is None
    known, missing = split_missing(torch.tensor([[1.0, torch.nan]]))
    assert known.tolist() == [[1.0, 0.0]]
    assert missing is not None
    assert missing.tolist() == [[False, True]]
