"""HopSkipJump: a minimal-norm attack that sees labels alone."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from robaudit.attacks.base import Problem
from robaudit.attacks.decision.probes import on_spheres
from robaudit.attacks.decision.walk import OWN, BoundaryWalk, Walk
from robaudit.attacks.parameters import Count, Positive, attack_parameters
from robaudit.attacks.requests import Answer
from robaudit.threat.norms import Norm, distance, normalise, per_slot, select

__all__ = ["HopSkipJump"]

STEP = OWN
MAX_HALVINGS = 12


@dataclass
class State(Walk):
    """A walk; ``direction`` [S, *shape] of the step, its current ``length`` [S], and ``halvings`` [S] int64 of it."""

    direction: Tensor
    length: Tensor
    halvings: Tensor


@attack_parameters
class HopSkipJump(BoundaryWalk[State]):
    """Walk along the decision boundary: bisect to it, estimate its normal from labels, step, repeat.

    Source: Chen, Jordan, Wainwright 2020, "HopSkipJumpAttack: A Query-Efficient Decision-Based Attack",
    algorithm 2 (equations 9, 12, 16). Probes have the radius ``gamma`` x distance, in L-infinity sqrt(d) times that,
    and the bisection stops at this share of the distance over sqrt(d), so that the edge is far nearer to the boundary
    than the probes are: the source's theta, with a wider radius than its 1 / d, which single precision does not
    resolve. Their noise is that of the authors' code: normal, in L-infinity uniform. Starts: uniform noise (of large
    images in L-infinity stripes first, which is ours), then other samples of the audit, in a targeted one those of the
    goal first. Cost: up to ``queries`` label queries.

    Args:
        queries: most queries a sample.
        initial_evaluations: probes of the first estimate; the t-th uses sqrt(t) times as many.
        max_evaluations: most probes of one estimate.
        gamma: relative radius of the probes and precision of the bisection.
    """

    id = "hopskipjump"
    norms = frozenset({Norm.L2, Norm.LINF})

    queries: Count = 5000
    initial_evaluations: Count = 100
    max_evaluations: Count = 10_000
    gamma: Positive = 0.01

    def init(self, problem: Problem) -> State:
        zero = problem.full(0)
        return State.begun(problem, direction=torch.zeros_like(problem.x), length=zero, halvings=zero.long())

    def precision(self, problem: Problem, state: State) -> Tensor:
        """The probes' radius over the root of their dimension: theta of the source, of the distance that is left."""
        return state.high * (self.gamma / math.sqrt(math.prod(problem.shape)))

    def probes(self, problem: Problem, state: State) -> Tensor:
        return (self.initial_evaluations * (state.round + 1).sqrt()).long().clamp_max(self.max_evaluations)

    def probe(self, problem: Problem, state: State, wanted: Tensor) -> Tensor:
        """On a sphere around the edge: a tenth of the box at first, then relative to the distance."""
        directions = on_spheres(problem, "probe", state.draw, uniform=problem.norm is Norm.LINF)
        size = distance(problem.norm, state.edge - problem.x).to(problem.x.dtype)
        scale = math.prod(problem.shape) ** 0.5 if problem.norm is Norm.LINF else 1.0
        radius = torch.where(state.round == 0, 0.1, self.gamma * size * scale)
        return self.around(problem, state, directions, radius, wanted)

    def estimated(self, problem: Problem, state: State, mask: Tensor, normal: Tensor) -> State:
        direction = normal if problem.norm is Norm.L2 else normalise(problem.norm, normal)
        size = distance(problem.norm, state.edge - problem.x).to(problem.x.dtype)
        length = size / (state.round + 1).sqrt()
        return replace(
            state,
            phase=torch.where(mask, STEP, state.phase),
            direction=select(mask, direction, state.direction),
            length=torch.where(mask, length, state.length).to(state.length.dtype),
            halvings=torch.where(mask, 0, state.halvings),
        )

    def ask(self, problem: Problem, state: State) -> Tensor:
        return state.edge + state.direction * per_slot(state.length, problem.x)

    def move(self, problem: Problem, state: State, phase: Tensor, answer: Answer) -> State:
        """A step that still fools is bisected; one that does not is halved; a hopeless one is dropped."""
        mask = phase == STEP
        failed = mask & ~answer.fooled
        given_up = failed & (state.halvings >= MAX_HALVINGS)
        through = (mask & answer.fooled) | given_up
        state = replace(
            state,
            length=torch.where(failed, state.length / 2, state.length),
            halvings=state.halvings + failed.long(),
            round=state.round + through.long(),
        )
        return self.bisect(state, through, select(given_up, state.edge, answer.points))

    def arrived(self, problem: Problem, state: State, mask: Tensor) -> State:
        return self.estimate(state, mask)
