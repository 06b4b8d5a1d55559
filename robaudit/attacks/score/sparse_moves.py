"""Which features a sparse random search changes and how it moves on: scattered ones, a patch, or a frame."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from robaudit.attacks.base import Problem
from robaudit.attacks.images import plane
from robaudit.attacks.score.objective import chosen
from robaudit.threat.norms import select

__all__ = ["Moves", "Scattered", "Shape", "planes", "repainted", "restored"]

Shape = Literal["features", "pixels", "patch", "frame"]

_BOUNDS = (0, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
_DIVISORS = (1, 2, 4, 5, 6, 8, 10, 12, 15, 20)
"""Of 10,000 iterations, those after which the share that a step swaps is divided by the next number."""


class Moves(ABC):
    """One way to search. A region is [S, *shape] bool: what may differ from the sample."""

    @abstractmethod
    def first(self, problem: Problem) -> tuple[Tensor, Tensor]:
        """[S, *shape] points to begin at, and their regions; one where nothing may change is empty."""

    @abstractmethod
    def after(
        self, problem: Problem, best: Tensor, region: Tensor, step: Tensor, progress: Tensor
    ) -> tuple[Tensor, Tensor]:
        """[S, *shape] points to try, and their regions.

        Args:
            problem: the slots.
            best: [S, *shape] the best points, which change in ``region`` [S, *shape].
            region: see above.
            step: [S] int64, numbers the draws.
            progress: [S] int64 of 10,000.
        """


@dataclass(frozen=True)
class Scattered(Moves):
    """Features anywhere, or pixels with all of their channels; a step swaps some of them for others.

    Args:
        share: of them that the first step swaps.
        whole: pixels.
    """

    share: float
    whole: bool

    def first(self, problem: Problem) -> tuple[Tensor, Tensor]:
        """Random ones at random ends of their ranges."""
        free = self._units(problem, _free(problem))
        count = problem.eps.floor().long() // (plane(problem.shape)[0] if self.whole else 1)
        mask = self._spread(problem, chosen(problem, "first", 0, count, free))
        return torch.where(mask, self._ends(problem, torch.zeros_like(count)), problem.x), mask

    def after(
        self, problem: Problem, best: Tensor, region: Tensor, step: Tensor, progress: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Where all change already, some change anew."""
        mask, free = (self._units(problem, these) for these in (region, _free(problem)))
        size, outside = mask.flatten(1).sum(1), free & ~mask
        others = outside.flatten(1).sum(1)
        bounds, divisors = (torch.tensor(values, device=step.device) for values in (_BOUNDS, _DIVISORS))
        share = self.share / divisors[torch.bucketize(progress, bounds)].double()
        count = (share * size).long().clamp_min(1)
        count = torch.where(others > 0, torch.minimum(count, others), count)
        out = chosen(problem, "out", step, count, mask)
        into = select(others > 0, chosen(problem, "into", step, count, outside), out)
        mask = self._spread(problem, (mask & ~out) | into)
        out, into = self._spread(problem, out), self._spread(problem, into)
        return torch.where(into, self._ends(problem, step), torch.where(out, problem.x, best)), mask

    def _units(self, problem: Problem, mask: Tensor) -> Tensor:
        """[S, *shape] bool to [S, 1, H, W] where whole pixels are chosen: those with any feature in it."""
        return planes(problem, mask).any(1, keepdim=True) if self.whole else mask

    def _spread(self, problem: Problem, units: Tensor) -> Tensor:
        """[S, *shape] bool: the features of those chosen."""
        return restored(problem, units.expand(-1, plane(problem.shape)[0], -1, -1)) if self.whole else units

    def _ends(self, problem: Problem, step: Tensor) -> Tensor:
        """[S, *shape] each feature or pixel at ends of its range, drawn at random, never where it is."""
        x = problem.x
        ends = (problem.draws.uniform("end", step, problem.shape) < 0.5).to(x.dtype)
        if not self.whole:
            return torch.where(x == 0, 1.0, torch.where(x == 1, 0.0, ends)).to(x.dtype)
        now, ends = planes(problem, x), planes(problem, ends)
        lot = problem.draws.uniform("channel", step, tuple(now.shape[2:]))
        return restored(problem, _different(ends, now, lot))


def _free(problem: Problem) -> Tensor:
    """[S, *shape] bool: what may change."""
    return torch.ones_like(problem.x, dtype=torch.bool) if problem.fixed is None else ~problem.fixed


def planes(problem: Problem, values: Tensor) -> Tensor:
    """[S, *shape] to [S, C, H, W]."""
    return values.reshape(-1, *plane(problem.shape))


def restored(problem: Problem, values: Tensor) -> Tensor:
    """[S, C, H, W] to [S, *shape]."""
    return values.reshape(-1, *problem.shape)


def _different(colour: Tensor, now: Tensor, lot: Tensor) -> Tensor:
    """[S, C, H, W] colours; where one is the present one, a channel at random is at the other end of its range.

    Args:
        colour: [S, C, H, W] of 0 and 1.
        now: likewise, at present.
        lot: [S, H, W] on [0, 1), which channel.
    """
    same = (colour == now).all(1, keepdim=True)
    return torch.where(same & _channel(lot, now), 1 - colour, colour)


def _channel(lot: Tensor, like: Tensor) -> Tensor:
    """[S, C, H, W] bool: one channel of each pixel, drawn at random."""
    count = like.shape[1]
    which = (lot.double() * count).long().clamp_max(count - 1)
    return which[:, None] == torch.arange(count, device=lot.device)[None, :, None, None]


def repainted(problem: Problem, best: Tensor, square: Tensor, step: Tensor, single: Tensor) -> Tensor:
    """[S, *shape] the best points with a square in one colour of 0 and 1; a pixel gets another one than it has.

    Args:
        problem: the slots.
        best: [S, *shape].
        square: [S, 1, H, W] bool.
        step: [S] numbers the draws.
        single: [S] bool, of a pixel one channel changes.
    """
    old = planes(problem, best)
    shape = (old.shape[1], 1, 1)
    colour = (problem.draws.uniform("colour", step, shape) < 0.5).to(old.dtype)
    lot = problem.draws.uniform("channel", step, (1, 1))
    pixel = square.flatten(1).sum(1) == 1
    now = (old * square).sum((2, 3), keepdim=True)
    flipped = torch.where(_channel(lot, now), 1 - now, now)
    one = select(single, flipped, _different(colour, now, lot))
    return restored(problem, torch.where(square, select(pixel, one, colour), old))
