"""Losses that an attack maximises. Each is invariant to a shift of all logits.

A logit may be -inf: value and gradient are then those without that class, so long as another one is left.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from robaudit.threat.masked import floored, is_masked

__all__ = [
    "LOSSES",
    "SLOPES",
    "Loss",
    "LossName",
    "Sloped",
    "cross_entropy",
    "dlr",
    "houdini",
    "log_odds",
    "logit",
    "loss_named",
    "loss_unsuited",
    "margin",
    "probability_margin",
    "targeted_cross_entropy",
    "targeted_dlr",
    "targeted_lead",
]

LossName = Literal["ce", "log-odds", "margin", "dlr", "probability-margin", "houdini", "logit"]
"""Losses that serve untargeted and targeted audits alike; ``dlr-targeted`` always needs a target class."""

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(logits [N, K], label [N], target class [N], -1 where untargeted) -> [N]; larger is better for the attacker."""

Sloped = Callable[[Tensor, Tensor, Tensor | None], tuple[Tensor, Tensor]]
"""As :data:`Loss`, with the loss's slope [N, K] in the logits; where logits are finite, both are. None: untargeted."""


def _others(logits: Tensor, excluded: Tensor) -> Tensor:
    """Largest logit of any class but ``excluded``."""
    return logits.scatter(1, excluded[:, None], float("-inf")).amax(1)


def _at(logits: Tensor, index: Tensor) -> Tensor:
    return logits.gather(1, index[:, None])[:, 0]


def _odds(logits: Tensor, index: Tensor) -> Tensor:
    """log((1 - p) / p) of a class's probability p, without the loss of digits where p is nearly 0 or 1."""
    return logits.scatter(1, index[:, None], float("-inf")).logsumexp(1) - _at(logits, index)


def _target_or_rival(logits: Tensor, label: Tensor, target_class: Tensor) -> Tensor:
    """The target class, or the likeliest class but the label where none is set."""
    rival = logits.scatter(1, label[:, None], float("-inf")).argmax(1)
    return torch.where(target_class >= 0, target_class, rival)


def cross_entropy(logits: Tensor, label: Tensor, target_class: Tensor) -> Tensor:
    """Cross-entropy of the label; minus that of the target class where one is set (Goodfellow 2015, eq. 1).

    Where an attack scales its steps, it climbs the log-odds instead, which rise and fall with the cross-entropy and
    whose gradient has the same direction: the cross-entropy's own is no number above 0 in float32 where the label leads
    by more than about 100.
    """
    targeted = target_class >= 0
    value = F.softplus(_odds(floored(logits), torch.where(targeted, target_class, label)))
    return torch.where(targeted, -value, value)


def targeted_cross_entropy(logits: Tensor, label: Tensor, target_class: Tensor) -> Tensor:
    """Minus the cross-entropy of the target class, or of the likeliest class but the label where none is set."""
    return cross_entropy(logits, label, _target_or_rival(logits, label, target_class))


def targeted_lead(logits: Tensor, label: Tensor, target_class: Tensor) -> Tensor:
    """The logit of the target class, or of the likeliest class but the label where none is set, minus the label's."""
    logits = floored(logits)
    return _at(logits, _target_or_rival(logits, label, target_class)) - _at(logits, label)


def margin(logits: Tensor, label: Tensor, target_class: Tensor) -> Tensor:
    """max over other classes minus the label's logit; mirrored where targeted (Carlini & Wagner 2017, f6)."""
    targeted = target_class >= 0
    reference = torch.where(targeted, target_class, label)
    logits = floored(logits)
    value = _others(logits, reference) - _at(logits, reference)
    return torch.where(targeted, -value, value)


def log_odds(logits: Tensor, label: Tensor, target_class: Tensor) -> Tensor:
    """log((1 - p) / p) of the label's probability p; minus that of the target class's where one is set.

    Its gradient points where the cross-entropy's does, but keeps its size however sure the model is.
    """
    targeted = target_class >= 0
    value = _odds(floored(logits), torch.where(targeted, target_class, label))
    return torch.where(targeted, -value, value)


def sloped_log_odds(logits: Tensor, label: Tensor, target_class: Tensor | None) -> tuple[Tensor, Tensor]:
    """:func:`log_odds` and its slope [N, K], the softmax of the other classes less 1 at the class itself."""
    place = label if target_class is None else torch.where(target_class >= 0, target_class, label)
    all_open = floored(logits)
    others = all_open.scatter(1, place[:, None], float("-inf"))
    total = others.logsumexp(1, keepdim=True)
    value = (total - all_open.gather(1, place[:, None]))[:, 0]
    slope = (others - total).exp_().scatter_(1, place[:, None], -1.0)
    if all_open is not logits:
        slope = slope.masked_fill_(is_masked(logits), 0.0)
    if target_class is None:
        return value, slope
    sign = torch.where(target_class >= 0, -1.0, 1.0).to(value.dtype)
    return value * sign, slope * sign[:, None]


