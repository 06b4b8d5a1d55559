"""Samples as images: their planes, their size, and the stripes that searches start from."""

from __future__ import annotations

import math

from torch import Tensor

from robaudit.attacks.base import Problem

__all__ = ["is_large_image", "plane", "stripes"]

LARGE = 64 * 64
"""Pixels of a large image."""


def plane(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """(C, H, W) of a sample; a shape that is no image becomes one row."""
    if len(shape) == 3:
        return shape[0], shape[1], shape[2]
    return 1, 1, math.prod(shape)


def is_large_image(shape: tuple[int, ...]) -> bool:
    """Whether samples of a shape are images of 64 x 64 pixels and more."""
    return len(shape) == 3 and math.prod(shape[1:]) >= LARGE


def stripes(problem: Problem) -> Tensor:
    """[S, *shape] -1 or 1 at random for each column and channel, as the Square attack starts."""
    channels, height, width = plane(problem.shape)
    signs = problem.draws.sign("stripes", 0, (channels, 1, width)).to(problem.x.dtype)
    return signs.expand(-1, channels, height, width).reshape(problem.x.shape)
