"""Random points of the ball."""

from __future__ import annotations

from torch import Tensor

from robaudit.attacks.base import Problem
from robaudit.threat.norms import Norm, normalise, per_slot

__all__ = ["random_start"]


def random_start(problem: Problem, *, boundary: bool = False, number: Tensor | int = 0) -> Tensor:
    """A keyed random point of each slot's ball, clipped to the box.

    Args:
        problem: the slots; each restart has its own keys.
        boundary: on the ball's surface, as AutoAttack starts; else uniform in L∞, and in L2 uniform in
            direction with a uniform radius.
        number: which start of a slot that begins several times, one for all or [S] int64.

    Returns:
        [S, *shape].
    """
    x, eps = problem.x, per_slot(problem.eps, problem.x)
    if problem.norm is Norm.LINF:
        noise = problem.draws.uniform("start", number, problem.shape).to(x.dtype) * 2 - 1
        if boundary:
            noise = noise / per_slot(noise.flatten(1).abs().amax(1).clamp_min(1e-12), noise)
        return problem.project(x + eps * noise)
    direction = normalise(Norm.L2, problem.draws.normal("start", number, problem.shape).to(x.dtype))
    if not boundary:
        radius = problem.draws.uniform("radius", number, (1,)).to(x.dtype)
        direction = direction * per_slot(radius[:, 0], x)
    return problem.project(x + eps * direction)
