"""The largest of each window, beside torch's own function."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from robaudit.target.running.pools import max_pool2d

WINDOWS = [
    ([2, 2], [2, 2], [0, 0], [1, 1], False),
    ([3, 3], [2, 2], [1, 1], [1, 1], False),
    ([3, 2], [1, 2], [0, 1], [2, 1], True),
]


def answers(pool, x: Tensor, how) -> tuple[Tensor, Tensor]:
    leaf = x.clone().requires_grad_()
    value = pool(leaf, *how)
    weights = torch.arange(value.numel(), dtype=x.dtype).reshape(value.shape)
    return value.detach(), torch.autograd.grad((value * weights).sum(), leaf)[0]


@pytest.mark.parametrize("how", WINDOWS)
@pytest.mark.parametrize("channels", [1, 9])
@pytest.mark.parametrize("kind", ["ties", "holes", "double", "no rows", "channels last"])
def test_value_and_gradient_are_torchs_own(how, channels: int, kind: str) -> None:
    x = torch.randn(0 if kind == "no rows" else 3, channels, 11, 12, generator=torch.Generator().manual_seed(1))
    if kind == "ties":
        x = x.relu().round()
    elif kind == "holes":
        x[0, 0, 1, 1], x[1, 0, 2, 3], x[2, 0] = torch.nan, torch.inf, -torch.inf
    elif kind == "double":
        x = x.double()
    elif kind == "channels last":
        x = x.to(memory_format=torch.channels_last)
    for found, expected in zip(answers(max_pool2d, x, how), answers(torch.max_pool2d, x, how), strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)
    with torch.no_grad():
        assert torch.equal(max_pool2d(x.nan_to_num(), *how), torch.max_pool2d(x.nan_to_num(), *how))


def test_transforms_of_functions_and_tracers_see_torchs_own() -> None:
    x = torch.randn(4, 9, 6, 6)
    mapped = torch.func.vmap(lambda one: max_pool2d(one[None], *WINDOWS[0])[0])(x)
    assert torch.equal(mapped, torch.max_pool2d(x, *WINDOWS[0]))
    with pytest.warns(DeprecationWarning, match="trace"):
        traced = torch.jit.trace(lambda image: max_pool2d(image, *WINDOWS[1]), x)
    for found, expected in zip(
        answers(lambda image, *_: traced(image), x, WINDOWS[1]), answers(torch.max_pool2d, x, WINDOWS[1]), strict=True
    ):
        assert torch.equal(found, expected)
