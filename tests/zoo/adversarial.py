"""Adversarial training on single steps and on projected gradient steps."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from .entry import Entry, Making
from .training import fit, one_step, pgd, small

__all__ = ["NETS", "PGD_AT"]

EPS = 0.1
FGSM_EPS = 0.2


def fgsm(making: Making) -> nn.Module:
    """Single steps from the images themselves, at a large radius, until it overfits catastrophically."""
    model = small()
    fit(
        making,
        lambda x, y, _: F.cross_entropy(model(one_step(model, x, y, FGSM_EPS)), y),
        model.parameters(),
        epochs=12,
        rate=5e-3,
    )
    return model


def random_fgsm(making: Making) -> nn.Module:
    """Single steps of 1.25 eps from a random point of the ball, back into the ball."""
    model = small()

    def loss(x: torch.Tensor, y: torch.Tensor, share: float) -> torch.Tensor:
        eps = EPS * min(1.0, 3 * share)
        start = x + eps * (2 * torch.rand_like(x) - 1)
        point = one_step(model, x, y, 1.25 * eps, start)
        return F.cross_entropy(model(torch.minimum(torch.maximum(point, x - eps), x + eps).clamp(0, 1)), y)

    fit(making, loss, model.parameters(), epochs=7, batch=128)
    return model


def projected(making: Making) -> nn.Module:
    model = small()
    fit(
        making,
        lambda x, y, share: F.cross_entropy(model(pgd(model, x, y, EPS * min(1.0, 3 * share), 5)), y),
        model.parameters(),
        epochs=5,
        batch=128,
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
