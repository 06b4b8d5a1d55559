"""Orthogonal and selective projected gradient descent: past a classifier and the detector beside it at once."""

from __future__ import annotations

import torch
from torch import Tensor

from robaudit.attacks.base import Problem
from robaudit.attacks.cost import Cost, Task
from robaudit.attacks.gradient_step import GradientStep, Iterate
from robaudit.attacks.parameters import Count, Positive, attack_parameters
from robaudit.attacks.requests import Answer, Gradient, Request
from robaudit.attacks.starts import random_start
from robaudit.attacks.steps import steepest_step, stepped
from robaudit.threat.goals import reached
from robaudit.threat.losses import LossName, loss_named
from robaudit.threat.norms import Norm, select

__all__ = ["OrthogonalPGD"]

RULES = 3
"""Ways in which the restarts turn."""
TINY = 1e-12


@attack_parameters
class OrthogonalPGD(GradientStep[Iterate]):
    """Climbs the classifier's loss while the answer is right, and lowers the detector's suspicion once it is wrong.

    Restarts take turns between three rules. Orthogonal: each of the two gradients without its part along the other, so
    that a step for one does not undo what was won of the other. Selective: the gradients as they are. Joint: once
    the answer is wrong, the sum of both, each at length 1. A point counts where the file answers wrong and the detector
    accepts; the judge says so. The suspicion is the detector's differentiable stand-in; where it has none, or there is
    no detector, this is PGD. Source: Bryniarski, Hingun, Pachuca, Wang, Carlini 2021, "Evading Adversarial Example
    Detection Defenses with Orthogonal Projected Gradient Descent" (selective and orthogonal gradient descent).
    Cost: ``steps`` + 1 forwards and backwards of the model and as many of the detector a restart, fewer once the sample
    falls.

    Args:
        steps: number of steps.
        step_size: length of a step as a multiple of ε; it falls to a tenth over the steps.
        restarts: independent ones; the first three start at the sample, one for each rule, further ones at random
            points of the ball.
        loss: of the classifier; see ``robaudit.threat.losses``.
    """

    id = "orthogonal-pgd"
    norms = frozenset({Norm.LINF, Norm.L2, Norm.L1})
    joint = True

    steps: Count = 100
    step_size: Positive = 0.1
    restarts: Count = 6
    loss: LossName = "margin"

    def steps_within(self, eps: Tensor) -> int:
        """The same for all."""
        return self.steps

    def most(self, task: Task) -> Cost:
        """Two gradients a step, and two of the last point, which are not used."""
        return Cost.gradients(2 * (self.steps + 1))

    def init(self, problem: Problem) -> Iterate:
        """The sample itself, or a random point of the ball."""
        return Iterate.at(select(problem.restart < RULES, problem.x, random_start(problem)))

    def query(self, problem: Problem, state: Iterate) -> Request:
        """Both gradients where the slot stands."""
        return Gradient(state.point, loss=loss_named(self.loss), suspicion=True)

    def update(self, problem: Problem, state: Iterate, answer: Answer) -> Iterate:
        """A step up one, the other, or both."""
        assert answer.gradient is not None
        direction = answer.gradient
        if answer.suspicion is not None and answer.suspicion_gradient is not None:
            wrong = reached(answer.labels, problem.label, problem.goal)  # ``fooled`` tells what the judge has accepted
            direction = self._direction(problem, answer.gradient, -answer.suspicion_gradient, wrong)
        share = 1 - 0.9 * state.step.to(problem.eps.dtype) / self.steps
        step = steepest_step(problem, direction, state.point)
        length = problem.eps * self.step_size * share
        return Iterate(stepped(problem, state.point, step, length), state.step + 1)

    def _direction(self, problem: Problem, up: Tensor, accepted: Tensor, wrong: Tensor) -> Tensor:
        """[S, *shape] by each slot's rule; ``up``: the loss; ``accepted``: down the suspicion."""
        rule = problem.restart % RULES
        apart_up, apart_accepted = _without(up, accepted), _without(accepted, up)
        orthogonal = select(wrong, apart_accepted, apart_up)
        selective = select(wrong, accepted, up)
        joint = select(wrong, _unit(accepted) + _unit(up), up)
        found: Tensor = select(rule == 0, orthogonal, select(rule == 1, selective, joint))
        return found


def _without(a: Tensor, b: Tensor) -> Tensor:
    """[S, *shape]: a without its part along b; a itself where nothing would be left."""
    flat_a, flat_b = a.flatten(1), b.flatten(1)
    size = flat_b.square().sum(1, keepdim=True).clamp_min(TINY**2)
    rest = flat_a - (flat_a * flat_b).sum(1, keepdim=True) / size * flat_b
    enough = rest.norm(dim=1, keepdim=True) > 1e-3 * flat_a.norm(dim=1, keepdim=True)
    return torch.where(enough, rest, flat_a).reshape(a.shape)


def _unit(a: Tensor) -> Tensor:
    flat = a.flatten(1)
    found: Tensor = flat / flat.norm(dim=1, keepdim=True).clamp_min(TINY)
    return found.reshape(a.shape)
