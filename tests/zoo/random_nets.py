"""Nets whose answer is drawn: noise layers, activations pruned by chance, masked features."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .entry import Entry, Making
from .training import fit, plain, small
from .undefended import UNDEFENDED

__all__ = ["NETS"]


class Noise(nn.Module):
    """Adds normal noise."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        return x + self.scale * torch.randn_like(x)


class SelfEnsemble(nn.Module):
    """Mean probabilities of several draws, as logarithms."""

    def __init__(self, net: nn.Module, draws: int) -> None:
        super().__init__()
        self.net, self.draws = net, draws

    def forward(self, x: Tensor) -> Tensor:
        total = torch.stack([self.net(x).softmax(1) for _ in range(self.draws)]).mean(0)
        return total.clamp_min(1e-12).log()


def self_ensemble(making: Making) -> nn.Module:
    net = small()
    noisy = nn.Sequential(Noise(0.1), net.conv1, net.act1, Noise(0.1), *list(net.children())[2:])
    fit(making, lambda x, y, _: F.cross_entropy(noisy(x), y), noisy.parameters(), epochs=8)
    return SelfEnsemble(noisy, 5)


class Pruning(nn.Module):
    """Keeps each activation with a chance that grows with its share of the layer, and scales it up by that chance.

    The chance is 1 - (1 - p)^r, of being among r draws with replacement; draws of activations are independent here.
    """

    def __init__(self, draws: float = 1.0) -> None:
        super().__init__()
        self.draws = draws  # as a share of the layer's activations

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(1)
        size = flat.abs()
        p = size / size.sum(1, keepdim=True).clamp_min(1e-12)
        kept = 1 - (1 - p.clamp_max(1 - 1e-6)) ** (self.draws * math.prod(map(int, x.shape[1:])))
        chosen = torch.where(torch.rand_like(flat) < kept, flat / kept.clamp_min(1e-6), torch.zeros_like(flat))
        return chosen.reshape(x.shape)


def pruned(making: Making) -> nn.Module:
    """The undefended net itself: this defense needs no training."""
    net = copy.deepcopy(making.net(UNDEFENDED))
    for name in ("act1", "act2", "act3"):
        setattr(net, name, nn.Sequential(getattr(net, name), Pruning()))
    return net


class Mask(nn.Module):
    """Drops features, by a fixed mask or by one that is drawn at each call."""

    def __init__(self, shape: tuple[int, ...], keep: float, *, fixed: bool) -> None:
        super().__init__()
        self.keep, self.fixed = keep, fixed
        if fixed:
            self.register_buffer("mask", (torch.rand(1, *shape) < keep).float())

    def forward(self, x: Tensor) -> Tensor:
        if self.fixed:
            return x * self.mask
        return x * (torch.rand_like(x) < self.keep).to(x.dtype) / self.keep


def masked(*, fixed: bool) -> nn.Module:
    shapes = {1: (16, 14, 14), 2: (32, 7, 7)}
    return small(
        lambda layer: nn.ReLU() if layer == 3 else nn.Sequential(nn.ReLU(), Mask(shapes[layer], 0.5, fixed=fixed))
    )


MASKS = "Luo, Cai, Zhang, Chen, Wang 2018, Random Mask: Towards Robust Convolutional Neural Networks"
NETS = (
    Entry(
        name="rse",
        defense="random self-ensemble",
        source="Liu, Cheng, Zhang, Hsieh 2018, Towards Robust Neural Networks via Random Self-ensemble",
        claim="noise layers and an average over draws withstand strong gradient attacks",
        verdict="stochastic: expectation over draws lowers it",
        make=self_ensemble,
        random=True,
        hides=("RandomNormalLike", "randn_like"),
        layer="the noise in front of the convolutions",
    ),
    Entry(
        name="sap",
        defense="stochastic activation pruning",
        source="Dhillon, Azizzadenesheli, Lipton, Bernstein, Kossaifi, Khanna, Anandkumar 2018, Stochastic Activation "
        "Pruning for Robust Adversarial Defense",
        claim="a pretrained net withstands attacks by pruning its activations at random",
        verdict="falls to expectation over draws",
        make=pruned,
        masked=True,
        random=True,
        hides=("RandomUniformLike", "Less", "Where", "rand_like", "lt", "where"),
        layer="the pruning behind each activation",
    ),
    Entry(
        name="random-mask",
        defense="random mask, drawn at each query",
        source=f"{MASKS}, with masks drawn anew, as the survey groups it",
        claim="features from part of the places alone resist attacks",
        verdict="falls to expectation over draws",
        make=lambda making: plain(making, masked(fixed=False), epochs=8),
        random=True,
        hides=("RandomUniformLike", "Less", "Cast", "rand_like", "lt"),
        layer="the masks behind the first two activations",
    ),
    Entry(
        name="fixed-mask",
        defense="random mask, fixed before training",
        source=MASKS,
        claim="withstands black-box attacks better than any other, without adversarial training",
        verdict="falls; no check fails",
        make=lambda making: plain(making, masked(fixed=True)),
    ),
)
