from __future__ import annotations

import numpy as np
import pytest
import torch

from robaudit.attacks.whitebox.daa import _blob, _flow


def reference(method: str, points: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    """The two rules, written out pair by pair."""
    count = len(points)
    squares = np.array([[((a - b) ** 2).sum() for b in points] for a in points])
    width = np.median(squares) / np.log(count if method == "blob" else count + 1)
    found = np.zeros_like(points)
    for i in range(count):
        for j in range(count):
            share = squares[i, j] / width
            kernel = np.exp(-share)
            away = points[i] - points[j]
            if method == "blob":
                found[i] += (kernel * gradient[j] - kernel * away / (width / 2)) / count
            else:
                found[i] += (1 - share) * kernel * away
    return found


@pytest.mark.parametrize(("method", "rule"), [("blob", _blob), ("dgf", _flow)])
@pytest.mark.parametrize("count", [2, 5, 8])
def test_both_particle_methods_are_as_written(method: str, rule, count: int) -> None:
    generator = np.random.default_rng(count)
    points, gradient = generator.random((count, 6)), generator.normal(size=(count, 6))
    found = rule(torch.from_numpy(points), torch.from_numpy(gradient)).numpy()
    assert np.allclose(found, reference(method, points, gradient))


@pytest.mark.parametrize("rule", [_blob, _flow])
def test_one_member_and_equal_members_are_no_trouble(rule) -> None:
    for points in (torch.rand(1, 5), torch.rand(1, 5).repeat(3, 1)):
        gradient = torch.randn(1, 5).repeat(len(points), 1)
        found = rule(points, gradient)
        assert bool(found.isfinite().all())
        expected = gradient if rule is _blob else torch.zeros_like(gradient)  # they do not push each other
        assert torch.allclose(found, expected, atol=1e-4)
