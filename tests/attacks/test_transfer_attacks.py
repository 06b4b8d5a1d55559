"""Attacks on surrogates beside the loops of their papers, alone and with transforms."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from attack_cases import CASES
from models import FakeFile, attack_all, boundary_model, closed_form, network, samples_for
from problems import problem_of
from torch import Tensor

from robaudit.attacks.base import Problem
from robaudit.attacks.cost import Cost, Task
from robaudit.attacks.registry import make_composed
from robaudit.engine.evaluator import Evaluator
from robaudit.engine.oracle import Oracle
from robaudit.engine.rows import Account
from robaudit.threat.losses import log_odds
from robaudit.threat.model import Access, ThreatModel
from robaudit.threat.norms import Norm

SHAPE, CLASSES, COUNT, EPS = (2, 5, 4), 4, 3, 0.08
SIZE = 40
NAMES = ["mi", "ni", "vmi", "vni", "mef"]


def slots(target: FakeFile, norm: Norm, max_points: int = 64) -> Problem:
    """Three samples, one near a corner of the box."""
    problem = problem_of(target, COUNT)
    x = problem.x.clone()
    x[1] = x[1] * 0.05
    eps = torch.tensor([EPS, EPS, EPS / 2], dtype=torch.float64) * (1 if norm is Norm.LINF else 4)
    return dataclasses.replace(problem, x=x, norm=norm, eps=eps, max_points=max_points, low=None, high=None)


def walk(name: str, parameters: dict[str, Any], problem: Problem, target: FakeFile) -> tuple[Tensor, Account]:
    """The last points [S, *shape], and what the surrogate was asked."""
    attack, how = make_composed(name, parameters)
    evaluator = Evaluator(Oracle(target, {"itself": target}), 7)
    state, account = attack.init(problem), Account.empty(len(problem), torch.device("cpu"))
    while not bool(attack.done(problem, state).all()):
        request = attack.query(problem, state)
        request = dataclasses.replace(request, how=request.how.then(how))
        state = attack.update(problem, state, evaluator.answer(request, problem, Access.TRANSFER, account, None))
    return attack.best(problem, state)[0], account


class Loop:
    """One sample [1, *shape] and the model, as the papers write it."""

    def __init__(self, target: FakeFile, problem: Problem, slot: int) -> None:
        self.target, self.x, self.label = target, problem.x[slot : slot + 1], problem.label[slot : slot + 1]
        self.eps, self.linf = float(problem.eps[slot]), problem.norm is Norm.LINF
        self.draws = dataclasses.replace(problem.draws, keys=problem.keys[slot : slot + 1])

    def slope(self, point: Tensor) -> Tensor:
        point = point.clamp(0, 1).detach().requires_grad_()
        value = log_odds(self.target.module(point), self.label, torch.full_like(self.label, -1))
        return torch.autograd.grad(value.sum(), point)[0]

    def step(self, point: Tensor, direction: Tensor, length: float) -> Tensor:
        if self.linf:
            return (point + length * direction.sign()).clamp(self.x - self.eps, self.x + self.eps).clamp(0, 1)
        change = point + length * direction / direction.norm() - self.x
        return (self.x + change * min(1.0, self.eps / float(change.norm()))).clamp(0, 1)

    def near(self, number: int, radius: float) -> Tensor:
        if self.linf:
            return (self.draws.uniform("around", number, SHAPE).double() * 2 - 1) * radius
        direction = self.draws.normal("around", number, SHAPE).double()
        share = float(self.draws.uniform("distance", number, (1,))) ** (1 / SIZE)
        return direction / direction.norm() * share * radius

    def spread(self, gradient: Tensor) -> Tensor:
        """Of a mean absolute value of 1 in L-infinity; in L2 as long as one of equal entries and of length 1."""
        return gradient / gradient.abs().mean() / (1 if self.linf else SIZE**0.5)


def by_hand(loop: Loop, ahead: bool, neighbours: int, steps: int) -> Tensor:
    """MI, NI and, with neighbours, VMI and VNI; the authors' step and decay."""
    point, momentum, variance, length = loop.x, torch.zeros_like(loop.x), torch.zeros_like(loop.x), loop.eps / steps
    for step in range(steps):
        middle = (point + (length * momentum if ahead else 0)).clamp(0, 1)
        gradient = loop.slope(middle)
        momentum = momentum + loop.spread(gradient + variance)
        if neighbours:
            numbers = [step * (neighbours + 1) + 1 + i for i in range(neighbours)]
            around = [loop.slope(middle + loop.near(number, 1.5 * loop.eps)) for number in numbers]
            variance = torch.stack(around).mean(0) - gradient
        point = loop.step(point, momentum, length)
    return point


def mef_by_hand(loop: Loop, neighbours: int, steps: int) -> Tensor:
    point, momentum = loop.x, torch.zeros_like(loop.x)
    recalled = [torch.zeros_like(point) for _ in range(neighbours)]
    for step in range(steps):
        total = torch.zeros_like(point)
        for i in range(neighbours):
            shift = loop.near(step * neighbours + i, 2 * loop.eps) + 0.15 * loop.eps * recalled[i]
            gradient = loop.slope(point + shift)
            recalled[i] = loop.spread(gradient) - 0.9 * recalled[i]
            total = total + gradient
        momentum = 0.5 * momentum + loop.spread(total)
        point = loop.step(point, momentum, 0.1 * loop.eps)
    return point


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("norm", [Norm.LINF, Norm.L2])
@pytest.mark.parametrize("max_points", [1, 3, 64])
def test_the_steps_are_those_of_the_paper(name: str, norm: Norm, max_points: int) -> None:
    target = network(SHAPE, CLASSES)
    problem, steps, neighbours = slots(target, norm, max_points), 6, 4
    parameters = {"steps": steps} | ({"neighbours": neighbours} if name in ("vmi", "vni", "mef") else {})
    found, _ = walk(name, parameters, problem, target)
    for slot in range(COUNT):
        loop = Loop(target, problem, slot)
        if name == "mef":
            expected = mef_by_hand(loop, neighbours, steps)
        else:
            expected = by_hand(loop, name in ("ni", "vni"), neighbours if name[0] == "v" else 0, steps)
        torch.testing.assert_close(found[slot], expected[0], rtol=0, atol=1e-9)


