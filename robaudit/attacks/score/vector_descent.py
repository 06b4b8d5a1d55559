"""Descent along few random vectors on a perturbation of few numbers, which is enlarged to the sample's shape."""

from __future__ import annotations

import math
from abc import abstractmethod

import torch
from torch import Tensor

from robaudit.attacks.base import Problem
from robaudit.attacks.requests import Answer, Request, Scores
from robaudit.attacks.score.descent import ADAM_EPSILON, BETA1, BETA2, Descent, ZerothOrder
from robaudit.attacks.score.objective import penalised
from robaudit.attacks.smallest import Smallest
from robaudit.attacks.whitebox.descent import Constant
from robaudit.threat.norms import Norm, normalise, per_slot, select

__all__ = ["VectorDescent", "is_small", "usual_rate"]


GRAY_RATE, COLOUR_RATE, LARGE_RATE = 0.01, 0.01 / 3, 0.002 / 3
SMALL = 32 * 32
"""Most pixels of a small image."""


def is_small(shape: tuple[int, ...]) -> bool:
    """Whether samples of a shape are images of at most 32 x 32 pixels."""
    return len(shape) == 3 and math.prod(shape[1:]) <= SMALL


def usual_rate(shape: tuple[int, ...]) -> float:
    """Of Adam, by what samples are: AutoZOOM's authors have 0.01 for MNIST and CIFAR-10, and 0.002 for ImageNet.

    Images in colour they search through a hyperbolic tangent whose slope is a third on average over the range of
    pixels, so that it is a third of theirs here. What is no image counts as one of one channel.
    """
    if len(shape) != 3 or shape[0] == 1:
        return GRAY_RATE
    return COLOUR_RATE if is_small(shape) else LARGE_RATE


class VectorDescent(ZerothOrder):
    """One vector until a point fools, then more; Adam begins anew there. A subclass says how it is enlarged."""

    vectors: int
    switch: int
    first_c: float
    rate: float | None
    reach: float | None

    @abstractmethod
    def coarse(self, problem: Problem) -> tuple[int, ...]:
        """Shape of the coarse perturbation."""

    @abstractmethod
    def enlarged(self, problem: Problem, coarse: Tensor) -> Tensor:
        """[N, *coarse] to [N, *shape]; nothing to nothing."""

    def init(self, problem: Problem) -> Descent:
        """At the sample."""
        none = problem.x.new_zeros(len(problem), *self.coarse(problem))
        zero, c = problem.full(0).long(), Constant.fresh(problem, self.first_c)
        return Descent(none, none, none, zero, c, zero.bool(), zero, zero, Smallest.none(problem))

    def _rate(self, problem: Problem) -> float:
        return self.rate or usual_rate(problem.shape)

    def _reach(self, state: Descent) -> float:
        return self.reach or 1 / state.at[0].numel()

    def _units(self, problem: Problem, state: Descent) -> Tensor:
        """[S, Q, *coarse shape] random vectors of length 1."""
        count = min(self.vectors, max(problem.max_points - 1, 1))
        drawn = problem.draws.normal("vector", state.draw, (count, *state.at.shape[1:])).to(state.at.dtype)
        return normalise(Norm.L2, drawn.flatten(0, 1)).reshape(drawn.shape)

    def query(self, problem: Problem, state: Descent) -> Request:
        """The point itself, then a little further along each vector."""
        here = state.at[:, None]
        coarse = torch.cat([here, here + self._reach(state) * self._units(problem, state)], 1)
        shift = self.enlarged(problem, coarse.flatten(0, 1)).reshape(-1, coarse.shape[1], *problem.shape)
        rows = (
            torch.arange(coarse.shape[1], device=shift.device)[None]
            < torch.where(state.smallest.found, coarse.shape[1], 2)[:, None]
        )
        return Scores(problem.clip(problem.x[:, None] + shift), rows=rows)

    def update(self, problem: Problem, state: Descent, answer: Answer) -> Descent:
        """A step of Adam; from time to time the next c."""
        assert answer.logits is not None
        units, here = self._units(problem, state), answer.at(0)
        loss = penalised(problem, answer.points, answer.logits, state.c.value)
        asked = answer.answered[:, 1:]
        change = torch.where(asked, loss[:, 1:] - loss[:, :1], 0.0) / asked.sum(1, keepdim=True).clamp_min(1)
        weight = (change * (math.prod(units.shape[2:]) / self._reach(state))).to(units.dtype)
        slope = torch.bmm(weight[:, None], units.flatten(2)).reshape(state.at.shape)
        smallest = state.smallest.seen(problem, here)
        won, step = state.won | (here.fooled & here.answered), state.step + 1
        ended = step >= self.switch
        anew = (smallest.found & ~state.smallest.found) | (ended & smallest.found)
        times = state.times + 1
        first, second = state.first.lerp(slope, 1 - BETA1), state.second.lerp(slope.square(), 1 - BETA2)
        scale = (1 - BETA2 ** times.double()).sqrt() / (1 - BETA1 ** times.double()) * self._rate(problem)
        move = first / (second.sqrt() + ADAM_EPSILON) * per_slot(scale, first).to(first.dtype)
        none = torch.zeros_like(first)
        return Descent(
            at=state.at - move,
            first=select(anew, none, first),
            second=select(anew, none, second),
            times=torch.where(anew, 0, times),
            c=state.c.after(ended, won),
            won=won & ~ended,
            step=torch.where(ended, 0, step),
            draw=state.draw + 1,
            smallest=smallest,
        )
