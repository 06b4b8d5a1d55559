"""Random points of each norm's ball, and steepest steps within ball and box."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import problem

from robaudit.attacks.starts import random_start
from robaudit.attacks.steps import farthest_step, momentum_step, steepest_step, stepped
from robaudit.threat.model import ThreatModel
from robaudit.threat.norms import Norm, distance
from robaudit.threat.sets.features import FixedFeatures

RADII = {Norm.LINF: 0.1, Norm.L2: 0.4, Norm.L1: 0.9, Norm.L0: 3.0}


@pytest.mark.parametrize("norm", list(Norm))
@pytest.mark.parametrize("boundary", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("fixed", [(), (0, 5, 23)])
def test_starts_are_admissible_and_keyed(
    norm: Norm, boundary: bool, dtype: torch.dtype, fixed: tuple[int, ...]
) -> None:
    slots = problem(norm, RADII[norm], fixed=fixed, dtype=dtype)
    point = random_start(slots, boundary=boundary)
    assert point.dtype == dtype
    inside, size = ThreatModel(norm, RADII[norm], sets=(FixedFeatures(fixed),)).admissible(slots.x, point)
    assert bool(inside.all())
    assert bool((size > 0).all())
    assert torch.equal(random_start(slots.take(torch.tensor([7, 3])), boundary=boundary), point[[7, 3]])
    assert not torch.equal(random_start(slots, boundary=boundary, number=1), point)


@pytest.mark.parametrize("fixed", [(), (0, 1, 2, 3, 4, 5)])
def test_starts_at_the_surface_lie_there(fixed: tuple[int, ...]) -> None:
    for norm, eps in RADII.items():
        slots = problem(norm, eps, fixed=fixed, middle=True)
        size = distance(norm, random_start(slots, boundary=True) - slots.x)
        reached = size.median() if norm is Norm.LINF else size.min()  # noise is scaled before the box and the mask
        assert float(reached) == pytest.approx(eps, rel=1e-3), norm


@pytest.mark.parametrize("norm", [Norm.L2, Norm.L1])
@pytest.mark.parametrize(("size", "fixed"), [(2, ()), (6, ()), (6, (1, 4, 5))])
def test_starts_are_uniform_in_the_ball(norm: Norm, size: int, fixed: tuple[int, ...]) -> None:
    """Of d features the mean length is d / (d + 1) ε, the share within t ε is t^d, and each takes an equal part."""
    slots = problem(norm, 0.3, count=20_000, shape=(size,), middle=True, fixed=fixed)
    delta = random_start(slots) - slots.x
    length = distance(norm, delta) / 0.3
    free = size - len(fixed)
    assert float(length.mean()) == pytest.approx(free / (free + 1), abs=0.01)
    assert float((length < 0.8).double().mean()) == pytest.approx(0.8**free, abs=0.015)
    part = delta.abs().mean(0)[[i for i in range(size) if i not in fixed]]
    assert float(part.max() / part.min()) < 1.06
    assert delta.mean(0).abs().max() < 0.005


def test_starts_in_l0_change_as_many_features_as_may() -> None:
    slots = problem(Norm.L0, 3.0, fixed=(0, 1), count=2000)
    changed = random_start(slots) != slots.x
    assert set(changed.flatten(1).sum(1).tolist()) == {3}
    share = changed.flatten(1).double().mean(0)
    assert share[:2].tolist() == [0, 0]
    assert float((share[2:] - 3 / 22).abs().max()) < 0.04


def best_corner(gradient: torch.Tensor, x: torch.Tensor, eps: float) -> float:
    """Largest gain of a linear loss in the L1 ball within the box, by linear programming in one dimension."""
    room = torch.where(gradient > 0, 1 - x, x)
    gain, left = 0.0, eps
    for i in gradient.abs().argsort(descending=True).tolist():
        moved = min(left, float(room[i]))
        gain, left = gain + moved * float(gradient[i].abs()), left - moved
    return gain


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), eps=st.floats(0.05, 6.0))
def test_the_l1_step_gains_the_most_that_ball_and_box_allow(seed: int, eps: float) -> None:
    slots = problem(Norm.L1, eps, count=3)
    gradient = torch.randn(slots.x.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    point = farthest_step(slots, gradient)
    assert bool(ThreatModel(Norm.L1, eps).admissible(slots.x, point)[0].all())
    gain = ((point - slots.x) * gradient).flatten(1).sum(1)
    for row in range(3):
        assert float(gain[row]) == pytest.approx(best_corner(gradient[row].flatten(), slots.x[row].flatten(), eps))


@pytest.mark.parametrize("norm", [Norm.LINF, Norm.L2, Norm.L1])
def test_steps_have_unit_length_and_a_zero_gradient_gives_none(norm: Norm) -> None:
    slots = problem(norm, RADII[norm], count=4)
    gradient = torch.randn(slots.x.shape, dtype=torch.float64)
    gradient[1] = 0
    size = distance(norm, steepest_step(slots, gradient, slots.x))
    assert size.tolist() == pytest.approx([1, 0, 1, 1])
    assert torch.equal(farthest_step(slots, gradient)[1], slots.x[1])


def test_l1_steps_share_among_the_steepest_that_can_move() -> None:
    slots = problem(Norm.L1, 1.0, count=1, shape=(10,))
    point = torch.full((1, 10), 0.5, dtype=torch.float64)
    point[0, 0], point[0, 1] = 1.0, 0.0
    gradient = torch.tensor([[9.0, -8.0, 7.0, -6.0, 5.0, 4.0, 3.0, 2.0, 1.0, 0.0]], dtype=torch.float64)
    step = steepest_step(slots, gradient, point, share=0.3)
    assert step.tolist() == [[0, 0, 1 / 3, -1 / 3, 1 / 3, 0, 0, 0, 0, 0]]
    assert steepest_step(slots, gradient, point).tolist() == [[0, 0, 1, 0, 0, 0, 0, 0, 0, 0]]


def test_l1_steps_are_as_sparse_as_the_point() -> None:
    slots = problem(Norm.L1, 1.0, count=2, shape=(10,))
    point = slots.x.clone()
    point[0, :6] += 0.01 * torch.where(slots.x[0, :6] > 0.5, -1, 1)
    gradient = torch.arange(1, 11, dtype=torch.float64).expand(2, 10)
    step = steepest_step(slots, gradient, point, share=0.1, changed=0.5)
    assert (step > 0).sum(1).tolist() == [3, 1], "half of the six that changed; one where none has"
    assert step.sum(1).tolist() == pytest.approx([1, 1])
    assert bool((step[0, 7:] > 0).all()), "the steepest"


@pytest.mark.parametrize("norm", [Norm.LINF, Norm.L2, Norm.L1])
def test_steps_use_no_memory_but_their_own(norm: Norm) -> None:
    slots = problem(norm, 0.1)
    gradient, point, old = torch.randn_like(slots.x), slots.x, slots.project(slots.x + 0.01)
    length, later = slots.eps / 2, torch.arange(len(slots)) < 0
    held = (gradient, point, old, slots.x, length)
    before = [tensor.clone() for tensor in held]
    stepped(slots, point, steepest_step(slots, gradient, point), length)
    for first in (later, ~later):
        momentum_step(slots, point, old, steepest_step(slots, gradient, point), length, first)
    assert all(map(torch.equal, held, before))


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_a_slot_moves_alike_whether_another_makes_its_first_step(share: float) -> None:
    slots = problem(Norm.LINF, 0.1)
    point, old = slots.project(slots.x + 0.02), slots.project(slots.x - 0.03)
    gradient, none = torch.randn_like(slots.x), torch.zeros(len(slots), dtype=torch.bool)
    first = torch.arange(len(slots)) < share * len(slots)

    def moved(first: torch.Tensor) -> torch.Tensor:
        return momentum_step(slots, point, old, steepest_step(slots, gradient, point), slots.eps, first)

    z = slots.project(point + slots.eps[:, None, None, None] * gradient.sign())
    expected = slots.project(torch.where(first[:, None, None, None], z, 0.75 * z + 0.5 * point - 0.25 * old))
    assert torch.equal(moved(first)[~first], moved(none)[~first])
    assert float((moved(first) - expected).abs().max()) < 1e-6
