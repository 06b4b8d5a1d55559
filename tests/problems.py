"""Problems as an attack is handed them, without an engine around."""

from __future__ import annotations

import torch
from models import FakeFile

from robaudit.attacks.base import Problem, StartingPool
from robaudit.threat.model import ThreatModel
from robaudit.threat.norms import Norm
from robaudit.threat.random import key_of
from robaudit.threat.sets.features import FixedFeatures


def problem(
    norm: Norm,
    eps: float,
    count: int = 400,
    shape: tuple[int, ...] = (2, 3, 4),
    fixed: tuple[int, ...] = (),
    dtype: torch.dtype = torch.float64,
    middle: bool = False,
) -> Problem:
    """Random points of one norm, or the middle of the box, with nothing to aim at."""
    x = torch.rand(count, *shape, generator=torch.Generator().manual_seed(1), dtype=dtype)
    x = torch.full_like(x, 0.5) if middle else x
    integers = torch.zeros(count, dtype=torch.int64)
    return Problem(
        x=x,
        label=integers,
        goal=integers - 1,
        target_class=integers - 1,
        eps=torch.full((count,), eps, dtype=dtype),
        restart=integers,
        keys=torch.tensor([key_of("start", i) for i in range(count)]),
        clean=torch.zeros(count, 3, dtype=dtype),
        norm=norm,
        classes=3,
        max_points=8,
        pool=StartingPool(x[:0], integers[:0]),
        fixed=ThreatModel(norm, eps, sets=(FixedFeatures(fixed),)).mask(x),
    )


def problem_of(target: FakeFile, count: int, fixed: torch.Tensor | None = None) -> Problem:
    """Random points with a target's own answers as labels."""
    torch.manual_seed(3)
    x = torch.rand(count, *target.shape, dtype=target.dtype)
    clean = target.scores(x)
    nothing = torch.full((count,), -1)
    return Problem(
        x=x,
        label=clean.argmax(1),
        goal=nothing,
        target_class=nothing,
        eps=torch.full((count,), 0.1, dtype=target.dtype),
        restart=torch.zeros(count, dtype=torch.int64),
        keys=torch.arange(count),
        clean=clean,
        norm=Norm.L2,
        classes=target.num_classes,
        max_points=4,
        pool=StartingPool(x[:0], nothing[:0]),
        fixed=fixed,
    )
