"""Many points around one, for normals of the boundary: made in parts that a CPU's cache holds.

Each pass over a large batch of images costs a CPU as much as drawing it: memory is what is slow.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

from robaudit.attacks.base import Problem
from robaudit.attacks.frequencies import from_low_frequencies, low_shape
from robaudit.threat.random import Draws

__all__ = ["Part", "added_up", "in_parts", "on_spheres"]

FEATURES = 2**16
"""Of the probes of a part."""

Part: TypeAlias = Callable[[slice, int, int], Tensor]
"""From some slots, the number of the first probe and how many they are, to these probes [S, count, *shape]."""


def in_parts(problem: Problem, wanted: Tensor, part: Part) -> Tensor:
    """[S, P, *shape] points brought into the box and the perturbation sets.

    Args:
        problem: the slots.
        wanted: [S] int64 points of each, whose most is P; what is beyond them is never to be read.
        part: makes them.
    """
    count = int(wanted.max())
    if problem.x.device.type != "cpu":
        return problem.clip(part(slice(None), 0, count))
    size = (len(problem), count, *problem.shape)
    points = problem.x.new_zeros(size) if problem.joint else problem.x.new_empty(size)
    rows = _rows(problem.shape)
    for slot, last in enumerate(wanted.tolist()):
        some = slice(slot, slot + 1)
        for first in range(0, last, rows):
            number = min(rows, last - first)
            torch.clamp(part(some, first, number), 0.0, 1.0, out=points[some, first : first + number])
    return points if problem.fixed is None and not problem.joint else problem.clip(points)


def on_spheres(problem: Problem, purpose: str, step: Tensor, share: float = 1.0, *, uniform: bool = False) -> Part:
    """Random directions of L2 length 1 in the span of each image's low frequencies; nothing at what is fixed.

    Args:
        problem: the slots.
        purpose: of the draw.
        step: [S] int64 its number.
        share: of the frequencies of each side.
        uniform: noise uniform in a box of all features, in the place of normal noise, which costs three times as much.
    """
    low = low_shape(problem.shape, share)
    size, shape = math.prod(low), problem.shape

    def part(slots: slice, first: int, count: int) -> Tensor:
        draws = Draws(problem.keys[slots])
        if uniform:
            noise = draws.coarse(purpose, step[slots], (count, *shape), skip=first).to(problem.x.dtype)
        else:
            drawn = draws.normal(purpose, step[slots], (count, *low), skip=first * size).to(problem.x.dtype)
            noise = from_low_frequencies(drawn, shape)
        if problem.fixed is not None:
            noise = noise.masked_fill(problem.fixed[slots, None], 0.0)
        length = torch.linalg.vector_norm(noise.flatten(2), dim=2).clamp_min(1e-30)
        return noise.div_(length.reshape(*length.shape, *[1] * len(shape)))

    return part


def added_up(points: Tensor, centre: Tensor, weights: Tensor) -> Tensor:
    """[S, W, *shape] the sums of the displacements of points from a centre.

    Args:
        points: [S, P, *shape].
        centre: [S, *shape].
        weights: [S, W, P] of the points; those behind the last that has one are not read.
    """
    shape = centre.shape[1:]
    if points.device.type != "cpu":
        return torch.bmm(weights, (points - centre[:, None]).flatten(2)).reshape(*weights.shape[:2], *shape)
    sums = centre.new_zeros(*weights.shape[:2], math.prod(shape))
    rows = _rows(shape)
    for slot, last in enumerate(_last(weights)):
        for first in range(0, last, rows):
            some = slice(first, min(first + rows, last))
            sums[slot].addmm_(weights[slot, :, some], (points[slot, some] - centre[slot]).flatten(1))
    return sums.reshape(*weights.shape[:2], *shape)


def _rows(shape: tuple[int, ...]) -> int:
    """Probes of a part: an even number, so that each part begins a word of the random numbers."""
    return max(2, FEATURES // math.prod(shape) // 2 * 2)


def _last(weights: Tensor) -> list[int]:
    """How many points of each slot it takes to have all that count."""
    number = torch.arange(1, weights.shape[2] + 1)
    ends: list[int] = ((weights != 0).any(1) * number).amax(1).tolist()
    return ends
