"""Probes around a point, which are made in parts: the same as all at once."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from robaudit.attacks.base import Problem, StartingPool
from robaudit.attacks.decision import probes
from robaudit.attacks.decision.probes import added_up, in_parts, on_spheres
from robaudit.threat.norms import Norm


def problem(slots: int, shape: tuple[int, ...], fixed: bool = False) -> Problem:
    x = torch.rand(slots, *shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    count = torch.zeros(slots, dtype=torch.int64)
    still = torch.rand(x.shape, generator=torch.Generator().manual_seed(1)) < 0.3 if fixed else None
    keys = torch.arange(slots) * 7919 + 3
    eps = torch.full((slots,), 0.1, dtype=torch.float64)
    pool = StartingPool(x[:0], count[:0])
    return Problem(x, count, count - 1, count, eps, count, keys, x[:, :0].flatten(1), Norm.L2, 3, 64, pool, still)


@pytest.mark.parametrize("uniform", [False, True])
@pytest.mark.parametrize("share", [1.0, 0.4])
@pytest.mark.parametrize("shape", [(5,), (3, 7, 5), (1, 8, 8)])
@pytest.mark.parametrize("fixed", [False, True])
def test_parts_are_the_whole(
    monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...], share: float, uniform: bool, fixed: bool
) -> None:
    slots = problem(3, shape, fixed)
    step = torch.tensor([0, 4, 4])
    part = on_spheres(slots, "probe", step, share, uniform=uniform)
    whole = part(slice(None), 0, 11)
    torch.testing.assert_close(whole.flatten(2).norm(dim=2), torch.ones(3, 11, dtype=torch.float64))
    assert len({float(v) for v in whole.flatten(2)[..., -1].flatten()}) == 33 or fixed
    if slots.fixed is not None:
        assert not whole[slots.fixed[:, None].expand_as(whole)].any()
    for features in (1, 300, 10**6):
        monkeypatch.setattr(probes, "FEATURES", features)

        def around(some: slice, first: int, count: int) -> Tensor:
            return part(some, first, count).mul_(0.2).add_(slots.x[some, None])

        wanted = torch.tensor([11, 3, 0])
        made = in_parts(slots, wanted, around)
        expected = slots.clip(slots.x[:, None] + 0.2 * whole)
        assert made.shape == expected.shape
        for slot, count in enumerate(wanted.tolist()):
            torch.testing.assert_close(made[slot, :count], expected[slot, :count])


def test_sums_leave_out_what_has_no_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(2)
    points = torch.rand(4, 9, 2, 3, generator=generator, dtype=torch.float64)
    centre = torch.rand(4, 2, 3, generator=generator, dtype=torch.float64)
    weights = (torch.rand(4, 2, 9, generator=generator) < 0.5).double()
    weights[1, :, 5:], weights[3] = 0.0, 0.0
    expected = torch.einsum("swp,spab->swab", weights, points - centre[:, None])
    points[1, 5:], points[3] = torch.nan, torch.nan
    for features in (1, 20, 10**6):
        monkeypatch.setattr(probes, "FEATURES", features)
        torch.testing.assert_close(added_up(points, centre, weights), expected)