@pytest.mark.parametrize("transforms", ["", "+di+ti", "+si", "+admix", "+si+sia", "+bsr"])
@pytest.mark.parametrize("name", NAMES)
def test_each_takes_the_gradients_that_it_declares_and_shows_one_candidate(name: str, transforms: str) -> None:
    target = network(SHAPE, CLASSES)
    small = {"sia": {"copies": 3}, "bsr": {"copies": 4}, "admix": {"images": 2, "scales": 3}}
    parameters = CASES[make_composed(name, {})[0].id].parameters | {
        one: small[one] for one in transforms.split("+") if one in small
    }
    attack, how = make_composed(name + transforms, parameters)
    copies = {"": 1, "+di+ti": 1, "+si": 5, "+admix": 6, "+si+sia": 15, "+bsr": 4}[transforms]
    assert how.gradients == copies
    most = attack.most(Task(Norm.LINF, EPS, CLASSES, SIZE))
    assert most is not None
    found = attack_all(target, attack, ThreatModel(Norm.LINF, EPS), samples_for(target, 6), surrogates=target, how=how)
    for result in found.values():
        spent = Cost(result.forwards, result.backwards, result.queries)
        assert spent == Cost(most.forwards * copies, most.backwards * copies, 1)


@pytest.mark.parametrize("norm", [Norm.LINF, Norm.L2])
@pytest.mark.parametrize("name", [f"{name}{more}" for name in NAMES for more in ("", "+si", "+admix", "+admix+si")])
def test_a_linear_surrogate_that_is_the_target_falls_at_the_nearest_point(name: str, norm: Norm) -> None:
    """Darker and mixed images have the slope of the image itself there."""
    target = boundary_model((1, 5, 6))
    samples = [s for s in samples_for(target, 40) if closed_form(target, s, norm) < 0.04][:4]
    assert samples
    parameters = {"steps": 4} | ({"neighbours": 2} if name.split("+")[0] in ("vmi", "vni", "mef") else {})
    attack, how = make_composed(name, parameters | ({"step_size": 0.4} if name.startswith("mef") else {}))
    for factor, falls in ((0.98, False), (1.02, True)):
        own = [dataclasses.replace(s, eps=closed_form(target, s, norm) * factor) for s in samples]
        threat = ThreatModel(norm, max(s.eps or 0 for s in own))
        results = attack_all(target, attack, threat, own, surrogates=target, how=how)
        assert {r.success for r in results.values()} == {falls}


@pytest.mark.parametrize("name", ["mi+di+ti", "ni+si", "vmi+bsr", "vni+sia+ti", "mi+admix+di", "mef+si"])
def test_outcomes_of_combinations_depend_on_neither_batch_nor_order(name: str) -> None:
    target, surrogate = network((3, 8, 8), 5), network((3, 8, 8), 5, seed=1)
    samples, threat = samples_for(target, 7), ThreatModel(Norm.LINF, 0.03)
    small = {"bsr": {"copies": 3}, "sia": {"copies": 2}, "admix": {"images": 2, "scales": 2}, "si": {"scales": 2}}
    few = {"steps": 3} | ({"neighbours": 3} if name[0] == "v" or name.startswith("mef") else {})
    attack, how = make_composed(name, few | {one: small[one] for one in name.split("+") if one in small}, copies=2)

    def outcome(given: list, **more: int) -> dict[int, tuple[Any, ...]]:
        found = attack_all(target, attack, threat, given, surrogates=surrogate, how=how, **more)
        return {
            i: (r.success, r.prediction, r.forwards, r.backwards, None if r.distance is None else round(r.distance, 9))
            for i, r in found.items()
        }

    whole = outcome(samples)
    assert outcome(samples, slots=3, micro_batch=5) == whole
    assert outcome(samples[::-1], slots=1, micro_batch=1) == whole


def test_ti_smooths_after_all_else_whatever_the_order_of_names() -> None:
    target = network((1, 9, 9), CLASSES)
    problem = dataclasses.replace(problem_of(target, COUNT), norm=Norm.LINF)
    first, last = (walk(name, {"steps": 3}, problem, target)[0] for name in ("mi+ti+di", "mi+di+ti"))
    assert torch.equal(first, last)
    assert not torch.allclose(first, walk("mi+di", {"steps": 3}, problem, target)[0])


def test_on_a_linear_model_ti_steps_along_the_smoothed_weights() -> None:
    target = boundary_model((1, 12, 12))
    problem = dataclasses.replace(problem_of(target, COUNT), norm=Norm.LINF, low=None, high=None)
    found, _ = walk("mi+ti", {"steps": 2}, problem, target)
    weights = target.module.get_parameter("weight")
    towards = (weights[1] - weights[0]).reshape(12, 12)
    place = torch.linspace(-3, 3, 15, dtype=torch.float64)
    row = torch.exp(-(place**2) / 2)
    smooth = torch.nn.functional.conv2d(towards[None, None], torch.outer(row, row)[None, None], padding=7)[0]
    for slot in range(COUNT):
        sign = smooth.sign() * (1 if int(problem.label[slot]) == 0 else -1)
        expected = (problem.x[slot] + float(problem.eps[slot]) * sign).clamp(0, 1)
        torch.testing.assert_close(found[slot], expected)
