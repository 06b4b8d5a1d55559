"""Perturbations of few pixels that are enlarged to an image's size."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor

__all__ = ["coarse_shape", "enlarged"]


def coarse_shape(shape: tuple[int, ...], side: int) -> tuple[int, ...]:
    """Of at most ``side`` pixels each way; samples that are no C x H x W images keep their shape."""
    return (shape[0], min(shape[1], side), min(shape[2], side)) if len(shape) == 3 else shape


def enlarged(coarse: Tensor, shape: tuple[int, ...], mode: Literal["nearest", "bilinear"]) -> Tensor:
    """[N, *coarse shape] to [N, *shape]."""
    if coarse.shape[1:] == shape:
        return coarse
    return F.interpolate(coarse, size=shape[1:], mode=mode)
