"""The ladder of the ensemble: its soft margin, the order of its targets, and where its evaluations go."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from robaudit.attacks.base import Problem, StartingPool
from robaudit.attacks.requests import Answer, Gradient
from robaudit.attacks.whitebox.ensemble import Ensemble
from robaudit.attacks.whitebox.ladder import LADDER, Rung, soft_margin
from robaudit.threat.norms import Norm
from robaudit.threat.random import key_of

FREE = -torch.ones(3, dtype=torch.int64)
LABEL = torch.zeros(3, dtype=torch.int64)


def slope(logits: Tensor, target_class: Tensor = FREE) -> Tensor:
    """[N, K] direction of the soft margin's gradient."""
    z = logits.clone().requires_grad_()
    (found,) = torch.autograd.grad(soft_margin(z, LABEL, target_class).sum(), z)
    return found / found.abs().sum(1, keepdim=True).clamp_min(1e-30)


def test_the_soft_margin_weighs_rivals_whatever_the_scale_of_the_logits() -> None:
    logits = torch.tensor([[5.0, 4.9, 4.0, -3.0]]).double().repeat(3, 1)
    found = slope(logits)
    assert torch.allclose(slope(logits * 1000), found)
    assert torch.allclose(slope(logits / 1000 + 7), found)
    assert found[0, 0] == pytest.approx(-0.5)
    assert 0.3 < found[0, 1] < 0.5, "the nearest rival most"
    assert found[0, 2] > 0.02, "one further off a little"
    assert found[0, 3] < 1e-4, "one far off hardly"
    aimed = slope(logits, torch.full((3,), 2))
    assert aimed[0, 2] == pytest.approx(0.5), "towards the class aimed at"
    assert aimed[0, 0] < 0


def test_the_soft_margin_is_finite_where_all_logits_are_equal() -> None:
    assert bool(slope(torch.zeros(3, 4)).isfinite().all())
    assert bool(slope(torch.full((3, 2), 1e3)).isfinite().all())


def climb(logits: Callable[[Tensor], Tensor], attack: Ensemble, size: int = 4) -> list[tuple[int, int]]:
    """(loss, class aimed at) of each request for one slot at 0.5 with ε 0.05; the model's answers fool nobody."""
    x = torch.full((1, size), 0.5, dtype=torch.float64)
    none = torch.full((1,), -1)
    clean = logits(x)
    problem = Problem(
        x=x,
        label=none + 1,
        goal=none,
        target_class=none,
        eps=torch.full((1,), 0.05, dtype=torch.float64),
        restart=none + 1,
        keys=torch.tensor([key_of("ladder", 0)]),
        clean=clean,
        norm=Norm.LINF,
        classes=clean.shape[1],
        max_points=8,
        pool=StartingPool(x[:0], none[:0]),
    )
    state, asked = attack.init(problem), []
    while not bool(attack.done(problem, state).all()):
        request = attack.query(problem, state)
        assert isinstance(request, Gradient)
        assert isinstance(request.loss, tuple)
        assert request.choice is not None
        assert request.target_class is not None
        point = request.points.detach().requires_grad_()
        z = logits(point)
        loss = request.loss[int(request.choice)](z, problem.label, request.target_class)
        (gradient,) = torch.autograd.grad(loss.sum(), point)
        no = torch.zeros(1, dtype=torch.bool)
        asked.append((int(request.choice), int(request.target_class)))
        z, loss = z.detach(), loss.detach()
        answer = Answer(point.detach(), ~no, no, no, z.argmax(1), z, loss, gradient)
        state = attack.update(problem, state, answer)
        assert len(asked) < 5000
    return asked


def linear(weight: Tensor, bias: Tensor) -> Callable[[Tensor], Tensor]:
    """A linear model."""
    return lambda x: x @ weight.T + bias


@pytest.mark.parametrize(("steepness", "nearest"), [((0.1, 3.0), 2), ((3.0, 0.1), 1), ((1.0, 1.0), 1)])
def test_targets_come_by_the_linearised_distance_of_their_boundaries(
    steepness: tuple[float, float], nearest: int
) -> None:
    weight = torch.zeros(3, 6, dtype=torch.float64)
    weight[1, 1], weight[2, 2] = steepness
    centred = torch.tensor([0.0, -1.0, -1.6]).double()
    bias = centred - weight @ torch.full((6,), 0.5, dtype=torch.float64)  # the leads in the middle of the box
    attack = Ensemble(ladder=(Rung("margin", 2), Rung("targeted", 3), Rung("targeted", 3)))
    aims = [aim for _, aim in climb(linear(weight, bias), attack, 6) if aim >= 0]
    assert aims[:8] == [1] * 4 + [2] * 4, "no slope is known yet: the likeliest first"
    assert aims[8:] == [nearest] * 4 + [3 - nearest] * 4


def test_evaluations_go_where_the_margin_has_fallen() -> None:
    weight = torch.eye(3, 4, dtype=torch.float64)
    attack = Ensemble(ladder=(Rung("soft-margin", 4), Rung("soft-margin", 6, within=0.5), Rung("targeted", 5, 0.1)))
    far = climb(linear(weight, torch.tensor([9.0, 0.0, 0.0]).double()), attack)
    assert len(far) == 4 + 1
    nearer = climb(linear(weight, torch.tensor([0.15, 0.0, 0.0]).double()), attack)
    assert len(nearer) == 4 + 1 + 6 + 1
    nearest = climb(linear(weight, torch.tensor([0.105, 0.0, 0.0]).double()), attack)
    assert len(nearest) == 4 + 1 + 6 + 1 + 2 * (5 + 1)


