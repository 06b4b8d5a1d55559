"""RayS: the direction of signs whose ray meets the boundary first, from labels alone."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from robaudit.attacks.base import Problem, SlotAttack, Slots, Stop
from robaudit.attacks.decision.points import NEAR, too_far
from robaudit.attacks.images import stripes
from robaudit.attacks.parameters import Count, Natural, Positive, attack_parameters
from robaudit.attacks.requests import Answer, Labels, Request
from robaudit.attacks.smallest import Smallest
from robaudit.threat.model import Access, Goal
from robaudit.threat.norms import Norm, per_slot, select

__all__ = ["RayS"]

TRY, PAIR, BISECT, BISECT_BOTH = range(4)
WITHIN = 1 - 1e-6
"""Share of ε that is asked about where a success in the ball is enough, so that rounding leaves the point in it."""


@dataclass
class State(Slots):
    """One slot's search.

    Args:
        phase: [S] TRY (one direction at the radius), PAIR (two), BISECT or BISECT_BOTH.
        sign: [S, *shape] the best direction; ``radius`` [S] at which its ray fools, 1: perhaps nowhere.
        level, block: [S] int64, the features are cut into 2^level blocks, of which this one is flipped next; at level
            -1 stripes are tried.
        low, high: [S] bracket of the radius.
        asked: [S] int64 queries so far.
        smallest: the nearest fooling point.
    """

    phase: Tensor
    sign: Tensor
    radius: Tensor
    level: Tensor
    block: Tensor
    low: Tensor
    high: Tensor
    asked: Tensor
    smallest: Smallest


@attack_parameters
class RayS(SlotAttack[State]):
    """Flip the signs of ever smaller blocks of a direction, and keep what brings the boundary nearer along its ray.

    A flip is tried with one query at the best radius so far; only where it fools, its own radius is bisected. In the
    early phase two neighbouring blocks are compared without that: the one whose flip fools at the radius is taken,
    and the radius falls only where both do, to one that tells them apart. Where a success in the ball is enough, no
    radius below ε is asked about, and the first query of an image is a ray of stripes that ends there.

    Source: Chen & Gu 2020, "RayS: A Ray Searching Method for Hard-label Adversarial Attack", algorithm 3; early phase:
    Wang et al. 2025, "ADBA: Approximation Decision Boundary Approach for Black-Box Adversarial Attacks". The stripes
    are those that the Square attack starts from. ``trial`` is ours. Cost: up to ``queries`` label queries.

    Args:
        queries: most queries a sample.
        early: queries of the early phase; 0: none.
        stripes: whether a random sign for each column and channel is tried once, at ε, before the equal signs that the
            authors start from. It settled half of 18 photographs; searching on from it was worse than from equal signs.
        precision: of the bisection, as a share of the domain's width.
        trial: queries for every sample; beyond them only one whose boundary is near goes on. None: all do.
        within: multiple of the radius within which the boundary is near at the end of the trial; it falls towards the
            radius with the cube root of the queries.
    """

    id = "rays"
    access = Access.LABELS
    norms = frozenset({Norm.LINF})
    goals = frozenset({Goal.UNTARGETED})
    stop = Stop.RUN_ON

    queries: Count = 5000
    early: Natural = 500
    stripes: bool = True
    precision: Positive = 1e-3
    trial: Count | None = None
    within: Positive = NEAR

    def init(self, problem: Problem) -> State:
        zero = problem.full(0)
        count = zero.long()
        starts = self.stripes and len(problem.shape) == 3 and not problem.minimal
        return State(
            phase=count + TRY,
            sign=torch.ones_like(problem.x),
            radius=zero + 1,
            level=count - 1 if starts else count,
            block=count,
            low=zero,
            high=zero + 1,
            asked=count,
            smallest=Smallest.none(problem),
        )

    def query(self, problem: Problem, state: State) -> Request:
        """The direction with one block flipped, and in the early phase with its neighbour instead."""
        bisecting = (state.phase == BISECT) | (state.phase == BISECT_BOTH)
        at = torch.where(bisecting, self._middle(problem, state), state.radius)
        at = torch.where(state.level < 0, problem.eps * WITHIN, at)
        both = (state.phase == PAIR) | (state.phase == BISECT_BOTH)
        several = bool(both.any())
        points = problem.x.new_empty(len(problem), 2 if several else 1, *problem.shape)
        for further in range(points.shape[1]):
            self._along(problem, self._flipped(problem, state, further), at, points[:, further])
        if problem.fixed is not None or problem.joint:
            points = problem.clip(points)
        if not several:
            return Labels(points[:, 0])
        return Labels(points, rows=torch.stack([torch.ones_like(both), both], 1))

    def _middle(self, problem: Problem, state: State) -> Tensor:
        """[S] the radius that a bisection asks about next."""
        middle = (state.low + state.high) / 2
        if problem.minimal:
            return middle
        enough = problem.eps * WITHIN
        return torch.where((state.low < enough) & (enough < state.high), torch.maximum(middle, enough), middle)

    def _flipped(self, problem: Problem, state: State, further: int) -> Tensor:
        """[S, *shape] the direction with the signs of a block flipped, or stripes."""
        flat = state.sign.flatten(1).clone()
        length = _length(flat.shape[1], state.level)
        begin = (state.block + further) * length
        for signs, low, high in zip(flat, begin.tolist(), (begin + length).tolist(), strict=True):
            signs[low:high].neg_()  # a mask over all features takes ten times as long
        flipped = flat.reshape(state.sign.shape)
        starting = state.level < 0
        if not bool(starting.any()):
            return flipped
        return select(starting, self.first(problem, state), flipped)

    def first(self, problem: Problem, state: State) -> Tensor:
        """[S, *shape] signs of the ray that is tried once, at ε, before all others."""
        return stripes(problem)

    def _along(self, problem: Problem, sign: Tensor, radius: Tensor, out: Tensor) -> None:
        """Writes the point [S, *shape] at a radius [S] in a direction, within the box, without passes that can be
        spared: memory is what is slow."""
        torch.addcmul(problem.x, sign, per_slot(radius.to(sign.dtype), sign), out=out).clamp_(0.0, 1.0)

    def update(self, problem: Problem, state: State, answer: Answer) -> State:
        several = answer.fooled.dim() == 2
        first = answer.at(0) if several else answer
        second = answer.at(1).fooled if several else torch.zeros_like(answer.fooled)
        smallest = state.smallest.seen(problem, first)
        if several:
            smallest = smallest.seen(problem, answer.at(1))
        asked = state.asked + answer.answered.reshape(len(problem), -1).sum(1)
        middle = self._middle(problem, state)
        after = replace(state, smallest=smallest, asked=asked)
        after = self._after_try(problem, after, state.phase, first.fooled, second)
        return self._after_bisection(problem, after, state, middle, first.fooled, second)

    def _after_try(self, problem: Problem, state: State, phase: Tensor, first: Tensor, second: Tensor) -> State:
        """What fools at the radius is bisected; of a pair only if both do, one alone is taken as it is."""
        single, pair = phase == TRY, phase == PAIR
        search = (single & first & (state.level >= 0)) | (pair & first & second)
        one = pair & (first ^ second)
        state = replace(
            state,
            phase=torch.where(search, torch.where(pair, BISECT_BOTH, BISECT), state.phase),
            low=torch.where(search, 0.0, state.low),
            high=torch.where(search, state.radius, state.high),
        )
        state = self._taken(problem, state, one, second, state.radius)
        return self._next(state, (single | pair) & ~search)

    def _after_bisection(
        self, problem: Problem, state: State, before: State, middle: Tensor, first: Tensor, second: Tensor
    ) -> State:
        """Narrow the bracket; a pair's ends where one of the two fools and the other does not."""
        both = before.phase == BISECT_BOTH
        mask = both | (before.phase == BISECT)
        fools = torch.where(both, first | second, first)
        high = torch.where(mask & fools, middle, state.high)
        low = torch.where(mask & ~fools, middle, state.low)
        told = both & (first ^ second)
        over = mask & (told | (high - low <= self.precision))
        state = self._taken(problem, replace(state, low=low, high=high), over, told & second, high)
        return self._next(state, over)

    def _taken(self, problem: Problem, state: State, mask: Tensor, second: Tensor, radius: Tensor) -> State:
        """The flip of the first block, or the second, becomes the direction."""
        if not bool(mask.any()):
            return state
        sign = select(second, self._flipped(problem, state, 1), self._flipped(problem, state, 0))
        return replace(state, sign=select(mask, sign, state.sign), radius=torch.where(mask, radius, state.radius))

    def _next(self, state: State, mask: Tensor) -> State:
        """Go on to the next block, or pair of blocks, and after the last one to blocks of half the size."""
        size = state.sign[0].numel()
        block = state.block + torch.where((state.phase == PAIR) | (state.phase == BISECT_BOTH), 2, 1)
        last = (state.level < 0) | (block * _length(size, state.level) >= size)
        level = torch.where(last, state.level + 1, state.level)
        level = torch.where(last & (_length(size, state.level) == 1), 1, level)
        block = torch.where(last, 0, block)
        early = (state.asked < self.early) & (level > 0) & (block % 2 == 0)
        return replace(
            state,
            level=torch.where(mask, level, state.level),
            block=torch.where(mask, block, state.block),
            phase=torch.where(mask, torch.where(early, PAIR, TRY), state.phase),
        )

    def done(self, problem: Problem, state: State) -> Tensor:
        """The ball is reached, or it is too far after the trial; else the budget ends it."""
        distance = state.smallest.distance
        return problem.settled(distance) | too_far(problem, distance, state.asked, self.trial, self.within)

    def best(self, problem: Problem, state: State) -> tuple[Tensor, Tensor]:
        return state.smallest.point, ~state.smallest.found


def _length(size: int, level: Tensor) -> Tensor:
    """[S] int64 features in a block: ``size`` over 2^level, rounded up."""
    count = 2 ** level.clamp(0, math.ceil(math.log2(size)))
    return -(-size // count)
