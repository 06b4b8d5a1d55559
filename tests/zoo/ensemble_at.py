"""Ensemble adversarial training."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .entry import Entry, Making
from .training import fit, one_step, plain, small

__all__ = ["NETS"]

EPS = 0.1


def dense() -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 10))


def pooled() -> nn.Sequential:
    return nn.Sequential(
        *(nn.Conv2d(1, 12, 3, 1, 1), nn.ReLU(), nn.MaxPool2d(4)),
        *(nn.Conv2d(12, 24, 3, 1, 1), nn.ReLU(), nn.Flatten(), nn.Linear(24 * 49, 10)),
    )


def make(making: Making) -> nn.Module:
    """Half of the loss is of single-step examples made on static nets and on the net itself, in turn."""
    static = [plain(making, net, epochs=2).eval() for net in (dense(), pooled(), small(lambda _: nn.Tanh()))]
    net = small()
    count = 0

    def loss(x: Tensor, y: Tensor, _: float) -> Tensor:
        nonlocal count
        source = [*static, net][count % (len(static) + 1)]
        count += 1
        examples = one_step(source, x, y, EPS)
        return 0.5 * F.cross_entropy(net(torch.cat([x, examples])), torch.cat([y, y])) * 2

    fit(making, loss, net.parameters(), epochs=6)
    return net


NETS = (
    Entry(
        name="ensemble-at",
        defense="ensemble adversarial training",
        source="Tramèr, Kurakin, Papernot, Goodfellow, Boneh, McDaniel 2018, Ensemble Adversarial Training: Attacks "
        "and Defenses",
        claim="withstands examples transferred from other nets",
        verdict="transfer accuracy far above white-box accuracy; its headline stands",
        make=make,
    ),
)
