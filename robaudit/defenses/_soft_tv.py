"""The first steps of total variation minimisation in torch, for gradients."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["soft_tv"]

STEPS = 10
"""Of the projection; the gradient of more was not worth its cost."""
STEP = 0.25
"""Largest for which the projection is known to converge in two dimensions: Chambolle 2004, after theorem 3.1."""
FLAT = 1e-12
"""Added below the root, whose slope is infinite where nothing differs."""


def soft_tv(u: Tensor, weight: float) -> Tensor:
    """[N, C, H, W] after the first steps of Chambolle's projection, each channel by itself; see ``TotalVariation``."""
    down, across, found = torch.zeros_like(u), torch.zeros_like(u), u
    for _ in range(STEPS):
        found = u - down - across
        found = torch.cat([found[:, :, :1], found[:, :, 1:] + down[:, :, :-1]], 2)
        found = torch.cat([found[..., :1], found[..., 1:] + across[..., :-1]], 3)
        below = torch.cat([found.diff(dim=2), torch.zeros_like(found[:, :, :1])], 2)
        right = torch.cat([found.diff(dim=3), torch.zeros_like(found[..., :1])], 3)
        steepness = 1 + STEP / weight * (below**2 + right**2 + FLAT).sqrt()
        down, across = (down - STEP * below) / steepness, (across - STEP * right) / steepness
    return found
