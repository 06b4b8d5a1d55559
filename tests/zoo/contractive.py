"""Nets whose slope is made small in training: deep contractive, and input-gradient regularisation."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .entry import Entry, Making
from .training import fit, small

__all__ = ["NETS"]

LAYERS = (("conv1", "act1"), ("conv2", "act2"), ("flat", "hidden", "act3"), ("head",))
CONTRACTION, SLOPE = 0.002, 0.1


def contractive(making: Making) -> nn.Module:
    """The Jacobian of each layer has a small Frobenius norm, estimated along one random direction."""
    net = small()

    def loss(x: Tensor, y: Tensor, _: float) -> Tensor:
        penalty = torch.zeros(())
        h = x.clone().requires_grad_()
        for names in LAYERS:
            before = h
            for name in names:
                h = getattr(net, name)(h)
            (row,) = torch.autograd.grad(h, before, torch.randn_like(h), create_graph=True)
            penalty = penalty + row.pow(2).sum() / len(x)
        return F.cross_entropy(h, y) + CONTRACTION * penalty

    fit(making, loss, net.parameters(), epochs=5)
    return net


def flat(making: Making) -> nn.Module:
    """The loss's gradient has a small square norm."""
    net = small()

    def loss(x: Tensor, y: Tensor, _: float) -> Tensor:
        x = x.clone().requires_grad_()
        value = F.cross_entropy(net(x), y, reduction="sum")
        (slope,) = torch.autograd.grad(value, x, create_graph=True)
        return (value + SLOPE * slope.pow(2).sum()) / len(x)

    fit(making, loss, net.parameters(), epochs=5)
    return net


NETS = (
    Entry(
        name="contractive",
        defense="deep contractive network",
        source="Gu, Rigazio 2015, Towards Deep Neural Network Architectures Robust to Adversarial Examples",
        claim="needs larger perturbations, at little loss of accuracy",
        verdict="falls; small slopes hide nothing from margin losses",
        make=contractive,
        version=2,
    ),
    Entry(
        name="input-gradient",
        defense="input-gradient regularisation",
        source="Ross, Doshi-Velez 2018, Improving the Adversarial Robustness and Interpretability of Deep Neural "
        "Networks by Regularizing their Input Gradients",
        claim="withstands transferred and white-box single steps",
        verdict="falls, or loses most, to many-step attacks with margin losses",
        make=flat,
        version=2,
    ),
)
