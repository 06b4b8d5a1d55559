"""How the gradients of a request are taken: how often at each point, and through what."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor

from robaudit.attacks.base import Problem, StartingPool
from robaudit.attacks.requests import How
from robaudit.attacks.transforms.base import Copies, Transform
from robaudit.engine.rows import Account, Rows
from robaudit.errors import AuditError
from robaudit.threat.random import Draws, key_of

__all__ = ["Repeated", "Taken", "averaged", "repeated"]


@dataclass(frozen=True)
class Repeated:
    """Each of some points so many times, one after the other; made for a part when that is asked for.

    Args:
        points: [N, *shape].
        copies: of each.
    """

    points: Tensor
    copies: int

    def __len__(self) -> int:
        return len(self.points) * self.copies

    def __getitem__(self, part: slice) -> Tensor:
        return self.points[self.rows(part)]

    def rows(self, part: slice) -> Tensor:
        """[M] int64 which point each of a part is a copy of."""
        return torch.arange(part.start, part.stop, device=self.points.device) // self.copies


@dataclass(frozen=True)
class Taken:
    """The copies of a request's rows; those of a row follow each other.

    Args:
        how: the gradients are taken.
        keys: [N] int64 key of each row's random numbers, of use where there is a transform.
        first: [N] int64 number of the draw of each row's first copy. A slot's evaluations are numbered through, so that
            no draw depends on what else is in the batch.
        label: [N] int64 reference class of each row's sample.
        pool: other samples.
    """

    how: How
    keys: Tensor
    first: Tensor
    label: Tensor
    pool: StartingPool

    @classmethod
    def of(cls, how: How, problem: Problem, rows: Rows, account: Account) -> Taken:
        """Of a request whose evaluations have not been billed."""
        if not how.through:
            return cls(how, problem.keys, account.forwards, problem.label, problem.pool)
        slot = rows.slots(len(problem))
        place = torch.arange(len(slot), device=slot.device)
        rank = place - torch.searchsorted(slot, slot)  # among the rows of its slot, which follow each other
        first = account.forwards[slot] + rank * how.gradients
        return cls(how, problem.keys[slot], first, problem.label[slot], problem.pool)

    def some(self, rows: Tensor) -> Taken:
        """Those of some of the rows, [N] bool or their places."""
        if not self.how.through:
            return self
        return dataclasses.replace(self, keys=self.keys[rows], first=self.first[rows], label=self.label[rows])

    def seen(self, points: Tensor, part: slice) -> Tensor:
        """What the model sees of a part of the copies [M, *shape], differentiable."""
        if not self.how.through:
            return points
        count = left = self.how.gradients
        place = torch.arange(part.start, part.stop, device=self.keys.device)
        row, copy = place // count, place % count
        for transform in self.how.through:
            left //= transform.copies  # copies are numbered by all transforms in turn, as digits are
            draws = Draws(self.keys[row] ^ key_of("transform", transform.id))
            copies = Copies(
                draws=draws,
                step=self.first[row] + copy,
                number=copy // left % transform.copies,
                label=self.label[row],
                points=self.pool.points,
                labels=self.pool.labels,
            )
            points = _through(transform, points, copies)
        return points

    def smoothed(self, gradient: Tensor) -> Tensor:
        """What becomes of gradients [N, *shape] after the way back."""
        for transform in self.how.through:
            with torch.no_grad():
                changed = transform.smoothed(gradient)
            _same_shape(transform, changed, gradient)
            gradient = changed
        return gradient


def _through(transform: Transform, points: Tensor, copies: Copies) -> Tensor:
    with torch.autocast(points.device.type, enabled=False):  # the model alone is run at less precision
        changed = transform.apply(points.detach() if transform.straight_through else points, copies)
    _same_shape(transform, changed, points)
    return points + (changed - points).detach() if transform.straight_through else changed


def _same_shape(transform: Transform, changed: Tensor, before: Tensor) -> None:
    if changed.shape != before.shape:
        raise AuditError(
            f"the transform {transform.id} made {list(changed.shape)} of points of shape {list(before.shape)}"
        )


def repeated(rows: Tensor, copies: int) -> Tensor:
    """Each row so many times."""
    return rows if copies == 1 else rows.repeat_interleave(copies, 0)


def averaged(values: Tensor, copies: int) -> Tensor:
    """The mean over the copies of each row."""
    return values if copies == 1 else values.reshape(-1, copies, *values.shape[1:]).mean(1)
