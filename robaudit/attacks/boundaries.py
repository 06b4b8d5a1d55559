"""Linearised class boundaries, which DeepFool and its successors step to."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from robaudit.attacks.base import Problem
from robaudit.attacks.requests import Answer
from robaudit.attacks.units import least_gap
from robaudit.threat.hyperplanes import dual_size, nearest_on_hyperplane
from robaudit.threat.masked import floored
from robaudit.threat.norms import Norm

__all__ = ["Boundary", "beyond_rounding", "least_step", "nearest_boundary", "rivals"]


@dataclass(frozen=True)
class Boundary:
    """A class's logit less the label's, linearised at the points asked.

    Args:
        points: [S, *shape] where it was linearised.
        value: [S] float64 there.
        slope: [S, *shape].
        distance: [S] float64 to its zero, the box left aside; infinite where there is no slope.
    """

    points: Tensor
    value: Tensor
    slope: Tensor
    distance: Tensor

    def nearest(self, problem: Problem, start: Tensor) -> Tensor:
        """[S, *shape] the box's point on the boundary that is nearest to ``start`` [S, *shape]."""
        there = self.value + ((start - self.points) * self.slope).flatten(1).sum(1, dtype=torch.float64)
        return nearest_on_hyperplane(problem.norm, start, self.slope, there, problem.fixed)


def least_step(problem: Problem) -> float:
    """How far past a boundary a step must lead, for steps that spread as the norm's do (in L1 on one feature).

    Newton's steps end on the boundary itself, where the last bit of the model's answer would decide the class, and
    with it the whole way from there: see :func:`beyond_rounding`.
    """
    spread = math.sqrt(math.prod(problem.shape)) if problem.norm is Norm.L2 else 1.0
    return beyond_rounding(problem.x.dtype) * spread


def beyond_rounding(dtype: torch.dtype) -> float:
    """A share far above the rounding of a model's answers and far below what matters: eps^(2/3), 4e-11 or 2e-5.

    A point that is aimed at a boundary is moved past it by this share, so that no outcome hangs on the last bit.
    """
    return float(torch.finfo(dtype).eps ** (2 / 3))


def rivals(problem: Problem, count: int) -> Tensor:
    """[S, C] int64: the classes with the largest clean logits besides the label, at most ``count``.

    Those with the label's very logit come last: they are likely twins of it, which nothing moves past.
    """
    clean = floored(problem.clean)
    twin = clean == clean.gather(1, problem.label[:, None])
    order = clean.argsort(dim=1, descending=True, stable=True)
    last = twin.long().scatter(1, problem.label[:, None], 2).gather(1, order)
    order = order.gather(1, last.argsort(dim=1, stable=True))
    return order[:, : min(count, problem.classes - 1)]


def nearest_boundary(problem: Problem, answer: Answer, wanted: Tensor | None = None) -> Boundary:
    """The boundary with the shortest way to it.

    Args:
        problem: the slots; the norm is L-infinity, L2 or L1.
        answer: to a :class:`Jacobian` with a base, the class on this side of the boundaries.
        wanted: [S] class that is taken instead where its boundary was asked for.
    """
    assert answer.logits is not None
    assert answer.gradient is not None
    assert answer.classes is not None
    assert answer.base is not None
    logits, classes = answer.logits.double(), answer.classes
    # A little past the boundary, as far as the logits can tell: on it, a slot might stay there
    values = logits.gather(1, classes) - logits.gather(1, answer.base[:, None]) - least_gap(answer.logits)[:, None]
    sizes = dual_size(problem.norm, answer.gradient.flatten(2))
    lengths = torch.where(sizes > 0, values.abs() / sizes.clamp_min(1e-300), float("inf"))
    rank = lengths
    if wanted is not None:
        rank = rank.masked_fill(classes == wanted[:, None], -1.0)
    index = rank.argmin(1)
    slot = torch.arange(len(index), device=index.device)
    return Boundary(answer.points, values[slot, index], answer.gradient[slot, index], lengths[slot, index])
