"""The basic iterative method: many short sign steps from the sample itself."""

from __future__ import annotations

import torch
from torch import Tensor

from robaudit.attacks.base import Problem
from robaudit.attacks.gradient_step import GradientStep, Iterate
from robaudit.attacks.parameters import Count, Positive, attack_parameters
from robaudit.attacks.requests import Answer
from robaudit.attacks.target_classes import least_likely
from robaudit.threat.losses import LossName
from robaudit.threat.norms import Norm

__all__ = ["BIM", "ILCM"]

LEVEL = 1 / 255
"""One of the steps of an 8-bit image, in which the paper counts."""


@attack_parameters
class BIM(GradientStep[Iterate]):
    """Sign steps of one 8-bit level from the sample itself, each clipped to the ball and the box.

    Source: Kurakin, Goodfellow, Bengio 2017, "Adversarial Examples in the Physical World", section 2.2. Their rule for
    the number of steps, with ε in 8-bit levels: min(ε + 4, 1.25 ε). For other lengths of steps it holds with ε in
    steps. A targeted audit aims at its class. Cost: a forward and a backward a step and one more, fewer once the sample
    falls.

    Args:
        steps: number of steps; default the rule above, rounded up.
        step_length: length of a step as a fraction of the domain's width.
        loss: maximised; see ``robaudit.threat.losses``.
    """

    id = "bim"
    norms = frozenset({Norm.LINF})

    steps: Count | None = None
    step_length: Positive = LEVEL
    loss: LossName = "ce"

    def steps_within(self, eps: Tensor) -> Tensor | int:
        if self.steps is not None:
            return self.steps
        count = eps.double() / self.step_length
        most = torch.minimum(count + 4, 1.25 * count) - 1e-6  # 1.25 · 4 levels are 5 steps, whatever the rounding
        return most.ceil().clamp_min(1)

    def init(self, problem: Problem) -> Iterate:
        return Iterate.at(problem.x)

    def update(self, problem: Problem, state: Iterate, answer: Answer) -> Iterate:
        assert answer.gradient is not None
        return Iterate(problem.project(state.point + answer.gradient.sign() * self.step_length), state.step + 1)


@attack_parameters
class ILCM(BIM):
    """As bim, towards the class that the model holds least likely; any wrong class counts.

    Source: Kurakin, Goodfellow, Bengio 2017, "Adversarial Examples in the Physical World", section 2.3 (iterative
    least-likely class method). A targeted audit aims at its class instead. Cost: as
    bim, a forward and a backward a step and one more.

    Args:
        steps: number of steps; default bim's rule.
        step_length: length of a step as a fraction of the domain's width.
        loss: of the class aimed at; see ``robaudit.threat.losses``.
    """

    id = "ilcm"

    def target_class(self, problem: Problem) -> Tensor:
        return least_likely(problem)
