"""Steps of steepest ascent in each norm."""

from __future__ import annotations

import torch
from torch import Tensor

from robaudit.attacks.base import Problem
from robaudit.threat.norms import Norm, none_of, normalise, per_slot

__all__ = ["farthest_step", "momentum_step", "steepest_step", "stepped", "support_of"]

MOMENTUM = 0.75
"""Weight of the new direction against the last move (Croce & Hein 2020, section 3)."""
NOISE = 1e-5
"""Smallest change of a feature that counts, in ε."""


def steepest_step(
    problem: Problem,
    gradient: Tensor,
    point: Tensor,
    share: float = 0.01,
    changed: float = 0.0,
    least: int = 1,
    *,
    own: bool = False,
) -> Tensor:
    """The step of length 1 in the problem's norm from a point; in L1 sparse, along the signs of the steepest features.

    L1: the features of the largest slopes share the step (SLIDE, Tramèr & Boneh 2019, algorithm 1); those that are at
    the box's bound already, and would leave it, do not take part.

    Args:
        problem: the slots.
        gradient: [S, *shape].
        point: [S, *shape], where the step begins.
        share: of the features that an L1 step moves.
        changed: share of the features in which the point differs from the sample that an L1 step moves at least.
        least: features that an L1 step moves at least.
        own: nobody else needs the gradient, whose memory may be used for the step.

    Returns:
        [S, *shape], zero where the gradient is; a tensor that nobody else holds.
    """
    if problem.norm is not Norm.L1:
        return normalise(problem.norm, gradient, own=own)
    stuck = ((gradient > 0) & (point >= 1)) | ((gradient < 0) & (point <= 0))
    slope = gradient.masked_fill(stuck, 0.0).flatten(1)
    size = slope.shape[1]
    count = min(max(least, round(share * size)), size)
    if changed:
        place = (changed * support_of(problem, point)).long().clamp_min(count) - 1
        smallest = slope.abs().sort(1, descending=True).values.gather(1, place[:, None])
    else:
        smallest = slope.abs().topk(count, dim=1).values[:, -1:]
    chosen = torch.where(slope.abs() >= smallest, slope.sign(), 0.0)
    return (chosen / chosen.abs().sum(1, keepdim=True).clamp_min(1)).reshape(gradient.shape)


def support_of(problem: Problem, point: Tensor) -> Tensor:
    """[S] number of features in which points [S, *shape] differ from the sample by more than a projection rounds."""
    noise = per_slot(NOISE * problem.eps, point)
    return ((point - problem.x).abs() > noise).flatten(1).sum(1).to(point.dtype)


def stepped(problem: Problem, point: Tensor, step: Tensor, length: Tensor) -> Tensor:
    """Where a step leads once it is projected.

    Args:
        problem: the slots.
        point: [S, *shape], where they stand.
        step: [S, *shape] of length 1; its memory is used for the result, so that nobody else may hold it.
        length: [S] of the step.

    Returns:
        [S, *shape] in the ball and the box.
    """
    return problem.project(torch.addcmul(point, step, per_slot(length, point), out=step), own=True)


def momentum_step(problem: Problem, point: Tensor, old: Tensor, step: Tensor, length: Tensor, first: Tensor) -> Tensor:
    """Where a step leads once it is projected and mixed with the last move (Croce & Hein 2020, eq. 3).

    Args:
        problem: the slots.
        point: [S, *shape], where they stand.
        old: [S, *shape], where they stood before.
        step: [S, *shape] of length 1, whose memory is used, see :func:`stepped`.
        length: [S] of the step.
        first: [S] bool, slots without a last move.

    Returns:
        [S, *shape] in the ball and the box.
    """
    z = stepped(problem, point, step, length)
    # point + share (z - point) + (1 - share) (point - old), in few passes over memory
    rest = torch.sub(point, old, alpha=0.5)
    if none_of(first):
        z = z.mul_(MOMENTUM).add_(rest, alpha=2 - 2 * MOMENTUM)
    else:
        share = per_slot(torch.where(first, 1.0, MOMENTUM).to(point.dtype), point)
        z = z.mul_(share).addcmul_(rest, 2 - 2 * share)
    return problem.project(z, own=True)


def farthest_step(problem: Problem, gradient: Tensor) -> Tensor:
    """[S, *shape]: the point of each slot's ball and box that a linear loss sends its sample to.

    L∞: ε along the sign. L2: ε along the gradient, clipped to the box. L1: the steepest features, each as far as the
    box lets it, until ε is spent.
    """
    if problem.norm is not Norm.L1:
        return problem.project(problem.x + normalise(problem.norm, gradient) * per_slot(problem.eps, problem.x))
    slope, x = gradient.flatten(1), problem.x.flatten(1)
    room = torch.where(slope > 0, 1 - x, torch.where(slope < 0, x, 0.0)).double()
    order = slope.abs().argsort(dim=1, descending=True, stable=True)
    sorted_room = room.gather(1, order)
    left = problem.eps.double()[:, None] - (sorted_room.cumsum(1) - sorted_room)
    spent = torch.zeros_like(room).scatter(1, order, torch.minimum(left.clamp_min(0), sorted_room))
    moved = x + (spent * slope.sign()).to(x.dtype)
    return problem.project(moved.reshape(problem.x.shape))
