"""Projected gradient descent, the core first-order attack."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from robaudit.attacks.base import Problem
from robaudit.attacks.gradient_step import GradientStep, Iterate
from robaudit.attacks.parameters import Count, Positive, attack_parameters
from robaudit.attacks.requests import Answer
from robaudit.attacks.starts import random_start
from robaudit.attacks.steps import steepest_step, stepped
from robaudit.threat.losses import LossName
from robaudit.threat.norms import Norm, select

__all__ = ["PGD"]

TARGETS = 9
"""Classes tried where a loss needs one and none is asked for, as AutoAttack does."""


@attack_parameters
class PGD(GradientStep[Iterate]):
    """Steepest-ascent steps, each projected back into the ball and the box.

    Source: Madry, Makelov, Schmidt, Tsipras, Vladu 2018, "Towards Deep Learning Models Resistant to
    Adversarial Attacks", eq. 3 (section 2.1). In L1 each step moves the steepest features alone and the projection is
    Euclidean: SLIDE, Tramèr & Boneh 2019, "Adversarial Training and Robustness for Multiple Perturbations", algorithm
    1. With ``targets`` the loss is aimed at one likely class after another: MultiTargeted, Gowal et al. 2019, "An
    Alternative Surrogate Loss for PGD-based Adversarial Testing". A targeted audit aims at its class. Without a random
    start it is BIM (Kurakin 2017).
    Cost: ``steps`` + 1 forwards and backwards a restart and target, fewer once the sample falls.

    Args:
        steps: number of steps.
        step_size: length of a step as a multiple of ε; default 2.5 / steps (Madry's rule).
        step_length: length of a step as a fraction of the domain's width; overrides ``step_size``.
        random_start: start at a random point of the ball; default: yes, but in L1 from the second restart on, as SLIDE
            starts at the sample, and sparse steps are slow to forget a start spread over all features.
        restarts: independent starts; restart 0 starts at the sample if ``random_start`` is off.
        loss: maximised; see ``robaudit.threat.losses``.
        targets: classes tried one after the other, by falling clean logit; 0: none, the loss is untargeted. Default 9
            for ``dlr-targeted``, which needs a class, else 0.
        density: share of the features that a step in L1 moves.
    """

    id = "pgd"
    norms = frozenset({Norm.LINF, Norm.L2, Norm.L1})

    steps: Count = 40
    step_size: Positive | None = None
    step_length: Positive | None = None
    random_start: bool | None = None
    restarts: Count = 1
    loss: LossName | Literal["dlr-targeted"] = "ce"
    targets: Annotated[int, Field(ge=0)] | None = None
    density: Annotated[float, Field(gt=0, le=1)] = 0.01

    @property
    def unit_aims(self) -> int:
        needed = TARGETS if self.loss == "dlr-targeted" else 0
        return self.targets or needed

    def steps_within(self, eps: Tensor) -> int:
        return self.steps

    def init(self, problem: Problem) -> Iterate:
        """A random point of the ball, or the sample itself."""
        point = random_start(problem)
        spread = problem.norm is not Norm.L1 if self.random_start is None else self.random_start
        if not spread:
            point = select(problem.restart == 0, problem.x, point)
        return Iterate.at(point)

    def update(self, problem: Problem, state: Iterate, answer: Answer) -> Iterate:
        assert answer.gradient is not None
        length = problem.eps * (self.step_size or 2.5 / self.steps)
        if self.step_length is not None:
            length = torch.full_like(length, self.step_length)
        direction = steepest_step(problem, answer.gradient, state.point, self.density, own=True)
        return Iterate(stepped(problem, state.point, direction, length), state.step + 1)
