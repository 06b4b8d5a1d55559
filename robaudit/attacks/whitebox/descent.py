"""What a penalty attack descends with: Adam, the search of c, the tanh change of variables."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from robaudit.attacks.base import Problem, Slots
from robaudit.threat.norms import per_slot, select

__all__ = ["Adam", "Constant", "to_box", "to_free"]

SHRINK = 1 - 1e-6
"""Keeps atanh finite at the box's ends (the authors' code)."""
BETA1, BETA2, ADAM_EPSILON = 0.9, 0.999, 1e-8


def to_free(point: Tensor, shrink: float = SHRINK) -> Tensor:
    """From the box to the whole line; the change of variables of Carlini & Wagner 2017, section V-B."""
    return torch.atanh((2 * point - 1) * shrink)


def to_box(free: Tensor) -> Tensor:
    """The point of the box; its derivative there is 2 u (1 - u)."""
    return (free.tanh() + 1) / 2


@dataclass
class Adam(Slots):
    """Adam (Kingma & Ba 2015), each slot at its own step."""

    mean: Tensor
    square: Tensor
    step: Tensor

    @classmethod
    def fresh(cls, problem: Problem) -> Self:
        """Before the first step."""
        zero = torch.zeros_like(problem.x)
        return cls(zero, zero, torch.zeros_like(problem.label))

    def cleared(self, mask: Tensor) -> Self:
        """With the masked slots as before the first step."""
        zero = torch.zeros_like(self.mean)
        return type(self)(
            select(mask, zero, self.mean), select(mask, zero, self.square), torch.where(mask, 0, self.step)
        )

    def moved(self, gradient: Tensor, rate: Tensor) -> tuple[Tensor, Self]:
        """What to subtract for a gradient [S, *shape] and rates [S], and the next state."""
        step = self.step + 1
        mean = torch.lerp(self.mean, gradient, 1 - BETA1)
        square = torch.addcmul(self.square * BETA2, gradient, gradient, value=1 - BETA2)
        first = -torch.expm1(step.double() * math.log(BETA1))
        second = -torch.expm1(step.double() * math.log(BETA2))
        size = (square / per_slot(second.to(square.dtype), square)).sqrt_().add_(ADAM_EPSILON)
        return mean / size * per_slot((rate / first).to(mean.dtype), mean), type(self)(mean, square, step)


@dataclass
class Constant(Slots):
    """The search of each slot's c: by tens until it is bracketed, then by halves of its logarithm."""

    value: Tensor
    low: Tensor
    high: Tensor
    tried: Tensor

    @classmethod
    def fresh(cls, problem: Problem, first: float) -> Self:
        """Nothing tried yet."""
        start = problem.full(first)
        return cls(start, torch.zeros_like(start), start * math.inf, torch.zeros_like(problem.label))

    def after(self, ended: Tensor, succeeded: Tensor) -> Self:
        """The next c of slots whose descent ended, larger where it did not succeed."""
        high = torch.where(ended & succeeded, self.value, self.high)
        low = torch.where(ended & ~succeeded, self.value, self.low)
        value = torch.where(high.isinf(), self.value * 10, torch.where(low == 0, self.value / 10, (low * high).sqrt()))
        return type(self)(torch.where(ended, value, self.value), low, high, self.tried + ended)
