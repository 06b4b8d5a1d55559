"""SurFree: circles in random directions instead of the boundary's normal, with labels alone."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from robaudit.attacks.base import Problem
from robaudit.attacks.decision.points import NEAR, on_circle
from robaudit.attacks.decision.walk import OWN, BoundaryWalk, Walk
from robaudit.attacks.frequencies import from_low_frequencies, low_shape, to_low_frequencies
from robaudit.attacks.parameters import Count, Fraction, Natural, Positive, attack_parameters
from robaudit.attacks.requests import Answer
from robaudit.threat.norms import Norm, normalise, per_slot, select

__all__ = ["SurFree"]

SIGNS = OWN
REMEMBERED = 2**20
"""Most numbers that a slot keeps of its last directions."""


@dataclass
class State(Walk):
    """A walk, and its circle.

    Args:
        direction: [S, *shape] of length 1, orthogonal to the way to the edge.
        reach: [S] largest angle tried, radians; ``turn`` [S] int64 which of the angles is next.
        angle: [S] signed one that fooled; ``beyond`` [S] one further.
        past: [S, L, D] coefficients of the last directions, orthonormal; zero where there is none yet.
        drawn: [S] int64 directions so far.
    """

    direction: Tensor
    reach: Tensor
    turn: Tensor
    angle: Tensor
    beyond: Tensor
    past: Tensor
    drawn: Tensor


@attack_parameters
class SurFree(BoundaryWalk[State]):
    """Move along the circle over the way to the sample, towards a random direction or away from it, while it fools.

    Directions are drawn from the low frequencies of the cosine transform, weighted as the sample's own, and orthogonal
    to the last ones. Each is tried at one angle of either sign, or at several, the largest first; the first that fools
    is increased by bisection. The angles grow after a success and shrink after a failure.

    Source: Maho, Furon, Le Merrer 2021, "SurFree: a fast surrogate-free black-box attack", algorithm 1, with one angle
    as in its authors' configuration. Samples that are no C x H x W images get normal noise over all features. ``trial``
    is ours. Cost: up to ``queries`` label queries.

    Args:
        queries: most queries a sample.
        frequencies: share of the frequencies of each side that directions are drawn from.
        angle: largest angle at first, degrees.
        angles: how many are tried of either sign.
        rho: factor of the largest angle after a failure; its inverse after a success.
        orthogonal: how many of the last directions the next is orthogonal to, fewer for large images.
        halvings: of the bisection of an angle.
        trial: queries for every sample; beyond them only one whose boundary is near goes on. None: all do.
        within: multiple of the radius within which the boundary is near at the end of the trial; it falls towards the
            radius with the cube root of the queries.
    """

    id = "surfree"
    norms = frozenset({Norm.L2})

    queries: Count = 5000
    frequencies: Fraction = 0.5
    angle: Positive = 30.0
    angles: Count = 1
    rho: Fraction = 0.98
    orthogonal: Natural = 100
    halvings: Count = 4
    trial: Count | None = None
    within: Positive = NEAR

    def init(self, problem: Problem) -> State:
        zero = problem.full(0)
        size = math.prod(low_shape(problem.shape, self.frequencies))
        length = min(self.orthogonal, size // 2, REMEMBERED // size)
        return State.begun(
            problem,
            direction=torch.zeros_like(problem.x),
            reach=zero + math.radians(self.angle),
            turn=zero.long(),
            angle=zero,
            beyond=zero,
            past=problem.x.new_zeros(len(problem), length, size),
            drawn=zero.long(),
        )

    def ask(self, problem: Problem, state: State) -> Tensor:
        return on_circle(problem, state.edge, state.direction, self._next_angle(state))

    def _next_angle(self, state: State) -> Tensor:
        """[S] the largest first, each with both signs."""
        size = 1 - (state.turn // 2).to(state.reach.dtype) / self.angles
        return state.reach * size * (1 - 2 * (state.turn % 2))

    def way(self, problem: Problem, state: State, share: Tensor) -> Tensor:
        """At first the straight way; then the circle, from the angle beyond back to the one that fooled."""
        straight = super().way(problem, state, share)
        circle = on_circle(problem, state.edge, state.direction, state.beyond + share * (state.angle - state.beyond))
        return select(state.round > 0, circle, straight)

    def precision(self, problem: Problem, state: State) -> Tensor:
        return torch.where(state.round > 0, 2.0**-self.halvings, super().precision(problem, state))

    def arrived(self, problem: Problem, state: State, mask: Tensor) -> State:
        return self._redirected(problem, replace(state, round=state.round + mask.long()), mask)

    def move(self, problem: Problem, state: State, phase: Tensor, answer: Answer) -> State:
        mask = phase == SIGNS
        angle = self._next_angle(state)
        hit, turn = mask & answer.fooled, state.turn + 1
        missed = mask & ~hit & (turn >= 2 * self.angles)
        beyond = (angle.abs() + state.reach / self.angles).clamp_max(math.pi / 2) * angle.sign()
        scale = torch.where(hit, 1 / max(self.rho, 1e-3), torch.where(missed, self.rho, 1.0)).to(state.reach.dtype)
        state = replace(
            state,
            turn=torch.where(mask, turn, state.turn),
            angle=torch.where(hit, angle, state.angle),
            beyond=torch.where(hit, beyond, state.beyond),
            reach=(state.reach * scale).clamp_max(math.pi / 2),
        )
        return self._redirected(problem, self.bisect(state, hit, state.far), missed)

    def _redirected(self, problem: Problem, state: State, mask: Tensor) -> State:
        """A new direction for the slots in the mask."""
        slots = mask.nonzero()[:, 0]
        if not slots.numel():
            return state
        part, old = problem.take(slots), state.take(slots)
        coefficients = self._coefficients(part, old).flatten(1)
        past = old.past
        for _ in range(2):  # once more, for what rounding left
            coefficients = coefficients - torch.bmm(torch.bmm(coefficients[:, None], past.mT), past)[:, 0]
        coefficients = normalise(Norm.L2, coefficients)
        raw = coefficients.reshape(-1, *low_shape(problem.shape, self.frequencies))
        noise = from_low_frequencies(raw, problem.shape)
        if part.fixed is not None:
            noise = noise.masked_fill(part.fixed, 0.0)
        unit = normalise(Norm.L2, old.edge - part.x)
        direction = noise - unit * per_slot((noise * unit).flatten(1).sum(1), unit)
        if past.shape[1]:
            index = (old.drawn % past.shape[1])[:, None, None].expand(-1, 1, past.shape[2])
            past = past.scatter(1, index, coefficients[:, None])
        return replace(
            state,
            phase=torch.where(mask, SIGNS, state.phase),
            turn=torch.where(mask, 0, state.turn),
            drawn=state.drawn + mask.long(),
            direction=state.direction.index_copy(0, slots, normalise(Norm.L2, direction)),
            past=state.past.index_copy(0, slots, past),
        )

    def _coefficients(self, problem: Problem, state: State) -> Tensor:
        """Of images -1, 0 or 1 at each frequency times the hyperbolic tangent of the image's own, else normal noise."""
        shape = low_shape(problem.shape, self.frequencies)
        if len(shape) != 3:
            return problem.draws.normal("direction", state.drawn, shape).to(problem.x.dtype)
        sign = (problem.draws.uniform("direction", state.drawn, shape) * 3).floor().to(problem.x.dtype) - 1
        weight = to_low_frequencies(problem.x, problem.shape, self.frequencies).abs().tanh()
        return sign * weight
