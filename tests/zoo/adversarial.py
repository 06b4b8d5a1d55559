"""Adversarial training on single steps and on projected gradient steps."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .entry import Entry, Making
from .measuring import accuracy
from .training import fit, one_step, pgd, small

__all__ = ["NETS", "PGD_AT"]

EPS = 0.1
FGSM_EPS = 0.25
ROUNDS = 16


def fgsm(making: Making) -> nn.Module:
    """Single steps from the images themselves, at a large radius and rate, until it overfits catastrophically.

    How soon it does is chance, and differs between processors: rounds go on until plain attacks of several steps leave
    next to nothing, so that the net is the same kind of net everywhere.
    """
    model = small()
    x, y = making.data.x[:500], making.data.y[:500]
    best, chosen = -math.inf, model.state_dict()
    for number in range(ROUNDS):

        def loss(x: Tensor, y: Tensor, share: float, first: bool = number == 0) -> Tensor:
            eps = FGSM_EPS * (min(1.0, 2 * share) if first else 1.0)
            return F.cross_entropy(model(one_step(model, x, y, eps)), y)

        fit(making, loss, model.parameters(), epochs=2, rate=4e-3 if number == 0 else 1e-2)
        once = accuracy(model, one_step(model, x, y, FGSM_EPS), y)
        often = accuracy(model, pgd(model, x, y, FGSM_EPS, 40), y)
        if once - 4 * often > best:  # what stands after many steps is what the net must not have
            best, chosen = once - 4 * often, copy.deepcopy(model.state_dict())
        if once > 0.55 and often <= 0.01:
            break
    model.load_state_dict(chosen)
    return model


def random_fgsm(making: Making) -> nn.Module:
    """Single steps of 1.25 eps from a random point of the ball, back into the ball."""
    model = small()

    def loss(x: Tensor, y: Tensor, share: float) -> Tensor:
        eps = EPS * min(1.0, 3 * share)
        start = x + eps * (2 * torch.rand_like(x) - 1)
        point = one_step(model, x, y, 1.25 * eps, start)
        return F.cross_entropy(model(torch.minimum(torch.maximum(point, x - eps), x + eps).clamp(0, 1)), y)

    fit(making, loss, model.parameters(), epochs=6)
    return model


def projected(making: Making) -> nn.Module:
    model = small()
    fit(
        making,
        lambda x, y, share: F.cross_entropy(model(pgd(model, x, y, EPS * min(1.0, 3 * share), 4)), y),
        model.parameters(),
        epochs=7,
    )
    return model


PGD_AT = Entry(
    name="pgd-at",
    defense="PGD adversarial training",
    source="Madry, Makelov, Schmidt, Tsipras, Vladu 2018, Towards Deep Learning Models Resistant to Adversarial "
    "Attacks",
    claim="withstands all first-order adversaries in its ball",
    verdict="holds near its eps; breaks in other norms; no check fails",
    make=projected,
)
NETS = (
    Entry(
        name="fgsm-at",
        defense="FGSM adversarial training, catastrophically overfitted",
        source="Goodfellow, Shlens, Szegedy 2015, Explaining and Harnessing Adversarial Examples; the overfitting: "
        "Wong, Rice, Kolter 2020, Fast is better than free",
        claim="examples of one step no longer fool it",
        verdict="catastrophic overfitting shows as FGSM accuracy far above PGD's",
        make=fgsm,
        masked=True,
        layer="no operator: the trained weights bend the loss near each image",
        eps=FGSM_EPS,
        version=3,
    ),
    Entry(
        name="r-fgsm-at",
        defense="FGSM adversarial training from random starts",
        source="Tramèr, Kurakin, Papernot, Goodfellow, Boneh, McDaniel 2018, Ensemble Adversarial Training (the step); "
        "Wong, Rice, Kolter 2020, Fast is better than free (as trained here)",
        claim="as robust as PGD training, at the price of one step",
        verdict="holds near its eps",
        make=random_fgsm,
    ),
    PGD_AT,
)
