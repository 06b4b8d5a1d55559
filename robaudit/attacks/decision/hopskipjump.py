"""HopSkipJump: a minimal-norm attack that sees labels alone."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from robaudit.attacks.base import Problem, SlotAttack, Slots, Stop
from robaudit.attacks.decision.walk import NOISE_STARTS, along
from robaudit.attacks.parameters import Count, Positive, attack_parameters
from robaudit.attacks.requests import Answer, Labels, Request
from robaudit.threat.model import Access
from robaudit.threat.norms import Norm, distance, normalise, per_slot, select

__all__ = ["HopSkipJump"]

START, BISECT, ESTIMATE, STEP, STRANDED = range(5)
MAX_HALVINGS = 12


@dataclass
class State(Slots):
    """One slot's search; ``phase`` says which fields are in use.

    Args:
        phase: [S] START, BISECT, ESTIMATE, STEP or STRANDED (no starting point fools).
        round: [S] iterations finished; ``draw`` numbers the random draws.
        edge: [S, *shape] the fooling point nearest to the boundary.
        low, high: [S] the bisection's bracket, as a share of the way from the sample to ``far``.
        far: [S, *shape] the fooling end of the bisection.
        total: [S] estimation points asked; ``positive`` those that fool.
        sum_all, sum_fooling: [S, *shape] sums of directions.
        direction: [S, *shape] the step's; ``length`` its current length.
        best: [S, *shape] the closest fooling point, at ``best_distance`` (infinite: none yet).
    """

    phase: Tensor
    round: Tensor
    draw: Tensor
    edge: Tensor
    far: Tensor
    low: Tensor
    high: Tensor
    total: Tensor
    positive: Tensor
    sum_all: Tensor
    sum_fooling: Tensor
    direction: Tensor
    length: Tensor
    halvings: Tensor
    best: Tensor
    best_distance: Tensor


@attack_parameters
class HopSkipJump(SlotAttack[State]):
    """Walk along the decision boundary: bisect to it, estimate its normal from labels, step, repeat.

    Source: Chen, Jordan, Wainwright 2020, "HopSkipJumpAttack: A Query-Efficient Decision-Based Attack",
    algorithm 2 (equations 9, 12, 16). The bisection stops at ``gamma`` / sqrt(d) of the way and the probes
    have radius ``gamma`` x distance. Starts: uniform noise, then other samples of the audit.
    Cost: up to ``queries`` label queries.

    Args:
        queries: most queries a sample.
        initial_evaluations: probes of the first estimate; the t-th uses sqrt(t) times as many.
        max_evaluations: most probes of one estimate.
        gamma: relative radius of the probes and precision of the bisection.
    """

    id = "hopskipjump"
    access = Access.LABELS
    norms = frozenset({Norm.L2, Norm.LINF})
    stop = Stop.RUN_ON

    queries: Count = 5000
    initial_evaluations: Count = 100
    max_evaluations: Count = 10_000
    gamma: Positive = 0.01

    def init(self, problem: Problem) -> State:
        zero, none = problem.full(0), torch.zeros_like(problem.x)
        count = zero.long()
        return State(
            phase=count + START,
            round=count,
            draw=count,
            edge=none,
            far=none,
            low=zero,
            high=zero + 1,
            total=count,
            positive=count,
            sum_all=none,
            sum_fooling=none,
            direction=none,
            length=zero,
            halvings=count,
            best=none,
            best_distance=problem.full(math.inf),
        )

    def query(self, problem: Problem, state: State) -> Request:
        """One point in every phase but the estimate, which asks for many."""
        one = self._single(problem, state)
        estimating = state.phase == ESTIMATE
        if not bool(estimating.any()):
            return Labels(one)
        wanted = torch.where(estimating, self._left(problem, state), 1)
        count = int(wanted.max())
        points = one.new_zeros(len(problem), count, *problem.shape)
        points[:, 0] = one
        slots = estimating.nonzero()[:, 0]
        points[slots] = self._probes(problem.take(slots), state.take(slots), count)
        rows = torch.arange(count, device=wanted.device)[None, :] < wanted[:, None]
        return Labels(points, rows=rows)

    def _single(self, problem: Problem, state: State) -> Tensor:
        """The next point of the slots that ask for one."""
        x = problem.x
        point = along(problem, state.far, (state.low + state.high) / 2)
        stepping = state.phase == STEP
        if bool(stepping.any()):
            step = problem.clip(state.edge + state.direction * per_slot(state.length, x))
            point = select(stepping, step, point)
        starting = (state.phase == START) | (state.phase == STRANDED)
        if bool(starting.any()):
            point = select(starting, self._start(problem, state), point)
        return point

    def _start(self, problem: Problem, state: State) -> Tensor:
        """Uniform noise first, then samples of the pool from a keyed offset."""
        noise = problem.draws.uniform("start", state.draw, problem.shape).to(problem.x.dtype)
        size = len(problem.pool.labels)
        if size == 0:
            return problem.clip(noise)
        offset = problem.draws.integers("offset", 0, torch.full_like(state.draw, size))
        picked = problem.pool.points[(offset + state.draw - NOISE_STARTS) % size]
        return problem.clip(select(state.draw < NOISE_STARTS, noise, picked.to(noise.dtype)))

    def _left(self, problem: Problem, state: State) -> Tensor:
        """Probes that this request may still ask for."""
        goal = (self.initial_evaluations * (state.round + 1).sqrt()).long().clamp_max(self.max_evaluations)
        return (goal - state.total).clamp(1, problem.max_points)

    def _radius(self, problem: Problem, state: State) -> Tensor:
        """[S] radius of the probes: a tenth of the box at first, then relative to the distance."""
        size = distance(problem.norm, state.edge - problem.x).to(problem.x.dtype)
        scale = math.prod(problem.shape) ** 0.5 if problem.norm is Norm.LINF else 1.0
        return torch.where(state.round == 0, 0.1, self.gamma * size * scale)

    def _probes(self, problem: Problem, state: State, count: int) -> Tensor:
        """[S, count, *shape] points on a sphere around the edge."""
        shape = (count, *problem.shape)
        noise = problem.draws.normal("probe", state.draw, shape).to(problem.x.dtype)
        unit = normalise(Norm.L2, noise.flatten(0, 1)).reshape(noise.shape)
        radius = self._radius(problem, state)
        return problem.clip(state.edge[:, None] + unit * per_slot(radius, unit))

    def update(self, problem: Problem, state: State, answer: Answer) -> State:
        several = answer.fooled.dim() == 2
        fooled = answer.fooled[:, 0] if several else answer.fooled
        point = answer.points[:, 0] if several else answer.points
        phase = state.phase
        after = self._keep_best(problem, state, point, fooled & (phase != ESTIMATE))
        after = replace(after, draw=after.draw + 1)
        after = self._after_start(problem, after, phase == START, fooled, point)
        after = self._after_bisection(problem, after, phase == BISECT, fooled)
        if several:
            after = self._after_probes(problem, after, phase == ESTIMATE, answer)
        return self._after_step(problem, after, phase == STEP, fooled, point)

    def _keep_best(self, problem: Problem, state: State, point: Tensor, fooled: Tensor) -> State:
        size = distance(problem.norm, point - problem.x).to(problem.x.dtype)
        better = fooled & (size < state.best_distance)
        return replace(
            state,
            best=select(better, point, state.best),
            best_distance=torch.where(better, size, state.best_distance),
        )

    def _bisect(self, state: State, mask: Tensor, far: Tensor) -> State:
        """Start a bisection between the sample and a fooling point."""
        return replace(
            state,
            phase=torch.where(mask, BISECT, state.phase),
            far=select(mask, far, state.far),
            low=torch.where(mask, 0.0, state.low),
            high=torch.where(mask, 1.0, state.high),
        )

    def _after_start(self, problem: Problem, state: State, mask: Tensor, fooled: Tensor, point: Tensor) -> State:
        if not bool(mask.any()):
            return state
        tries = NOISE_STARTS + len(problem.pool.labels)
        stranded = mask & ~fooled & (state.draw >= tries)
        state = replace(state, phase=torch.where(stranded, STRANDED, state.phase))
        return self._bisect(state, mask & fooled, point)

    def _after_bisection(self, problem: Problem, state: State, mask: Tensor, fooled: Tensor) -> State:
        if not bool(mask.any()):
            return state
        middle = (state.low + state.high) / 2
        high = torch.where(mask & fooled, middle, state.high)
        low = torch.where(mask & ~fooled, middle, state.low)
        precision = self.gamma / math.prod(problem.shape) ** 0.5
        reached = mask & (high - low <= precision)
        edge = along(problem, state.far, high)
        zero = torch.zeros_like(state.sum_all)
        return replace(
            state,
            low=low,
            high=high,
            phase=torch.where(reached, ESTIMATE, state.phase),
            edge=select(reached, edge, state.edge),
            total=torch.where(reached, 0, state.total),
            positive=torch.where(reached, 0, state.positive),
            sum_all=select(reached, zero, state.sum_all),
            sum_fooling=select(reached, zero, state.sum_fooling),
        )

    def _after_probes(self, problem: Problem, state: State, mask: Tensor, answer: Answer) -> State:
        """Add the probes up; with all of them, the direction is eq. 16 (baseline: the mean label)."""
        asked = answer.answered & mask[:, None]
        fooling = asked & answer.fooled
        total = state.total + asked.sum(1)
        positive = state.positive + fooling.sum(1)
        slots = mask.nonzero()[:, 0]
        moves = answer.points[slots] - state.edge[slots, None]  # after clipping, as the authors do
        weights = torch.stack([asked[slots], fooling[slots]], 1).to(moves.dtype)
        sums = torch.bmm(weights, moves.flatten(2)).reshape(len(slots), 2, *problem.shape)
        sum_all = state.sum_all.index_add(0, slots, sums[:, 0])
        sum_fooling = state.sum_fooling.index_add(0, slots, sums[:, 1])
        goal = (self.initial_evaluations * (state.round + 1).sqrt()).long().clamp_max(self.max_evaluations)
        ready = mask & (total >= goal)
        rate = per_slot(positive / total.clamp_min(1), sum_all).to(sum_all.dtype)
        # sum of (2 phi - 1 - mean) v = 2 (sum_fooling - rate * sum_all); one-sided answers keep their sign
        estimate = 2 * (sum_fooling - rate * sum_all)
        estimate = torch.where(rate == 1, sum_all, torch.where(rate == 0, -sum_all, estimate))
        direction = normalise(problem.norm, estimate)
        size = distance(problem.norm, state.edge - problem.x).to(problem.x.dtype)
        length = size / (state.round + 1).sqrt()
        return replace(
            state,
            total=total,
            positive=positive,
            sum_all=sum_all,
            sum_fooling=sum_fooling,
            phase=torch.where(ready, STEP, state.phase),
            direction=select(ready, direction, state.direction),
            length=torch.where(ready, length, state.length).to(state.length.dtype),
            halvings=torch.where(ready, 0, state.halvings),
        )

    def _after_step(self, problem: Problem, state: State, mask: Tensor, fooled: Tensor, point: Tensor) -> State:
        """A step that still fools is bisected; one that does not is halved; a hopeless one is dropped."""
        if not bool(mask.any()):
            return state
        failed = mask & ~fooled
        given_up = failed & (state.halvings >= MAX_HALVINGS)
        through = (mask & fooled) | given_up
        far = select(given_up, state.edge, point)
        state = replace(
            state,
            length=torch.where(failed, state.length / 2, state.length),
            halvings=state.halvings + failed.long(),
            round=state.round + through.long(),
        )
        return self._bisect(state, through, far)

    def done(self, problem: Problem, state: State) -> Tensor:
        """No starting point fools, or the ball is reached; else the budget ends it."""
        return (state.phase == STRANDED) | problem.settled(state.best_distance)

    def best(self, problem: Problem, state: State) -> tuple[Tensor, Tensor]:
        return state.best, state.best_distance.isinf()
