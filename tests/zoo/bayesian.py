"""Adversarially trained Bayesian net: its weights are drawn at each query."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .entry import Entry, Making
from .random_nets import SelfEnsemble
from .training import fit, pgd

__all__ = ["NETS"]

EPS, PRIOR = 0.1, 0.1


class Drawn(nn.Module):
    """A normal weight of which each call draws a sample, shared by the batch."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.randn(shape) / math.sqrt(math.prod(shape[1:])))
        self.log_scale = nn.Parameter(torch.full(shape, math.log(0.02)))

    def forward(self) -> Tensor:
        return self.mean + self.log_scale.exp() * torch.randn_like(self.mean)

    def divergence(self) -> Tensor:
        """Kullback-Leibler divergence to the prior, whose scale is PRIOR."""
        ratio = (2 * self.log_scale).exp() + self.mean.pow(2)
        return (math.log(PRIOR) - self.log_scale + ratio / (2 * PRIOR**2) - 0.5).sum()


class Bayesian(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = Drawn(16, 1, 5, 5), Drawn(32, 16, 5, 5)
        self.hidden, self.head = Drawn(32, 32 * 49), Drawn(10, 32)
        self.biases = nn.ParameterList(torch.zeros(n) for n in (16, 32, 32, 10))

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(F.conv2d(x, self.conv1(), self.biases[0], 2, 2))
        x = F.relu(F.conv2d(x, self.conv2(), self.biases[1], 2, 2)).flatten(1)
        return F.linear(F.relu(F.linear(x, self.hidden(), self.biases[2])), self.head(), self.biases[3])

    def divergence(self) -> Tensor:
        return sum((m.divergence() for m in self.modules() if isinstance(m, Drawn)), torch.zeros(()))


def make(making: Making) -> nn.Module:
    net = Bayesian()
    weight = 0.05 / len(making.data.x)

    def loss(x: Tensor, y: Tensor, share: float) -> Tensor:
        examples = pgd(net, x, y, EPS * min(1.0, 3 * share), 3)
        return F.cross_entropy(net(examples), y) + weight * net.divergence()

    fit(making, loss, net.parameters(), epochs=6)
    return SelfEnsemble(net, 5)


NETS = (
    Entry(
        name="adv-bnn",
        defense="adversarially trained Bayesian net",
        source="Liu, Li, Wu, Hsieh 2019, Adv-BNN: Improved Adversarial Defense through Robust Bayesian Neural Network",
        claim="more robust than adversarial training or random self-ensembles alone",
        verdict="stochastic: expectation over draws lowers it; holds in part, as it is adversarially trained",
        make=make,
        random=True,
        twin="pgd-at",
        hides=("RandomNormalLike", "randn_like"),
        layer="the draw of the weights",
    ),
)
