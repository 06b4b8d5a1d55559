"""The ladder of ``ensemble``: what its searches climb, and in which order they come."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from robaudit.attacks.parameters import Count, Fraction, Positive
from robaudit.threat.losses import Loss, cross_entropy, log_odds, margin, targeted_dlr, targeted_lead
from robaudit.threat.masked import is_masked

__all__ = ["LADDER", "Rung", "Table", "losses_of", "soft_margin", "table_of"]

SHARPNESS = 8.0
"""Lead of the largest logit over the mean one in the soft margin. Of 2 to 16 the best on three models."""
ANY = float("inf")


def soft_margin(logits: Tensor, label: Tensor, target_class: Tensor) -> Tensor:
    """Cross-entropy at a temperature of each point's own, so that the scale of the logits has no say.

    Its gradient weighs the rivals that are near, where the margin's sees but one and the cross-entropy's of a model
    with small logits all. The temperature is taken as a constant: its slope is no part of the gradient.
    """
    fixed = logits.detach()
    top = fixed.amax(1, keepdim=True)
    kept = ~is_masked(fixed)
    mean = fixed.masked_fill(~kept, 0.0).sum(1, keepdim=True) / kept.sum(1, keepdim=True)
    scale = (top - mean).clamp_min(1e-12)
    return cross_entropy(SHARPNESS * (logits - top) / scale, label, target_class)


def losses_of(classes: int) -> dict[str, Loss]:
    """The ratio turns the gradient away from the largest logits: some samples fall to it alone."""
    aimed = targeted_dlr if classes >= 4 else targeted_lead
    return {"margin": margin, "ce": log_odds, "targeted": aimed, "soft-margin": soft_margin}


_NAMES = list(losses_of(4))


@dataclass(frozen=True)
class Rung:
    """One kind of search of the ladder.

    Args:
        loss: ``soft-margin``, ``margin``, ``ce``, or ``targeted``: one search for each target class.
        steps: of one search.
        within: run only if the best margin reached so far is at most this share of the clean margin.
        targets: most classes that it aims at; None: all that the attack has.
        each: of these only classes whose own best lead so far is at most this share of the clean margin; None: any.
        times: searches, each from a random start of its own.
        wide: radius of the ball in which a search begins, as a multiple of ε; it falls to ε, in a straight line, over
            two fifths of the steps. What is met outside of ε is no success and no reason for another rung.
        chance: run only while what is left of the margin is at most this many times the range of what the untargeted
            searches since the first reached: where chance decides that much, one more may fool. None: always.
    """

    loss: Literal["soft-margin", "margin", "ce", "targeted"]
    steps: Count
    within: Fraction = 1.0
    targets: Count | None = None
    times: Count = 1
    wide: Annotated[float, Field(ge=1, le=100)] = 1.0
    chance: Positive | None = None
    each: Positive | None = None


LADDER = (
    Rung("soft-margin", 8),
    Rung("soft-margin", 20, 0.6),
    Rung("targeted", 5, 0.45),
    Rung("targeted", 20, 0.25, targets=5, each=0.35),
    Rung("soft-margin", 30, 0.1, times=3, wide=3),
    Rung("targeted", 50, 0.04, targets=5, each=0.3),
)
"""Chosen on the CIFAR ResNet-2B at 2/255 and 8/255, the bundled robust Fashion-MNIST model, an MNIST LeNet-5, where
random starts decide, and nets of both halves of benchmarks/nets; benchmarks/autoattack.py measures it. A few steps
towards each class tell which of them are worth more; from outside of the ball a search meets classes that one from
within turns away from."""


class Table(NamedTuple):
    """The searches of a ladder in order, a column [K] of each setting.

    ``place`` among the targets, -1: none; ``rung``: number of the rung.
    """

    loss: Tensor
    steps: Tensor
    place: Tensor
    within: Tensor
    wide: Tensor
    chance: Tensor
    each: Tensor
    rung: Tensor


@functools.lru_cache(maxsize=64)
def table_of(ladder: tuple[Rung, ...], aims: int, device: torch.device) -> Table:
    """The table of a ladder for so many target classes."""
    rows = [
        (
            *(_NAMES.index(rung.loss), rung.steps, place, rung.within, rung.wide),
            *(rung.chance or ANY, rung.each or ANY, number),
        )
        for number, rung in enumerate(ladder)
        for _ in range(rung.times)
        for place in (range(min(aims, rung.targets or aims)) if rung.loss == "targeted" else (-1,))
    ]
    return Table(*(torch.tensor(column, device=device) for column in zip(*rows, strict=True)))
