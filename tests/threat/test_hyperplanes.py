from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import linprog

from robaudit.threat.hyperplanes import dual_size, nearest_on_hyperplane
from robaudit.threat.norms import Norm, distance

NORMS = [Norm.LINF, Norm.L2, Norm.L1]


def random_case(seed: int, count: int = 40, size: int = 30, dtype: torch.dtype = torch.float64):
    generator = torch.Generator().manual_seed(seed)
    point = torch.rand(count, 3, size // 3, generator=generator, dtype=dtype)
    point = torch.where(torch.rand(point.shape, generator=generator, dtype=dtype) < 0.2, point.round(), point)
    slope = torch.randn(count, 3, size // 3, generator=generator, dtype=dtype)
    slope = torch.where(torch.rand(slope.shape, generator=generator, dtype=dtype) < 0.1, 0.0, slope)
    value = torch.randn(count, generator=generator, dtype=dtype) * 8
    return point, slope, value


def least(norm: Norm, point: np.ndarray, slope: np.ndarray, value: float) -> float | None:
    """The distance by linear programming, or None where the box does not meet the hyperplane."""
    d = len(point)
    low, high = -point, 1 - point
    if norm is Norm.L1:
        cost = np.ones(2 * d)
        bounds = [(0, h) for h in high] + [(0, -lo) for lo in low]
        found = linprog(cost, A_eq=np.concatenate([slope, -slope])[None], b_eq=[-value], bounds=bounds)
    else:
        eye = np.eye(d)
        found = linprog(
            np.r_[np.zeros(d), 1],
            A_ub=np.block([[eye, -np.ones((d, 1))], [-eye, -np.ones((d, 1))]]),
            b_ub=np.zeros(2 * d),
            A_eq=np.r_[slope, 0][None],
            b_eq=[-value],
            bounds=[*zip(low, high, strict=True), (0, 1)],
        )
    return float(found.fun) if found.status == 0 else None


@pytest.mark.parametrize("norm", [Norm.LINF, Norm.L1])
def test_agrees_with_linear_programming(norm: Norm) -> None:
    point, slope, value = random_case(0)
    found = nearest_on_hyperplane(norm, point, slope, value)
    sizes = distance(norm, found - point)
    left = value + ((found - point) * slope).flatten(1).sum(1)
    solved = 0
    for i in range(len(point)):
        best = least(norm, point[i].flatten().numpy(), slope[i].flatten().numpy(), float(value[i]))
        if best is not None:
            solved += 1
            assert abs(float(left[i])) < 1e-9
            assert float(sizes[i]) == pytest.approx(best, abs=1e-7)
        else:
            assert float(left[i]) * float(value[i]) > 0
    assert 10 < solved < 40


def test_l2_meets_the_conditions_of_optimality() -> None:
    """min |δ|² on a plane within a box: δ = clip(λ w), for one λ a sample."""
    point, slope, value = random_case(1)
    value = value / 4
    found = nearest_on_hyperplane(Norm.L2, point, slope, value)
    delta, w = (found - point).flatten(1), slope.flatten(1)
    met = (value + (delta * w).sum(1)).abs() < 1e-9
    assert int(met.sum()) > 20
    for i in met.nonzero()[:, 0].tolist():
        free = (found[i].flatten() > 1e-12) & (found[i].flatten() < 1 - 1e-12) & (w[i] != 0)
        ratios = delta[i][free] / w[i][free]
        assert float(ratios.max() - ratios.min()) < 1e-9
        held = ~free & (w[i] != 0)  # at the side, where the free step would have gone past it
        assert bool(((ratios[0] * w[i][held]).abs() >= delta[i][held].abs() - 1e-9).all())


@pytest.mark.parametrize("norm", NORMS)
def test_far_from_the_box_it_is_the_dual_distance(norm: Norm) -> None:
    point, slope = torch.full((5, 7), 0.5), torch.randn(5, 7, generator=torch.Generator().manual_seed(2))
    value = torch.tensor([0.01, -0.02, 0.0, 0.03, -0.001])
    found = nearest_on_hyperplane(norm, point, slope, value)
    expected = value.abs() / dual_size(norm, slope)
    torch.testing.assert_close(distance(norm, found - point), expected, atol=2e-7, rtol=1e-4)


@pytest.mark.parametrize("norm", NORMS)
def test_no_slope_no_move_and_fixed_features_stay(norm: Norm) -> None:
    point, slope, value = random_case(3, 6)
    slope[0] = 0
    fixed = torch.zeros_like(point, dtype=torch.bool)
    fixed[:, 0] = True
    found = nearest_on_hyperplane(norm, point, slope, value, fixed)
    assert bool(found.isfinite().all())
    assert torch.equal(found[0], point[0])
    assert torch.equal(found[:, 0], point[:, 0])
    assert float(found.min()) >= 0
    assert float(found.max()) <= 1


@pytest.mark.parametrize("norm", NORMS)
def test_a_slot_does_not_see_the_others(norm: Norm) -> None:
    point, slope, value = random_case(4, 9, dtype=torch.float32)
    together = nearest_on_hyperplane(norm, point, slope, value)
    alone = [nearest_on_hyperplane(norm, point[i : i + 1], slope[i : i + 1], value[i : i + 1]) for i in range(9)]
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-6, rtol=0)


@pytest.mark.parametrize("norm", NORMS)
def test_many_features_in_single_precision(norm: Norm) -> None:
    point, slope, _ = random_case(5, 4, 30000, torch.float32)
    value = torch.tensor([100.0, -900.0, 3.0, 5000.0])
    found = nearest_on_hyperplane(norm, point, slope, value)
    left = value.double() + ((found.double() - point.double()) * slope.double()).flatten(1).sum(1)
    assert float((left.abs() / value.double().abs()).max()) < 1e-4
