"""The nearest point of a hyperplane within the box [0, 1] of u-space, in L-infinity, L2 and L1."""

from __future__ import annotations

import torch
from torch import Tensor

from robaudit.threat.norms import Norm, per_slot

__all__ = ["dual_size", "nearest_on_hyperplane"]

ROUNDS = 40
"""Most Newton steps; each passes at least one feature that reached the box, and about five are usual."""


def dual_size(norm: Norm, slope: Tensor) -> Tensor:
    """Size of gradients in the norm dual to ``norm``: a gap over it is the distance to a linear boundary.

    Args:
        norm: L-infinity, L2 or L1, in which distances are measured.
        slope: [..., d].

    Returns:
        [...] float64.
    """
    order = {Norm.LINF: 1.0, Norm.L2: 2.0, Norm.L1: float("inf")}[norm]
    size: Tensor = torch.linalg.vector_norm(slope, ord=order, dim=-1, dtype=torch.float64)
    return size


def nearest_on_hyperplane(
    norm: Norm, point: Tensor, slope: Tensor, value: Tensor, fixed: Tensor | None = None
) -> Tensor:
    """The point of the box, nearest in the norm, where a linear function is zero.

    The function is ``value`` at ``point`` and has the gradient ``slope``. Where it has no zero in the box, the corner
    where it comes nearest to zero. In closed form: every feature moves the way that brings the function to zero,
    in L-infinity all by one length, in L2 in proportion to the slope, in L1 the steepest first, and each stops
    at the box. Source: Croce & Hein 2020, "Minimally Distorted Adversarial Examples with a Fast Adaptive Boundary
    Attack", eq. 4 and appendix A. Their sort over the features is kept for L1; in L-infinity and L2, what is
    left to go is a concave and piecewise linear function of the length, for which Newton's method ends exactly.

    Args:
        norm: L-infinity, L2 or L1.
        point: [S, *shape] in the box.
        slope: [S, *shape].
        value: [S].
        fixed: [S, *shape] bool, features that must stay; None: all may move.

    Returns:
        [S, *shape]; the point itself where the slope is zero.
    """
    value = value.double()
    way = slope.sign() * per_slot(-value.sign().to(slope.dtype), slope)
    room = torch.where(way > 0, 1 - point, point).flatten(1)
    steep = slope.flatten(1).abs()
    still = steep == 0 if fixed is None else (steep == 0) | fixed.flatten(1)
    room = room.masked_fill(still, 0.0).clamp_min(0.0)
    if norm is Norm.L1:
        move = _steepest_first(steep, room, value.abs())
    else:
        move = _all_at_once(torch.ones_like(steep) if norm is Norm.LINF else steep, steep, room, value.abs())
    return (point + way * move.reshape(point.shape)).clamp(0.0, 1.0)


def _all_at_once(speed: Tensor, steep: Tensor, room: Tensor, gap: Tensor) -> Tensor:
    """[S, d] moves min(λ speed, room) with Σ steep min(λ speed, room) = gap; all of ``room`` where that is too little.

    Newton's method from λ = 0, below the root of a concave function, never passes it.
    """
    gain = torch.where(room > 0, steep * speed, 0.0)
    reach = steep * room
    length = gap / gain.sum(1, dtype=torch.float64).clamp_min(1e-300)
    for _ in range(ROUNDS):
        at_end = speed * length.to(speed.dtype)[:, None] >= room
        spent = torch.where(at_end, reach, 0.0).sum(1, dtype=torch.float64)
        rate = torch.where(at_end, 0.0, gain).sum(1, dtype=torch.float64)
        further = torch.where(rate > 0, (gap - spent) / rate.clamp_min(1e-300), length)
        moved = further > length * (1 + 1e-12)
        length = torch.where(moved, further, length)
        if length.device.type == "cpu" and not bool(moved.any()):  # elsewhere, asking costs more than a few rounds
            break
    hopeless = reach.sum(1, dtype=torch.float64) <= gap
    move = torch.minimum(speed * length.to(speed.dtype)[:, None], room)
    return torch.where(hopeless[:, None], room, move)


def _steepest_first(steep: Tensor, room: Tensor, gap: Tensor) -> Tensor:
    """[S, d] moves: the steepest features go to the box's side, the last one as far as is needed."""
    steep, order = torch.where(room > 0, steep, 0.0).sort(dim=1, descending=True, stable=True)
    room = room.gather(1, order)
    reach = steep.double() * room
    before = reach.cumsum(1) - reach
    needed = (gap[:, None] - before).clamp_min(0.0) / steep.double().clamp_min(1e-300)
    move = torch.minimum(needed, room.double()).to(room.dtype)
    return torch.zeros_like(move).scatter(1, order, move)
