"""The flat rows of a request, the way back to its shape, and what each slot is billed."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from robaudit.attacks.base import Problem, Slots
from robaudit.attacks.requests import Answer, Labels, Request, Scores
from robaudit.target.head.answers import predictions
from robaudit.threat.goals import reached
from robaudit.threat.masked import floored

__all__ = ["Account", "Rows", "flatten", "over_points", "spread"]


@dataclass
class Account(Slots):
    """Model evaluations of each slot, [S] int64 each; judging is billed apart.

    ``looked`` is how many backwards a slot had when it last looked in vain for a nearer rival; ``asked`` counts the
    points that the attack asked about, and ``lost`` those of them with nothing to learn in reach, see
    :mod:`robaudit.engine.standin`.
    """

    forwards: Tensor
    backwards: Tensor
    queries: Tensor
    judged: Tensor
    refused: Tensor
    looked: Tensor
    asked: Tensor
    lost: Tensor

    @classmethod
    def empty(cls, slots: int, device: torch.device) -> Account:
        """Accounts of new slots."""
        return cls(*(torch.zeros(slots, dtype=torch.int64, device=device) for _ in range(8)))


@dataclass
class Rows:
    """The flat rows of a request and where they belong."""

    asked: Tensor
    """The request's points as they were given."""
    points: Tensor
    wanted: Tensor
    """Bool with the request's leading dimensions: the rows that are asked."""
    slot: Tensor | None
    """The slot of each row; None: one row a slot."""
    whole: bool
    """Whether every row is asked."""

    def slots(self, count: int) -> Tensor:
        """[N] int64 slot of each row, of so many slots."""
        return torch.arange(count, device=self.points.device) if self.slot is None else self.slot

    def counts(self, slots: int) -> Tensor | int:
        """Rows that are asked of each slot, [S] or the same for all."""
        wanted = self.wanted
        return wanted.numel() // slots if self.whole else wanted.reshape(slots, -1).sum(1)

    def of(self, values: Tensor) -> Tensor:
        """What belongs to each row, of a tensor with the slots first."""
        return values if self.slot is None else values[self.slot]


def over_points(flags: Tensor, like: Tensor) -> Tensor:
    """Flags [S] of slots, or [S, P] of their points, to broadcast over ``like`` [S] or [S, P]."""
    return flags if flags.dim() == like.dim() else flags[:, None]


def flatten(request: Request, problem: Problem, account: Account, budget: int | None) -> Rows:
    """The rows that a request asks for, as far as the budget goes."""
    several = request.points.dim() == problem.x.dim() + 1
    lead = request.points.shape[:2] if several else request.points.shape[:1]
    wanted = request.rows
    limited = budget is not None and isinstance(request, Scores | Labels)
    every = wanted is None and not limited
    if wanted is None:
        wanted = torch.ones(lead, dtype=torch.bool, device=problem.x.device)
    if budget is not None and limited:
        left = budget - account.queries
        position = wanted.reshape(len(problem), -1).cumsum(1)
        wanted = wanted & (position <= left[:, None]).reshape(lead)
    if not every and not bool(wanted.all()):  # the question is a wait on a GPU
        slot = wanted.reshape(len(problem), -1).nonzero()[:, 0]
        return Rows(request.points, request.points[wanted], wanted, slot, whole=False)
    if not several:
        return Rows(request.points, request.points, wanted, None, whole=True)
    slot = torch.arange(len(problem), device=problem.x.device).repeat_interleave(lead[1])
    return Rows(request.points, request.points.reshape(-1, *problem.shape), wanted, slot, whole=True)


def spread(
    problem: Problem,
    rows: Rows,
    scores: Tensor,
    loss: Tensor | None = None,
    gradient: Tensor | None = None,
    steep: Tensor | None = None,
    *,
    labels_alone: bool = False,
) -> Answer:
    """Put flat results back into the request's leading dimensions."""
    labels, logits = predictions(scores), None if labels_alone else floored(scores)

    def placed(flat: Tensor | None, fill: float = 0) -> Tensor | None:
        if flat is None or rows.slot is None:
            return flat
        if rows.whole:
            return flat.reshape(*rows.wanted.shape, *flat.shape[1:])
        out = flat.new_full((*rows.wanted.shape, *flat.shape[1:]), fill)
        out[rows.wanted] = flat
        return out

    fooled = placed(reached(labels, rows.of(problem.label), rows.of(problem.goal)))
    predicted = placed(labels, -1)
    assert fooled is not None
    assert predicted is not None
    return Answer(
        points=rows.asked,
        answered=rows.wanted,
        fooled=fooled,
        refused=torch.zeros_like(fooled),
        labels=predicted,
        logits=placed(logits),
        loss=placed(loss),
        gradient=placed(gradient),
        steep=placed(steep),
    )
