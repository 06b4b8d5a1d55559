"""CGBA: a search along the semicircle in the plane of the boundary's normal, with labels alone."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from robaudit.attacks.base import Problem
from robaudit.attacks.decision.points import NEAR, on_circle
from robaudit.attacks.decision.walk import OWN, BoundaryWalk, Walk
from robaudit.attacks.parameters import Count, Fraction, Positive, attack_parameters
from robaudit.attacks.requests import Answer
from robaudit.threat.norms import Norm, normalise, per_slot, select

__all__ = ["CGBA"]

GROW = OWN
FIRST_ANGLE = math.pi / 128
"""Of the search that follows the semicircle step by step, each angle twice the last."""


@dataclass
class State(Walk):
    """A walk; ``normal`` [S, *shape] of the boundary at the edge, ``angle`` [S] the next one that is tried, radians."""

    normal: Tensor
    angle: Tensor


@attack_parameters
class CGBA(BoundaryWalk[State]):
    """Estimate the boundary's normal, and follow the semicircle over the way to the sample, turned to the normal.

    Its points come nearer to the sample with the angle, and the last that fools is found by bisection. In a targeted
    audit, where boundaries are curved more, angles are doubled from a small one until one does not fool, and the last
    doubling is bisected.

    Source: Reza, Rahmati, Wu, Dai 2023, "CGBA: Curvature-aware Geometric Black-box Attack"; probes and their number as
    in its authors' code, with a radius that follows the distance. Their targeted form, CGBA-H, halves the normal's
    angle until it fools and bisects the straight way from there; ours came a little nearer. ``trial`` is ours. Cost: up
    to ``queries`` label queries.

    Args:
        queries: most queries a sample.
        initial_evaluations: probes of the first estimate; the t-th uses sqrt(t) times as many.
        frequencies: share of the frequencies of each side that probes are drawn from.
        radius: of the probes, as a share of the distance.
        trial: queries for every sample; beyond them only one whose boundary is near goes on. None: all do.
        within: multiple of the radius within which the boundary is near at the end of the trial; it falls towards the
            radius with the cube root of the queries.
    """

    id = "cgba"
    norms = frozenset({Norm.L2})

    queries: Count = 5000
    initial_evaluations: Count = 30
    frequencies: Fraction = 0.25
    radius: Positive = 0.01
    trial: Count | None = None
    within: Positive = NEAR

    def init(self, problem: Problem) -> State:
        return State.begun(problem, normal=torch.zeros_like(problem.x), angle=problem.full(0))

    def probes(self, problem: Problem, state: State) -> Tensor:
        return (self.initial_evaluations * state.round.clamp_min(1).double().sqrt()).long()

    def estimated(self, problem: Problem, state: State, mask: Tensor, normal: Tensor) -> State:
        """Keep the normal's part across the way to the edge, and search its semicircle."""
        unit = normalise(Norm.L2, state.edge - problem.x)
        across = normalise(Norm.L2, normal - unit * per_slot((normal * unit).flatten(1).sum(1), unit))
        state = replace(
            state,
            normal=select(mask, across, state.normal),
            angle=torch.where(mask, FIRST_ANGLE, state.angle),
        )
        step = mask & (problem.goal >= 0)
        state = self.bisect(state, mask & ~step, state.far)
        return replace(state, phase=torch.where(step, GROW, state.phase))

    def way(self, problem: Problem, state: State, share: Tensor) -> Tensor:
        """At first the straight way, then the semicircle from the sample."""
        straight = super().way(problem, state, share)
        return select(
            state.round > 0, on_circle(problem, state.edge, state.normal, (1 - share) * (math.pi / 2)), straight
        )

    def ask(self, problem: Problem, state: State) -> Tensor:
        return on_circle(problem, state.edge, state.normal, state.angle)

    def move(self, problem: Problem, state: State, phase: Tensor, answer: Answer) -> State:
        mask = phase == GROW
        grown = state.angle * 2
        over = mask & (~answer.fooled | (grown >= math.pi / 2))
        # what failed is bisected with half of it; the last doubling of all, which fooled, with the sample
        low = torch.where(answer.fooled, 0.0, 1 - state.angle / (math.pi / 2))
        last = torch.where(answer.fooled, state.angle, torch.where(state.angle > FIRST_ANGLE, state.angle / 2, 0.0))
        state = self.bisect(state, over, state.far, low, 1 - last / (math.pi / 2))
        return replace(state, angle=torch.where(mask & ~over, grown, state.angle))

    def arrived(self, problem: Problem, state: State, mask: Tensor) -> State:
        return self.estimate(replace(state, round=state.round + mask.long()), mask)
