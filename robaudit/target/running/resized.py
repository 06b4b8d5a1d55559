"""A model of another image size, asked about images of ours."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from robaudit.target.running.attributed import Differentiable

__all__ = ["Resized", "resized"]


def resized(images: Tensor, size: tuple[int, int]) -> Tensor:
    """[N, C, *size] images [N, C, H, W] bilinearly, smoothed where they shrink; differentiable."""
    if tuple(images.shape[-2:]) == size:
        return images
    return F.interpolate(images, size, mode="bilinear", align_corners=False, antialias=True)


class Resized:
    """Another model, with its answers to images that are made as large as it takes them.

    Args:
        model: asked.
        size: height and width of its images.
    """

    def __init__(self, model: Differentiable, size: tuple[int, int]) -> None:
        self._model, self._size = model, size

    def logits(self, u: Tensor) -> Tensor:
        """[N, C, H, W] in u-space to [N, K], differentiable."""
        return self._model.logits(resized(u, self._size))
