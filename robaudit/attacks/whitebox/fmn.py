"""Fast minimum-norm attack in every norm."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from robaudit.attacks.base import Problem
from robaudit.attacks.minimal import MinimalNormAttack, Search
from robaudit.attacks.parameters import Count, Fraction, Natural, Positive, attack_parameters
from robaudit.attacks.requests import Answer, Gradient, Request
from robaudit.attacks.smallest import Smallest, cosine, farthest, onto_sphere
from robaudit.attacks.units import least_gap
from robaudit.threat.hyperplanes import dual_size
from robaudit.threat.losses import loss_named
from robaudit.threat.norms import Norm, distance, normalise, per_slot
from robaudit.threat.projections import project

__all__ = ["FMN"]


OVERSHOOT = 1.001
"""The linearised boundary is stepped over by this factor: steps that only just reach it converge without fooling."""
LEAST_GROWTH = 1e-4
"""Share by which the ball grows at least until something fools: on a sphere, steps of less come ever nearer to the
boundary, until the last bit of the model's answer decides on which side they are."""


@dataclass
class State(Search):
    """Besides the iterate: the radius [S] of the ball that it was projected onto."""

    radius: Tensor


@attack_parameters
class FMN(MinimalNormAttack[State]):
    """Step along the gradient of the logit difference, and project onto a ball that shrinks while the point fools.

    Until the first success the ball reaches to the linearised boundary; afterwards its radius falls by a
    factor 1 - gamma where the point fools and grows by 1 + gamma where it does not (L0: by at least one
    feature). Step length and gamma fall along a cosine.

    Source: Pintor, Roli, Brendel, Biggio 2021, "Fast Minimum-norm Adversarial Attacks through Adaptive Norm
    Constraints", algorithm 1, without the optional adversarial starting point; the projections onto the L1 and
    L0 balls respect the box. L0, L1, L2, L-infinity; untargeted and targeted.
    Cost: ``steps`` forwards and backwards, fewer once a success lies in the ball, unless the audit seeks
    smallest distances.

    Args:
        steps: evaluations.
        step_length: L2 length of the first step; the last is a hundredth of it.
        gamma: by how much the radius changes at first, as a fraction.
        last_gamma: and in the end.
        polish: how many of the evaluations, the last ones, linearise the boundary at the nearest point found
            and go to its nearest point; 0 is the published algorithm. At most one in 10; none in L0.
    """

    id = "fmn"
    norms = frozenset(Norm)

    steps: Count = 100
    step_length: Positive = 1.0
    gamma: Fraction = 0.05
    last_gamma: Fraction = 0.001
    polish: Natural = 10

    def init(self, problem: Problem) -> State:
        """Start at the sample; in L0 with a ball of one feature."""
        radius = problem.full(1.0 if problem.norm is Norm.L0 else float("inf"), torch.float64)
        return State(problem.x, problem.full(0).long(), Smallest.none(problem), radius)

    def query(self, problem: Problem, state: State) -> Request:
        return Gradient(state.point, loss=loss_named("margin"))

    def update(self, problem: Problem, state: State, answer: Answer) -> State:
        """The new radius, then the step and its projection."""
        assert answer.gradient is not None
        assert answer.loss is not None
        smallest = state.smallest.seen(problem, answer)
        gamma = cosine(state.step, self.main_steps(problem), self.gamma, self.last_gamma)
        radius = self._radius(problem, state, answer, smallest, gamma)
        length = cosine(state.step, self.main_steps(problem), self.step_length, self.step_length / 100)
        direction = normalise(Norm.L2, answer.gradient)
        moved = state.point + direction * per_slot(length.to(direction.dtype), direction)
        point = self.following(problem, state, answer, smallest, _onto_ball(problem, moved, radius))
        return State(point, state.step + 1, smallest, radius)

    def _radius(self, problem: Problem, state: State, answer: Answer, smallest: Smallest, gamma: Tensor) -> Tensor:
        """Lines 6 to 11 of the algorithm."""
        radius = state.radius
        if problem.norm is Norm.L0:
            fewer = torch.minimum(radius - 1, (radius * (1 - gamma)).floor())
            fewer = torch.minimum(fewer, smallest.distance)
            more = torch.maximum(radius + 1, (radius * (1 + gamma)).floor())
            radius = torch.where(answer.fooled, fewer, more)
        else:
            assert answer.gradient is not None
            assert answer.loss is not None
            slope = dual_size(problem.norm, answer.gradient.flatten(1))
            assert answer.logits is not None
            gap = (answer.loss.double().abs() + least_gap(answer.logits)) / slope.clamp_min(1e-12) * OVERSHOOT
            reach = distance(problem.norm, state.point - problem.x) * (1 + LEAST_GROWTH) + gap
            shrunk = torch.minimum(radius * (1 - gamma), smallest.distance)
            radius = torch.where(answer.fooled, shrunk, torch.where(smallest.found, radius * (1 + gamma), reach))
        return torch.minimum(radius, farthest(problem)).clamp_min(0.0)


def _onto_ball(problem: Problem, point: Tensor, radius: Tensor) -> Tensor:
    """[S, *shape] in the box; in L2 on the sphere rather than in the ball, as the authors' code does."""
    if problem.fixed is not None:
        point = torch.where(problem.fixed, problem.x, point)
    if problem.norm is Norm.L2:
        return onto_sphere(problem, point - problem.x, radius)
    return project(problem.norm, point, problem.x, radius)
