"""How the gradients of a request are taken: how often at each point, and through what."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor

from robaudit.attacks.base import Problem
from robaudit.attacks.requests import How
from robaudit.attacks.transforms.base import Transform
from robaudit.engine.rows import Account, Rows
from robaudit.errors import AuditError
from robaudit.threat.random import Draws, key_of

__all__ = ["Taken", "averaged", "repeated"]


@dataclass(frozen=True)
class Taken:
    """The copies of a request's rows; those of a row follow each other.

    Args:
        how: the gradients are taken.
        keys: [N] int64 key of each row's random numbers, of use where there is a transform.
        first: [N] int64 number of the draw of each row's first copy. A slot's evaluations are numbered through, so that
            no draw depends on what else is in the batch.
    """

    how: How
    keys: Tensor
    first: Tensor

    @classmethod
    def of(cls, how: How, problem: Problem, rows: Rows, account: Account) -> Taken:
        """Of a request whose evaluations have not been billed."""
        if not how.through:
            return cls(how, problem.keys, account.forwards)
        slot = rows.slots(len(problem))
        place = torch.arange(len(slot), device=slot.device)
        rank = place - torch.searchsorted(slot, slot)  # among the rows of its slot, which follow each other
        return cls(how, problem.keys[slot], account.forwards[slot] + rank * how.copies)

    def some(self, rows: Tensor) -> Taken:
        """Those of some of the rows, [N] bool or their places."""
        if not self.how.through:
            return self
        return dataclasses.replace(self, keys=self.keys[rows], first=self.first[rows])

    def seen(self, copies: Tensor, part: slice) -> Tensor:
        """What the model sees of a part of the copies [M, *shape], differentiable."""
        count = self.how.copies
        for transform in self.how.through:
            place = torch.arange(part.start, part.stop, device=self.keys.device)
            row = place // count
            keys = self.keys[row] ^ key_of("transform", transform.id)
            copies = _through(transform, copies, Draws(keys), self.first[row] + place % count)
        return copies


def _through(transform: Transform, points: Tensor, draws: Draws, step: Tensor) -> Tensor:
    with torch.autocast(points.device.type, enabled=False):  # the model alone is run at less precision
        changed = transform.apply(points.detach() if transform.straight_through else points, draws, step)
    if changed.shape != points.shape:
        raise AuditError(
            f"the transform {transform.id} made {list(changed.shape)} of points of shape {list(points.shape)}"
        )
    return points + (changed - points).detach() if transform.straight_through else changed


def repeated(rows: Tensor, copies: int) -> Tensor:
    """Each row so many times."""
    return rows if copies == 1 else rows.repeat_interleave(copies, 0)


def averaged(values: Tensor, copies: int) -> Tensor:
    """The mean over the copies of each row."""
    return values if copies == 1 else values.reshape(-1, copies, *values.shape[1:]).mean(1)