def logit(logits: Tensor, label: Tensor, target_class: Tensor) -> Tensor:
    """Minus the label's logit; the target class's where one is set, less the mean of all.

    Unlike the cross-entropy it does not level off once the target class leads, which is what carries a targeted example
    over to other models after hundreds of steps. Source: Zhao, Liu, Larson 2021, "On Success and Simplicity: A Second
    Look at Transferable Targeted Attacks", where nothing is taken off; with the mean the loss does not depend on
    what a model adds to all logits alike, which decides nothing.
    """
    targeted = target_class >= 0
    reference = torch.where(targeted, target_class, label)
    kept = ~is_masked(logits)
    mean = torch.where(kept, logits, 0.0).sum(1) / kept.sum(1).clamp_min(1)
    value = _at(floored(logits), reference) - mean
    return torch.where(targeted, value, -value)


def probability_margin(logits: Tensor, label: Tensor, target_class: Tensor) -> Tensor:
    """The margin between probabilities: max over other classes minus the label's; mirrored where targeted.

    Source: Xie, Zheng, Huang, Ye, Ma 2025, "Towards Million-Scale Adversarial Robustness Evaluation With Stronger
    Individual Attacks" (PMA). Of each probability that is nearly 1 the distance from 1 is taken, so that the gradient
    does not vanish where the probability rounds to 1.
    """
    targeted = target_class >= 0
    reference = torch.where(targeted, target_class, label)
    logits = floored(logits)
    rival = logits.scatter(1, reference[:, None], float("-inf")).argmax(1)
    own, other = _odds(logits, reference), _odds(logits, rival)
    behind = torch.sigmoid(-other) - (1 - torch.sigmoid(own))
    ahead = (1 - torch.sigmoid(other)) - torch.sigmoid(-own)
    value = torch.where(_at(logits, rival) < _at(logits, reference), behind, ahead)
    return torch.where(targeted, -value, value)


def houdini(logits: Tensor, label: Tensor, target_class: Tensor) -> Tensor:
    """log of Houdini: the probability that unit normal noise exceeds the label's lead, times the task loss.

    The lead is over the best other class, whose task loss is 1 (wrong) in classification. Where a target class is set,
    the probability that the noise exceeds the lead over it. The logarithm keeps the gradient where it underflows.

    Source: Cisse, Adi, Neverova, Keshet 2017, "Houdini: Fooling Deep Structured Prediction Models", section 3.
    """
    value: Tensor = torch.special.log_ndtr(margin(logits, label, target_class))
    return value


def dlr(logits: Tensor, label: Tensor, target_class: Tensor) -> Tensor:
    """Difference of logits ratio (Croce & Hein 2020, eq. 6; eq. 7 where a target class is set); needs three classes.

    Raises:
        ValueError: below three classes.
    """
    if logits.shape[1] < 3:
        raise ValueError("the DLR loss needs at least three classes")
    lead = margin(logits, label, torch.full_like(target_class, -1))
    return torch.where(target_class >= 0, _ratio_towards(logits, label, target_class), lead / _spread(logits, 3))


def targeted_dlr(logits: Tensor, label: Tensor, target_class: Tensor) -> Tensor:
    """Targeted difference of logits ratio (Croce & Hein 2020, eq. 7); needs four classes.

    Where no target class is set it aims at the likeliest class but the label.

    Raises:
        ValueError: below four classes.
    """
    if logits.shape[1] < 4:
        raise ValueError("the targeted DLR loss needs at least four classes")
    return _ratio_towards(logits, label, target_class)


def _ratio_towards(logits: Tensor, label: Tensor, target_class: Tensor) -> Tensor:
    return targeted_lead(logits, label, target_class) / _spread(logits, 4)


def _spread(logits: Tensor, places: int) -> Tensor:
    """[N] lead of the largest logit over the third, or over the middle between the third and the fourth.

    Where the fourth is missing or masked, the third stands for it; where the third is, no ratio is left, and 1 does.
    """
    kept = (~is_masked(logits)).sum(1)
    top = floored(logits).topk(min(places, logits.shape[1]), dim=1).values
    last = torch.where(kept >= places, top[:, -1], top[:, 2])
    return torch.where(kept >= 3, top[:, 0] - 0.5 * (top[:, 2] + last) + 1e-12, 1.0)


LOSSES: dict[str, Loss] = {
    "ce": cross_entropy,
    "margin": margin,
    "dlr": dlr,
    "log-odds": log_odds,
    "dlr-targeted": targeted_dlr,
    "houdini": houdini,
    "probability-margin": probability_margin,
    "logit": logit,
}


SLOPES: dict[Loss, Sloped] = {log_odds: sloped_log_odds}
"""Losses whose slope is known in closed form, which is quicker than differentiating them."""


def loss_unsuited(name: str, classes: int) -> str | None:
    """Why a loss is not defined for a model of so many classes, or None."""
    if name == "dlr" and classes < 3:
        return "the DLR loss needs at least three classes"
    if name == "dlr-targeted" and classes < 4:
        return "the targeted DLR loss needs at least four classes"
    return None


def loss_named(name: str) -> Loss:
    """What an attack whose steps have a length of their own climbs for a loss: for the cross-entropy the log-odds.

    Raises:
        KeyError: for an unknown name.
    """
    return log_odds if name == "ce" else LOSSES[name]
