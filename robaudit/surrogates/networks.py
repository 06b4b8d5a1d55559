"""Small networks by kind of input, whose answers to an input do not depend on what else is in the batch."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

__all__ = ["Fixed", "network_for", "scaled_to"]

WIDE = 40
"""Side above which an image is made smaller before anything else, as many times by two as it takes."""
SIGNAL = 128
"""Features from which a flat sample is taken for a signal and not a table."""
LONG = 256
"""Length above which a signal is made shorter before anything else, likewise."""


class _Centred(nn.Module):
    """u in [0, 1] around 0."""

    def forward(self, u: Tensor) -> Tensor:
        return (u - 0.5) * 4


class _Scaled(nn.Module):
    """Outputs in the unit of what they are to be, so that the layers before give numbers around 1."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("size", torch.ones(()))

    def forward(self, value: Tensor) -> Tensor:
        size: Tensor = self.size  # type: ignore[assignment]
        return value * size


def _halving(axes: int, inner: int, outer: int) -> list[nn.Module]:
    """Half the resolution, with the norm of each input by itself, unlike batch norm."""
    convolution = nn.Conv2d if axes == 2 else nn.Conv1d
    return [convolution(inner, outer, 3, stride=2, padding=1, bias=False), nn.GroupNorm(8, outer), nn.ReLU()]


def _convolutions(classes: int, shape: tuple[int, ...], width: int, most: int) -> list[nn.Module]:
    """Three convolutions and a linear layer, after as many halvings as an input longer than ``most`` takes.

    Shallow, as points found on a simpler model carry over better (Demontis et al. 2019, section 4).
    """
    channels, sizes, axes = shape[0], shape[1:], len(shape) - 1
    layers: list[nn.Module] = []
    while max(sizes) > most:
        # strided convolutions keep what plain averaging would lose
        layers += _halving(axes, channels, width)
        channels, sizes = width, tuple(-(-size // 2) for size in sizes)
    convolution = nn.Conv2d if axes == 2 else nn.Conv1d
    for outer, stride in ((width, 2), (2 * width, 1), (2 * width, 2)):
        layers += [convolution(channels, outer, 3, stride=stride, padding=1), nn.ReLU()]
        channels, sizes = outer, tuple(-(-size // stride) for size in sizes)
    return [*layers, nn.Flatten(), nn.Linear(channels * math.prod(sizes), classes)]


def _dense(classes: int, shape: tuple[int, ...], width: int) -> list[nn.Module]:
    hidden = 4 * width
    return [
        nn.Flatten(),
        nn.Linear(math.prod(shape), hidden),
        nn.ReLU(),
        nn.Linear(hidden, hidden),
        nn.ReLU(),
        nn.Linear(hidden, classes),
    ]


def network_for(classes: int, shape: tuple[int, ...], seed: int, width: int = 16) -> nn.Sequential:
    """A network with fresh weights that takes [N, *shape] in u-space, float32, to [N, K] logits.

    Images get convolutions, larger ones after strided ones; sequences with channels and long flat samples convolutions
    along their length; everything else is a table's row or treated as one.

    Args:
        classes: K.
        shape: of a sample.
        seed: of the weights.
        width: channels of the first layers, a multiple of 16.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if len(shape) == 3 and min(shape[1:]) >= 4:
            layers = _convolutions(classes, shape, width, WIDE)
        elif len(shape) == 2 and shape[1] >= 16:
            layers = _convolutions(classes, shape, width, LONG)
        elif len(shape) == 1 and shape[0] >= SIGNAL:
            layers = [nn.Unflatten(1, (1, shape[0])), *_convolutions(classes, (1, *shape), width, LONG)]
        else:
            layers = _dense(classes, shape, width)
        return nn.Sequential(_Centred(), *layers, _Scaled())


def scaled_to(network: nn.Sequential, size: float) -> nn.Sequential:
    """The network with outputs in a unit, the root mean square of what they are to be."""
    network[-1].load_state_dict({"size": torch.tensor(size)})
    return network


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
