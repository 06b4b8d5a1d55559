"""Fast gradient (sign) method: one step. A sanity rung: what it breaks, PGD must break."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from robaudit.attacks.base import Problem, SlotAttack, Slots
from robaudit.attacks.parameters import attack_parameters
from robaudit.attacks.requests import Answer, Gradient, Request
from robaudit.threat.losses import loss_named
from robaudit.threat.model import Access
from robaudit.threat.norms import Norm, normalise, per_slot

__all__ = ["FGSM"]


@dataclass
class State(Slots):
    """The current point and the number of answers seen."""

    point: Tensor
    step: Tensor


@attack_parameters
class FGSM(SlotAttack[State]):
    """One step of length ε along the sign of the gradient (L∞) or the gradient itself (L2).

    Source: Goodfellow, Shlens, Szegedy 2015, "Explaining and Harnessing Adversarial Examples", eq. 2.
    Cost: 2 forwards and 2 backwards a sample (the second gradient is that of the final point, unused).

    Args:
        loss: maximised; see ``robaudit.threat.losses``.
    """

    id = "fgsm"
    access = Access.WHITE_BOX
    norms = frozenset({Norm.LINF, Norm.L2})

    loss: Literal["ce", "margin"] = "ce"

    def init(self, problem: Problem) -> State:
        """Start at the sample."""
        return State(problem.x, problem.full(0).long())

    def query(self, problem: Problem, state: State) -> Request:
        """The gradient where the slot stands."""
        return Gradient(state.point, loss=loss_named(self.loss))

    def update(self, problem: Problem, state: State, answer: Answer) -> State:
        """Take the step."""
        assert answer.gradient is not None
        step = normalise(problem.norm, answer.gradient) * per_slot(problem.eps, problem.x)
        return State(problem.project(problem.x + step), state.step + 1)

    def done(self, problem: Problem, state: State) -> Tensor:
        """After the final point was seen."""
        return state.step >= 2
