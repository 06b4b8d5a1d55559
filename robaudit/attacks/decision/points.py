"""Points that attacks by labels ask about: where to start, on the way to the sample, and around a point."""

from __future__ import annotations

import torch
from torch import Tensor

from robaudit.attacks.base import Problem
from robaudit.attacks.frequencies import from_low_frequencies, low_shape
from robaudit.attacks.images import is_large_image, stripes
from robaudit.attacks.trial import given_up
from robaudit.threat.norms import Norm, distance, per_slot, select

__all__ = ["NEAR", "NOISE_STARTS", "along", "low_noise", "on_circle", "start_point", "start_tries", "too_far"]

NEAR = 3.0
"""Radii within which a boundary is near."""
NOISE_STARTS = 8
"""Random images tried as a starting point before other samples of the audit are."""


def start_tries(problem: Problem) -> int:
    """Points that :func:`start_point` has to offer."""
    return NOISE_STARTS + len(problem.pool.labels)


def start_point(problem: Problem, number: Tensor) -> Tensor:
    """The next point from which to walk: noise, then samples of the pool; in a targeted audit those of the goal first.

    In L-infinity the first of the noise of large images are stripes, behind which the boundary is nearer.

    Args:
        problem: the slots.
        number: [S] int64 of the try, from 0.

    Returns:
        [S, *shape], features that are fixed as they were.
    """
    noise = problem.draws.uniform("start", number, problem.shape).to(problem.x.dtype)
    if problem.norm is Norm.LINF and is_large_image(problem.shape):
        noise = select(number == 0, stripes(problem) / 2 + 0.5, noise)
    size = len(problem.pool.labels)
    if size == 0:
        return problem.clip(noise)
    targeted = problem.goal >= 0
    offset = problem.draws.integers("offset", 0, torch.full_like(number, size))
    turned = (offset[:, None] + torch.arange(size, device=number.device)) % size
    suits = problem.pool.labels.to(number.device)[turned] == problem.goal[:, None]
    order = turned.gather(1, (~suits).long().argsort(dim=1, stable=True))
    place = torch.where(targeted, number, number - NOISE_STARTS)
    picked = problem.pool.points[order.gather(1, (place % size)[:, None])[:, 0]].to(noise.dtype)
    return problem.clip(select((place < 0) | (place >= size), noise, picked))


def along(problem: Problem, far: Tensor, share: Tensor) -> Tensor:
    """[S, *shape] a share [S] of the way to ``far``: on the line, in L-infinity within a box of that share."""
    x = problem.x
    if problem.norm is Norm.LINF:
        reach = distance(Norm.LINF, far - x).to(x.dtype) * share
        radius = per_slot(reach, x)
        return torch.minimum(torch.maximum(far, x - radius), x + radius)
    return x + per_slot(share, x) * (far - x)


def low_noise(problem: Problem, purpose: str, step: Tensor, share: float, count: int) -> Tensor:
    """[S, count, *shape] normal noise in the span of each image's low frequencies; nothing at what is fixed."""
    low = low_shape(problem.shape, share)
    drawn = problem.draws.normal(purpose, step, (count, *low)).to(problem.x.dtype)
    noise = from_low_frequencies(drawn, problem.shape)
    return noise if problem.fixed is None else noise.masked_fill(problem.fixed[:, None], 0.0)


def on_circle(problem: Problem, edge: Tensor, aside: Tensor, angle: Tensor) -> Tensor:
    """[S, *shape] the point of the circle over sample and edge that is seen from the sample at an angle.

    Args:
        problem: the slots.
        edge: [S, *shape] the circle's other end.
        aside: [S, *shape] a direction of length 1 across the way to it, to which the angle turns.
        angle: [S] radians from the way to the edge; at a right one the point is the sample.
    """
    way = edge - problem.x
    length = distance(Norm.L2, way).to(way.dtype)
    along_it, across = angle.cos().square(), length * angle.cos() * angle.sin()
    return problem.x + way * per_slot(along_it, way) + aside * per_slot(across, way)


def too_far(problem: Problem, distance: Tensor, spent: Tensor, trial: int | None, within: float) -> Tensor:
    """[S] bool: after the trial what fools is too far from the ball still; never where distances are sought.

    Args:
        problem: the slots.
        distance: [S] of that point; infinite where there is none.
        spent: [S] int64 queries.
        trial: queries for every sample; None: all go on.
        within: radii within which a sample goes on; fewer the more queries are spent.
    """
    if problem.minimal:
        return torch.zeros_like(spent, dtype=torch.bool)
    return given_up(trial, within, spent, distance / problem.eps.double(), reached=1.0)
