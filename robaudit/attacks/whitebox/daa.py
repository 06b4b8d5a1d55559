"""Distributionally adversarial attack: PGD whose samples push and pull each other."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from robaudit.attacks.base import Problem
from robaudit.attacks.gradient_step import GradientStep, Iterate
from robaudit.attacks.parameters import Count, Positive, attack_parameters
from robaudit.attacks.requests import Answer, Gradient, Request
from robaudit.attacks.starts import random_start
from robaudit.attacks.units import followed, unit_of
from robaudit.threat.losses import loss_named
from robaudit.threat.model import Goal
from robaudit.threat.norms import Norm, per_slot, select

__all__ = ["DAA"]

WEIGHTS = {("blob", "ce"): 1.1, ("blob", "margin"): 10.0, ("dgf", "ce"): 0.001, ("dgf", "margin"): 0.01}
"""The authors' own."""
USUAL = (1.0, 512.0)
"""Spreads of logits that are left as they are; below, the pull of the others would outweigh a sample's own loss."""


@dataclass
class State(Iterate):
    """With the gradient at the last point that was asked about, and what the logits count, as the first one tells."""

    gradient: Tensor
    unit: Tensor


@attack_parameters
class DAA(GradientStep[State]):
    """Sign steps from a random start, shared by the samples of a cohort: their distribution is to be adversarial.

    Ascends the mean loss plus the divergence of the perturbed samples' distribution from the data's, by one of two
    particle methods. ``blob`` (Lagrangian blob) adds to a sample's gradient the mean of all members' gradients,
    weighted by a Gaussian kernel of the distance between samples, and draws samples together; ``dgf`` (discrete
    gradient flow) drives samples nearer than the kernel's width apart and draws the others together. The width follows
    the median distance. The cross-entropy is climbed as the log-odds, so that a sample of which the model is sure does
    not move by the others alone; logits of unusual size are scaled first. Source: Zheng, Chen, Ren 2019,
    "Distributionally Adversarial Attack", AAAI (DAA-BLOB and DAA-DGF); formulas and numbers as in the authors' code.

    What becomes of a sample depends on the others of its cohort. Cohorts are fixed by the samples' content, and a
    sample that has fallen stays in its cohort where it fell, at no further cost (the authors move it on, and form new
    batches at random every ten steps). Later restarts take the samples that still stand.

    Norm L-infinity, untargeted. Cost: ``steps`` + 1 forwards and backwards a restart, fewer once the sample falls, and
    for each step of a cohort two products of its points with a square matrix.

    Args:
        method: ``blob`` or ``dgf``.
        steps: number of steps.
        step_size: length of a step as a multiple of ε.
        weight: of what the other samples add; default 1.1 for blob and 0.001 for dgf, with the margin loss 10 and 0.01.
        cohort: most samples that share a search.
        restarts: independent random starts.
        loss: maximised.
    """

    id = "daa"
    norms = frozenset({Norm.LINF})
    goals = frozenset({Goal.UNTARGETED})

    method: Literal["blob", "dgf"] = "blob"
    steps: Count = 200
    step_size: Positive = 1 / 30
    weight: Positive | None = None
    cohort: Count = 200
    restarts: Count = 1
    loss: Literal["ce", "margin"] = "ce"

    @property
    def cohort_size(self) -> int:
        return self.cohort

    def steps_within(self, eps: Tensor) -> int:
        return self.steps

    def init(self, problem: Problem) -> State:
        point = random_start(problem)
        return State(point, problem.full(0).long(), torch.zeros_like(point), problem.full(math.nan))

    def query(self, problem: Problem, state: State) -> Request:
        """The gradient where the members that still stand are."""
        rows = None if problem.ended is None else ~problem.ended
        return Gradient(state.point, rows, loss=loss_named(self.loss))

    def update(self, problem: Problem, state: State, answer: Answer) -> State:
        """Step by the sign of the gradient and what the others add; fallen members keep their place and gradient."""
        assert answer.gradient is not None
        moving = answer.answered & ~answer.fooled & answer.gradient.flatten(1).isfinite().all(1)
        usable = answer.answered & answer.gradient.flatten(1).isfinite().all(1)
        assert answer.logits is not None
        now = unit_of(answer.logits, answer.gradient, USUAL)
        unit = torch.where(answer.answered, followed(state.unit, now), state.unit)
        gradient = select(usable, answer.gradient * per_slot(unit, answer.gradient), state.gradient)
        points = state.point.flatten(1)
        others = (_blob if self.method == "blob" else _flow)(points, gradient.flatten(1)).reshape(gradient.shape)
        weight = WEIGHTS[self.method, self.loss] if self.weight is None else self.weight
        direction = (gradient + weight * others).sign()
        if problem.fixed is not None:
            direction = direction.masked_fill(problem.fixed, 0)
        moved = problem.project(state.point + direction * per_slot(problem.eps * self.step_size, direction))
        return State(select(moving, moved, state.point), state.step + 1, gradient, unit)


def _squares(points: Tensor) -> Tensor:
    """[M, M] squared distances of [M, D] points."""
    centred = points - points.mean(0)
    size = centred.square().sum(1)
    found = (size[:, None] + size - 2 * centred @ centred.T).clamp_min(0)
    return found.fill_diagonal_(0)


def _width(squares: Tensor, count: int) -> Tensor:
    """Twice the square of the kernel's width: the median squared distance, over log of a count."""
    middle = squares.flatten().sort().values
    median = (middle[(middle.numel() - 1) // 2] + middle[middle.numel() // 2]) / 2
    return (median / max(math.log(count), 1e-6)).clamp_min(1e-12)


def _blob(points: Tensor, gradient: Tensor) -> Tensor:
    """Kernel-weighted mean of the members' gradients, and of their pull on each other."""
    squares = _squares(points)
    width = _width(squares, len(points))
    kernel = (-squares / width).exp()
    pull = (kernel.sum(1, keepdim=True) * points - kernel @ points) / (width / 2)
    return (kernel @ gradient - pull) / len(points)


def _flow(points: Tensor, gradient: Tensor) -> Tensor:
    """Discrete gradient flow: each member is driven from those nearer than the kernel's width, drawn to the others."""
    squares = _squares(points)
    share = squares / _width(squares, len(points) + 1)
    kernel = (1 - share) * (-share).exp()
    return kernel.sum(1, keepdim=True) * points - kernel @ points
