"""Shared by the benchmarks: the real model and images of the tables, and counting."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from robaudit.attacks.base import SlotAttack, StartingPool
from robaudit.attacks.requests import TRUE, How
from robaudit.audit.plan.attacks import TargetTraits
from robaudit.engine.engine import Engine
from robaudit.engine.job import Job
from robaudit.engine.models import AuditedFile
from robaudit.engine.oracle import Oracle
from robaudit.engine.units import Sample, UnitResult, best_of, plan_units
from robaudit.target.inputs.spec import SpecOverrides
from robaudit.target.load import open_target
from robaudit.target.reading.measured import measure
from robaudit.target.running.smooth import Smooth
from robaudit.target.target import Target, ready
from robaudit.threat.model import ThreatModel

MODELS = Path(__file__).parents[2] / "shared" / "models"
DEMO = Path(__file__).parents[1] / "robaudit" / "demo"
CIFAR = {"mean": "0.4914,0.4822,0.4465", "std": "0.2471,0.2435,0.2616"}


def resnet_2b(models: Path = MODELS) -> tuple[Target, Tensor, Tensor]:
    """The CIFAR ResNet-2B, PGD-trained at 2/255, with the 300 test images [300, 3, 32, 32] and labels."""
    target = open_target(models / "resnet_2b.onnx", overrides=SpecOverrides(CIFAR, {}), device="cpu")
    with np.load(models / "cifar10_test300.npz") as archive:
        x = torch.from_numpy(archive["x"]).float() / 255
        y = torch.from_numpy(archive["y"]).long()
    target = ready(measure(target, x[:8]))
    return target, x, y


def lenet5(models: Path = MODELS, count: int = 200, kind: str = "adv") -> tuple[Target, Tensor, Tensor]:
    """The PGD-trained MNIST LeNet-5 (``cln``: the plain one) with test images [count, 1, 28, 28] and labels."""
    target = open_target(
        models / f"mnist_lenet5_{kind}.onnx", overrides=SpecOverrides({"scale": 1.0}, {}), device="cpu"
    )
    with np.load(models / "mnist_t10k.npz") as archive:
        x = torch.from_numpy(archive["x"][:count, None]).float() / 255
        y = torch.from_numpy(archive["y"][:count]).long()
    target = ready(measure(target, x[:8]))
    return target, x, y


def fashion(kind: str = "robust") -> tuple[Target, Tensor, Tensor]:
    """The bundled robust (or ``clean``) Fashion-MNIST model with its 500 test images [500, 1, 28, 28] and labels."""
    target = open_target(DEMO / f"fashion_{kind}.onnx", overrides=SpecOverrides({"scale": 1.0}, {}), device="cpu")
    with np.load(DEMO / "fashion_test500.npz") as archive:
        x = torch.from_numpy(archive["x"][:, None]).float() / 255
        y = torch.from_numpy(archive["y"]).long()
    target = ready(measure(target, x[:8]))
    return target, x, y


def correct_samples(target: Target, x: Tensor, y: Tensor) -> list[Sample]:
    """The samples that the file classifies correctly, as the engine takes them."""
    scores = target.scores(x)
    return [
        Sample(i, x[i].numpy(), int(y[i]), scores[i].numpy(), hashlib.sha256(x[i].numpy().tobytes()).hexdigest())
        for i in range(len(x))
        if int(scores[i].argmax()) == int(y[i])
    ]


def traits(target: Target) -> TargetTraits:
    """What decides which attacks of a profile can run."""
    why = None if target.gradient.available else target.gradient.reason
    return TargetTraits(target.num_classes, target.spec.shape, no_gradient=why, unsmooth=target.unsmooth)


def empty_pool(x: Tensor) -> StartingPool:
    """No starting points."""
    return StartingPool(x[:0], torch.zeros(0, dtype=torch.int64))


def attacked(
    target: Target,
    attack: SlotAttack[Any],
    threat: ThreatModel,
    samples: dict[int, Sample],
    *,
    batch: int = 64,
    seed: int = 0,
    pool: StartingPool | None = None,
    model: AuditedFile | None = None,
    how: How = TRUE,
    key: str | None = None,
) -> dict[int, UnitResult]:
    """Each sample's result of an attack, by its index; ``model`` is searched in the target's place.

    ``key`` names it among others of its kind, as it keys the random numbers.
    """
    found: dict[int, list[UnitResult]] = {}
    pool = pool or empty_pool(torch.empty(1, *target.spec.shape))
    engine = Engine(Oracle(model or target), batch, seed, pool)
    units = tuple(plan_units(attack, threat.goal, list(samples), target.num_classes))
    job = Job(attack, threat, units, key or attack.id, how)
    engine.run(job, samples.__getitem__, lambda result: found.setdefault(result.unit.sample, []).append(result))
    return {index: best_of(results, minimal=threat.minimal) for index, results in found.items()}


class Counter(nn.Module):
    """The target as a module, or as the engine's model, that counts rows: forwards, and each backward to the input."""

    def __init__(self, target: Target) -> None:
        super().__init__()
        self.target = target
        self.forwards = self.backwards = 0

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(self.target, name)

    def logits(self, u: Tensor) -> Tensor:
        """[N, *shape] in u-space to logits."""
        return self.target.logits(self._counted(u))

    forward = logits

    def smoothly(self, u: Tensor, smooth: Smooth) -> Tensor:
        """The same with a smooth backward."""
        return self.target.smoothly(self._counted(u), smooth)

    def _counted(self, u: Tensor) -> Tensor:
        self.forwards += u.shape[0]
        u = u.view_as(u)
        if u.requires_grad:
            u.register_hook(self._backward)
        return u

    def scores(self, u: Tensor, *, alone: bool = False) -> Tensor:
        """[N, *shape] in u-space to the file's scores."""
        self.forwards += 0 if alone else u.shape[0]  # alone asks the judge, which is no attack's cost
        return self.target.scores(u, alone=alone)

    def _backward(self, gradient: Tensor) -> None:
        self.backwards += gradient.shape[0]

    @property
    def equivalents(self) -> int:
        """Forward-equivalents: a backward counts 2."""
        return self.forwards + 2 * self.backwards
