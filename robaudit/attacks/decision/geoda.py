"""GeoDA: the boundary as a hyperplane, whose normal labels tell."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from robaudit.attacks.base import Problem
from robaudit.attacks.decision.points import NEAR
from robaudit.attacks.decision.walk import OWN, BoundaryWalk, Walk
from robaudit.attacks.parameters import Count, Fraction, Positive, attack_parameters
from robaudit.attacks.requests import Answer
from robaudit.threat.norms import Norm, distance, normalise, per_slot, select

__all__ = ["GeoDA"]

REACH = OWN
GROWTH = 1.5
"""Factor by which the step along the normal grows until it fools."""
TRIES = 8
"""Most such steps before the normal is estimated anew."""
FIRST = 80
"""Most probes of the first estimate."""
OVERHEAD = 25
"""Queries of an iteration beside its probes, and of the start, which the budget sets aside."""


@dataclass
class State(Walk):
    """A walk.

    Args:
        normal: [S, *shape] to step along, ``length`` [S] of the step, ``tries`` [S] int64 so far.
        total: [S, *shape] the normals that were estimated so far, added up.
    """

    normal: Tensor
    length: Tensor
    tries: Tensor
    total: Tensor


@attack_parameters
class GeoDA(BoundaryWalk[State]):
    """Estimate the boundary's normal, step from the sample along it (in L-infinity along its signs), bisect, repeat.

    Probes are normal noise in the low frequencies of the cosine transform. Later estimates get more of the budget, by
    a constant factor each, and the normal is the sum of all of them.

    Source: Rahmati, Moosavi-Dezfooli, Frossard, Dai 2020, "GeoDA: a geometric framework for black-box adversarial
    attacks", algorithm 1; that estimates are added up, and that the first has at most 80 probes, is of its authors'
    code. ``trial`` is ours. Cost: up to ``queries`` label queries.

    Args:
        queries: most queries a sample.
        iterations: estimates that share the budget; default as many as leave at most 80 probes to the first.
        decay: the t-th estimate gets ``decay`` to the power of 2/3 of the probes of the next.
        frequencies: share of the frequencies of each side that probes are drawn from.
        radius: of the probes, as a share of the distance.
        trial: queries for every sample; beyond them only one whose boundary is near goes on. None: all do.
        within: multiple of the radius within which the boundary is near at the end of the trial; it falls towards the
            radius with the cube root of the queries.
    """

    id = "geoda"
    norms = frozenset({Norm.L2, Norm.LINF})

    queries: Count = 5000
    iterations: Count | None = None
    decay: Fraction = 0.6
    frequencies: Fraction = 0.33
    radius: Positive = 0.01
    trial: Count | None = None
    within: Positive = NEAR

    def init(self, problem: Problem) -> State:
        zero, none = problem.full(0), torch.zeros_like(problem.x)
        return State.begun(problem, normal=none, length=zero, tries=zero.long(), total=none)

    def probes(self, problem: Problem, state: State) -> Tensor:
        """The budget in geometric parts; after the last of them, as many as it had."""
        parts = torch.tensor(_parts(self.queries, self.iterations, self.decay), device=state.round.device)
        return parts[(state.round - 1).clamp(0, len(parts) - 1)]

    def estimated(self, problem: Problem, state: State, mask: Tensor, normal: Tensor) -> State:
        """Where the hyperplane through the edge is met along the step's direction.

        The normal is that of all estimates so far: the mean displacement of each, whose noise shrinks with the root of
        its probes, is added to theirs.
        """
        mean = normal * per_slot(state.asked.clamp_min(1).to(normal.dtype).rsqrt(), normal)
        total = state.total + mean
        normal = normalise(Norm.L2, total)
        step = normalise(problem.norm, normal)
        there = (normal * (state.edge - problem.x)).flatten(1).sum(1) / (normal * step).flatten(1).sum(1).clamp_min(
            1e-30
        )
        least = 0.25 * distance(problem.norm, state.edge - problem.x).to(there.dtype)
        return replace(
            state,
            phase=torch.where(mask, REACH, state.phase),
            normal=select(mask, step, state.normal),
            length=torch.where(mask, torch.maximum(there, least) * GROWTH, state.length),
            tries=torch.where(mask, 0, state.tries),
            total=select(mask, total, state.total),
        )

    def ask(self, problem: Problem, state: State) -> Tensor:
        return problem.x + state.normal * per_slot(state.length, problem.x)

    def move(self, problem: Problem, state: State, phase: Tensor, answer: Answer) -> State:
        mask = phase == REACH
        hit, tries = mask & answer.fooled, state.tries + 1
        state = self.bisect(state, hit, answer.points)
        missed = mask & ~hit
        state = replace(
            state,
            length=torch.where(missed, state.length * GROWTH, state.length),
            tries=torch.where(missed, tries, state.tries),
        )
        return self.arrived(problem, state, missed & (tries >= TRIES))

    def arrived(self, problem: Problem, state: State, mask: Tensor) -> State:
        return self.estimate(replace(state, round=state.round + mask.long()), mask)


@functools.lru_cache
def _parts(queries: int, iterations: int | None, decay: float) -> list[int]:
    """Probes of each estimate, growing geometrically: as many estimates as keep the first one small."""
    count = iterations or 1
    while True:
        weights = [max(decay, 1e-3) ** (-2 * t / 3) for t in range(count)]
        first = max(0, queries - (count + 1) * OVERHEAD) / sum(weights)
        if iterations is not None or first <= FIRST:
            return [max(1, int(first * weight)) for weight in weights]
        count += 1
