"""What minimal-norm attacks with labels share: a fooling start, bisection to the boundary, and its normal by probes."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self, TypeVar

import torch
from torch import Tensor

from robaudit.attacks.base import Problem, SlotAttack, Slots, Stop
from robaudit.attacks.decision.points import NEAR, along, start_point, start_tries, too_far
from robaudit.attacks.decision.probes import Part, added_up, in_parts, on_spheres
from robaudit.attacks.frequencies import low_shape
from robaudit.attacks.parameters import Count
from robaudit.attacks.requests import Answer, Labels, Request
from robaudit.attacks.smallest import Smallest
from robaudit.threat.model import Access
from robaudit.threat.norms import Norm, distance, normalise, per_slot, select

__all__ = ["BISECT", "OWN", "PROBE", "START", "STRANDED", "BoundaryWalk", "Walk"]

STRANDED, START, BISECT, PROBE, OWN = range(5)
"""Phases: no starting point fools, one is looked for, a way is bisected, a normal is estimated; the attack's own are
numbered from OWN on."""


@dataclass
class Walk(Slots):
    """One slot's walk; ``phase`` says which fields are in use.

    Args:
        phase: [S] see above.
        draw: [S] int64 answers so far, which numbers the random draws; ``tried`` starting points among them.
        spent: [S] int64 queries so far.
        round: [S] int64 iterations of the attack begun.
        smallest: the nearest fooling point.
        edge: [S, *shape] the fooling end of the last bisection.
        far: [S, *shape] where the way that is bisected leads to.
        low, high: [S] bracket of the bisection: places on the way that do not fool, and do.
        asked: [S] int64 probes answered, and ``positive`` those that fool.
        sum_all, sum_fooling: [S, *shape] sums of their displacements from the edge.
    """

    phase: Tensor
    draw: Tensor
    spent: Tensor
    tried: Tensor
    round: Tensor
    smallest: Smallest
    edge: Tensor
    far: Tensor
    low: Tensor
    high: Tensor
    asked: Tensor
    positive: Tensor
    sum_all: Tensor
    sum_fooling: Tensor

    @classmethod
    def begun(cls, problem: Problem, **own: Any) -> Self:
        """Nothing asked yet; ``own`` are the fields that a subclass adds."""
        zero, none = problem.full(0), torch.zeros_like(problem.x)
        count = zero.long()
        smallest = Smallest.none(problem)
        sums = (count, count, none, none)
        return cls(count + START, count, count, count, count, smallest, none, none, zero, zero + 1, *sums, **own)


WalkT = TypeVar("WalkT", bound=Walk)


class BoundaryWalk(SlotAttack[WalkT]):
    """A start that fools, a bisection to the boundary, then the attack's own phases, which may ask for either again."""

    access = Access.LABELS
    stop = Stop.RUN_ON
    queries: Count
    trial: int | None = None
    """Queries after which only a sample goes on whose boundary is near; None: all do."""
    within: float = NEAR
    """How near, as a multiple of the radius."""
    frequencies: float = 1.0
    """Share of the frequencies of each side that probes are drawn from."""
    radius: float = 0.01
    """Of the probes, as a share of the distance."""
    accuracy: ClassVar[float] = 0.01
    """Precision of the bisection: this over the root of the probes' dimension, as a share of the distance."""

    def query(self, problem: Problem, state: WalkT) -> Request:
        """One point in every phase but the estimate, which asks for many."""
        probing = state.phase == PROBE
        slots = probing.nonzero()[:, 0]
        if slots.numel() == 0:
            return Labels(self._single(problem, state))
        left = (self.probes(problem, state) - state.asked).clamp(1, problem.max_points)
        points = self.probe(problem, state, torch.where(probing, left, 0))
        wanted = torch.where(probing, left, 1)
        rows = torch.arange(points.shape[1], device=wanted.device)[None, :] < wanted[:, None]
        if slots.numel() < len(problem):
            others = (~probing).nonzero()[:, 0]
            points[others, 0] = self._single(problem.take(others), state.take(others))
        return Labels(points, rows=rows)

    def _single(self, problem: Problem, state: WalkT) -> Tensor:
        """The next point of the slots that ask for one."""
        point = problem.clip(self.way(problem, state, (state.low + state.high) / 2))
        own = state.phase >= OWN
        if bool(own.any()):
            point = select(own, problem.clip(self.ask(problem, state)), point)
        starting = state.phase <= START
        if bool(starting.any()):
            point = select(starting, self.start(problem, state.tried), point)
        return point

    def update(self, problem: Problem, state: WalkT, answer: Answer) -> WalkT:
        several = answer.fooled.dim() == 2
        first = answer.at(0) if several else answer
        one = replace(first, fooled=first.fooled & (state.phase != PROBE))
        phase = state.phase
        spent = state.spent + answer.answered.reshape(len(problem), -1).sum(1)
        after = replace(state, smallest=state.smallest.seen(problem, one), draw=state.draw + 1, spent=spent)
        if bool((phase == START).any()):
            after = self._after_start(problem, after, phase == START, one)
        if bool((phase == BISECT).any()):
            after = self._after_bisection(problem, after, phase == BISECT, one)
        if several:
            after = self._after_probes(problem, after, phase == PROBE, answer)
        if bool((phase >= OWN).any()):
            after = self.move(problem, after, phase, one)
        return after

    def _after_start(self, problem: Problem, state: WalkT, mask: Tensor, answer: Answer) -> WalkT:
        tried = state.tried + mask.long()
        stranded = mask & ~answer.fooled & (tried >= start_tries(problem))
        state = replace(state, phase=torch.where(stranded, STRANDED, state.phase), tried=tried)
        return self.started(problem, state, mask & answer.fooled, answer.points)

    def bisect(
        self, state: WalkT, mask: Tensor, far: Tensor, low: float | Tensor = 0.0, high: float | Tensor = 1.0
    ) -> WalkT:
        """Bisect the way to ``far`` between a place that does not fool and one that does."""
        return replace(
            state,
            phase=torch.where(mask, BISECT, state.phase),
            far=select(mask, far, state.far),
            low=torch.where(mask, low, state.low).to(state.low.dtype),
            high=torch.where(mask, high, state.high).to(state.high.dtype),
        )

    def _after_bisection(self, problem: Problem, state: WalkT, mask: Tensor, answer: Answer) -> WalkT:
        middle = (state.low + state.high) / 2
        high = torch.where(mask & answer.fooled, middle, state.high)
        low = torch.where(mask & ~answer.fooled, middle, state.low)
        reached = mask & (high - low <= self.precision(problem, state))
        state = replace(state, low=low, high=high)
        if not bool(reached.any()):
            return state
        edge = select(reached, problem.clip(self.way(problem, state, high)), state.edge)
        return self.arrived(problem, replace(state, edge=edge), reached)

    def _after_probes(self, problem: Problem, state: WalkT, mask: Tensor, answer: Answer) -> WalkT:
        """Add the probes up; with all of them, the attack goes on with the normal."""
        asked = answer.answered & mask[:, None]
        fooling = asked & answer.fooled
        sums = added_up(answer.points, state.edge, torch.stack([asked, fooling], 1).to(problem.x.dtype))
        state = replace(
            state,
            asked=state.asked + asked.sum(1),
            positive=state.positive + fooling.sum(1),
            sum_all=state.sum_all + sums[:, 0],
            sum_fooling=state.sum_fooling + sums[:, 1],
        )
        ready = mask & (state.asked >= self.probes(problem, state))
        if not bool(ready.any()):
            return state
        # the sum of (sign - mean sign) x displacement; answers that are all the same keep their sign
        rate = per_slot((state.positive / state.asked.clamp_min(1)).to(problem.x.dtype), state.sum_all)
        normal = state.sum_fooling - rate * state.sum_all
        normal = torch.where(rate == 1, state.sum_all, torch.where(rate == 0, -state.sum_all, normal))
        return self.estimated(problem, state, ready, normalise(Norm.L2, normal))

    def estimate(self, state: WalkT, mask: Tensor) -> WalkT:
        """Estimate the normal at the edge next."""
        zero = torch.zeros_like(state.sum_all)
        return replace(
            state,
            phase=torch.where(mask, PROBE, state.phase),
            asked=torch.where(mask, 0, state.asked),
            positive=torch.where(mask, 0, state.positive),
            sum_all=select(mask, zero, state.sum_all),
            sum_fooling=select(mask, zero, state.sum_fooling),
        )

    def done(self, problem: Problem, state: WalkT) -> Tensor:
        """No starting point fools, the ball is reached, or it is too far after the trial; else the budget ends it."""
        over = (state.phase == STRANDED) | problem.settled(state.smallest.distance)
        return over | too_far(problem, state.smallest.distance, state.spent, self.trial, self.within)

    def best(self, problem: Problem, state: WalkT) -> tuple[Tensor, Tensor]:
        return state.smallest.point, ~state.smallest.found

    def start(self, problem: Problem, number: Tensor) -> Tensor:
        """[S, *shape] the starting point that is tried next."""
        return start_point(problem, number)

    def started(self, problem: Problem, state: WalkT, mask: Tensor, point: Tensor) -> WalkT:
        """What follows a starting point that fools."""
        return self.bisect(state, mask, point)

    def way(self, problem: Problem, state: WalkT, share: Tensor) -> Tensor:
        """[S, *shape] the place at a share [S] of the way that is bisected, from the sample to ``far``."""
        return along(problem, state.far, share)

    def precision(self, problem: Problem, state: WalkT) -> Tensor:
        """[S] the bracket at which a bisection ends."""
        return state.high * (self.accuracy / math.sqrt(math.prod(low_shape(problem.shape, self.frequencies))))

    def probes(self, problem: Problem, state: WalkT) -> Tensor:
        """[S] int64 probes of the next estimate."""
        raise TypeError(f"{self.id} estimates no normal")

    def probe(self, problem: Problem, state: WalkT, wanted: Tensor) -> Tensor:
        """[S, P, *shape] points around the edge that tell on which side of the boundary they are.

        So many as ``wanted`` [S] says of each slot, whose most is P; what else it holds is of no use.
        """
        size = distance(Norm.L2, state.edge - problem.x).to(problem.x.dtype) * self.radius
        return self.around(problem, state, on_spheres(problem, "probe", state.draw, self.frequencies), size, wanted)

    def around(self, problem: Problem, state: WalkT, directions: Part, radius: Tensor, wanted: Tensor) -> Tensor:
        """[S, P, *shape] points at a radius [S] from the edge; see :meth:`probe`."""
        scale = radius.reshape(-1, *[1] * (problem.x.dim()))

        def part(slots: slice, first: int, number: int) -> Tensor:
            return directions(slots, first, number).mul_(scale[slots]).add_(state.edge[slots, None])

        return in_parts(problem, wanted, part)

    def estimated(self, problem: Problem, state: WalkT, mask: Tensor, normal: Tensor) -> WalkT:
        """What follows an estimate of the normal [S, *shape], of length 1 towards what fools."""
        raise TypeError(f"{self.id} estimates no normal")

    @abstractmethod
    def ask(self, problem: Problem, state: WalkT) -> Tensor:
        """[S, *shape] the next point in the attack's own phases."""

    @abstractmethod
    def move(self, problem: Problem, state: WalkT, phase: Tensor, answer: Answer) -> WalkT:
        """What follows an answer in them; ``phase`` is the one that asked."""

    @abstractmethod
    def arrived(self, problem: Problem, state: WalkT, mask: Tensor) -> WalkT:
        """What follows a bisection, whose end is the edge."""
