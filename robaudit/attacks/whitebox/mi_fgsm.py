"""Momentum iterative FGSM."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from robaudit.attacks.base import Problem, SlotAttack, Slots
from robaudit.attacks.cost import Cost, Task
from robaudit.attacks.parameters import Count, Positive, attack_parameters
from robaudit.attacks.requests import Answer, Gradient, Request
from robaudit.threat.losses import Loss, LossName, loss_named, loss_unsuited
from robaudit.threat.model import Access
from robaudit.threat.norms import Norm, normalise, per_slot

__all__ = ["MIFGSM", "State"]


@dataclass
class State(Slots):
    """The iterate, the accumulated gradient and the number of answers seen."""

    point: Tensor
    momentum: Tensor
    step: Tensor


@attack_parameters
class MIFGSM(SlotAttack[State]):
    """Steps along an accumulated gradient, each gradient scaled to an L1 length of 1.

    Source: Dong, Liao, Pang, Su, Zhu, Hu, Li 2018, "Boosting Adversarial Attacks with Momentum", algorithm 1, eq. 6-7
    (L∞, sign steps) and section 3.4 (L2). A targeted audit aims at its class. Against the target itself;
    transfer-mi-fgsm makes the same steps on other models. Cost: ``steps`` + 1 forwards and backwards, fewer once the
    sample falls.

    Args:
        steps: iterations, each of length ε / steps.
        decay: of the accumulated gradient.
        loss: maximised; see ``robaudit.threat.losses``.
    """

    id = "mi-fgsm"
    access = Access.WHITE_BOX
    norms = frozenset({Norm.LINF, Norm.L2})

    steps: Count = 10
    decay: Positive = 1.0
    loss: LossName = "ce"

    def climbs(self, classes: int) -> Mapping[str, Loss]:
        """The loss that was chosen."""
        return {self.loss: loss_named(self.loss)}

    def unsuited(self, classes: int, shape: tuple[int, ...]) -> str | None:
        """Some losses need more classes."""
        return loss_unsuited(self.loss, classes)

    def most(self, task: Task) -> Cost:
        """A gradient a step and one more."""
        return Cost.gradients(self.steps + 1)

    def init(self, problem: Problem) -> State:
        """Start at the sample."""
        return State(problem.x, torch.zeros_like(problem.x), problem.full(0).long())

    def query(self, problem: Problem, state: State) -> Request:
        """The gradient where the slot stands."""
        return Gradient(state.point, loss=loss_named(self.loss))

    def update(self, problem: Problem, state: State, answer: Answer) -> State:
        """Accumulate and step."""
        assert answer.gradient is not None
        size = answer.gradient.flatten(1).abs().sum(1).clamp_min(1e-38)
        momentum = self.decay * state.momentum + answer.gradient / per_slot(size, state.point)
        step = normalise(problem.norm, momentum) * per_slot(problem.eps / self.steps, state.point)
        return State(problem.project(state.point + step), momentum, state.step + 1)

    def done(self, problem: Problem, state: State) -> Tensor:
        """After the last iterate was seen."""
        return state.step > self.steps
