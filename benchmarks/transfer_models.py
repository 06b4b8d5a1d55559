"""Classifiers of Fashion-MNIST of four kinds, trained for the benchmark of transfer attacks, and kept in a folder.

They take images of three channels, of which they see the mean: implementations that are made for colour run unchanged.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from train_demo import read_split

from robaudit.target.head.scores import Kind

__all__ = ["Grey", "InMemory", "bodies", "images", "trained"]

EPOCHS, BATCH, RATE = 3, 128, 3e-3


def _conv(inner: int, outer: int, stride: int = 1, size: int = 3, groups: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(inner, outer, size, stride, size // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outer), nn.ReLU())


class _Residual(nn.Module):
    def __init__(self, inner: int, outer: int, stride: int) -> None:
        super().__init__()
        self.first = _conv(inner, outer, stride)
        self.second = nn.Sequential(nn.Conv2d(outer, outer, 3, 1, 1, bias=False), nn.BatchNorm2d(outer))
        same = inner == outer and stride == 1
        self.way = nn.Identity() if same else nn.Conv2d(inner, outer, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.second(self.first(x)) + self.way(x))


def bodies() -> dict[str, nn.Module]:
    pool, flat = nn.MaxPool2d(2), nn.Flatten()
    spread = nn.AdaptiveAvgPool2d(1)
    return {
        "vgg": nn.Sequential(
            *(_conv(1, 16), _conv(16, 16), pool, _conv(16, 32), _conv(32, 32), pool),
            *(flat, nn.Linear(32 * 49, 64), nn.ReLU(), nn.Linear(64, 10)),
        ),
        "resnet": nn.Sequential(
            *(_conv(1, 16), _Residual(16, 16, 1), _Residual(16, 32, 2), _Residual(32, 64, 2)),
            *(spread, flat, nn.Linear(64, 10)),
        ),
        "separable": nn.Sequential(
            *(_conv(1, 24, 2, 5), _conv(24, 24, 1, 5, 24), _conv(24, 48, size=1)),
            *(_conv(48, 48, 2, 5, 48), _conv(48, 96, size=1), _conv(96, 96, 1, 3, 96), _conv(96, 96, size=1)),
            *(spread, flat, nn.Linear(96, 10)),
        ),
        "strided": nn.Sequential(
            *(nn.Conv2d(1, 16, 4, 2, 1), nn.Tanh(), nn.Conv2d(16, 32, 4, 2, 1), nn.Tanh()),
            *(flat, nn.Linear(32 * 49, 100), nn.Tanh(), nn.Linear(100, 10)),
        ),
    }


class Grey(nn.Module):
    """The mean of the channels, then a body of its own."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, u: Tensor) -> Tensor:
        return self.body(u.mean(1, keepdim=True))


def images(folder: Path, split: str) -> tuple[Tensor, Tensor]:
    """[N, 1, 28, 28] uint8 and [N] int64 of the split ``train`` or ``t10k``."""
    x, y = read_split(folder, split)
    return torch.from_numpy(x.copy())[:, None], torch.from_numpy(y)


def trained(data: Path, kept: Path, seed: int = 0, names: Collection[str] | None = None) -> dict[str, nn.Module]:
    """The models by name, all or those named, trained where ``kept`` does not hold them."""
    kept.mkdir(parents=True, exist_ok=True)
    found = {}
    for name, body in bodies().items():
        if names is not None and name not in names:
            continue
        path = kept / f"{name}.pt"
        if not path.exists():
            torch.save(_train(name, body, *images(data, "train"), seed).state_dict(), path)
        body.load_state_dict(torch.load(path, weights_only=True))
        found[name] = Grey(body).eval().requires_grad_(False)
    return found


def _train(name: str, body: nn.Module, x: Tensor, y: Tensor, seed: int) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    for layer in body.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.reset_parameters()
    steps = EPOCHS * math.ceil(len(x) / BATCH)
    optimiser = torch.optim.Adam(body.parameters(), RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, steps)
    body.train()
    for epoch in range(EPOCHS):
        for rows in torch.randperm(len(x), generator=generator).split(BATCH):
            loss = F.cross_entropy(body(x[rows].float() / 255), y[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
        print(f"{name}: epoch {epoch + 1} of {EPOCHS}, loss {float(loss):.3f}", flush=True)
    return body.eval()


class InMemory:
    """A module as the engine's file and as a surrogate; counts the rows that gradients are taken of."""

    score_kind: Kind = "logits"
    repeats_itself = True
    whole = False
    device, dtype = torch.device("cpu"), torch.float32

    def __init__(self, module: nn.Module, classes: int, shape: tuple[int, ...]) -> None:
        self.module, self.num_classes, self.shape = module, classes, shape
        self.gradients = 0

    def logits(self, u: Tensor) -> Tensor:
        self.gradients += u.shape[0] if u.requires_grad else 0
        return self.module(u)

    def scores(self, u: Tensor, *, alone: bool = False) -> Tensor:
        with torch.no_grad():
            return self.module(u)

    def answered(self, u: Tensor) -> Tensor:
        return self.scores(u)

    def as_input(self, u: Tensor) -> Tensor:
        return u

    def snap(self, u: Tensor, origin: Tensor) -> Tensor:
        return u
