"""For minimal-norm attacks: the nearest fooling point so far, and schedules that each slot follows by its own step."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from robaudit.attacks.base import Problem, Slots
from robaudit.attacks.requests import Answer
from robaudit.threat.norms import Norm, distance, none_of, per_slot, select

__all__ = ["Smallest", "cosine", "farthest", "onto_sphere"]

ROUNDS = 6
"""Of the search for a scale; it ends exactly once no more features meet the box."""


@dataclass
class Smallest(Slots):
    """The nearest fooling point of each slot.

    Args:
        point: [S, *shape]; the sample itself where there is none.
        distance: [S] float64 in the problem's norm; infinite where there is none.
    """

    point: Tensor
    distance: Tensor

    @classmethod
    def none(cls, problem: Problem) -> Self:
        """Nothing found yet."""
        return cls(problem.x, problem.full(float("inf"), torch.float64))

    @property
    def found(self) -> Tensor:
        """[S] bool: some point fools."""
        return self.distance.isfinite()

    def seen(self, problem: Problem, answer: Answer) -> Self:
        """With an answer at one point a slot taken into account."""
        if none_of(answer.fooled):
            return self
        size = _distances(problem, answer)
        nearer = answer.fooled & (size < self.distance)
        return type(self)(
            select(nearer, answer.points, self.point),
            torch.where(nearer, size, self.distance),
        )


def _distances(problem: Problem, answer: Answer) -> Tensor:
    """[S] float64: of the points that fool; on a CPU the others' are left out, and are infinite."""
    if answer.points.device.type != "cpu":
        return distance(problem.norm, answer.points - problem.x)
    size = problem.full(float("inf"), torch.float64)
    rows = answer.fooled.nonzero()[:, 0].tolist()
    for slot in rows:  # one at a time stays in the cache
        size[slot] = distance(problem.norm, answer.points[slot : slot + 1] - problem.x[slot : slot + 1])[0]
    return size


def farthest(problem: Problem) -> Tensor:
    """[S] float64: the distance of the box's farthest corner from each sample, what is fixed left out."""
    room = torch.maximum(problem.x, 1 - problem.x)
    if problem.fixed is not None:
        room = room.masked_fill(problem.fixed, 0.0)
    return distance(problem.norm, room)


def cosine(step: Tensor, steps: int, first: float, last: float) -> Tensor:
    """[S] float64: from ``first`` at step 0 down half a cosine to ``last`` at step ``steps``."""
    return last + (first - last) * (1 + torch.cos(step.double() * (math.pi / steps))) / 2


def onto_sphere(problem: Problem, delta: Tensor, radius: Tensor) -> Tensor:
    """Points in the directions ``delta``, scaled so that they lie at an L2 distance of ``radius`` within the box.

    Clipping shortens a perturbation; this finds the scale at which the clipped one has the length wanted
    (a little less, where the last of a few rounds still meets new bounds). For a radius below the length of
    ``delta`` it is the projection onto ball and box.

    Args:
        problem: the slots.
        delta: [S, *shape].
        radius: [S] float64.

    Returns:
        [S, *shape].
    """
    if problem.fixed is not None:
        delta = delta.masked_fill(problem.fixed, 0.0)
    room = torch.where(delta > 0, 1 - problem.x, problem.x)
    length = delta.abs()
    scale = radius / distance(Norm.L2, delta).clamp_min(1e-30)
    for _ in range(ROUNDS):
        full = length * per_slot(scale.to(delta.dtype), delta) >= room
        spent = distance(Norm.L2, room.masked_fill(~full, 0.0)).square()
        free = distance(Norm.L2, length.masked_fill(full, 0.0))
        left = (radius.square() - spent).clamp_min(0.0).sqrt()
        scale = torch.where(free > 1e-30, torch.maximum(left / free.clamp_min(1e-30), scale), scale)
    return problem.clip(problem.x + delta * per_slot(scale.to(delta.dtype), delta))
