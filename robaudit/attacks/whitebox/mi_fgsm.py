"""Momentum iterative FGSM."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from robaudit.attacks.base import Problem
from robaudit.attacks.gradient_step import GradientStep, Iterate
from robaudit.attacks.parameters import Count, Positive, attack_parameters
from robaudit.attacks.requests import Answer
from robaudit.threat.losses import LossName
from robaudit.threat.norms import Norm, normalise, per_slot

__all__ = ["MIFGSM", "State", "accumulated"]


@dataclass
class State(Iterate):
    """With the accumulated gradient."""

    momentum: Tensor


def accumulated(momentum: Tensor, gradient: Tensor, decay: float) -> Tensor:
    """[S, *shape] the next momentum: what is left of the last and the gradient, scaled to an L1 length of 1 (eq. 6)."""
    size = gradient.flatten(1).abs().sum(1).clamp_min(1e-38)
    return decay * momentum + gradient / per_slot(size, gradient)


@attack_parameters
class MIFGSM(GradientStep[State]):
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
    norms = frozenset({Norm.LINF, Norm.L2})

    steps: Count = 10
    decay: Positive = 1.0
    loss: LossName = "ce"

    def steps_within(self, eps: Tensor) -> int:
        return self.steps

    def init(self, problem: Problem) -> State:
        return State(problem.x, problem.full(0).long(), torch.zeros_like(problem.x))

    def update(self, problem: Problem, state: State, answer: Answer) -> State:
        assert answer.gradient is not None
        momentum = accumulated(state.momentum, answer.gradient, self.decay)
        step = normalise(problem.norm, momentum) * per_slot(problem.eps / self.steps, state.point)
        return State(problem.project(state.point + step), state.step + 1, momentum)
