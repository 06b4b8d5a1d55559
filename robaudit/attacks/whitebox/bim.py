"""The basic iterative method: many short sign steps from the sample itself."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from robaudit.attacks.aims import least_likely
from robaudit.attacks.base import Problem, SlotAttack, Slots
from robaudit.attacks.cost import Cost, Task
from robaudit.attacks.parameters import Count, Positive, attack_parameters
from robaudit.attacks.requests import Answer, Gradient, Request
from robaudit.threat.losses import Loss, LossName, loss_named, loss_unsuited
from robaudit.threat.model import Access
from robaudit.threat.norms import Norm

__all__ = ["BIM", "ILCM"]

LEVEL = 1 / 255
"""One of the steps of an 8-bit image, in which the paper counts."""


@dataclass
class State(Slots):
    """The current iterate and the number of answers seen."""

    point: Tensor
    step: Tensor


@attack_parameters
class BIM(SlotAttack[State]):
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
    access = Access.WHITE_BOX
    norms = frozenset({Norm.LINF})

    steps: Count | None = None
    step_length: Positive = LEVEL
    loss: LossName = "ce"

    def climbs(self, classes: int) -> Mapping[str, Loss]:
        """The loss that was chosen."""
        return {self.loss: loss_named(self.loss)}

    def unsuited(self, classes: int, shape: tuple[int, ...]) -> str | None:
        """Some losses need more classes."""
        return loss_unsuited(self.loss, classes)

    def most(self, task: Task) -> Cost:
        """A gradient a step and one more."""
        count = task.eps / self.step_length
        return Cost.gradients(1 + (self.steps or max(1, math.ceil(min(count + 4, 1.25 * count)))))

    def init(self, problem: Problem) -> State:
        """Start at the sample."""
        return State(problem.x, problem.full(0).long())

    def query(self, problem: Problem, state: State) -> Request:
        """The gradient where the slot stands."""
        return Gradient(state.point, loss=loss_named(self.loss))

    def update(self, problem: Problem, state: State, answer: Answer) -> State:
        """Step and clip."""
        assert answer.gradient is not None
        return State(problem.project(state.point + answer.gradient.sign() * self.step_length), state.step + 1)

    def done(self, problem: Problem, state: State) -> Tensor:
        """After the last iterate was seen."""
        if self.steps is not None:
            return state.step > self.steps
        count = problem.eps.double() / self.step_length
        most = torch.minimum(count + 4, 1.25 * count) - 1e-6  # 1.25 · 4 levels are 5 steps, whatever the rounding
        return state.step > most.ceil().clamp_min(1)


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

    def query(self, problem: Problem, state: State) -> Request:
        """The gradient of the least likely class's loss."""
        return Gradient(state.point, loss=loss_named(self.loss), target=least_likely(problem))
