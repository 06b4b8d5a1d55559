"""Classes that an attack aims at."""

from __future__ import annotations

import torch
from torch import Tensor

from robaudit.attacks.base import Problem
from robaudit.threat.masked import is_masked

__all__ = ["least_likely"]


def least_likely(problem: Problem) -> Tensor:
    """[S] int64: a targeted audit's class; else that of the lowest clean score, never the label.

    A class that is masked cannot be reached; it is aimed at only where all others are.
    """
    last = torch.finfo(problem.clean.dtype).max
    scores = problem.clean.masked_fill(is_masked(problem.clean), last)
    scores = scores.scatter(1, problem.label[:, None], float("inf"))
    return torch.where(problem.goal >= 0, problem.goal, scores.argmin(1))
