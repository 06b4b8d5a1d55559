"""The box-constrained L-BFGS attack."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from robaudit.attacks.base import Problem, Slots
from robaudit.attacks.parameters import Count, Positive, attack_parameters
from robaudit.attacks.whitebox.descent import Constant
from robaudit.attacks.whitebox.penalty import Halvings, PenaltyAttack, Seen
from robaudit.threat.losses import Loss, cross_entropy, targeted_cross_entropy
from robaudit.threat.norms import Norm, distance, per_slot, select

__all__ = ["LBFGS"]

ARMIJO = 1e-4
"""Share of the linearised decrease that a step must bring."""
SHORTEST = 1e-6
"""Share of the full step at which a line search gives up."""
STALLED = 1e-6
"""Relative decrease of the objective that ends a descent, as does a projected gradient below it."""
CURVATURE = 1e-8
"""Least cosine between a step and the change of the gradient along it that the memory takes."""


@dataclass
class Memory(Slots):
    """The last m steps and changes of the gradient, newest last; ``held`` tells which are real."""

    steps: Tensor
    changes: Tensor
    held: Tensor

    @classmethod
    def empty(cls, like: Tensor, size: int) -> Memory:
        """No step yet."""
        room = like.new_zeros(like.shape[0], size, *like.shape[1:])
        return cls(room, room, room.new_zeros(room.shape[:2], dtype=torch.bool))

    def taken(self, mask: Tensor, step: Tensor, change: Tensor) -> Memory:
        """With one more in the masked slots."""
        return Memory(
            select(mask, torch.cat([self.steps[:, 1:], step[:, None]], 1), self.steps),
            select(mask, torch.cat([self.changes[:, 1:], change[:, None]], 1), self.changes),
            select(mask, torch.cat([self.held[:, 1:], mask[:, None]], 1), self.held),
        )

    def direction(self, slope: Tensor, free: Tensor) -> Tensor:
        """Minus the inverse Hessian's estimate times the slope, over the free features (two-loop recursion)."""
        steps, changes = self.steps * free[:, None], self.changes * free[:, None]
        count = steps.shape[1]
        found = slope * free
        scale = torch.ones_like(_dot(found, found))
        weights, inverses = [], []
        for i in reversed(range(count)):
            curvature = _dot(steps[:, i], changes[:, i])
            ok = self.held[:, i] & (curvature > 0)
            inverses.append(torch.where(ok, 1 / curvature.clamp_min(1e-38), 0))
            newest = ok & (torch.stack(inverses[:-1]).sum(0) == 0) if i + 1 < count else ok
            squared = _dot(changes[:, i], changes[:, i])
            scale = torch.where(newest, curvature / squared.clamp_min(1e-38), scale)
            weights.append(inverses[-1] * _dot(steps[:, i], found))
            found = found - _times(weights[-1], changes[:, i])
        found = _times(scale, found)
        for i in range(count):
            weight, inverse = weights[count - 1 - i], inverses[count - 1 - i]
            found = found + _times(weight - inverse * _dot(changes[:, i], found), steps[:, i])
        return -found * free


@dataclass
class Search(Slots):
    """One descent and the search of c around it.

    The line search stands at ``base`` with the objective's ``value`` and ``slope``, and asks ``trial``, the point
    at ``length`` along ``direction``, clipped to the box.
    """

    base: Tensor
    value: Tensor
    slope: Tensor
    direction: Tensor
    length: Tensor
    trial: Tensor
    memory: Memory
    c: Constant
    step: Tensor
    won: Tensor


