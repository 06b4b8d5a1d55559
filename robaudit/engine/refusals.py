"""Inputs that a model refuses: what is raised, and how often it was."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import torch

from robaudit.errors import RobauditError, reason
from robaudit.target.files.torchscript.failures import SCRIPT_ERROR

__all__ = ["REFUSALS", "Refusals", "out_of_memory"]

REFUSALS = (RobauditError, SCRIPT_ERROR, RuntimeError, ValueError, ArithmeticError, LookupError, MemoryError)
"""What files, twins and runtimes raise for an input."""


@dataclass
class Refusals:
    """What the models refused: evaluations that raised, each of which is an answer that names no class.

    Args:
        last: why, in the step at work; None: nothing was refused in it.
        doing: what the models are asked for.
        counts: evaluations refused, by what they were for; ``why``: the reason of the last of them.
    """

    last: str | None = None
    doing: str = ""
    counts: Counter[str] = field(default_factory=Counter)
    why: str = ""

    def add(self, error: Exception) -> None:
        """One more."""
        self.last = self.why = reason(error)
        self.counts[self.doing] += 1


def out_of_memory(error: Exception) -> bool:
    """CUDA has a type for it; the CPU's allocator raises a plain RuntimeError."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)
