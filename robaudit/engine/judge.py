"""The judge: a success counts only when the shipped file itself, given that input alone, is wrong on it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor

from robaudit.engine.oracle import Oracle, Purpose
from robaudit.stats.chances import DRAWS, FIRST, JUDGED, few, mostly
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
        share: float64 share of the answers that fooled: of a random file of its draws, else 1 or 0.
    """

    success: Tensor
    fooled: Tensor
    admissible: Tensor
    prediction: Tensor
    distance: Tensor
    points: Tensor
    share: Tensor

    def replaced(self, rows: Tensor, other: Verdicts) -> Verdicts:
        """These verdicts, with the other's at ``rows`` [M] that fooled."""
        won = other.fooled.nonzero()[:, 0]
        fields = {f.name: (getattr(self, f.name), getattr(other, f.name)) for f in dataclasses.fields(self)}
        return Verdicts(**{n: a.index_copy(0, rows[won], b[won]) for n, (a, b) in fields.items()})


class Judge:
    """Judges candidates on the file.

    A random one is asked :data:`robaudit.stats.chances.DRAWS` times: a candidate fools where for sure most draws do.

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
        if self._oracle.is_random:
            fooled, prediction, share = self._by_draws(points, label, goal)
            return Verdicts(fooled & admissible, fooled, admissible, prediction, size, points, share)
        reply = self._oracle.ask(points, Purpose.JUDGE, alone=True)
        prediction = reply.label.to(label.device)
        fooled = reached(prediction, label, goal, reply.rejected)
        return Verdicts(fooled & admissible, fooled, admissible, prediction, size, points, fooled.double())

    def _by_draws(self, points: Tensor, label: Tensor, goal: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[S] each: whether most draws fool for sure, the class that most of those name, the share that fool.

        Where few of the first draws do, the others are not asked.
        """

        def wrong(part: Tensor, numbers: range) -> tuple[Tensor, Tensor]:
            drawn = self._oracle.draw(points[part], Purpose.JUDGE, numbers).drawn
            assert drawn is not None
            drawn = drawn.to(label.device)
            return drawn, reached(drawn, label[part, None], goal[part, None])

        every = torch.arange(len(points), device=label.device)
        drawn, hit = wrong(every, JUDGED[:FIRST])
        share = hit.double().mean(1)
        prediction = _commonest(drawn, hit)
        fooled = torch.zeros(len(points), dtype=torch.bool, device=label.device)
        rest = torch.tensor([not few(k) for k in hit.sum(1).tolist()], device=label.device).nonzero()[:, 0]
        if rest.numel():
            more, again = wrong(rest, JUDGED[FIRST:])
            drawn, hit = torch.cat([drawn[rest], more], 1), torch.cat([hit[rest], again], 1)
            share[rest] = hit.double().mean(1)
            prediction[rest] = _commonest(drawn, hit)
            fooled[rest] = torch.tensor([mostly(k, DRAWS) for k in hit.sum(1).tolist()], device=label.device)
        return fooled, prediction, share


def _commonest(drawn: Tensor, hit: Tensor) -> Tensor:
    """[S] the most common of classes drawn [S, M] among those that fool, or where none does among all."""
    counts = hit | ~hit.any(1, keepdim=True)
    found = [row[rows].mode().values for row, rows in zip(drawn, counts, strict=True)]
    return torch.stack(found)
