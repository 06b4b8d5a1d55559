"""Losses that an attack maximises. Each is invariant to a shift of all logits."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["LOSSES", "Loss", "cross_entropy", "dlr", "log_odds", "loss_named", "margin", "targeted_dlr"]

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(logits [N, K], label [N], target [N], -1 where untargeted) -> [N]; larger is better for the attacker."""


def _others(logits: Tensor, excluded: Tensor) -> Tensor:
    """Largest logit of any class but ``excluded``."""
    return logits.scatter(1, excluded[:, None], float("-inf")).amax(1)


def _at(logits: Tensor, index: Tensor) -> Tensor:
    return logits.gather(1, index[:, None])[:, 0]


def cross_entropy(logits: Tensor, label: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy of the label; minus that of the target where one is set (Goodfellow 2015, eq. 1)."""
    targeted = target >= 0
    value = F.cross_entropy(logits, torch.where(targeted, target, label), reduction="none")
    return torch.where(targeted, -value, value)


def margin(logits: Tensor, label: Tensor, target: Tensor) -> Tensor:
    """max over other classes minus the label's logit; mirrored where targeted (Carlini & Wagner 2017, f6)."""
    targeted = target >= 0
    reference = torch.where(targeted, target, label)
    value = _others(logits, reference) - _at(logits, reference)
    return torch.where(targeted, -value, value)


def log_odds(logits: Tensor, label: Tensor, target: Tensor) -> Tensor:
    """log((1 - p) / p) of the label's probability p; minus that of the target's where one is set.

    Its gradient points where the cross-entropy's does, but does not vanish in float where p rounds to 1.
    """
    targeted = target >= 0
    reference = torch.where(targeted, target, label)
    others = logits.scatter(1, reference[:, None], float("-inf")).logsumexp(1)
    value = others - _at(logits, reference)
    return torch.where(targeted, -value, value)


def dlr(logits: Tensor, label: Tensor, target: Tensor) -> Tensor:
    """Difference of logits ratio, untargeted (Croce & Hein 2020, eq. 6); needs three classes.

    Raises:
        ValueError: below three classes.
    """
    if logits.shape[1] < 3:
        raise ValueError("the DLR loss needs at least three classes")
    top = logits.topk(3, dim=1).values
    return (_others(logits, label) - _at(logits, label)) / (top[:, 0] - top[:, 2] + 1e-12)


def targeted_dlr(logits: Tensor, label: Tensor, target: Tensor) -> Tensor:
    """Targeted difference of logits ratio (Croce & Hein 2020, eq. 7); needs four classes and targets.

    Raises:
        ValueError: below four classes.
    """
    if logits.shape[1] < 4:
        raise ValueError("the targeted DLR loss needs at least four classes")
    top = logits.topk(4, dim=1).values
    scale = top[:, 0] - 0.5 * (top[:, 2] + top[:, 3]) + 1e-12
    return (_at(logits, target.clamp_min(0)) - _at(logits, label)) / scale


LOSSES: dict[str, Loss] = {
    "ce": cross_entropy,
    "margin": margin,
    "dlr": dlr,
    "log-odds": log_odds,
    "dlr-targeted": targeted_dlr,
}


def loss_named(name: str) -> Loss:
    """The loss of that name.

    Raises:
        KeyError: for an unknown name.
    """
    return LOSSES[name]
