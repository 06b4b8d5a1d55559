"""Where a model's output names no class, or it has no gradient in reach, the answer at another point nearby.

A division by a norm that is 0, the logarithm of what rounds below 0, an exponential that overflows: such points may lie
between a sample and the boundary, and a search that meets one has learned nothing. It goes on with what the model says
a little further along, or further back on the way to the sample, which has a class.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from functools import reduce

import torch
from torch import Tensor

from robaudit.attacks.base import Problem
from robaudit.attacks.requests import Answer, Gradient, Labels, Request, Scores
from robaudit.engine.beside import inside
from robaudit.engine.rows import Account, Sound, over_points

__all__ = ["not_finite", "stood_in"]

SHARES = (1 / 32, 1 / 8, 1 / 2, -1 / 32, -1 / 8, -1 / 2, -1.0)
"""How far each try lies from the point, as a share of its way from the sample; the last one is the sample itself.
Further away first: from a point just short of the boundary a step leads to where it came from."""


def not_finite(answer: Answer) -> Tensor:
    """[S] or [S, P] bool: points whose answer names no class, or with a NaN or infinity in a loss or gradient."""
    bad = answer.labels < 0
    if answer.rejected is not None:  # that is an answer, and a point beside would cost a query
        bad = bad & ~answer.rejected
    sizes = [values.abs() for values in (answer.loss, answer.steep) if values is not None]
    if sizes:
        bad = bad | ~(reduce(torch.maximum, sizes) < math.inf)  # in half the passes of isfinite
    return bad & answer.answered


def stood_in(
    request: Request,
    answer: Answer,
    problem: Problem,
    account: Account,
    budget: int | None,
    ask: Callable[[Request], Answer],
) -> tuple[Answer, Tensor | None]:
    """The answer, where it is not finite that of another point, whose place ``points`` then tells.

    All points tried lie in the box, and in the ball where the point was. A query budget that ends amid them leaves the
    point unanswered. Labels are left as they are: a point without a class does not fool, which is all that they tell.

    Args:
        request: that was answered.
        answer: to it.
        problem: the slots.
        account: of the slots; told how many points were asked, and at how many the sample had to stand in.
        budget: most queries of each slot.
        ask: for the same at other points, and bills it.

    Returns:
        The answer, and which of its points ([S] or [S, P] bool) nothing could stand in for; None: of none.
    """
    account.asked += _of_slots(answer.answered)
    if isinstance(answer, Sound):
        return answer, None
    lost = not_finite(answer)
    if not bool(lost.any()):
        return answer, None
    if isinstance(request, Labels):
        account.lost += _of_slots(lost)
        return answer, None
    if isinstance(request, Gradient):
        request = dataclasses.replace(request, plain=0)
    home = (problem.x if lost.dim() == 1 else problem.x[:, None]).expand_as(request.points)
    way = request.points - home
    spent = torch.zeros_like(lost)
    for share in SHARES:
        at_sample = share == SHARES[-1]
        points = home if at_sample else inside(problem, request.points, way * share)
        rows = lost & (points != request.points).flatten(lost.dim()).any(lost.dim())  # the ball may leave no way on
        if budget is not None and isinstance(request, Scores):
            spent = lost & over_points(account.queries >= budget, lost)
        rows &= ~spent
        if not bool(rows.any()):
            continue
        other = ask(dataclasses.replace(request, points=points, rows=rows))
        found = rows & other.answered & ~not_finite(other)
        answer = _taken(found, other, answer)
        lost &= ~found
        if at_sample:
            account.lost += _of_slots(found)
        if not bool(lost.any()):
            break
    return dataclasses.replace(answer, answered=answer.answered & ~(spent & lost)), lost & ~spent


def _of_slots(points: Tensor) -> Tensor:
    """[S] how many of the points [S] or [S, P]; bool of a single one."""
    return points if points.dim() == 1 else points.sum(1)


def _taken(which: Tensor, other: Answer, answer: Answer) -> Answer:
    """The other's answer at some points; ``answered`` stays."""
    found = {}
    for field in dataclasses.fields(answer):
        mine, its = getattr(answer, field.name), getattr(other, field.name)
        if mine is not None and field.name != "answered":
            mask = which.reshape(*which.shape, *[1] * (mine.dim() - which.dim()))
            found[field.name] = torch.where(mask, its, mine)
    return dataclasses.replace(answer, **found)
