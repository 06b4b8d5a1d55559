"""The elastic-net attack."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from robaudit.attacks.base import Problem, Slots
from robaudit.attacks.parameters import Count, Positive, attack_parameters
from robaudit.attacks.smallest import Smallest
from robaudit.attacks.whitebox.penalty import (
    PROGRESS,
    Constant,
    Halvings,
    Margins,
    PenaltyAttack,
    Seen,
)
from robaudit.threat.norms import Norm, distance, per_slot, select

__all__ = ["EAD"]


@dataclass
class Search(Slots):
    """One descent and the search of c around it: ``point`` is asked next, ``old`` the last one without momentum."""

    point: Tensor
    old: Tensor
    c: Constant
    step: Tensor
    last: Tensor
    lowest: Tensor
    won: Tensor


@attack_parameters
class EAD(PenaltyAttack[Search]):
    """Minimise c max(κ - margin, 0) + |δ|² + β Σ|δ| by shrinkage and thresholding, with a search of c.

    Source: Chen, Sharma, Zhang, Yi, Hsieh 2018, "EAD: Elastic-Net Attacks to Deep Neural Networks via Adversarial
    Examples", eq. 7 and algorithm 1. Its slack point is the one evaluated, hence also the one that counts; it
    is clipped to the box. Where the paper bisects c, its logarithm is bisected here. At the end the way between
    the sample and the best point found is halved a few times. L1; untargeted and targeted.
    Cost: up to ``searches`` x ``steps`` + ``halvings`` forwards and backwards for each confidence; a success
    in the ball ends it, unless the audit seeks smallest distances.

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

    def start(self, problem: Problem) -> Search:
        """At the sample, with the first c."""
        zero = torch.zeros_like(problem.label)
        c, far = Constant.fresh(problem, self.first_c), problem.full(float("inf"))
        return Search(problem.x, problem.x, c, zero, far, far, zero.bool())

    def point(self, problem: Problem, search: Search) -> Tensor:
        """The slack point."""
        return search.point

    def advance(self, problem: Problem, search: Search, seen: Seen) -> Search:
        """A gradient step, then shrink each feature towards the sample; where the descent ends, the next c."""
        x, point, c = problem.x, seen.answer.points, search.c.value
        delta = point - x
        slope = 2 * delta + seen.pull * per_slot(c, delta)
        left = (1 - search.step / self.steps).clamp_min(0).sqrt()
        moved = delta - slope * per_slot((self.learning_rate * left).to(c.dtype), delta)
        new = problem.clip(x + torch.nn.functional.softshrink(moved, self.beta))
        ahead = new
        if self.momentum:
            share = (search.step / (search.step + 3)).to(c.dtype)
            ahead = problem.clip(new + (new - search.old) * per_slot(share, new))
        value = distance(Norm.L2, delta).square() + self.beta * seen.size + c * seen.lacking
        lowest = torch.minimum(search.lowest, value.to(c.dtype))
        won = search.won | seen.reached
        check = search.step % max(self.steps // 10, 1) == 0
        ended = search.step + 1 >= self.steps
        if self.abort_early:
            ended = ended | (check & ~won & (lowest > PROGRESS * search.last))
        return Search(
            point=select(ended, x, ahead),
            old=select(ended, x, new),
            c=search.c.after(ended, won),
            step=torch.where(ended, 0, search.step + 1),
            last=torch.where(ended, torch.inf, torch.where(check, lowest, search.last)),
            lowest=torch.where(ended, torch.inf, lowest),
            won=won & ~ended,
        )

    def over(self, problem: Problem, search: Search) -> Tensor:
        """After the last c."""
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
