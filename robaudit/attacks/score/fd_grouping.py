"""Gradient estimation by finite differences over random groups of features."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from robaudit.attacks.base import Problem
from robaudit.attacks.parameters import Count, Positive, attack_parameters
from robaudit.attacks.score.difference_steps import DifferenceSteps, Stepping
from robaudit.attacks.score.objective import ScoreLoss
from robaudit.threat.norms import select

__all__ = ["FDGrouping"]


@dataclass
class State(Stepping):
    """A search; ``group`` [S, *shape] int64 is the number of each feature's group, -1: it may not change."""

    group: Tensor


@attack_parameters
class FDGrouping(DifferenceSteps[State]):
    """Estimate the gradient by two-sided differences, all features of a random group at once, and step along it.

    Groups are drawn anew in each step. Steps go along the sign in L∞, along the gradient in L2.

    Source: Bhagoji, He, Li, Song 2018, "Practical Black-box Attacks on Deep Neural Networks using Efficient Query
    Mechanisms", algorithm 1 in the iterative attack with the logit loss; its components are those of ``fd-pca``. Once
    ``steps`` steps are taken, shorter ones follow until the budget ends. L∞ and L2; untargeted and targeted. Cost: up
    to ``queries`` queries of the scores: two for each group in a step, and one for the point itself.

    Args:
        queries: most queries a sample.
        features: in a group.
        reach: of a difference, as a fraction of the domain's width.
        steps: of equal length.
        step_size: as a share of ε.
        loss: that is climbed.
    """

    id = "fd-grouping"

    queries: Count = 10_000
    features: Count = 8
    reach: Positive = 0.01
    steps: Count = 10
    step_size: Positive = 0.125
    loss: ScoreLoss = "margin"

    def init(self, problem: Problem) -> State:
        zero = problem.full(0).long()
        return State(problem.x, torch.zeros_like(problem.x), zero, zero, self._groups(problem, zero))

    def most_directions(self, problem: Problem) -> int:
        return -(-math.prod(problem.shape) // self.features)

    def directions(self, problem: Problem, state: State) -> Tensor:
        return state.group.flatten(1).amax(1) + 1

    def shifts(self, problem: Problem, state: State, number: Tensor) -> Tensor:
        """All features of a group moved up."""
        wanted = number.reshape(*number.shape, *[1] * len(problem.shape))
        return (state.group[:, None] == wanted).to(state.point.dtype) * self.reach

    def renewed(self, problem: Problem, state: State, mask: Tensor) -> State:
        return replace(state, group=select(mask, self._groups(problem, state.step), state.group))

    def _groups(self, problem: Problem, step: Tensor) -> Tensor:
        """[S, *shape] the features that may change, in groups at random."""
        lot = problem.draws.uniform("group", step, problem.shape).flatten(1)
        if problem.fixed is not None:
            lot = lot.masked_fill(problem.fixed.flatten(1), 2.0)
        group = (lot.argsort(dim=1, stable=True).argsort(dim=1) // self.features).reshape(problem.x.shape)
        return group if problem.fixed is None else group.masked_fill(problem.fixed, -1)
