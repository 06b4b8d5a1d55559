"""Fast gradient methods: one step. A sanity rung: what they break, PGD must break."""

from __future__ import annotations

import torch
from torch import Tensor

from robaudit.attacks.base import Problem
from robaudit.attacks.gradient_step import GradientStep, Iterate
from robaudit.attacks.parameters import Count, Fraction, attack_parameters
from robaudit.attacks.requests import Answer
from robaudit.attacks.steps import farthest_step
from robaudit.attacks.target_classes import least_likely
from robaudit.threat.losses import LossName
from robaudit.threat.norms import Norm, per_slot

__all__ = ["FGSM", "FGSMLL", "RFGSM"]


@attack_parameters
class FGSM(GradientStep[Iterate]):
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
    norms = frozenset({Norm.LINF, Norm.L2, Norm.L1})

    loss: LossName = "ce"

    def steps_within(self, eps: Tensor) -> int:
        return 1

    def init(self, problem: Problem) -> Iterate:
        return Iterate.at(problem.x)

    def update(self, problem: Problem, state: Iterate, answer: Answer) -> Iterate:
        assert answer.gradient is not None
        return Iterate(farthest_step(problem, answer.gradient), state.step + 1)


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

    def target_class(self, problem: Problem) -> Tensor:
        return least_likely(problem)


@attack_parameters
class RFGSM(GradientStep[Iterate]):
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
    norms = frozenset({Norm.LINF})

    alpha: Fraction = 0.5
    restarts: Count = 1
    loss: LossName = "ce"

    def steps_within(self, eps: Tensor) -> int:
        return 1

    def init(self, problem: Problem) -> Iterate:
        sign = problem.draws.sign("start", 0, problem.shape).to(problem.x.dtype)
        point = problem.project(problem.x + sign * per_slot(self.alpha * problem.eps, problem.x))
        return Iterate.at(point)

    def update(self, problem: Problem, state: Iterate, answer: Answer) -> Iterate:
        """Take the second step, once."""
        assert answer.gradient is not None
        length = torch.where(state.step == 0, (1 - self.alpha) * problem.eps, 0)
        moved = state.point + answer.gradient.sign() * per_slot(length, state.point)
        return Iterate(problem.project(moved), state.step + 1)
