"""Shared by the benchmarks: the real model and images of the tables, and counting."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from robaudit.attacks.base import StartingPool
from robaudit.engine.units import Sample
from robaudit.target.load import load_target
from robaudit.target.spec import SpecOverrides
from robaudit.target.target import Target

MODELS = Path(__file__).parents[2] / "shared" / "models"
CIFAR = {"mean": "0.4914,0.4822,0.4465", "std": "0.2471,0.2435,0.2616"}


def resnet_2b(models: Path = MODELS) -> tuple[Target, Tensor, Tensor]:
    """The CIFAR ResNet-2B, PGD-trained at 2/255, with the 300 test images [300, 3, 32, 32] and labels."""
    target = load_target(models / "resnet_2b.onnx", overrides=SpecOverrides(CIFAR, {}), device="cpu")
    with np.load(models / "cifar10_test300.npz") as archive:
        x = torch.from_numpy(archive["x"]).float() / 255
        y = torch.from_numpy(archive["y"]).long()
    target.measure(x[:8])
    target.calibrate()
    return target, x, y


def lenet5(models: Path = MODELS, count: int = 200) -> tuple[Target, Tensor, Tensor]:
    """The PGD-trained MNIST LeNet-5 with test images [count, 1, 28, 28] and labels."""
    target = load_target(models / "mnist_lenet5_adv.onnx", overrides=SpecOverrides({"scale": 1.0}, {}), device="cpu")
    with np.load(models / "mnist_t10k.npz") as archive:
        x = torch.from_numpy(archive["x"][:count, None]).float() / 255
        y = torch.from_numpy(archive["y"][:count]).long()
    target.measure(x[:8])
    target.calibrate()
    return target, x, y


def correct_samples(target: Target, x: Tensor, y: Tensor) -> list[Sample]:
    """The samples that the file classifies correctly, as the engine takes them."""
    scores = target.scores(x)
    return [
        Sample(i, x[i].numpy(), int(y[i]), scores[i].numpy(), hashlib.sha256(x[i].numpy().tobytes()).hexdigest())
        for i in range(len(x))
        if int(scores[i].argmax()) == int(y[i])
    ]


def empty_pool(x: Tensor) -> StartingPool:
    """No starting points."""
    return StartingPool(x[:0], torch.zeros(0, dtype=torch.int64))


class Counter(nn.Module):
    """The twin as a module that counts rows: forwards, and those with a backward."""

    def __init__(self, target: Target) -> None:
        super().__init__()
        self.target = target
        self.forwards = self.backwards = 0

    def forward(self, u: Tensor) -> Tensor:
        """[N, *shape] in u-space to logits."""
        self.forwards += u.shape[0]
        self.backwards += u.shape[0] * int(u.requires_grad)
        return self.target.logits(u)

    @property
    def equivalents(self) -> int:
        """Forward-equivalents: a backward counts 2."""
        return self.forwards + 2 * self.backwards
