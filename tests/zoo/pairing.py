"""Answers to an image and to its neighbour are pulled together: logit pairing, stability training."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .entry import Entry, Making
from .training import fit, pgd, small

__all__ = ["NETS"]

EPS = 0.1


def paired(making: Making) -> nn.Module:
    """Clean images and targeted examples of random classes, half each, with their logits pulled together."""
    net = small()

    def loss(x: Tensor, y: Tensor, share: float) -> Tensor:
        other = (y + torch.randint(1, 10, y.shape)) % 10
        examples = pgd(net, x, other, EPS * min(1.0, 3 * share), 3, descend=True)
        clean, attacked = net(x), net(examples)
        both = F.cross_entropy(clean, y) + F.cross_entropy(attacked, y)
        return 0.5 * both + 0.5 * F.mse_loss(clean, attacked)

    fit(making, loss, net.parameters(), epochs=5)
    return net


def stable(making: Making) -> nn.Module:
    net = small()

    def loss(x: Tensor, y: Tensor, _: float) -> Tensor:
        clean, noisy = net(x), net(x + 0.1 * torch.randn_like(x))
        apart = F.kl_div(noisy.log_softmax(1), clean.softmax(1), reduction="batchmean")
        return F.cross_entropy(clean, y) + apart

    fit(making, loss, net.parameters(), epochs=6)
    return net


NETS = (
    Entry(
        name="alp",
        defense="adversarial logit pairing",
        source="Kannan, Kurakin, Goodfellow 2018, Adversarial Logit Pairing",
        claim="more robust than adversarial training alone",
        verdict="falls, or loses most, to many-step attacks: Engstrom, Ilyas, Athalye 2018, Evaluating and "
        "Understanding the Robustness of Adversarial Logit Pairing",
        make=paired,
    ),
    Entry(
        name="stability",
        defense="stability training",
        source="Zheng, Song, Leung, Goodfellow 2016, Improving the Robustness of Deep Neural Networks via Stability "
        "Training",
        claim="answers stay the same under small distortions",
        verdict="falls to many-step attacks; no check fails",
        make=stable,
    ),
)
