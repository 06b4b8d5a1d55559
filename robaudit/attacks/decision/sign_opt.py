"""Sign-OPT: descent on the distance of the boundary in a direction, whose gradient's sign a label tells."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from robaudit.attacks.base import Problem
from robaudit.attacks.decision.probes import in_parts, on_spheres
from robaudit.attacks.decision.walk import OWN, BoundaryWalk, Walk
from robaudit.attacks.parameters import Count, Fraction, Positive, attack_parameters
from robaudit.attacks.requests import Answer
from robaudit.threat.norms import Norm, distance, normalise, per_slot, select

__all__ = ["SignOPT"]

STEP = OWN
LEAST = 1e-4
"""Step at which the search for its length is given up, and the gradient estimated anew."""


@dataclass
class State(Walk):
    """A walk, whose edge lies in the direction that descends.

    Args:
        normal: [S, *shape] along which the distance falls.
        length: [S] of the step that is tried, as a share of the distance.
        turned: [S, *shape] the last point that fooled at the edge's distance; ``better`` [S] bool, there is one.
    """

    normal: Tensor
    length: Tensor
    turned: Tensor
    better: Tensor


@attack_parameters
class SignOPT(BoundaryWalk[State]):
    """Descend on the boundary's distance as a function of the direction; one label tells the sign of each slope.

    Whether a direction turned a little at random has its boundary nearer shows at the present distance. The sum of
    such turns, each with its sign, is the step. Its length is doubled while the label at the present distance still
    says that it is better, or quartered until it does; then the new distance is bisected.

    Source: Cheng, Singh, Chen, Chen, Liu, Hsieh 2020, "Sign-OPT: A Query-Efficient Hard-label Adversarial Attack",
    algorithm 1; the line search with labels alone is ours. Cost: up to ``queries`` label queries.

    Args:
        queries: most queries a sample.
        evaluations: turns of a gradient.
        radius: of the turns, as a share of the distance.
        step: first length of a step, as a share of the distance.
        frequencies: share of the frequencies of each side that turns are drawn from.
    """

    id = "sign-opt"
    norms = frozenset({Norm.L2, Norm.LINF})

    queries: Count = 5000
    evaluations: Count = 200
    radius: Positive = 0.01
    step: Positive = 0.2
    frequencies: Fraction = 1.0

    def init(self, problem: Problem) -> State:
        zero, none = problem.full(0), torch.zeros_like(problem.x)
        return State.begun(problem, normal=none, length=zero + self.step, turned=none, better=zero.bool())

    def probes(self, problem: Problem, state: State) -> Tensor:
        return torch.full_like(state.round, self.evaluations)

    def probe(self, problem: Problem, state: State, wanted: Tensor) -> Tensor:
        """Turns of the way to the edge, at its distance."""
        directions = on_spheres(problem, "turn", state.draw, self.frequencies)
        way = state.edge - problem.x
        length = per_slot(self.radius * distance(Norm.L2, way).to(way.dtype), way)[:, None]
        size = distance(problem.norm, way)

        def part(slots: slice, first: int, number: int) -> Tensor:
            turned = directions(slots, first, number).mul_(length[slots]).add_(way[slots, None])
            # every turn is a slot of its own here
            sizes = size[slots, None].expand(-1, number).flatten()
            return _onto(problem.norm, turned.flatten(0, 1), sizes).reshape(turned.shape).add_(problem.x[slots, None])

        return in_parts(problem, wanted, part)

    def estimated(self, problem: Problem, state: State, mask: Tensor, normal: Tensor) -> State:
        return replace(
            state,
            phase=torch.where(mask, STEP, state.phase),
            normal=select(mask, normal, state.normal),
            better=state.better & ~mask,
        )

    def ask(self, problem: Problem, state: State) -> Tensor:
        """A step from the edge, at its distance."""
        way = state.edge - problem.x
        size = distance(problem.norm, way)
        step = normalise(problem.norm, state.normal) * per_slot(state.length * size.to(way.dtype), way)
        return problem.x + _onto(problem.norm, way + step, size)

    def move(self, problem: Problem, state: State, phase: Tensor, answer: Answer) -> State:
        mask = phase == STEP
        hit, missed = mask & answer.fooled, mask & ~answer.fooled
        over = missed & state.better
        hopeless = missed & ~state.better & (state.length < LEAST)
        length = torch.where(hit, state.length * 2, torch.where(missed & ~state.better, state.length / 4, state.length))
        stop = hit & (length > 1e3)
        turned = select(hit, answer.points, state.turned)
        state = replace(
            state,
            length=torch.where(hopeless, self.step, torch.where(over, state.length / 2, length)).to(state.length.dtype),
            turned=turned,
            better=state.better | hit,
        )
        state = self.bisect(state, over | stop, turned)
        return self.arrived(problem, state, hopeless)

    def arrived(self, problem: Problem, state: State, mask: Tensor) -> State:
        return self.estimate(replace(state, round=state.round + mask.long()), mask)


def _onto(norm: Norm, delta: Tensor, size: Tensor) -> Tensor:
    """Perturbations [N, *shape] brought to sizes [N] float64: scaled, or in L-infinity cut off."""
    if norm is Norm.LINF:
        bound = per_slot(size.to(delta.dtype), delta)
        return torch.minimum(torch.maximum(delta, -bound), bound)
    return delta * per_slot((size / distance(norm, delta).clamp_min(1e-30)).to(delta.dtype), delta)
