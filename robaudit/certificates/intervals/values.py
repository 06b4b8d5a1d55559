"""What is known of a value in a program: between which numbers it lies, rounding of the file counted in."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from robaudit.threat.norms import Norm

__all__ = ["TINY", "Bounds", "Spread", "meet"]

TINY = 1e-30
"""More than what numbers too small for float32 can lose."""


@dataclass(frozen=True)
class Spread:
    """A value that moves with the input: ``centre + scale * d``, up to ``slack``, elementwise.

    ``d`` holds each feature of the perturbation once at most, in any order, so that its norm is that of the
    perturbation: at most ``eps``.
    """

    centre: Tensor
    scale: Tensor
    slack: Tensor
    norm: Norm
    eps: float


@dataclass(frozen=True)
class Bounds:
    """Every number that a value can be in the file, for every input of the region.

    Args:
        low: float64, ``high`` the same shape.
        slack: how much of that is the rounding of the operator that made it, at most; the rest follows from its inputs.
        spread: a finer description where the value is the input, moved and scaled.
    """

    low: Tensor
    high: Tensor
    slack: Tensor
    spread: Spread | None = None

    @property
    def size(self) -> Tensor:
        """Largest absolute value."""
        return torch.maximum(self.low.abs(), self.high.abs())

    def without_spread(self) -> Bounds:
        """The same, of which the bounds alone are known."""
        return replace(self, spread=None)


def meet(one: Bounds, low: Tensor, high: Tensor) -> Bounds:
    """The bounds, if the value is known to lie within others as well."""
    return replace(one, low=torch.maximum(one.low, low), high=torch.minimum(one.high, high))
