"""Trains a net as its entry says."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robaudit.threat.norms import Norm, per_slot
from robaudit.threat.projections import project
from tests.zoo import distillation
from tests.zoo.entry import Making
from tests.zoo.training import fit, gradient, pgd

from .entry import Net
from .families import untrained

__all__ = ["attacked", "trained"]

STEPS = 2
"""Of the attack in adversarial training."""


def trained(net: Net, making: Making) -> nn.Module:
    """The trained module, in evaluation mode."""
    if net.training == "distilled":
        return distillation.make(making).eval()
    model = untrained(net, tuple(making.data.x.shape[1:]))
    if not net.norm:
        fit(making, lambda x, y, _: F.cross_entropy(model(x), y), model.parameters(), epochs=net.epochs, rate=net.rate)
        return model.eval()

    def loss(x: Tensor, y: Tensor, share: float) -> Tensor:
        return F.cross_entropy(model(attacked(net, model, x, y, net.eps * min(1.0, 2 * share + 0.05), STEPS)), y)

    fit(making, loss, model.parameters(), epochs=net.epochs, rate=net.rate)
    return model.eval()


def attacked(net: Net, model: nn.Module, x: Tensor, y: Tensor, eps: float, steps: int) -> Tensor:
    """[N, *shape] projected gradient steps in the norm of the net's training, from a random start; the last iterate.

    L2: steps along the gradient. L1: each step moves the twentieth of the features whose slopes are largest, by their
    sign (Tramèr & Boneh 2019, "Adversarial Training and Robustness for Multiple Perturbations", section 4, SLIDE).
    """
    if net.norm == "linf":
        return pgd(model, x, y, eps, steps)
    norm = Norm(net.norm)
    radius = torch.full((len(x),), eps)
    start = torch.randn_like(x)
    start = start / per_slot(start.flatten(1).norm(p=2 if norm is Norm.L2 else 1, dim=1), x)
    point = project(norm, x + eps * start * torch.rand(len(x)).view(-1, *[1] * (x.dim() - 1)), x, radius)
    for _ in range(steps):
        slope = gradient(model, point, y)
        if norm is Norm.L1:
            flat = slope.abs().flatten(1)
            moved = per_slot(flat.topk(max(1, flat.shape[1] // 20), dim=1).values[:, -1], x)
            slope = slope.sign() * (slope.abs() >= moved)
        length = per_slot(slope.flatten(1).norm(p=2 if norm is Norm.L2 else 1, dim=1).clamp_min(1e-12), x)
        point = project(norm, point + 2.5 * eps / steps * slope / length, x, radius)
    return point.detach()
