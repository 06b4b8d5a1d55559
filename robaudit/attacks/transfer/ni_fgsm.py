"""Nesterov iterative FGSM on surrogates."""

from __future__ import annotations

import dataclasses

from torch import Tensor

from robaudit.attacks.base import Problem
from robaudit.attacks.parameters import attack_parameters
from robaudit.attacks.requests import Request
from robaudit.attacks.transfer.mi_fgsm import TransferMIFGSM
from robaudit.attacks.transfer.on_surrogates import spread_out
from robaudit.attacks.whitebox.mi_fgsm import State
from robaudit.threat.norms import per_slot

__all__ = ["TransferNIFGSM", "ahead"]


@attack_parameters
class TransferNIFGSM(TransferMIFGSM):
    """Momentum steps whose gradients are taken ahead of each point, where the momentum alone would lead.

    Source: Lin, Song, He, Wang, Hopcroft 2020, "Nesterov Accelerated Gradient and Scale Invariance for Adversarial
    Attacks", eq. 6-8 (NI-FGSM; SI-NI-FGSM is ``ni+si``). As in the authors' code the way ahead is that of gradients
    whose mean absolute value is 1; in L2, of those that are as long as a step. It ends at the box. Cost: ``steps``
    forwards and backwards of the surrogates and one label query of the target, which sees the last iterate alone.

    Args:
        steps: iterations.
        decay: of the accumulated gradient.
        step_size: length of a step as a multiple of ε; default 1 / steps.
        loss: maximised; see ``robaudit.threat.losses``.
    """

    id = "transfer-ni-fgsm"

    def query(self, problem: Problem, state: State) -> Request:
        """The gradient ahead of where the slot stands."""
        point = ahead(problem, state, self.length(problem) * self.decay)
        return dataclasses.replace(super().query(problem, state), points=point)


def ahead(problem: Problem, state: State, length: Tensor) -> Tensor:
    """[S, *shape] where steps of a length [S] along the momentum alone would lead."""
    return problem.clip(state.point + state.momentum * per_slot(length * spread_out(problem), state.point))
