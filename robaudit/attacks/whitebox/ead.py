"""The elastic-net attack."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from robaudit.attacks.base import Problem, Slots
from robaudit.attacks.cost import Cost, Task
from robaudit.attacks.parameters import Count, Positive, attack_parameters
from robaudit.attacks.requests import Answer, Gradient, Request
from robaudit.attacks.smallest import Smallest
from robaudit.attacks.whitebox.descent import Constant
from robaudit.attacks.whitebox.penalty import PROGRESS, Halvings, Ladder, Margins, PenaltyAttack, Seen
from robaudit.threat.norms import Norm, distance, per_slot, select

__all__ = ["EAD"]


@dataclass
class Search(Slots):
    """One descent and the search of c around it: ``slack`` is where the next step starts, ``point`` what may count."""

    slack: Tensor
    point: Tensor
    c: Constant
    step: Tensor
    last: Tensor
    lowest: Tensor
    won: Tensor


@attack_parameters
class EAD(PenaltyAttack[Search]):
    """Minimise c max(κ - margin, 0) + |δ|² + β Σ|δ| by shrinkage and thresholding, with a search of c.

    Source: Chen, Sharma, Zhang, Yi, Hsieh 2018, "EAD: Elastic-Net Attacks to Deep Neural Networks via Adversarial
    Examples", eq. 7 and algorithm 1. The gradient is that of the slack point, which is clipped to the box; what counts
    is the point before the extrapolation, whose features are sparse. Where the paper bisects c, its logarithm is
    bisected here. At the end the way between the sample and the best point found is halved a few times. L1;
    untargeted and targeted.
    Cost: up to ``searches`` x (``steps`` + 1) + ``halvings`` backwards for each confidence, and twice as many forwards
    (as many without ``momentum``); a success in the ball ends it, unless the audit seeks smallest distances.

    Args:
        rule: what makes a point better where smallest distances are sought: its L1 distance (``l1``) or the
            elastic-net distance |δ|² + β Σ|δ| (``en``). Elsewhere any success in the ball ends the search.
        beta: weight of the L1 distance, and what a step takes from every feature.
        steps: of one descent, at most.
        searches: values of c tried.
        first_c: the first of them.
        learning_rate: length of the first step; it falls with the square root of the steps left.
        momentum: extrapolate as FISTA does; plain ISTA if off.
        confidence: κ, how far the reached class must lead; of several, tried in rising order, the largest
            that is reached in the ball counts, and where smallest distances are sought the first alone.
        abort_early: end a descent that stalls and has found nothing, which spares about half of the gradients. One
            that has found a point goes on: the objective sways where the step is long, and the nearest points come
            at the end.
        halvings: evaluations spent on the way to the best point.
    """

    id = "ead"
    norms = frozenset({Norm.L1})

    rule: Literal["l1", "en"] = "l1"
    beta: Positive = 1e-3
    steps: Count = 1000
    searches: Count = 9
    first_c: Positive = 1e-3
    learning_rate: Positive = 0.01
    momentum: bool = True
    confidence: Margins = (0.0,)
    abort_early: bool = False
    halvings: Halvings = 10

    @property
    def rungs(self) -> tuple[float, ...]:
        return self.confidence

    @property
    def halved(self) -> int:
        return self.halvings

    def descents(self) -> int:
        """One for each c; its last point is looked at too."""
        return self.searches * (self.steps + 1)

    def most(self, task: Task) -> Cost:
        """Two forwards to a backward: the point's and the slack point's."""
        cost = super().most(task)
        return Cost(cost.forwards * (2 if self.momentum else 1), cost.backwards)

    def start(self, problem: Problem) -> Search:
        """At the sample, with the first c."""
        zero = torch.zeros_like(problem.label)
        c, far = Constant.fresh(problem, self.first_c), problem.full(float("inf"))
        return Search(problem.x, problem.x, c, zero, far, far, zero.bool())

    def point(self, problem: Problem, search: Search) -> Tensor:
        """The point before the extrapolation."""
        return search.point

    def query(self, problem: Problem, state: Ladder[Search]) -> Request:
        """What the point is worth, and the gradient at the slack point; without momentum they are one."""
        request = super().query(problem, state)
        if not self.momentum:
            return request
        return Gradient(torch.stack([request.points, state.search.slack], 1), loss=self.objective(), plain=1)

    def _seen(self, problem: Problem, state: Ladder[Search], answer: Answer) -> Seen:
        """The pull is the slack point's, all else the point's."""
        if not self.momentum:
            return super()._seen(problem, state, answer)
        here, ahead = (super(EAD, self)._seen(problem, state, answer.at(i)) for i in (0, 1))
        return dataclasses.replace(here, lacking=ahead.lacking, pull=ahead.pull)

    def advance(self, problem: Problem, search: Search, seen: Seen) -> Search:
        """A gradient step from the slack point, then shrink each feature towards the sample; at the end the next c."""
        x, c = problem.x, search.c.value
        delta = search.slack - x
        slope = 2 * delta + seen.pull * per_slot(c, delta)
        left = (1 - search.step / self.steps).clamp_min(0).sqrt()
        moved = delta - slope * per_slot((self.learning_rate * left).to(c.dtype), delta)
        new = problem.clip(x + torch.nn.functional.softshrink(moved, self.beta))
        ahead = new
        if self.momentum:
            share = (search.step / (search.step + 3)).to(c.dtype)
            ahead = problem.clip(new + (new - search.point) * per_slot(share, new))
        size = distance(Norm.L2, delta).square() + self.beta * distance(Norm.L1, delta)
        value = (size + c * seen.lacking).to(c.dtype)
        lowest = torch.where(seen.rescaled, value, torch.minimum(search.lowest, value))
        won = search.won | seen.reached
        check = search.step % max(self.steps // 10, 1) == 0
        ended = search.step >= self.steps  # the last point was seen
        if self.abort_early:
            ended = ended | (check & ~won & ~seen.rescaled & (lowest > PROGRESS * search.last))
        return Search(
            slack=select(ended, x, ahead),
            point=select(ended, x, new),
            c=search.c.after(ended, won),
            step=torch.where(ended, 0, search.step + 1),
            last=torch.where(ended, torch.inf, torch.where(check | seen.rescaled, lowest, search.last)),
            lowest=torch.where(ended, torch.inf, lowest),
            won=won & ~ended,
        )

    def over(self, problem: Problem, search: Search) -> Tensor:
        return search.c.tried >= self.searches

    def keep(self, problem: Problem, smallest: Smallest, seen: Seen) -> Smallest:
        """The best point by the rule; a point in the ball is always kept, as it ends the search."""
        if self.rule == "l1":
            return super().keep(problem, smallest, seen)
        before, now = smallest.point - problem.x, seen.answer.points - problem.x
        worth = distance(Norm.L2, now).square() + self.beta * seen.size
        best = distance(Norm.L2, before).square() + self.beta * smallest.distance
        better = seen.reached & (problem.settled(seen.size) | (worth < best))
        return dataclasses.replace(
            smallest,
            point=select(better, seen.answer.points, smallest.point),
            distance=torch.where(better, seen.size, smallest.distance),
        )
