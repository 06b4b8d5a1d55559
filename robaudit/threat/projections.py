"""Euclidean projections onto a ball of each norm within the box [0, 1] of u-space."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from robaudit.threat.norms import Norm, distance, none_of, per_slot, select

__all__ = ["project"]


def project(norm: Norm, point: Tensor, origin: Tensor, eps: Tensor) -> Tensor:
    """Bring points back into the ball and the box [0, 1].

    L-infinity, L1 and L0 give the nearest admissible point. For L2 the ball is applied first and the box
    second: clipping to a box that holds the origin can only shorten the perturbation, so both hold afterwards.

    Args:
        norm: of the ball.
        point: [S, *shape] in u-space.
        origin: [S, *shape] the unperturbed samples.
        eps: [S] radius of each slot as a fraction of the domain's width (L0: a number of features).

    Returns:
        [S, *shape].
    """
    return _PROJECTIONS[norm](point, origin, eps)


def _linf(point: Tensor, origin: Tensor, eps: Tensor) -> Tensor:
    radius = per_slot(eps.to(point.dtype), point)
    return torch.minimum(torch.maximum(point, origin - radius), origin + radius).clamp(0.0, 1.0)


def _l2(point: Tensor, origin: Tensor, eps: Tensor) -> Tensor:
    delta = point - origin
    # float64: over 1e5 features a float32 sum would miss the ball by more than the judge tolerates.
    factor = (eps.double() / distance(Norm.L2, delta).clamp_min(1e-38)).clamp_max(1.0)
    return (origin + delta * per_slot(factor.to(point.dtype), point)).clamp(0.0, 1.0)


def _l1(point: Tensor, origin: Tensor, eps: Tensor) -> Tensor:
    """Soft thresholding capped by the box, at the threshold that spends ε (Croce & Hein 2021, proposition 2.1).

    The size Σ min(max(|d| - λ, 0), room) falls in λ, linearly between the places where a feature leaves its
    bound or reaches zero; λ is found between two of these.
    """
    clipped = point.clamp(0.0, 1.0)
    outside = distance(Norm.L1, clipped - origin) > eps.double()
    if none_of(outside):
        return clipped
    if point.device.type == "cpu":  # on a GPU, to choose rows is to wait
        rows = outside.nonzero()[:, 0]
        return clipped.index_copy(0, rows, _l1_sphere(point[rows], origin[rows], eps[rows]))
    return select(outside, _l1_sphere(point, origin, eps), clipped)


def _l1_sphere(point: Tensor, origin: Tensor, eps: Tensor) -> Tensor:
    """The projection of points outside of the ball."""
    start = origin.flatten(1).double()
    delta = point.flatten(1).double() - start
    length = delta.abs()
    room = torch.where(delta > 0, 1 - start, start)
    leaves, ends = (length - room).clamp_min(0), length
    places, order = torch.cat([leaves, ends], 1).sort(1)
    count = length.shape[1]
    change = torch.where(order < count, 1.0, -1.0).double()
    slope = change.cumsum(1)  # features that shrink after each place
    gaps = places.diff(dim=1)
    whole = torch.minimum(length, room).sum(1, keepdim=True)
    # At λ = 0 no feature has shrunk; features in the box shrink from there on.
    lost = torch.cat([torch.zeros_like(whole), (slope[:, :-1] * gaps).cumsum(1)], 1)
    excess = whole - eps.double()[:, None]
    at = ((lost < excess).sum(1, keepdim=True) - 1).clamp_min(0)
    step = (excess - lost.gather(1, at)) / slope.gather(1, at).clamp_min(1)
    threshold = places.gather(1, at) + step
    kept = torch.minimum((length - threshold).clamp_min(0), room)
    found = (start + kept * delta.sign()).to(point.dtype).clamp(0.0, 1.0)
    # Rounding each feature may add up to more than the judge tolerates.
    spent = (found.double() - start).abs().sum(1)
    shrink = (eps.double() * (1 - 1e-7) / spent.clamp_min(1e-38)).clamp_max(1.0)
    tight = (start + (found.double() - start) * shrink[:, None]).to(point.dtype)
    found = torch.where((spent > eps.double() + 1e-8)[:, None], tight, found)
    return found.reshape(point.shape)


def _l0(point: Tensor, origin: Tensor, eps: Tensor) -> Tensor:
    """The features whose change, clipped to the box, brings the point nearest; the others stay as they were."""
    clipped = point.clamp(0.0, 1.0)
    far, near = (point - origin).flatten(1).square(), (point - clipped).flatten(1).square()
    gain = torch.where((clipped == origin).flatten(1), -1.0, far - near)
    rank = gain.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
    keep = (rank < eps[:, None]).reshape(point.shape)
    return torch.where(keep, clipped, origin)


_PROJECTIONS: dict[Norm, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    Norm.LINF: _linf,
    Norm.L2: _l2,
    Norm.L1: _l1,
    Norm.L0: _l0,
}
