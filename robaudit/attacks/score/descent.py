"""What descents on Carlini & Wagner's objective by scores share: Adam's state, the search of c, the nearest point."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from robaudit.attacks.base import Problem, SlotAttack, Slots, Stop
from robaudit.attacks.smallest import Smallest
from robaudit.attacks.whitebox.descent import Constant
from robaudit.threat.model import Access
from robaudit.threat.norms import Norm

__all__ = ["ADAM_EPSILON", "BETA1", "BETA2", "Descent", "ZerothOrder"]

BETA1, BETA2, ADAM_EPSILON = 0.9, 0.999, 1e-8


@dataclass
class Descent(Slots):
    """One slot's descent.

    Args:
        at: where it is: the point, or a coarse perturbation.
        first, second: Adam's moments, shaped as ``at``, of ``times`` steps of a slot or of a feature.
        c: the weight of the margin, and its search; ``won``: [S] bool, a point fooled since it was set.
        step: [S] with this c; ``draw`` numbers all steps.
        smallest: the nearest fooling point.
    """

    at: Tensor
    first: Tensor
    second: Tensor
    times: Tensor
    c: Constant
    won: Tensor
    step: Tensor
    draw: Tensor
    smallest: Smallest


class ZerothOrder(SlotAttack[Descent]):
    """Minimises |δ|² + c max(-margin, 0) by scores, in L2, and keeps the nearest point that fools."""

    access = Access.SCORES
    norms = frozenset({Norm.L2})
    stop = Stop.RUN_ON
    several = True

    def done(self, problem: Problem, state: Descent) -> Tensor:
        """Where a success lies in the ball; else the budget ends it."""
        return problem.settled(state.smallest.distance)

    def best(self, problem: Problem, state: Descent) -> tuple[Tensor, Tensor]:
        """The nearest fooling point."""
        return state.smallest.point, ~state.smallest.found
