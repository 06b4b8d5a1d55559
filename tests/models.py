"""Small models that stand in for a loaded file, and helpers to run attacks on them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from robaudit.attacks.base import SlotAttack, StartingPool
from robaudit.attacks.requests import TRUE, How
from robaudit.engine.engine import Engine
from robaudit.engine.guarding import Guarding
from robaudit.engine.job import Job
from robaudit.engine.oracle import Oracle
from robaudit.engine.units import Sample, UnitResult, best_of, plan_units
from robaudit.threat.model import ThreatModel
from robaudit.threat.norms import Norm
from robaudit.threat.service import FILE, Service


@dataclass
class FakeFile:
    """A torch module that is its own shipped file. Counts the rows that each way of asking has seen."""

    module: nn.Module
    num_classes: int
    shape: tuple[int, ...]
    dtype: torch.dtype = torch.float64
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    forward_rows: int = 0
    score_rows: int = 0
    score_kind: str = "logits"
    repeats_itself: bool = True
    whole: bool = False

    def __post_init__(self) -> None:
        self.module = self.module.to(self.dtype).eval()
        for parameter in self.module.parameters():
            parameter.requires_grad_(False)

    def logits(self, u: Tensor) -> Tensor:
        self.forward_rows += u.shape[0]
        return self.module(u)

    def scores(self, u: Tensor, *, alone: bool = False) -> Tensor:
        self.score_rows += u.shape[0]
        with torch.no_grad():
            return self.module(u)

    def answered(self, u: Tensor) -> Tensor:
        return self.scores(u)

    def as_input(self, u: Tensor) -> Tensor:
        return u

    def snap(self, u: Tensor, origin: Tensor) -> Tensor:
        return u


class Linear(nn.Module):
    """W u + b over the flattened sample."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(weight), nn.Parameter(bias)

    def forward(self, u: Tensor) -> Tensor:
        return u.flatten(1) @ self.weight.T + self.bias


