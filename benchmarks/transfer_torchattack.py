"""Transfer attacks of torchattack, run on models of our own; torchattacks is another package.

It imports torchvision to prepare images of ImageNet, which none of these attacks does; `transfer_peers` stands in
for it.
"""

from __future__ import annotations

import importlib
import sys
import types
from typing import Any

import torch
from torch import Tensor, nn
from transfer_peers import Peer, stand_ins

__all__ = ["torchattack_peer"]


def torchattack_peer(name: str, **parameters: Any) -> Peer:
    """One of its attacks by its class, with its own ten steps of a tenth of eps."""
    stand_ins()
    functional: Any = types.ModuleType("torchvision.transforms.functional")
    functional.InterpolationMode = types.SimpleNamespace(BILINEAR="bilinear")
    sys.modules.setdefault(functional.__name__, functional)

    def run(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
        kind = getattr(importlib.import_module("torchattack"), name)
        points: Tensor = kind(model, device=torch.device("cpu"), eps=eps, **parameters)(x, y)
        return points

    return run
