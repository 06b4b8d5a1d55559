"""Carlini & Wagner's L2 attack."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from robaudit.attacks.base import Problem, Slots
from robaudit.attacks.parameters import Count, Positive, attack_parameters
from robaudit.attacks.whitebox.descent import Adam, Constant, to_box, to_free
from robaudit.attacks.whitebox.penalty import PROGRESS, Halvings, Margins, PenaltyAttack, Seen
from robaudit.threat.norms import Norm, per_slot, select

__all__ = ["CWL2"]


@dataclass
class Search(Slots):
    """One descent, in the free variables, and the search of c around it.

    ``won`` tells whether a point fooled since the last check: near a boundary Adam's first steps cross it at any c.
    """

    free: Tensor
    origin: Tensor
    adam: Adam
    c: Constant
    step: Tensor
    last: Tensor
    won: Tensor


@attack_parameters
class CWL2(PenaltyAttack[Search]):
    """Minimise |δ|² + c max(κ - margin, 0) by Adam in tanh variables, with a search of c for each sample.

    Source: Carlini & Wagner 2017, "Towards Evaluating the Robustness of Neural Networks", section VI-A with
    f6 of section IV-A; the margin does not change when all logits shift. Where the paper bisects c, its
    logarithm is bisected here, c counts as large enough if the last tenth of the steps still fools, and a step
    is at most half as long as the nearest distance found. At the end the way between the sample and the nearest
    point found is halved a few times. L2; untargeted and targeted.
    Cost: up to ``searches`` x ``steps`` + ``halvings`` forwards and backwards for each confidence; a success
    in the ball ends it, unless the audit seeks smallest distances.

    Args:
        steps: of one descent, at most; it ends early where a tenth of them brings nothing.
        searches: values of c tried.
        first_c: the first of them.
        learning_rate: of Adam.
        confidence: κ, how far the reached class must lead; of several, tried in rising order, the largest
            that is reached in the ball counts, and where smallest distances are sought the first alone.
        abort_early: end a descent that stalls.
        halvings: evaluations spent on the way to the nearest point.
    """

    id = "cw-l2"
    norms = frozenset({Norm.L2})

    steps: Count = 10000
    searches: Count = 9
    first_c: Positive = 1e-3
    learning_rate: Positive = 0.01
    confidence: Margins = (0.0,)
    abort_early: bool = True
    halvings: Halvings = 10

    @property
    def rungs(self) -> tuple[float, ...]:
        return self.confidence

    @property
    def halved(self) -> int:
        return self.halvings

    def descents(self) -> int:
        """One for each c."""
        return self.searches * self.steps

    def start(self, problem: Problem) -> Search:
        """At the sample, with the first c."""
        free, c = to_free(problem.x), Constant.fresh(problem, self.first_c)
        zero = torch.zeros_like(problem.label)
        return Search(free, free, Adam.fresh(problem), c, zero, problem.full(float("inf")), zero.bool())

    def point(self, problem: Problem, search: Search) -> Tensor:
        return to_box(search.free)

    def advance(self, problem: Problem, search: Search, seen: Seen) -> Search:
        """A step of Adam; where the descent ends, the next c from the sample again."""
        point, c = seen.answer.points, search.c.value
        delta = point - problem.x
        slope = (2 * delta + seen.pull * per_slot(c, delta)) * (2 * point * (1 - point))
        near = (seen.nearest / math.sqrt(delta[0].numel())).clamp_max(self.learning_rate)
        move, adam = search.adam.moved(slope, near)
        value = seen.size.square().to(c.dtype) + c * seen.lacking
        won = search.won | seen.reached
        check = search.step % max(self.steps // 10, 1) == 0
        ended = search.step + 1 >= self.steps
        if self.abort_early:
            ended = ended | (check & ~seen.rescaled & (value > PROGRESS * search.last))
        return Search(
            free=select(ended, search.origin, search.free - move),
            origin=search.origin,
            adam=adam.cleared(ended),
            c=search.c.after(ended, won),
            step=torch.where(ended, 0, search.step + 1),
            last=torch.where(ended, torch.inf, torch.where(check | seen.rescaled, value, search.last)),
            won=won & ~(ended | check),
        )

    def over(self, problem: Problem, search: Search) -> Tensor:
        return search.c.tried >= self.searches
