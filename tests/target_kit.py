"""Targets as an audit uses them, points, and gradients held against differences."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from robaudit.target.inputs.spec import SpecOverrides
from robaudit.target.load import load_target
from robaudit.target.target import Target


def load(path: Path, **values: object) -> Target:
    return load_target(path, overrides=SpecOverrides(values), device="cpu")


def ready(path: Path, samples: int = 6, **values: object) -> tuple[Target, Tensor]:
    """A target as an audit uses it, and points."""
    target = load(path, **values)
    u = points(target, samples)
    target.measure(u)
    target.calibrate()
    return target, u


def points(target: Target, count: int = 6, seed: int = 3) -> Tensor:
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