def test_classes_that_are_still_far_are_not_aimed_at() -> None:
    weight, bias = torch.eye(4, 4, dtype=torch.float64), torch.tensor([0.15, 0.0, -0.2, -5.0]).double()
    first = Rung("soft-margin", 4)

    def aims(*rungs: Rung) -> list[int]:
        return [aim for _, aim in climb(linear(weight, bias), Ensemble(ladder=(first, *rungs))) if aim >= 0]

    assert aims(Rung("targeted", 3)) == [1] * 4 + [2] * 4 + [3] * 4
    # from a lead of 0.15 the search has come within 0.05 of class 1, 0.25 of class 2 and 5.05 of class 3
    assert aims(Rung("targeted", 3, each=0.5)) == [1] * 4
    assert aims(Rung("targeted", 3, each=2.5)) == [1] * 4 + [2] * 4
    assert aims(Rung("targeted", 3, each=0.1)) == []
    # a class is judged by itself in the order that the later rung takes
    assert aims(Rung("targeted", 1), Rung("targeted", 2, each=2.5)) == [1, 1, 2, 2, 3, 3] + [1] * 3 + [2] * 3


def rugged(x: Tensor) -> Tensor:
    """The label leads by 1.05 less the height of waves so short that a search ends on the one where it began."""
    height = (3000 * x[:, 0]).sin()
    return torch.stack([1.05 - height, torch.zeros_like(height)], 1)


def test_starts_are_drawn_again_where_the_start_decides() -> None:
    first, again = Rung("margin", 1), Rung("margin", 1, times=5, chance=1.0)
    smooth = linear(torch.eye(2, 4, dtype=torch.float64), torch.tensor([0.3, 0.0]).double())
    assert len(climb(smooth, Ensemble(ladder=(first, first, first, again)))) == 3 * 2
    assert len(climb(rugged, Ensemble(ladder=(first, first, first, again)))) == (3 + 5) * 2
    hopeless = Rung("margin", 1, times=5, chance=0.01)
    assert len(climb(rugged, Ensemble(ladder=(first, first, first, hopeless)))) == 3 * 2


def test_the_ladder_begins_with_what_is_cheap() -> None:
    assert LADDER[0].within == 1
    assert LADDER[0].loss != "targeted"
    assert LADDER[0].steps == min(rung.steps * (9 if rung.loss == "targeted" else 1) for rung in LADDER)
    shares = [rung.within for rung in LADDER if rung.chance is None]
    assert shares == sorted(shares, reverse=True), "the more expensive a rung, the nearer a sample must be"


@pytest.mark.parametrize("surface", [False, True])
@pytest.mark.parametrize("norm", [Norm.LINF, Norm.L2, Norm.L1])
def test_a_wide_search_comes_back_to_the_ball_and_counts_only_there(norm: Norm, surface: bool) -> None:
    x = torch.full((2, 6), 0.5, dtype=torch.float64)
    none, eps = torch.full((2,), -1), torch.tensor([0.02, 0.05], dtype=torch.float64)
    slopes = torch.randn(3, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    problem = Problem(
        x=x,
        label=none + 1,
        goal=none,
        target_class=none,
        eps=eps,
        restart=none + 1,
        keys=torch.tensor([key_of("wide", 0), key_of("wide", 1)]),
        clean=x @ slopes.T,
        norm=norm,
        classes=3,
        max_points=8,
        pool=StartingPool(x[:0], none[:0]),
    )
    attack = Ensemble(ladder=(Rung("soft-margin", 20, wide=4), Rung("soft-margin", 20)), surface=surface)
    state, sizes, counted = attack.init(problem), [], []
    no = torch.zeros(2, dtype=torch.bool)
    while not bool(attack.done(problem, state).all()):
        request = attack.query(problem, state)
        assert request.candidates is not None
        moved = (request.points - x).abs()
        size = {Norm.LINF: moved.amax(1), Norm.L2: moved.pow(2).sum(1).sqrt(), Norm.L1: moved.sum(1)}[norm]
        sizes.append(size / eps)
        counted.append(request.candidates)
        gradient = slopes[1:2].expand(2, 6)
        answer = Answer(request.points, ~no, no, no, none + 1, request.points @ slopes.T, eps, gradient)
        state = attack.update(problem, state, answer)
    far, inside = torch.stack(sizes), torch.stack(counted)
    assert far[:21].amax() > 2, "it goes out"
    assert far.amax() <= 4 + 1e-9
    assert bool((far[inside] <= 1 + 1e-9).all())
    assert bool(inside[9:21].all()), "and is back for most of its steps"
    assert bool(inside[21:].all())
    assert not bool(inside[1:8].any())
    assert bool(inside[0].all()) != surface
    assert float(far[0].min()) == pytest.approx(4 if surface else 0), "on the surface, or at the sample"
    if surface:
        assert float(far[21].min()) == pytest.approx(1), "and that of the ball itself where a search is not wide"
