"""Small networks by kind of input, whose answers to an input do not depend on what else is in the batch."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

__all__ = ["Fixed", "network_for"]

WIDE = 40
"""Side above which an image is made smaller before anything else, as many times by two as it takes."""
SIGNAL = 128
"""Features from which a flat sample is taken for a signal and not a table."""


class _Centred(nn.Module):
    """u in [0, 1] around 0."""

    def forward(self, u: Tensor) -> Tensor:
        return (u - 0.5) * 4


def _block(convolution: type[nn.Conv1d | nn.Conv2d], inner: int, outer: int, stride: int) -> list[nn.Module]:
    return [
        convolution(inner, outer, 3, stride=stride, padding=1, bias=False),
        nn.GroupNorm(8, outer),  # of each input by itself, unlike batch norm
        nn.ReLU(),
    ]


def _image(classes: int, shape: tuple[int, ...], width: int) -> nn.Module:
    channels, side = shape[0], max(shape[1:])
    layers: list[nn.Module] = [_Centred()]
    while side > WIDE:
        # strided convolutions keep what plain averaging would lose
        layers += _block(nn.Conv2d, channels, width // 2, 2)
        channels, side = width // 2, (side + 1) // 2
    layers += [
        *_block(nn.Conv2d, channels, width, 1),
        *_block(nn.Conv2d, width, 2 * width, 2),
        *_block(nn.Conv2d, 2 * width, 2 * width, 1),
        *_block(nn.Conv2d, 2 * width, 4 * width, 2),
        nn.AdaptiveAvgPool2d((4, 4)),
        nn.Flatten(),
        nn.Linear(64 * width, 4 * width),
        nn.ReLU(),
        nn.Linear(4 * width, classes),
    ]
    return nn.Sequential(*layers)


def _signal(classes: int, shape: tuple[int, ...], width: int) -> nn.Module:
    channels, length = (1, shape[0]) if len(shape) == 1 else shape
    layers: list[nn.Module] = [_Centred(), nn.Unflatten(1, (1, length)) if len(shape) == 1 else nn.Identity()]
    while length > 256:
        layers += _block(nn.Conv1d, channels, width, 2)
        channels, length = width, (length + 1) // 2
    layers += [
        *_block(nn.Conv1d, channels, 2 * width, 2),
        *_block(nn.Conv1d, 2 * width, 2 * width, 2),
        nn.AdaptiveAvgPool1d(8),
        nn.Flatten(),
        nn.Linear(16 * width, 4 * width),
        nn.ReLU(),
        nn.Linear(4 * width, classes),
    ]
    return nn.Sequential(*layers)


def _table(classes: int, shape: tuple[int, ...], width: int) -> nn.Module:
    hidden = 4 * width
    return nn.Sequential(
        _Centred(),
        nn.Flatten(),
        nn.Linear(math.prod(shape), hidden),
        nn.ReLU(),
        nn.Linear(hidden, hidden),
        nn.ReLU(),
        nn.Linear(hidden, classes),
    )


def network_for(classes: int, shape: tuple[int, ...], seed: int, width: int = 16) -> nn.Module:
    """A network with fresh weights that takes [N, *shape] in u-space, float32, to [N, K] logits.

    Images get convolutions, larger ones after strided ones; sequences with channels and long flat samples convolutions
    along their length; everything else is a table's row or treated as one.

    Args:
        classes: K.
        shape: of a sample.
        seed: of the weights.
        width: channels of the first layers, a multiple of 16.
    """
    image = len(shape) == 3 and min(shape[1:]) >= 4
    signal = (len(shape) == 1 and shape[0] >= SIGNAL) or (len(shape) == 2 and shape[1] >= 16)
    make = _image if image else _signal if signal else _table
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make(classes, shape, width)


class Fixed:
    """A network with given weights, as attacks ask it."""

    def __init__(self, network: nn.Module, weights: Mapping[str, Tensor]) -> None:
        network.load_state_dict(dict(weights))
        device = next(iter(weights.values())).device
        self._network = network.to(device).eval().requires_grad_(False)

    def logits(self, u: Tensor) -> Tensor:
        """[N, *shape] in u-space to [N, K], differentiable, in the type of ``u``."""
        logits: Tensor = self._network(u.float())
        return logits.to(u.dtype)
