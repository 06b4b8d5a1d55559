"""Training and plain attacks that the families share."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .entry import Making

__all__ = ["fit", "gradient", "one_step", "pgd", "plain", "small"]

Loss = Callable[[Tensor, Tensor, float], Tensor]


def small(
    acts: Callable[[int], nn.Module] = lambda _: nn.ReLU(), *, channels: int = 1, extra: nn.Module | None = None
) -> nn.Sequential:
    """The zoo's convolutional net for images of 28 x 28; 64,000 parameters.

    Args:
        acts: the activation of layer 1, 2 or 3.
        channels: of the input.
        extra: stands behind the second activation, on [N, 32, 7, 7].
    """
    layers: list[tuple[str, nn.Module]] = [
        *(("conv1", nn.Conv2d(channels, 16, 5, 2, 2)), ("act1", acts(1))),
        *(("conv2", nn.Conv2d(16, 32, 5, 2, 2)), ("act2", acts(2))),
        *([] if extra is None else [("extra", extra)]),
        *(("flat", nn.Flatten()), ("hidden", nn.Linear(32 * 49, 32)), ("act3", acts(3)), ("head", nn.Linear(32, 10))),
    ]
    return nn.Sequential(OrderedDict(layers))


def fit(
    making: Making,
    loss: Loss,
    parameters: Iterable[nn.Parameter],
    *,
    epochs: int,
    rate: float = 3e-3,
    batch: int = 64,
    after: Callable[[], None] = lambda: None,
) -> None:
    """Minimise a loss by Adam; the rate rises over a tenth of the steps and falls along a cosine.

    Args:
        making: the data and effort.
        loss: of images [N, 1, H, W], labels [N], and the share of the steps that are done.
        parameters: what is trained.
        epochs: at full effort.
        rate: the highest learning rate.
        batch: images a step.
        after: called after each step.
    """
    optimiser = torch.optim.Adam(parameters, rate)
    x, y = making.data.x, making.data.y
    epochs = making.epochs(epochs)
    steps = epochs * math.ceil(len(x) / batch)
    done = 0
    for _ in range(epochs):
        for part in torch.randperm(len(x)).split(batch):
            share = done / steps
            for group in optimiser.param_groups:
                group["lr"] = rate * min(share / 0.1 + 0.02, 0.5 + 0.5 * math.cos(math.pi * share))
            value = loss(x[part], y[part], share)
            optimiser.zero_grad()
            value.backward()
            optimiser.step()
            after()
            done += 1


def plain(making: Making, model: nn.Module, *, epochs: int = 6) -> nn.Module:
    """The model, after training on clean images."""
    fit(making, lambda x, y, _: F.cross_entropy(model(x), y), model.parameters(), epochs=epochs)
    return model


def gradient(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """[N, 1, H, W] gradient of the cross-entropy as autograd gives it; 0 where there is none."""
    x = x.clone().requires_grad_()
    loss = F.cross_entropy(model(x), y, reduction="sum")
    if not loss.requires_grad:
        return torch.zeros_like(x)
    (slope,) = torch.autograd.grad(loss, x, allow_unused=True)
    return torch.zeros_like(x) if slope is None else slope


def one_step(model: nn.Module, x: Tensor, y: Tensor, eps: float, start: Tensor | None = None) -> Tensor:
    """[N, 1, H, W] examples by one step of the gradient's sign (FGSM), from x or a point near it.

    Args:
        model: to logits.
        x: images in [0, 1].
        y: labels.
        eps: length of the step.
        start: where the gradient is taken; None: at x.
    """
    point = x if start is None else start
    return (point + eps * gradient(model, point, y).sign()).clamp(0, 1).detach()


def pgd(
    model: nn.Module, x: Tensor, y: Tensor, eps: float, steps: int, *, rate: float = 2.5, descend: bool = False
) -> Tensor:
    """[N, 1, H, W] examples by projected gradient steps from a random start; the last iterate.

    Args:
        model: to logits.
        x: images in [0, 1].
        y: labels; the class to reach where it descends.
        eps: L-infinity radius.
        steps: how many.
        rate: all steps' lengths together, in eps.
        descend: lower the cross-entropy.
    """
    step = rate * eps / steps * (-1 if descend else 1)
    low, high = (x - eps).clamp(0, 1), (x + eps).clamp(0, 1)
    point = (x + eps * (2 * torch.rand_like(x) - 1)).clamp(0, 1)
    for _ in range(steps):
        point = point + step * gradient(model, point, y).sign()
        point = torch.minimum(torch.maximum(point, low), high)
    return point.detach()
