"""Fast gradient methods: one step. A sanity rung: what they break, PGD must break."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from robaudit.attacks.aims import least_likely
from robaudit.attacks.base import Problem, SlotAttack, Slots
from robaudit.attacks.cost import Cost, Task
from robaudit.attacks.parameters import Count, Fraction, attack_parameters
from robaudit.attacks.requests import Answer, Gradient, Request
from robaudit.attacks.steps import farthest_step
from robaudit.threat.losses import Loss, LossName, loss_named, loss_unsuited
from robaudit.threat.model import Access
from robaudit.threat.norms import Norm, per_slot

__all__ = ["FGSM", "FGSMLL", "RFGSM"]


@dataclass
class State(Slots):
    """The current point and the number of answers seen."""

    point: Tensor
    step: Tensor


@attack_parameters
class FGSM(SlotAttack[State]):
    """One step of length ε along the sign of the gradient (L∞), the gradient (L2) or its steepest features (L1).

    The L1 step is the point of the ball and the box that a linear loss sends the sample to: the features of the
    steepest slopes, each as far as the box lets it, until ε is spent.

    Source: Goodfellow, Shlens, Szegedy 2015, "Explaining and Harnessing Adversarial Examples", section 4. A targeted
    audit steps towards its class. Cost: 2 forwards and 2 backwards a sample (the second gradient is that of the final
    point, unused).

    Args:
        loss: maximised; see ``robaudit.threat.losses``.
    """

    id = "fgsm"
    access = Access.WHITE_BOX
    norms = frozenset({Norm.LINF, Norm.L2, Norm.L1})

    loss: LossName = "ce"

    def climbs(self, classes: int) -> Mapping[str, Loss]:
        """The loss that was chosen."""
        return {self.loss: loss_named(self.loss)}

    def unsuited(self, classes: int, shape: tuple[int, ...]) -> str | None:
        """Some losses need more classes."""
        return loss_unsuited(self.loss, classes)

    def most(self, task: Task) -> Cost:
        """The step, and the point that it leads to."""
        return Cost.gradients(2)

    def init(self, problem: Problem) -> State:
        """Start at the sample."""
        return State(problem.x, problem.full(0).long())

    def query(self, problem: Problem, state: State) -> Request:
        """The gradient where the slot stands."""
        return Gradient(state.point, loss=loss_named(self.loss))

    def update(self, problem: Problem, state: State, answer: Answer) -> State:
        """Take the step."""
        assert answer.gradient is not None
        return State(farthest_step(problem, answer.gradient), state.step + 1)

    def done(self, problem: Problem, state: State) -> Tensor:
        """After the final point was seen."""
        return state.step >= 2


@attack_parameters
class FGSMLL(FGSM):
    """One step of length ε towards the class that the model holds least likely; any wrong class counts.

    Source: Kurakin, Goodfellow, Bengio 2017, "Adversarial Machine Learning at Scale", section 3 ("one-step target
    class" and step l.l.). A targeted audit steps towards its class instead, and the attack is fgsm. Steps as in fgsm.
    Cost: 2 forwards and 2 backwards a sample.

    Args:
        loss: of the class aimed at; see ``robaudit.threat.losses``.
    """

    id = "fgsm-ll"

    def query(self, problem: Problem, state: State) -> Request:
        """The gradient of the least likely class's loss."""
        return Gradient(state.point, loss=loss_named(self.loss), target=least_likely(problem))


@attack_parameters
class RFGSM(SlotAttack[State]):
    """A random step of length α along signs, then one of length ε - α along the sign of the gradient.

    The random step leaves the place around the sample where a defense may have bent the gradient. Source: Tramèr,
    Kurakin, Papernot, Goodfellow, Boneh, McDaniel 2018, "Ensemble Adversarial Training: Attacks and Defenses", eq. 7
    (RAND+FGSM). Cost: 2 forwards and 2 backwards a restart, fewer once the sample falls.

    Args:
        alpha: length of the random step as a share of ε.
        restarts: independent random steps.
        loss: maximised; see ``robaudit.threat.losses``.
    """

    id = "r-fgsm"
    access = Access.WHITE_BOX
    norms = frozenset({Norm.LINF})

    alpha: Fraction = 0.5
    restarts: Count = 1
    loss: LossName = "ce"

    def climbs(self, classes: int) -> Mapping[str, Loss]:
        """The loss that was chosen."""
        return {self.loss: loss_named(self.loss)}

    def unsuited(self, classes: int, shape: tuple[int, ...]) -> str | None:
        """Some losses need more classes."""
        return loss_unsuited(self.loss, classes)

    def most(self, task: Task) -> Cost:
        """The step, and the point that it leads to."""
        return Cost.gradients(2)

    def init(self, problem: Problem) -> State:
        """The random step."""
        sign = problem.draws.sign("start", 0, problem.shape).to(problem.x.dtype)
        point = problem.project(problem.x + sign * per_slot(self.alpha * problem.eps, problem.x))
        return State(point, problem.full(0).long())

    def query(self, problem: Problem, state: State) -> Request:
        """The gradient where the slot stands."""
        return Gradient(state.point, loss=loss_named(self.loss))

    def update(self, problem: Problem, state: State, answer: Answer) -> State:
        """Take the second step, once."""
        assert answer.gradient is not None
        length = torch.where(state.step == 0, (1 - self.alpha) * problem.eps, 0)
        moved = state.point + answer.gradient.sign() * per_slot(length, state.point)
        return State(problem.project(moved), state.step + 1)

    def done(self, problem: Problem, state: State) -> Tensor:
        """After the final point was seen."""
        return state.step >= 2
