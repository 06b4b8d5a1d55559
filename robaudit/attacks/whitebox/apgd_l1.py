"""The iteration of Auto-PGD in L1: sparse steps whose sparsity follows the best point's."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from robaudit.attacks.base import Problem, Slots
from robaudit.attacks.requests import Answer
from robaudit.attacks.steps import support_of
from robaudit.threat.norms import select

__all__ = ["Schedule", "SparseState", "sparse_start", "sparse_update"]

WINDOW = 0.04
"""Share of a phase's steps between two checkpoints."""
FIRST_SHARE = 0.2
"""Share of the features in the first steps from a random start."""
SHRINK = 1.5
"""The next steps touch the best point's features over this; a step is divided by it where sparsity settles."""
SETTLED = 0.95
"""Sparsity has not settled while it falls below this share of what it was."""
SHORTEST = 0.1
"""Shortest step, in radii."""


@dataclass(frozen=True)
class Schedule:
    """Phases of the search: radii as multiples of ε, steps of each, and the window between two checkpoints.

    A phase of n steps takes n + 1 answers.
    """

    factors: tuple[float, ...]
    steps: tuple[int, ...]

    @classmethod
    def of(cls, steps: int, *, wide: bool) -> Schedule:
        """One phase at ε, or three at 3 ε, 2 ε and ε with 30, 30 and 40 % of the steps."""
        if not wide:
            return cls((1.0,), (steps,))
        third = min(math.ceil(0.3 * steps), steps // 2)
        return cls((3.0, 2.0, 1.0), (third, third, steps - 2 * third))

    @property
    def answers(self) -> int:
        """Answers that all phases take."""
        return self.ends[-1] + 1

    @property
    def ends(self) -> tuple[int, ...]:
        """Number of the last answer of each phase, from 0."""
        return tuple(sum(self.steps[: i + 1]) + i for i in range(len(self.steps)))

    @property
    def windows(self) -> tuple[int, ...]:
        """Steps between two checkpoints of each phase."""
        return tuple(max(int(WINDOW * steps), 1) for steps in self.steps)

    def last(self, phase: Tensor) -> Tensor:
        """[S] bool: slots in the phase at ε, whose points are candidates."""
        return phase == len(self.factors) - 1


@dataclass
class SparseState(Slots):
    """One slot's search.

    ``point`` is the iterate to be evaluated; the best one is of the slot's present phase. ``width`` features
    move in a step of length ``size``; ``support`` counts those that the best point had changed at the last
    checkpoint, ``elapsed`` the steps since.
    """

    point: Tensor
    best: Tensor
    best_slope: Tensor
    best_loss: Tensor
    step: Tensor
    phase: Tensor
    size: Tensor
    width: Tensor
    support: Tensor
    elapsed: Tensor


def sparse_start(problem: Problem, schedule: Schedule) -> SparseState:
    """A Gaussian perturbation of unit variance projected onto the first phase's ball."""
    noise = problem.draws.normal("start", 0, problem.shape).to(problem.x.dtype)
    radius = problem.eps * schedule.factors[0]
    start = _within(problem, radius).project(problem.x + noise)
    zero = problem.full(0)
    support = support_of(problem, start)
    random = len(schedule.factors) == 1
    count = problem.x.flatten(1).shape[1]
    return SparseState(
        point=start,
        best=start,
        best_slope=torch.zeros_like(start),
        best_loss=problem.full(float("-inf")),
        step=zero.long(),
        phase=zero.long(),
        size=radius,
        width=problem.full(FIRST_SHARE * count) if random else support / SHRINK,
        support=problem.full(count) if random else support,
        elapsed=zero.long(),
    )


def sparse_update(problem: Problem, state: SparseState, answer: Answer, schedule: Schedule) -> SparseState:
    """Keep the best iterate, adapt sparsity and step at checkpoints, step; a phase ends at its best point."""
    assert answer.loss is not None
    assert answer.gradient is not None
    radius = problem.eps * _at(schedule.factors, state.phase)
    point, slope = state.point, answer.gradient
    first = ~state.best_loss.isfinite()
    better = answer.loss > state.best_loss
    best = select(better, point, state.best)
    best_slope = select(better, slope, state.best_slope)
    best_loss = torch.where(better, answer.loss, state.best_loss)

    elapsed = state.elapsed + (~first).long()
    due = elapsed == _at(schedule.windows, state.phase)
    support = support_of(problem, best)
    falling = support < SETTLED * state.support
    size = torch.where(falling, radius, (state.size / SHRINK).clamp_min(SHORTEST * radius))
    size = torch.where(due, size, state.size)
    width = torch.where(due, support / SHRINK, state.width)
    back = due & falling
    point, slope = select(back, best, point), select(back, best_slope, slope)
    moved = _within(problem, radius).project(_step(point, slope, size, width))
    state = SparseState(
        point=moved,
        best=best,
        best_slope=best_slope,
        best_loss=best_loss,
        step=state.step + 1,
        phase=state.phase,
        size=size,
        width=width,
        support=torch.where(due, support, state.support),
        elapsed=torch.where(due, 0, elapsed),
    )
    return state if len(schedule.factors) == 1 else _next_phase(problem, state, schedule)


def _next_phase(problem: Problem, state: SparseState, schedule: Schedule) -> SparseState:
    """Where a phase has ended: start anew from its best point, brought into the next ball."""
    over = (state.step == _at(schedule.ends, state.phase) + 1) & ~schedule.last(state.phase)
    phase = state.phase + over.long()
    radius = problem.eps * _at(schedule.factors, phase)
    start = _within(problem, radius).project(state.best)
    support = support_of(problem, start)
    return dataclasses.replace(
        state,
        point=select(over, start, state.point),
        best_loss=torch.where(over, float("-inf"), state.best_loss),
        phase=phase,
        size=torch.where(over, radius, state.size),
        width=torch.where(over, support / SHRINK, state.width),
        support=torch.where(over, support, state.support),
        elapsed=torch.where(over, 0, state.elapsed),
    )


def _step(point: Tensor, slope: Tensor, size: Tensor, width: Tensor) -> Tensor:
    """A step of L1 length ``size``, equal over the ``width`` features (rounded down) with the steepest slope."""
    flat = slope.flatten(1)
    steepness = flat.abs()
    count = flat.shape[1]
    place = (count - width.long()).clamp(0, count - 1)
    least = steepness.sort(1).values.gather(1, place[:, None])
    sign = torch.where(steepness >= least, flat.sign(), 0)
    length = size[:, None] / sign.abs().sum(1, keepdim=True).clamp_min(1)
    return point + (sign * length).reshape(point.shape)


def _within(problem: Problem, radius: Tensor) -> Problem:
    """The same problem with another radius."""
    return dataclasses.replace(problem, eps=radius)


def _at(values: Sequence[float], index: Tensor) -> Tensor:
    """Each slot's entry of a short table, without a copy from the host."""
    found = torch.full_like(index, 0, dtype=torch.float32)
    for position, value in enumerate(values):
        found = torch.where(index == position, value, found)
    return found
