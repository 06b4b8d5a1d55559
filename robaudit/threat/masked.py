"""Classes with a logit of -inf, of which a search needs numbers that can be added and subtracted."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["floored", "is_masked", "largest", "spread"]

DEPTH = 1e4
"""How far below the others a masked class is put, over 1 plus the largest of their absolute values."""


MASK = 64
"""A logit so many times larger than the two highest ones is the mask of a class, say -1e9."""


def largest(logits: Tensor) -> Tensor:
    """[...] largest absolute value of logits [..., K], masks of classes left aside: the size of what they round."""
    high = logits.topk(min(2, logits.shape[-1]), dim=-1).values.abs().amax(-1)
    return torch.minimum(logits.abs().amax(-1), MASK * high)


def spread(logits: Tensor) -> Tensor:
    """[N] from the lowest quarter of logits [N, K] to the highest, masks of classes left aside."""
    top = logits.amax(1, keepdim=True)
    high = logits.topk(min(2, logits.shape[1]), dim=1).values.abs().amax(1, keepdim=True)
    kept = torch.where(logits < -MASK * high, top, logits)
    low = kept.kthvalue(logits.shape[1] // 4 + 1, dim=1).values
    return top[:, 0] - low


def is_masked(logits: Tensor) -> Tensor:
    """Bool like ``logits``: classes that the model rules out."""
    return logits == float("-inf")


def floored(logits: Tensor) -> Tensor:
    """Logits [..., K] with -inf replaced by a number so far below the others that no softmax or rank feels it.

    That number is a constant: no slope leads through a masked class. NaN and +inf stay.
    """
    if logits.device.type == "cpu" and logits.numel() and bool(logits.amin() > float("-inf")):  # false where one is NaN
        return logits
    masked = is_masked(logits)
    size = logits.detach().masked_fill(masked, 0.0).abs().amax(-1, keepdim=True)
    floor = (-DEPTH * (1 + size)).clamp_min(torch.finfo(logits.dtype).min / 8)
    return torch.where(masked, floor, logits)
