"""The judge: a success counts only when the shipped file itself, given that input alone, is wrong on it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from torch import Tensor

from robaudit.engine.oracle import Oracle, Purpose
from robaudit.threat.goals import reached
from robaudit.threat.model import ThreatModel

__all__ = ["Judge", "Verdicts"]


@dataclass(frozen=True)
class Verdicts:
    """What the file says of candidates, [S] each.

    Args:
        success: fooled and admissible.
        fooled: the file's prediction reaches the goal.
        admissible: in the box and the threat model's ball, measured in float64.
        prediction: class predicted by the file; -1 where its answer names none.
        distance: float64, in units of the domain's width.
        points: the candidates as judged (on the grid of an integer input type).
    """

    success: Tensor
    fooled: Tensor
    admissible: Tensor
    prediction: Tensor
    distance: Tensor
    points: Tensor

    def replaced(self, rows: Tensor, other: Verdicts) -> Verdicts:
        """These verdicts, with the other's at ``rows`` [M] that fooled."""
        won = other.fooled.nonzero()[:, 0]
        fields = {f.name: (getattr(self, f.name), getattr(other, f.name)) for f in dataclasses.fields(self)}
        return Verdicts(**{n: a.index_copy(0, rows[won], b[won]) for n, (a, b) in fields.items()})


class Judge:
    """Judges candidates on the file.

    Args:
        oracle: asks the file, one input at a time: a point on the decision boundary may fool in a batch alone.
    """

    def __init__(self, oracle: Oracle) -> None:
        self._oracle = oracle

    def __call__(
        self,
        threat: ThreatModel,
        origin: Tensor,
        candidate: Tensor,
        label: Tensor,
        goal: Tensor,
        eps: Tensor,
    ) -> Verdicts:
        """Judge candidates.

        Args:
            threat: norm of the admissible set.
            origin: [S, *shape] unperturbed samples in u-space.
            candidate: [S, *shape].
            label: [S] reference classes.
            goal: [S] classes to reach, or -1.
            eps: [S] radius of each.
        """
        points = self._oracle.snap(candidate, origin)
        admissible, size = threat.admissible(origin, points, eps)
        reply = self._oracle.ask(points, Purpose.JUDGE, alone=True)
        prediction = reply.label.to(label.device)
        fooled = reached(prediction, label, goal, reply.rejected)
        return Verdicts(fooled & admissible, fooled, admissible, prediction, size, points)
