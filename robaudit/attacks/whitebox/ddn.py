"""Decoupled direction and norm: a minimal-norm L2 attack."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from robaudit.attacks.base import Problem
from robaudit.attacks.minimal import MinimalNormAttack, Search
from robaudit.attacks.parameters import Count, Fraction, Natural, Positive, attack_parameters
from robaudit.attacks.requests import Answer, Gradient, Request
from robaudit.attacks.smallest import Smallest, cosine, farthest, onto_sphere
from robaudit.threat.losses import Loss, log_odds, margin
from robaudit.threat.norms import Norm, distance, normalise, per_slot, select

__all__ = ["DDN"]

LAST_STEP = 0.01
"""Length that the cosine schedule of the step ends at (Rony 2019, section 4)."""


@dataclass
class State(Search):
    """Besides the iterate: the norm it was scaled to, and the direction to try where the model is flat."""

    norm: Tensor
    spare: Tensor


@attack_parameters
class DDN(MinimalNormAttack[State]):
    """Follow the gradient's direction; grow the perturbation's norm while it fails, shrink it while it fools.

    Source: Rony, Hafemann, Oliveira, Ben Ayed, Sabourin, Granger 2019, "Decoupling Direction and Norm for
    Efficient Gradient-Based L2 Adversarial Attacks and Defenses", algorithm 1, without the rounding to pixel
    values. The loss is the logarithm of the odds, whose gradient has the cross-entropy's direction but does
    not vanish where the model is certain. L2; untargeted and targeted.
    Cost: ``steps`` forwards and backwards, fewer once a success lies in the ball, unless the audit seeks
    smallest distances.

    Args:
        steps: evaluations.
        gamma: factor 1 ± gamma by which the norm changes at each step.
        first_norm: where the norm starts, as a fraction of the domain's width.
        step_length: length of the first step; a cosine takes it to 0.01.
        polish: how many of the evaluations, the last ones, linearise the boundary at the nearest point found
            and go to its nearest point; 0 is the published algorithm. At most one in 10; none in L0.
    """

    id = "ddn"
    norms = frozenset({Norm.L2})

    steps: Count = 100
    gamma: Fraction = 0.05
    first_norm: Positive = 1.0
    step_length: Positive = 1.0
    polish: Natural = 10

    def climbs(self, classes: int) -> Mapping[str, Loss]:
        """The log-odds; the evaluations that polish need a point that fools already."""
        return {"log-odds": log_odds}

    def init(self, problem: Problem) -> State:
        norm = problem.full(self.first_norm, torch.float64)
        spare = normalise(Norm.L2, problem.draws.normal("flat", 0, problem.shape).to(problem.x.dtype))
        return State(problem.x, problem.full(0).long(), Smallest.none(problem), norm, spare)

    def query(self, problem: Problem, state: State) -> Request:
        """The gradient where the slot stands; of the logit difference for polishing."""
        polishing = state.step >= self.main_steps(problem)
        return Gradient(state.point, loss=(log_odds, margin), choice=polishing.long())

    def update(self, problem: Problem, state: State, answer: Answer) -> State:
        """Step along the gradient, then rescale to the new norm and clip."""
        assert answer.gradient is not None
        size = distance(Norm.L2, answer.gradient)
        direction = select(size < 1e-12, state.spare, normalise(Norm.L2, answer.gradient))
        length = cosine(state.step, self.main_steps(problem), self.step_length, LAST_STEP).to(direction.dtype)
        delta = state.point - problem.x + direction * per_slot(length, direction)
        norm = state.norm * torch.where(answer.fooled, 1 - self.gamma, 1 + self.gamma)
        norm = torch.minimum(norm, farthest(problem))
        smallest = state.smallest.seen(problem, answer)
        moved = onto_sphere(problem, delta, norm)
        point = self.following(problem, state, answer, smallest, moved)
        return State(point, state.step + 1, smallest, norm, state.spare)
