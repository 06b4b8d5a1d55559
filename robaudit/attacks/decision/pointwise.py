"""Pointwise attack: take back features of a point that fools, as long as it does, with labels alone."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from robaudit.attacks.base import Problem
from robaudit.attacks.decision.points import NOISE_STARTS, start_point
from robaudit.attacks.decision.walk import OWN, START, BoundaryWalk, Walk
from robaudit.attacks.parameters import Count, attack_parameters
from robaudit.attacks.requests import Answer
from robaudit.threat.norms import Norm, distance, select

__all__ = ["Pointwise"]

TAKE_BACK = OWN


@dataclass
class State(Walk):
    """A walk, whose edge is the point that fools with the fewest changes since the last start.

    Args:
        rank: [S, *shape] int64 place of each changed feature in the pass's order; those unchanged come last.
        size: [S] int64 features in a group; ``group`` [S] the next one's number.
        changed: [S] int64 features that were changed when the pass began; ``took`` [S] bool, it has taken some back.
    """

    rank: Tensor
    size: Tensor
    group: Tensor
    changed: Tensor
    took: Tensor


@attack_parameters
class Pointwise(BoundaryWalk[State]):
    """From salt and pepper or another sample, give groups of features their own values back while the point fools.

    Each pass takes the changed features in a random order, in groups half as large as the last pass's; where a pass
    over single ones took none back, no single feature can be. Then the search starts anew, while there are starts.

    Source: Schott, Rauber, Bethge, Brendel 2019, "Towards the first adversarially robust neural network model on MNIST"
    (the pointwise attack: salt and pepper, then passes over the changed features in random order, as in its authors'
    code); the groups are ours, as single features cost a query each, and so is the second start. Cost: up to
    ``queries`` label queries.

    Args:
        queries: most queries a sample.
    """

    id = "pointwise"
    norms = frozenset({Norm.L0})

    queries: Count = 5000

    def init(self, problem: Problem) -> State:
        count = problem.full(0).long()
        rank = torch.zeros_like(problem.x, dtype=torch.int64)
        return State.begun(problem, rank=rank, size=count, group=count, changed=count, took=count.bool())

    def start(self, problem: Problem, number: Tensor) -> Tensor:
        """Salt and pepper in place of noise."""
        point = start_point(problem, number)
        noisy = (problem.goal < 0) & (number < NOISE_STARTS)
        return problem.clip(select(noisy, point.round(), point))

    def started(self, problem: Problem, state: State, mask: Tensor, point: Tensor) -> State:
        state = replace(
            state,
            phase=torch.where(mask, TAKE_BACK, state.phase),
            edge=select(mask, point, state.edge),
            size=torch.where(mask, math.prod(problem.shape), state.size),
        )
        return self._pass(problem, state, mask)

    def _pass(self, problem: Problem, state: State, mask: Tensor) -> State:
        """Begin a pass with groups of half the size, in a new order."""
        slots = mask.nonzero()[:, 0]
        if not slots.numel():
            return state
        part = problem.take(slots)
        lot = part.draws.uniform("order", state.draw[slots], problem.shape)
        same = state.edge[slots] == part.x
        order = lot.masked_fill(same, 2.0).flatten(1).argsort(dim=1, stable=True)
        place = torch.arange(order.shape[1], device=order.device).expand_as(order)
        rank = torch.zeros_like(order).scatter(1, order, place).reshape(same.shape)
        changed = distance(Norm.L0, state.edge - problem.x).long()
        size = ((torch.minimum(state.size, changed) + 1) // 2).clamp_min(1)
        return replace(
            state,
            rank=state.rank.index_copy(0, slots, rank),
            size=torch.where(mask, size, state.size),
            group=torch.where(mask, 0, state.group),
            changed=torch.where(mask, changed, state.changed),
            took=state.took & ~mask,
        )

    def ask(self, problem: Problem, state: State) -> Tensor:
        """The point with the next group as in the sample."""
        place = state.rank.flatten(1) // state.size.clamp_min(1)[:, None]
        inside = (place == state.group[:, None]).reshape(problem.x.shape)
        return torch.where(inside, problem.x, state.edge)

    def move(self, problem: Problem, state: State, phase: Tensor, answer: Answer) -> State:
        mask = phase == TAKE_BACK
        took = mask & answer.fooled
        state = replace(
            state,
            edge=select(took, answer.points, state.edge),
            took=state.took | took,
            group=state.group + mask.long(),
        )
        over = mask & (state.group * state.size >= state.changed)
        least = over & (state.size == 1) & ~state.took
        state = self._pass(problem, state, over & ~least)
        return replace(state, phase=torch.where(least, START, state.phase))

    def arrived(self, problem: Problem, state: State, mask: Tensor) -> State:
        raise AssertionError("nothing is bisected here")
