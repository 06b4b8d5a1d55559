"""Random points of the ball."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from robaudit.attacks.base import Problem
from robaudit.threat.norms import Norm, normalise, per_slot

__all__ = ["random_start"]


def random_start(problem: Problem, *, boundary: bool = False, number: Tensor | int = 0) -> Tensor:
    """A keyed random point of each slot's ball, clipped to the box; what is fixed stays.

    Uniform in the ball for L∞, L2 and L1; in L0 uniform values at as many features as may change, chosen at random.

    Args:
        problem: the slots; each restart has its own keys.
        boundary: on the ball's surface, as AutoAttack starts: L∞ noise scaled to ε, a random direction in L2, a
            standard normal shift projected onto the ball in L1. L0 as ever.
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
    if problem.norm is Norm.L0:
        return _few(problem, number)
    if problem.norm is Norm.L1 and not boundary:
        return problem.project(x + eps * _cross_polytope(problem, number))
    noise = _free(problem, problem.draws.normal("start", number, problem.shape).to(x.dtype))
    if problem.norm is Norm.L1:
        return problem.project(x + noise)
    direction = normalise(Norm.L2, noise)
    if not boundary:
        free = math.prod(problem.shape) - (0 if problem.fixed is None else int(problem.fixed[0].sum()))
        radius = problem.draws.uniform("radius", number, (1,))[:, 0].double().pow(1 / max(free, 1))
        direction = direction * per_slot(radius.to(x.dtype), x)
    return problem.project(x + eps * direction)


def _free(problem: Problem, noise: Tensor) -> Tensor:
    """Nothing of the radius is spent on what is fixed."""
    return noise if problem.fixed is None else noise.masked_fill(problem.fixed, 0.0)


def _cross_polytope(problem: Problem, number: Tensor | int) -> Tensor:
    """[S, *shape] uniform in the L1 ball of radius 1: exponentials over their sum and one more, with random signs."""
    size = math.prod(problem.shape)
    uniform = problem.draws.uniform("start", number, (size + 1,)).to(problem.x.dtype)
    exponential = -torch.log1p(-uniform)
    flat = _free(problem, exponential[:, :-1].reshape(problem.x.shape)).flatten(1)
    flat = flat / (flat.sum(1) + exponential[:, -1]).clamp_min(1e-38)[:, None]
    sign = problem.draws.sign("sign", number, (size,)).to(flat.dtype)
    return (flat * sign).reshape(problem.x.shape)


def _few(problem: Problem, number: Tensor | int) -> Tensor:
    """[S, *shape] with new values at ⌊ε⌋ features."""
    lot = problem.draws.uniform("start", number, problem.shape)
    lot = (lot if problem.fixed is None else lot.masked_fill(problem.fixed, 2.0)).flatten(1)
    rank = lot.argsort(dim=1, stable=True).argsort(dim=1)
    chosen = (rank < problem.eps.floor()[:, None]).reshape(problem.x.shape)
    value = problem.draws.uniform("value", number, problem.shape).to(problem.x.dtype)
    return problem.clip(torch.where(chosen, value, problem.x))
