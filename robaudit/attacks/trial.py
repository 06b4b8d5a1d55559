"""Adaptive allocation: a trial for every sample, then more where it tells that more may help."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["given_up"]


def given_up(trial: int | None, within: float, asked: Tensor, left: Tensor, reached: float = 0.0) -> Tensor:
    """[S] bool: the trial is over, and too much is left for more queries to help.

    What may be left falls from ``within`` at the end of the trial towards ``reached``, with the cube root of the
    queries.

    Args:
        trial: queries for every sample; None: nothing is ever given up.
        within: the most that may be left at the end of the trial.
        asked: [S] int64 queries so far.
        left: [S] how far a success is, such as the share of the clean margin that is left.
        reached: what is left of it at a success.
    """
    if trial is None:
        return torch.zeros_like(asked, dtype=torch.bool)
    due = trial / asked.clamp_min(1)
    return (due <= 1) & (left > reached + (within - reached) * due ** (1 / 3))
