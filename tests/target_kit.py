"""Targets as an audit uses them, points, and gradients held against differences."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from robaudit.target.inputs.spec import SpecOverrides
from robaudit.target.load import open_target
from robaudit.target.reading.measured import measure
from robaudit.target.reading.opened import OpenedTarget
from robaudit.target.target import Target
from robaudit.target.target import ready as made_ready


def load(path: Path, **values: object) -> OpenedTarget:
    return open_target(path, overrides=SpecOverrides(values), device="cpu")


def complete(opened: OpenedTarget, u: Tensor) -> Target:
    """The target, measured on [N, *shape] samples."""
    return made_ready(measure(opened, u))


def ready(path: Path, samples: int = 6, **values: object) -> tuple[Target, Tensor]:
    """A target as an audit uses it, and points."""
    opened = load(path, **values)
    u = points(opened, samples)
    return complete(opened, u), u


def points(target: Target | OpenedTarget, count: int = 6, seed: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    u = torch.rand(count, *target.spec.shape, generator=generator, dtype=torch.float64)
    return ((u * 255).round() / 255).to(target.dtype)


def check_gradient(target: Target, u: Tensor, step: float = 1e-3, tolerance: float = 2e-2) -> None:
    """Directional derivatives of the logits against central differences of the file's scores."""
    u = u[:2].detach().requires_grad_()
    logits = target.logits(u)
    weights = torch.linspace(-1, 1, logits.shape[1], dtype=logits.dtype)
    (gradient,) = torch.autograd.grad((logits * weights).sum(), u)
    direction = gradient / gradient.flatten(1).norm(dim=1).reshape(-1, *([1] * (u.dim() - 1)))

    def value(at: Tensor) -> Tensor:
        scores = target.scores(at).double()
        if target.head.kind == "probabilities":
            scores = scores.log()
        return (scores * weights).sum(1)

    found = (value(u + step * direction) - value(u - step * direction)) / (2 * step)
    expected = (gradient * direction).flatten(1).sum(1)
    torch.testing.assert_close(found, expected.double(), rtol=tolerance, atol=1e-6)
