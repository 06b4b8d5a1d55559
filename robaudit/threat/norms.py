"""Norms in u-space, where each feature of the domain is scaled to [0, 1]."""

from __future__ import annotations

import enum

import torch
from torch import Tensor

__all__ = ["Norm", "blend", "distance", "none_of", "normalise", "per_slot", "select"]


class Norm(enum.StrEnum):
    """The p of an Lp ball around a sample."""

    LINF = "linf"
    L2 = "l2"
    L1 = "l1"
    L0 = "l0"


def per_slot(values: Tensor, like: Tensor) -> Tensor:
    """Reshape ``values`` [S] to [S, 1, ...] so that it broadcasts over ``like`` [S, *shape]."""
    return values.reshape(-1, *([1] * (like.dim() - 1)))


def select(mask: Tensor, yes: Tensor, no: Tensor) -> Tensor:
    """[S, *shape]: the rows of ``yes`` where the mask [S] is set, else those of ``no``."""
    if mask.device.type != "cpu":
        return torch.where(per_slot(mask, yes), yes, no)
    rows = mask.nonzero()[:, 0]  # a broadcast mask is ten times slower on a CPU
    if rows.numel() == mask.numel():
        return yes
    return no.index_copy(0, rows, yes.index_select(0, rows)) if rows.numel() else no


def none_of(mask: Tensor) -> bool:
    """Whether a mask is known to be empty: work that it chooses may be left out. A GPU would have to be waited for."""
    return mask.device.type == "cpu" and not bool(mask.any())


def blend(mask: Tensor, yes: Tensor, no: Tensor) -> Tensor:
    """As :func:`select`, for floats that are finite in both: three times as fast on a CPU.

    A mask with as many dimensions as the points chooses by features.
    """
    weight = mask if mask.dim() == yes.dim() else per_slot(mask, yes)
    return torch.lerp(no, yes, weight.to(yes.dtype))


def distance(norm: Norm, delta: Tensor) -> Tensor:
    """Size of each perturbation in float64.

    Args:
        norm: the norm; L0 counts features that differ at all.
        delta: [S, *shape] difference of two points in u-space.

    Returns:
        [S] float64, in units of the domain's width (L0: a count).
    """
    flat = delta.flatten(1)
    if norm is Norm.LINF:
        return flat.abs().amax(1).double()  # ten times as fast as the library's norm
    order = {Norm.L2: 2.0, Norm.L1: 1.0, Norm.L0: 0.0}[norm]
    size: Tensor = torch.linalg.vector_norm(flat, ord=order, dim=1, dtype=torch.float64)
    return size


def normalise(norm: Norm, direction: Tensor, *, own: bool = False) -> Tensor:
    """The steepest-ascent step of length 1 for the dual norm: sign for L-infinity, g/|g| for L2.

    A zero gradient gives a zero step. ``own``: nobody else needs the tensor, whose memory may be used for the step.

    Raises:
        ValueError: for a norm that has no dense steepest-ascent step (L1, L0).
    """
    if norm is Norm.LINF:
        return direction.sign_() if own else direction.sign()
    if norm is Norm.L2:
        length = distance(Norm.L2, direction).clamp_min(1e-38)
        return direction * per_slot((1 / length).to(direction.dtype), direction)
    raise ValueError(f"no dense steepest-ascent step for {norm}")
