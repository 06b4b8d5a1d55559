"""Linear models some of whose classes move together, so that the likeliest rival of a class has no slope."""

from __future__ import annotations

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
