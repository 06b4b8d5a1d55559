"""Momentum iterative FGSM on surrogates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from robaudit.attacks.base import Problem, SlotAttack, Slots, Stop
from robaudit.attacks.parameters import Count, Positive, attack_parameters
from robaudit.attacks.requests import Answer, Gradient, ModelRef, Request
from robaudit.threat.losses import loss_named
from robaudit.threat.model import Access
from robaudit.threat.norms import Norm, per_slot

__all__ = ["MIFGSM"]


@dataclass
class State(Slots):
    """The iterate, the accumulated gradient and the number of answers seen."""

    point: Tensor
    momentum: Tensor
    step: Tensor


@attack_parameters
class MIFGSM(SlotAttack[State]):
    """Sign steps along an accumulated, L1-normalised gradient of the surrogates' mean logits.

    Source: Dong et al. 2018, "Boosting Adversarial Attacks with Momentum", algorithm 1, eq. 6-7; surrogates
    averaged in logits, eq. 9. Cost: ``steps`` forwards and backwards of the surrogates and one label query
    of the target, which sees the last iterate alone.

    Args:
        steps: iterations, each of length ε / steps.
        decay: of the accumulated gradient.
        loss: maximised; see ``robaudit.threat.losses``.
    """

    id = "mi-fgsm"
    access = Access.TRANSFER
    norms = frozenset({Norm.LINF})
    stop = Stop.RUN_ON

    steps: Count = 10
    decay: Positive = 1.0
    loss: Literal["ce", "margin"] = "ce"

    def init(self, problem: Problem) -> State:
        """Start at the sample."""
        return State(problem.x, torch.zeros_like(problem.x), problem.full(0).long())

    def query(self, problem: Problem, state: State) -> Request:
        """The surrogates' gradient where the slot stands."""
        return Gradient(state.point, model=ModelRef.SURROGATES, loss=loss_named(self.loss))

    def update(self, problem: Problem, state: State, answer: Answer) -> State:
        """Accumulate and step."""
        assert answer.gradient is not None
        size = answer.gradient.flatten(1).abs().sum(1).clamp_min(1e-38)
        momentum = self.decay * state.momentum + answer.gradient / per_slot(size, state.point)
        step = momentum.sign() * per_slot(problem.eps / self.steps, state.point)
        return State(problem.project(state.point + step), momentum, state.step + 1)

    def done(self, problem: Problem, state: State) -> Tensor:
        """After the last step."""
        return state.step >= self.steps

    def best(self, problem: Problem, state: State) -> tuple[Tensor, Tensor]:
        """The last iterate."""
        return state.point, torch.zeros_like(state.step, dtype=torch.bool)
