"""What a careless evaluation of a net would print."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from .data import Data
from .entry import Entry
from .training import one_step, pgd

__all__ = ["accuracy", "figures"]


@torch.no_grad()
def accuracy(net: nn.Module, x: Tensor, y: Tensor) -> float:
    """Share of the images that one answer of the net gets right."""
    return float((net(x).argmax(1) == y).float().mean())


def figures(entry: Entry, net: nn.Module, data: Data) -> dict[str, float]:
    """Accuracy on the test images, clean and under plain attacks at the entry's eps.

    The gradient is autograd's, of the cross-entropy of the logits and of one draw where the net is random; nothing
    is done about gradients that vanish.
    """
    torch.manual_seed(1)
    x, y = data.test_x, data.test_y
    attacks: dict[str, Callable[[], Tensor]] = {
        "clean": lambda: x,
        "fgsm": lambda: one_step(net, x, y, entry.eps),
        "pgd20": lambda: pgd(net, x, y, entry.eps, 20),
    }
    return {name: round(accuracy(net, attack(), y), 4) for name, attack in attacks.items()}
