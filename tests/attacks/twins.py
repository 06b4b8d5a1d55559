"""Linear models some of whose classes move together, so that the likeliest rival of a class has no slope."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from models import FakeFile, Linear

from robaudit.engine.units import Sample

SHAPE = (1, 4, 4)
KINDS = {
    "none": (1, 0.0),
    "twin": (2, 0.0),
    "triple": (3, 0.0),
    "lower": (2, 1.0),
    "stairs": (5, 0.11),
    "crowd": (14, 0.0),
}
"""How often each class occurs, and by how much the bias of each copy is lower than the one before."""


class Copies(torch.nn.Module):
    """The classes of a model, followed by copies of all."""

    def __init__(self, inner: torch.nn.Module, count: int, fall: float) -> None:
        super().__init__()
        self.inner, self.count, self.fall = inner, count, fall

    def forward(self, u: torch.Tensor) -> torch.Tensor:
        z = self.inner(u)
        return torch.cat([z - i * self.fall for i in range(self.count)], 1)


def twins(
    kind: str, count: int = 8, dtype: torch.dtype = torch.float32, scale: float = 1.0, shift: float = 0.0
) -> tuple[FakeFile, list[Sample]]:
    """A model of three classes, each with its copies, and samples that it answers with the first of each."""
    rng = np.random.default_rng(1)
    weight = torch.tensor(rng.normal(size=(3, 16)))
    copies, fall = KINDS[kind]
    inner = Linear(weight * scale, -weight.sum(1) / 2 * scale + shift)
    target = FakeFile(Copies(inner, copies, fall * scale), 3 * copies, SHAPE, dtype)
    x = torch.tensor(rng.uniform(0.2, 0.8, size=(count, *SHAPE)), dtype=dtype)
    scores = target.scores(x)
    return target, [Sample(i, x[i].numpy(), int(z.argmax()), z.numpy(), str(i)) for i, z in enumerate(scores)]


NEAR = {
    "rounded": (1.0, 1e-4, 1e-3),
    "pruned": (1.0, 0.01, 0.1),
    "trained": (1.0, 0.05, 0.3),
    "scaled": (0.999, 0.0, 0.0),
    "biased": (0.999, 0.0, 1e-3),
}
"""Of each class's copy: the factor of its weights, what noise was added to them, by how much its bias is lower."""


def near_twins(kind: str, count: int = 8, scale: float = 1.0) -> tuple[FakeFile, list[Sample]]:
    """As :func:`twins`, with one copy of every class whose weights are nearly the same."""
    plain, samples = twins("none", count, scale=scale)
    factor, size, fall = NEAR[kind]
    weight, bias = (values.detach().double() for values in (plain.module.inner.weight, plain.module.inner.bias))
    noise = torch.randn(weight.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    copy = weight * factor + size * scale * noise
    both = Linear(torch.cat([weight, copy]), torch.cat([bias, bias * factor - fall * scale]))
    target = FakeFile(both, 6, SHAPE, torch.float32)
    scores = target.scores(torch.stack([torch.from_numpy(s.u) for s in samples]))
    return target, [
        dataclasses.replace(s, clean=z.numpy(), label=int(z.argmax())) for s, z in zip(samples, scores, strict=True)
    ]


def reachable(target: FakeFile, sample: Sample) -> bool:
    """Whether changing one feature to an end of its range changes the answer."""
    points = np.repeat(sample.u.reshape(1, -1), 2 * sample.u.size, 0)
    for i in range(sample.u.size):
        points[2 * i : 2 * i + 2, i] = 0, 1
    answers = target.scores(torch.from_numpy(points.reshape(-1, *SHAPE))).argmax(1)
    return bool((answers != sample.label).any())


def farthest_needed(target: FakeFile, sample: Sample, order: float) -> float:
    """Distance of the nearest other class of the three, the box left aside; ``order`` of the dual norm."""
    weight, z = target.module.inner.weight, torch.from_numpy(sample.clean)
    others = [c for c in range(3) if c != sample.label]
    return min(
        float((z[sample.label] - z[c]) / torch.linalg.vector_norm(weight[c] - weight[sample.label], ord=order))
        for c in others
    )
