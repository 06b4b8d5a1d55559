"""What an attack may cost: the most evaluations of one unit, which estimates and progress read.

What the engine asks besides is billed but not estimated: the slopes of other rivals and of points beside, where a
gradient leads nowhere, and a few looks for a nearer rival, where the likeliest one is out of reach.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # what tells of progress reads this, and needs no torch
    from robaudit.threat.norms import Norm

__all__ = ["Cost", "Task"]


@dataclass(frozen=True)
class Task:
    """What a unit of an attack, (sample, restart, aim), is about, as far as that decides its cost.

    Args:
        norm: of the threat model.
        eps: radius, the largest where there are several.
        classes: of the model.
        features: of a sample.
        targeted: a certain class is to be reached.
        minimal: the smallest distance is sought, so that a success in the ball ends nothing.
    """

    norm: Norm
    eps: float
    classes: int
    features: int
    targeted: bool = False
    minimal: bool = False


@dataclass(frozen=True)
class Cost:
    """Evaluations of single inputs, as the engine counts them; what the judge is shown is billed apart."""

    forwards: int = 0
    backwards: int = 0
    queries: int = 0

    @classmethod
    def gradients(cls, count: int) -> Cost:
        """So many gradients, a forward and a backward each."""
        return cls(count, count)

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.forwards + other.forwards, self.backwards + other.backwards, self.queries + other.queries)

    def __mul__(self, times: int) -> Cost:
        return Cost(self.forwards * times, self.backwards * times, self.queries * times)
