"""DeepFool: step to the nearest linearised boundary until the class changes."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from robaudit.attacks.base import Problem, SlotAttack, Slots, Stop
from robaudit.attacks.boundaries import Boundary, least_step, nearest_boundary, rivals
from robaudit.attacks.cost import Cost, Task
from robaudit.attacks.parameters import Count, attack_parameters
from robaudit.attacks.requests import Answer, Jacobian, Request
from robaudit.attacks.smallest import Smallest
from robaudit.threat.hyperplanes import dual_size, nearest_on_hyperplane
from robaudit.threat.model import Access, Goal
from robaudit.threat.norms import Norm, none_of, per_slot, select

__all__ = ["DeepFool", "Overshoot", "past_boundary"]

Overshoot = Annotated[float, Field(ge=0, le=1)]
"""How much longer than the way to the boundary a step is, as a share of it."""
PATIENCE = 10
"""Steps before the box's sides are taken into account."""
DOUBLINGS = 14
"""Of the least step after that; a few hundredths of the domain's width at most."""


def past_boundary(problem: Problem, boundary: Boundary, overshoot: float, walked: Tensor) -> Tensor:
    """[S, *shape] the points asked, moved the way to the boundary and ``overshoot`` further, then clipped to the box.

    Small steps find nearer points, but where clipping takes much of each they approach the boundary without end: after
    ten, a step goes to the boundary's nearest point within the box. It is at least a few units of rounding long, so
    that a slot on the boundary leaves it, and from then on twice as many each time: a file in half precision, or one
    that rounds inside, does not see smaller steps.

    Args:
        problem: the slots; the norm is L-infinity or L2.
        boundary: that is nearest.
        overshoot: share of the way.
        walked: [S] steps before this one.
    """
    point, slope = boundary.points, boundary.slope
    steep = dual_size(problem.norm, slope.flatten(1)).clamp_min(1e-300)
    least = least_step(problem) * 2.0 ** (walked.double() - PATIENCE).clamp(0, DOUBLINGS)
    length = torch.where(boundary.distance.isfinite(), boundary.distance + least, 0.0)
    if problem.norm is Norm.LINF:
        step = slope.sign() * per_slot(length.to(point.dtype), point)
    else:
        step = slope * per_slot((length / steep).to(point.dtype), point)
    late = walked >= PATIENCE
    if not none_of(late):
        nearest = nearest_on_hyperplane(problem.norm, point, slope, -length * steep, problem.fixed)
        step = select(late, nearest - point, step)
    return problem.clip(point + step * (1 + overshoot))


@dataclass
class State(Slots):
    """Where the slot stands; ``stuck``: the last step led nowhere."""

    point: Tensor
    stuck: Tensor
    step: Tensor
    smallest: Smallest


@attack_parameters
class DeepFool(SlotAttack[State]):
    """Step to the nearest of the linearised class boundaries, and a little past it, until the class changes.

    Source: Moosavi-Dezfooli, Fawzi, Frossard 2016, "DeepFool: a simple and accurate method to fool deep neural
    networks", algorithm 2 (L2) and eq. 11 (L-infinity), each step clipped to the box. The classes are those
    with the largest clean logits. A minimal-norm attack, untargeted. Cost: up to ``steps`` + 1 forwards, each with
    a backward for every one of the ``candidates``; three to ten are usual.

    Args:
        steps: most steps.
        overshoot: a step's length past the boundary, as a share of the way to it.
        candidates: classes whose boundaries are looked at.
    """

    id = "deepfool"
    access = Access.WHITE_BOX
    norms = frozenset({Norm.LINF, Norm.L2})
    goals = frozenset({Goal.UNTARGETED})
    stop = Stop.RUN_ON

    steps: Count = 50
    overshoot: Overshoot = 0.02
    candidates: Count = 10

    def most(self, task: Task) -> Cost:
        """A forward a step and one more, each with a backward for every candidate."""
        return Cost(self.steps + 1, (self.steps + 1) * min(self.candidates, task.classes - 1))

    def init(self, problem: Problem) -> State:
        nowhere = torch.zeros_like(problem.label, dtype=torch.bool)
        return State(problem.x, nowhere, problem.full(0).long(), Smallest.none(problem))

    def query(self, problem: Problem, state: State) -> Request:
        return Jacobian(state.point, classes=rivals(problem, self.candidates), base=problem.label)

    def update(self, problem: Problem, state: State, answer: Answer) -> State:
        """Step past the nearest one; the sample itself is no answer, whatever the model says of it."""
        first = state.step == 0
        seen = dataclasses.replace(answer, fooled=answer.fooled & ~first)
        point = past_boundary(
            problem,
            nearest_boundary(problem, answer),
            self.overshoot,
            state.step,
        )
        stuck = (point == state.point).flatten(1).all(1)
        return State(point, stuck, state.step + 1, state.smallest.seen(problem, seen))

    def done(self, problem: Problem, state: State) -> Tensor:
        """Where the class changed, after the last step, or where no step leads anywhere."""
        return state.smallest.found | state.stuck | (state.step > self.steps)

    def best(self, problem: Problem, state: State) -> tuple[Tensor, Tensor]:
        return state.smallest.point, ~state.smallest.found