def linear(shape: tuple[int, ...], classes: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> FakeFile:
    """A linear classifier with random weights, centred so that every class occurs."""
    generator = torch.Generator().manual_seed(seed)
    size = int(np.prod(shape))
    weight = torch.randn(classes, size, generator=generator, dtype=torch.float64)
    return FakeFile(Linear(weight, -weight.sum(1) / 2), classes, shape, dtype)


def boundary_model(shape: tuple[int, ...], seed: int = 0) -> FakeFile:
    """A two-class linear classifier: one boundary, so a white-box attack has nothing to choose."""
    generator = torch.Generator().manual_seed(seed)
    w = torch.randn(int(np.prod(shape)), generator=generator, dtype=torch.float64)
    weight = torch.stack([w, -w])
    return FakeFile(Linear(weight, -weight.sum(1) / 2), 2, shape)


def network(shape: tuple[int, ...], classes: int, seed: int = 0) -> FakeFile:
    """A smooth two-layer network in float64."""
    return _two_layers(nn.Tanh(), shape, classes, seed)


def rectified(shape: tuple[int, ...], classes: int, seed: int = 0) -> FakeFile:
    """A piecewise linear two-layer network in float64, whose boundaries many steps meet exactly."""
    return _two_layers(nn.ReLU(), shape, classes, seed)


def _two_layers(between: nn.Module, shape: tuple[int, ...], classes: int, seed: int) -> FakeFile:
    torch.manual_seed(seed)
    size = int(np.prod(shape))
    module = nn.Sequential(nn.Flatten(), nn.Linear(size, 32), between, nn.Linear(32, classes))
    with torch.no_grad():
        module[1].weight.mul_(4)
        module[3].bias.sub_(module(torch.full((1, *shape), 0.5))[0])
    return FakeFile(module, classes, shape)


class _Rounded(torch.autograd.Function):
    """Moves values, on their way back gradients, by a few units in the last place."""

    @staticmethod
    def forward(ctx, value: Tensor, generator: torch.Generator, forwards: bool) -> Tensor:
        ctx.generator, ctx.forwards = generator, forwards
        return _moved(value, generator) if forwards else value.clone()

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return gradient if ctx.forwards else _moved(gradient, ctx.generator), None, None


def _moved(value: Tensor, generator: torch.Generator) -> Tensor:
    noise = torch.randn(value.shape, generator=generator, dtype=torch.float64).to(value.dtype)
    return value * (1 + 4 * torch.finfo(value.dtype).eps * noise)


class Rounded(nn.Module):
    """A module as another processor would compute it: every logit and gradient differs in its last bits."""

    def __init__(self, inner: nn.Module, seed: int) -> None:
        super().__init__()
        self.inner, self.generator = inner, torch.Generator().manual_seed(seed)

    def forward(self, u: Tensor) -> Tensor:
        inner = self.inner(_Rounded.apply(u, self.generator, False))
        return _Rounded.apply(inner, self.generator, True)


def samples_for(
    target: FakeFile, count: int, seed: int = 1, order: list[int] | None = None, spread: float = 0.2
) -> list[Sample]:
    """Samples around the middle of the box, labelled by the model itself; of a large spread many lie in its corners."""
    generator = torch.Generator().manual_seed(seed)
    u = 0.5 + spread * torch.randn(count, *target.shape, generator=generator, dtype=torch.float64)
    edge = 0.05 if spread <= 0.2 else 0.0
    u = u.clamp(edge, 1 - edge).to(target.dtype)
    scores = target.scores(u)
    found = [
        Sample(
            index=i,
            u=u[i].numpy(),
            label=int(scores[i].argmax()),
            clean=scores[i].numpy(),
            digest=hashlib.sha256(u[i].numpy().tobytes()).hexdigest(),
        )
        for i in range(count)
    ]
    return [found[i] for i in order] if order else found


def closed_form(target: FakeFile, sample: Sample, norm: Norm) -> float:
    """Distance of a sample from a linear classifier's nearest boundary (the box left aside; L0 within it)."""
    weight, label = target.module.weight, sample.label
    z = torch.from_numpy(sample.clean)
    found = []
    for j in range(len(z)):
        if j == label:
            continue
        slope, gap = weight[j] - weight[label], float(z[label] - z[j])
        if norm is Norm.L0:
            u = torch.from_numpy(sample.u).flatten()
            gains = (slope.clamp_min(0) * (1 - u) - slope.clamp_max(0) * u).sort(descending=True).values.cumsum(0)
            found.append(float((gains <= gap).sum() + 1))
        else:
            dual = {Norm.LINF: 1, Norm.L2: 2, Norm.L1: float("inf")}[norm]
            found.append(gap / float(torch.linalg.vector_norm(slope, ord=dual)))
    return min(found)


def named(surrogates: FakeFile | Mapping[str, FakeFile] | None) -> Mapping[str, FakeFile]:
    """Surrogates by name; one alone is called ``surrogate``."""
    if surrogates is None or isinstance(surrogates, Mapping):
        return surrogates or {}
    return {"surrogate": surrogates}


def attack_all(
    target: FakeFile,
    attack: SlotAttack,
    threat: ThreatModel,
    samples: list[Sample],
    *,
    slots: int = 8,
    micro_batch: int = 64,
    seed: int = 0,
    surrogates: FakeFile | Mapping[str, FakeFile] | None = None,
    pool: bool = True,
    how: How = TRUE,
    artefact: Mapping[str, Tensor] | None = None,
    service: Service = FILE,
    guard: Guarding | None = None,
) -> dict[int, UnitResult]:
    """Run an attack over samples and return each one's result by its index."""
    by_index = {s.index: s for s in samples}
    ordered = sorted(samples, key=lambda s: s.digest) if pool else []
    starts = StartingPool(
        torch.stack([torch.from_numpy(s.u) for s in ordered]) if ordered else torch.zeros(0, *target.shape),
        torch.tensor([s.label for s in ordered], dtype=torch.int64),
    )
    engine = Engine(Oracle(target, named(surrogates), service, guard), slots, seed, starts, micro_batch=micro_batch)
    results: dict[int, list[UnitResult]] = {}
    units = tuple(plan_units(attack, threat.goal, [s.index for s in samples], target.num_classes))
    job = Job(attack, threat, units, attack.id, how, artefact=artefact or {})
    engine.run(job, by_index.__getitem__, lambda r: results.setdefault(r.unit.sample, []).append(r))
    return {index: best_of(found, minimal=threat.minimal) for index, found in results.items()}
