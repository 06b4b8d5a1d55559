"""Proximal operators minimise what they say they do."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from robaudit.threat.norms import Norm, distance
from robaudit.threat.proximal import proximal, proximal_two_thirds


def cost(name: str, z: torch.Tensor, v: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    size = z.abs().pow(2 / 3).sum(1) if name == "2/3" else distance(Norm(name), z)
    return (z - v).square().sum(1) / 2 + weight * size


def operator(name: str, v: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return proximal_two_thirds(v, weight) if name == "2/3" else proximal(Norm(name), v, weight)


@pytest.mark.parametrize("name", [*Norm, "2/3"])
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10_000), scale=st.floats(0.01, 3.0))
def test_no_other_point_is_cheaper(name: str, seed: int, scale: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    v = torch.randn(4, 6, generator=generator, dtype=torch.float64)
    weight = scale * torch.rand(4, generator=generator, dtype=torch.float64)
    best = operator(name, v, weight)
    least = cost(name, best, v, weight)
    grid = torch.linspace(0, 1.2, 41, dtype=torch.float64)
    for other in (best + 1e-3 * torch.randn(50, 4, 6, generator=generator, dtype=torch.float64)).unbind():
        assert bool((cost(name, other, v, weight) >= least - 1e-12).all())
    for factor in grid:  # far away, where a quasi-norm has its other minima
        assert bool((cost(name, factor * v, v, weight) >= least - 1e-12).all())
        for feature in range(6):
            other = best.clone()
            other[:, feature] = factor * v[:, feature]
            assert bool((cost(name, other, v, weight) >= least - 1e-12).all())


@pytest.mark.parametrize("name", [*Norm, "2/3"])
def test_nothing_moves_at_weight_zero_and_all_goes_at_a_large_one(name: str) -> None:
    v = torch.randn(3, 2, 5, dtype=torch.float32)
    v[1] = 0
    assert torch.allclose(operator(name, v, torch.zeros(3)), v, atol=1e-6)
    assert not operator(name, v, torch.full((3,), 100.0)).any()
    assert operator(name, v, torch.ones(3)).dtype == torch.float32
