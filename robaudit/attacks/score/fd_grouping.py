"""Gradient estimation by finite differences over random groups of features."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from robaudit.attacks.base import Problem, SlotAttack, Slots
from robaudit.attacks.parameters import Count, Positive, attack_parameters
from robaudit.attacks.requests import Answer, Request, Scores
from robaudit.attacks.score.objective import ScoreLoss, differences, inside, objective
from robaudit.threat.model import Access
from robaudit.threat.norms import Norm, normalise, per_slot, select

__all__ = ["FDGrouping"]


@dataclass
class State(Slots):
    """One slot's search.

    Args:
        point: [S, *shape] where the gradient is estimated; ``gradient`` [S, *shape] as far as it is known.
        group: [S, *shape] int64 number of each feature's group, -1: it may not change.
        part: [S] requests of this step so far; ``step`` [S] steps so far.
    """

    point: Tensor
    gradient: Tensor
    group: Tensor
    part: Tensor
    step: Tensor


@attack_parameters
class FDGrouping(SlotAttack[State]):
    """Estimate the gradient by two-sided differences, all features of a random group at once, and step along it.

    Groups are drawn anew in each step. Steps go along the sign in L∞, along the gradient in L2.

    Source: Bhagoji, He, Li, Song 2018, "Practical Black-box Attacks on Deep Neural Networks using Efficient Query
    Mechanisms", algorithm 1 in the iterative attack with the logit loss. Once ``steps`` steps are taken, shorter ones
    follow until the budget ends. L∞ and L2; untargeted and targeted. Cost: up to ``queries`` queries of the scores:
    two for each group in a step, and one for the point itself.

    Args:
        queries: most queries a sample.
        features: in a group.
        reach: of a difference, as a fraction of the domain's width.
        steps: of equal length.
        step_size: as a share of ε.
        loss: that is climbed.
    """

    id = "fd-grouping"
    access = Access.SCORES
    norms = frozenset({Norm.LINF, Norm.L2})
    several = True

    queries: Count = 10_000
    features: Count = 8
    reach: Positive = 0.01
    steps: Count = 10
    step_size: Positive = 0.125
    loss: ScoreLoss = "margin"

    def init(self, problem: Problem) -> State:
        zero = problem.full(0).long()
        return State(problem.x, torch.zeros_like(problem.x), self._groups(problem, zero), zero, zero)

    def _size(self, problem: Problem) -> int:
        """Groups in a request; the point itself is asked about too."""
        most = max(problem.max_points - 1, 2) // 2
        return min(most, -(-math.prod(problem.shape) // self.features))

    def query(self, problem: Problem, state: State) -> Request:
        """The point itself once a step, then groups moved up, then moved down."""
        size = self._size(problem)
        number = state.part[:, None] * size + torch.arange(size, device=state.part.device)
        shift = state.group[:, None] == per_slot(number.flatten(), state.group).reshape(
            -1, size, *[1] * len(problem.shape)
        )
        shift, here = shift.to(state.point.dtype) * self.reach, state.point[:, None]
        probes = problem.clip(torch.cat([here + shift, here - shift], 1))
        asked = number <= state.group.flatten(1).amax(1, keepdim=True)
        points = torch.cat([here, probes], 1)
        rows = torch.cat([(state.part == 0)[:, None], asked, asked], 1)
        return Scores(points, rows=rows, candidates=inside(problem, points))

    def update(self, problem: Problem, state: State, answer: Answer) -> State:
        """Each group's difference; with all of them, a step."""
        assert answer.logits is not None
        size = self._size(problem)
        value = objective(self.loss, problem, answer.logits[:, 1:])
        gradient = state.gradient + differences(answer.points[:, 1:], value, answer.answered[:, 1:])
        part = state.part + 1
        ready = part * size > state.group.flatten(1).amax(1)
        share = self.step_size * torch.minimum(self.steps / (state.step + 1), torch.ones_like(problem.eps))
        length = (share * problem.eps).to(gradient.dtype)
        stepped = problem.project(state.point + normalise(problem.norm, gradient) * per_slot(length, gradient))
        step, group = state.step + ready.long(), state.group
        if bool(ready.any()):
            group = select(ready, self._groups(problem, step), group)
        return State(
            point=select(ready, stepped, state.point),
            gradient=select(ready, torch.zeros_like(gradient), gradient),
            group=group,
            part=torch.where(ready, 0, part),
            step=step,
        )

    def done(self, problem: Problem, state: State) -> Tensor:
        """The budget ends it."""
        return torch.zeros_like(state.part, dtype=torch.bool)

    def _groups(self, problem: Problem, step: Tensor) -> Tensor:
        """[S, *shape] the features that may change, in groups at random."""
        lot = problem.draws.uniform("group", step, problem.shape).flatten(1)
        if problem.fixed is not None:
            lot = lot.masked_fill(problem.fixed.flatten(1), 2.0)
        group = (lot.argsort(dim=1, stable=True).argsort(dim=1) // self.features).reshape(problem.x.shape)
        return group if problem.fixed is None else group.masked_fill(problem.fixed, -1)
