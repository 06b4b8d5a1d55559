"""Units for logits of unusual size, for attacks that weigh a loss against a distance, or against other samples."""

from __future__ import annotations

import torch
from torch import Tensor

from robaudit.threat.masked import largest, spread

__all__ = ["followed", "least_gap", "unit_of"]

USUAL = (0.02, 512.0)
"""Spreads of logits that are left as they are: the published weights suit them."""
SPREAD = 16.0
"""Spread that others are brought near to, by a power of two."""
LEAST_REACH = 1 / 8
"""Share of the spread that the whole box changes a difference of logits by, where the slope is of the usual size."""
JUMP = 16.0
"""How many times too large or too small a unit may become on the way."""
LAST_BITS = 4
"""Units of rounding, in those of the largest logit, that a difference of two logits does not tell from nothing."""


def unit_of(logits: Tensor, slope: Tensor, usual: tuple[float, float] = USUAL) -> Tensor:
    """[S] what to multiply logits with: 1, unless their size is far from what is usual.

    Where their spread is small the slope decides: beside a boundary, logits of any size are near to each other. So it
    does where it is unusually small beside the spread, as that of the lead of one class over nearly the same one.

    Args:
        logits: [S, K].
        slope: [S, *shape] gradient of a difference of logits.
        usual: the least and the largest spread that is left as it is.
    """
    wide = spread(logits).clamp(1e-30, 1e30)
    reach = slope.flatten(1).abs().sum(1).nan_to_num(0.0, 0.0, 0.0)  # most that the whole box changes the difference
    reach = reach.to(wide.dtype)
    wide = torch.where(wide < usual[0], torch.maximum(wide, reach), wide)
    slight = (reach > 0) & (reach < LEAST_REACH * wide)
    wide = torch.where(slight, reach, wide)
    unit = torch.exp2(torch.log2(SPREAD / wide).round())
    return torch.where(slight | (wide < usual[0]) | (wide > usual[1]), unit, 1.0)


def followed(unit: Tensor, now: Tensor) -> Tensor:
    """[S] the unit so far, NaN: none yet; that of now where a slope of quite another size was met, of another rival."""
    return torch.where(unit.isnan() | (now * JUMP < unit) | (now > unit * JUMP), now, unit)


def least_gap(logits: Tensor) -> Tensor:
    """[S] float64 difference of logits [S, K] that is surely more than rounding."""
    return LAST_BITS * torch.finfo(logits.dtype).eps * largest(logits).double()
