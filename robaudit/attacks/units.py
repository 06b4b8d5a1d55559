"""Units for logits of unusual size, for attacks that weigh a loss against a distance, or against other samples."""

from __future__ import annotations

import torch
from torch import Tensor

from robaudit.threat.masked import largest, spread

__all__ = ["least_gap", "unit_of"]

USUAL = (0.02, 512.0)
"""Spreads of logits that are left as they are: the published weights suit them."""
SPREAD = 16.0
"""Spread that others are brought near to, by a power of two."""
LAST_BITS = 4
"""Units of rounding, in those of the largest logit, that a difference of two logits does not tell from nothing."""


def unit_of(logits: Tensor, slope: Tensor) -> Tensor:
    """[S] what to multiply logits with: 1, unless their size is far from what is usual.

    Where their spread is small the slope decides: beside a boundary, logits of any size are near to each other.

    Args:
        logits: [S, K].
        slope: [S, *shape] gradient of a difference of logits.
    """
    wide = spread(logits).clamp(1e-30, 1e30)
    reach = slope.flatten(1).abs().sum(1).nan_to_num(0.0, 0.0, 0.0)  # most that the whole box changes the difference
    wide = torch.where(wide < USUAL[0], torch.maximum(wide, reach.to(wide.dtype)), wide)
    unit = torch.exp2(torch.log2(SPREAD / wide).round())
    return torch.where((wide < USUAL[0]) | (wide > USUAL[1]), unit, 1.0)


def least_gap(logits: Tensor) -> Tensor:
    """[S] float64 difference of logits [S, K] that is surely more than rounding."""
    return LAST_BITS * torch.finfo(logits.dtype).eps * largest(logits).double()
