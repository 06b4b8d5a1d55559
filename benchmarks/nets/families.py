"""The architectures, without weights."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from tests.zoo.kwta import Winners
from tests.zoo.training import small

from .entry import Net

__all__ = ["untrained"]


class Capped(nn.Module):
    """A steep ReLU6: most activations lie at one of its two ends, where the slope is zero."""

    def forward(self, x: Tensor) -> Tensor:
        return (8 * x).clamp(0, 6)


class Block(nn.Module):
    """Two convolutions beside a shortcut (He et al. 2016), without batch normalisation."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride, 1)
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1)
        self.shortcut = nn.Conv2d(before, after, 1, stride) if (before, stride) != (after, 1) else nn.Identity()
        nn.init.zeros_(self.conv2.weight)  # begins as the shortcut, which stands in for the normalisation

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.shortcut(x) + self.conv2(torch.relu(self.conv1(x))))


class Attention(nn.Module):
    """Self-attention of several heads over [N, T, D]."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.three, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        tokens, width = int(x.shape[1]), int(x.shape[2])
        q, k, v = self.three(x).reshape(-1, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        weights = (q @ k.transpose(2, 3) * math.sqrt(self.heads / width)).softmax(3)
        return self.out((weights @ v).transpose(1, 2).reshape(-1, tokens, width))


class Transformer(nn.Module):
    """Blocks of attention over patches (Dosovitskiy et al. 2021), with the mean of the tokens as their answer."""

    def __init__(self, *, channels: int, side: int, classes: int, patch: int = 7, width: int = 32) -> None:
        super().__init__()
        self.patches = nn.Conv2d(channels, width, patch, patch)
        self.places = nn.Parameter(0.02 * torch.randn(1, (side // patch) ** 2, width))
        self.blocks = nn.ModuleList(
            nn.ModuleList([nn.LayerNorm(width), Attention(width, 4), nn.LayerNorm(width), _mixed(width)])
            for _ in range(2)
        )
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2) + self.places
        for first, attention, second, mixed in self.blocks:  # type: ignore[misc]
            x = x + attention(first(x))
            x = x + mixed(second(x))
        return self.head(self.norm(x).mean(1))


def _mixed(width: int) -> nn.Module:
    return nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))


def untrained(net: Net, shape: tuple[int, ...]) -> nn.Module:
    """The module of a net, from inputs [N, *shape] in [0, 1] to logits."""
    classes = net.classes
    if net.family == "dense":
        width = 96 if math.prod(shape) > 100 else 48
        layers = [nn.Linear(math.prod(shape), width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()]
        return nn.Sequential(*([nn.Flatten()] if len(shape) > 1 else []), *layers, nn.Linear(width, classes))
    if net.family == "deep":  # as the nets of verification benchmarks are
        hidden = [nn.Sequential(nn.Linear(256, 256), nn.ReLU()) for _ in range(5)]
        return nn.Sequential(
            *(nn.Flatten(), nn.Linear(math.prod(shape), 256), nn.ReLU()), *hidden, nn.Linear(256, classes)
        )
    if net.family == "conv":
        acts = {"kwta": lambda layer: Winners(0.2 if layer == 3 else 0.08), "capped": lambda _: Capped()}
        made = small(acts.get(net.training, lambda _: nn.ReLU()), channels=shape[0])
        if classes != 10:
            made.head = nn.Linear(32, classes)
        return made
    if net.family == "residual":
        pool = shape[1] // 8
        return nn.Sequential(
            *(nn.Conv2d(shape[0], 8, 5, 2, 2), nn.ReLU(), Block(8, 8, 1), Block(8, 16, 2), Block(16, 16, 1)),
            *(nn.AvgPool2d(pool), nn.Flatten(), nn.Linear(16 * (shape[1] // 4 // pool) ** 2, classes)),
        )
    return Transformer(channels=shape[0], side=shape[1], classes=classes)
