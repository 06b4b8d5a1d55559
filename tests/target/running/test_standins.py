"""The widths of smooth functions, and the gradient of a maximum that is shared."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from robaudit.target.running.pools import max_pool2d
from robaudit.target.running.standins import pooled, ramp, spread


@pytest.mark.parametrize("mean", [0.0, 1.0, 100.0, 1e6])
@pytest.mark.parametrize("shape", [(3, 50), (3, 4, 5, 6)])
def test_the_width_is_a_share_of_the_deviation_however_far_off_the_mean_is(mean: float, shape: tuple[int, ...]) -> None:
    x = (torch.randn(*shape, generator=torch.Generator().manual_seed(0)) + mean).float()
    exact = x.double().flatten(1).std(1, correction=0)
    torch.testing.assert_close(
        spread(x, 0.3).flatten().double(), 0.3 * exact, rtol=2e-3 if mean > 100 else 1e-5, atol=0
    )


def test_the_width_of_a_sample_is_its_own() -> None:
    x = torch.randn(4, 7, generator=torch.Generator().manual_seed(1))
    beside = torch.stack([x[0], x[1] + 1e6, torch.full((7,), 0.25), torch.tensor([float("inf"), *[0.0] * 6])])
    assert torch.equal(spread(beside, 0.2)[:1], spread(x, 0.2)[:1])
    assert (spread(beside, 0.2)[2:] == 1e-12).all()  # nothing varies; no number


def test_what_is_far_off_and_what_is_on_have_the_slopes_of_a_relu() -> None:
    x = torch.tensor([[-1.0, 1.0, 0.0, 0.5]], requires_grad=True)
    s = spread(x.detach(), 0.1)
    (slope,) = torch.autograd.grad(ramp(x.relu(), x, 0.1).sum(), x)
    torch.testing.assert_close(slope, torch.sigmoid(x.detach() / s))


@pytest.mark.parametrize(("kernel", "stride", "padding"), [((2, 2), (2, 2), (0, 0)), ((3, 2), (2, 1), (1, 0))])
@pytest.mark.parametrize("channels", [2, 9])
def test_a_shared_maximum_has_the_gradient_of_the_mixture(
    kernel: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int], channels: int
) -> None:
    generator = torch.Generator().manual_seed(2)
    x = torch.randint(0, 3, (2, channels, 8, 6), generator=generator).double().requires_grad_()  # many are equal
    for pool in (max_pool2d, torch.max_pool2d):
        value = pool(x, kernel, stride, padding, (1, 1), False)  # type: ignore[operator]
        weights = torch.randn(value.shape, generator=generator, dtype=torch.float64)
        found = pooled(value, x, 0.3, [*kernel], [*stride], [*padding], False)
        assert torch.equal(found, value)
        mixture = 0.7 * torch.max_pool2d(x, kernel, stride, padding) + 0.3 * F.avg_pool2d(
            x, kernel, stride, padding, False, False
        )
        expected = torch.autograd.grad((mixture * weights).sum(), x)[0]
        for again in (True, False):  # the graph is kept, and is what it was
            (got,) = torch.autograd.grad((found * weights).sum(), x, retain_graph=again)
            torch.testing.assert_close(got, expected)
