"""Where a model answers but has no gradient, that of a point beside.

The root of 0, a vector of length 0 and the logarithm of 0 have no slope, and a symmetric point has none that leads
anywhere. A search that begins at such a point would end there, although a step away from it all is well.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import torch
from torch import Tensor

from robaudit.attacks.base import Problem
from robaudit.attacks.requests import Answer, Gradient, Jacobian
from robaudit.engine.rows import Account
from robaudit.threat.arrays import TOLERANCE
from robaudit.threat.norms import Norm, distance, per_slot
from robaudit.threat.random import Draws

__all__ = ["Ask", "Sloped", "beside", "inside"]

TRIES = ((1 / 64, 2**-20), (1 / 4, 2**-10), (1.0, 2**-6))
"""How far each try leads a feature: a share of what the radius leaves for one, and at least so much of the domain's
width; half precision does not see the first, nor whole numbers of an image the second."""
FARTHEST = 1 / 8
ZERO = 1
"""The try that is made where the gradient is zero."""

Sloped = Gradient | Jacobian
Ask = Callable[[Sloped], Answer]
"""Answers a request with 0 · ∞ = 0 on the way back, and bills it."""


def beside(request: Sloped, answer: Answer, problem: Problem, account: Account, ask: Ask) -> Answer:
    """The answer, with the gradient of another point where it is not finite, or zero at the very sample.

    First the same point is asked again, with 0 · ∞ = 0 on the way back. Then, farther each time, two random points
    opposite each other, whose mean gradient tells the way (a cusp, as of a distance at 0, cancels out), and the point
    that lies there: its slope is what a search meets. All lie in the box, and in the ball where the point was. They
    follow from the unit's key and what it was billed, and lend their gradient alone. Where none has one, the gradient
    stays as it was.

    Args:
        request: that was answered.
        answer: to it.
        problem: the slots.
        account: of the slots.
        ask: for the same at other points.
    """
    lost = answer.answered & (answer.labels >= 0) & ~_sizes(answer).isfinite()
    if bool(lost.any()):
        answer, _ = _lent(answer, ask(dataclasses.replace(request, rows=lost)), lost)
        lost &= ~_sizes(answer).isfinite()
    still = answer.answered & (_sizes(answer) == 0)
    if isinstance(request, Jacobian) and request.slopes is not None:
        still &= request.slopes
    if bool(still.any()):
        away = answer.points - (problem.x if still.dim() == 1 else problem.x[:, None])
        still &= ~away.flatten(still.dim()).any(still.dim())
    for number in range(len(TRIES)):
        asked = lost | still if number == ZERO else lost
        if bool(asked.any()):
            answer, left = _tried(request, answer, asked, problem, account, ask, number)
            lost = lost & left
    return answer


def _tried(
    request: Sloped, answer: Answer, asked: Tensor, problem: Problem, account: Account, ask: Ask, number: int
) -> tuple[Answer, Tensor]:
    """One try: the answer with what was found, and which of those asked have none yet."""
    slots = asked.reshape(len(problem), -1).any(1).nonzero()[:, 0]
    part, start = problem.take(slots), answer.points[slots]
    length = per_slot(_length(part, number), start)
    step = account.forwards[slots] * len(TRIES) + number
    drawn = Draws(part.keys).uniform("beside", step, tuple(start.shape[1:])).to(start.dtype) * 2 - 1
    noise = length * drawn.sign() * (1 + drawn.abs()) / 2  # every feature moves

    def there(move: Tensor) -> Answer:
        points = answer.points.index_copy(0, slots, inside(part, start, move))
        return ask(dataclasses.replace(request, points=points, rows=asked))

    sides = there(noise), there(-noise)
    way = sum(_usable(side)[slots] for side in sides) * torch.ones_like(start[:1])
    if isinstance(request, Jacobian):  # the likeliest rival's, or the target's
        way = way[:, 0]
    if problem.norm is Norm.LINF:
        way = way.sign()
    else:
        largest = way.flatten(start.dim() - len(problem.shape)).abs().amax(-1)
        way = way / largest.clamp_min(1e-30).reshape(*largest.shape, *[1] * len(problem.shape))
    left = asked
    for found in (there(length * way), *sides):
        answer, left = _lent(answer, found, left)
    return answer, left


def _sizes(answer: Answer) -> Tensor:
    """Sum of the absolute entries of each point's gradient, in the answer's leading dimensions; NaN if one is."""
    assert answer.steep is not None
    return answer.steep


def _over(mask: Tensor, gradient: Tensor) -> Tensor:
    return mask.reshape(*mask.shape, *[1] * (gradient.dim() - mask.dim()))


def _usable(answer: Answer) -> Tensor:
    """The gradient where it is finite, else zero."""
    assert answer.gradient is not None
    found: Tensor = torch.where(_over(_sizes(answer).isfinite(), answer.gradient), answer.gradient, 0.0)
    return found


def _lent(answer: Answer, other: Answer, asked: Tensor) -> tuple[Answer, Tensor]:
    """The answer with the other's gradient where that is of use, and which of those asked have no slope yet."""
    size = _sizes(other)
    useful = asked & size.isfinite() & ((size > 0) | ~_sizes(answer).isfinite())
    lent: dict[str, Tensor] = {}
    for name in ("gradient", "classes", "base", "steep"):  # of a Jacobian, other rows may stand in for those asked
        mine, its = getattr(answer, name), getattr(other, name)
        if mine is not None:
            lent[name] = torch.where(_over(useful, mine), its, mine)
    return dataclasses.replace(answer, **lent), asked & ~(useful & (size > 0))


def _length(problem: Problem, number: int) -> Tensor:
    """[S] how far a try leads every feature."""
    share, least = TRIES[number]
    features = math.prod(problem.shape)
    spread = {Norm.LINF: 1.0, Norm.L2: features**0.5, Norm.L1: features, Norm.L0: 1.0}[problem.norm]
    radius = torch.ones_like(problem.eps) if problem.norm is Norm.L0 else problem.eps
    length: Tensor = (radius * (share / spread)).clamp(least, FARTHEST)
    return length


def inside(problem: Problem, start: Tensor, move: Tensor) -> Tensor:
    """[S, *shape] or [S, P, *shape] points that a move leads to: turned back at the box's sides, and into the ball."""
    there = start + move
    there = problem.clip(torch.where((there < 0) | (there > 1), start - move, there))
    if problem.norm is Norm.L0:  # no move of all features stays in its ball
        return there
    x, eps = problem.x, problem.eps.double()
    if start.dim() > x.dim():
        count = start.shape[1]
        x, eps = x.repeat_interleave(count, 0), eps.repeat_interleave(count)
    delta = there.reshape(x.shape) - x
    far, was = distance(problem.norm, delta), distance(problem.norm, start.reshape(x.shape) - x)
    share = torch.where((was <= eps + TOLERANCE) & (far > eps), eps / far.clamp_min(1e-30), 1.0)
    return (x + delta * per_slot(share.to(delta.dtype), delta)).reshape(start.shape)
