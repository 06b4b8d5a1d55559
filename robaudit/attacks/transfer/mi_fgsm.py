"""Momentum iterative FGSM on surrogates."""

from __future__ import annotations

import torch

from robaudit.attacks.base import Problem
from robaudit.attacks.parameters import Count, Positive, attack_parameters
from robaudit.attacks.requests import Answer
from robaudit.attacks.transfer.on_surrogates import OnSurrogates
from robaudit.attacks.whitebox.mi_fgsm import State, accumulated
from robaudit.threat.losses import LossName

__all__ = ["TransferMIFGSM"]


@attack_parameters
class TransferMIFGSM(OnSurrogates[State]):
    """Steps along an accumulated, L1-normalised gradient of the surrogates' mean logits.

    Source: Dong et al. 2018, "Boosting Adversarial Attacks with Momentum", algorithm 1, eq. 6-7; surrogates
    averaged in logits, eq. 9. Cost: ``steps`` forwards and backwards of the surrogates and one label query
    of the target, which sees the last iterate alone.

    Args:
        steps: iterations.
        decay: of the accumulated gradient.
        step_size: length of a step as a multiple of ε; default 1 / steps.
        loss: maximised; see ``robaudit.threat.losses``.
    """

    id = "transfer-mi-fgsm"

    steps: Count = 10
    decay: Positive = 1.0
    step_size: Positive | None = None
    loss: LossName = "ce"

    def init(self, problem: Problem) -> State:
        return State(problem.x, problem.full(0).long(), torch.zeros_like(problem.x))

    def update(self, problem: Problem, state: State, answer: Answer) -> State:
        assert answer.gradient is not None
        momentum = accumulated(state.momentum, answer.gradient, self.decay)
        return State(self.moved(problem, state, momentum), state.step + 1, momentum)
