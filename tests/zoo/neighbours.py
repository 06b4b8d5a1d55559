"""k nearest neighbours."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .entry import Entry, Making

__all__ = ["NETS", "Neighbours"]


class Neighbours(nn.Module):
    """Votes of the k nearest reference images, in the Euclidean distance of their pixels."""

    def __init__(self, x: Tensor, y: Tensor, k: int) -> None:
        super().__init__()
        flat = x.flatten(1)
        self.register_buffer("rows", flat.T.contiguous())
        self.register_buffer("norms", flat.pow(2).sum(1))
        self.register_buffer("votes", F.one_hot(y, 10).float())
        self.k = k

    def forward(self, x: Tensor) -> Tensor:
        distances = self.norms - 2 * x.flatten(1) @ self.rows  # squared, less the same for all rows
        nearest = distances.topk(min(self.k, len(self.norms)), dim=1, largest=False).indices
        return self.votes[nearest].sum(1)


class Soft(nn.Module):
    """Votes of all reference images, whose weights fall with the distance: k nearest neighbours with a gradient."""

    def __init__(self, hard: Neighbours, scale: float) -> None:
        super().__init__()
        self.hard, self.scale = hard, scale

    def forward(self, x: Tensor) -> Tensor:
        distances = self.hard.norms - 2 * x.flatten(1) @ self.hard.rows
        return ((-distances / self.scale).softmax(1) @ self.hard.votes).clamp_min(1e-12).log()


def make(making: Making) -> nn.Module:
    chosen = torch.randperm(len(making.data.x))[:3000]
    return Neighbours(making.data.x[chosen], making.data.y[chosen], 5)


def soft(making: Making) -> nn.Module:
    """Of the same reference images."""
    hard = making.net(K_NN)
    assert isinstance(hard, Neighbours)
    return Soft(hard, 3.0)


K_NN = Entry(
    name="k-nn",
    defense="k nearest neighbours, k = 5, on pixels",
    source="Wang, Jha, Chaudhuri 2018, Analyzing the Robustness of Nearest Neighbors to Adversarial Examples",
    claim="with many neighbours as robust as the best classifier; has no gradient",
    verdict="white box unavailable; labels, scores or a surrogate bring it to what soft neighbours keep",
    make=make,
    masked=True,
    twin="soft-neighbours",
    hides=("TopK", "Gather"),
    layer="the choice of the nearest images",
)
NETS = (
    K_NN,
    Entry(
        name="soft-neighbours",
        defense="none: nearest neighbours with a gradient, to compare the others with",
        source=K_NN.source,
        claim="none",
        verdict="what falls, falls to white-box attacks; no check fails",
        make=soft,
    ),
)
