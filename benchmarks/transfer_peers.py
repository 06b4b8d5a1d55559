"""Transfer attacks of TransferAttack and torchattacks, run on models of our own.

TransferAttack is no package: its folder is given. What it imports to load ImageNet models is stood in for, and so is
the one function of torchvision that BSR needs, a rotation.
"""

from __future__ import annotations

import importlib
import random
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["Peer", "stand_ins", "torchattack", "transferattack"]

Peer = Callable[[nn.Module, Tensor, Tensor, float], Tensor]
"""(model, x, label, eps) -> points."""

HERE = "transferattack"
PARTS = {
    "mi": "gradient.mifgsm:MIFGSM",
    "ni": "gradient.nifgsm:NIFGSM",
    "vmi": "gradient.vmifgsm:VMIFGSM",
    "vni": "gradient.vnifgsm:VNIFGSM",
    "mef": "gradient.mef:MEF",
    "di": "input_transformation.dim:DIM",
    "ti": "input_transformation.tim:TIM",
    "si": "input_transformation.sim:SIM",
    "admix": "input_transformation.admix:Admix",
    "sia": "input_transformation.sia:SIA",
    "bsr": "input_transformation.bsr:BSR",
}


class RandomRotation:
    """As torchvision's, of tensors: one angle for the batch, bilinear, 0 beyond the edges."""

    def __init__(self, degrees: tuple[float, float], interpolation: str) -> None:
        self.degrees = degrees

    def __call__(self, x: Tensor) -> Tensor:
        angle = np.deg2rad(random.uniform(*self.degrees))
        cos, sin = float(np.cos(angle)), float(np.sin(angle))
        height, width = x.shape[2:]
        matrix = torch.tensor([[cos, sin * height / max(width, 1), 0], [-sin * width / max(height, 1), cos, 0]])
        grid = F.affine_grid(matrix.expand(len(x), 2, 3), list(x.shape), align_corners=False)
        return F.grid_sample(x, grid, "bilinear", "zeros", align_corners=False)


def stand_ins() -> None:
    """Modules that it imports and that the attacks do not use, or barely."""
    transforms: Any = types.ModuleType("torchvision.transforms")
    transforms.RandomRotation = RandomRotation
    transforms.InterpolationMode = types.SimpleNamespace(BILINEAR="bilinear")
    models, vision, pandas = (types.ModuleType(n) for n in ("torchvision.models", "torchvision", "pandas"))
    whole: Any = vision
    whole.transforms, whole.models = transforms, models
    stood = {"torchvision": vision, "torchvision.transforms": transforms, "torchvision.models": models}
    for name, module in (stood | {"pandas": pandas, "timm": types.ModuleType("timm")}).items():
        sys.modules.setdefault(name, module)


def transferattack(folder: Path, name: str, **parameters: Any) -> Peer:
    """One of its attacks by our name: ``bsr`` is on momentum there, as ``mi+bsr`` is here.

    Args:
        folder: that holds the folder ``transferattack``.
        name: such as ``mi+di+ti``; the first part is the base, unless it is ``mi``.
        parameters: of the attack.
    """
    stand_ins()
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    ids = name.split("+")
    if ids[0] == "mi" and len(ids) > 1:
        ids = ids[1:]
    bases = []
    for id in reversed(ids):  # the last part's methods first
        module, cls = PARTS[id].split(":")
        bases.append(getattr(importlib.import_module(f"{HERE}.{module}"), cls))
    own: dict[str, Any] = {}
    if len(bases) > 1:  # each part's own methods; smoothing and copies do not get in each other's way
        for base in reversed(bases):
            own |= {key: value for key, value in vars(base).items() if callable(value) and key != "__init__"}
    if ids == ["ni", "si"]:
        own["transform"] = _ahead_then_scaled
    kind = type("Composed", (bases[-1],), own)

    def run(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
        kind.load_model = lambda self, _: model
        step = {"alpha": eps / 10} if "step" not in parameters else {}
        attack = kind("", epsilon=eps, device=torch.device("cpu"), **step)
        for base in bases[:-1]:  # attributes that the other parts' constructors would have set
            other = base.__new__(base)
            base.load_model = lambda self, _: model
            other.__init__("", epsilon=eps, device=torch.device("cpu"), **step)
            for key, value in vars(other).items():
                if key not in vars(attack):
                    setattr(attack, key, value)
        for key, value in parameters.items():
            setattr(attack, key, value)
        return x + attack(x, y)

    return run


def _ahead_then_scaled(self: Any, x: Tensor, momentum: Any, **_: Any) -> Tensor:
    x = x + self.alpha * self.decay * momentum
    return torch.cat([x / 2**i for i in range(self.num_scale)])


def torchattack(name: str, **parameters: Any) -> Peer:
    """One of torchattacks by its class, with ten steps of a tenth of eps."""

    def run(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
        attack = getattr(importlib.import_module("torchattacks"), name)
        return attack(model, eps=eps, alpha=eps / 10, steps=10, **parameters)(x, y)

    return run
