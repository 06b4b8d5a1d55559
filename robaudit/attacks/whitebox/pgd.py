"""Projected gradient descent, the core first-order attack."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from robaudit.attacks.base import Problem, SlotAttack, Slots
from robaudit.attacks.cost import Cost, Task
from robaudit.attacks.parameters import Count, Positive, attack_parameters
from robaudit.attacks.requests import Answer, Gradient, Request
from robaudit.attacks.starts import random_start
from robaudit.attacks.steps import steepest_step
from robaudit.threat.losses import Loss, LossName, loss_named, loss_unsuited
from robaudit.threat.model import Access
from robaudit.threat.norms import Norm, per_slot, select

__all__ = ["PGD"]

TARGETS = 9
"""Classes tried where a loss needs one and none is asked for, as AutoAttack does."""


@dataclass
class State(Slots):
    """The current iterate and the number of answers seen."""

    point: Tensor
    step: Tensor


@attack_parameters
class PGD(SlotAttack[State]):
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
    access = Access.WHITE_BOX
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
    def unit_targets(self) -> int:
        """One unit a class."""
        needed = TARGETS if self.loss == "dlr-targeted" else 0
        return self.targets or needed

    def climbs(self, classes: int) -> Mapping[str, Loss]:
        """The loss that was chosen."""
        return {self.loss: loss_named(self.loss)}

    def unsuited(self, classes: int, shape: tuple[int, ...]) -> str | None:
        """Some losses need more classes."""
        return loss_unsuited(self.loss, classes)

    def most(self, task: Task) -> Cost:
        """A gradient a step and one more."""
        return Cost.gradients(self.steps + 1)

    def init(self, problem: Problem) -> State:
        """A random point of the ball, or the sample itself."""
        point = random_start(problem)
        spread = problem.norm is not Norm.L1 if self.random_start is None else self.random_start
        if not spread:
            point = select(problem.restart == 0, problem.x, point)
        return State(point, problem.full(0).long())

    def query(self, problem: Problem, state: State) -> Request:
        """The gradient where the slot stands."""
        return Gradient(state.point, loss=loss_named(self.loss))

    def update(self, problem: Problem, state: State, answer: Answer) -> State:
        """Step and project."""
        assert answer.gradient is not None
        length = problem.eps * (self.step_size or 2.5 / self.steps)
        if self.step_length is not None:
            length = torch.full_like(length, self.step_length)
        direction = steepest_step(problem, answer.gradient, state.point, self.density)
        moved = torch.addcmul(state.point, direction, per_slot(length, direction))
        return State(problem.project(moved), state.step + 1)

    def done(self, problem: Problem, state: State) -> Tensor:
        """After the last iterate was seen."""
        return state.step > self.steps
