"""A net most of whose weights are zero."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .entry import Entry, Making
from .training import fit, small
from .undefended import UNDEFENDED

__all__ = ["NETS"]

KEPT = 0.08  # of the weights of each layer but the last


def make(making: Making) -> nn.Module:
    """The undefended net, pruned by magnitude in steps while it is trained on."""
    net = small()
    net.load_state_dict(copy.deepcopy(making.net(UNDEFENDED).state_dict()))
    weights = [p for name, p in net.named_parameters() if name.endswith("weight") and not name.startswith("head")]
    masks = [torch.ones_like(p) for p in weights]

    def loss(x: Tensor, y: Tensor, share: float) -> Tensor:
        kept = KEPT ** min(1.0, share / 0.6)
        for weight, mask in zip(weights, masks, strict=True):
            size = weight.detach().abs().flatten()
            mask.copy_(weight.detach().abs() >= size.topk(max(1, round(kept * len(size)))).values[-1])
        prune()
        return F.cross_entropy(net(x), y)

    @torch.no_grad()
    def prune() -> None:
        for weight, mask in zip(weights, masks, strict=True):
            weight.mul_(mask)

    fit(making, loss, net.parameters(), epochs=6, after=prune)
    return net


NETS = (
    Entry(
        name="weight-sparse",
        defense="sparse weights",
        source="Guo, Zhang, Zhang, Chen 2018, Sparse DNNs with Improved Adversarial Robustness",
        claim="a moderate sparsity improves robustness",
        verdict="falls; the sparsity is reported and earns no credit",
        make=make,
        version=2,
    ),
)
