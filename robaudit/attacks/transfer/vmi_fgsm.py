"""Momentum iterative FGSM with variance tuning on surrogates."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from robaudit.attacks.base import Problem
from robaudit.attacks.cost import Cost, Task
from robaudit.attacks.parameters import Count, Positive, attack_parameters
from robaudit.attacks.transfer.on_surrogates import AroundPoint, Sampled, in_ball
from robaudit.attacks.whitebox.mi_fgsm import accumulated
from robaudit.threat.losses import LossName
from robaudit.threat.norms import select

__all__ = ["TransferVMIFGSM", "Tuned"]


@dataclass
class Tuned(Sampled):
    """With the gradient at the point itself, and by how much those around the last one differed from it.

    Args:
        gradient: [S, *shape].
        variance: [S, *shape].
    """

    gradient: Tensor
    variance: Tensor


@attack_parameters
class TransferVMIFGSM(AroundPoint[Tuned]):
    """Momentum steps whose gradients are tuned by those around the point before.

    What the mean gradient around a point has that its own lacks is added to the next gradient, which steadies the way.
    Source: Wang, He 2021, "Enhancing the Transferability of Adversarial Attacks through Variance Tuning"
    (VMI-FGSM). Points around it are uniform in the ball of ``beta`` ε of the threat model's norm, cut off at
    the box. The last step needs none. Through transforms all gradients are taken alike. Cost: ``steps`` (``neighbours``
    + 1) - ``neighbours`` forwards and backwards of the surrogates and one label query of the target, which sees the
    last iterate alone.

    Args:
        steps: iterations.
        neighbours: points around each iterate.
        beta: radius that they lie in, as a multiple of ε.
        decay: of the accumulated gradient.
        step_size: length of a step as a multiple of ε; default 1 / steps.
        loss: maximised; see ``robaudit.threat.losses``.
    """

    id = "transfer-vmi-fgsm"

    steps: Count = 10
    neighbours: Count = 20
    beta: Positive = 1.5
    decay: Positive = 1.0
    step_size: Positive | None = None
    loss: LossName = "ce"

    @property
    def at_once(self) -> int:
        return self.neighbours + 1

    def most(self, task: Task) -> Cost:
        gradients = self.steps + (self.steps - 1) * self.neighbours
        return Cost(gradients, gradients, 1)

    def init(self, problem: Problem) -> Tuned:
        none, zero = torch.zeros_like(problem.x), problem.full(0).long()
        return Tuned(problem.x, zero, none, zero, none, none, none)

    def wanted(self, state: Tuned) -> Tensor:
        """The point itself, and those around it but for the last step."""
        return torch.where(state.step < self.steps - 1, self.neighbours + 1, 1)

    def middle(self, problem: Problem, state: Tuned) -> Tensor:
        """[S, *shape] where the gradient of a step is taken."""
        return state.point

    def points(self, problem: Problem, state: Tuned, number: Tensor) -> Tensor:
        shift = in_ball(problem, self.beta * problem.eps, state.step[:, None] * (self.neighbours + 1) + number)
        shift[number == 0] = 0.0
        return problem.clip(self.middle(problem, state)[:, None] + shift)

    def noted(self, problem: Problem, state: Tuned, number: Tensor, gradient: Tensor) -> Tuned:
        first = number[:, 0] == 0
        own = select(first, gradient[:, 0], state.gradient)
        others = gradient.sum(1) - select(first, gradient[:, 0], torch.zeros_like(own))
        return Tuned(state.point, state.step, state.momentum, state.asked, state.total + others, own, state.variance)

    def stepped(self, problem: Problem, state: Tuned) -> Tuned:
        momentum = accumulated(state.momentum, state.gradient + state.variance, self.decay)
        variance = state.total / self.neighbours - state.gradient
        point = self.moved(problem, state, momentum)
        return Tuned(point, state.step, momentum, state.asked, state.total, state.gradient, variance)
