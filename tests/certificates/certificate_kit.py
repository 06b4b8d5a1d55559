"""Files, questions and balls for tests of certifiers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from target_kit import complete
from torch import Tensor

from robaudit.certificates.base import Ball, Proof, Question, Subject
from robaudit.certificates.interval import Interval
from robaudit.certificates.subject import subject_of
from robaudit.target.inputs.spec import SpecOverrides
from robaudit.target.load import open_target
from robaudit.target.target import Target
from robaudit.threat.norms import Norm


def target_of(path: Path, count: int = 8, seed: int = 3, **values: object) -> tuple[Target, Tensor]:
    """A target as an audit measures it, and points [count, *shape] float32."""
    target = open_target(path, overrides=SpecOverrides(values), device="cpu")
    generator = torch.Generator().manual_seed(seed)
    u = torch.rand(count, *target.spec.shape, generator=generator).to(target.dtype)
    target = complete(target, u)
    return target, u


def prove(subject: Subject, u: Tensor, label: int, norm: str, eps: float, fixed: tuple[int, ...] = ()) -> Proof:
    rivals = tuple(other for other in range(subject.classes) if other != label)
    return Interval().prove(subject, Question(u.double(), label, rivals), Ball(Norm(norm), eps, fixed))


def subject(path: Path, **values: object) -> tuple[Subject, Target, Tensor]:
    target, u = target_of(path, **values)
    return subject_of(target), target, u


def inside(
    u: Tensor, norm: str, eps: float, count: int, rng: np.random.Generator, fixed: tuple[int, ...] = ()
) -> Tensor:
    """[count, *shape] points of the ball and the box around u [*shape], most of them on its surface or at corners."""
    shape = (count, u.numel())
    d = rng.choice([-1.0, 1.0], shape) if norm == "linf" else rng.normal(size=shape)
    if norm == "l2":
        d /= np.linalg.norm(d, axis=1, keepdims=True) + 1e-30
    elif norm == "l1":
        d = d * (rng.random(shape) < 0.2)
        d /= np.abs(d).sum(1, keepdims=True) + 1e-30
    points = u.double().reshape(1, -1) + torch.from_numpy(d) * eps
    return points.clamp(0, 1).reshape(count, *u.shape).to(u.dtype)
