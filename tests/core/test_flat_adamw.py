"""The flat optimizer against torch's own AdamW, and what it does to the parameters that it holds."""

import pytest
import torch
from torch import Tensor, nn

from hourglass.core import flat_adamw
from hourglass.core.flat_adamw import FlatAdamW
from hourglass.settings import Training

RATES = (0.1, 0.01, 0.03)


def parameters() -> list[nn.Parameter]:
    torch.manual_seed(0)
    kernels = torch.randn(3, 2, 3, 3, dtype=torch.float64).to(memory_format=torch.channels_last)
    turned = torch.randn(4, 5, dtype=torch.float64).T[:3]  # with gaps between its rows
    return [nn.Parameter(each) for each in (kernels, torch.randn((), dtype=torch.float64), turned)]


def loss_of(given: list[nn.Parameter]) -> Tensor:
    return torch.stack([(each - 0.1).square().mul(each.numel()).sum() for each in given]).sum()


@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("clip", [None, 0.01, 1e6])
@pytest.mark.parametrize("kernel", ["torch's own", "public"])
def test_it_moves_as_clipped_adamw_does(
    kernel: str, clip: float | None, decay: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kernel == "public":
        monkeypatch.setattr(flat_adamw, "_KERNEL", None)
    ours, theirs = parameters(), parameters()
    flat = FlatAdamW(ours, Training(weight_decay=decay, gradient_clip=clip))
    optimizer = torch.optim.AdamW(theirs, weight_decay=decay)
    for rate in RATES:
        flat.gradient.zero_()
        optimizer.zero_grad()
        for those in (ours, theirs):
            loss_of(those).backward()  # type: ignore[no-untyped-call]
        if clip:
            nn.utils.clip_grad_norm_(theirs, clip)
        optimizer.param_groups[0]["lr"] = rate
        optimizer.step()
        flat.step(rate)
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-10, atol=1e-12)


def test_a_rate_may_be_a_tensor() -> None:
    ends = []
    for rate in (0.1, torch.tensor(0.1)):
        given = parameters()
        flat = FlatAdamW(given, Training())
        flat.gradient.fill_(1.0)
        flat.step(rate)
        ends.append(torch.cat([each.detach().flatten() for each in given]))
    torch.testing.assert_close(*ends, rtol=1e-6, atol=1e-6)


def test_what_it_holds_keeps_its_numbers_and_their_order_in_memory() -> None:
    before, held = parameters(), parameters()
    flat = FlatAdamW(held, Training())
    assert len({each.untyped_storage().data_ptr() for each in held}) == 1
    assert held[0].is_contiguous(memory_format=torch.channels_last)
    flat.release()
    for old, new in zip(before, held, strict=True):
        assert torch.equal(old, new)
        assert new.grad is None
        assert new.untyped_storage().nbytes() == 8 * new.numel()
    assert held[0].is_contiguous(memory_format=torch.channels_last)


def test_a_gradient_that_is_not_a_number_is_not_hidden() -> None:
    given = parameters()
    flat = FlatAdamW(given, Training(gradient_clip=1.0))
    flat.gradient.fill_(1.0)[3] = torch.nan
    flat.step(0.1)
    assert all(bool(each.isnan().all()) for each in given)
