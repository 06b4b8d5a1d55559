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


def unit_of(logits: Tensor) -> Tensor:
    """[S] what to multiply logits [S, K] with: 1, unless their spread is far from what is usual."""
    wide = spread(logits).clamp(1e-30, 1e30)
    unit = torch.exp2(torch.log2(SPREAD / wide).round())
    return torch.where((wide < USUAL[0]) | (wide > USUAL[1]), unit, 1.0)


def least_gap(logits: Tensor) -> Tensor:
    """[S] float64 difference of logits [S, K] that is surely more than rounding."""
    return LAST_BITS * torch.finfo(logits.dtype).eps * largest(logits).double()