@attack_parameters
class LBFGS(PenaltyAttack[Search]):
    """Minimise |δ|² + c times the cross-entropy of a target class in the box by L-BFGS, with a search of c.

    Source: Szegedy, Zaremba, Sutskever, Bruna, Erhan, Goodfellow, Fergus 2014, "Intriguing Properties of Neural
    Networks", section 4.1, with the squared distance, as is usual, and the weight on the other term. The
    quasi-Newton step spans the features that are not held by the box, and is followed by halving along its
    projection on the box until the objective falls enough (Bertsekas 1982; Nocedal 1980 for the memory). c rises
    or falls by tens until it is bracketed, then its logarithm is bisected. At the end the way between the sample
    and the nearest point found is halved a few times. L2; in an untargeted audit one unit a target class.
    Cost: up to ``searches`` x ``steps`` + ``halvings`` forwards and backwards for each target; a success in the
    ball ends it, unless the audit seeks smallest distances.

    Args:
        steps: evaluations of one descent, at most.
        searches: values of c tried.
        first_c: the first of them.
        memory: steps that the inverse Hessian is estimated from.
        targets: classes tried for each sample in an untargeted audit, by falling clean logit.
        halvings: evaluations spent on the way to the nearest point.
    """

    id = "lbfgs"
    norms = frozenset({Norm.L2})

    steps: Count = 150
    searches: Count = 10
    first_c: Positive = 0.01
    memory: Count = 10
    targets: Count = 9
    halvings: Halvings = 10

    @property
    def unit_aims(self) -> int:
        return self.targets

    def climbs(self, classes: int) -> Mapping[str, Loss]:
        """The cross-entropy of a target, the likeliest one first."""
        return {"ce-targeted": targeted_cross_entropy}

    def objective(self) -> Loss:
        return cross_entropy

    @property
    def halved(self) -> int:
        return self.halvings

    def descents(self) -> int:
        """One for each c."""
        return self.searches * self.steps

    def start(self, problem: Problem) -> Search:
        """At the sample, with the first c."""
        zero, x = problem.full(0, torch.float64), problem.x
        none = torch.zeros_like(x)
        memory, c = Memory.empty(x, self.memory), Constant.fresh(problem, self.first_c)
        return Search(x, zero, none, none, zero, x, memory, c, zero.long(), zero.bool())

    def point(self, problem: Problem, search: Search) -> Tensor:
        return search.trial

    def advance(self, problem: Problem, search: Search, seen: Seen) -> Search:
        """Accept the point and turn, or halve the step; where the descent ends, the next c from the sample."""
        assert seen.answer.gradient is not None
        assert seen.answer.loss is not None
        trial, c = seen.answer.points, search.c.value
        delta = trial - problem.x
        value = seen.size.square() - c.double() * seen.answer.loss.double()
        slope = 2 * delta - seen.answer.gradient * per_slot(c, delta)
        first, moved = (search.step == 0) | seen.rescaled, trial - search.base
        accept = first | (value <= search.value + ARMIJO * _dot(search.slope, moved).clamp_max(0)) & (
            moved != 0
        ).flatten(1).any(1)
        change = slope - search.slope
        length = (_dot(moved, moved) * _dot(change, change)).sqrt()
        memory = search.memory.taken(accept & ~first & (_dot(moved, change) > CURVATURE * length), moved, change)
        base, slope = select(accept, trial, search.base), select(accept, slope, search.slope)
        direction, full = self._turned(problem, base, slope, memory)
        direction = select(accept, direction, search.direction)
        share = torch.where(accept, full, search.length / 2)
        still = problem.clip(base - slope) - base
        won = search.won | (seen.answer.labels == problem.target_class)
        ended = (search.step + 1 >= self.steps) | (share < SHORTEST * full) | (distance(Norm.LINF, still) < STALLED)
        ended = ended | accept & ~first & (search.value - value < STALLED * value.abs())
        next_trial = problem.clip(base + _times(share, direction))
        return Search(
            base=select(ended, problem.x, base),
            value=torch.where(accept, value, search.value),
            slope=slope,
            direction=direction,
            length=share,
            trial=select(ended, problem.x, next_trial),
            memory=Memory(memory.steps, memory.changes, memory.held & ~ended[:, None]),
            c=search.c.after(ended, won),
            step=torch.where(ended, 0, search.step + 1),
            won=won & ~ended,
        )

    def _turned(self, problem: Problem, base: Tensor, slope: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
        """The next direction of descent and how far along it to go first; the slope itself without a memory."""
        held = (base <= 0) & (slope > 0) | (base >= 1) & (slope < 0)
        free = ~held if problem.fixed is None else ~(held | problem.fixed)
        steepest = -slope * free
        direction = memory.direction(slope, free.to(slope.dtype))
        gain = _dot(direction, slope)
        plain = ~(gain < 0) | ~memory.held.any(1)
        short = (1 / distance(Norm.L2, steepest).clamp_min(1e-30)).clamp_max(1.0)
        return select(plain, steepest, direction), torch.where(plain, short, 1.0)

    def over(self, problem: Problem, search: Search) -> Tensor:
        return search.c.tried >= self.searches


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """[S] float64 inner product of each slot."""
    return (a * b).flatten(1).sum(1, dtype=torch.float64)


def _times(share: Tensor, a: Tensor) -> Tensor:
    return a * per_slot(share.to(a.dtype), a)
