"""Momentum iterative FGSM on surrogates."""

from __future__ import annotations

import torch
from torch import Tensor

from robaudit.attacks.base import Problem, Stop
from robaudit.attacks.cost import Cost, Task
from robaudit.attacks.parameters import attack_parameters
from robaudit.attacks.requests import ModelRef
from robaudit.attacks.whitebox.mi_fgsm import MIFGSM, State
from robaudit.threat.model import Access

__all__ = ["TransferMIFGSM"]


@attack_parameters
class TransferMIFGSM(MIFGSM):
    """Steps along an accumulated, L1-normalised gradient of the surrogates' mean logits.

    Source: Dong et al. 2018, "Boosting Adversarial Attacks with Momentum", algorithm 1, eq. 6-7; surrogates
    averaged in logits, eq. 9. Cost: ``steps`` forwards and backwards of the surrogates and one label query
    of the target, which sees the last iterate alone.

    Args:
        steps: iterations, each of length ε / steps.
        decay: of the accumulated gradient.
        loss: maximised; see ``robaudit.threat.losses``.
    """

    id = "transfer-mi-fgsm"
    access = Access.TRANSFER
    model = ModelRef.SURROGATES
    stop = Stop.RUN_ON

    def most(self, task: Task) -> Cost:
        """A gradient of the surrogates a step, and the one candidate that the target is shown."""
        return Cost(self.steps, self.steps, 1)

    def done(self, problem: Problem, state: State) -> Tensor:
        """After the last step, whose point the surrogates need not see."""
        return state.step >= self.steps

    def best(self, problem: Problem, state: State) -> tuple[Tensor, Tensor]:
        return state.point, torch.zeros_like(state.step, dtype=torch.bool)
