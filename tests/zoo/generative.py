"""Adversarial training against a generator."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .entry import Entry, Making
from .training import fit, gradient, small

__all__ = ["NETS"]

EPS = 0.1


def make(making: Making) -> nn.Module:
    """A generator turns the loss's gradient into a perturbation; classifier and generator learn in turn."""
    net = small()
    generator = nn.Sequential(nn.Conv2d(2, 12, 3, 1, 1), nn.ReLU(), nn.Conv2d(12, 1, 3, 1, 1), nn.Tanh())
    optimiser = torch.optim.Adam(generator.parameters(), 3e-3)

    def loss(x: Tensor, y: Tensor, _: float) -> Tensor:
        slope = gradient(net, x, y)
        slope = slope / slope.flatten(1).abs().amax(1).clamp_min(1e-12).view(-1, 1, 1, 1)
        examples = (x + EPS * generator(torch.cat([x, slope], 1))).clamp(0, 1)
        gain = -F.cross_entropy(net(examples), y)
        optimiser.zero_grad()
        gain.backward()
        optimiser.step()
        return F.cross_entropy(net(torch.cat([x, examples.detach()])), torch.cat([y, y]))

    fit(making, loss, net.parameters(), epochs=5)
    return net


NETS = (
    Entry(
        name="generative-at",
        defense="generative adversarial training",
        source="Lee, Han, Lee 2017, Generative Adversarial Trainer: Defense to Adversarial Perturbations with GAN",
        claim="more robust than training on single steps, and regularised",
        verdict="falls, or loses most, to many-step attacks",
        make=make,
    ),
)
