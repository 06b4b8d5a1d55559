"""k winners take all."""

from __future__ import annotations

import math

from torch import Tensor, nn

from .entry import Entry
from .training import plain, small

__all__ = ["NETS"]


class Winners(nn.Module):
    """Keeps the largest share of each sample's activations, and sets the others to 0."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, x: Tensor) -> Tensor:
        k = max(1, round(self.share * math.prod(map(int, x.shape[1:]))))
        least = x.flatten(1).topk(k, dim=1).values[:, -1]
        return x * (x >= least.view(-1, *[1] * (x.dim() - 1))).to(x.dtype)


NETS = (
    Entry(
        name="k-wta",
        defense="k winners take all",
        source="Xiao, Zhong, Zheng 2020, Enhancing Adversarial Defense by k-Winners-Take-All",
        claim="an activation that jumps everywhere disrupts the gradients that attacks need",
        verdict="masking found (the loss jumps); labels, scores or smoothed gradients break it",
        make=lambda making: plain(making, small(lambda layer: Winners(0.2 if layer == 3 else 0.08)), epochs=8),
        masked=True,
        hides=("TopK", "GreaterOrEqual", "Less", "Not", "Cast", "Where"),
        layer="the activations",
    ),
)
