"""Nesterov iterative FGSM with variance tuning on surrogates."""

from __future__ import annotations

from torch import Tensor

from robaudit.attacks.base import Problem
from robaudit.attacks.parameters import attack_parameters
from robaudit.attacks.transfer.ni_fgsm import ahead
from robaudit.attacks.transfer.vmi_fgsm import TransferVMIFGSM, Tuned

__all__ = ["TransferVNIFGSM"]


@attack_parameters
class TransferVNIFGSM(TransferVMIFGSM):
    """Variance tuning ahead of each point, where the momentum alone would lead.

    Source: Wang, He 2021, "Enhancing the Transferability of Adversarial Attacks through Variance Tuning", section 3.3
    (VNI-FGSM). The points whose mean gradient tunes the next one lie around the point ahead as well. Otherwise as
    transfer-vmi-fgsm. Cost: ``steps`` (``neighbours`` + 1) - ``neighbours`` forwards and backwards of the surrogates
    and one label query of the target, which sees the last iterate alone.

    Args:
        steps: iterations.
        neighbours: points around each iterate.
        beta: radius that they lie in, as a multiple of ε.
        decay: of the accumulated gradient.
        step_size: length of a step as a multiple of ε; default 1 / steps.
        loss: maximised; see ``robaudit.threat.losses``.
    """

    id = "transfer-vni-fgsm"

    def middle(self, problem: Problem, state: Tuned) -> Tensor:
        return ahead(problem, state, self.length(problem) * self.decay)
