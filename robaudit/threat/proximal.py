"""Proximal operators of the norms: argmin over z of |z - v|² / 2 + weight · size(z), per slot.

Source: Parikh & Boyd 2014, "Proximal Algorithms", section 6; the L2/3 quasi-norm's closed form is of Cao, Sun, Xu
2013, "Fast image deconvolution using closed-form thresholding formulas of Lq (q = 1/2, 2/3) regularization".
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from robaudit.threat.norms import Norm, distance, per_slot

__all__ = ["proximal", "proximal_two_thirds"]


def proximal(norm: Norm, point: Tensor, weight: Tensor) -> Tensor:
    """The proximal operator of ``weight`` times the norm.

    Args:
        norm: L0 counts features that differ from zero.
        point: [S, *shape].
        weight: [S], at least 0.

    Returns:
        [S, *shape].
    """
    return _OPERATORS[norm](point, weight)


def proximal_two_thirds(point: Tensor, weight: Tensor) -> Tensor:
    """The same of ``weight`` · Σ |z|^(2/3), a surrogate of L0 that still pulls at large features.

    Args:
        point: [S, *shape].
        weight: [S], at least 0.

    Returns:
        [S, *shape].
    """
    # With s the square root of the largest root of a resolvent cubic, |z| = ((s + √(2|v|/s - s²)) / 2)³.
    each = per_slot(weight, point).double().clamp_min(1e-30)
    length = point.double().abs()
    # The closed form is of (z - v)² + μ |z|^(2/3), hence μ = 2 weight.
    threshold = (2 / 3) * (3 * (2 * each) ** 3) ** 0.25
    angle = torch.acosh(((27 / 16) * length.square() * (2 * each) ** -1.5).clamp_min(1.0))
    root = (2 / 3**0.5) * (2 * each) ** 0.25 * torch.cosh(angle / 3).sqrt()
    size = ((root + (2 * length / root - root.square()).clamp_min(0).sqrt()) / 2) ** 3
    return (torch.where(length > threshold, size, 0.0) * point.sign()).to(point.dtype)


def _l0(point: Tensor, weight: Tensor) -> Tensor:
    return point.masked_fill(point.square() <= per_slot(2 * weight, point), 0.0)


def _l1(point: Tensor, weight: Tensor) -> Tensor:
    return (point.abs() - per_slot(weight, point)).clamp_min(0.0) * point.sign()


def _l2(point: Tensor, weight: Tensor) -> Tensor:
    factor = (1 - weight.double() / distance(Norm.L2, point).clamp_min(1e-30)).clamp_min(0.0)
    return point * per_slot(factor.to(point.dtype), point)


def _linf(point: Tensor, weight: Tensor) -> Tensor:
    """Cap the largest features where what is cut off adds up to the weight (Moreau: v minus its L1 projection)."""
    length = point.flatten(1).abs().double()
    if length.shape[1] == 0:
        return point
    falling = length.sort(1, descending=True).values
    count = torch.arange(1, length.shape[1] + 1, dtype=torch.float64, device=point.device)
    caps = (falling.cumsum(1) - weight.double()[:, None]) / count
    used = (falling > caps).sum(1, keepdim=True).clamp_min(1)  # a prefix, of at least the largest
    cap = caps.gather(1, used - 1).clamp_min(0.0).to(point.dtype)
    cap = per_slot(cap[:, 0], point)
    return torch.minimum(torch.maximum(point, -cap), cap)


_OPERATORS: dict[Norm, Callable[[Tensor, Tensor], Tensor]] = {
    Norm.LINF: _linf,
    Norm.L2: _l2,
    Norm.L1: _l1,
    Norm.L0: _l0,
}
