"""The flat rows of a request, the way back to its shape, and what each slot is billed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from robaudit.attacks.base import Problem, Slots
from robaudit.attacks.requests import Answer, Labels, Request, Scores
from robaudit.engine.ledger import Ledgers
from robaudit.target.head.answers import predictions
from robaudit.threat.goals import reached
from robaudit.threat.masked import floored

__all__ = ["Account", "Bill", "Luck", "Rows", "Sound", "flatten", "over_points", "spread"]

FREE = 10
"""Repeats that are not charged end a unit when there are so many times its budget: it stands still."""


@dataclass
class Luck(Slots):
    """The best points of a random file's slots that the judge denied.

    Args:
        share: [S] float64 share of the draws that fooled there.
        points: [S, *shape].
    """

    share: Tensor
    points: Tensor

    @classmethod
    def none(cls, x: Tensor) -> Luck:
        """Of new slots, with samples [S, *shape]."""
        return cls(torch.zeros(len(x), dtype=torch.float64, device=x.device), x.clone())

    def better(self, slots: Tensor, share: Tensor, points: Tensor) -> None:
        """Keep what beats the best of some slots [M]."""
        wins = share > self.share[slots]
        self.share[slots[wins]] = share[wins]
        self.points[slots[wins]] = points[wins].to(self.points)


class Bill(NamedTuple):
    """What a slot was billed, see :class:`Account`."""

    forwards: int
    backwards: int
    queries: int
    judged: int
    refused: int


@dataclass
class Account(Slots):
    """Model evaluations of each slot, [S] int64 each; judging is billed apart.

    ``looked`` is how many backwards a slot had when it last looked in vain for a nearer rival; ``asked`` counts the
    points that the attack asked about, and ``lost`` those of them with nothing to learn in reach, see
    :mod:`robaudit.engine.standin`. ``ledgers`` tell what the queries were; None: they are not looked at. ``luck``
    holds what the judge denied of a random file; None: it is not random.
    """

    forwards: Tensor
    backwards: Tensor
    queries: Tensor
    judged: Tensor
    refused: Tensor
    looked: Tensor
    asked: Tensor
    lost: Tensor
    ledgers: Ledgers | None = field(default=None, kw_only=True)
    luck: Luck | None = field(default=None, kw_only=True)

    @classmethod
    def empty(
        cls, slots: int, device: torch.device, ledgers: Ledgers | None = None, luck: Luck | None = None
    ) -> Account:
        """Accounts of new slots."""
        counts = (torch.zeros(slots, dtype=torch.int64, device=device) for _ in range(8))
        return cls(*counts, ledgers=ledgers, luck=luck)

    def bills(self, slots: Tensor) -> list[Bill]:
        """What some slots [M] were billed; read at once, as each reading is a wait on a GPU."""
        counts = torch.stack([getattr(self, name)[slots] for name in Bill._fields], 1)
        return [Bill(*counted) for counted in counts.tolist()]

    def spent(self, budget: int, *, free: bool) -> Tensor:
        """[S] bool: slots whose queries are used up, or that ask for little but what was asked before.

        Args:
            budget: most queries of each.
            free: repeats are not charged.
        """
        used = self.queries >= budget
        if free and self.ledgers is not None:
            used = used | (self.ledgers.repeated.to(used.device) >= FREE * budget)
        return used


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

    def placed(self, flat: Tensor, fill: float = 0) -> Tensor:
        """Flat results [N, ...] in the request's leading dimensions."""
        if self.slot is None:
            return flat
        if self.whole:
            return flat.reshape(*self.wanted.shape, *flat.shape[1:])
        out = flat.new_full((*self.wanted.shape, *flat.shape[1:]), fill)
        out[self.wanted] = flat
        return out

    def of(self, values: Tensor) -> Tensor:
        """What belongs to each row, of a tensor with the slots first."""
        return values if self.slot is None else values[self.slot]


def over_points(flags: Tensor, like: Tensor) -> Tensor:
    """Flags [S] of slots, or [S, P] of their points, to broadcast over ``like`` [S] or [S, P]."""
    return flags if flags.dim() == like.dim() else flags[:, None]


def flatten(
    request: Request, problem: Problem, account: Account, budget: int | None, charged: Tensor | None = None
) -> Rows:
    """The rows that a request asks for, as far as the budget goes.

    Args:
        request: of all slots.
        problem: the slots.
        account: of the slots.
        budget: most queries of each.
        charged: bool of the request's leading dimensions, rows that count against the budget; None: all.
    """
    several = request.points.dim() == problem.x.dim() + 1
    lead = request.points.shape[:2] if several else request.points.shape[:1]
    wanted = request.rows
    limited = budget is not None and isinstance(request, Scores | Labels)
    every = wanted is None and not limited
    if wanted is None:
        wanted = torch.ones(lead, dtype=torch.bool, device=problem.x.device)
    if budget is not None and limited:
        left = budget - account.queries
        billed = wanted if charged is None else wanted & charged
        position = billed.reshape(len(problem), -1).cumsum(1)
        wanted = wanted & (position <= left[:, None]).reshape(lead)
    if not every and not bool(wanted.all()):  # the question is a wait on a GPU
        place = wanted.reshape(-1).nonzero()[:, 0]
        points = request.points.reshape(-1, *problem.shape).index_select(0, place)  # twice as fast as the mask
        return Rows(request.points, points, wanted, place // (wanted.numel() // len(problem)), whole=False)
    if not several:
        return Rows(request.points, request.points, wanted, None, whole=True)
    slot = torch.arange(len(problem), device=problem.x.device).repeat_interleave(lead[1])
    return Rows(request.points, request.points.reshape(-1, *problem.shape), wanted, slot, whole=True)


class Sound(Answer):
    """An answer that is known to be finite throughout, and to name a class at every point."""


def spread(
    problem: Problem,
    rows: Rows,
    scores: Tensor,
    loss: Tensor | None = None,
    gradient: Tensor | None = None,
    steep: Tensor | None = None,
    *,
    sound: bool = False,
) -> Answer:
    """Put flat results of a differentiable model back into the request's leading dimensions.

    ``sound``: all of them are finite.
    """
    labels = scores.argmax(1) if sound else predictions(scores)
    label = rows.of(problem.label)
    hit = labels != label if sound and problem.untargeted else reached(labels, label, rows.of(problem.goal))
    fooled = rows.placed(hit)
    return (Sound if sound and rows.whole else Answer)(
        points=rows.asked,
        answered=rows.wanted,
        fooled=fooled,
        refused=torch.zeros_like(fooled),
        labels=rows.placed(labels, -1),
        logits=rows.placed(scores if sound else floored(scores)),
        loss=None if loss is None else rows.placed(loss),
        gradient=None if gradient is None else rows.placed(gradient),
        steep=None if steep is None else rows.placed(steep),
    )
