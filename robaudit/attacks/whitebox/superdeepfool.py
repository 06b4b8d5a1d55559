"""SuperDeepFool: DeepFool, whose result is turned onto the boundary's normal."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from robaudit.attacks.base import Problem, SlotAttack, Slots, Stop
from robaudit.attacks.boundaries import nearest_boundary, rivals
from robaudit.attacks.cost import Cost, Task
from robaudit.attacks.parameters import Count, attack_parameters
from robaudit.attacks.requests import Answer, Jacobian, Request
from robaudit.attacks.smallest import Smallest
from robaudit.attacks.whitebox.deepfool import Overshoot, past_boundary
from robaudit.threat.model import Access, Goal
from robaudit.threat.norms import Norm, per_slot, select

__all__ = ["SuperDeepFool"]


@dataclass
class State(Slots):
    """One slot's search.

    ``base`` is the sum of the projections, from which walks start; ``walked`` and ``turned`` count DeepFool's steps
    and the projections since the other kind; ``ended``: the final search is on, between the shares ``low`` and ``high``
    of the way to the fooling point ``end``.
    """

    point: Tensor
    base: Tensor
    walked: Tensor
    turned: Tensor
    step: Tensor
    stuck: Tensor
    smallest: Smallest
    ended: Tensor
    searched: Tensor
    end: Tensor
    low: Tensor
    high: Tensor


@attack_parameters
class SuperDeepFool(SlotAttack[State]):
    """Walk across the boundary with DeepFool, turn the way there onto the boundary's normal, repeat; then search back.

    Source: Abdolahpourrostam, Abroshan, Moosavi-Dezfooli 2024, "SuperDeepFool: a new fast and accurate minimal
    adversarial attack", algorithms 2 and 3: SDF(m, n) is m steps of DeepFool and n projections of the way p - x to
    the iterate p onto the gradient w of the boundary there, ((p - x)·w / |w|²) w; the default is SDF(∞, 1), which
    walks until the class changes. As in the authors' code, projections add up, so that the boundary is crossed after
    a few rounds (in the paper each starts at the sample), and a bisection between the sample and the
    projected point that fools follows. Every point is clipped to the box. A minimal-norm attack, untargeted, L2.
    Cost: up to ``steps`` forwards, each with a backward for every one of the ``candidates``, and ``search`` forwards.

    Args:
        steps: most evaluations before the final search.
        walk: DeepFool's steps before a projection (m); none: until the class changes.
        turns: projections after a walk (n).
        overshoot: of DeepFool's steps.
        candidates: classes whose boundaries are looked at.
        search: steps of the final bisection.
    """

    id = "superdeepfool"
    access = Access.WHITE_BOX
    norms = frozenset({Norm.L2})
    goals = frozenset({Goal.UNTARGETED})
    stop = Stop.RUN_ON

    steps: Count = 100
    walk: Count | None = None
    turns: Count = 1
    overshoot: Overshoot = 0.02
    candidates: Count = 10
    search: Annotated[int, Field(ge=0)] = 10

    def most(self, task: Task) -> Cost:
        """A forward an evaluation with a backward for every candidate, then the final search without any."""
        return Cost(self.steps + self.search, self.steps * min(self.candidates, task.classes - 1))

    def init(self, problem: Problem) -> State:
        zero, no = problem.full(0).long(), torch.zeros_like(problem.label, dtype=torch.bool)
        return State(
            point=problem.x,
            base=problem.x,
            walked=zero,
            turned=zero,
            step=zero,
            stuck=no,
            smallest=Smallest.none(problem),
            ended=no,
            searched=zero,
            end=problem.x,
            low=problem.full(0.0),
            high=problem.full(1.0),
        )

    def query(self, problem: Problem, state: State) -> Request:
        """The candidates' boundaries where the slot stands; in the final search logits alone."""
        return Jacobian(state.point, classes=rivals(problem, self.candidates), base=problem.label, slopes=~state.ended)

    def update(self, problem: Problem, state: State, answer: Answer) -> State:
        """Walk, turn, or halve the final search's interval."""
        fooled = answer.fooled & (state.step > 0)  # the sample itself is no answer
        smallest = state.smallest.seen(problem, dataclasses.replace(answer, fooled=fooled))
        boundary = nearest_boundary(problem, answer, torch.where(fooled, answer.labels, -1))
        # Fresh from a walk, or with projections left: onto the normal. Else walk on.
        across = fooled if self.walk is None else fooled | (state.walked >= self.walk)
        turn = torch.where(state.turned > 0, state.turned < self.turns, across)
        ending = fooled & (state.turned >= self.turns)
        turned = problem.clip(state.base + self._normal_part(answer.points - problem.x, boundary.slope))
        point = select(turn, turned, past_boundary(problem, boundary, self.overshoot, state.walked))
        stuck = (point == state.point).flatten(1).all(1) & ~turn
        step = state.step + 1
        ended = state.ended | ending | stuck | (step >= self.steps)
        # The final search
        middle = (state.low + state.high) / 2
        searching = state.ended
        high = torch.where(searching & fooled, middle, state.high)
        low = torch.where(searching & ~fooled, middle, state.low)
        end = select(searching, state.end, select(ending, state.point, smallest.point))
        middle = per_slot((low + high) / 2, end)
        point = select(ended, problem.x + middle * (end - problem.x), point)
        return State(
            point=point,
            base=select(turn, turned, state.base),
            walked=torch.where(turn, 0, state.walked + 1),
            turned=torch.where(turn, state.turned + 1, 0),
            step=step,
            stuck=stuck,
            smallest=smallest,
            ended=ended,
            searched=state.searched + searching,
            end=end,
            low=low,
            high=high,
        )

    def _normal_part(self, delta: Tensor, slope: Tensor) -> Tensor:
        """[S, *shape]: the part of ``delta`` along ``slope``."""
        size = (slope * slope).flatten(1).sum(1, dtype=torch.float64).clamp_min(1e-300)
        share = (delta * slope).flatten(1).sum(1, dtype=torch.float64) / size
        return slope * per_slot(share.to(slope.dtype), slope)

    def done(self, problem: Problem, state: State) -> Tensor:
        """After the final search, where nothing was found to search back from, or where a success is enough."""
        over = (state.searched >= self.search) | ~state.smallest.found
        return (state.ended & over) | problem.settled(state.smallest.distance)

    def best(self, problem: Problem, state: State) -> tuple[Tensor, Tensor]:
        return state.smallest.point, ~state.smallest.found
